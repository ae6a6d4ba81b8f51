"""Measures two versions of adit in pairs and prints the ratio of each figure; started by compare.sh."""

import argparse
import importlib.util
import json
import math
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parent.parent
CONFIDENCE = 0.95
# A figure fails if the whole interval of its ratio lies below this.
LEAST = 0.98


def load(name, path):
    """The functions of another script of this folder."""
    spec = importlib.util.spec_from_file_location(name, BENCH / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Side:
    """A version: its program, and the folder of its benchmarks if it is a checkout."""

    def __init__(self, name, folder):
        self.name, self.folder = name, Path(folder)
        self.adit = self.folder / "adit"
        self.queues = sorted(self.folder.glob("queue-*"))
        self.forward = self.folder / "forward"


def switch(side):
    """`adit switch` between two hosts, as in switch.sh."""
    script = load("switch", "switch/switch.py")
    script.ADIT = side.adit
    with script.Net("adit", 2) as net:
        figures = {"stream Gbit/s": script.stream(net, 1, None)["rate"]}
        # More than any switch passes: what arrives is the rate.
        seconds = 0.6
        figures["64-byte datagrams k/s"] = script.datagrams(net, 900_000, seconds)[1] / seconds / 1e3
        figures["ping p50 us"] = script.round_trip(net)["p50"]
    return figures


def tunnel(side):
    """Two ends of `adit tunnel`, by tunnel.sh."""
    rows = {
        "tcp1": ("TCP, one stream, Mbit/s", "stream Mbit/s"),
        "reverse": ("TCP, one stream back, Mbit/s", "stream back Mbit/s"),
        "udp": ("UDP, arrives, Mbit/s", "datagrams Mbit/s"),
        "idle": ("ping idle p50, ms", "ping p50 ms"),
    }
    env = {"ADIT": str(side.adit), "ROWS": " ".join(rows), "SECS": "1"}
    words = [str(BENCH / "tunnel.sh"), "1", "adit"]
    text = subprocess.check_output(words, env=os.environ | env, text=True, stderr=subprocess.DEVNULL)
    figures = {}
    for label, name in rows.values():
        if found := re.search(rf"^{re.escape(label)} +([0-9.]+) ", text, re.M):
            figures[name] = float(found[1])
    return figures


def queue(side):
    """CPU nanoseconds for a packet through the library, by the crate of queue.sh."""
    figures = {}
    for program in side.queues:
        words = [str(program), "--rounds", "3", "--packets", "5000", "--json"]
        rows = json.loads(subprocess.check_output(words, stderr=subprocess.DEVNULL))
        for row in (row for row in rows if row["subject"] == "adit"):
            name = f"{row['direction']} {row['bytes']} bytes ns"
            figures[name] = figures.get(name, 0) + row["ns_per_packet"] / len(side.queues)
    return figures


def forward(side):
    """Forwarding between two devices by the library, as in forward.sh."""
    script = load("forward", "forward/run.py")
    script.FORWARD = side.forward
    return {
        "TUN stream Gbit/s": script.stream("adit-whole", "tun", 1)["rate"],
        "TAP stream Gbit/s": script.stream("adit-whole", "tap", 1)["rate"],
        "64-byte packets M/s": script.datagram("adit-packets", "tun", 0.6)["rate"],
    }


SUBJECTS = {"switch": switch, "tunnel": tunnel, "queue": queue, "forward": forward}
# Names of figures of which less is better.
TIMES = (" us", " ms", " ns")


def ratio(name, old, new):
    """Above 1 if the new version is better."""
    return old / new if name.endswith(TIMES) else new / old


def interval(values):
    """The confidence interval of the median: order statistics, exact for any distribution (sign test)."""
    ordered, count = sorted(values), len(values)
    tail, rank = 0.0, 0
    # The largest rank whose two tails hold at most 1 - CONFIDENCE.
    while rank < count // 2:
        tail += math.comb(count, rank) / 2**count
        if 2 * tail > 1 - CONFIDENCE:
            break
        rank += 1
    # Too few pairs: no interval has that confidence.
    if rank == 0:
        return -math.inf, math.inf
    return ordered[rank - 1], ordered[count - rank]


def pairs(subject, sides, count):
    """The figures of each pair: [{figure: (old, new)}]. The order is ABBA."""
    taken = []
    for number in range(count):
        order = sides if number % 2 == 0 else sides[::-1]
        try:
            figures = {side.name: SUBJECTS[subject](side) for side in order}
        except (OSError, RuntimeError, ValueError, KeyError, subprocess.SubprocessError) as error:
            print(f"{subject}: a pair failed: {error}", file=sys.stderr)
            continue
        old, new = figures["old"], figures["new"]
        taken.append({name: (old[name], new[name]) for name in old if new.get(name) and old[name]})
        print(f"\r{subject}: {number + 1} of {count}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return taken


def report(subject, taken, count, bar):
    """Prints a line for each figure; whether none is slower."""
    fine = bool(taken)
    if not taken:
        print(f"{subject:<8} nothing was measured")
    for name in taken[0] if taken else []:
        both = [pair[name] for pair in taken if name in pair]
        ratios = [ratio(name, *pair) for pair in both]
        low, high = interval(ratios)
        old, new = (statistics.median(values) for values in zip(*both))
        verdict = "too few pairs" if math.isinf(high) else "ok" if high >= bar else "SLOWER"
        fine = fine and high >= bar
        middle = statistics.median(ratios)
        print(
            f"{subject:<8} {name:<24} {old:>10.3f} {new:>10.3f} {middle:>7.3f}"
            f"  {low:>6.3f} to {high:<6.3f} {len(ratios):>3} of {count}  {verdict}"
        )
    sys.stdout.flush()
    return fine


def main():
    parser = argparse.ArgumentParser(prog="compare.sh OLD NEW")
    parser.add_argument("folder", help="has old/ and new/ with the programs")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--bar", type=float, default=LEAST, help="no whole interval lies below it")
    parser.add_argument("--only", default=",".join(SUBJECTS), help="switch,tunnel,queue,forward")
    args = parser.parse_args()
    sides = [Side(name, Path(args.folder) / name) for name in ("old", "new")]
    print(f"median of paired ratios (above 1: the new version is better), {CONFIDENCE:.0%} interval")
    print(f"{'':<33} {'old':>10} {'new':>10} {'ratio':>7}  {'interval':<16}  pairs")
    fine = True
    for subject in args.only.split(","):
        needed = {"queue": "queue-1", "forward": "forward"}.get(subject, "adit")
        if not all((side.folder / needed).exists() for side in sides):
            print(f"{subject:<8} left out: it needs two checkouts, not programs")
            continue
        fine = report(subject, pairs(subject, sides, args.pairs), args.pairs, args.bar) and fine
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
