#!/bin/sh
# Checksum, cutting up and joining without a device: adit-packet beside tun-rs's functions.
#
#   bench/micro.sh [ROUNDS]
#
# CPU time of the thread, medians of rounds in turns. Alone, with no rival: cargo bench -p adit-packet.
set -eu
cd "$(dirname "$0")/micro"
cargo build --release --quiet
exec "${CARGO_TARGET_DIR:-target}/release/micro" "$@"
