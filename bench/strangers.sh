#!/usr/bin/env bash
# A tunnel's server that strangers attack: how soon honest peers connect, by UDP and by TCP, and what becomes of the
# pings of one that is there.
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

PEERS=${1:-50} ATTACKS=${ATTACKS:-connections cookies} HONEST=0
CONNECTIONS=${CONNECTIONS:-1000} SOURCES=${SOURCES:-5000} RATE=${RATE:-20000}
PROGRAMS="jq python3 wg"
. bench/attack/world.sh

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
    connect "$2" >>"$W/$1"
  done
}

server "$W/adsb.toml" "listen_tcp = 443"
client "$W/adsa.toml" "$ka" 1 192.0.2.2:51820 udp
client "$W/adsu.toml" "$kd" 3 203.0.113.2:51820 udp
client "$W/adst.toml" "$kd" 3 203.0.113.2:443 tcp
up "$B" "$W/adsb.toml"; PIDS+=("$UP")
up "$A" "$W/adsa.toml"; PIDS+=("$UP")
ip netns exec "$A" ping -n -c 1 -W 5 10.9.0.2 >/dev/null

connections() {
  pings quiet
  # The same to a program that closes what it accepts: attacker, server and pings share the processors here.
  ip netns exec "$B" python3 -c "
import socket
s = socket.create_server(('198.51.100.2', 9999), backlog=4096)
while True: s.accept()[0].close()" &
  PIDS+=($!)
  attack connections.py 9999 "$CONNECTIONS"
  pings elsewhere
  end KILL "$ATTACK"
  attack connections.py 443 "$CONNECTIONS"
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
  attack cookies.py "$PUBLIC" "$SOURCES" "$RATE"
  connects udp "$W/adsu.toml"
  kill -0 "$ATTACK" || { echo "the attack was over too early: fewer PEERS" >&2; failed=1; }
  echo "with cookies: $(cat "$W/state"), $(ip netns exec "$B" awk '/^Udp:/ {n = $6} END {print n}' /proc/net/snmp) lost in the socket"
  end KILL "$ATTACK"
  report udp 2000 "  honest peers by UDP connect in"
}

for name in $ATTACKS; do "$name"; done
exit ${failed:-0}
