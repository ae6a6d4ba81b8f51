# Starts, uses, reloads and stops a service of each unit.
set -e
fail() {
  echo "failed: $*"
  cat /run/services.log
  exit 1
}
trap 'fail "line $LINENO"' ERR
eventually() { for _ in $(seq 600); do if eval "$1"; then return; fi; sleep 0.1; done; fail "never: $1"; }
property() { systemctl show -P "$2" "adit-$1"; }

systemd-sysusers adit.conf
systemd-tmpfiles --create adit.conf
uid=$(id -u adit)
ip link set lo up
# Manual pages are not installed here.
systemd-analyze verify --man=no adit-tunnel@a.service adit-switch@a.service adit-netem@a.service adit-nat@a.service \
  adit-exporter.service 2>/run/verify
[ ! -s /run/verify ] || fail "$(cat /run/verify)"

# check UNIT: it runs as the user, without more than the unit gives it.
check() {
  systemctl is-active "adit-$1" >/dev/null || fail "$1 is not active"
  local status=/proc/$(property "$1" MainPID)/status
  [ "$(awk '/^Uid:/ { print $2 }' "$status")" = "$uid" ] || fail "user of $1"
  [ "$(awk '/^CapBnd:/ { print $2 }' "$status")" = "$2" ] || fail "capabilities of $1"
  [ "$(awk '/^NoNewPrivs:/ { print $2 }' "$status")" = 1 ] || fail "new privileges of $1"
}
net_admin=0000000000001000
# confined KIND NAME: it has restricted itself as well.
confined() {
  adit "$1" show "$2" | grep -q 'sandbox.*no capabilities.*Landlock.*system calls' || fail "sandbox: $(adit "$1" show "$2")"
}

# A tunnel whose file is root's and private, with policy routing and a packet filter.
key() { adit tunnel genkey; }
mkdir -p /etc/adit/switch /etc/adit/netem /etc/adit/nat
peer() { printf '[Peer]\nPublicKey = %s\nAllowedIPs = %s\n' "$(key | adit tunnel pubkey)" "$1"; }
(
  umask 077
  printf '[Interface]\nPrivateKey = %s\nListenPort = 51820\nAddress = 10.9.0.1/24\n' "$(key)" >/etc/adit/site.conf
  peer 0.0.0.0/0 >>/etc/adit/site.conf
)
systemctl start adit-tunnel@site || fail "start of the tunnel"
check tunnel@site $net_admin
confined tunnel site
ip -br addr show dev site | grep -q 10.9.0.1/24
[ "$(cat /proc/sys/net/ipv4/conf/all/src_valid_mark)" = 1 ]
adit list | grep -q site
wg show site | grep -q 'listening port: 51820'
peers() { adit tunnel show site --json | grep -o '"allowed_ips"' | wc -l; }
[ "$(peers)" = 1 ]
peer 10.9.0.7/32 >>/etc/adit/site.conf
systemctl reload adit-tunnel@site
[ "$(peers)" = 2 ] || fail "the reload did not read the new file"
peer 10.9.0.8/32 >>/etc/adit/site.conf
adit tunnel reload site
[ "$(peers)" = 3 ] || fail "root's reload did not read the new file"
cp -a /etc/adit/site.conf /root/
echo 'Nonsense = 1' >>/etc/adit/site.conf
if systemctl reload adit-tunnel@site 2>/dev/null; then fail "a reload of a bad file succeeded"; fi
cp -a /root/site.conf /etc/adit/
check tunnel@site $net_admin

# After an update, another process goes on with the device; systemd supervises it as the one that it started.
main=$(property tunnel@site MainPID)
device=$(cat /sys/class/net/site/ifindex)
processes() { wc -l </sys/fs/cgroup/system.slice/system-adit*tunnel.slice/adit-tunnel@site.service/cgroup.procs; }
count=$(processes)
update() {
  install -m 755 /usr/bin/adit /usr/bin/adit.new
  mv /usr/bin/adit.new /usr/bin/adit
  systemctl reload adit-tunnel@site || fail "the reload after an update"
}
for _ in 1 2; do
  update
  before=$main main=$(property tunnel@site MainPID)
  [ "$main" != "$before" ] || fail "the program that was installed does not run"
  [ "$(awk '/^PPid:/ { print $2 }' "/proc/$main/status")" = 1 ] || fail "systemd is not the parent"
  check tunnel@site $net_admin
done
[ "$(cat /sys/class/net/site/ifindex)" = "$device" ] || fail "another device"
[ "$(property tunnel@site NRestarts)" = 0 ] || fail "an update restarted the tunnel"
# Of the processes before, none is left.
eventually '[ "$(processes)" = "$count" ]'
kill -KILL "$main"
eventually '[ "$(property tunnel@site NRestarts)" = 1 ] && systemctl is-active -q adit-tunnel@site'
update
# It ends in order: rules and packet filter are removed.
systemctl stop adit-tunnel@site
[ "$(property tunnel@site Result)" = success ] || fail "the result of a tunnel that was updated"
[ -z "$(ip rule | grep -v 'lookup \(local\|main\|default\)')" ] || fail "rules are left after an update"
systemctl start adit-tunnel@site

# A loop that hangs is killed and started again.
mkdir -p /run/systemd/system/adit-tunnel@site.service.d
printf '[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n' >/run/systemd/system/adit-tunnel@site.service.d/short.conf
systemctl daemon-reload
systemctl restart adit-tunnel@site
sleep 4
[ "$(property tunnel@site NRestarts)" = 0 ] || fail "the watchdog killed a loop that turns"
kill -STOP "$(property tunnel@site MainPID)"
eventually '[ "$(property tunnel@site NRestarts)" != 0 ] && systemctl is-active -q adit-tunnel@site'
check tunnel@site $net_admin

printf '[[port]]\nport = "tap:one"\n[[port]]\nport = "tap:two"\n' >/etc/adit/switch/lab.toml
systemctl start adit-switch@lab || fail "start of the switch"
check switch@lab $net_admin
confined switch lab
printf '[[port]]\nport = "tap:three"\n' >>/etc/adit/switch/lab.toml
systemctl reload adit-switch@lab
adit switch show lab | grep -q tap:three

printf 'ports = ["tap:left", "tap:right"]\n[profile]\ndelay = "20ms"\n' >/etc/adit/netem/slow.toml
systemctl start adit-netem@slow || fail "start of the link"
check netem@slow $net_admin
confined netem slow
adit netem show slow | grep -q 20

echo 'OPTIONS=--network 10.77.0.0/24' >/etc/adit/nat/guests.env
systemctl start adit-nat@guests || fail "start of the NAT"
check nat@guests 0000000000000000
confined nat guests
[ -S /run/adit-nat/guests/guests.sock ]
adit nat show guests | grep -q 10.77.0

[ "$(adit list --json | grep -o '"name"' | wc -l)" = 4 ] || fail "adit list"

# The journal has the events with their fields, of a program in its sandbox as well.
systemctl start systemd-journald || fail "start of the journal"
for unit in switch@lab nat@guests; do
  mkdir -p "/run/systemd/system/adit-$unit.service.d"
  printf '[Service]\nStandardOutput=journal\nStandardError=journal\n' >"/run/systemd/system/adit-$unit.service.d/stdio.conf"
done
systemctl daemon-reload
systemctl restart adit-switch@lab adit-nat@guests
messages() { journalctl -q -o cat "_SYSTEMD_UNIT=adit-$1.service" "${@:2}"; }
adit switch port del tap:two --name lab
eventually 'messages switch@lab ADIT_EVENT=port-removed ADIT_PORT=tap:two PRIORITY=6 | grep -qx "tap:two removed"'
adit log guests | grep -q 'info, as journal'
adit log guests control=debug >/dev/null
eventually 'adit nat show guests >/dev/null; messages nat@guests ADIT_TARGET=control PRIORITY=7 | grep -q "GET /nat"'

systemctl start adit-exporter || fail "start of the exporter"
check exporter 0000000000000000
scrape() { exec 9<>/dev/tcp/127.0.0.1/9586; printf 'GET /metrics HTTP/1.1\r\n\r\n' >&9; cat <&9; exec 9>&-; }
scrape >/run/page
for name in site lab slow guests; do
  grep -q "^adit_up{name=\"$name\"} 1" /run/page || fail "metrics of $name: $(cat /run/page)"
done
systemctl stop adit-exporter adit-tunnel@site adit-switch@lab adit-netem@slow adit-nat@guests
for device in site one left; do
  if ip link show dev $device >/dev/null 2>&1; then fail "$device is left"; fi
done
[ -z "$(ls /run/adit /run/wireguard /run/adit-tunnel /run/adit-nat | grep -v :)" ] || fail "left in /run"
[ -z "$(ip rule | grep -v 'lookup \(local\|main\|default\)')" ] || fail "rules are left"
