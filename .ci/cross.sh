#!/usr/bin/env bash
# Compiles the workspace for other processors and C libraries, and runs the tests of the packet and simd
# crates on a big-endian, a 32-bit and an ARM processor under qemu-user.
#
#   .ci/cross.sh [TARGET...]     all targets below unless some are given
#
# The standard library of a target comes from rustup; where rustup does not have it, it is built from
# Debian's rust-web-src by Debian's rustc-web. Exit status: 0 all is well, 1 something failed, 77 nothing
# failed but a target could not be checked here.
set -euo pipefail
cd "$(dirname "$0")/.."

# The target, and what runs its programs if the packet crate's tests run there.
targets() {
  cat <<'LIST'
x86_64-unknown-linux-musl
aarch64-unknown-linux-gnu       aarch64-linux-gnu-gcc qemu-aarch64 /usr/aarch64-linux-gnu
armv7-unknown-linux-gnueabihf
i686-unknown-linux-gnu          i686-linux-gnu-gcc   qemu-i386  /usr/i686-linux-gnu
riscv64gc-unknown-linux-gnu
s390x-unknown-linux-gnu         s390x-linux-gnu-gcc  qemu-s390x /usr/s390x-linux-gnu
LIST
}

SOURCE=/usr/lib/rustlib/src/rust/library/std/Cargo.toml
MSRV=$(cargo metadata --no-deps --format-version 1 |
  grep -o '"rust_version":"[^"]*"' | cut -d'"' -f4 | sort -V | tail -1)

# Whether Debian's compiler can build the standard library, and is new enough for all crates.
has_source() {
  [ -e "$SOURCE" ] && [ -x /usr/bin/rustc ] || return
  local version
  version=$(/usr/bin/rustc --version | cut -d' ' -f2)
  [ "$(printf '%s\n' "$MSRV" "$version" | sort -V | head -1)" = "$MSRV" ]
}

# cargo_for TARGET COMMAND...: cargo with a standard library for the target.
cargo_for() {
  local target=$1 command=$2
  shift 2
  if [ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; then
    cargo "$command" --locked --target "$target" "$@"
  else
    # RUSTC_BOOTSTRAP: -Zbuild-std is unstable. A folder of its own: another compiler writes to it.
    RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=target/cross \
      cargo "$command" --locked --target "$target" -Zbuild-std "$@"
  fi
}

failed='' unchecked=''
while read -r target linker emulator root; do
  [ $# = 0 ] || [[ " $* " == *" $target "* ]] || continue
  if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ] && ! has_source; then
    unchecked+=" $target"
    continue
  fi
  printf '\n%s\n' "$target: compile"
  cargo_for "$target" check --workspace --all-features || failed+=" $target"
  [ -n "$linker" ] || continue
  if ! command -v "$linker" >/dev/null || ! command -v "$emulator" >/dev/null; then
    unchecked+=" $target(tests)"
    continue
  fi
  printf '\n%s\n' "$target: tests of the packet and simd crates under $emulator"
  name=CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$target")
  (
    export "${name}_LINKER=$linker" "${name}_RUNNER=$emulator -L $root"
    cargo_for "$target" test -p adit-simd -p adit-packet --lib --tests
  ) || failed+=" $target(tests)"
done < <(targets)

[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
[ -z "$unchecked" ] || {
  echo "not checked, for want of a standard library (./setup --long) or an emulator:$unchecked" >&2
  exit 77
}
