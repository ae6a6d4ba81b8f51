"""Runs the switches in turns and prints one table; started by switch.sh in a mount and network namespace."""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
TOOLS = HERE / "target/tools"
ADIT = Path(os.environ.get("ADIT", HERE.parent.parent / "target/release/adit"))
TICK = 100  # USER_HZ
SOON = 15

# The ceiling, the rival, and the kernel's own that copies nothing: adit-dev is on the same veths.
PEERS = ["wire", "split", "adit", "vde", "ovs", "adit-dev", "bridge"]


def busy():
    """Seconds that all cores were busy: user, nice, system, irq, softirq, steal."""
    fields = [int(x) for x in open("/proc/stat").readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICK


def own(pids):
    """Seconds of CPU of these processes."""
    ticks = 0
    for pid in pids:
        # After the name, which is in brackets: utime and stime are the 14th and 15th field.
        fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


def sh(*words, **more):
    return subprocess.check_call([str(w) for w in words], stdout=subprocess.DEVNULL, **more)


def wait_for(what, text):
    until = time.monotonic() + SOON
    while not what():
        if time.monotonic() > until:
            raise RuntimeError(f"no {text}")
        time.sleep(0.02)


class Net:
    """Hosts 1 to N in namespaces of their own, on one switch, until the end of the with block."""

    def __init__(self, peer, hosts):
        self.peer, self.hosts, self.processes, self.watched = peer, hosts, [], []
        self.folder = Path(tempfile.mkdtemp(prefix="adit-bench-"))

    def __enter__(self):
        try:
            for host in ["sw", *range(1, self.hosts + 1)]:
                sh("ip", "netns", "add", f"h{host}")
                for name in ["ipv4.tcp_congestion_control=reno", "ipv6.conf.all.disable_ipv6=1"]:
                    sh("ip", "netns", "exec", f"h{host}", "sysctl", "-qw", f"net.{name}")
            getattr(self, f"start_{self.peer.split('-')[0]}")()
            for host in range(1, self.hosts + 1):
                wait_for(lambda: self.has(host), f"e0 in h{host}")
                sh("ip", "-n", f"h{host}", "address", "add", f"198.18.0.{host}/24", "dev", "e0")
                sh("ip", "-n", f"h{host}", "link", "set", "e0", "up")
            for host in [2] if self.peer == "wire" else range(2, self.hosts + 1):
                sh(*self.inside(1, "ping", "-c1", "-W5", "-q", f"198.18.0.{host}"))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
        for host in ["sw", *range(1, self.hosts + 1)]:
            subprocess.call(["ip", "netns", "del", f"h{host}"], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def has(self, host, netns=None, name="e0"):
        words = ["ip", "-n", netns or f"h{host}", "link", "show", name]
        return subprocess.call(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0

    def inside(self, host, *words):
        return ["ip", "netns", "exec", f"h{host}", *map(str, words)]

    def start(self, *words, watched=True, stdin=None):
        process = subprocess.Popen(
            [str(w) for w in words],
            stdin=stdin or subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.processes.append(process)
        if watched:
            self.watched.append(process.pid)
        return process

    def start_wire(self):
        self.start(TOOLS, "wire", *(f"/run/netns/h{host}" for host in range(1, self.hosts + 1)))

    def start_split(self):
        self.start(TOOLS, "split", *(f"/run/netns/h{host}" for host in (1, 2)))

    def start_adit(self):
        # Everything that a port can be asked to check, for the row that says what it costs.
        extra = ""
        ports = []
        if self.peer == "adit-dev":
            self.start_on_veths()
            return
        for host in range(1, self.hosts + 1):
            if self.peer == "adit-guarded":
                extra = f",vlan=10,guard-ip=198.18.0.{host}"
            ports += ["--port", f"tap:e0,netns=h{host}{extra}"]
        self.start(ADIT, "switch", "--name", "bench", *ports)

    def start_on_veths(self):
        """The switch on the same veths as the bridge: no TAP on either side."""
        for host in range(1, self.hosts + 1):
            self.veth(host)
        ports = [word for host in range(1, self.hosts + 1) for word in ("--port", f"dev:t{host},netns=hsw")]
        self.start(ADIT, "switch", "--name", "bench", *ports)

    def start_vde(self):
        # A console that stays silent: vde_switch reads commands from its standard input.
        silent = subprocess.Popen(["sleep", "1000"], stdout=subprocess.PIPE)
        self.processes.append(silent)
        taps = [word for host in range(1, self.hosts + 1) for word in ("-tap", f"t{host}")]
        more = ["-n", "128"] if self.hosts > 30 else []
        switch = ["vde_switch", "-s", self.folder / "vde", *more, *taps]
        self.start(*self.inside("sw", *switch), stdin=silent.stdout)
        self.move()

    def start_ovs(self):
        env = {f"OVS_{x}": str(self.folder) for x in ("RUNDIR", "DBDIR", "LOGDIR", "SYSCONFDIR")}
        os.environ.update(env)
        database, socket = self.folder / "conf.db", self.folder / "db.sock"
        sh("ovsdb-tool", "create", database, "/usr/share/openvswitch/vswitch.ovsschema")
        self.start("ovsdb-server", database, f"--remote=punix:{socket}", watched=False)
        wait_for(socket.exists, "database")
        control = ["ovs-vsctl", f"--db=unix:{socket}", "--timeout=10"]
        sh(*control, "--no-wait", "init")
        self.start(*self.inside("sw", "ovs-vswitchd", f"unix:{socket}"))
        sh(*control, "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
        for host in range(1, self.hosts + 1):
            port = f"t{host}"
            sh(*control, "add-port", "br0", port, "--", "set", "interface", port, "type=tap")
        self.move()

    def move(self):
        for host in range(1, self.hosts + 1):
            wait_for(lambda: self.has(host, "hsw", f"t{host}"), f"t{host}")
            sh("ip", "-n", "hsw", "link", "set", f"t{host}", "netns", f"h{host}", "name", "e0")

    def start_bridge(self):
        sh("ip", "-n", "hsw", "link", "add", "br0", "type", "bridge")
        sh("ip", "-n", "hsw", "link", "set", "br0", "up")
        sysctl = "net.bridge.bridge-nf-call-iptables=0"
        subprocess.call(self.inside("sw", "sysctl", "-qw", sysctl), stderr=subprocess.DEVNULL)
        for host in range(1, self.hosts + 1):
            self.veth(host)
            sh("ip", "-n", "hsw", "link", "set", f"t{host}", "master", "br0")

    def veth(self, host):
        peer = ["peer", "name", "e0", "netns", f"h{host}"]
        sh("ip", "-n", "hsw", "link", "add", f"t{host}", "type", "veth", *peer)
        sh("ip", "-n", "hsw", "link", "set", f"t{host}", "up")


def stream(net, seconds, streams):
    """One TCP stream from 1 to 2, from 3 to 4 and so on, at most so many."""
    pairs = [(n, n + 1) for n in range(1, net.hosts, 2)][:streams]
    servers = [
        subprocess.Popen(net.inside(to, "iperf3", "-s", "-1"), stdout=subprocess.DEVNULL)
        for _, to in pairs
    ]
    try:
        time.sleep(0.5)
        before, spent = busy(), own(net.watched)
        clients = [
            subprocess.Popen(
                net.inside(at, "iperf3", "-c", f"198.18.0.{to}", "-t", seconds, "-J"),
                stdout=subprocess.PIPE,
            )
            for at, to in pairs
        ]
        reports = [json.loads(client.communicate(timeout=seconds + 30)[0]) for client in clients]
        used, spent = busy() - before, own(net.watched) - spent
    finally:
        for server in servers:
            server.kill()
            server.wait()
    ends = [report["end"]["sum_received"] for report in reports]
    size = sum(end["bytes"] for end in ends) / 1e9
    rate = sum(end["bits_per_second"] for end in ends) / 1e9
    return {"rate": rate, "cpu": used / size, "own": spent / size}


def datagrams(net, rate, seconds):
    """How many datagrams of 64 bytes were sent and received."""
    receiver = subprocess.Popen(net.inside(2, TOOLS, "recv", 300), stdout=subprocess.PIPE, text=True)
    try:
        receiver.stdout.readline()
        sent = subprocess.check_output(net.inside(1, TOOLS, "send", "198.18.0.2", rate, seconds))
        received = int(receiver.communicate(timeout=SOON)[0].split()[0])
    finally:
        receiver.kill()
        receiver.wait()
    return int(sent), received


def lossless(net):
    """The highest of a ladder of rates of which at most one datagram in a thousand was lost."""
    best = 0
    for rate in [50, 75, 100, 130, 160, 200, 250, 300, 350, 400, 500, 600, 800]:
        for _ in range(2):
            sent, received = datagrams(net, rate * 1000, 0.6)
            if sent - received <= sent / 1000:
                best = rate
                break
        else:
            break
    return best


def round_trip(net):
    """The median and the 99th percentile of pings, in microseconds."""
    ping = net.inside(1, "ping", "-i", "0.001", "-c", "600", "198.18.0.2")
    text = subprocess.check_output(ping, text=True)
    times = sorted(float(t) * 1000 for t in re.findall(r"time=([0-9.]+) ms", text))
    return {"p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100]}


def measure(peer, hosts, args):
    with Net(peer, hosts) as net:
        sample = stream(net, args.seconds, args.streams)
        if hosts == 2:
            sample["datagrams"] = lossless(net)
            sample.update(round_trip(net))
    return sample


def rounds(peers, hosts, args):
    samples, failures = {peer: [] for peer in peers}, {}
    for round_ in range(args.rounds):
        # The order turns, so that no peer always follows the same one.
        turn = round_ % len(peers)
        for peer in peers[turn:] + peers[:turn]:
            try:
                samples[peer].append(measure(peer, hosts, args))
            except (OSError, RuntimeError, ValueError, KeyError, subprocess.SubprocessError) as error:
                failures[peer] = str(error)
    return samples, failures


def median(taken, key):
    values = [sample[key] for sample in taken if key in sample]
    return statistics.median(values) if values else None


def reach(taken, key):
    """The lowest and the highest of the rounds."""
    values = [sample[key] for sample in taken if key in sample]
    return f"{min(values):.3g}-{max(values):.3g}" if values else "-"


def cell(value, width, digits):
    return f"{'-' if value is None else f'{value:.{digits}f}':>{width}}"


def table(title, samples, failures, columns):
    print(f"\n{title}")
    first, second = list(samples)[:2]
    head = "".join(f"{name:>{width}}{'spread':>12}" for name, _, width, _ in columns)
    print(f"{'':<14}{head}{'to ' + first:>10}{'adit to it':>12}")
    rate = {peer: median(taken, "rate") for peer, taken in samples.items()}
    for peer, taken in samples.items():
        if taken:
            row = "".join(
                cell(median(taken, key), w, digits) + f"{reach(taken, key):>12}"
                for _, key, w, digits in columns
            )
            to_first = rate[peer] / rate[first] if rate[first] else None
            ours = rate.get("adit")
            print(f"{peer:<14}{row}{cell(to_first, 10, 2)}{cell(ours and ours / rate[peer], 12, 2)}")
        if peer in failures:
            print(f"{peer:<14}failed {'at times' if taken else ''}: {failures[peer]}")
    if rate.get("adit-dev") and rate.get("bridge"):
        print(f"adit-dev to bridge, both on veths: {rate['adit-dev'] / rate['bridge']:.2f}")
    sys.stdout.flush()


STREAM = [("Gbit/s", "rate", 9, 2), ("CPU-s/GB", "cpu", 10, 3), ("own", "own", 8, 3)]
ALONE = [
    ("k datagr./s", "datagrams", 13, 0),
    ("ping p50 us", "p50", 13, 0),
    ("p99", "p99", 7, 0),
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--hosts", default="2,8,64", help="how many hosts, each a table of its own")
    parser.add_argument("--streams", type=int, help="how many at once; unless given, one from every second host")
    args = parser.parse_args()
    peers = args.peers.split(",")
    release = open("/proc/sys/kernel/osrelease").read().strip()
    print(f"Linux {release}; medians of {args.rounds} rounds of {args.seconds} s, in turns; TCP of iperf3,")
    some = f"at most {args.streams} at once" if args.streams else "one from every second host to the next"
    print(f"streams: {some}; CPU of the whole machine, and of the switch alone;")
    print("datagrams of 64 bytes that arrive, at most one in a thousand lost; pings every millisecond")
    for hosts in map(int, args.hosts.split(",")):
        some = [p for p in peers if hosts == 2 or p != "split"]
        if hosts == 2 and "adit" in some:
            some.append("adit-guarded")
        columns = STREAM + (ALONE if hosts == 2 else [])
        table(f"{hosts} hosts", *rounds(some, hosts, args), columns)


if __name__ == "__main__":
    main()
