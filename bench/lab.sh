#!/usr/bin/env bash
# A switch with N hosts: how long it takes until the first host has pinged the last one, and until all is gone, by
# 'adit lab', by 'ip -batch' (kernel bridge, a veth a host) and by Mininet (kernel bridge), in turns. Medians and ratios;
# then a ping of each pair, and 1,000 hosts by adit with the memory of each. The exit status is 1 if a promise does not hold.
#
#   bench/lab.sh [--hosts N] [--rounds N] [--many N] [--peers adit,ip,mininet]
#
# Needs unshare, iproute2, ping and python3, and for Mininet the packages mininet, bridge-utils and net-tools. No root.
# Nothing else should run on the machine meanwhile. ADIT=target/release/adit
set -euo pipefail
cd "$(dirname "$0")/.."
exec unshare -Urnm --propagation private -- python3 bench/lab/up.py "$@"
