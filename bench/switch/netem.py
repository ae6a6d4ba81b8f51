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

    def __init__(self, peer, delay):
        super().__init__(peer, 2)
        self.delay = delay

    def start_veth(self):
        sh("ip", "-n", "h1", "link", "add", "e0", "type", "veth", "peer", "name", "e0", "netns", "h2")

    def start_adit(self):
        ports = [word for host in (1, 2) for word in ("--port", f"tap:e0,netns=h{host}")]
        self.start(ADIT, "netem", "--name", "bench", *ports, "--delay", f"{self.delay}us")

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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--delays", default="1000,20000", help="microseconds")
    args = parser.parse_args()
    peers = args.peers.split(",")
    release = open("/proc/sys/kernel/osrelease").read().strip()
    print(f"Linux {release}; how much later than asked for datagrams of 200 bytes come, 2,000 a second,")
    print(f"in microseconds; medians over {args.rounds} windows of 2 s, in turns, and the lowest")
    for delay in map(int, args.delays.split(",")):
        print(f"\n{delay} us\n{'':<12}{'p50':>8}{'lowest':>8}{'p99':>8}{'lowest':>8}{'arrived':>9}")
        taken = {peer: [] for peer in peers}
        for _ in range(args.rounds):
            for peer in peers:
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
                row += f"{statistics.median(values):>8.0f}{min(values):>8.0f}"
            arrived = sum(map(len, windows)) / len(windows) / 4000
            print(f"{peer:<12}{row}{arrived:>9.1%}")
        sys.stdout.flush()


main()
