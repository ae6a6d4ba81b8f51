#!/usr/bin/env bash
# Tunnels side by side: adit and wireguard-go in turn, between two namespaces joined by a veth pair of
# MTU 1500. All traffic stays in the namespaces; they and every program in them go at the end.
#
#   bench/tunnel.sh [ROUNDS]          3 unless given; needs root, iperf3, jq, wg and wireguard-go
#
#   ADIT=PATH  WIREGUARD_GO=PATH      the programs
#   SECS=3                            of each stream of TCP
#
# A round runs each peer once, in turn, for the speed of a machine drifts: read the ratio, which is of
# medians. CPU is the seconds of the program for each 10^9 bytes that one stream brought across.
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=${1:-3} SECS=${SECS:-3}
ADIT=${ADIT:-target/release/adit} WIREGUARD_GO=${WIREGUARD_GO:-wireguard-go}
PEERS=(adit wireguard-go)
A=adit-bench-a-$$ B=adit-bench-b-$$
W=$(mktemp -d)
PIDS=()

[ "$(id -u)" = 0 ] || { echo "needs root, for namespaces" >&2; exit 1; }
for program in iperf3 jq wg "$WIREGUARD_GO"; do
  command -v "$program" >/dev/null || { echo "$program is missing" >&2; exit 1; }
done
[ -x "$ADIT" ] || { echo "$ADIT is missing: cargo build --release" >&2; exit 1; }

in_a() { ip netns exec "$A" "$@"; }
in_b() { ip netns exec "$B" "$@"; }

stop() {
  for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${PIDS[@]}"; do wait "$pid" 2>/dev/null || true; done
  PIDS=()
}
cleanup() {
  stop
  ip netns del "$A" 2>/dev/null || true
  ip netns del "$B" 2>/dev/null || true
  rm -rf "$W"
}
trap cleanup EXIT

net() {
  ip netns add "$A"; ip netns add "$B"
  ip link add ua netns "$A" mtu 1500 type veth peer name ub netns "$B" mtu 1500
  ip -n "$A" addr add 192.0.2.1/24 dev ua
  ip -n "$B" addr add 192.0.2.2/24 dev ub
  for side in "$A ua" "$B ub"; do
    # shellcheck disable=SC2086
    set -- $side
    ip -n "$1" link set lo up; ip -n "$1" link set "$2" up
  done
}

# side PEER NAMESPACE DEVICE NUMBER KEY OTHER-PUBLIC
side() {
  local other=$((3 - $4))
  local conf=$W/$3.conf
  {
    printf '[Interface]\nPrivateKey = %s\nListenPort = 51820\n' "$5"
    [ "$1" = adit ] && printf 'Address = 10.99.0.%s/24\nMTU = 1420\nTable = off\n' "$4"
    printf '[Peer]\nPublicKey = %s\nAllowedIPs = 10.99.0.%s/32\nEndpoint = 192.0.2.%s:51820\n' \
      "$6" "$other" "$other"
  } >"$conf"
  if [ "$1" = adit ]; then
    "$ADIT" -q -n "$2" tunnel up "$conf" 2>"$W/$3.log" &
    PIDS+=($!)
    return
  fi
  ip netns exec "$2" env LOG_LEVEL=error "$WIREGUARD_GO" -f "$3" >"$W/$3.log" 2>&1 &
  PIDS+=($!)
  for _ in $(seq 50); do [ -S "/run/wireguard/$3.sock" ] && break; sleep 0.1; done
  wg setconf "$3" "$conf"
  ip -n "$2" addr add "10.99.0.$4/24" dev "$3"
  ip -n "$2" link set "$3" mtu 1420 up
}

# CPU seconds of a process, all threads
cpu() { sed 's/^.*) //' "/proc/$1/stat" | awk -v hz="$(getconf CLK_TCK)" '{print ($12 + $13) / hz}'; }
rss() { awk '/VmHWM/{print $2}' "/proc/$1/status"; }
percentile() { sort -n | awk -v p="$1" '{v[NR]=$1} END{if(!NR)exit; i=int(p/100*(NR-1)+1.5); print v[i]}'; }
median() { percentile 50; }
rtt() { in_a ping -n -i "$1" -c "$2" -W 1 10.99.0.2 | sed -n 's/.*time=\([0-9.]*\) ms/\1/p'; }

# tcp NAME STREAMS [-R]: appends Mbit/s and bytes
tcp() {
  local name=$1 streams=$2; shift 2
  timeout $((SECS + 15)) ip netns exec "$A" iperf3 -c 10.99.0.2 -t "$SECS" -P "$streams" -J "$@" |
    jq -r '.end.sum_received | "\(.bits_per_second / 1e6) \(.bytes)"' >>"$W/$name"
}

measure() { # PEER
  local peer=$1 ka kb a b a0 b0 bytes
  umask 077
  net
  ka=$(wg genkey) kb=$(wg genkey)
  side "$peer" "$A" adbta 1 "$ka" "$(wg pubkey <<<"$kb")"
  side "$peer" "$B" adbtb 2 "$kb" "$(wg pubkey <<<"$ka")"
  a=${PIDS[0]} b=${PIDS[1]}
  # Not by the function: what is killed must be the program, not a shell before it.
  ip netns exec "$B" iperf3 -s -B 0.0.0.0 >/dev/null 2>&1 &
  PIDS+=($!)
  for _ in $(seq 50); do in_a ping -c 1 -W 1 10.99.0.2 >/dev/null 2>&1 && break; sleep 0.2; done
  rtt 0.002 500 >>"$W/$peer.idle"
  a0=$(cpu "$a") b0=$(cpu "$b")
  tcp "$peer.tcp1" 1
  bytes=$(tail -1 "$W/$peer.tcp1" | cut -d' ' -f2)
  awk "BEGIN{print ($(cpu "$a") - $a0) / $bytes * 1e9}" >>"$W/$peer.cpu_send"
  awk "BEGIN{print ($(cpu "$b") - $b0) / $bytes * 1e9}" >>"$W/$peer.cpu_receive"
  tcp "$peer.tcp4" 4
  tcp "$peer.reverse" 1 -R
  { in_a iperf3 -c 10.99.0.2 -t 3 >/dev/null 2>&1 & } ; local load=$!
  sleep 0.5
  rtt 0.004 500 >>"$W/$peer.load"
  wait "$load" || true
  rss "$a" >>"$W/$peer.rss"
  stop
  ip netns del "$A"; ip netns del "$B"
}

for round in $(seq "$ROUNDS"); do
  for peer in "${PEERS[@]}"; do
    echo "round $round: $peer" >&2
    measure "$peer"
  done
done

value() { # PEER WHAT
  case $2 in
    tcp1 | tcp4 | reverse) awk '{print $1}' "$W/$1.$2" | median ;;
    idle50) percentile 50 <"$W/$1.idle" ;;
    idle99) percentile 99 <"$W/$1.idle" ;;
    load50) percentile 50 <"$W/$1.load" ;;
    load99) percentile 99 <"$W/$1.load" ;;
    *) median <"$W/$1.$2" ;;
  esac
}
printf '%-34s %12s %14s %7s\n' "" "${PEERS[@]}" ratio
while read -r what label; do
  x=$(value adit "$what") y=$(value wireguard-go "$what")
  awk -v l="$label" -v x="$x" -v y="$y" \
    'BEGIN{printf "%-34s %12.3f %14.3f %7.2f\n", l, x, y, y ? x / y : 0}'
done <<'E'
tcp1 TCP, one stream, Mbit/s
tcp4 TCP, four streams, Mbit/s
reverse TCP, one stream back, Mbit/s
cpu_send CPU s/GB, sender
cpu_receive CPU s/GB, receiver
idle50 ping idle p50, ms
idle99 ping idle p99, ms
load50 ping under load p50, ms
load99 ping under load p99, ms
rss memory at most, KiB
E
