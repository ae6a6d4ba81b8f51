#!/usr/bin/env bash
# Tunnels side by side, in turn, between two namespaces joined by a veth pair of MTU 1500. All traffic
# stays in the namespaces; they and every program in them go at the end.
#
#   bench/tunnel.sh [ROUNDS] [TUNNEL...]      needs root, iperf3, jq, wg and the programs
#
#   adit            packets in UDP, a wg-quick file; the cipher that both ends are faster with
#   adit-chacha     like adit, with the cipher of WireGuard (Suite = wireguard)
#   adit-tap        frames in UDP, between ends of ours
#   adit-tcp        packets in TCP
#   adit-fifo       like adit, ahead of every program (SCHED_FIFO): what of the wait is for a core
#   wireguard-go    $WIREGUARD_GO: the one in Debian 12 is years old
#   boringtun       $PEERS/bin/boringtun-cli with one thread, its fastest here
#   gotatun         $PEERS/bin/gotatun
#   vtun-tcp        $VTUND: TCP, nothing encrypted
#
#   ROWS="tcp1 tcp4 reverse udp idle load"    what is measured of each; all unless given
#   SECS=2                                    of each stream
#   ADIT, WIREGUARD_GO, VTUND=PATH
#   PEERS=target/peers-release      made by crates/cli/tests/tunnel/peers.sh if it is not there
#   NICE=-3 TXQUEUELEN=500          of every program and device, so that none has an advantage
#
# A round runs each once, in an order that turns: the speed of a machine drifts, and who comes after whom may
# matter. Read the ratios to the first, which are of medians; beside them are the lowest and the highest
# of the rounds. CPU is the seconds of a program for each 10^9 bytes that one stream brought across; beside it
# what part of that the cipher alone takes, if bench/aead.sh was run. udp is what of a flood in datagrams
# of 1272 bytes arrives.
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=${1:-3}
[ $# = 0 ] || shift
SECS=${SECS:-2} ROWS=${ROWS:-tcp1 tcp4 reverse udp idle load}
ADIT=${ADIT:-target/release/adit} WIREGUARD_GO=${WIREGUARD_GO:-wireguard-go} VTUND=${VTUND:-vtund}
PEERS=${PEERS:-target/peers-release} NICE=${NICE:--3} TXQUEUELEN=${TXQUEUELEN:-500}
NAME=bench
# shellcheck source=bench/lib.sh
. bench/lib.sh
need iperf3 jq wg
[ -x "$ADIT" ] || { echo "$ADIT is missing: cargo build --release" >&2; exit 1; }

# The program of a tunnel
program() {
  case $1 in
    adit*) echo "$ADIT" ;;
    wireguard-go) echo "$WIREGUARD_GO" ;;
    boringtun) echo "$PEERS/bin/boringtun-cli" ;;
    gotatun) echo "$PEERS/bin/gotatun" ;;
    vtun-tcp) echo "$VTUND" ;;
    *) echo "no tunnel is called $1" >&2; exit 2 ;;
  esac
}

[ -d "$PEERS" ] || crates/cli/tests/tunnel/peers.sh "$PEERS" release ||
  echo "the peers from crates.io could not be made" >&2

TUNNELS=()
[ $# != 0 ] || set -- adit adit-chacha wireguard-go boringtun gotatun adit-tap adit-tcp adit-fifo vtun-tcp
for tunnel; do
  path=$(program "$tunnel")
  if command -v "$path" >/dev/null; then TUNNELS+=("$tunnel"); else echo "left out: no $path" >&2; fi
done

[ ${#TUNNELS[@]} != 0 ] || exit 1

# background LOG COMMAND...: not by a function that runs it, for what is killed must be the program
background() {
  local log=$1; shift
  nice -n "$NICE" "$@" >"$W/$log" 2>&1 </dev/null &
  PIDS+=($!)
}

address() { # NAMESPACE DEVICE NUMBER MTU
  wait_for ip -n "$1" link show dev "$2"
  ip -n "$1" addr add "10.99.0.$3/24" dev "$2"
  ip -n "$1" link set "$2" mtu "$4" up
}

# A side of a tunnel: NAME NAMESPACE DEVICE NUMBER KEY OTHER-PUBLIC
side_of_wireguard() {
  local other=$((3 - $4)) conf=$W/$3.conf
  {
    printf '[Interface]\nPrivateKey = %s\nListenPort = 51820\n' "$5"
    [[ $1 = adit* ]] && printf 'Address = 10.99.0.%s/24\nMTU = 1420\nTable = off\n' "$4"
    printf '[Peer]\nPublicKey = %s\nAllowedIPs = 10.99.0.%s/32\nEndpoint = 192.0.2.%s:51820\n' \
      "$6" "$other" "$other"
    [ "$1" != adit-chacha ] || printf 'Suite = wireguard\n'
  } >"$conf"
  case $1 in
    adit | adit-chacha) background "$3.log" "$ADIT" -q -n "$2" tunnel up "$conf"; return ;;
    adit-fifo) background "$3.log" chrt -f 1 "$ADIT" -q -n "$2" tunnel up "$conf"; return ;;
    wireguard-go) background "$3.log" ip netns exec "$2" env LOG_LEVEL=error "$WIREGUARD_GO" -f "$3" ;;
    boringtun) background "$3.log" ip netns exec "$2" "$PEERS/bin/boringtun-cli" -f -t 1 --disable-drop-privileges "$3" ;;
    gotatun) background "$3.log" ip netns exec "$2" "$PEERS/bin/gotatun" -f --disable-drop-privileges "$3" ;;
  esac
  wait_for test -S "/run/wireguard/$3.sock"
  wait_for wg setconf "$3" "$conf"
  address "$2" "$3" "$4" 1420
}

side_of_adit() {
  local other=$((3 - $4)) conf=$W/$3.toml
  {
    printf '[interface]\nprivate_key = "%s"\nlisten_port = 51820\n' "$5"
    printf 'addresses = ["10.99.0.%s/24"]\ntable = "off"\n' "$4"
    [ "$1" = adit-tcp ] && printf 'mtu = 1420\n'
    [ "$1$4" = adit-tcp2 ] && printf 'listen_tcp = 443\n'
    printf '[[peer]]\npublic_key = "%s"\n' "$6"
    case $1$4 in
      adit-tap*) printf 'mode = "tap"\nendpoint = "192.0.2.%s:51820"\n' "$other" ;;
      adit-tcp1) printf 'transport = "tcp"\nendpoint = "192.0.2.2:443"\nkeepalive = 1\n' ;;
    esac
    [ "$1" = adit-tap ] || printf 'allowed_ips = ["10.99.0.%s/32"]\n' "$other"
  } >"$conf"
  background "$3.log" "$ADIT" -q -n "$2" tunnel up "$conf"
}

side_of_vtun() {
  mkdir -p /var/lock/vtund /var/run/vtund
  cat >"$W/$3.conf" <<C
options { port 5000; timeout 20; ip /sbin/ip; }
default { type tun; proto tcp; encrypt no; compress no; keepalive yes; speed 0; multi killold; }
bench { passwd bench; device $3; persist no; up { ip "link set %% up"; }; }
C
  if [ "$4" = 2 ]; then
    background "$3.log" ip netns exec "$2" "$VTUND" -s -n -f "$W/$3.conf"
  else
    background "$3.log" ip netns exec "$2" "$VTUND" -n -f "$W/$3.conf" bench 192.0.2.2
  fi
}

start() { # TUNNEL
  local ka kb kind=$1
  umask 077
  ka=$(wg genkey) kb=$(wg genkey)
  case $1 in
    adit-tap | adit-tcp) kind=adit ;;
    vtun-*) kind=vtun ;;
    *) kind=wireguard ;;
  esac
  # The server first: vtun's client does not wait for it.
  "side_of_$kind" "$1" "$B" adbtb 2 "$kb" "$(wg pubkey <<<"$ka")"
  [ "$kind" = vtun ] && wait_for sh -c "ip netns exec $B ss -ltn | grep -q :5000"
  "side_of_$kind" "$1" "$A" adbta 1 "$ka" "$(wg pubkey <<<"$kb")"
  if [ "$kind" = vtun ]; then
    address "$A" adbta 1 1450
    address "$B" adbtb 2 1450
  fi
}

# CPU seconds of a process and its children, all threads
cpu() {
  local sum=0 pid
  for pid in $1 $(pgrep -P "$1" || true); do
    sum=$(sed 's/^.*) //' "/proc/$pid/stat" |
      awk -v hz="$(getconf CLK_TCK)" -v sum="$sum" '{print sum + ($12 + $13) / hz}')
  done
  echo "$sum"
}
rss() { awk '/VmHWM/{print $2}' "/proc/$1/status"; }
median() { percentile 50; }
rtt() { in_a ping -n -i "$1" -c "$2" -W 1 10.99.0.2 | sed -n 's/.*time=\([0-9.]*\) ms/\1/p' || true; }
wanted() { [[ " $ROWS " = *" $1 "* ]]; }

# stream NAME ARGUMENTS...: appends Mbit/s and bytes that arrived
stream() {
  local name=$1; shift
  timeout $((SECS + 15)) ip netns exec "$A" iperf3 -c 10.99.0.2 -t "$SECS" -J "$@" >"$W/json" || true
  jq -er '.end | (.sum_received // .sum) | "\(.bits_per_second / 1e6) \(.bytes)"' "$W/json" \
    >>"$W/$name" 2>/dev/null || { echo "$name: $(jq -r .error "$W/json")" >&2; return 1; }
}

measure() { # TUNNEL
  local t=$1 a b a0 b0 bytes
  net
  start "$t"
  b=${PIDS[0]} a=${PIDS[1]}
  wait_for ip -n "$A" link set adbta txqueuelen "$TXQUEUELEN"
  wait_for ip -n "$B" link set adbtb txqueuelen "$TXQUEUELEN"
  background iperf.log ip netns exec "$B" iperf3 -s -B 0.0.0.0
  wait_for in_a ping -c 1 -W 1 10.99.0.2
  wait_for sh -c "ip netns exec $B ss -ltn | grep -q :5201"
  ! wanted idle || rtt 0.002 400 >>"$W/$t.idle"
  if wanted tcp1; then
    a0=$(cpu "$a") b0=$(cpu "$b")
    if stream "$t.tcp1"; then
      bytes=$(tail -1 "$W/$t.tcp1" | cut -d' ' -f2)
      awk "BEGIN{print ($(cpu "$a") - $a0) / $bytes * 1e9}" >>"$W/$t.cpu_send"
      awk "BEGIN{print ($(cpu "$b") - $b0) / $bytes * 1e9}" >>"$W/$t.cpu_receive"
    fi
  fi
  ! wanted tcp4 || stream "$t.tcp4" -P 4 || true
  ! wanted reverse || stream "$t.reverse" -R || true
  ! wanted udp || stream "$t.udp" -u -b 0 -l 1272 || true
  if wanted load; then
    { timeout 20 ip netns exec "$A" iperf3 -c 10.99.0.2 -t 3 >/dev/null 2>&1 & } ; local load=$!
    sleep 0.5
    rtt 0.004 500 >>"$W/$t.load"
    wait "$load" || true
  fi
  rss "$a" >>"$W/$t.rss"
  cleanup
}

for round in $(seq "$ROUNDS"); do
  turn=$(((round - 1) % ${#TUNNELS[@]}))
  for tunnel in "${TUNNELS[@]:turn}" "${TUNNELS[@]:0:turn}"; do
    echo "round $round: $tunnel" >&2
    measure "$tunnel"
  done
done

value() { # TUNNEL WHAT
  local file=$W/$1.${2%%[0-9][0-9]}
  [ -s "$file" ] || { echo -; return; }
  case $2 in
    idle50 | load50) percentile 50 <"$file" ;;
    idle99 | load99) percentile 99 <"$file" ;;
    *) awk '{print $1}' "$file" | median ;;
  esac
}
# The lowest and the highest of the rounds, or of all pings
spread() { # TUNNEL WHAT
  awk '{print $1}' "$W/$1.${2%%[0-9][0-9]}" 2>/dev/null | sort -n |
    awk 'NR == 1 {low = $1} END {if (NR) printf "%.4g-%.4g", low, $1; else print "-"}'
}
# Seconds of one core for 10^9 bytes in packets of 1420, of the cipher alone
row="ring seal"
[ "${TUNNELS[0]}" != adit ] || row="AES-256, ring seal"
cipher=$(awk -v row="$row" 'index($0, row " ") == 1 {sub(/ Gbit.*/, ""); print 8 / $NF}' bench/aead/target/figures 2>/dev/null || true)

printf '%-28s' ""
printf ' %36s' "${TUNNELS[@]}"
printf '\n'
while read -r what label; do
  first=$(value "${TUNNELS[0]}" "$what")
  [ "$first" != - ] || continue
  printf '%-28s' "$label"
  for tunnel in "${TUNNELS[@]}"; do
    awk -v x="$first" -v y="$(value "$tunnel" "$what")" -v spread="$(spread "$tunnel" "$what")" \
      'BEGIN{if (y == "-") printf " %36s", y; else printf " %11.3f x %6.2f %15s", y, y ? x / y : 0, spread}'
  done
  printf '\n'
done <<'L'
tcp1 TCP, one stream, Mbit/s
tcp4 TCP, four streams, Mbit/s
reverse TCP, one stream back, Mbit/s
udp UDP, arrives, Mbit/s
cpu_send CPU s/GB, sender
cpu_receive CPU s/GB, receiver
idle50 ping idle p50, ms
idle99 ping idle p99, ms
load50 ping under load p50, ms
load99 ping under load p99, ms
rss memory at most, KiB
L
if [ -n "$cipher" ] && wanted tcp1; then
  awk -v c="$cipher" -v s="$(value "${TUNNELS[0]}" cpu_send)" -v r="$(value "${TUNNELS[0]}" cpu_receive)" 'BEGIN{
    printf "the cipher alone, one core: %.3f s/GB; of its speed %s reaches %.0f %% sending, %.0f %% receiving\n",
      c, "'"${TUNNELS[0]}"'", c / s * 100, c / r * 100}'
fi
