#!/usr/bin/env bash
# Recording an interface to a file in memory: CPU a packet and packets lost, by tcpdump, tcpdump -U, dumpcap
# and adit capture, in turns, each with its own default buffer and with 32 MiB.
#
#   bench/capture.sh [--rounds N] [--seconds S] [--rates 50000,200000,0]
#
# Needs root, python3, a C compiler, tcpdump and dumpcap. Everything runs in namespaces that vanish with it.
# Nothing else should run on the machine meanwhile.
set -euo pipefail
cd "$(dirname "$0")/capture"

cargo build --release --quiet --manifest-path ../../Cargo.toml --bin adit
mkdir -p target
cc -O2 -Wall -Wextra -pthread -o target/tools ../switch/tools.c
exec unshare -nm --propagation private -- bash -c \
  'mount -t tmpfs tmpfs /mnt && mount -t tmpfs tmpfs /run && mkdir /run/netns && exec python3 capture.py "$@"' - "$@"
