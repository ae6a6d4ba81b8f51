"""The kernel's fast path of the switch against the kernel's bridge; started by fastpath.sh."""

import argparse
import socket
import statistics
import subprocess
import sys
import time

from switch import ADIT, Net, lossless, round_trip, sh, stream, wait_for

SUBJECTS = ["on", "off", "bridge"]
# Of extra addresses on the ports, and the type of the frames that teach them.
ADDRESSES, TEACHING = 10_000, b"\x88\xb6"


class Cables(Net):
    """Hosts with a veth each, whose other ends p1, p2, ... are in the namespace of the switch."""

    def cables(self):
        for host in range(1, self.hosts + 1):
            sh("ip", "link", "add", "name", f"p{host}", "netns", "hsw", "type", "veth",
               "peer", "name", "e0", "netns", f"h{host}")
            sh("ip", "-n", "hsw", "link", "set", "dev", f"p{host}", "up")

    def adit(self, accelerate):
        self.cables()
        ports = [word for host in range(1, self.hosts + 1) for word in ("--port", f"dev:p{host}")]
        words = [ADIT, "switch", "--name", "bench", "--fdb-limit", "16384", "--accelerate", accelerate]
        self.start(*self.inside("sw", *words, *ports))
        show = [ADIT, "switch", "show", "bench"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        wait_for(lambda: subprocess.call(self.inside("sw", *show), **quiet) == 0, "switch")

    def start_on(self):
        self.adit("require")

    def start_off(self):
        self.adit("off")

    def teach(self):
        """Sends a frame from each of many addresses to the first host."""
        first = subprocess.check_output(self.inside(1, "cat", "/sys/class/net/e0/address"), text=True)
        each = ADDRESSES // (self.hosts - 1)
        for host in range(2, self.hosts + 1):
            sh(*self.inside(host, sys.executable, __file__, "teach", first.strip(), host, each))


def teach(to, host, count):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind(("e0", 0))
        for number in range(count):
            source = bytes([2, 1, host >> 8, host & 255, number >> 8, number & 255])
            out.send(bytes.fromhex(to.replace(":", "")) + source + TEACHING + bytes(46))
            if number % 64 == 63:
                time.sleep(0.002)


def measure(subject, part, args):
    with Cables(subject, min(part, 64)) as net:
        if part == ADDRESSES:
            net.teach()
        sample = stream(net, args.seconds, 32 if part == 64 else 1)
        if part != 64:
            sample["datagrams"] = lossless(net)
            sample.update(round_trip(net))
    return sample


COLUMNS = [("rate", "TCP Gbit/s", 2), ("datagrams", "k datagr./s", 0), ("p50", "ping p50 us", 1)]


def report(part, samples):
    print(f"\n{part} {'addresses' if part == ADDRESSES else 'hosts'}")
    print(f"{'':<8}" + "".join(f"{title:>14}{'to bridge':>11}{'least':>7}{'most':>7}" for _, title, _ in COLUMNS))
    for subject in SUBJECTS:
        row = f"{subject:<8}"
        for key, _, digits in COLUMNS:
            values = [sample.get(key) for sample in samples[subject]]
            if None in values or not values:
                row += f"{'-':>14}" + " " * 25
                continue
            # Each against the bridge of its own round.
            ratios = [v / b[key] for v, b in zip(values, samples["bridge"]) if b.get(key)]
            row += f"{statistics.median(values):>14.{digits}f}{statistics.median(ratios):>11.2f}"
            row += f"{min(ratios):>7.2f}{max(ratios):>7.2f}"
        print(row)
    sys.stdout.flush()


def main():
    if sys.argv[1:2] == ["teach"]:
        return teach(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--parts", default=f"2,64,{ADDRESSES}")
    args = parser.parse_args()
    for part in map(int, args.parts.split(",")):
        samples = {subject: [] for subject in SUBJECTS}
        for round_ in range(args.rounds):
            turn = round_ % len(SUBJECTS)
            for subject in SUBJECTS[turn:] + SUBJECTS[:turn]:
                samples[subject].append(measure(subject, part, args))
        report(part, samples)


if __name__ == "__main__":
    main()
