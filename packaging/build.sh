#!/usr/bin/env bash
# Builds what a release has, into target/dist.
#
#   packaging/build.sh              all of it
#   packaging/build.sh deb          the package for Debian                       adit_VERSION_ARCH.deb
#   packaging/build.sh tarball      a static program with manual and units       adit-VERSION-ARCH-linux.tar.gz
#   packaging/build.sh sbom         the list of all crates that are compiled in  adit-VERSION.cdx.json
#   packaging/build.sh image        an OCI image FROM scratch (needs podman)     adit-VERSION-image.tar
#   packaging/build.sh check DIR    compares DIR with what is in target/dist: equal bytes
#
#   PROFILE=dev                     packs the debug build (for tests; the default is release)
#   NO_BUILD=1                      packs what was compiled before
#   SOURCE_DATE_EPOCH=SECONDS       the time of all files (the default is the last commit)
#
# The archive is for /usr/local (tar -xzf FILE -C /usr/local --strip-components=1). Its program has glibc in it. The paths of
# this machine, the time and the order of files do not get into what is built (.ci/reproducible.sh). `cargo deb` comes with
# `cargo install cargo-deb`.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${PROFILE:-release}
target=${CARGO_TARGET_DIR:-target}
out=$target/dist
work=$target/package
host=$(rustc -vV | sed -n 's/^host: //p')
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH=$epoch LC_ALL=C TZ=UTC

step() { printf '== %s\n' "$*" >&2; }
fail() {
  printf '%s: %s\n' "$0" "$*" >&2
  exit 1
}
needs() { command -v "$1" >/dev/null || fail "$1 is missing: $2"; }

# The program has no path of this machine in it.
remap() {
  local cargo=${CARGO_HOME:-$HOME/.cargo}
  echo "--remap-path-prefix=$PWD=/adit --remap-path-prefix=$cargo=/cargo --remap-path-prefix=$(rustc --print sysroot)=/rust"
}

# compile FLAGS...: the program for this machine, with these flags of rustc.
compile() {
  step "compile ($profile, ${*:-no flags})"
  local folder=$target/$host/$profile
  case $profile${*:+ flags} in
    # That of the tests.
    dev) folder=$target/debug ;;
    "dev flags") folder=$target/$host/debug ;;
  esac
  program=$folder/adit
  if [ -n "${NO_BUILD:-}" ]; then
    [ -x "$program" ] || fail "$program is not there: run without NO_BUILD"
  elif [ "$folder" = "$target/debug" ]; then
    cargo build --quiet --locked -p adit
  else
    RUSTFLAGS="$(remap) $*" cargo build --quiet --locked --profile "$profile" --target "$host" -p adit
  fi
}

# Manual pages, completions and changelogs, as the program prints them.
documents() {
  step "manual pages and completions"
  rm -rf "$work"
  mkdir -p "$work"/{man,completions}
  "$program" man "$work/man" >/dev/null
  "$program" completions bash >"$work/completions/adit"
  "$program" completions zsh >"$work/completions/_adit"
  "$program" completions fish >"$work/completions/adit.fish"
  gzip -9n <CHANGELOG.md >"$work/changelog.gz"
  cat >"$work/changelog.Debian" <<CHANGES
adit ($version-${REVISION:-1}) unstable; urgency=medium

  * Release $version; /usr/share/doc/adit/changelog.gz lists the changes.

 -- adit maintainers <adit@lists.example.org>  $(date -R -d "@$epoch")
CHANGES
  ln -sfn ../../../../bin/adit "$work/extcap-link"
}

sbom() {
  step "list of components"
  mkdir -p "$out"
  packaging/sbom.py >"$out/adit-$version.cdx.json"
}

deb() {
  PATH=$PWD/target/tools/bin:$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
  needs cargo-deb "run 'cargo install cargo-deb'"
  compile
  documents
  sbom
  gzip -9n <"$out/adit-$version.cdx.json" >"$work/sbom.cdx.json.gz"
  step "package for Debian"
  local words=(--target "$host")
  [ "$profile" != dev ] || words=()
  cargo deb --no-build --strip --quiet --profile "$profile" "${words[@]}" -p adit --deb-revision "${REVISION:-1}" --output "$out/"
}

tarball() {
  compile -C target-feature=+crt-static
  ! readelf -d "$program" | grep -q NEEDED || fail "$program is not static: run without NO_BUILD"
  documents
  sbom
  step "archive"
  local name=adit-$version-${host%%-*}-linux root=$work/root to file
  to=$root/$name
  install -D -m 755 "$program" "$to/bin/adit"
  strip "$to/bin/adit"
  for file in "$work"/man/*; do
    install -D -m 644 "$file" "$to/share/man/man${file##*.}/${file##*/}"
  done
  install -D -m 644 -t "$to/share/bash-completion/completions" "$work/completions/adit"
  install -D -m 644 -t "$to/share/zsh/site-functions" "$work/completions/_adit"
  install -D -m 644 -t "$to/share/fish/vendor_completions.d" "$work/completions/adit.fish"
  install -D -m 644 -t "$to/share/doc/adit" README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$out/adit-$version.cdx.json"
  # As in the package for Debian, below /usr/local.
  install -D -m 755 -t "$to/lib/adit" packaging/systemd/copy-tunnel
  install -D -m 644 packaging/systemd/adit.sysusers "$to/lib/sysusers.d/adit.conf"
  install -D -m 644 packaging/systemd/adit.tmpfiles "$to/lib/tmpfiles.d/adit.conf"
  install -D -m 644 -t "$to/lib/systemd/system" packaging/systemd/*.service
  sed -i 's,/usr/\(bin/adit\|lib/adit/\),/usr/local/\1,' "$to"/lib/systemd/system/*.service
  archive "$root" "$name" | gzip -9n >"$out/$name.tar.gz"
}

# archive FOLDER NAME: a tar whose bytes depend on contents, modes and names alone.
archive() {
  tar -C "$1" --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner --mode=go-w \
    --format=gnu -cf - "$2"
}

image() {
  needs podman "install it, or copy the static program into an image by hand"
  local name=adit-$version-${host%%-*}-linux root=$work/image
  [ -e "$out/$name.tar.gz" ] || tarball
  step "image"
  rm -rf "$root"
  mkdir -p "$root"/{tmp,run/adit,var/lib/adit,etc/adit}
  chmod 1777 "$root/tmp"
  tar -xzf "$out/$name.tar.gz" -C "$root" --strip-components=1 "$name/bin/adit"
  archive "$root" . >"$work/image.tar"
  podman build --quiet --timestamp "$epoch" --tag "adit:$version" --file packaging/image/Containerfile "$work" >/dev/null
  rm -f "$out/adit-$version-image.tar"
  podman save --quiet --format oci-archive --output "$out/adit-$version-image.tar" "adit:$version"
}

# What is the same for everybody who builds this commit. An image has the time of its packing.
check() {
  local other=$1 file built=()
  for file in "$out"/*.deb "$out"/*.tar.gz "$out"/*.cdx.json; do
    [ ! -e "$file" ] || built+=("$file")
  done
  [ ${#built[@]} -gt 0 ] || fail "nothing is built: run $0 first"
  for file in "${built[@]}"; do
    cmp -- "$file" "$other/${file##*/}" || fail "the builds differ"
  done
  step "equal"
  sha256sum -- "${built[@]}"
}

case "${1:-all}" in
  deb | tarball | sbom | image) "$1" ;;
  check) check "${2:?which folder?}" ;;
  all)
    tarball
    command -v podman >/dev/null && image || echo "no image: podman is missing" >&2
    deb
    ;;
  *) fail "unknown argument $1; see the first lines of $0" ;;
esac
[ "${1:-all}" = check ] || ls -l "$out" >&2
