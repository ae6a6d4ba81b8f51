#!/usr/bin/env bash
# The first connection of two of adit over a veth pair: how long a datagram needs to bring back its answer, and how many
# bytes cross, without a post-quantum exchange, with one, and with nothing sent before it. All traffic stays in namespaces.
#
#   bench/first.sh [ROUNDS]      needs user namespaces, python3
#
#   ADIT=PATH      target/release/adit unless given
set -euo pipefail
cd "$(dirname "$0")/.."
exec unshare -Urnm -- python3 bench/first/first.py "${ADIT:-$PWD/target/release/adit}" "${1:-30}"
