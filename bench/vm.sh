#!/usr/bin/env bash
# Two virtual machines on a switch: TCP from one to the other over their TAPs on the kernel's bridge, over
# the same TAPs on adit, and over a unix stream socket of adit, in turns, in one table.
#
#   bench/vm.sh [--rounds N] [--seconds S]
#
# Needs root, qemu-system-x86, python3 and what crates/cli/tests/vm/prepare.sh needs to make the guest
# (ADIT_VM=FOLDER if not target/vm). The guests are emulated: compare the rows, not the figures. Everything
# runs in a namespace that vanishes with it. Nothing else should run on the machine meanwhile.
set -euo pipefail
cd "$(dirname "$0")/switch"

guest=$(realpath -m "${ADIT_VM:-../../target/vm}")
[ -f "$guest/initrd.gz" ] || ../../crates/cli/tests/vm/prepare.sh "$guest"
cargo build --release --quiet --manifest-path ../../Cargo.toml --bin adit
exec unshare -nm --propagation private -- python3 vm.py "$guest" "$@"
