#!/bin/sh
# Whether io_uring is cheaper than read(2) and write(2) on a TUN device: CPU time a packet, and ratios.
#
#   bench/uring.sh [ROUNDS]
#
# Needs a C compiler, iproute2, and user namespaces unless root.
set -eu
cd "$(dirname "$0")/uring"
mkdir -p target
cc -O2 -Wall -Wextra -o target/uring uring.c
if [ "$(id -u)" = 0 ]; then flags=-n; else flags=-Urn; fi
exec unshare "$flags" -- target/uring "$@"
