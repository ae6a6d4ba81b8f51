"""Measures how late emulated links deliver; started by netem.sh in a mount and network namespace."""

import argparse
import statistics
import subprocess
import sys

from switch import ADIT, SOON, TOOLS, Net, sh, wait_for

# The cost of measuring itself, ours, and the emulator of VDE.
PEERS = ["veth", "adit", "wirefilter"]


class Link(Net):
    """Two hosts with one emulated link between them."""

    def __init__(self, peer, delay, *options):
        super().__init__(peer, 2)
        self.delay, self.options = delay, options

    def start_veth(self):
        sh("ip", "-n", "h1", "link", "add", "e0", "type", "veth", "peer", "name", "e0", "netns", "h2")

    def start_adit(self):
        ports = [word for host in (1, 2) for word in ("--port", f"tap:e0,netns=h{host}")]
        self.start(ADIT, "netem", "--name", "bench", *ports, "--delay", f"{self.delay}us", *self.options)

    def start_wirefilter(self):
        silent = subprocess.Popen(["sleep", "1000"], stdout=subprocess.PIPE)
        self.processes.append(silent)
        for host in (1, 2):
            switch = ["vde_switch", "-s", self.folder / f"s{host}", "-tap", "e0"]
            self.start(*self.inside(host, *switch), stdin=silent.stdout)
            wait_for((self.folder / f"s{host}" / "ctl").exists, "switch")
        ends = f"{self.folder}/s1:{self.folder}/s2"
        self.start("wirefilter", "-v", ends, "-d", self.delay / 1000, stdin=silent.stdout)


def lateness(net, count, gap):
    """How much later than asked for each datagram came, in microseconds, sorted."""
    receiver = subprocess.Popen(net.inside(2, TOOLS, "delays", count), stdout=subprocess.PIPE, text=True)
    try:
        receiver.stdout.readline()
        sh(*net.inside(1, TOOLS, "late", "198.18.0.2", count, gap))
        text = receiver.communicate(timeout=SOON)[0]
    finally:
        receiver.kill()
        receiver.wait()
    asked = 0 if net.peer == "veth" else net.delay
    return sorted(int(line) / 1000 - asked for line in text.split())


def received(net, tool, rate, seconds):
    """The lines that a receiver prints while datagrams are sent, and how many were sent."""
    receiver = subprocess.Popen(net.inside(2, TOOLS, tool, 500), stdout=subprocess.PIPE, text=True)
    try:
        receiver.stdout.readline()
        sent = subprocess.check_output(net.inside(1, TOOLS, "send", "198.18.0.2", rate, seconds))
        return receiver.communicate(timeout=60)[0].split(), int(sent)
    finally:
        receiver.kill()
        receiver.wait()


def loss():
    """100,000 datagrams, and the interval in which 99.9 % of honest links lie."""
    asked = 0.01
    with Link("adit", 0, "--loss", f"{asked:%}", "--seed", "1") as net:
        lines, sent = received(net, "recv", 20000, 5)
    lost = 1 - int(lines[0]) / sent
    reach = 3.29 * (asked * (1 - asked) / sent) ** 0.5
    print(f"\nloss: asked {asked:.2%}, seen {lost:.3%} of {sent}; 99.9 % of links: +-{reach:.3%}")


def rate():
    """Twice as much as goes through, for 10 seconds; frames of 64 bytes and 42 of headers."""
    asked = 10_000_000
    with Link("adit", 0, "--rate", f"{asked}bit", "--seed", "1") as net:
        lines, _ = received(net, "times", 2 * asked / 8 / 106, 11)
    times = [int(line) / 1e9 for line in lines]
    # The queue fills first.
    times = [t for t in times if t > times[0] + 0.5]
    size = 106 * 8

    def seen(start, end):
        return sum(start <= t < end for t in times) * size / (end - start)

    whole = seen(times[0], times[0] + 10) / asked - 1
    windows = sorted(abs(seen(times[0] + n / 10, times[0] + (n + 1) / 10) / asked - 1) for n in range(100))
    print(f"rate: asked {asked / 1e6:.0f} Mbit/s, over 10 s {whole:+.3%}; over 100 ms windows off by", end=" ")
    print(f"{windows[50]:.3%} (median), {windows[95]:.3%} (95 of 100), {windows[99]:.3%} (worst)")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--delays", default="1000,20000", help="microseconds")
    args = parser.parse_args()
    peers = args.peers.split(",")
    release = open("/proc/sys/kernel/osrelease").read().strip()
    print(f"Linux {release}; how much later than asked for datagrams of 200 bytes come, 2,000 a second,")
    print(f"in microseconds; medians over {args.rounds} windows of 2 s, in turns, the lowest and the highest")
    for delay in map(int, args.delays.split(",")):
        print(f"\n{delay} us\n{'':<12}{'p50':>8}{'lowest':>8}{'highest':>8}{'p99':>8}{'lowest':>8}{'highest':>8}{'arrived':>9}")
        taken = {peer: [] for peer in peers}
        for round_ in range(args.rounds):
            turn = round_ % len(peers)
            for peer in peers[turn:] + peers[:turn]:
                try:
                    with Link(peer, delay) as net:
                        taken[peer].append(lateness(net, 4000, 500))
                except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                    print(f"{peer:<12}failed: {error}")
        for peer, windows in taken.items():
            windows = [w for w in windows if w]
            if not windows:
                continue
            row = ""
            for share in (50, 99):
                values = [w[len(w) * share // 100] for w in windows]
                row += f"{statistics.median(values):>8.0f}{min(values):>8.0f}{max(values):>8.0f}"
            arrived = sum(map(len, windows)) / len(windows) / 4000
            print(f"{peer:<12}{row}{arrived:>9.1%}")
        sys.stdout.flush()
    loss()
    rate()


main()
