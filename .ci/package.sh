#!/usr/bin/env bash
# Builds the package for Debian, compares its files and its list of components with what it must have, and installs it in
# a fresh root whose process 1 is systemd: starts a tunnel by its unit, installs a newer package while packets cross the
# tunnel, and purges it.
#
#   .ci/package.sh [SUITE]          bookworm or trixie; bookworm unless given
#
#   PROFILE=dev                     packs the debug build
#
# Needs root, mmdebstrap and cargo-deb; lintian looks at the package if it is there, and the list of components is compared
# with its schema if the Python package for it can be fetched.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=${1:-bookworm}
PATH=$PWD/target/tools/bin:$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
[ "$(id -u)" = 0 ] || { echo "not run: needs root" >&2; exit 77; }
for program in mmdebstrap cargo-deb jq; do
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

# All files of the package, and no other.
expected() {
  printf '%s\n' etc/apparmor.d/adit-service usr/bin/adit usr/lib/adit/copy-tunnel usr/lib/sysusers.d/adit.conf \
    usr/lib/tmpfiles.d/adit.conf usr/lib/x86_64-linux-gnu/wireshark/extcap/adit usr/share/lintian/overrides/adit \
    usr/share/bash-completion/completions/adit usr/share/zsh/vendor-completions/_adit \
    usr/share/fish/vendor_completions.d/adit.fish
  printf 'usr/share/doc/adit/%s\n' README.md changelog.Debian.gz changelog.gz copyright sbom.cdx.json.gz
  local file
  for file in packaging/systemd/*.service; do echo "usr/lib/systemd/system/${file##*/}"; done
  for file in $(find examples -maxdepth 1 -type f); do echo "usr/share/doc/adit/examples/${file##*/}"; done
  "$work/content/usr/bin/adit" man "$work/man" >/dev/null
  for file in "$work"/man/*; do echo "usr/share/man/man${file##*.}/${file##*/}.gz"; done
}
mkdir "$work"/{content,man}
dpkg-deb -x "$work/first.deb" "$work/content"
diff <(expected | sort) <(cd "$work/content" && find . ! -type d | cut -c3- | sort)

# The list of components has each crate whose path is in the program: that of a place that can panic.
components=$work/sbom.cdx.json
gzip -dc "$work/content/usr/share/doc/adit/sbom.cdx.json.gz" >"$components"
LC_ALL=C grep -ao '/registry/src/[a-z0-9.-]*/[A-Za-z0-9_.+-]*' "$work/content/usr/bin/adit" | cut -d/ -f5 | sort -u >"$work/found"
[ "$(wc -l <"$work/found")" -gt 20 ]
missing=$(comm -23 "$work/found" <(jq -r '.components[] | "\(.name)-\(.version)"' "$components" | sort))
[ -z "$missing" ] || { echo "not in the list of components: $missing" >&2; exit 1; }
tools=target/tools/sbom
if [ -x $tools/bin/python ] || { python3 -m venv $tools && $tools/bin/pip install --quiet 'cyclonedx-python-lib[json-validation]==11.12.0'; }; then
  $tools/bin/python - "$components" <<'PYTHON'
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
with open(sys.argv[1]) as file:
    sys.exit(JsonStrictValidator(SchemaVersion.V1_5).validate_str(file.read()))
PYTHON
else
  rm -rf $tools
  echo "the list of components is not compared with its schema: the Python package cannot be fetched" >&2
fi

root=$work/root
mmdebstrap --quiet --variant=minbase --include=systemd,dbus,iproute2,iputils-ping,procps,wireguard-tools "$suite" "$root"
cp "$work"/*.deb .ci/package/inside.sh "$root/root/"
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
# A process 1 that has shut its machine down ends by a signal.
{ env -u TMPDIR unshare -nmpuiC --fork --kill-child .ci/package/boot.sh "$root" </dev/null || true; } | tee "$work/said"
grep -qx "ended: 0" "$work/said"
