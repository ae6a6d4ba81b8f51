#!/bin/sh
# What one packet costs: the bare system call, adit, tun-rs and tun on the same device.
#
#   bench/queue.sh [--json] [--rounds N] [--packets N]
#
# Times are CPU time of the calling thread: medians of interleaved rounds. Instructions are those of
# user space, counted by callgrind, free of noise. Needs cargo, cc, valgrind and either root or
# unprivileged user namespaces.
set -eu
cd "$(dirname "$0")/queue"
cargo build --release --quiet
bench="${CARGO_TARGET_DIR:-target}/release/adit-bench-queue"
counts=$(mktemp -d)
trap 'rm -rf "$counts"' EXIT

# The difference of two runs leaves what one packet takes: a run has one turn to warm up and one to
# measure.
few=1000
many=3000
count() { # SIZE PACKETS: lines of "NAME INSTRUCTIONS", of the loops with all that they call
	unshare -Urn -- valgrind --quiet --tool=callgrind --callgrind-out-file="$counts/out" \
		"$bench" --size "$1" --packets "$2" --rounds 1 >"$counts/log" 2>&1 || {
		cat "$counts/log" >&2
		exit 1
	}
	callgrind_annotate --inclusive=yes --threshold=100 "$counts/out" 2>/dev/null |
		sed -n 's/^ *\([0-9,]*\) .*:bench_\([a-z_]*\)\( \[.*\)\{0,1\}$/\2 \1/p' | tr -d , |
		sort -k1,1 -k2,2nr | sort -u -k1,1
}
for size in 64 1500; do
	count $size $few >"$counts/few"
	count $size $many >"$counts/many"
	join "$counts/few" "$counts/many" |
		awk -v size=$size -v packets=$((2 * (many - few))) \
			'{ printf "%s %d %.1f\n", $1, size, ($3 - $2) / packets }' >>"$counts/instructions"
done
unshare -Urn -- "$bench" --instructions "$counts/instructions" "$@"
