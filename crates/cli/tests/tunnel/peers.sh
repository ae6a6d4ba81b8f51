#!/usr/bin/env bash
# Makes the peers of the tunnel's tests that Debian does not have, in the folder DIR.
#
#   peers.sh DIR
#
# What is there already is not made again. Optimised less than a release is: it is quicker to make.
set -euo pipefail
export CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
cargo install --quiet --locked --root "$1" boringtun-cli@0.7.1
cargo install --quiet --locked --root "$1" gotatun-cli@0.10.2
