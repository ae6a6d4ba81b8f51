#!/usr/bin/env bash
# Frames between veths, forwarded by the kernel for `adit switch` (on), by `adit switch` itself (off) and by
# the kernel's bridge, in turns on the same kind of cables: TCP, loss-free datagrams and round trips between
# two hosts; 32 streams between 64; two hosts of 64 while the tables hold 10,000 addresses.
#
#   bench/fastpath.sh [--rounds N] [--seconds S] [--parts 2,64,10000]
#
# Needs root outside a user namespace, iperf3, ping, python3 and a C compiler. Everything runs in namespaces
# that vanish with it. Nothing else should run on the machine meanwhile.
set -euo pipefail
cd "$(dirname "$0")/switch"

[ -n "${ADIT:-}" ] || cargo build --release --quiet --manifest-path ../../Cargo.toml --bin adit
mkdir -p target
cc -O2 -Wall -Wextra -pthread -o target/tools tools.c
exec unshare -nm --propagation private -- bash -c \
  'mount -t tmpfs tmpfs /run && mkdir /run/netns && exec python3 fastpath.py "$@"' - "$@"
