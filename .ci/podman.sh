#!/usr/bin/env bash
# Runs containers of rootless podman on adit in place of slirp4netns: download and upload, names, published TCP
# and UDP ports by both of podman's port handlers, a custom network, a program in rootlesskit; then RUNS containers
# (default 3), after which nothing may be left. Needs root, to be another user with a range of users, and podman 4.
#
#   .ci/podman.sh [RUNS]        ADIT=PROGRAM (default target/release/adit)
set -euo pipefail

main() {
  local adit=${ADIT:-$(dirname "$0")/../target/release/adit} program dir
  [ "$(id -u)" = 0 ] || { echo "skipped: podman needs a user with a range of users: run this as root"; exit 77; }
  for program in podman crun newuidmap rootlesskit busybox pgrep python3 iptables; do
    command -v $program >/dev/null || { echo "skipped: not installed: $program"; exit 77; }
  done
  podman --version | grep -q ' 4\.' || { echo "skipped: $(podman --version) does not know slirp4netns"; exit 77; }
  # For another user, and with short paths: not where TMPDIR may be.
  dir=$(mktemp -d /tmp/pod.XXXXXX)
  # Mounts, interfaces and processes go with the namespaces.
  unshare -nmpf --kill-child --mount-proc "$0" --inside "$dir" "$(realpath "$adit")" "${1:-3}" </dev/null &&
    rmdir "$dir" || { rmdir "$dir"; exit 1; }
}

# The machine: eth0 192.0.2.1 is the user's, 192.0.2.2 beyond it has the servers.
machine() {
  mount --make-rprivate /
  mount -t cgroup2 none /sys/fs/cgroup
  mount -t tmpfs -o mode=755 none "$dir"
  mkdir "$dir"/{home,run,store,www,bin,image}
  chown nobody "$dir"/{home,run,store}
  cp "$adit" "$dir/bin/adit"
  ln -s adit "$dir/bin/slirp4netns"
  # A range of users, for this script alone.
  echo nobody:100000:65536 >"$dir/range"
  touch /etc/subuid /etc/subgid
  mount --bind "$dir/range" /etc/subuid
  mount --bind "$dir/range" /etc/subgid
  echo "nameserver 192.0.2.2" >"$dir/resolv.conf"
  mount --bind "$dir/resolv.conf" "$(realpath /etc/resolv.conf)"
  ip link set lo up
  unshare -n sleep 1000000 &
  outside=$!
  until [ "$(readlink /proc/$outside/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
  ip link add eth0 type veth peer name eth0 netns $outside
  ip addr add 192.0.2.1/24 dev eth0
  ip link set eth0 up
  ip route add default via 192.0.2.2
  nsenter -t $outside -n sh -c 'ip addr add 192.0.2.2/24 dev eth0; ip link set eth0 up; ip link set lo up'
  head -c 10000000 /dev/urandom >"$dir/www/big"
  head -c 1000 /dev/urandom >"$dir/www/small"
  nsenter -t $outside -n python3 -c "$SERVERS" "$dir" &
  until [ -e "$dir/up" ]; do sleep 0.05; done
  # An image: a shell and its commands.
  mkdir "$dir/image/bin"
  cp "$(command -v busybox)" "$dir/image/bin/busybox"
  for name in sh wget nc sha256sum; do ln -s busybox "$dir/image/bin/$name"; done
  tar -C "$dir/image" -cf "$dir/image.tar" .
}

# HTTP on 8000, names on 53, and on 9000 the digest of what was sent.
SERVERS='
import hashlib, http.server, os, socket, sys, threading
os.chdir(sys.argv[1] + "/www")
class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_): pass
web = http.server.ThreadingHTTPServer(("192.0.2.2", 8000), Files)
threading.Thread(target=web.serve_forever).start()
sums = socket.create_server(("192.0.2.2", 9000))
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind(("192.0.2.2", 53))
def digest():
    while True:
        client, _ = sums.accept()
        client.sendall(hashlib.sha256(b"".join(iter(lambda: client.recv(65536), b""))).hexdigest().encode())
        client.close()
threading.Thread(target=digest).start()
open(sys.argv[1] + "/up", "w")
while True:
    query, client = names.recvfrom(512)
    end = query.index(b"\0", 12) + 5
    is_a = query[end - 4:end - 2] == b"\0\1"
    answer = b"\xc0\x0c\0\1\0\1\0\0\0\x0a\0\4\xc0\0\2\2" if is_a else b""
    head = query[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_a else b"\0\0") + b"\0\0\0\0"
    names.sendto(head + query[12:end] + answer, client)
'

# In a container: TCP port 80 and UDP port 53 answer.
ECHO='
import socket, threading
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("0.0.0.0", 53))
tcp = socket.create_server(("0.0.0.0", 80))
def answer():
    while True:
        udp.sendto(b"udp", udp.recvfrom(99)[1])
threading.Thread(target=answer, daemon=True).start()
while True:
    client, _ = tcp.accept()
    client.sendall(b"tcp")
    client.close()
'

# The containers, as the user.
user() {
  export HOME=$dir/home XDG_RUNTIME_DIR=$dir/run PATH=/usr/sbin:/usr/bin:/sbin:/bin
  cd "$HOME"
  mkdir -p .config/containers
  cat >.config/containers/containers.conf <<CONF
[engine]
network_cmd_path = "$dir/bin/slirp4netns"
cgroup_manager = "cgroupfs"
runtime = "crun"
events_logger = "file"
[containers]
cgroups = "disabled"
CONF
  printf '[storage]\ndriver = "vfs"\nrunroot = "%s"\ngraphroot = "%s"\n' "$dir/run/storage" "$dir/store" \
    >.config/containers/storage.conf
  podman import -q "$dir/image.tar" image >/dev/null

  step "names, download, upload"
  wanted=$(sha256sum <"$dir/www/big")
  got=$(container --rm image sh -c 'wget -q -O - http://server.example:8000/big | sha256sum')
  [ "$got" = "$wanted" ] || fail "downloaded $got, not $wanted"
  got=$(container --rm -v "$dir/www:/www:ro" image sh -c 'nc 192.0.2.2 9000 </www/big')
  [ "$got  -" = "$wanted" ] || fail "uploaded $got, not $wanted"

  for handler in rootlesskit slirp4netns; do
    step "published ports by $handler"
    container --rm --name ports --network slirp4netns:port_handler=$handler -p 8080:80 -p 5300:53/udp \
      -v /usr:/usr:ro -v /lib:/lib:ro -v /lib64:/lib64:ro image \
      /usr/bin/python3 -c "$ECHO" &
    published
    podman stop -t 0 ports >/dev/null
    wait $! || true
  done

  for driver in builtin slirp4netns; do
    step "rootlesskit with port driver $driver"
    timeout -k 1 100 rootlesskit --net=slirp4netns --slirp4netns-binary="$dir/bin/slirp4netns" --mtu=65520 \
      --disable-host-loopback --copy-up=/etc --port-driver=$driver -p 127.0.0.1:8080:80/tcp -p 127.0.0.1:5300:53/udp \
      sh -c 'busybox wget -q -O - http://server.example:8000/big | sha256sum >"$1/got"; exec python3 -c "$0"' \
      "$ECHO" "$dir/run" 2>"$dir/run/said" &
    published
    got=$(cat "$dir/run/got")
    [ "$got" = "$wanted" ] || fail "downloaded $got, not $wanted: $(cat "$dir/run/said")"
    kill $!
    wait $! || true
    within "the end" sh -c '! pgrep -x rootlesskit && ! pgrep -x slirp4netns' >/dev/null
  done

  step "a custom network"
  podman network create custom >/dev/null
  container --rm --network custom image wget -q -O /dev/null http://192.0.2.2:8000/small || fail "no way out"
  podman network rm custom >/dev/null

  step "$runs containers"
  for _ in $(seq "$runs"); do
    container --rm image wget -q -O /dev/null http://192.0.2.2:8000/small || fail "no way out"
  done
  podman system migrate
  within "no process is left" sh -c '! { pgrep -x slirp4netns || pgrep -x rootlessport || pgrep -x conmon; }'
  # The namespace of custom networks has a file of its own that stays.
  left=$(find "$XDG_RUNTIME_DIR/netns" -name 'netns-*' 2>/dev/null | wc -l)
  [ "$left" = 0 ] || fail "$left files of namespaces are left"
}

# Published ports answer.
published() {
  within "an answer by TCP" sh -c '[ "$(busybox nc 127.0.0.1 8080 </dev/null 2>&1)" = tcp ]'
  within "an answer by UDP" python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
s.sendto(b"x", ("127.0.0.1", 5300))
assert s.recv(99) == b"udp"' 2>/dev/null
}

container() { timeout -k 1 100 podman run "$@"; }

step() { echo "podman: $*"; }

fail() {
  echo "podman: $*" >&2
  exit 1
}

# within WHAT COMMAND...: the command succeeds within a minute.
within() {
  local what=$1 end=$((SECONDS + 60))
  shift
  until "$@"; do
    [ $SECONDS -lt $end ] || fail "not within a minute: $what"
    sleep 0.1
  done
}

case "${1:-}" in
  --inside)
    dir=$2 adit=$3
    machine
    env -u TMPDIR setpriv --reuid nobody --regid nogroup --clear-groups "$0" --user "$dir" "$4"
    ;;
  --user)
    dir=$2 runs=$3
    user
    ;;
  *) main "$@" ;;
esac
