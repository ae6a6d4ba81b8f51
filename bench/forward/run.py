"""Runs the forwarders in turns and prints one table; started by forward.sh in namespaces."""

import argparse
import json
import os
import re
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE / "target"
FORWARD = TARGET / "release/forward"
# The first is the ceiling, the second the rival: tun-rs as its examples use it, which cuts super-packets up and
# joins them again. It takes every record of a TAP for an IP packet then ("invalid ip header version"), so that
# there it passes records on as they are (tun-rs-whole), the best that it can do.
STREAM = {
    "tun": ["c", "tun-rs", "tun-rs-whole", "adit-whole", "adit-split"],
    "tap": ["c", "tun-rs-whole", "adit-whole", "adit-split"],
}
DATAGRAM = ["c-packets", "tun-rs-packets", "tun-tokio-packets", "adit-packets"]
# One queue with a thread a direction, against two of them with a flow always in the same; and the C loop
# with both: what of the difference is the machine's.
QUEUES = ["adit-queues-1", "adit-queues-2", "adit-queues-2-pinned", "c-queues-1", "c-queues-2"]
TICK = 100  # USER_HZ


def busy():
    """Seconds that all cores were busy: user, nice, system, irq, softirq, steal."""
    fields = [int(x) for x in open("/proc/stat").readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICK


class Forwarder:
    """A forwarder with its two namespaces, until the end of the with block."""

    def __init__(self, subject, mode):
        command = [FORWARD, subject, mode, TARGET / "loop"]
        # Every allocation of the forwarder, and of the C loop, counts in this file's eight bytes.
        self.allocated = tempfile.NamedTemporaryFile()
        self.allocated.write(bytes(8))
        self.allocated.flush()
        counter = {"LD_PRELOAD": TARGET / "count.so", "COUNT_FILE": self.allocated.name}
        # A process group of its own: the C loop is a child of it.
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | counter,
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
        self.allocated.close()

    def processes(self):
        """The forwarder, and the C loops that it has started."""
        pid = self.process.pid
        children = open(f"/proc/{pid}/task/{pid}/children").read().split()
        return [Path(f"/proc/{pid}") for pid in [pid, *children]]

    def own(self):
        """Seconds of CPU of the forwarder alone, the C loop's included."""
        spent = 0
        for process in self.processes():
            for task in (process / "task").iterdir():
                # Nanoseconds on a CPU, then those of waiting for one.
                spent += int((task / "schedstat").read_text().split()[0])
        return spent / 1e9

    def work(self):
        """System calls that read and write; ticks of CPU in the program and in the kernel."""
        count = {"calls": 0, "user": 0, "system": 0}
        for process in self.processes():
            # Of each of them the kernel counts one, however many buffers it has.
            for line in (process / "io").read_text().splitlines():
                if line.startswith(("syscr", "syscw")):
                    count["calls"] += int(line.split()[1])
            fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
            count["user"] += int(fields[11])
            count["system"] += int(fields[12])
        return count

    def counts(self):
        """What the kernel and the allocator counted so far."""
        count = {"allocations": struct.unpack("q", Path(self.allocated.name).read_bytes())[0]}
        count |= self.work()
        for netns, end in [(self.near, "near"), (self.far, "far")]:
            files = ["/proc/net/dev", "/proc/net/snmp", "/proc/net/netstat"]
            text = subprocess.check_output(self.inside(netns, "cat", *files), text=True)
            dev = re.search(r"dev0:(.*)", text)[1].split()
            count[end + " received"] = int(dev[1])
            count[end + " dropped"] = int(dev[11])
            for kind in ["Tcp", "TcpExt"]:
                names, values = re.findall(rf"^{kind}: (.*)", text, re.M)
                count |= {f"{end} {n}": int(v) for n, v in zip(names.split(), values.split())}
        return count

    def inside(self, netns, *words):
        return ["nsenter", f"--net={netns}", *map(str, words)]


class Watch:
    """What happened from its making to its end."""

    def __init__(self, forwarder):
        self.forwarder = forwarder
        self.counts = forwarder.counts()
        self.busy, self.own, self.start = busy(), forwarder.own(), time.monotonic()

    def end(self):
        self.passed = time.monotonic() - self.start
        self.busy, self.own = busy() - self.busy, self.forwarder.own() - self.own
        now = self.forwarder.counts()
        self.counts = {name: now[name] - count for name, count in self.counts.items()}

    def figures(self, packets):
        return {
            "cpu": self.busy / packets * 1e9,
            "own": self.own / packets * 1e9,
            "calls": self.counts["calls"] / packets,
            "kernel": 100 * self.counts["system"] / max(1, self.counts["user"] + self.counts["system"]),
            "allocations": self.counts["allocations"] / packets,
            # By a full queue: the kernel counts what goes to the forwarder as sent by the device.
            "dropped": self.counts["near dropped"] + self.counts["far dropped"],
        }


def stream(subject, mode, seconds, flows=1):
    with Forwarder(subject, mode) as f:
        # Addresses settle, the first packets find their way.
        time.sleep(0.3)
        server = subprocess.Popen(
            f.inside(f.far, "iperf3", "-s", "-1", "-B", "198.18.0.2"), stdout=subprocess.DEVNULL
        )
        try:
            time.sleep(0.3)
            client = f.inside(f.near, "iperf3", "-c", "198.18.0.2", "-t", seconds, "-P", flows, "-J")
            watch = Watch(f)
            done = subprocess.run(client, capture_output=True, text=True, timeout=seconds + 20)
            watch.end()
        finally:
            server.kill()
            server.wait()
    report = json.loads(done.stdout)
    if "error" in report:
        raise RuntimeError(report["error"])
    end = report["end"]
    gbit = end["sum_received"]["bytes"] * 8 / 1e9
    # Packets as on a wire, in both directions, whatever super-packets they cross in.
    packets = watch.counts["near OutSegs"] + watch.counts["far OutSegs"]
    return watch.figures(packets) | {
        "rate": end["sum_received"]["bits_per_second"] / 1e9,
        "retransmits": end["sum_sent"]["retransmits"],
        # The receiver had it already: the sender's probe came before a late acknowledgment.
        "spurious": watch.counts["near TCPDSACKRecv"],
        "gbit cpu": watch.busy / gbit,
        "gbit own": watch.own / gbit,
    }


def streams(subject, mode, seconds):
    return stream(subject, mode, seconds, flows=64)


def datagram(subject, mode, seconds):
    with Forwarder(subject, mode) as f:
        time.sleep(0.3)
        route = ["ip", "route", "add", "203.0.113.0/24", "via", "198.18.0.2", "dev", "dev0"]
        subprocess.check_call(f.inside(f.near, *route))
        # The counters are read by processes: half a second before and after is not counted.
        sender = subprocess.Popen(f.inside(f.near, TARGET / "blast", seconds + 1))
        try:
            time.sleep(0.4)
            watch = Watch(f)
            time.sleep(seconds)
            watch.end()
        finally:
            sender.kill()
            sender.wait()
    count = watch.counts["far received"]
    if not count:
        raise RuntimeError("nothing arrived")
    return watch.figures(count) | {"rate": count / watch.passed / 1e6}


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


COLUMNS = [
    # Heading, key, width, decimals, and whether rounds are summed up.
    ("CPU ns/pkt", "cpu", 10, 0, False),
    ("own", "own", 6, 0, False),
    ("CPU-s/Gbit", "gbit cpu", 10, 3, False),
    ("own", "gbit own", 6, 3, False),
    ("calls/pkt", "calls", 9, 3, False),
    ("in kernel %", "kernel", 11, 0, False),
    ("allocs/pkt", "allocations", 10, 3, False),
    ("retrans", "retransmits", 7, 0, True),
    ("spurious", "spurious", 8, 0, True),
    ("dropped", "dropped", 8, 0, True),
]


def table(title, unit, samples, failures):
    ceiling, rival = list(samples)[:2]
    print(f"\n{title}")
    heads = [f"{head:>{width}}" for head, _, width, _, _ in COLUMNS]
    head = f"{'':<22} {unit:>8} {'lowest':>8} {'highest':>8} {' '.join(heads)}"
    print(f"{head} {'to ' + ceiling:>16} {'to ' + rival:>18}")
    for subject, taken in samples.items():
        if taken:
            rates = [s["rate"] for s in taken]
            figures = f"{median(taken, 'rate'):>8.3f} {min(rates):>8.3f} {max(rates):>8.3f}"
            for _, key, width, decimals, summed in COLUMNS:
                if key not in taken[0]:
                    figures += f" {'-':>{width}}"
                    continue
                value = sum(s[key] for s in taken) if summed else median(taken, key)
                figures += f" {value:>{width}.{decimals}f}"
            against = f"{ratio(taken, samples[ceiling]):>16} {ratio(taken, samples[rival]):>18}"
            print(f"{subject:<22} {figures} {against}")
        if subject in failures:
            print(f"{subject:<22} failed {'at times' if taken else ''}: {failures[subject]}")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--only", choices=["stream", "datagram", "queues"])
    args = parser.parse_args()
    release = open("/proc/sys/kernel/osrelease").read().strip()
    print(f"Linux {release}; medians of {args.rounds} rounds of {args.seconds} s, in turns;")
    print("packets as on a wire, both directions; CPU of the whole machine, and of the forwarder alone;")
    print("retransmits and drops of all rounds; what bounds all of them are the calls to the driver: the C loop")
    print("makes two for each record and does nothing else, so nobody with as many calls is faster but by chance")
    if args.only in (None, "stream"):
        for mode, subjects in STREAM.items():
            results = measure(stream, subjects, mode, args)
            title = f"{mode.upper()} to {mode.upper()}, one TCP stream of iperf3"
            table(title, "Gbit/s", *results)
    if args.only in (None, "datagram"):
        results = measure(datagram, DATAGRAM, "tun", args)
        table("TUN to TUN, UDP packets of 64 bytes, no offload", "M/s", *results)
    if args.only in (None, "queues"):
        results = measure(streams, QUEUES, "tun", args)
        table("TUN to TUN, 64 TCP streams, one queue and two", "Gbit/s", *results)


if __name__ == "__main__":
    main()
