#!/usr/bin/env bash
# Sends running programs the requests that schemathesis makes of their OpenAPI documents, valid and invalid ones.
#
#   .ci/api.sh [REQUESTS]    how many of each operation; the default is 30
#
# Exit status: 0 all is well, 1 a reply was not as the document says, 77 it needs root, socat, or Python packages that
# cannot be fetched.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
  echo "not checked: $*" >&2
  exit 77
}

# Checks the program at a control socket. The requests come from a member of its group, who may not name files: random
# names would be those of files of this machine.
check() {
  local kind=$1 socket=/run/adit/$2.sock port=$3
  shift 3
  for _ in $(seq 100); do [ -S "$socket" ] && break || sleep 0.1; done
  setpriv --reuid=65534 --regid=0 --clear-groups --inh-caps=-all --bounding-set=-all \
    socat "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr,fork" "UNIX-CONNECT:$socket" &
  "$ADIT" schema "openapi-$kind" >"/run/$kind.json"
  "$TOOLS/bin/openapi-spec-validator" "/run/$kind.json"
  # A value that its schema allows can still be one that no kernel takes, such as a rate of "x".
  "$TOOLS/bin/schemathesis" run "/run/$kind.json" --url "http://127.0.0.1:$port" --no-color --seed 1 \
    --max-examples "$REQUESTS" --request-timeout 30 --generation-database none --continue-on-failure --warnings off \
    --exclude-checks positive_data_acceptance,ensure_resource_availability \
    --exclude-path /events --exclude-path /stop --exclude-path /upgrade "$@"
}

inside() {
  mount -t tmpfs none /run
  ip link set lo up
  ip netns add box
  cd /run
  "$ADIT" switch --port tap:a --port tap:b,vlan=10 --port nat >switch.log 2>&1 &
  "$ADIT" netem --port tap:c --port tap:d --delay 1ms >netem.log 2>&1 &
  "$ADIT" nat attach box --name nat >nat.log 2>&1 &
  (umask 077; printf '[Interface]\nPrivateKey = %s\nAddress = 10.9.0.1/24\n' "$("$ADIT" tunnel genkey)" >ta.conf)
  "$ADIT" tunnel up /run/ta.conf >tunnel.log 2>&1 &
  printf '[host.pc]\n[switch.lan]\n[[link]]\nends = ["pc", "lan"]\ndelay = "1ms"\n' >net.toml
  "$ADIT" lab up --name net net.toml >lab.log 2>&1 &
  local failed=0
  check switch switch 8001 || failed=1
  check netem netem 8002 || failed=1
  check nat nat 8003 || failed=1
  check tunnel ta 8004 || failed=1
  check lab net 8005 || failed=1
  [ $failed = 0 ] || tail -n 5 ./*.log >&2
  exit $failed
}

if [ "${1-}" = inside ]; then
  inside
  exit
fi
[ "$(id -u)" = 0 ] || skip "the programs run as root, and the requests come from another user"
command -v socat >/dev/null || skip "socat is missing"
TOOLS=$PWD/target/tools/api
if ! [ -x "$TOOLS/bin/schemathesis" ]; then
  python3 -m venv "$TOOLS"
  "$TOOLS/bin/pip" install --quiet schemathesis==4.32.5 openapi-spec-validator==0.9.0 ||
    skip "the Python packages cannot be fetched"
fi
cargo build --quiet -p adit
export ADIT=$PWD/target/debug/adit TOOLS REQUESTS=${1:-30}
# In namespaces of their own: requests make devices and open ports.
exec unshare -nmp --fork --mount-proc --kill-child bash "$PWD/.ci/api.sh" inside
