#!/bin/bash
# The NAT, by packets and with --datapath splice, against the kernel's masquerade and slirp4netns: one TCP stream up and down, in turns.
#
#   bench/nat.sh [ROUNDS] [SECONDS]        needs iperf3, jq, nft, iproute2; no root
#
# inside: nothing but the program's device, MTU 1500 === host === veth, MTU 1500 === outside: iperf3
# All three use reno. Each line: the program, Gbit/s up and down, CPU seconds of the program a gigabyte.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1:-}" != inside ]; then
  cargo build --quiet --release -p adit-runtime --example nat
  cargo build --quiet --release -p adit
  exec unshare -Urnm -- "$0" inside "$@"
fi
shift
rounds=${1:-5} seconds=${2:-1}
nat=$PWD/target/release/examples/nat
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null' EXIT

space() { # a namespace; its process is in $new
  unshare -n sleep 3600 &
  new=$!
  pids+=("$new")
  until [ "$(readlink /proc/$new/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
  nsenter -t "$new" -n sysctl -qw net.ipv4.tcp_congestion_control=reno
  nsenter -t "$new" -n ip link set lo up
}

ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat" 2>/dev/null || echo 0; }

# Gbit/s of one transfer and CPU seconds of $2 a gigabyte; further words for iperf3.
once() {
  local target=$1 tool=$2 before after bits
  shift 2
  before=$(ticks "$tool")
  bits=$(nsenter -t "$target" -n iperf3 -J -c 192.0.2.2 -t "$seconds" "$@" | jq '.end.sum_received.bits_per_second // 0')
  after=$(ticks "$tool")
  awk -v b="$bits" -v t=$((after - before)) -v s="$seconds" 'BEGIN { printf "%.1f Gbit/s %.2f CPU s/GB", b / 1e9, b ? t / 100 / (b * s / 8e9) : 0 }'
}

ip link set lo up
sysctl -qw net.ipv4.tcp_congestion_control=reno net.ipv4.ip_forward=1
space; outside=$new
ip link add up0 type veth peer name up1 netns "$outside"
ip addr add 192.0.2.1/24 dev up0
ip link set up0 up
nsenter -t "$outside" -n sh -c 'ip addr add 192.0.2.2/24 dev up1; ip link set up1 up'
nsenter -t "$outside" -n iperf3 -s >/dev/null 2>&1 &
pids+=("$!")

space; masquerade=$new masquerade_pid=$$
ip link add in0 type veth peer name in1 netns "$masquerade"
ip addr add 10.98.0.1/24 dev in0
ip link set in0 up
nsenter -t "$masquerade" -n sh -c 'ip addr add 10.98.0.2/24 dev in1; ip link set in1 up; ip route add default via 10.98.0.1'
nft 'add table ip n; add chain ip n p { type nat hook postrouting priority 100; }; add rule ip n p oifname up0 masquerade'

space; adit=$new
"$nat" "tun:tun0,netns=$adit" 10.0.2.0/24 >/dev/null &
adit_pid=$!
pids+=("$adit_pid")
until nsenter -t "$adit" -n ip link show tun0 >/dev/null 2>&1; do sleep 0.05; done
nsenter -t "$adit" -n sh -c 'ip addr add 10.0.2.100/24 dev tun0; ip link set tun0 up; ip route add default via 10.0.2.2'

space; splice=$new
target/release/adit nat attach "$splice" --datapath splice --name bench-splice 2>/dev/null &
splice_pid=$!
pids+=("$splice_pid")
until nsenter -t "$splice" -n ip route | grep -q default; do sleep 0.05; done

names=(masquerade adit splice)
if command -v slirp4netns >/dev/null; then
  space; slirp4netns=$new
  slirp4netns -c -m 1500 --netns-type=path "/proc/$slirp4netns/ns/net" tap0 >/dev/null 2>&1 &
  slirp4netns_pid=$!
  pids+=("$slirp4netns_pid")
  for _ in $(seq 60); do
    nsenter -t "$slirp4netns" -n ip route | grep -q default && names+=(slirp4netns) && break
    sleep 0.05
  done
fi

for _ in $(seq "$rounds"); do
  for name in "${names[@]}"; do
    pid=${name}_pid
    printf '%-12s up %s, down %s\n' "$name" "$(once "${!name}" "${!pid}")" "$(once "${!name}" "${!pid}" -R)"
  done
done
