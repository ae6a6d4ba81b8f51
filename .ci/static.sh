#!/usr/bin/env bash
# Runs the static program: unpacks the archive in /usr/local of a mount namespace, where its manual and units are found;
# connects a tunnel of it with one that has nothing but the program in its root folder, both by the name of the other; runs
# a command behind its NAT; builds the image and replaces the tunnel by one in a container of podman. nsswitch.conf lists
# modules of the machine, which a static program must not load.
#
#   .ci/static.sh
#
#   NO_BUILD=1    takes the archive that is in target/dist
#
# Exit status: 0 all is well, 1 something failed, 77 it needs root, podman 4, crun or busybox.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
  echo "not run: $*" >&2
  exit 77
}
step() { printf '== static: %s\n' "$*"; }
fail() {
  printf 'failed: %s\n' "$*" >&2
  tail -n 5 "$dir"/*.log >&2 || true
  exit 1
}
eventually() { for _ in $(seq 600); do if "$@" >/dev/null 2>&1; then return; fi; sleep 0.1; done; fail "never: $*"; }

main() {
  [ "$(id -u)" = 0 ] || skip "it needs root"
  for program in podman crun busybox python3; do
    command -v $program >/dev/null || skip "$program is missing"
  done
  version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
  archive=$PWD/target/dist/adit-$version-$(uname -m)-linux.tar.gz
  [ -n "${NO_BUILD:-}" ] || packaging/build.sh tarball
  [ -e "$archive" ] || skip "there is no $archive"
  local dir status=0
  dir=$(mktemp -d /var/tmp/adit-static.XXXXXX)
  # Mounts, interfaces and processes go with the namespaces.
  unshare -nmpf --kill-child --mount-proc "$PWD/.ci/static.sh" --inside "$dir" "$version" "$archive" </dev/null || status=$?
  rmdir "$dir"
  exit $status
}

# 192.0.2.1 is this machine, 192.0.2.2 the one beyond, with a server of names and of one page.
machine() {
  mount --make-rprivate /
  mount -t tmpfs -o mode=755 none "$dir"
  mount -t tmpfs -o mode=755 none /run
  mount -t cgroup2 none /sys/fs/cgroup
  mkdir /run/netns "$dir"/{upper,work}
  mount -t overlay -o "lowerdir=/etc,upperdir=$dir/upper,workdir=$dir/work" etc /etc
  printf 'passwd: files systemd\ngroup: files systemd\nhosts: files resolve myhostname mymachines dns\n' >/etc/nsswitch.conf
  rm -f /etc/resolv.conf
  echo "nameserver 192.0.2.2" >/etc/resolv.conf
  ip link set lo up
  ip netns add far
  ip link add eth0 type veth peer name eth0 netns far
  ip addr add 192.0.2.1/24 dev eth0
  ip link set eth0 up
  ip -n far link set lo up
  ip -n far addr add 192.0.2.2/24 dev eth0
  ip -n far link set eth0 up
  ip netns exec far python3 -c "$SERVERS" &
}

# near.example is 192.0.2.1, every other name 192.0.2.2.
SERVERS='
import http.server, socket, threading
class Page(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"a page")
web = http.server.ThreadingHTTPServer(("192.0.2.2", 8000), Page)
threading.Thread(target=web.serve_forever).start()
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind(("192.0.2.2", 53))
while True:
    query, client = names.recvfrom(512)
    end = query.index(b"\0", 12) + 5
    is_a = query[end - 4:end - 2] == b"\0\1"
    host = b"\1" if query[13:17] == b"near" else b"\2"
    answer = b"\xc0\x0c\0\1\0\1\0\0\0\x0a\0\4\xc0\0\2" + host if is_a else b""
    head = query[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_a else b"\0\0") + b"\0\0\0\0"
    names.sendto(head + query[12:end] + answer, client)
'

# configuration OWN_KEY ADDRESS PEER_KEY PEER_ADDRESS PEER_NAME
configuration() {
  printf '[Interface]\nPrivateKey = %s\nAddress = %s/24\nListenPort = 51820\n' "$1" "$2"
  printf '[Peer]\nPublicKey = %s\nAllowedIPs = %s/32\nEndpoint = %s:51820\n' "$(adit tunnel pubkey <<<"$3")" "$4" "$5"
}

inside() {
  machine

  step "unpack the archive"
  mount -t tmpfs -o mode=755 none /usr/local
  tar -xzf "$archive" -C /usr/local --strip-components=1
  export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  [ "$(adit --version)" = "adit $version" ] || fail "the version"
  ldd /usr/local/bin/adit 2>&1 | grep -q 'statically linked\|not a dynamic' || fail "it is not static"
  [ "$(man -w adit-tunnel 2>/dev/null)" = /usr/local/share/man/man1/adit-tunnel.1 ] || fail "the manual"
  { systemd-sysusers adit.conf && systemd-tmpfiles --create adit.conf; } 2>"$dir/user.log" || fail "the user of the units"
  [ -n "$(getent passwd adit)" ] && [ -d /run/adit ] || fail "the user of the units and their folder"
  systemd-analyze verify --man=no /usr/local/lib/systemd/system/adit-*.service >"$dir/verify" 2>&1 || true
  [ ! -s "$dir/verify" ] || fail "$(cat "$dir/verify")"

  step "a tunnel between two static programs, by names"
  local ours theirs device
  ours=$(adit tunnel genkey) theirs=$(adit tunnel genkey)
  mkdir -p "$dir"/root/{bin,etc/adit,proc,run,dev/net} "$dir/etc"
  cp /usr/local/bin/adit "$dir/root/bin/"
  cp /etc/resolv.conf "$dir/root/etc/"
  for device in null net/tun; do
    touch "$dir/root/dev/$device"
    mount --bind "/dev/$device" "$dir/root/dev/$device"
  done
  mount -t proc proc "$dir/root/proc"
  umask 077
  configuration "$ours" 10.9.0.1 "$theirs" 10.9.0.2 far.example >"$dir/etc/near.conf"
  configuration "$theirs" 10.9.0.2 "$ours" 10.9.0.1 near.example >"$dir/root/etc/adit/far.conf"
  umask 022
  ip netns exec far chroot "$dir/root" /bin/adit tunnel up /etc/adit/far.conf >"$dir/far.log" 2>&1 &
  adit tunnel up "$dir/etc/near.conf" >"$dir/near.log" 2>&1 &
  local near=$!
  eventually ping -c 1 -W 1 10.9.0.2
  adit tunnel show near --json | grep -q '"192.0.2.2:51820"' || fail "the endpoint: $(adit tunnel show near --json)"
  adit tunnel down near
  wait $near || fail "the end of the tunnel"

  step "a command behind a NAT"
  local page
  page=$(adit run -- busybox wget -q -O - http://server.example:8000/ 2>"$dir/nat.log") || fail "no way out"
  [ "$page" = "a page" ] || fail "the page: $page"

  step "the image"
  mkdir "$dir"/{store,storage}
  export HOME=$dir CONTAINERS_CONF=$dir/containers.conf CONTAINERS_STORAGE_CONF=$dir/storage.conf
  printf '[engine]\ncgroup_manager = "cgroupfs"\nruntime = "crun"\nevents_logger = "file"\n[containers]\ncgroups = "disabled"\n' \
    >"$CONTAINERS_CONF"
  printf '[storage]\ndriver = "vfs"\nrunroot = "%s"\ngraphroot = "%s"\n' "$dir/storage" "$dir/store" >"$CONTAINERS_STORAGE_CONF"
  packaging/build.sh image 2>"$dir/image.log" || fail "the image: $(cat "$dir/image.log")"
  podman rmi --force "adit:$version" >/dev/null 2>&1
  podman load --quiet --input "target/dist/adit-$version-image.tar" >/dev/null 2>&1
  [ "$(podman run --rm --network none "adit:$version" --version 2>"$dir/podman.log")" = "adit $version" ] || fail "the image does not run"
  podman run --rm --name near --network host --cap-add NET_ADMIN --device /dev/net/tun -v "$dir/etc:/etc/adit:ro" \
    "adit:$version" tunnel up near >"$dir/podman.log" 2>&1 &
  eventually ping -c 1 -W 1 10.9.0.2
  podman exec near /bin/adit tunnel show near 2>/dev/null | grep -q 10.9.0.2 || fail "the tunnel in the container"
  podman stop near >/dev/null 2>&1
  wait $! || true
  [ ! -e /sys/class/net/near ] || fail "the device is left"
  step "done"
}

case "${1:-}" in
  '') main ;;
  --inside)
    dir=$2 version=$3 archive=$4
    inside
    ;;
  *)
    echo "unknown argument $1; see the first lines of $0" >&2
    exit 2
    ;;
esac
