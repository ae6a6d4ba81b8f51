#!/usr/bin/env bash
# Whether a new version of adit is slower than an old one: the subjects of switch.sh, tunnel.sh, queue.sh and
# forward.sh, old and new in pairs (ABBA), the median of the ratios and its 95 % interval for each figure.
#
#   bench/compare.sh OLD NEW [--pairs 15] [--only switch,tunnel,queue,forward]
#
# OLD and NEW are checkouts or `adit` programs. Checkouts are built in target/compare, not where they are.
# Programs are enough for switch and tunnel; queue and forward need checkouts. About 10 minutes for 15 pairs.
# Exits with 1 if the whole interval of a figure lies below 0.98.
#
# Needs root, iperf3, jq, wg, python3 and a C compiler. Everything runs in namespaces that vanish with it.
# Nothing else should run on the machine meanwhile.
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | head -n -1 >&2; exit 2; }
old=$(realpath "$1") new=$(realpath "$2")
shift 2
cd "$(dirname "$0")/.."
out=$PWD/target/compare

# build SIDE PLACE: puts adit, queue-1 to -3 and forward into target/compare/SIDE
build() {
  mkdir -p "$out/$1"
  rm -f "$out/$1"/{adit,queue*,forward}
  if [ -f "$2" ]; then ln -s "$2" "$out/$1/adit"; return; fi
  local target=$out/build-$1
  cargo build --release --quiet --manifest-path "$2/Cargo.toml" --bin adit --target-dir "$target"
  ln -s "$target/release/adit" "$out/$1/adit"
  cargo build --release --quiet --manifest-path "$2/bench/forward/Cargo.toml" --target-dir "$target/forward"
  # The address of a loop around one system call changes its time by 2 % (branch predictor): so the same
  # code is measured at three places.
  for place in 1 2 3; do
    cargo rustc --release --quiet --manifest-path "$2/bench/queue/Cargo.toml" --target-dir "$target/queue" \
      -- -C link-arg=-Wl,--shuffle-sections=".text*=$place"
    cp "$target/queue/release/adit-bench-queue" "$out/$1/queue-$place"
  done
  ln -s "$target/forward/release/forward" "$out/$1/forward"
}
build old "$old"
build new "$new"
mkdir -p bench/switch/target bench/forward/target
cc -O2 -Wall -Wextra -pthread -o bench/switch/target/tools bench/switch/tools.c
for program in loop blast; do
  cc -O2 -Wall -Wextra -pthread -o "bench/forward/target/$program" "bench/forward/$program.c"
done
cc -O2 -Wall -Wextra -shared -fPIC -o bench/forward/target/count.so bench/forward/count.c
exec unshare -nm --propagation private -- bash -c \
  'mount -t tmpfs tmpfs /run && mkdir /run/netns && exec python3 bench/compare/compare.py "$@"' - "$out" "$@"
