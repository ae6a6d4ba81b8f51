#!/usr/bin/env bash
# Switches between namespaces: adit, vde_switch and Open vSwitch in user space on TAPs, adit with dev: ports
# (adit-dev) and the kernel's bridge on veths, in turns, beside a bare loop that passes super-packets between two TAPs (wire), and one with a thread that
# reads and one that writes (split), in one table for 2, 8 and 64 hosts.
#
#   bench/switch.sh [--rounds N] [--seconds S] [--peers wire,split,adit,vde,ovs,adit-dev,bridge] [--hosts 2,8,64]
#                   [--streams N]
#
# Needs root, iperf3, python3, a C compiler, and the peers: vde2, openvswitch-switch. A peer that is not
# there has its row say so. Everything runs in namespaces that vanish with it. Nothing else should run
# on the machine meanwhile.
set -euo pipefail
cd "$(dirname "$0")/switch"

cargo build --release --quiet --manifest-path ../../Cargo.toml --bin adit
mkdir -p target
cc -O2 -Wall -Wextra -pthread -o target/tools tools.c
exec unshare -nm --propagation private -- bash -c \
  'mount -t tmpfs tmpfs /run && mkdir /run/netns && exec python3 switch.py "$@"' - "$@"
