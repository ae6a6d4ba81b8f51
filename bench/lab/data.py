"""Started by bench/lab-data.sh, which says what it measures."""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import time

from common import ADIT, adit, run

options = argparse.ArgumentParser()
options.add_argument("parts", nargs="*", default=[])
options.add_argument("--rounds", type=int, default=5)
options.add_argument("--seconds", type=int, default=3)
options = options.parse_intermixed_args()

def inside(pid_or_name):
    return ["ip", "netns", "exec", pid_or_name]

def address(host):
    links = json.loads(run(*inside(host), "ip", "-4", "-j", "addr", "show", "up"))
    return next(link["addr_info"][0]["local"] for link in links if link["ifname"] != "lo")

def streams(pairs):
    """Bits a second of TCP between all pairs of namespaces together."""
    servers = [subprocess.Popen([*inside(b), "iperf3", "-s", "-1"], stdout=subprocess.DEVNULL) for _, b in pairs]
    for _, b in pairs:
        while not run(*inside(b), "ss", "-Htln", "sport = :5201").strip():
            time.sleep(0.02)
    clients = [
        subprocess.Popen(
            [*inside(a), "iperf3", "-J", "-t", str(options.seconds), "-c", address(b)], stdout=subprocess.PIPE, text=True)
        for a, b in pairs]
    bits = sum(json.loads(client.communicate()[0])["end"]["sum_received"]["bits_per_second"] for client in clients)
    for server in servers:
        server.wait()
    return bits

class Lab:
    def __init__(self, text):
        path = "/run/bench.toml"
        with open(path, "w") as file:
            file.write(text)
        adit("lab", "up", "-d", "--name", "bench", path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        adit("lab", "down", "bench")

class Plain:
    """TAPs of 'adit switch' or 'adit netem' in namespaces of iproute2."""

    def __init__(self, hosts, words):
        self.hosts = hosts
        for host in hosts:
            run("ip", "netns", "add", host)
        ports = [word for host in hosts for word in ("--port", f"tap:{host},netns={host}")]
        self.process = subprocess.Popen([ADIT, "-j", *words, *ports], stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if json.loads(line).get("event") == "ready":
                break
        for number, host in enumerate(hosts, 1):
            run("ip", "-n", host, "addr", "add", f"10.1.0.{number}/24", "dev", host)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate()
        for host in self.hosts:
            run("ip", "netns", "del", host)

def compare(what, least, lab, plain):
    mine, theirs = [], []
    for _ in range(options.rounds):
        mine.append(lab())
        theirs.append(plain())
    ratio = statistics.median(mine) / statistics.median(theirs)
    print(f"{what}: lab {statistics.median(mine) / 1e9:.2f} Gbit/s, plain {statistics.median(theirs) / 1e9:.2f} Gbit/s, "
          f"ratio {ratio:.2f} (at least {least})", flush=True)
    return ratio >= least

def link():
    text = "[host.a]\n[host.b]\n[[link]]\nends = ['a', 'b']\ndelay = '1ms'\n"
    def lab():
        with Lab(text):
            return streams([("bench-a", "bench-b")])
    def plain():
        with Plain(["na", "nb"], ["netem", "--delay", "1ms"]):
            return streams([("na", "nb")])
    return compare("link", 0.9, lab, plain)

def switch():
    hosts = [f"h{number}" for number in range(1, 21)]
    text = "[switch.s]\n[host.h]\ncount = 20\n[[link]]\nends = ['h', 's']\n"
    def lab():
        with Lab(text):
            return streams([(f"bench-{a}", f"bench-{b}") for a, b in zip(hosts[::2], hosts[1::2])])
    def plain():
        with Plain([f"n{host}" for host in hosts], ["switch"]):
            return streams([(f"n{a}", f"n{b}") for a, b in zip(hosts[::2], hosts[1::2])])
    return compare("switch, ten pairs", 0.95, lab, plain)

def lateness(count):
    """The medians of p50 and p99 of all directions, in microseconds."""
    parts = "".join(
        f"[host.a{n}]\n[host.b{n}]\n[[link]]\nends = ['a{n}', 'b{n}']\ndelay = '20ms'\n" for n in range(count))
    with Lab(parts):
        pings = [
            subprocess.Popen(
                [*inside(f"bench-a{n}"), "ping", "-q", "-i", "0.005", "-c", str(options.seconds * 200), address(f"bench-b{n}")],
                stdout=subprocess.DEVNULL)
            for n in range(count)]
        for ping in pings:
            ping.wait()
        links = json.loads(adit("-j", "lab", "show"))["links"]
    late = [way["late"] for one in links for way in (one["link"]["ingress"], one["link"]["egress"])]
    return [statistics.median(times[key] for times in late) * 1e3 for key in ("p50_ms", "p99_ms")]

def late():
    one, many = [], []
    for _ in range(options.rounds):
        one.append(lateness(1))
        many.append(lateness(50))
    one, many = ([statistics.median(times) for times in zip(*rounds)] for rounds in (one, many))
    ratios = [b / max(a, 1) for a, b in zip(one, many)]
    print(f"late: one link p50 {one[0]:.0f} us, p99 {one[1]:.0f} us; 50 links p50 {many[0]:.0f} us, p99 {many[1]:.0f} us; "
          f"ratios {ratios[0]:.2f} (at most 1.5), {ratios[1]:.2f} (at most 2)", flush=True)
    return ratios[0] <= 1.5 and ratios[1] <= 2

parts = {"link": link, "switch": switch, "late": late}
results = [parts[name]() for name in options.parts or parts]
sys.exit(0 if all(results) else 1)
