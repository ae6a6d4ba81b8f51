"""cookies.py KEY SOURCES RATE: initiations with cookies from addresses that are really there, and one in ten without
from a forged address."""

import base64
import hashlib
import random
import socket
import struct
import sys
import time

import forged

key, count, rate = base64.b64decode(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
cookie_key = hashlib.blake2s(b"cookie--" + key).digest()


def rounds(x):
    def quarter(a, b, c, d):
        for p, q, r, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            x[p] = (x[p] + x[q]) & 0xffffffff
            v = x[r] ^ x[p]
            x[r] = (v << n | v >> 32 - n) & 0xffffffff
    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return x


HEAD = struct.unpack("<4I", b"expand 32-byte k")


def open_cookie(nonce, text):
    x = rounds([*HEAD, *struct.unpack("<8I", cookie_key), *struct.unpack("<4I", nonce[:16])])
    start = [*HEAD, *x[:4], *x[12:], 1, 0, *struct.unpack("<2I", nonce[16:])]
    stream = struct.pack("<16I", *((a + b) & 0xffffffff for a, b in zip(rounds(list(start)), start)))
    return bytes(a ^ b for a, b in zip(text, stream))


datagrams = forged.Datagrams(2 * count)


def put(place, source, message):
    # A cookie is bound to address and port, and not to a message.
    datagrams.put(place, source, 5000, 51820, message)


sources = [socket.inet_aton("100.64.%d.%d" % divmod(n, 256)) for n in range(count)]
r = random.Random(3)
firsts = {}
for n, source in enumerate(sources):
    firsts[n] = forged.initiation(key, struct.pack("<I", n) + r.randbytes(108))
    put(n, source, firsts[n] + bytes(16))
answers = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x800))
answers.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)
answers.bind(("uc", 0))
answers.settimeout(0.2)
cookies = {}
while len(cookies) < count * 0.99:
    for n in [n for n in range(count) if n not in cookies]:
        datagrams.send(n, 1)
        if n % 50 == 0:
            time.sleep(0.002)
    try:
        while packet := answers.recv(200):
            m = packet[28:]
            if len(m) == 64 and m[0] == 3:
                n = struct.unpack("<I", m[4:8])[0]
                cookies[n] = cookies.get(n) or open_cookie(m[8:32], m[32:48])
    except TimeoutError:
        pass
answers.close()
print("%d of %d have cookies" % (len(cookies), count), file=sys.stderr)
total = 0
for n in r.sample(sorted(cookies), len(cookies)):
    mac2 = hashlib.blake2s(firsts[n], key=cookies[n], digest_size=16).digest()
    put(total, sources[n], firsts[n] + mac2)
    total += 1
    if n % 10 == 0:
        other = "100.%d.%d.%d" % (65 + r.randrange(60), r.randrange(256), r.randrange(1, 255))
        put(total, socket.inet_aton(other), firsts[n] + bytes(16))
        total += 1
progress = forged.Progress()
# The cookies are valid for two minutes.
datagrams.repeat(total, rate, lambda line: progress("%d sources, %s" % (len(cookies), line)), seconds=110)
