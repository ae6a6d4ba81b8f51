#!/usr/bin/env bash
# How long it takes from exec until a command has run, or a namespace has its way out: adit and slirp4netns by turns,
# medians in ms. Exits with status 1 if a median of adit is above 50 ms.
#   bench/ready.sh [ROUNDS]        needs slirp4netns, unshare, python3; ADIT=target/release/adit
set -euo pipefail
cd "$(dirname "$0")/.."
adit=$(realpath "${ADIT:-target/release/adit}")
exec unshare -Urnm python3 - "$adit" "${1:-30}" <<'END'
import os, statistics, subprocess, sys, time

adit, rounds = sys.argv[1], int(sys.argv[2])
os.system("mount -t tmpfs none /run; ip link set lo up")

def until_ready(words, target):
    """Until a byte comes at descriptor `ready`."""
    ends, ready = os.pipe()
    start = time.monotonic()
    process = subprocess.Popen([*words(ready), str(target), "tap0"], pass_fds=[ready], stdout=-3, stderr=-3)
    os.close(ready)
    assert os.read(ends, 1) == b"1", words
    took = time.monotonic() - start
    os.close(ends)
    process.kill()
    process.wait()
    return took

def drop_in(program):
    return lambda target: until_ready(lambda ready: [*program, "-c", "-r", str(ready)], target)

def attach(target):
    start = time.monotonic()
    words = [adit, "nat", "attach", str(target)]
    process = subprocess.Popen(words, stdout=-3, stderr=subprocess.PIPE)
    line = process.stderr.readline()
    assert b"is running" in line, line
    took = time.monotonic() - start
    process.kill()
    process.wait()
    return took

def run(_):
    start = time.monotonic()
    subprocess.run([adit, "run", "--", "true"], check=True)
    return time.monotonic() - start

kinds = {
    "adit run -- true": run,
    "adit nat attach": attach,
    "adit as slirp4netns": drop_in([adit, "compat", "slirp4netns"]),
    "slirp4netns": drop_in(["slirp4netns"]),
}
times = {name: [] for name in kinds}
for _ in range(rounds):
    for name, measure in kinds.items():
        target = subprocess.Popen(["unshare", "-n", "sleep", "1000"])
        mine = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{target.pid}/ns/net") == mine:
            time.sleep(0.001)
        times[name].append(measure(target.pid) * 1000)
        target.kill()
        target.wait()
for name, all in times.items():
    print(f"{name:20} {statistics.median(all):6.1f} ms, {min(all):.1f} to {max(all):.1f}")
sys.exit(any(statistics.median(all) > 50 for name, all in times.items() if name.startswith("adit")))
END
