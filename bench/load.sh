#!/usr/bin/env bash
# What a tunnel loses, and how long packets wait in it, while TCP fills it: two namespaces joined by a veth pair of
# MTU 1500. All traffic stays in the namespaces; they and every program in them are removed at the end.
#
#   bench/load.sh [ROUNDS] [SUBJECT...]       needs root, iperf3, jq, wg, setpriv, taskset
#
#   adit            $ADIT, a wg-quick file
#   base            $ADIT_BASE, another build of it
#   wireguard-go    $WIREGUARD_GO
#   SUBJECT-nice    the same with nice -3 (adit sets it itself), SUBJECT-plain with nice 0
#
#   CCS="reno cubic bbr"  STREAMS="1 4"       the streams to measure; ping runs beside each of them
#   SECS=3                                    of each
#   PIN=1                                     each end, with its programs, on a core of its own: 0 and 1
#   BUSY=1                                    a program fills core 1
#   KEEP=FILE                                 append one line a run: subject, stream, and all columns
#
# The order of the subjects rotates each round. A line shows medians over the rounds, and in brackets the least and the
# greatest. "rexmit" is retransmitted segments in percent of those sent, by the kernel's counters of the sender;
# "socket" datagrams that the UDP socket of the receiver dropped, "device" packets that the sender's device dropped.
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=${1:-5}
[ $# = 0 ] || shift
[ $# != 0 ] || set -- adit ${ADIT_BASE:+base} wireguard-go
SUBJECTS=("$@")
ADIT=${ADIT:-target/release/adit} ADIT_BASE=${ADIT_BASE:-} WIREGUARD_GO=${WIREGUARD_GO:-wireguard-go}
CCS=${CCS:-reno cubic bbr} STREAMS=${STREAMS:-1 4} SECS=${SECS:-3} PIN=${PIN:-} BUSY=${BUSY:-}
NAME=load
# shellcheck source=bench/lib.sh
. bench/lib.sh
KEEP=${KEEP:-$W/runs}
need iperf3 jq wg setpriv taskset

# end SIDE COMMAND...: the words of a command of one end, in WORDS
end() {
  local side=$1; shift
  WORDS=(ip netns exec "$A")
  [ "$side" = a ] || WORDS=(ip netns exec "$B")
  [ -z "$PIN" ] || { [ "$side" = a ] && WORDS+=(taskset -c 0) || WORDS+=(taskset -c 1); }
  WORDS+=("$@")
}
background() { "${WORDS[@]}" >"$W/log.${#PIDS[@]}" 2>&1 </dev/null & PIDS+=($!); }

# peer SUBJECT SIDE NUMBER KEY OTHER-PUBLIC
peer() {
  local other=$((3 - $3)) conf=$W/adld$2.conf name=adld$2 nice=() program
  {
    printf '[Interface]\nPrivateKey = %s\nListenPort = 51820\n' "$4"
    [[ $1 = wireguard-go* ]] || printf 'Address = 10.99.0.%s/24\nMTU = 1420\nTable = off\n' "$3"
    printf '[Peer]\nPublicKey = %s\nAllowedIPs = 10.99.0.%s/32\nEndpoint = 192.0.2.%s:51820\n' "$5" "$other" "$other"
  } >"$conf"
  case $1 in
    *-nice) nice=(nice -n -3) ;;
    # Without the capability a tunnel keeps the priority that it has.
    *-plain) nice=(setpriv --bounding-set -sys_nice) ;;
  esac
  case $1 in
    wireguard-go*)
      end "$2" "${nice[@]}" env LOG_LEVEL=error "$WIREGUARD_GO" -f "$name"; background
      wait_for test -S "/run/wireguard/$name.sock"
      wg setconf "$name" "$conf"
      local space=$A; [ "$2" = a ] || space=$B
      wait_for ip -n "$space" link show dev "$name"
      ip -n "$space" addr add "10.99.0.$3/24" dev "$name"
      ip -n "$space" link set "$name" mtu 1420 up
      return ;;
    adit*) program=$ADIT ;;
    base*) program=$ADIT_BASE ;;
    *) echo "no subject is called $1" >&2; exit 2 ;;
  esac
  end "$2" "${nice[@]}" "$program" -q tunnel up "$conf"; background
}

# snmp SPACE GROUP FIELD
snmp() {
  ip netns exec "$1" cat /proc/net/snmp |
    awk -v g="$2:" -v f="$3" '$1 == g {if (!n) {for (i = 2; i <= NF; i++) if ($i == f) n = i} else print $n}'
}
dropped() { ip netns exec "$1" cat "/sys/class/net/$2/statistics/tx_dropped"; }
cpu() { sed 's/^.*) //' "/proc/$1/stat" | awk '{print $12 + $13}'; }

counters() {
  echo "$(snmp "$A" Tcp RetransSegs) $(snmp "$A" Tcp OutSegs) $(snmp "$B" Udp RcvbufErrors) \
$(snmp "$A" Udp RcvbufErrors) $(dropped "$A" adlda) $(dropped "$B" adldb) $(cpu "${PIDS[0]}") $(cpu "${PIDS[1]}")"
}

stream() { # SUBJECT CC STREAMS
  local before after load rate
  before=$(counters)
  end a timeout $((SECS + 15)) iperf3 -c 10.99.0.2 -t "$SECS" -J -C "$2" -P "$3"
  "${WORDS[@]}" >"$W/json" 2>&1 &
  load=$!
  sleep 0.5
  end a ping -n -i 0.004 -c $(((SECS * 1000 - 800) / 4)) -W 1 10.99.0.2
  "${WORDS[@]}" 2>/dev/null | sed -n 's/.*time=\([0-9.]*\) ms/\1/p' >"$W/rtt" || true
  wait "$load" || true
  rate=$(jq -er '.end.sum_received.bits_per_second / 1e6' "$W/json") ||
    { echo "$*: $(head -c 300 "$W/json")" >&2; return; }
  after=$(counters)
  echo "$1 $2x$3 $rate $(percentile 50 <"$W/rtt") $(percentile 99 <"$W/rtt") $before $after" |
    awk '{for (i = 1; i <= 8; i++) d[i] = $(i + 13) - $(i + 5)
      printf "%s %s %.0f %.4f %.3f %.3f %d %d %.3f\n", $1, $2, $3, d[1] / d[2] * 100, $4, $5, d[3] + d[4], d[5] + d[6],
        (d[7] + d[8]) / 100 / ($3 * '"$SECS"' / 8e3)}' >>"$KEEP"
}

measure() { # SUBJECT
  local ka kb cc n
  net
  umask 077
  ka=$(wg genkey) kb=$(wg genkey)
  peer "$1" b 2 "$kb" "$(wg pubkey <<<"$ka")"
  peer "$1" a 1 "$ka" "$(wg pubkey <<<"$kb")"
  end b iperf3 -s -B 0.0.0.0; background
  wait_for in_a ping -c 1 -W 1 10.99.0.2
  wait_for sh -c "ip netns exec $B ss -ltn | grep -q :5201"
  for cc in $CCS; do for n in $STREAMS; do stream "$1" "$cc" "$n"; done; done
  cleanup
}

[ -z "$BUSY" ] || fill_core
for round in $(seq 0 $((ROUNDS - 1))); do
  for at in "${!SUBJECTS[@]}"; do
    measure "${SUBJECTS[(at + round) % ${#SUBJECTS[@]}]}"
  done
  echo "round $((round + 1)) of $ROUNDS" >&2
done

printf '%-18s %-8s' subject stream
for name in Mbit/s 'rexmit %' 'p50 ms' 'p99 ms' socket device 'CPU s/GB'; do printf ' %24s' "$name"; done
echo
for cc in $CCS; do for n in $STREAMS; do for subject in "${SUBJECTS[@]}"; do
  printf '%-18s %-8s' "$subject" "${cc}x$n"
  for column in 3 4 5 6 7 8 9; do
    awk -v s="$subject" -v t="${cc}x$n" -v c="$column" '$1 == s && $2 == t {print $c}' "$KEEP" | sort -n |
      awk '{v[NR] = $1} END {if (!NR) v[NR = 1] = "-"; printf " %24s", v[int((NR + 1) / 2)] " [" v[1] " " v[NR] "]"}'
  done
  echo
done; done; done
