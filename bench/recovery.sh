#!/usr/bin/env bash
# How soon a tunnel goes on after a fault: two namespaces joined by a veth pair, `adit tunnel` in both, a
# ping of 50 a second from one to the other. All traffic stays in the namespaces; they and every program in
# them go at the end.
#
#   bench/recovery.sh [RUNS [FAULT...]]   20 runs of each fault unless given; needs root, iproute2, nft, wg
#
#   ADIT=PATH                             the program; target/release/adit unless given
#
#   restarted   the peer is killed and started again, and knows where we are:      2 s from its start
#   forgotten   the same, and it does not: we must find out that it is silent:     16 s from its end
#   port        we send from another port                                          1 packet lost each way
#   address     we have another address                                            1 packet lost each way
#   rebound     a NAT between us sends from another port                           1 packet lost each way
#   family      IPv6 in place of IPv4, or the reverse                              1 packet lost each way
#   flap        the link between us is down for half a second                      1 s from when it is up
#   deleted     our device is deleted                                              1 s
#   stopped     SIGSTOP for 5 s, at sixty times the speed: 5 min of the protocol   2 s from SIGCONT
set -euo pipefail
cd "$(dirname "$0")/.."

RUNS=${1:-20}
shift || true
FAULTS=("$@")
[ ${#FAULTS[@]} -gt 0 ] ||
  FAULTS=(restarted forgotten port address rebound family flap deleted stopped)
ADIT=${ADIT:-target/release/adit}
A=adit-recovery-a-$$ B=adit-recovery-b-$$
W=$(mktemp -d)
PIDS=()
PING=

[ "$(id -u)" = 0 ] || { echo "needs root, for namespaces" >&2; exit 1; }
for program in nft wg; do
  command -v "$program" >/dev/null || { echo "$program is missing" >&2; exit 1; }
done
[ -x "$ADIT" ] || { echo "$ADIT is missing: cargo build --release" >&2; exit 1; }

end() { kill -"$1" "$2" 2>/dev/null || true; wait "$2" 2>/dev/null || true; }
stop() {
  [ -z "$PING" ] || end INT "$PING"
  PING=
  for pid in "${PIDS[@]}"; do end TERM "$pid"; done
  PIDS=()
}
cleanup() {
  [ ${#PIDS[@]} = 0 ] || kill -CONT "${PIDS[@]}" 2>/dev/null || true
  stop
  ip netns del "$A" 2>/dev/null || true
  ip netns del "$B" 2>/dev/null || true
  rm -rf "$W"
}
trap cleanup EXIT

# up NAMESPACE FILE WORDS...: started, and up; its process is in UP
up() {
  local net=$1 file=$2
  shift 2
  "$ADIT" -v -n "$net" tunnel up "$file" "$@" 2>"$file.log" &
  UP=$!
  until grep -qx up "$file.log"; do
    kill -0 "$UP" || { cat "$file.log" >&2; exit 1; }
    sleep 0.005
  done
}

# world PEER-LINES WORDS...: both ends, with these lines in b's [Peer]
world() {
  local lines=$1 ka kb
  shift
  umask 077
  ip netns add "$A"; ip netns add "$B"
  ip link add ua netns "$A" type veth peer name ub netns "$B"
  local number=1 side
  for side in "$A ua" "$B ub"; do
    # shellcheck disable=SC2086
    set -- "$@" $side
    ip -n "${side% *}" link set lo up
    ip -n "${side% *}" addr add 192.0.2.$number/24 dev "${side#* }"
    ip -n "${side% *}" addr add 2001:db8::$number/64 dev "${side#* }" nodad
    ip -n "${side% *}" link set "${side#* }" up
    number=2
  done
  set -- "${@:1:$#-4}"
  ka=$(wg genkey) kb=$(wg genkey)
  printf '[Interface]\nPrivateKey = %s\nListenPort = 51820\nAddress = 10.9.0.1/24\n[Peer]\nPublicKey = %s\n' \
    "$ka" "$(wg pubkey <<<"$kb")" >"$W/adra.conf"
  printf 'AllowedIPs = 10.9.0.2/32\nEndpoint = 192.0.2.2:51820\n' >>"$W/adra.conf"
  printf '[Interface]\nPrivateKey = %s\nListenPort = 51820\nAddress = 10.9.0.2/24\n[Peer]\nPublicKey = %s\n' \
    "$kb" "$(wg pubkey <<<"$ka")" >"$W/adrb.conf"
  printf 'AllowedIPs = 10.9.0.1/32\n%s\n' "$lines" >>"$W/adrb.conf"
  up "$A" "$W/adra.conf" "$@"; PIDS+=("$UP")
  up "$B" "$W/adrb.conf" "$@"; PIDS+=("$UP")
  ip netns exec "$A" ping -n -c 1 -W 5 10.9.0.2 >/dev/null
}
gone() {
  stop
  ip netns del "$A"; ip netns del "$B"
}

now() { date +%s.%N; }
flow() {
  ip netns exec "$A" ping -D -n -O -i 0.02 10.9.0.2 >"$W/ping" 2>/dev/null &
  PING=$!
  sleep 0.3
}
# since MOMENT: the seconds from then to the next answer, once it is there
since() {
  local after
  for _ in $(seq 3000); do
    after=$(sed -n 's/^\[\([0-9.]*\)\] [0-9]* bytes from.*/\1/p' "$W/ping" |
      awk -v t="$1" '$1 > t {printf "%.3f", $1 - t; exit}')
    [ -z "$after" ] || break
    sleep 0.01
  done
  echo "${after:-99}"
}

# lost COMMAND...: how many packets are lost, at 100 a second, of requests or answers, whichever is more;
# all of them if b does not see a elsewhere then
lost() {
  local before asked answered was
  was=$(wg show adrb endpoints)
  before=$(echoes)
  ip netns exec "$A" ping -n -q -i 0.01 -c 100 -W 1 10.9.0.2 >"$W/quiet" &
  local ping=$!
  sleep 0.4
  "$@" >/dev/null
  wait "$ping" || true
  asked=$(($(echoes) - before))
  answered=$(sed -n 's/.* \([0-9]*\) received.*/\1/p' "$W/quiet")
  [ "$(wg show adrb endpoints)" != "$was" ] || answered=0
  echo $((100 - asked > asked - answered ? 100 - asked : asked - answered))
}
echoes() {
  ip netns exec "$B" cat /proc/net/snmp |
    awk '/^Icmp:/ {if (!n) {for (i = 1; i <= NF; i++) if ($i == "InEchos") n = i} else print $n}'
}

restarted() {
  world 'Endpoint = 192.0.2.1:51820
PersistentKeepalive = 1'
  for _ in $(seq "$RUNS"); do
    flow
    end KILL "${PIDS[1]}"
    local t; t=$(now)
    up "$B" "$W/adrb.conf"; PIDS[1]=$UP
    since "$t"
    end INT "$PING"
    # A peer takes one initiation in 20 ms, and asks again after 5 s.
    sleep 0.2
  done
}
forgotten() {
  world ''
  for _ in $(seq "$RUNS"); do
    flow
    local t; t=$(now)
    end KILL "${PIDS[1]}"
    up "$B" "$W/adrb.conf"; PIDS[1]=$UP
    # What was on its way when it was killed is no answer of the new one.
    sleep 0.1
    t=$(awk -v t="$t" -v n="$(now)" 'BEGIN {printf "%.6f %.3f", n, n - t}')
    awk -v s="$(since "${t% *}")" -v d="${t#* }" 'BEGIN {printf "%.3f\n", s + d}'
    end INT "$PING"
  done
}
port() {
  world ''
  for run in $(seq "$RUNS"); do lost wg set adra listen-port $((52000 + run)); done
}
readdress() {
  ip -n "$A" addr add "192.0.2.$(($1 + 10))/24" dev ua
  ip -n "$A" addr del "192.0.2.$2/24" dev ua
}
address() {
  world ''
  # The first address of a link takes the others with it otherwise.
  ip netns exec "$A" sysctl -qw net.ipv4.conf.all.promote_secondaries=1
  local last=1
  for run in $(seq "$RUNS"); do lost readdress "$run" $last; last=$((run + 10)); done
}
# Without connections: both directions of the NAT are set anew, in one step.
rebind() {
  ip netns exec "$A" nft -f - <<N
table ip nat
delete table ip nat
table ip nat {
  chain out { type filter hook postrouting priority 0; udp sport 51820 udp sport set $1; }
  chain in { type filter hook prerouting priority 0; udp dport $1 udp dport set 51820; }
}
N
}
rebound() {
  world ''
  rebind 40000
  for run in $(seq "$RUNS"); do lost rebind $((40000 + run)); done
}
# An answer on its way from the old address takes the peer back there, as WireGuard has it.
repoint() {
  for _ in $(seq 10); do
    wg set adra peer "$1" endpoint "$2"
    sleep 0.015
    [ "$(wg show adra endpoints)" != "$1	$2" ] || break
  done
}
family() {
  world ''
  local key to
  key=$(wg show adrb public-key)
  for run in $(seq "$RUNS"); do
    [ $((run % 2)) = 0 ] && to=192.0.2.2:51820 || to=[2001:db8::2]:51820
    lost repoint "$key" "$to"
  done
}
flap() {
  world ''
  for _ in $(seq "$RUNS"); do
    flow
    ip -n "$A" link set ua down
    sleep 0.5
    ip -n "$A" link set ua up
    since "$(now)"
    end INT "$PING"
  done
}
deleted() {
  world ''
  for _ in $(seq "$RUNS"); do
    flow
    # Once a second at most it is made anew.
    sleep 1
    ip -n "$A" link del adra
    since "$(now)"
    end INT "$PING"
    kill -0 "${PIDS[0]}" 2>/dev/null || { echo "it has ended" >&2; break; }
  done
}
stopped() {
  world '' --faster 60
  for _ in $(seq "$RUNS"); do
    flow
    kill -STOP "${PIDS[0]}"
    sleep 5
    local t; t=$(now)
    kill -CONT "${PIDS[0]}"
    since "$t"
    end INT "$PING"
  done
}

limit() {
  case $1 in
    restarted | stopped) echo 2 ;;
    forgotten) echo 16 ;;
    *) echo 1 ;;
  esac
}
unit() { case $1 in port | address | rebound | family) echo packets ;; *) echo s ;; esac; }

failed=0
printf '%-10s %4s %8s %8s %8s   %s\n' fault runs min median max 'at most'
for fault in "${FAULTS[@]}"; do
  # Not in a subshell, which would keep what is to be ended.
  $fault >"$W/values"
  gone
  sort -n "$W/values" | awk -v f="$fault" -v l="$(limit "$fault")" -v u="$(unit "$fault")" -v w="$RUNS" '
    {v[NR] = $1}
    END {
      ok = NR == w && v[NR] <= l
      printf "%-10s %4d %8.3f %8.3f %8.3f   %s %s: %s\n",
        f, NR, v[1], v[int((NR + 1) / 2)], v[NR], l, u, ok ? "pass" : "FAIL"
      exit !ok
    }' || failed=1
done
exit $failed
