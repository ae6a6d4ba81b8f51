"""Measures two guests on a switch; started by vm.sh in a namespace of its own."""

import argparse
import queue
import re
import statistics
import subprocess
import tempfile
import threading
from pathlib import Path

from switch import ADIT, own, sh, wait_for

# An emulated machine on a loaded host is slow; a broken one never answers.
BOOT = 120
ROWS = ["bridge", "adit", "unix"]
TAPS = ["vm0", "vm1"]


class Guest:
    """A guest that does what it is told over its serial line."""

    def __init__(self, folder, number, netdev):
        self.address = f"10.88.0.{number}"
        boot = f"console=ttyS0 quiet panic=-1 nokaslr adit.address={self.address}/24"
        words = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]
        words += ["-serial", "stdio", "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "256"]
        words += ["-kernel", f"{folder}/vmlinux", "-initrd", f"{folder}/initrd.gz", "-append", boot]
        words += ["-netdev", f"{netdev},id=n0"]
        words += ["-device", f"virtio-net-pci,netdev=n0,mac=52:54:00:00:00:0{number}"]
        self.qemu = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines, self.commands = queue.Queue(), 0
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.qemu.stdout:
            self.lines.put(line.strip())

    def until(self, end):
        """What the guest prints before a line that ends so."""
        lines = []
        try:
            while not (line := self.lines.get(timeout=BOOT)).endswith(end):
                lines.append(line)
        except queue.Empty:
            raise SystemExit("\n".join([f"no '{end}' within {BOOT} s after:", *lines])) from None
        return "\n".join(lines)

    def run(self, line):
        self.commands += 1
        self.qemu.stdin.write(f"{line}; echo did-{self.commands}\n")
        self.qemu.stdin.flush()
        return self.until(f"did-{self.commands}")

    def stop(self):
        self.qemu.kill()
        self.qemu.wait()


class Switch:
    """What joins the guests of a row, while the with block lasts."""

    def __init__(self, row, socket):
        self.row, self.ports, self.process = row, [f"unix:{socket}"], None
        if row == "adit":
            self.ports = [f"dev:{tap}" for tap in TAPS]

    def __enter__(self):
        if self.row == "bridge":
            for tap in TAPS:
                sh("ip", "link", "set", tap, "master", "br0")
            return self
        ports = [word for port in self.ports for word in ("--port", port)]
        self.process = subprocess.Popen(
            [str(ADIT), "switch", "--name", f"bench-{self.row}", *ports],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.kill()
            self.process.wait()
            return
        for tap in TAPS:
            sh("ip", "link", "set", tap, "nomaster")

    def used(self):
        return own([self.process.pid]) if self.process else 0


def measure(switch, left, right, seconds):
    """Mbit/s of one TCP stream, CPU seconds of the switch per GB, microseconds of a ping."""
    left.run(f"ping -c 3 -W 20 {right.address}")
    right.run("iperf3 -s -D -1 >/dev/null; sleep 0.5")
    before = switch.used()
    text = left.run(f"iperf3 -c {right.address} -t {seconds} -f k")
    used = switch.used() - before
    rate = float(re.search(r"([0-9.]+) Kbits/sec +receiver", text)[1]) / 1000
    ping = left.run(f"ping -c 40 -i 0.05 -q {right.address}")
    trip = float(re.search(r"= [0-9.]+/([0-9.]+)/", ping)[1]) * 1000
    return rate, used / (rate * seconds / 8000), trip


def table(samples):
    print(f"\n{'':<10}{'Mbit/s':>9}{'spread':>12}{'own CPU-s/GB':>14}{'ping avg us':>13}{'to bridge':>11}")
    first = statistics.median(rate for rate, _, _ in samples["bridge"])
    for row, taken in samples.items():
        rate, used, trip = (statistics.median(values) for values in zip(*taken))
        rates = [rate for rate, _, _ in taken]
        spread = f"{min(rates):.0f}-{max(rates):.0f}"
        print(f"{row:<10}{rate:>9.0f}{spread:>12}{used:>14.2f}{trip:>13.0f}{rate / first:>11.2f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("guest")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    args = parser.parse_args()
    sh("ip", "link", "set", "lo", "up")
    sh("ip", "link", "add", "br0", "type", "bridge")
    sh("ip", "link", "set", "br0", "up")
    subprocess.call(["sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0"], stderr=subprocess.DEVNULL)
    samples, guests = {row: [] for row in ROWS}, []
    with tempfile.TemporaryDirectory(prefix="adit-bench-") as folder:
        socket = Path(folder) / "switch.sock"
        try:
            with Switch("unix", socket) as unix:
                wait_for(socket.exists, "socket")
                for number, tap in enumerate(TAPS):
                    netdev = f"tap,ifname={tap},script=no,downscript=no,vhost=off"
                    guests.append(Guest(args.guest, 2 + number, netdev))
                for number in range(2):
                    netdev = f"stream,server=off,addr.type=unix,addr.path={socket}"
                    guests.append(Guest(args.guest, 4 + number, netdev))
                for guest in guests:
                    guest.until("guest-ready")
                for tap in TAPS:
                    sh("ip", "link", "set", tap, "up")
                for round_ in range(args.rounds):
                    for row in ROWS[round_ % 3 :] + ROWS[: round_ % 3]:
                        if row == "unix":
                            samples[row].append(measure(unix, *guests[2:], args.seconds))
                            continue
                        with Switch(row, socket) as switch:
                            samples[row].append(measure(switch, *guests[:2], args.seconds))
        finally:
            for guest in guests:
                guest.stop()
    print(f"medians of {args.rounds} rounds of {args.seconds} s, in turns; TCP of iperf3 from guest to guest")
    table(samples)


main()
