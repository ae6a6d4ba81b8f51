#!/usr/bin/env bash
# Makes a guest for tests in the folder DIR: Debian's cloud kernel as an ELF and a small initramfs.
#
#   prepare.sh DIR
#
# The kernel's package is unpacked, not installed. Needs busybox-static, cpio, iperf3, iproute2, lz4,
# kmod, qemu-system-x86, socat and zstd. What is there already is not made again.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"

if [ ! -d package ]; then
  kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
  apt-get -qq download "$kernel"
  dpkg-deb -x "$kernel"_*.deb package.new
  rm "$kernel"_*.deb
  # From Debian 13 on, modules are below usr.
  [ -e package.new/lib ] || ln -s usr/lib package.new/lib
  mv package.new package
fi

# QEMU starts an uncompressed kernel half a second sooner. It is a stream inside the image: of lz4 in
# Debian 12, of zstd in Debian 13. unpacked MAGIC PROGRAM...: extracts it, if it is one of this program.
unpacked() {
  local image at
  image=$(echo package/boot/vmlinuz-*)
  at=$(LC_ALL=C grep -abo -m1 -P "$1" "$image" | head -1 | cut -d: -f1)
  shift
  [ -n "$at" ] || return
  # The image goes on after the stream: the program fails on that when all is written.
  tail -c +$((at + 1)) "$image" | "$@" >vmlinux.new 2>/dev/null || true
  [ "$(head -c4 vmlinux.new | tail -c3)" = ELF ]
}
if [ ! -f vmlinux ]; then
  unpacked '\x02\x21\x4c\x18' lz4 -dcq || unpacked '\x28\xb5\x2f\xfd' zstd -dcq
  mv vmlinux.new vmlinux
fi

version=$(ls package/lib/modules)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,dev,proc,sys,tmp,run,modules}
cp /bin/busybox "$root/bin/"
/bin/busybox --list | grep -vx busybox | while read -r name; do ln -s busybox "$root/bin/$name"; done
# The real ones: a static busybox cannot look up a host, and its ip knows neither WireGuard nor VXLAN.
rm -f "$root/bin/ip"
for program in /usr/bin/iperf3 /usr/sbin/ip /usr/bin/socat /usr/bin/wg; do
  [ -x "$program" ] || continue
  cp "$program" "$root/bin/"
  ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
  done
done

# Modules with all that they need, in an order in which they can be loaded.
depmod -b package "$version"
: >"$root/modules/order"
for name in virtio_pci virtio_net vxlan wireguard veth sch_ingress cls_bpf; do
  modprobe -d "$PWD/package" -S "$version" --show-depends "$name" | awk '$1 == "insmod" {print $2}' |
    while read -r module; do
      file=$(basename "$module")
      grep -qxF "$file" "$root/modules/order" && continue
      cp "$module" "$root/modules/"
      echo "$file" >>"$root/modules/order"
    done
done

cp "$here/init" "$root/init"
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >initrd.gz.new
mv initrd.gz.new initrd.gz
