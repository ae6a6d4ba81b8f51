#!/usr/bin/env bash
# One device shown among 1,000 TAPs, which one process holds and which nobody holds: CPU of adit dev show and of ip, in turns; and the
# start and end of a switch with 512 and 100 of them.
#
#   bench/dev.sh [ROUNDS]
#
# Needs root and python3. Everything runs in a namespace that vanishes with it.
set -euo pipefail
cd "$(dirname "$0")"

[ -n "${ADIT:-}" ] || cargo build --release --quiet --manifest-path ../Cargo.toml --bin adit
export ADIT=${ADIT:-$PWD/../target/release/adit}
exec unshare -nm --propagation private -- sh -c \
  'mount -t tmpfs tmpfs /run && mount -t sysfs sysfs /sys && exec python3 "$@"' - dev/dev.py "$@"
