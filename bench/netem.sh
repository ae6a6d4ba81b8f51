#!/usr/bin/env bash
# How exact emulated links are: one-way delay between two namespaces beside what was asked for, through
# adit netem and VDE's wirefilter, and a bare veth for what measuring costs, in turns, in one table. Then
# what adit's loss and rate are beside what was asked for.
#
#   bench/netem.sh [--rounds N] [--peers veth,adit,wirefilter] [--delays 1000,20000]
#
# Needs root, python3, a C compiler, and vde2 for its row. Everything runs in namespaces that vanish with
# it. Nothing else should run on the machine meanwhile.
set -euo pipefail
cd "$(dirname "$0")/switch"

cargo build --release --quiet --manifest-path ../../Cargo.toml --bin adit
mkdir -p target
cc -O2 -Wall -Wextra -pthread -o target/tools tools.c
exec unshare -nm --propagation private -- bash -c \
  'mount -t tmpfs tmpfs /run && mkdir /run/netns && exec python3 netem.py "$@"' - "$@"
