#!/bin/sh
# The cipher alone: ChaCha20-Poly1305 and AES-256-GCM, ring against aws-lc-rs on packets of 1420 bytes, and two threads against one.
#
#   bench/aead.sh        needs a C compiler (aws-lc-rs is built with it); bench/tunnel.sh reads what it tells
set -eu
cd "$(dirname "$0")/aead"
cargo build -q --release
target/release/aead | tee target/figures
