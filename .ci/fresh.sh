#!/usr/bin/env bash
# Runs the README's two commands in a fresh Debian root with Rust alone.
#
#   .ci/fresh.sh [SUITE [COMMAND...]]     bookworm or trixie; trixie unless given
#
# COMMAND is run in place of the README's commands, after `./setup`. Needs root, mmdebstrap and rustup's
# toolchain. The root is made in a temporary folder and removed at the end. It shares the machine's
# network, for the package mirrors alone; the tests make namespaces of their own.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=${1:-trixie}
shift || true
[ "$(id -u)" = 0 ] || { echo "not run: needs root" >&2; exit 77; }
command -v mmdebstrap >/dev/null || { echo "not run: mmdebstrap is missing" >&2; exit 77; }

# The commands of the README's first block of shell, as they stand there.
commands=$(sed -n '/^## Two commands/,/^## /p' README.md | sed -n '/^```sh$/,/^```$/p' | sed '/^```/d')
[ $# = 0 ] || commands="./setup; $*"

work=$(mktemp -d /var/tmp/adit-fresh.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
mmdebstrap --quiet --variant=minbase "$suite" "$root"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"

mkdir -p "$root/opt/rust" "$root/root/adit"
# The certificates of this machine: its network may have some of its own.
cp -L /etc/ssl/certs/ca-certificates.crt "$root/opt/certificates"
# What git knows of, as it is now: no build, nothing that was installed by hand.
git -c safe.directory="$PWD" ls-files -z --cached --others --exclude-standard | tar --null -T - --ignore-failed-read -cf - |
  tar -xf - -C "$root/root/adit"

# In a namespace of mounts whose root this is: in a mere chroot no user namespace may be made.
printf '%s\n' "set -e" "cd /root/adit" "$commands" >"$root/root/commands"
unshare --mount --pid --fork --propagation private bash -c '
  set -e
  root=$1
  mount --bind "$root" "$root"
  mount --rbind /dev "$root/dev"
  mount --rbind /sys "$root/sys"
  mount --bind -o ro "$2" "$root/opt/rust"
  mkdir -p "$root/.old"
  cd "$root"
  pivot_root . .old
  mount -t proc proc /proc
  mount -t tmpfs tmpfs /tmp
  mount -t tmpfs tmpfs /run
  umount -l /.old
  exec env -i HOME=/root TERM=dumb LANG=C.UTF-8 CARGO_HTTP_CAINFO=/opt/certificates \
    PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    bash /root/commands </dev/null
' fresh "$root" "$(rustc --print sysroot)"
