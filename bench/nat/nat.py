"""Runs the ways out in turns and prints tables; started by nat.sh in namespaces of its own.

inside: nothing but the program's device === host === veth, MTU 1500 (or adit netem) === outside: load serve
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
LOAD = HERE / "target/load"
ADIT = HERE.parent.parent / "target/release/adit"
OUTSIDE = "192.0.2.2"
TICK = os.sysconf("SC_CLK_TCK")
# Each is started with the process of a namespace, whose way out it is.
PEERS = {
    "masquerade": lambda pid: masquerade(pid),
    "adit": lambda pid: start(ADIT, "nat", "attach", pid, "--name", "bench"),
    "splice": lambda pid: start(ADIT, "nat", "attach", pid, "--datapath", "splice", "--name", "bench-splice"),
    "pasta-1500": lambda pid: pasta(pid, "1500"),
    "pasta-65520": lambda pid: pasta(pid, "65520"),
    "slirp-1500": lambda pid: start("slirp4netns", "-c", "-m", "1500", pid, "tap0"),
    "slirp-65520": lambda pid: start("slirp4netns", "-c", "-m", "65520", pid, "tap0"),
}
running = []


def run(*words):
    subprocess.run(list(map(str, words)), check=True)


def start(*words, stdout=subprocess.DEVNULL):
    process = subprocess.Popen(list(map(str, words)), stdout=stdout, stderr=subprocess.PIPE)
    running.append(process)
    return process


def pasta(pid, mtu):
    options = ["--runas", "0", "--no-map-gw", "--config-net", "-m", mtu, "-t", "none", "-u", "none", "-T", "none", "-U", "none"]
    return start("pasta", "-f", "-q", *options, pid)


def masquerade(pid):
    run("ip", "link", "add", "in0", "type", "veth", "peer", "name", "in1", "netns", pid)
    run("ip", "addr", "add", "10.98.0.1/24", "dev", "in0")
    run("ip", "link", "set", "in0", "up")
    for words in ["addr add 10.98.0.2/24 dev in1", "link set in1 up", "route add default via 10.98.0.1"]:
        run(*inside(pid), "ip", *words.split())
    rule = "add table ip n; add chain ip n p { type nat hook postrouting priority 100; };"
    run("nft", rule + "add rule ip n p ip saddr 10.98.0.2 masquerade")


def inside(pid):
    return ["nsenter", "-t", str(pid), "-U", "--preserve-credentials", "-n"]


def namespace(congestion="reno"):
    """A process in user and network namespaces of its own: pasta takes no others. They would have the machine's congestion control."""
    process = start("unshare", "-Urn", "sh", "-c", "echo; exec sleep 1000000", stdout=subprocess.PIPE)
    process.stdout.readline()
    for words in ["ip_local_port_range=2048 65535", "tcp_tw_reuse=1", f"tcp_congestion_control={congestion}"]:
        run(*inside(process.pid), "sysctl", "-qw", f"net.ipv4.{words}")
    run(*inside(process.pid), "ip", "link", "set", "lo", "up")
    return process.pid


def family(pid):
    """A process and its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [pid, *(one for child in children for one in family(int(child)))]


class Peer:
    """A namespace with a way out."""

    def __init__(self, name, *congestion):
        self.name, self.netns = name, namespace(*congestion)
        self.process = PEERS[name](self.netns)
        end = time.monotonic() + 10
        while not self.route():
            if time.monotonic() > end or (self.process and self.process.poll() is not None):
                said = self.process.stderr.read1().decode() if self.process else ""
                raise RuntimeError(f"{name} did not start: {said}")
            time.sleep(0.05)

    def end(self):
        for pid in [self.process.pid] if self.process else []:
            os.kill(pid, signal.SIGTERM)
            self.process.wait()
        if self.name == "masquerade":
            run("ip", "link", "del", "in0")
            run("nft", "delete table ip n")

    def route(self):
        return subprocess.check_output([*inside(self.netns), "ip", "route", "show", "default"])

    def load(self, *words):
        words = [*inside(self.netns), LOAD, *map(str, words)]
        return [float(word) for word in subprocess.check_output(words, text=True).split()]

    def cpu(self):
        """Seconds of CPU that the program has used, in user space and in the kernel for it."""
        ticks = 0
        for pid in family(self.process.pid) if self.process else []:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICK

    def memory(self):
        """Resident memory of the program in MB."""
        kilobytes = 0
        for pid in family(self.process.pid) if self.process else []:
            status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            kilobytes += int(status["VmRSS"].split()[0])
        return kilobytes / 1024

    def stream(self, way, seconds, *congestion):
        """Gbit/s, and CPU seconds of the program a gigabyte."""
        before = self.cpu()
        size, passed = self.load(way, OUTSIDE, seconds, *congestion)
        return size * 8 / passed / 1e9, (self.cpu() - before) / (size / 1e9)


def measured(peer, seconds):
    """One round: each figure by its name."""
    up, cpu_up = peer.stream("up", seconds)
    down, cpu_down = peer.stream("down", seconds)
    one = peer.load("connect", OUTSIDE, seconds, 1)
    before = peer.cpu()
    many = peer.load("connect", OUTSIDE, seconds, 16)
    cpu_many = (peer.cpu() - before) * 1e6 / max(many[0] * seconds, 1)
    half, most = peer.load("ask", OUTSIDE, seconds)
    if one[1] or many[1]:
        print(f"{peer.name}: {one[1]:.0f} and {many[1]:.0f} connections failed", file=sys.stderr)
    figures = [up, down, cpu_up, cpu_down, one[0], many[0], half, most, cpu_many]
    return dict(zip(FIGURES, figures))


FIGURES = [
    "up, Gbit/s",
    "down, Gbit/s",
    "CPU up, s/GB",
    "CPU down, s/GB",
    "connections/s, one by one",
    "connections/s, 16 at a time",
    "question and answer p50, us",
    "question and answer p99, us",
    "CPU a connection, us",
]


def shown(values):
    """The median, and all of them from the least to the most."""
    middle, least, most = statistics.median(values), min(values), max(values)
    digits = 0 if middle >= 1000 else 1 if middle >= 10 else 2
    return f"{middle:.{digits}f} ({least:.{digits}f}-{most:.{digits}f})"


def table(rows, columns):
    print(f"{'':28}" + "".join(f"{name:>22}" for name in columns))
    for name, cells in rows:
        print(f"{name:28}" + "".join(f"{cell:>22}" for cell in cells))


def bars(found):
    """What the project promises, beside what was found."""
    median = lambda name, figure: statistics.median(found[name][figure])
    at_1500 = [name for name in found if name.endswith("-1500")]
    at_65520 = [name for name in found if name.endswith("-65520")]
    adit = {figure: median("adit", figure) for figure in FIGURES}
    lines = []
    line = lambda text, ratio, bar, is_most=False: lines.append((text, ratio, bar, is_most))
    for figure in FIGURES[:2] if "masquerade" in found and "splice" in found else []:
        ratio = median("splice", figure) / median("masquerade", figure)
        line(f"{figure}: splice of masquerade", ratio, 0.8)
    for figure, bar in [(FIGURES[0], 0.45), (FIGURES[1], 0.5)]:
        if "masquerade" in found:
            line(f"{figure}: of masquerade", adit[figure] / median("masquerade", figure), bar)
        for names, least, what in [(at_1500, 5, "1500"), (at_65520, 1, "65520")]:
            if names:
                best = max(median(name, figure) for name in names)
                line(f"{figure}: of the best peer at MTU {what}", adit[figure] / best, least)
    for figure in FIGURES[2:4]:
        if at_1500:
            best = min(median(name, figure) for name in at_1500)
            line(f"{figure}: of the best peer at MTU 1500", adit[figure] / best, 0.5, True)
    pastas = [name for name in found if name.startswith("pasta")]
    if pastas:
        for figure, bar in [(FIGURES[4], 1.1), (FIGURES[5], 1.2)]:
            line(f"{figure}: of pasta", adit[figure] / max(median(name, figure) for name in pastas), bar)
        best = min(median(name, FIGURES[6]) for name in pastas)
        line(f"{FIGURES[6]}: of pasta", adit[FIGURES[6]] / best, 1.2, True)
    for text, ratio, bar, is_most in lines:
        is_good = ratio <= bar if is_most else ratio >= bar
        word = "at most" if is_most else "at least"
        print(f"{text} {ratio:.2f} ({word} {bar}){'' if is_good else ': MISSED'}")
    return all(ratio <= bar if is_most else ratio >= bar for _, ratio, bar, is_most in lines)


def in_turn(peers, round_):
    """Another one is first in each round: who comes after whom may matter."""
    turn = round_ % len(peers)
    return peers[turn:] + peers[:turn]


def speed(peers, arguments):
    found = {peer.name: {figure: [] for figure in FIGURES} for peer in peers}
    for round_ in range(arguments.rounds):
        for peer in in_turn(peers, round_):
            for figure, value in measured(peer, arguments.seconds).items():
                found[peer.name][figure].append(value)
    is_used = lambda name, figure: figure.startswith("CPU") and name == "masquerade"
    rows = [
        (figure, ["-" if is_used(name, figure) else shown(found[name][figure]) for name in found]) for figure in FIGURES
    ]
    table(rows, found)
    return bars(found) if "adit" in found else True


def idle(peers, arguments):
    """Memory with many connections that do nothing."""
    is_good = True
    for peer in (peer for peer in peers if peer.name == "adit"):
        words = [*inside(peer.netns), LOAD, "hold", OUTSIDE, str(arguments.flows)]
        before = peer.memory()
        holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        held = int(holder.stdout.readline())
        after = peer.memory()
        holder.stdin.close()
        holder.wait()
        is_good &= held == arguments.flows and after < 48
        print(f"{held} idle connections: {before:.1f} MB before, {after:.1f} MB with them (at most 48)")
    return is_good


def serve(outside, *congestion):
    server = start(*inside(outside), LOAD, "serve", OUTSIDE, *congestion)
    time.sleep(0.5)
    return server


def loss(outside, arguments):
    """A link of 100 Mbit/s, 40 ms and 1 % loss: what the kernel's own TCP gets through masquerade, and adit."""
    is_good, rows = True, []
    for word in arguments.congestion.split(","):
        # The program's own sockets have what the host has.
        is_host = subprocess.run(
            ["sysctl", "-qw", f"net.ipv4.tcp_congestion_control={word}"], stderr=subprocess.DEVNULL
        )
        server = serve(outside, word)
        peers = [Peer(name) for name in ["masquerade", "adit"]]
        for way in ["up", "down"]:
            # Down, the server's end alone decides.
            if way == "up" and is_host.returncode:
                rows.append((f"{word} up", ["not allowed here"] * 3))
                continue
            found = {peer.name: [] for peer in peers}
            for round_ in range(arguments.rounds):
                for peer in in_turn(peers, round_):
                    found[peer.name].append(peer.stream(way, arguments.seconds, word)[0] * 1000)
            ratio = statistics.median(found["adit"]) / statistics.median(found["masquerade"])
            is_good &= ratio >= 0.9
            rows.append((f"{word} {way}, Mbit/s", [*map(shown, found.values()), f"{ratio:.2f}"]))
        for peer in peers:
            peer.end()
        server.terminate()
        server.wait()
    table(rows, ["masquerade", "adit", "ratio (at least 0.9)"])
    return is_good


def main():
    parser = argparse.ArgumentParser(prog="bench/nat.sh")
    parser.add_argument("what", nargs="?", default="speed", choices=["speed", "idle", "loss"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--flows", type=int, default=15000)
    parser.add_argument("--congestion")
    arguments = parser.parse_args()
    arguments.congestion = arguments.congestion or {"loss": "reno,cubic,bbr"}.get(arguments.what, "reno")
    arguments.seconds = arguments.seconds or {"loss": 10}.get(arguments.what, 1)
    print(f"load {os.getloadavg()[0]:.2f}, {arguments.rounds} rounds of {arguments.seconds} s")
    outside = namespace()
    run("ip", "link", "set", "lo", "up")
    run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.ip_local_port_range=2048 65535")
    if arguments.what == "loss":
        ports = ["--port", "tap:up0", "--port", f"tap:up1,netns={outside}"]
        start(ADIT, "netem", *ports, "--delay", "20ms", "--loss", "1%", "--rate", "100mbit", "--seed", "7")
        while subprocess.run([*inside(outside), "ip", "link", "show", "up1"], capture_output=True).returncode:
            time.sleep(0.05)
    else:
        for words in [[], inside(outside)]:
            run(*words, "sysctl", "-qw", f"net.ipv4.tcp_congestion_control={arguments.congestion}")
        run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1", "netns", outside)
    # No TIME-WAIT there: no program meets the ports of the one before.
    run(*inside(outside), "sysctl", "-qw", "net.ipv4.tcp_max_tw_buckets=0")
    run("ip", "addr", "add", "192.0.2.1/24", "dev", "up0")
    run("ip", "link", "set", "up0", "up")
    run(*inside(outside), "ip", "addr", "add", f"{OUTSIDE}/24", "dev", "up1")
    run(*inside(outside), "ip", "link", "set", "up1", "up")
    run("ip", "route", "add", "default", "via", OUTSIDE)
    if arguments.what == "loss":
        return loss(outside, arguments)
    serve(outside)
    peers = []
    for name in arguments.peers.split(","):
        program = {"pasta": "pasta", "slirp": "slirp4netns"}.get(name.split("-")[0])
        if program and not shutil.which(program):
            print(f"{name}: {program} is missing")
            continue
        peers.append(Peer(name, arguments.congestion))
    return speed(peers, arguments) if arguments.what == "speed" else idle(peers, arguments)


try:
    is_good = main()
finally:
    for process in running:
        process.terminate()
sys.exit(0 if is_good else 1)
