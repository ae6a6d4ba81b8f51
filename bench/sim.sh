#!/usr/bin/env bash
# The processor time that 1,000 seeds of a dumbbell (two TCP flows, 10 Mbit/s, 20 ms) for 10 s of virtual time take, on one
# thread. Other programs that run at the same time do not count.
# Exits with status 1 if it is more than 60 s.
#   bench/sim.sh [SEEDS]        ADIT=target/release/adit
set -euo pipefail
cd "$(dirname "$0")/.."
adit=$(realpath "${ADIT:-target/release/adit}")
seeds=${1:-1000}
file=$(mktemp --suffix=.toml)
TIMEFORMAT="%U %S"
exec 3>&1 4>&2
trap 'rm -f "$file"' EXIT
for kind in switch router; do
    cat >"$file" <<END
name = "dumbbell"
[host.h]
count = 4
[$kind.s]
count = 2
[[link]]
ends = ["h1", "s1"]
[[link]]
ends = ["h2", "s1"]
[[link]]
ends = ["s1", "s2"]
rate = "10mbit"
delay = "20ms"
[[link]]
ends = ["s2", "h3"]
[[link]]
ends = ["s2", "h4"]
[[step]]
traffic = [
  { name = "one", from = "h1", to = "h3", for = "10s" },
  { name = "two", from = "h2", to = "h4", for = "10s" },
]
[[step]]
at = "10s"
expect = "ping h1 h3"
END
    times=$({ time "$adit" lab sim "$file" --seeds "$seeds" --jobs 1 >&3 2>&4; } 2>&1)
    awk -v kind="$kind" -v times="$times" -v n="$seeds" 'BEGIN {
        split(times, of, " ")
        took = (of[1] + of[2]) * 1000 / n
        printf "%s: %.1f s for 1,000 seeds\n", kind, took
        exit took > 60
    }'
done
