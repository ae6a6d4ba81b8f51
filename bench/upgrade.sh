#!/usr/bin/env bash
# The pause of packets while a tunnel server with many sessions is handed over to another process ('adit tunnel upgrade').
# All traffic stays in two namespaces joined by a veth pair; they and every program in them are removed at the end.
#
#   bench/upgrade.sh [ROUNDS]      needs root, wg, tcpdump, python3
#
#   ADIT=PATH                      target/release/adit unless given
#   PEERS=1000  RATE=20000         peers with a session each; datagrams of 200 bytes, of all peers together
#   UPGRADES=5                     in a round
#   BAR=100                        exits with 1 if a pause was longer, in milliseconds
#
# Prints for each round: "reported", the gaps that the tunnel reports; "seen", the longest pause between two datagrams that
# the device delivered, without and with upgrades; the lost datagrams; sessions that were made anew, and peers whose
# counters went back.
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=${1:-3}
ADIT=${ADIT:-target/release/adit} PEERS=${PEERS:-1000} RATE=${RATE:-20000} UPGRADES=${UPGRADES:-5} BAR=${BAR:-100}
SEND=${SEND:-bench/peers/target/release/adit-bench-peers}
NAME=upgrade
# shellcheck source=bench/lib.sh
. bench/lib.sh
need wg tcpdump python3
umask 077
# An older one may speak an older protocol.
[ "$SEND" != bench/peers/target/release/adit-bench-peers ] || (cd bench/peers && cargo build -q --release --locked)
# Without post-quantum keys, which make each session a second time some seconds later.
"$SEND" config "$PEERS" | sed 's/^PublicKey.*/&\nPostQuantum = off/' >"$W/adup.conf"
SECS=$((UPGRADES + 5))

install_program() { cp "$ADIT" "$W/adit.new"; mv "$W/adit.new" "$W/adit"; }
handshakes() { wg show adup latest-handshakes | sort; }
received() { wg show adup transfer | sort | awk '{print $2}'; }
packets() { in_b cat /sys/class/net/adup/statistics/rx_packets; }

# The longest pause between packets of a capture, in milliseconds, outside and inside of the times in a file.
cat >"$W/pauses.py" <<'PY'
import struct, sys
data = open(sys.argv[1], "rb").read()
spans = [tuple(map(float, line.split())) for line in open(sys.argv[2])]
at, last, worst = 24, None, [0.0, 0.0]
while at + 16 <= len(data):
    seconds, micros, length, _ = struct.unpack_from("<IIII", data, at)
    at += 16 + length
    time = seconds + micros / 1e6
    if last is not None:
        meanwhile = any(last <= end and time >= start for start, end in spans)
        worst[meanwhile] = max(worst[meanwhile], time - last)
    last = time
print(*(f"{pause * 1000:.1f}" for pause in worst))
PY

worst=0
for round in $(seq "$ROUNDS"); do
  net
  install_program
  ip netns exec "$B" "$W/adit" -q tunnel up "$W/adup.conf" >"$W/log" 2>&1 & PIDS+=($!)
  wait_for sh -c "ip -n $B addr show dev adup | grep -q 10.99"
  before=$(packets)
  in_a "$SEND" send "$PEERS" 192.0.2.2:51820 "$RATE" "$SECS" >"$W/sent" 2>&1 & sender=$!
  PIDS+=("$sender")
  # A lost initiation is sent again after 5 s.
  for _ in $(seq 24); do grep -q connected "$W/sent" || sleep 5; done
  wait_for grep -q connected "$W/sent"
  in_b tcpdump -n -i adup -s 48 -B 16384 -w "$W/seen" 2>"$W/dump.log" & dump=$!
  PIDS+=("$dump")
  wait_for grep -q listening "$W/dump.log"
  sleep 1
  handshakes >"$W/made"
  received >"$W/counted"
  : >"$W/spans"
  reported=()
  for _ in $(seq "$UPGRADES"); do
    install_program
    start=$(date +%s.%N)
    reply=$("$ADIT" --json tunnel upgrade adup)
    echo "$start $(date +%s.%N)" >>"$W/spans"
    reported+=("$(python3 -c 'import json, sys; print("%.1f" % (json.loads(sys.argv[1])["gap_us"] / 1000))' "$reply")")
    sleep 0.3
  done
  made=$(handshakes | comm -3 - "$W/made" | wc -l)
  back=$(received | paste - "$W/counted" | awk '$1 < $2' | wc -l)
  wait "$sender" || { cat "$W/sent" "$W/log" >&2; exit 1; }
  sleep 0.5
  sent=$(awk '/^sent/{print $2}' "$W/sent")
  lost=$((sent - $(packets) + before))
  kill "$dump"; wait "$dump" 2>/dev/null || true
  read -r quiet pause <<<"$(python3 "$W/pauses.py" "$W/seen" "$W/spans")"
  echo "round $round: reported ${reported[*]} ms  seen $quiet ms without, $pause ms with  sent $sent lost $lost" \
    "made $made back $back"
  worst=$(printf '%s\n' "$worst" "$pause" | sort -g | tail -1)
  cleanup
done
echo "longest pause: $worst ms"
awk "BEGIN{exit !($worst <= $BAR)}"
