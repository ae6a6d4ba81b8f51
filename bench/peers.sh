#!/usr/bin/env bash
# Loss of small datagrams that many peers send to one tunnel server, while a program fills a core. All traffic stays in
# two namespaces joined by a veth pair; they and every program in them are removed at the end.
#
#   bench/peers.sh [ROUNDS] [SUBJECT...]      needs root, wg
#
#   adit, base, wireguard-go                  $ADIT, $ADIT_BASE and $WIREGUARD_GO as the server
#
#   PEERS=100  RATE=100000  SECS=5            datagrams of 200 bytes, of all peers together
#   BUSY=1                                    0: no program fills core 1
#
# All peers are one program (bench/peers), which needs no device. "lost" counts what the program has sent and the
# server's device did not deliver to the kernel; "burst" is the longest row of datagrams that was sent at once, because
# the sender itself had to wait for a core.
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=${1:-3}
[ $# = 0 ] || shift
ADIT=${ADIT:-target/release/adit} ADIT_BASE=${ADIT_BASE:-} WIREGUARD_GO=${WIREGUARD_GO:-wireguard-go}
[ $# != 0 ] || set -- adit ${ADIT_BASE:+base} wireguard-go
SUBJECTS=("$@")
PEERS=${PEERS:-100} RATE=${RATE:-100000} SECS=${SECS:-5} BUSY=${BUSY:-1}
SEND=${SEND:-bench/peers/target/release/adit-bench-peers}
NAME=peers
# shellcheck source=bench/lib.sh
. bench/lib.sh
need wg
umask 077
# An older one may speak an older protocol.
[ "$SEND" != bench/peers/target/release/adit-bench-peers ] || (cd bench/peers && cargo build -q --release --locked)
"$SEND" config "$PEERS" >"$W/adpeer.conf"

measure() { # SUBJECT
  local before after sent program
  net
  case $1 in
    wireguard-go)
      ip netns exec "$B" env LOG_LEVEL=error "$WIREGUARD_GO" -f adpeer >"$W/log" 2>&1 & PIDS+=($!)
      wait_for test -S /run/wireguard/adpeer.sock
      grep -vE '^(Address|MTU|Table)' "$W/adpeer.conf" >"$W/wg.conf"
      wg setconf adpeer "$W/wg.conf"
      ip -n "$B" addr add 10.99.0.1/16 dev adpeer; ip -n "$B" link set adpeer up ;;
    base) program=$ADIT_BASE ;;
    *) program=$ADIT ;;
  esac
  [ "$1" = wireguard-go ] || { ip netns exec "$B" "$program" -q tunnel up "$W/adpeer.conf" >"$W/log" 2>&1 & PIDS+=($!); }
  wait_for sh -c "ip -n $B addr show dev adpeer | grep -q 10.99"
  received() { in_b cat /sys/class/net/adpeer/statistics/rx_packets; }
  before=$(received)
  in_a "$SEND" send "$PEERS" 192.0.2.2:51820 "$RATE" "$SECS" >"$W/sent" || { cat "$W/sent" "$W/log" >&2; exit 1; }
  sleep 1
  after=$(received)
  sent=$(awk '/^sent/{print $2}' "$W/sent")
  printf '%-14s sent %s lost %s (%.4f %%)  %s  socket %s\n' "$1" "$sent" $((sent - after + before)) \
    "$(awk "BEGIN{print ($sent - $after + $before) / $sent * 100}")" "$(cut -d' ' -f3- <<<"$(tail -1 "$W/sent")")" \
    "$(in_b awk '/^Udp:/{if (n++) print $6}' /proc/net/snmp)"
  cleanup
}

[ "$BUSY" != 1 ] || fill_core
for round in $(seq 0 $((ROUNDS - 1))); do
  for at in "${!SUBJECTS[@]}"; do measure "${SUBJECTS[(at + round) % ${#SUBJECTS[@]}]}"; done
done
