#!/usr/bin/env bash
# A tunnel's server that strangers attack: how soon honest peers connect, by UDP and by TCP, and what becomes of the
# pings of one that is there.
#
#   [attack] uc --- vc [server] ub --- ua [client]     All traffic stays in namespaces; they and every
#                      [server] vd --- ud [honest]     program in them go at the end.
#
# First attack: 1,000 TCP connections from one address, opened again as they are closed. Half of them are silent, the
# others send junk as fast as they can. Second attack: initiations with cookies from 5,000 addresses that are really
# there, and others from forged addresses.
#
#   bench/strangers.sh [PEERS]         50 honest peers of each kind, one after the other, unless given; needs root,
#                                      iproute2, jq, python3, wg
#
#   ADIT=PATH  CONNECTIONS=1000  SOURCES=5000  RATE=20000  ATTACKS='connections cookies'
set -euo pipefail
cd "$(dirname "$0")/.."

PEERS=${1:-50}
ADIT=${ADIT:-target/release/adit}
ATTACKS=${ATTACKS:-connections cookies}
export CONNECTIONS=${CONNECTIONS:-1000} SOURCES=${SOURCES:-5000} RATE=${RATE:-20000}
A=adit-strangers-a-$$ B=adit-strangers-b-$$ C=adit-strangers-c-$$ D=adit-strangers-d-$$
W=$(mktemp -d)
PIDS=() HONEST=0

[ "$(id -u)" = 0 ] || { echo "needs root, for namespaces" >&2; exit 1; }
for program in jq python3 wg; do
  command -v "$program" >/dev/null || { echo "$program is missing" >&2; exit 1; }
done
[ -x "$ADIT" ] || { echo "$ADIT is missing: cargo build --release" >&2; exit 1; }

end() { kill -"$1" "$2" 2>/dev/null || true; wait "$2" 2>/dev/null || true; }
cleanup() {
  for pid in "${PIDS[@]}"; do end TERM "$pid"; done
  for net in "$A" "$B" "$C" "$D"; do ip netns del "$net" 2>/dev/null || true; done
  rm -rf "$W"
}
trap cleanup EXIT

# up NAMESPACE FILE: started, and up; its process is in UP
up() {
  "$ADIT" -v -n "$1" tunnel up "$2" 2>"$2.log" &
  UP=$!
  until grep -qx up "$2.log"; do
    kill -0 "$UP" || { cat "$2.log" >&2; exit 1; }
    sleep 0.005
  done
}
# link NAMESPACE DEVICE SERVER-DEVICE NET
link() {
  ip netns add "$1"
  ip link add "$2" netns "$1" type veth peer name "$3" netns "$B"
  ip -n "$1" addr add "$4.1/24" dev "$2"; ip -n "$1" link set "$2" up; ip -n "$1" link set lo up
  ip -n "$B" addr add "$4.2/24" dev "$3"; ip -n "$B" link set "$3" up
}
# client FILE KEY NUMBER ENDPOINT TRANSPORT
client() {
  printf '[interface]\nprivate_key = "%s"\naddresses = ["10.9.0.%s/32"]\n[[peer]]\npublic_key = "%s"\n' \
    "$2" "$3" "$PUBLIC" >"$1"
  printf 'allowed_ips = ["10.9.0.2/32"]\nendpoint = "%s"\ntransport = "%s"\n' "$4" "$5" >>"$1"
}
# percentiles FILE: p50, p99 and how many
percentiles() {
  sort -n "$1" | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)], v[int(NR * 0.99 + 0.99)], NR}'
}
# pings NAME: round trips of the peer that is there, in milliseconds
pings() {
  ip netns exec "$A" ping -n -i 0.02 -c 250 -W 2 10.9.0.2 | sed -n 's/.*time=\([0-9.]*\) ms/\1/p' >"$W/$1"
}
# connects NAME FILE: how soon honest peers have the answer to a ping, in milliseconds
connects() {
  : >"$W/$1"
  for _ in $(seq "$PEERS"); do
    # Each from an address of its own.
    HONEST=$((HONEST % 240 + 1))
    ip -n "$D" addr flush dev ud; ip -n "$D" addr add "203.0.113.$((HONEST + 10))/24" dev ud
    up "$D" "$2"
    t=$(date +%s%N)
    for _ in $(seq 300); do
      ip netns exec "$D" ping -n -c 1 -W 0.1 10.9.0.2 >/dev/null 2>&1 && break
    done
    echo $((($(date +%s%N) - t) / 1000000)) >>"$W/$1"
    end TERM "$UP"
  done
}
# report NAME BAR TEXT
report() {
  read -r p50 p99 count < <(percentiles "$W/$1")
  echo "$3: p50 $p50 ms, p99 $p99 ms, of $count; at most $2"
  [ "${p99%.*}" -le "$2" ] || failed=1
}

umask 077
ip netns add "$B"; ip -n "$B" link set lo up
link "$A" ua ub 192.0.2; link "$C" uc vc 198.51.100; link "$D" ud vd 203.0.113
# There answers go: to the attacker.
ip -n "$B" route add 100.64.0.0/10 via 198.51.100.1
key=$(wg genkey) ka=$(wg genkey) kd=$(wg genkey)
PUBLIC=$(wg pubkey <<<"$key")
{
  printf '[interface]\nprivate_key = "%s"\nlisten_port = 51820\nlisten_tcp = 443\n' "$key"
  printf 'addresses = ["10.9.0.2/24"]\n'
  printf '[[peer]]\npublic_key = "%s"\nallowed_ips = ["10.9.0.%s/32"]\n' \
    "$(wg pubkey <<<"$ka")" 1 "$(wg pubkey <<<"$kd")" 3
} >"$W/adsb.toml"
client "$W/adsa.toml" "$ka" 1 192.0.2.2:51820 udp
client "$W/adsu.toml" "$kd" 3 203.0.113.2:51820 udp
client "$W/adst.toml" "$kd" 3 203.0.113.2:443 tcp
up "$B" "$W/adsb.toml"; PIDS+=("$UP")
up "$A" "$W/adsa.toml"; PIDS+=("$UP")
ip netns exec "$A" ping -n -c 1 -W 5 10.9.0.2 >/dev/null

cat >"$W/connections.py" <<'P'
import os, resource, select, socket, time
count = int(os.environ['CONNECTIONS'])
resource.setrlimit(resource.RLIMIT_NOFILE, (2 * count + 100,) * 2)
junk = os.urandom(65536)
poll, sockets, opened = select.epoll(), {}, 0
def connect():
    global opened
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(('198.51.100.2', int(os.environ['PORT'])))
    opened += 1
    # Every second one is silent.
    poll.register(s, select.EPOLLIN if opened % 2 else select.EPOLLOUT)
    sockets[s.fileno()] = s
for _ in range(count):
    connect()
start = then = time.monotonic()
while now := time.monotonic():
    if now - start > 600:
        break
    if now - then > 0.5:
        then = now
        with open(os.environ['STATE'] + '.new', 'w') as f:
            f.write('%d connections, %.0f opened a second\n' % (len(sockets), opened / (now - start)))
        os.rename(os.environ['STATE'] + '.new', os.environ['STATE'])
    for fd, event in poll.poll(0.5):
        try:
            if event & select.EPOLLOUT:
                sockets[fd].send(junk)
                continue
            if sockets[fd].recv(9):
                continue
        except BlockingIOError:
            continue
        except OSError:
            pass
        sockets.pop(fd).close()
        connect()
P

# XChaCha20 opens the cookie replies. Packets are made once; sendmmsg(2) takes 100 of them.
cat >"$W/cookies.py" <<'P'
import base64, ctypes, hashlib, os, random, socket, struct, sys, time
key, count, rate = base64.b64decode(sys.argv[1]), int(os.environ['SOURCES']), int(os.environ['RATE'])
mac_key = hashlib.blake2s(b'mac1----' + key).digest()
cookie_key = hashlib.blake2s(b'cookie--' + key).digest()
def rounds(x):
    def quarter(a, b, c, d):
        for p, q, r, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            x[p] = (x[p] + x[q]) & 0xffffffff
            v = x[r] ^ x[p]
            x[r] = (v << n | v >> 32 - n) & 0xffffffff
    for _ in range(10):
        for i in range(4): quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4): quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return x
HEAD = struct.unpack('<4I', b'expand 32-byte k')
def open_cookie(nonce, text):
    x = rounds([*HEAD, *struct.unpack('<8I', cookie_key), *struct.unpack('<4I', nonce[:16])])
    start = [*HEAD, *x[:4], *x[12:], 1, 0, *struct.unpack('<2I', nonce[16:])]
    stream = struct.pack('<16I', *((a + b) & 0xffffffff for a, b in zip(rounds(list(start)), start)))
    return bytes(a ^ b for a, b in zip(text, stream))
class Iovec(ctypes.Structure):
    _fields_ = [('base', ctypes.c_char_p), ('len', ctypes.c_size_t)]
class Msg(ctypes.Structure):
    _fields_ = [('name', ctypes.c_char_p), ('namelen', ctypes.c_uint), ('iov', ctypes.POINTER(Iovec)),
                ('iovlen', ctypes.c_size_t), ('control', ctypes.c_void_p), ('controllen', ctypes.c_size_t),
                ('flags', ctypes.c_int), ('pad', ctypes.c_int), ('sent', ctypes.c_uint), ('end', ctypes.c_uint)]
assert ctypes.sizeof(Msg) == 64
to = struct.pack('=H', socket.AF_INET) + struct.pack('>H', 0) + socket.inet_aton('198.51.100.2') + bytes(8)
def put(place, source, message):
    udp = struct.pack('>HHHH', 5000, 51820, 8 + len(message), 0) + message
    packet = struct.pack('>BBHHHBBH', 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + source
    packet += socket.inet_aton('198.51.100.2') + udp
    messages[place] = Msg(to, 16, ctypes.pointer(Iovec(packet, len(packet))), 1, None, 0, 0, 0, 0, 0)
messages = (Msg * (2 * count))()
sources = [socket.inet_aton('100.64.%d.%d' % divmod(n, 256)) for n in range(count)]
r = random.Random(3)
# A cookie is bound to address and port, and not to a message.
firsts = {}
for n, source in enumerate(sources):
    m = bytes([1, 0, 0, 0]) + struct.pack('<I', n) + r.randbytes(108)
    firsts[n] = m + hashlib.blake2s(m, key=mac_key, digest_size=16).digest()
    put(n, source, firsts[n] + bytes(16))
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
answers = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x800))
answers.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)
answers.bind(('uc', 0))
answers.settimeout(0.2)
send = ctypes.CDLL(None, use_errno=True).sendmmsg
cookies = {}
while len(cookies) < count * 0.99:
    for n in [n for n in range(count) if n not in cookies]:
        send(s.fileno(), ctypes.byref(messages, n * ctypes.sizeof(Msg)), 1, 0)
        if n % 50 == 0:
            time.sleep(0.002)
    try:
        while packet := answers.recv(200):
            m = packet[28:]
            if len(m) == 64 and m[0] == 3:
                n = struct.unpack('<I', m[4:8])[0]
                cookies[n] = cookies.get(n) or open_cookie(m[8:32], m[32:48])
    except TimeoutError:
        pass
answers.close()
print('%d of %d have cookies' % (len(cookies), count), file=sys.stderr)
# By turns one with its cookie and, one in ten, one without from a forged address.
total = 0
for n in r.sample(sorted(cookies), len(cookies)):
    mac2 = hashlib.blake2s(firsts[n], key=cookies[n], digest_size=16).digest()
    put(total, sources[n], firsts[n] + mac2)
    total += 1
    if n % 10 == 0:
        put(total, socket.inet_aton('100.%d.%d.%d' % (65 + r.randrange(60), r.randrange(256), r.randrange(1, 255))),
            firsts[n] + bytes(16))
        total += 1
start = then = time.monotonic()
sent = at = 0
# The cookies are valid for two minutes.
while (now := time.monotonic()) - start < 110:
    n = send(s.fileno(), ctypes.byref(messages, at * ctypes.sizeof(Msg)), min(100, total - at), 0)
    assert n > 0, ctypes.get_errno()
    sent, at = sent + n, (at + n) % total
    ahead = sent / rate - (now - start)
    if ahead > 0:
        time.sleep(ahead)
    if now - then > 0.5:
        then = now
        with open(os.environ['STATE'] + '.new', 'w') as f:
            f.write('%d sources, %.0f initiations a second\n' % (len(cookies), sent / (now - start)))
        os.rename(os.environ['STATE'] + '.new', os.environ['STATE'])
P
# attack SCRIPT WORDS...: in ATTACK, once it is under way
attack() {
  rm -f "$W/state"
  STATE=$W/state ip netns exec "$C" python3 "$W/$1" "${@:2}" &
  ATTACK=$!
  PIDS+=("$ATTACK")
  until [ -s "$W/state" ]; do kill -0 "$ATTACK"; sleep 0.1; done
}

connections() {
  pings quiet
  # The same to a program that closes what it accepts: attacker, server and pings share the processors here.
  ip netns exec "$B" python3 -c "
import socket
s = socket.create_server(('198.51.100.2', 9999), backlog=4096)
while True: s.accept()[0].close()" &
  PIDS+=($!)
  PORT=9999 attack connections.py
  pings elsewhere
  end KILL "$ATTACK"
  PORT=443 attack connections.py
  pings loud
  connects udp "$W/adsu.toml"
  connects tcp "$W/adst.toml"
  echo "from one address: $(cat "$W/state")"
  end KILL "$ATTACK"
  echo "of the connections: $("$ADIT" -j tunnel show adsb | jq -c '.[0].connections')"
  report udp 1000 "  honest peers by UDP connect in"
  report tcp 1000 "  honest peers by TCP connect in"
  for name in quiet elsewhere loud; do
    read -r p50 p99 count < <(percentiles "$W/$name")
    echo "  pings of another peer, $name: p50 $p50 ms, p99 $p99 ms, of $count"
    [ "$name" != elsewhere ] || before=$p99
  done
  awk -v a="$before" -v b="$p99" 'BEGIN {
    printf "  p99 against the same attack elsewhere: %.1f ms more, at most 5\n", b - a
    exit b > a + 5}' || failed=1
}

cookies() {
  attack cookies.py "$PUBLIC"
  connects udp "$W/adsu.toml"
  kill -0 "$ATTACK" || { echo "the attack was over too early: fewer PEERS" >&2; failed=1; }
  echo "with cookies: $(cat "$W/state"), $(ip netns exec "$B" awk '/^Udp:/ {n = $6} END {print n}' /proc/net/snmp) lost in the socket"
  end KILL "$ATTACK"
  report udp 2000 "  honest peers by UDP connect in"
}

for name in $ATTACKS; do "$name"; done
exit ${failed:-0}
