#!/usr/bin/env bash
# What the links and switches of a lab carry, beside the same without a lab, in turns; medians and ratios. The exit
# status is 1 if a promise does not hold.
#
#   bench/lab-data.sh [--rounds N] [--seconds S] [link] [switch] [late]
#
#   link     TCP through one emulated link: 'adit lab' beside 'adit netem', at least 0.9 of it
#   switch   ten pairs of hosts through one switch: 'adit lab' beside 'adit switch', at least as much (0.95: noise)
#   late     how late packets come out of 50 links at 200 packets/s each, beside one link: p50 at most 1.5 times, p99
#            at most twice as late
#
# Needs unshare, iproute2, iperf3, ping and python3. No root. Nothing else should run on the machine meanwhile.
# ADIT=target/release/adit
set -euo pipefail
cd "$(dirname "$0")/.."
exec unshare -Urnm --propagation private -- python3 bench/lab/data.py "$@"
