#!/bin/bash
# The NAT, by packets and with --datapath splice, against the kernel's masquerade, pasta and slirp4netns, in turns: medians, spreads, and ratios beside what is promised.
#
#   bench/nat.sh [speed] [--rounds N] [--seconds S] [--peers masquerade,adit,pasta-1500,...]
#            [--congestion W]   one TCP stream up and down, CPU a gigabyte, new connections a second, question and answer; W (reno) at all ends
#   bench/nat.sh idle [--flows N]   memory with 15,000 idle connections
#   bench/nat.sh loss [--congestion reno,cubic,bbr]   40 ms and 1 % loss outside, by adit netem
#
# Needs python3, a C compiler, nft, iproute2, and the peers: passt, slirp4netns. No root. The exit status is 1 if a promise does not
# hold. Nothing else should run on the machine meanwhile.
set -euo pipefail
cd "$(dirname "$0")/nat"

cargo build --release --quiet --manifest-path ../../Cargo.toml --bin adit
mkdir -p target
cc -O2 -Wall -Wextra -o target/load load.c
exec unshare -Urnm --propagation private -- bash -c \
  'mount -t tmpfs tmpfs /run && mkdir /run/netns && exec python3 nat.py "$@"' - "$@"
