# Installs, uses, updates and purges the package; runs in the fresh root.
set -e
fail() {
  echo "failed: $*"
  systemctl status --no-pager 'adit-*' || true
  exit 1
}
trap 'fail "line $LINENO"' ERR
step() { echo "package: $*"; }
eventually() { for _ in $(seq 600); do if eval "$1"; then return; fi; sleep 0.1; done; fail "never: $1"; }
# All files but those of dpkg, of logs and of this test.
files() {
  find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /root -o -path /var/lib/dpkg \
    -o -path /var/cache -o -path /var/log -o -path /var/lib/apt -o -path /var/lib/systemd -o -path /var/lib/dbus \) -prune -o -print | sort
}
install() { apt-get install -y -q --no-install-recommends "$1" >/root/apt.log 2>&1 || { cat /root/apt.log; fail "install of $1"; }; }

export DEBIAN_FRONTEND=noninteractive
# systemd-sysusers keeps a copy of each file that it changes.
touch /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow-
files >/root/before

step "install"
install /root/first.deb
adit --version
[ -n "$(getent passwd adit)" ] || fail "the user adit"
[ -d /run/adit ] && [ -d /run/wireguard ] || fail "the folders of sockets"
[ -s /usr/share/man/man1/adit-tunnel.1.gz ] || fail "the manual"
[ "$(readlink -f /usr/lib/x86_64-linux-gnu/wireshark/extcap/adit)" = /usr/bin/adit ] || fail "the link for Wireshark"
bash -c '. /usr/share/bash-completion/completions/adit; complete -p adit' >/dev/null || fail "completion"
systemd-analyze verify --man=no /usr/lib/systemd/system/adit-*.service 2>/run/verify || true
[ ! -s /run/verify ] || fail "$(cat /run/verify)"

step "a tunnel by its unit"
ip link set lo up
ip netns add far
ip link add near type veth peer name near netns far
ip addr add 192.0.2.1/24 dev near
ip link set near up
ip -n far addr add 192.0.2.2/24 dev near
ip -n far link set near up
# The two commands of the README.
adit tunnel invite site --endpoint 192.0.2.1 >/root/invitation 2>/root/adit.log || fail "the invitation"
systemctl enable --now adit-tunnel@site 2>/dev/null || fail "start"
ip netns exec far adit tunnel join --to /root/far.conf --up </root/invitation >/root/reply 2>/root/adit.log || fail "$(cat /root/adit.log)"
adit tunnel accept site </root/reply 2>/root/adit.log || fail "$(cat /root/adit.log)"
address=$(sed -n 's,^Address = \([0-9.]*\)/.*,\1,p' /etc/adit/site.conf | head -1)
eventually 'ip netns exec far ping -c 1 -W 1 "$address" >/dev/null'
adit list | grep -q site

step "update while packets cross"
pid=$(systemctl show -P MainPID adit-tunnel@site)
handshake=$(ip netns exec far wg show far latest-handshakes)
ip netns exec far ping -D -i 0.01 -c 1000 -W 5 "$address" >/root/pings 2>&1 &
ping=$!
sleep 1
install /root/second.deb
eventually '[ "$(systemctl show -P MainPID adit-tunnel@site)" != '"$pid"' ]'
[ -d /proc/$ping ] || fail "the pings ended before the update"
wait $ping || true
[ "$(systemctl is-active adit-tunnel@site)" = active ] || fail "the unit after the update"
[ "$(systemctl show -P NRestarts adit-tunnel@site)" = 0 ] || fail "the unit was restarted"
[ "$(dpkg-query -W -f '${Version}' adit)" = "$(dpkg-deb -f /root/second.deb Version)" ] || fail "version"
[ "$(ip netns exec far wg show far latest-handshakes)" = "$handshake" ] || fail "the session is another one"
tail -3 /root/pings
# The longest time between two answers, in milliseconds.
gap=$(sed -n 's/^\[\([0-9.]*\)\].*icmp_seq.*/\1/p' /root/pings |
  awk 'NR > 1 && $1 - last > gap { gap = $1 - last } { last = $1 } END { printf "%d", gap * 1000 }')
echo "package: no answer for $gap ms"
[ "$gap" -lt 1000 ] || fail "a gap of $gap ms"
grep -q ' 0% packet loss' /root/pings || fail "pings were lost: $(tail -3 /root/pings)"

step "purge"
ip netns exec far adit tunnel down far
apt-get purge -y -q adit >/root/apt.log 2>&1 || { cat /root/apt.log; fail "purge"; }
if ip link show dev site >/dev/null 2>&1; then fail "the device is left"; fi
[ -z "$(ls -d /run/adit* 2>/dev/null)" ] || fail "left in /run: $(ls -d /run/adit*)"
[ -z "$(getent passwd adit)" ] || fail "the user is left"
files >/root/after
diff /root/before /root/after || fail "files are left"
step "done"
