#!/usr/bin/env bash
# Builds the static archive and the package for Debian twice, in two folders with other names, and compares their hashes.
# Needs as much disk as two release builds.
#
#   .ci/reproducible.sh
set -euo pipefail
cd "$(dirname "$0")/.."

PATH=$PWD/target/tools/bin:$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
command -v cargo-deb >/dev/null || { echo "not run: cargo-deb is missing" >&2; exit 77; }
work=$(mktemp -d /var/tmp/adit-builds.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
unset CARGO_TARGET_DIR PROFILE NO_BUILD
# A commit in the meantime changes nothing.
commit=$(git rev-parse HEAD)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct "$commit")
export SOURCE_DATE_EPOCH
for folder in one another/with-a-longer-name; do
  mkdir -p "$work/$folder"
  git -c safe.directory="$PWD" archive "$commit" | tar -xf - -C "$work/$folder"
  "$work/$folder/packaging/build.sh" tarball
  "$work/$folder/packaging/build.sh" deb
  # What was compiled is not needed any more.
  rm -rf "$work/$folder"/target/*/release/{deps,build,.fingerprint}
done
"$work/one/packaging/build.sh" check "$work/another/with-a-longer-name/target/dist"
