# Two namespaces, $A and $B, joined by a veth pair of MTU 1500 (192.0.2.1 and .2), and the programs in them. A script sets
# NAME and sources this file. $W is a folder for its files. Everything is removed at the exit.
# shellcheck shell=bash

[ "$(id -u)" = 0 ] || { echo "needs root, for namespaces" >&2; exit 1; }
A=adit-$NAME-a-$$ B=adit-$NAME-b-$$
W=$(mktemp -d)
PIDS=()
FULL=

# need PROGRAM...
need() {
  local program
  for program; do
    command -v "$program" >/dev/null || { echo "$program is missing" >&2; exit 1; }
  done
}

in_a() { ip netns exec "$A" "$@"; }
in_b() { ip netns exec "$B" "$@"; }

stop() {
  for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${PIDS[@]}"; do wait "$pid" 2>/dev/null || true; done
  PIDS=()
}
cleanup() {
  stop
  for space in "$A" "$B"; do
    # Some programs have children.
    for pid in $(ip netns pids "$space" 2>/dev/null); do kill "$pid" 2>/dev/null || true; done
    ip netns del "$space" 2>/dev/null || true
  done
}
trap 'cleanup; [ -z "$FULL" ] || kill "$FULL"; rm -rf "$W"' EXIT

net() {
  ip netns add "$A"; ip netns add "$B"
  ip link add ua netns "$A" mtu 1500 type veth peer name ub netns "$B" mtu 1500
  ip -n "$A" addr add 192.0.2.1/24 dev ua
  ip -n "$B" addr add 192.0.2.2/24 dev ub
  for side in "$A ua" "$B ub"; do
    # shellcheck disable=SC2086
    set -- $side
    # vtund ends when a router solicitation comes before its device is up.
    ip netns exec "$1" sysctl -qw net.ipv6.conf.default.disable_ipv6=1
    ip -n "$1" link set lo up; ip -n "$1" link set "$2" up
  done
}

# A program fills core 1 until the exit.
fill_core() { taskset -c 1 sh -c 'while :; do :; done' & FULL=$!; }

# wait_for COMMAND...: until it succeeds, 10 s at most
wait_for() {
  for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
  echo "not within 10 s: $*" >&2; tail -n 5 "$W"/*log* >&2; exit 1
}

percentile() { sort -n | awk -v p="$1" '{v[NR]=$1} END{if(!NR){print "nan"; exit} print v[int(p/100*(NR-1)+1.5)]}'; }
