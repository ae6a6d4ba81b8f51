#!/usr/bin/env bash
# Compiles each crate with the oldest compiler that its `rust-version` allows.
#
#   .ci/msrv.sh
#
# Takes the compilers from rustup and installs none: `rustup toolchain install 1.88 --profile minimal`
# and so on. Exit status: 0 all is well, 1 a crate failed, 77 nothing failed but a compiler is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

failed='' missing=''
while read -r version crates; do
  if ! rustup run "$version" rustc --version >/dev/null 2>&1; then
    missing+=" $version"
    continue
  fi
  for crate in $crates; do
    printf '\n%s\n' "$crate with Rust $version"
    CARGO_TARGET_DIR=target/msrv rustup run "$version" cargo check --locked -p "$crate" --all-features ||
      failed+=" $crate($version)"
  done
done < <(cargo metadata --no-deps --format-version 1 | python3 -c '
import collections, json, sys
crates = collections.defaultdict(list)
for package in json.load(sys.stdin)["packages"]:
    crates[package["rust_version"]].append(package["name"])
for version, names in sorted(crates.items()):
    print(version, *names)')

[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
[ -z "$missing" ] || { echo "not checked, for want of a compiler:$missing" >&2; exit 77; }
