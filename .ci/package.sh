#!/usr/bin/env bash
# Installs the package for Debian in a fresh root whose process 1 is systemd, starts a tunnel by its unit, installs a
# newer package while packets cross the tunnel, and purges it.
#
#   .ci/package.sh [SUITE]          bookworm or trixie; bookworm unless given
#
#   PROFILE=dev                     packs the debug build
#
# Needs root, mmdebstrap and cargo-deb; lintian looks at the package if it is there.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=${1:-bookworm}
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/tmp/tools/bin
[ "$(id -u)" = 0 ] || { echo "not run: needs root" >&2; exit 77; }
for program in mmdebstrap cargo-deb; do
  command -v $program >/dev/null || { echo "not run: $program is missing" >&2; exit 77; }
done

work=$(mktemp -d /var/tmp/adit-package.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
dist=${CARGO_TARGET_DIR:-target}/dist
rm -f "$dist"/*.deb
packaging/build.sh deb
mv "$dist"/*.deb "$work/first.deb"
REVISION=2 packaging/build.sh deb
mv "$dist"/*.deb "$work/second.deb"
if command -v lintian >/dev/null; then
  lintian --allow-root --fail-on error,warning "$work/first.deb"
else
  echo "lintian is missing: the package is not looked at" >&2
fi

root=$work/root
mmdebstrap --quiet --variant=minbase --include=systemd,dbus,iproute2,iputils-ping,procps,wireguard-tools "$suite" "$root"
cp "$work"/*.deb .ci/package/inside.sh "$root/root/"
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
unshare -nmpuiC --fork --kill-child .ci/package/boot.sh "$root" </dev/null | tee "$work/said"
grep -qx "ended: 0" "$work/said"
