# The server of a tunnel, a client that is there, an attacker and an honest peer, each in a namespace; sourced by
# flood.sh and strangers.sh.
#
#   [attack] uc --- vc [server] ub --- ua [client]     All traffic stays in namespaces; they and every
#                      [server] vd --- ud [honest]     program in them go at the end.
#
# Sets A, B, C, D (client, server, attacker, honest peer), W (a folder), PIDS (killed at the end), the keys `key` of
# the server, `ka` and `kd` of the peers, and PUBLIC. Takes ADIT, and PROGRAMS that are needed.

ADIT=${ADIT:-target/release/adit}
A=adit-attack-a-$$ B=adit-attack-b-$$ C=adit-attack-c-$$ D=adit-attack-d-$$
W=$(mktemp -d)
PIDS=()

[ "$(id -u)" = 0 ] || { echo "needs root, for namespaces" >&2; exit 1; }
for program in $PROGRAMS; do
  command -v "$program" >/dev/null || { echo "$program is missing" >&2; exit 1; }
done
[ -x "$ADIT" ] || { echo "$ADIT is missing: cargo build --release" >&2; exit 1; }

end() { kill -"$1" "$2" 2>/dev/null || true; wait "$2" 2>/dev/null || true; }
cleanup() {
  for pid in "${PIDS[@]}"; do end TERM "$pid"; done
  for net in "$A" "$B" "$C" "$D"; do ip netns del "$net" 2>/dev/null || true; done
  rm -rf "$W"
}
trap cleanup EXIT

# up NAMESPACE FILE: started, and up; its process is in UP
up() {
  : >"$2.log"
  "$ADIT" -v -n "$1" tunnel up "$2" 2>"$2.log" &
  UP=$!
  until grep -qx up "$2.log"; do
    kill -0 "$UP" || { cat "$2.log" >&2; exit 1; }
    sleep 0.005
  done
}
# link NAMESPACE DEVICE SERVER-DEVICE NET
link() {
  ip netns add "$1"
  ip link add "$2" netns "$1" type veth peer name "$3" netns "$B"
  ip -n "$1" addr add "$4.1/24" dev "$2"; ip -n "$1" link set "$2" up; ip -n "$1" link set lo up
  ip -n "$B" addr add "$4.2/24" dev "$3"; ip -n "$B" link set "$3" up
}
# client FILE KEY NUMBER ENDPOINT TRANSPORT: the configuration of a peer
client() {
  printf '[interface]\nprivate_key = "%s"\naddresses = ["10.9.0.%s/32"]\n[[peer]]\npublic_key = "%s"\n' \
    "$2" "$3" "$PUBLIC" >"$1"
  printf 'allowed_ips = ["10.9.0.2/32"]\nendpoint = "%s"\ntransport = "%s"\n' "$4" "$5" >>"$1"
}
# server FILE SETTING...: the configuration of the server, with further lines for its [interface]
server() {
  {
    printf '[interface]\nprivate_key = "%s"\nlisten_port = 51820\naddresses = ["10.9.0.2/24"]\n' "$key"
    printf '%s\n' "${@:2}"
    printf '[[peer]]\npublic_key = "%s"\nallowed_ips = ["10.9.0.%s/32"]\n' \
      "$(wg pubkey <<<"$ka")" 1 "$(wg pubkey <<<"$kd")" 3
  } >"$1"
}
# percentiles FILE: p50, p99 and how many
percentiles() {
  sort -n "$1" | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)], v[int(NR * 0.99 + 0.99)], NR}'
}
# connect FILE: prints after how many milliseconds the honest peer has the answer to a ping
connect() {
  up "$D" "$1"
  local start
  start=$(date +%s%N)
  for _ in $(seq 300); do
    ip netns exec "$D" ping -n -c 1 -W 0.1 10.9.0.2 >/dev/null 2>&1 && break
  done
  echo $((($(date +%s%N) - start) / 1000000))
  end TERM "$UP"
}
# report NAME BAR TEXT
report() {
  read -r p50 p99 count < <(percentiles "$W/$1")
  echo "$3: p50 $p50 ms, p99 $p99 ms, of $count; at most $2"
  [ "${p99%.*}" -le "$2" ] || failed=1
}

# attack SCRIPT WORDS...: in ATTACK, once it is under way; it writes what it does to $W/state
attack() {
  rm -f "$W/state"
  STATE=$W/state ip netns exec "$C" python3 "bench/attack/$1" "${@:2}" &
  ATTACK=$!
  PIDS+=("$ATTACK")
  until [ -s "$W/state" ]; do kill -0 "$ATTACK"; sleep 0.1; done
}

umask 077
ip netns add "$B"; ip -n "$B" link set lo up
link "$A" ua ub 192.0.2; link "$C" uc vc 198.51.100; link "$D" ud vd 203.0.113
# There answers go: to the attacker.
ip -n "$B" route add 100.64.0.0/10 via 198.51.100.1
key=$(wg genkey) ka=$(wg genkey) kd=$(wg genkey)
PUBLIC=$(wg pubkey <<<"$key")
