"""Runs the forwarders in turns and prints one table; started by forward.sh in namespaces."""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE / "target"
# The first is the ceiling, the second the rival. With offload on, tun-rs takes every record of a TAP
# for an IP packet ("invalid ip header version"), so that there it runs without.
STREAM = {
    "tun": ["c", "tun-rs", "adit-whole", "adit-split"],
    "tap": ["c", "tun-rs-packets", "adit-whole", "adit-split"],
}
DATAGRAM = ["c-packets", "tun-rs-packets", "tun-tokio-packets", "adit-packets"]
TICK = 100  # USER_HZ


def busy():
    """Seconds that all cores were busy: user, nice, system, irq, softirq, steal."""
    fields = [int(x) for x in open("/proc/stat").readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICK


class Forwarder:
    """A forwarder with its two namespaces, until the end of the with block."""

    def __init__(self, subject, mode):
        command = [TARGET / "release/forward", subject, mode, TARGET / "loop"]
        # A process group of its own: the C loop is a child of it.
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        line = self.process.stdout.readline().split()
        if len(line) != 2:
            raise RuntimeError("did not start")
        self.near, self.far = line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def own(self):
        """Seconds of CPU of the forwarder alone, the C loop's included: free of the neighbours' load."""
        pid = self.process.pid
        ticks = 0
        for pid in [pid, *open(f"/proc/{pid}/task/{pid}/children").read().split()]:
            # After the name, which is in brackets: utime and stime are the 14th and 15th field.
            fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICK

    def inside(self, netns, *words):
        return ["nsenter", f"--net={netns}", *map(str, words)]


def stream(subject, mode, seconds):
    with Forwarder(subject, mode) as f:
        # Addresses settle, the first packets find their way.
        time.sleep(0.3)
        server = subprocess.Popen(
            f.inside(f.far, "iperf3", "-s", "-1", "-B", "198.18.0.2"), stdout=subprocess.DEVNULL
        )
        try:
            time.sleep(0.3)
            client = f.inside(f.near, "iperf3", "-c", "198.18.0.2", "-t", seconds, "-J")
            before, own = busy(), f.own()
            done = subprocess.run(client, capture_output=True, text=True, timeout=seconds + 20)
            used, own = busy() - before, f.own() - own
        finally:
            server.kill()
            server.wait()
    report = json.loads(done.stdout)
    if "error" in report:
        raise RuntimeError(report["error"])
    end = report["end"]
    gbit = end["sum_received"]["bytes"] * 8 / 1e9
    return {
        "rate": end["sum_received"]["bits_per_second"] / 1e9,
        "retransmits": end["sum_sent"]["retransmits"],
        "cpu": used / gbit,
        "own": own / gbit,
    }


def received(f):
    text = subprocess.check_output(f.inside(f.far, "cat", "/proc/net/dev"), text=True)
    return int(re.search(r"dev0:\s*\d+\s+(\d+)", text)[1])


def datagram(subject, mode, seconds):
    with Forwarder(subject, mode) as f:
        time.sleep(0.3)
        route = ["ip", "route", "add", "203.0.113.0/24", "via", "198.18.0.2", "dev", "dev0"]
        subprocess.check_call(f.inside(f.near, *route))
        # The counters are read by processes: half a second before and after is not counted.
        sender = subprocess.Popen(f.inside(f.near, TARGET / "blast", seconds + 1))
        try:
            time.sleep(0.4)
            before, own, count, start = busy(), f.own(), received(f), time.monotonic()
            time.sleep(seconds)
            count, passed = received(f) - count, time.monotonic() - start
            used, own = busy() - before, f.own() - own
        finally:
            sender.kill()
            sender.wait()
    if not count:
        raise RuntimeError("nothing arrived")
    return {"rate": count / passed / 1e6, "cpu": used / count * 1e9, "own": own / count * 1e9}


def measure(run, subjects, mode, args):
    samples, failures = {s: [] for s in subjects}, {}
    for round_ in range(args.rounds):
        # The order turns, so that no subject always follows the same one.
        turn = round_ % len(subjects)
        for subject in subjects[turn:] + subjects[:turn]:
            try:
                samples[subject].append(run(subject, mode, args.seconds))
            except (RuntimeError, ValueError, KeyError, subprocess.SubprocessError) as error:
                failures[subject] = str(error)
    return samples, failures


def median(samples, key):
    return statistics.median(s[key] for s in samples)


def ratio(ours, theirs):
    """Of medians; nothing where one was not measured."""
    if not ours or not theirs:
        return "-"
    return f"{median(ours, 'rate') / median(theirs, 'rate'):.2f}"


def table(title, unit, cpu_unit, samples, failures):
    ceiling, rival = list(samples)[:2]
    print(f"\n{title}")
    head = f"{'':<18} {unit:>8} {'lowest':>8} {'highest':>8} {'retrans':>8} {cpu_unit:>10} {'own':>9}"
    print(f"{head} {'to C':>6} {'to ' + rival:>18}")
    for subject, taken in samples.items():
        if taken:
            rates = [s["rate"] for s in taken]
            lost = sum(s["retransmits"] for s in taken) if "retransmits" in taken[0] else "-"
            figures = f"{median(taken, 'rate'):>8.3f} {min(rates):>8.3f} {max(rates):>8.3f}"
            figures += f" {lost:>8} {median(taken, 'cpu'):>10.3f}"
            figures += f" {median(taken, 'own'):>9.3f}"
            against = f"{ratio(taken, samples[ceiling]):>6} {ratio(taken, samples[rival]):>18}"
            print(f"{subject:<18} {figures} {against}")
        if subject in failures:
            print(f"{subject:<18} failed {'at times' if taken else ''}: {failures[subject]}")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--only", choices=["stream", "datagram"])
    args = parser.parse_args()
    release = open("/proc/sys/kernel/osrelease").read().strip()
    print(f"Linux {release}; medians of {args.rounds} rounds of {args.seconds} s, in turns;")
    print("retransmits of all rounds; CPU of the whole machine, and of the forwarder's process alone")
    if args.only != "datagram":
        for mode, subjects in STREAM.items():
            results = measure(stream, subjects, mode, args)
            title = f"{mode.upper()} to {mode.upper()}, one TCP stream of iperf3"
            table(title, "Gbit/s", "CPU-s/Gbit", *results)
    if args.only != "stream":
        results = measure(datagram, DATAGRAM, "tun", args)
        title = "TUN to TUN, UDP packets of 64 bytes, no offload"
        table(title, "M/s", "CPU ns/pkt", *results)


main()
