#!/usr/bin/env bash
# Makes the peers of the tunnel's tests that Debian does not have, in the folder DIR.
#
#   peers.sh DIR             for tests: optimised less than a release is, which is quicker to make
#   peers.sh DIR release     for benchmarks: as its own users install it
#
# What is there already is not made again.
set -euo pipefail
if [ "${2:-}" != release ]; then
  export CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
fi
cargo install --quiet --locked --root "$1" boringtun-cli@0.7.1
cargo install --quiet --locked --root "$1" gotatun-cli@0.10.2
