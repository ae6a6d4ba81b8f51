#!/bin/sh
# Packet rates on this machine's TUN and TAP devices: adit-device beside a plain loop of system calls.
#
#   bench/device.sh [--seconds S] [--rounds N] [--svg FILE] [--json]
#
# Runs in network namespaces of its own; needs root or unprivileged user namespaces.
set -eu
cargo build --release --quiet --manifest-path "$(dirname "$0")/device/Cargo.toml"
exec "${CARGO_TARGET_DIR:-$(dirname "$0")/device/target}/release/adit-bench-device" "$@"
