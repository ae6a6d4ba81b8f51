#!/usr/bin/env bash
# How long a scrape of /metrics takes, and what it does to packets: a tunnel with many peers, alone and under a full
# load. All traffic stays in two namespaces, which go at the end.
#
#   bench/metrics.sh [PEERS] [SCRAPES]      needs root, iperf3, python3
#
#   ADIT=PATH      target/release/adit unless given
#   SECS=5         of the load
#
# Prints the time of a scrape (from connect to the last byte, in milliseconds): idle, under the load, and of 100 clients
# at once; the rate of one TCP stream through the tunnel alone and with a scrape every 100 ms, by turns; and the
# longest turn of the loop that the scrapes caused.
set -euo pipefail
cd "$(dirname "$0")/.."

PEERS=${1:-1000} SCRAPES=${2:-200} SECS=${SECS:-5} ADIT=${ADIT:-target/release/adit}
A=adit-bench-a-$$ B=adit-bench-b-$$
W=$(mktemp -d)
PIDS=()
[ "$(id -u)" = 0 ] || { echo "needs root, for namespaces" >&2; exit 1; }
for program in iperf3 python3; do
  command -v "$program" >/dev/null || { echo "$program is missing" >&2; exit 1; }
done
[ -x "$ADIT" ] || { echo "$ADIT is missing: cargo build --release" >&2; exit 1; }

cleanup() {
  for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  for space in "$A" "$B"; do ip netns del "$space" 2>/dev/null || true; done
  rm -rf "$W"
}
trap cleanup EXIT
export XDG_RUNTIME_DIR=$W STATE_DIRECTORY=$W/state

ip netns add "$A"
ip netns add "$B"
ip -n "$A" link add ua type veth peer name ub netns "$B"
ip -n "$A" addr add 192.0.2.1/24 dev ua
ip -n "$B" addr add 192.0.2.2/24 dev ub
for end in "$A ua" "$B ub"; do
  read -r space device <<<"$end"
  ip -n "$space" link set "$device" up
  ip -n "$space" link set lo up
done

ka=$("$ADIT" tunnel genkey) kb=$("$ADIT" tunnel genkey)
pa=$("$ADIT" tunnel pubkey <<<"$ka") pb=$("$ADIT" tunnel pubkey <<<"$kb")
umask 077
{
  printf '[Interface]\nPrivateKey = %s\nListenPort = 51820\nAddress = 10.9.0.1/24\nTable = off\n' "$ka"
  printf '[Peer]\nPublicKey = %s\nAllowedIPs = 10.9.0.2/32\nEndpoint = 192.0.2.2:51820\n' "$pb"
  python3 - "$PEERS" <<'PY'
import base64, sys
for number in range(1, int(sys.argv[1])):
    key = base64.b64encode(bytes([4]) + number.to_bytes(4, "big") + bytes(27)).decode()
    print(f"[Peer]\n# peer {number}\nPublicKey = {key}\nAllowedIPs = 10.{16 + (number >> 16)}.{number >> 8 & 255}.{number & 255}/32")
PY
} >"$W/ta.conf"
printf '[Interface]\nPrivateKey = %s\nListenPort = 51820\nAddress = 10.9.0.2/24\n[Peer]\nPublicKey = %s\nAllowedIPs = 10.9.0.1/32\n' \
  "$kb" "$pa" >"$W/tb.conf"
for end in "$A ta" "$B tb"; do
  read -r space name <<<"$end"
  "$ADIT" -n "$space" tunnel up "$W/$name.conf" 2>"$W/$name.log" &
  PIDS+=($!)
done
for _ in $(seq 100); do
  ip netns exec "$A" ping -c 1 -W 1 10.9.0.2 >/dev/null 2>&1 && break
  sleep 0.1
done
ip netns exec "$B" iperf3 -s -B 10.9.0.2 >/dev/null 2>&1 &
PIDS+=($!)
sleep 0.5

cat >"$W/scrape.py" <<'PY'
import re, socket, sys, threading, time
path, what, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
REQUEST = b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text; version=1.0.0\r\n\r\n"
def scrape():
    start = time.perf_counter()
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    client.sendall(REQUEST)
    parts = []
    while part := client.recv(1 << 20):
        parts.append(part)
    took = 1000 * (time.perf_counter() - start)
    page = b"".join(parts)
    assert page.startswith(b"HTTP/1.1 200") and page.endswith(b"# EOF\n"), page[:200]
    return took, page
def summary(name, times):
    times = sorted(times)
    at = lambda share: times[min(len(times) - 1, int(share * len(times)))]
    print(f"{name:34} p50 {at(.5):7.2f}  p99 {at(.99):7.2f}  max {times[-1]:7.2f} ms")
if what == "often":
    end = time.monotonic() + count
    while time.monotonic() < end:
        scrape()
        time.sleep(0.1)
elif what == "each":
    times = []
    for _ in range(count):
        times.append(scrape()[0])
        time.sleep(0.005)
    summary(sys.argv[4], times)
elif what == "page":
    page = scrape()[1].decode()
    print(len(page.splitlines()), "lines,", len(page) // 1000, "kB")
elif what == "drops":
    page = scrape()[1].decode()
    print(sum(int(float(line.rsplit(" ", 1)[1])) for line in page.splitlines() if line.startswith("adit_drops_total")))
elif what == "turns":
    page = scrape()[1].decode()
    last = 0
    for bound, count in re.findall(r'adit_loop_turn_seconds_bucket\{.*?le="([^"]+)"\} (\d+)', page):
        if int(count) > last:
            print(f"  up to {bound} s: {int(count) - last}")
        last = int(count)
else:
    times, threads = [], []
    barrier = threading.Barrier(count)
    def one():
        barrier.wait()
        times.append(scrape()[0])
    for _ in range(count):
        threads.append(threading.Thread(target=one))
        threads[-1].start()
    for thread in threads:
        thread.join()
    summary(f"{count} at once", times)
PY
scrape() { python3 "$W/scrape.py" "$W/adit/ta.sock" "$@"; }
stream() {
  ip netns exec "$A" iperf3 -J -c 10.9.0.2 -t "$SECS" |
    python3 -c 'import json, sys; end = json.load(sys.stdin)["end"]; print("%.2f Gbit/s, %d retransmits" % (end["sum_received"]["bits_per_second"] / 1e9, end["sum_sent"]["retransmits"]))'
}

echo "$PEERS peers: $(scrape page 1)"
scrape each "$SCRAPES" "a scrape, idle"
scrape once 100
for round in 1 2 3; do
  before=$(scrape drops 1)
  echo "stream alone          $(stream), $(($(scrape drops 1) - before)) dropped"
  before=$(scrape drops 1)
  scrape often "$SECS" &
  echo "with 10 scrapes a s   $(stream), $(($(scrape drops 1) - before)) dropped"
  wait $!
done
stream >"$W/rate" &
scrape each "$SCRAPES" "a scrape, under the load"
wait $!
echo "turns of the loop:"
scrape turns 1
