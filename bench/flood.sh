#!/usr/bin/env bash
# A tunnel's server under a flood of handshakes: 50,000 initiations a second with a right MAC, from 20,000
# forged addresses. How soon honest peers connect, and what becomes of the traffic of one that is there.
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

PEERS=${1:-50} RATE=${RATE:-50000} OFFERED=${OFFERED:-200M} SECS=${SECS:-5}
PROGRAMS="iperf3 jq python3 wg"
. bench/attack/world.sh

server "$W/adfb.toml"
client "$W/adfa.toml" "$ka" 1 192.0.2.2:51820 udp
client "$W/adfd.toml" "$kd" 3 203.0.113.2:51820 udp
up "$B" "$W/adfb.toml"; PIDS+=("$UP")
up "$A" "$W/adfa.toml"; PIDS+=("$UP")
ip netns exec "$A" ping -n -c 1 -W 5 10.9.0.2 >/dev/null
ip netns exec "$B" iperf3 -s >/dev/null 2>&1 &
PIDS+=($!)

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
attack flood.py "$PUBLIC" 9999 "$RATE"
quiet=$(traffic) quiet_offered=$(traffic -b "$OFFERED")
end KILL "$ATTACK"
attack flood.py "$PUBLIC" 51820 "$RATE"
loud=$(traffic) loud_offered=$(traffic -b "$OFFERED")
for _ in $(seq "$PEERS"); do connect "$W/adfd.toml" >>"$W/connected"; done
echo "from forged addresses: $(cat "$W/state")"
report connected 5000 "honest peers connect in"
awk -v a="$quiet_offered" -v b="$loud_offered" -v o="$OFFERED" 'BEGIN {
  printf "of %s/s offered, Mbit/s   %.0f without, %.0f with it: %.2f; at least 0.80\n", o, a, b, b / a
  exit b < 0.8 * a}' || failed=1
awk -v a="$quiet" -v b="$loud" 'BEGIN {
  printf "TCP that takes all, Mbit/s  %.0f without, %.0f with it: %.2f\n", a, b, b / a}'
exit ${failed:-0}
