#!/usr/bin/env bash
# Forwarding between two TUN or TAP devices in two namespaces: a bare C loop, adit, tun-rs, and tun
# with tokio, in turns, in tables: throughput, CPU and allocations a packet, retransmits and drops.
#
#   bench/forward.sh [--rounds N] [--seconds S] [--only stream|datagram|queues]
#
# Needs iperf3, python3, a C compiler, and user namespaces unless root. Everything runs in
# namespaces that vanish with it. Nothing else should run on the machine meanwhile.
set -euo pipefail
cd "$(dirname "$0")/forward"

cargo build --release --quiet
for program in loop blast; do
  cc -O2 -Wall -Wextra -pthread -o "target/$program" "$program.c"
done
cc -O2 -Wall -Wextra -shared -fPIC -o target/count.so count.c
if [ "$(id -u)" = 0 ]; then flags=-nm; else flags=-Urnm; fi
exec unshare "$flags" -- python3 run.py "$@"
