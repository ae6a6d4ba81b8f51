"""Records one interface with several programs in turns; started by capture.sh in namespaces."""

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
TOOLS = HERE / "target/tools"
ADIT = Path(os.environ.get("ADIT", HERE / "../../target/release/adit"))
FILE = "/mnt/recording"
TCPDUMP = ["tcpdump", "-Z", "root", "-n", "-i", "e1", "-w", FILE]
SUBJECTS = {
    "tcpdump": TCPDUMP,
    "tcpdump 32M": [*TCPDUMP, "-B", "32768"],
    "tcpdump -U": [*TCPDUMP, "-U"],
    "dumpcap": ["dumpcap", "-q", "-i", "e1", "-w", FILE],
    "dumpcap 32M": ["dumpcap", "-q", "-i", "e1", "-B", "32", "-w", FILE],
    "adit": [ADIT, "capture", "e1", "-w", FILE],
}
# What each prints once it records, and how many packets it had and lost at its end.
READY = re.compile(r"listening on|File: |capturing from")
COUNTS = [
    re.compile(r"(\d+) packets? captured\n.*?(\d+) packets? dropped by kernel", re.S),
    re.compile(r"received/dropped on interface '[^']*': (\d+)/(\d+)"),
    re.compile(r"(\d+) packets? captured,.* (\d+) dropped by the kernel", re.S),
]


def sh(*words):
    subprocess.check_call([str(word) for word in words])


def record(subject, rate, seconds):
    """CPU nanoseconds a packet, packets a second on the wire, and the share that was lost."""
    errors = open("/mnt/errors", "w+")
    process = subprocess.Popen([str(w) for w in SUBJECTS[subject]], stdout=errors, stderr=errors)
    try:
        end = time.monotonic() + 20
        while not READY.search(Path("/mnt/errors").read_text()):
            if time.monotonic() > end or process.poll() is not None:
                raise RuntimeError(Path("/mnt/errors").read_text())
            time.sleep(0.05)
        time.sleep(0.3)
        sent = subprocess.check_output(["ip", "netns", "exec", "h1", TOOLS, "send", "198.18.0.2", str(rate), str(seconds)])
        time.sleep(1.3)
    finally:
        process.send_signal(signal.SIGINT)
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
    text = Path("/mnt/errors").read_text()
    size = os.path.getsize(FILE)
    os.remove(FILE)
    counts = next((match for match in (one.search(text) for one in COUNTS) if match), None)
    if not counts:
        raise RuntimeError(text)
    sent, captured, dropped = int(sent), int(counts[1]), int(counts[2])
    if captured + dropped < sent or size < captured * 106:
        raise RuntimeError(f"{sent} sent, {captured} captured, {dropped} dropped, {size} bytes")
    return {
        "cpu": (usage.ru_utime + usage.ru_stime) / max(captured, 1) * 1e9,
        "rate": sent / seconds,
        "lost": dropped / (captured + dropped),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rates", default="50000,200000,0", help="datagrams a second; 0: as many as go")
    args = parser.parse_args()
    sh("ip", "netns", "add", "h1")
    sh("ip", "link", "add", "e1", "type", "veth", "peer", "name", "e0", "netns", "h1")
    sh("ip", "addr", "add", "198.18.0.2/24", "dev", "e1")
    sh("ip", "link", "set", "e1", "up")
    sh("ip", "-n", "h1", "addr", "add", "198.18.0.1/24", "dev", "e0")
    sh("ip", "-n", "h1", "link", "set", "e0", "up")
    # No reply to each datagram for a port that nobody has.
    sh("ip", "route", "add", "blackhole", "198.18.0.1")
    release = open("/proc/sys/kernel/osrelease").read().strip()
    print(f"Linux {release}; datagrams of 64 bytes; medians of {args.rounds} rounds of {args.seconds} s, in turns;")
    print("CPU nanoseconds a packet of the program alone, lost packets in percent")
    names = list(SUBJECTS)
    for rate in map(int, args.rates.split(",")):
        taken = {name: [] for name in names}
        for round_ in range(args.rounds):
            turn = round_ % len(names)
            for name in names[turn:] + names[:turn]:
                try:
                    taken[name].append(record(name, rate, args.seconds))
                except (OSError, RuntimeError) as error:
                    print(f"{name} failed: {error}", file=sys.stderr)
        print(f"\n{f'{rate} a second' if rate else 'as many as go'}")
        print(f"{'':<14}{'CPU ns':>8}{'lowest':>8}{'highest':>8}{'a second':>10}{'lost %':>8}{'highest':>8}")
        for name, samples in taken.items():
            if not samples:
                continue
            cpu, lost = [s["cpu"] for s in samples], [s["lost"] * 100 for s in samples]
            sent = statistics.median(s["rate"] for s in samples)
            print(
                f"{name:<14}{statistics.median(cpu):>8.0f}{min(cpu):>8.0f}{max(cpu):>8.0f}{sent:>10.0f}"
                f"{statistics.median(lost):>8.2f}{max(lost):>8.2f}"
            )
        sys.stdout.flush()


main()
