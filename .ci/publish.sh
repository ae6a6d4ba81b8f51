#!/usr/bin/env bash
# What a publication to crates.io would do, without it: every crate is packed and compiled from its package, in the order of
# their dependencies; then the program is installed as a user would do it. Needs cargo 1.90 or newer.
#
#   .ci/publish.sh
set -euo pipefail
cd "$(dirname "$0")/.."

# The packed crates are compiled as tests are: without optimization.
cargo publish --workspace --dry-run --locked --allow-dirty "$@"
root=$(mktemp -d /var/tmp/adit-install.XXXXXX)
trap 'rm -rf "$root"' EXIT
cargo install --quiet --locked --debug --path crates/cli --root "$root" --no-track
"$root/bin/adit" --version
