"""Measures commands among many devices; started by dev.sh in a namespace."""

import fcntl
import os
import resource
import signal
import statistics
import struct
import subprocess
import sys
import time

ADIT = os.environ["ADIT"]
DEVICES = 1000
COMMANDS = {
    "adit dev show t500": [ADIT, "dev", "show", "t500"],
    "ip -d -s addr show dev t500": ["ip", "-d", "-s", "addr", "show", "dev", "t500"],
    "adit dev show": [ADIT, "dev", "show"],
    "ip -d -s addr show": ["ip", "-d", "-s", "addr", "show"],
}
PORTS = [512, 100]


def cpu(words):
    """Milliseconds of CPU of a command."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    assert status == 0, words
    return (usage.ru_utime + usage.ru_stime) * 1e3


def switch(ports):
    """Milliseconds until a switch is ready, and from the signal until its end."""
    # No IPv6: what each new TAP announces would be flooded to all others, which is not the start.
    words = [ADIT, "switch", "--name", "bench"]
    for port in range(ports):
        words += ["--port", f"tap:p{port}"]
    start = time.monotonic()
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in process.stdout:
        if "is running" in line:
            break
    ready = time.monotonic()
    time.sleep(0.5)
    closing = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    process.wait()
    return (ready - start) * 1e3, (time.monotonic() - closing) * 1e3


def table(head, samples):
    print(f"\n{head}\n{'':<30}{'median':>9}{'lowest':>9}{'highest':>9}")
    for name, values in samples.items():
        print(f"{name:<30}{statistics.median(values):>9.1f}{min(values):>9.1f}{max(values):>9.1f}")


def show(head, rounds):
    samples = {name: [] for name in COMMANDS}
    for round_ in range(rounds):
        names = list(COMMANDS)
        for name in names[round_ % 4 :] + names[: round_ % 4]:
            samples[name].append(cpu(COMMANDS[name]))
    table(head, samples)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w").write("1")
    started, ended = {}, {}
    for _ in range(rounds):
        for ports in PORTS:
            ready, end = switch(ports)
            started.setdefault(f"{ports} ports, ready", []).append(ready)
            ended.setdefault(f"{ports} ports, ended", []).append(end)
    table("a switch, ms", started | ended)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    held = []
    for number in range(DEVICES):
        fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", f"t{number}".encode(), 0x1002))
        held.append(fd)
    show(f"{DEVICES} devices that one process holds, ms of CPU", rounds)
    for fd in held:
        fcntl.ioctl(fd, 0x400454CB, 1)
        os.close(fd)
    show(f"{DEVICES} devices that nobody holds, ms of CPU", rounds)


main()
