"""Started by bench/lab.sh, which says what it measures."""

import argparse
import ctypes
import os
import statistics
import subprocess
import sys
import time

from common import adit, run

options = argparse.ArgumentParser()
options.add_argument("--hosts", type=int, default=100)
options.add_argument("--rounds", type=int, default=5)
options.add_argument("--many", type=int, default=1000)
options.add_argument("--peers", default="adit,ip,mininet")
options = options.parse_args()

def timed(work):
    start = time.monotonic()
    work()
    return time.monotonic() - start

def address(number):
    return f"10.0.{number // 250}.{number % 250 + 1}"

class Adit:
    def up(self, count):
        adit("lab", "up", "-d", "--topo", f"star,{count}", "--name", "bench")
        adit("lab", "exec", "--lab", "bench", "h1", "--", "ping", "-c1", "-W5", f"h{count}")

    def down(self, count):
        adit("lab", "down", "--lab", "bench")

class Ip:
    def up(self, count):
        hosts = range(1, count + 1)
        run("ip", "-batch", "-", text="".join(f"netns add h{n}\n" for n in (0, *hosts)))
        links = "".join(
            f"link add v{n} type veth peer name eth0 netns h{n}\nlink set v{n} master br0 up\n" for n in hosts)
        run("ip", "-n", "h0", "-batch", "-", text=f"link add name br0 type bridge\nlink set br0 up\n{links}")
        for n in hosts:
            lines = f"link set lo up\naddress add {address(n)}/16 dev eth0\nlink set eth0 up\n"
            run("ip", "-n", f"h{n}", "-batch", "-", text=lines)
        run("ip", "netns", "exec", "h1", "ping", "-c1", "-W5", address(count))

    def down(self, count):
        run("ip", "-batch", "-", text="".join(f"netns del h{n}\n" for n in range(count + 1)))

class Mininet:
    """A process of its own: Mininet changes this one."""
    SCRIPT = """
import sys
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topo import SingleSwitchTopo
# Otherwise it changes sysctls of the host, which needs root.
Mininet.inited = True
count = int(sys.argv[1])
net = Mininet(SingleSwitchTopo(count), switch=LinuxBridge, controller=None, waitConnected=False)
net.start()
reply = net.get("h1").cmd("ping -c1 -W5 " + net.get(f"h{count}").IP())
assert " 1 received" in reply, reply
print("up", flush=True)
sys.stdin.readline()
net.stop()
print("down", flush=True)
"""

    def up(self, count):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(["/usr/bin/python3", "-c", self.SCRIPT, str(count)], stdin=pipe, stdout=pipe,
                                        stderr=subprocess.DEVNULL, text=True)
        if self.process.stdout.readline() != "up\n":
            raise RuntimeError("Mininet did not start")

    def down(self, count):
        self.process.communicate("\n")

subjects = {"adit": Adit(), "ip": Ip(), "mininet": Mininet()}
names = options.peers.split(",")
if "mininet" in names and subprocess.run(["sh", "-c", "command -v mnexec"], stdout=-3).returncode:
    print("mininet is not installed")
    names.remove("mininet")
times = {name: ([], []) for name in names}
for number in range(options.rounds):
    for name in names:
        # It takes a minute a time.
        if name == "mininet" and number >= 2:
            continue
        subject, (ups, downs) = subjects[name], times[name]
        ups.append(timed(lambda: subject.up(options.hosts)))
        downs.append(timed(lambda: subject.down(options.hosts)))
        # The kernel frees namespaces in the background.
        time.sleep(1)

print(f"{options.hosts} hosts on a switch        up        down   (medians, s)")
up = {name: statistics.median(ups) for name, (ups, _) in times.items()}
down = {name: statistics.median(downs) for name, (_, downs) in times.items()}
for name in names:
    print(f"{name:24} {up[name]:9.3f} {down[name]:9.3f}")
failed = []

def promise(text, value, limit, aim=None):
    """The aim is printed only: it is not promised."""
    print(f"{text}: {value:.3f} (at most {limit}{f'; the aim is {aim}' if aim else ''})")
    if value > limit:
        failed.append(text)

if "adit" in names:
    promise("down, s", down["adit"], 0.3)
    if "ip" in names:
        promise("up, of ip -batch", up["adit"] / up["ip"], 1.5)
    if "mininet" in names:
        promise("up, of Mininet", up["adit"] / up["mininet"], 0.1, aim=0.05)

def available():
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("MemAvailable"))

def processes():
    """KiB of the processes of labs (PSS), which are children of this one."""
    parents, total = {}, 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                parents[int(pid)] = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            pass
    for pid, parent in parents.items():
        while parent not in (0, os.getpid()):
            parent = parents.get(parent, 0)
        if parent:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total

if "adit" in names:
    subject = subjects["adit"]
    subject.up(options.hosts)
    took = timed(lambda: adit("lab", "ping", "--lab", "bench"))
    subject.down(options.hosts)
    pings = options.hosts * (options.hosts - 1)
    promise(f"{pings} pings, s", took, 10)
    time.sleep(1)

if "adit" in names and options.many:
    # What a lab leaves in the background becomes a child of this process (PR_SET_CHILD_SUBREAPER).
    ctypes.CDLL(None).prctl(36, 1)
    before = available()
    took = timed(lambda: subject.up(options.many))
    time.sleep(1)
    used, ours = ((before - available()) / 1024 / options.many, processes() / 1024 / options.many)
    gone = timed(lambda: subject.down(options.many))
    promise(f"{options.many} hosts up, s", took, 20)
    promise("memory of a host, MiB", used, 0.5)
    print(f"of it in processes, MiB: {ours:.3f}")
    print(f"{options.many} hosts down, s: {gone:.3f}")
sys.exit(1 if failed else 0)
