#!/usr/bin/env bash
# A tunnel's server under a flood of handshakes: 50,000 initiations a second with a right MAC, from 20,000
# forged addresses. How soon honest peers connect, and what becomes of the traffic of one that is there.
#
#   [flood] uc --- vc [server] ub --- ua [client]     All traffic stays in namespaces; they and every
#                     [server] vd --- ud [honest]     program in them go at the end.
#
#   bench/flood.sh [PEERS]             50 honest peers, one after the other, unless given; needs root,
#                                      iproute2, iperf3, jq, python3, wg
#
#   ADIT=PATH  RATE=50000  OFFERED=200M  SECS=5
#
# The flood, the server and both ends of the traffic share the processors of one machine here, so the traffic
# is compared with that during the same flood to a port where a program reads and does nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

PEERS=${1:-50}
ADIT=${ADIT:-target/release/adit} RATE=${RATE:-50000} OFFERED=${OFFERED:-200M} SECS=${SECS:-5}
A=adit-flood-a-$$ B=adit-flood-b-$$ C=adit-flood-c-$$ D=adit-flood-d-$$
W=$(mktemp -d)
PIDS=()

[ "$(id -u)" = 0 ] || { echo "needs root, for namespaces" >&2; exit 1; }
for program in iperf3 jq python3 wg; do
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
# client FILE KEY NUMBER SERVER-ADDRESS
client() {
  printf '[Interface]\nPrivateKey = %s\nAddress = 10.9.0.%s/32\n[Peer]\nPublicKey = %s\nEndpoint = %s:51820\n' \
    "$2" "$3" "$PUBLIC" "$4" >"$1"
  echo 'AllowedIPs = 10.9.0.2/32' >>"$1"
}

umask 077
ip netns add "$B"; ip -n "$B" link set lo up
link "$A" ua ub 192.0.2; link "$C" uc vc 198.51.100; link "$D" ud vd 203.0.113
# There answers go: to the flood's sender.
ip -n "$B" route add 100.64.0.0/10 via 198.51.100.1
key=$(wg genkey) ka=$(wg genkey) kd=$(wg genkey)
PUBLIC=$(wg pubkey <<<"$key")
{
  printf '[Interface]\nPrivateKey = %s\nListenPort = 51820\nAddress = 10.9.0.2/24\n' "$key"
  printf '[Peer]\nPublicKey = %s\nAllowedIPs = 10.9.0.1/32\n' "$(wg pubkey <<<"$ka")"
  printf '[Peer]\nPublicKey = %s\nAllowedIPs = 10.9.0.3/32\n' "$(wg pubkey <<<"$kd")"
} >"$W/adfb.conf"
client "$W/adfa.conf" "$ka" 1 192.0.2.2
client "$W/adfd.conf" "$kd" 3 203.0.113.2
up "$B" "$W/adfb.conf"; PIDS+=("$UP")
up "$A" "$W/adfa.conf"; PIDS+=("$UP")
ip netns exec "$A" ping -n -c 1 -W 5 10.9.0.2 >/dev/null
ip netns exec "$B" iperf3 -s >/dev/null 2>&1 &
PIDS+=($!)

# The packets are made once; sendmmsg(2) takes 100 of them.
cat >"$W/flood.py" <<'P'
import base64, ctypes, hashlib, random, socket, struct, sys, time
key, port, rate = base64.b64decode(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
mac_key = hashlib.blake2s(b'mac1----' + key).digest()
r = random.Random(3)
class Iovec(ctypes.Structure):
    _fields_ = [('base', ctypes.c_char_p), ('len', ctypes.c_size_t)]
class Msg(ctypes.Structure):
    _fields_ = [('name', ctypes.c_char_p), ('namelen', ctypes.c_uint), ('iov', ctypes.POINTER(Iovec)),
                ('iovlen', ctypes.c_size_t), ('control', ctypes.c_void_p), ('controllen', ctypes.c_size_t),
                ('flags', ctypes.c_int), ('pad', ctypes.c_int), ('sent', ctypes.c_uint), ('end', ctypes.c_uint)]
assert ctypes.sizeof(Msg) == 64
COUNT, BURST = 20000, 100
to = struct.pack('=H', socket.AF_INET) + struct.pack('>H', 0) + socket.inet_aton('198.51.100.2') + bytes(8)
messages = (Msg * COUNT)()
for n in range(COUNT):
    m = bytes([1, 0, 0, 0]) + r.randbytes(112)
    m += hashlib.blake2s(m, key=mac_key, digest_size=16).digest() + bytes(16)
    source = socket.inet_aton('100.%d.%d.%d' % (64 + r.randrange(64), r.randrange(256), r.randrange(1, 255)))
    udp = struct.pack('>HHHH', r.randrange(1024, 65535), port, 8 + len(m), 0) + m
    packet = struct.pack('>BBHHHBBH', 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + source
    packet += socket.inet_aton('198.51.100.2') + udp
    iov = Iovec(packet, len(packet))
    messages[n] = Msg(to, 16, ctypes.pointer(iov), 1, None, 0, 0, 0, 0, 0)
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
send = ctypes.CDLL(None, use_errno=True).sendmmsg
start = then = time.monotonic()
sent = 0
while True:
    at = sent % COUNT
    n = send(s.fileno(), ctypes.byref(messages, at * ctypes.sizeof(Msg)), min(BURST, COUNT - at), 0)
    assert n > 0, ctypes.get_errno()
    sent += n
    ahead = sent / rate - (time.monotonic() - start)
    if ahead > 0:
        time.sleep(ahead)
    now = time.monotonic()
    if now - then > 0.5:
        then = now
        print('%.0f' % (sent / (now - start)), file=open(sys.argv[4], 'w'))
P
# flood PORT: in FLOOD, once it is under way
flood() {
  rm -f "$W/rate"
  ip netns exec "$C" python3 "$W/flood.py" "$PUBLIC" "$1" "$RATE" "$W/rate" &
  FLOOD=$!
  until [ -s "$W/rate" ]; do kill -0 "$FLOOD"; sleep 0.1; done
}
# traffic WORDS...: Mbit/s that came across
traffic() {
  timeout $((SECS + 15)) ip netns exec "$A" iperf3 -c 10.9.0.2 -t "$SECS" -J "$@" |
    jq '.end.sum_received.bits_per_second / 1e6'
}

ip netns exec "$B" python3 -c "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('198.51.100.2', 9999))
while True: s.recv(2000)" &
PIDS+=($!)
flood 9999
quiet=$(traffic) quiet_offered=$(traffic -b "$OFFERED")
end KILL "$FLOOD"
flood 51820
PIDS+=("$FLOOD")
loud=$(traffic) loud_offered=$(traffic -b "$OFFERED")
for _ in $(seq "$PEERS"); do
  up "$D" "$W/adfd.conf"
  t=$(date +%s%N)
  for _ in $(seq 300); do
    ip netns exec "$D" ping -n -c 1 -W 0.1 10.9.0.2 >/dev/null 2>&1 && break
  done
  echo $((($(date +%s%N) - t) / 1000000)) >>"$W/connected"
  end TERM "$UP"
done
echo "initiations a second        $(cat "$W/rate")"
sort -n "$W/connected" | awk '{v[NR] = $1} END {
  printf "honest peers connected in   p50 %d ms, p99 %d ms, of %d; at most 5000\n",
    v[int((NR + 1) / 2)], v[int(NR * 0.99 + 0.99)], NR
  exit v[int(NR * 0.99 + 0.99)] > 5000}' || failed=1
awk -v a="$quiet_offered" -v b="$loud_offered" -v o="$OFFERED" 'BEGIN {
  printf "of %s/s offered, Mbit/s   %.0f without, %.0f with it: %.2f; at least 0.80\n", o, a, b, b / a
  exit b < 0.8 * a}' || failed=1
awk -v a="$quiet" -v b="$loud" 'BEGIN {
  printf "TCP that takes all, Mbit/s  %.0f without, %.0f with it: %.2f\n", a, b, b / a}'
exit ${failed:-0}
