"""See bench/first.sh, which starts this in namespaces of its own."""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

MODES = ["off", "prefer", "require"]
NET = """
mount -t tmpfs none /run; mkdir /run/netns; ip link set lo up; ip netns add b
ip link add ua type veth peer name ub netns b
ip addr add 192.0.2.1/24 dev ua; ip link set ua up
ip -n b addr add 192.0.2.2/24 dev ub; ip -n b link set ub up; ip -n b link set lo up
"""
ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 9))
while True:
    s.sendto(*s.recvfrom(2000))
"""


def run(*words, **options):
    return subprocess.run(words, check=True, capture_output=True, text=True, **options).stdout


def start(adit, folder, keys, number, mode):
    """A tunnel of one end that is up. The state of each is new: what a peer once had, it must have again."""
    path = f"{folder}/t{'ab'[number]}.conf"
    endpoint = "Endpoint = 192.0.2.2:51820\n" if number == 0 else ""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(
            f"[Interface]\nPrivateKey = {keys[number][0]}\nListenPort = 51820\nAddress = 10.9.0.{number + 1}/24\n"
            f"[Peer]\nPublicKey = {keys[1 - number][1]}\nAllowedIPs = 10.9.0.{2 - number}/32\n"
            f"{endpoint}PostQuantum = {mode}\n"
        )
    words = [adit, "tunnel", "up", path]
    if number == 1:
        words = ["ip", "netns", "exec", "b", *words]
    state = tempfile.mkdtemp(dir=folder)
    program = subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, env=dict(os.environ, STATE_DIRECTORY=state)
    )
    for line in program.stderr:
        if line.strip() == "up":
            return program
    raise SystemExit(f"no tunnel: status {program.wait()}")


def ask():
    """Milliseconds until the answer to the first datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(8)
        begin = time.perf_counter()
        asker.sendto(bytes(100), ("10.9.0.2", 9))
        asker.recv(200)
        return (time.perf_counter() - begin) * 1000


def main(adit, rounds):
    subprocess.run(NET, shell=True, check=True)
    keys = []
    for _ in "ab":
        private = run(adit, "tunnel", "genkey").strip()
        keys.append((private, run(adit, "tunnel", "pubkey", input=private).strip()))
    times, sizes = ({mode: [] for mode in MODES} for _ in "ab")
    echo = subprocess.Popen(["ip", "netns", "exec", "b", sys.executable, "-c", ECHO])
    try:
        with tempfile.TemporaryDirectory() as folder:
            for number in range(rounds):
                first = number % len(MODES)
                for mode in MODES[first:] + MODES[:first]:
                    programs = [start(adit, folder, keys, end, mode) for end in (1, 0)]
                    try:
                        time.sleep(0.3)
                        times[mode].append(ask())
                        time.sleep(0.7)
                        peer = json.loads(run(adit, "tunnel", "show", "ta", "-j"))[0]["peers"][0]
                        sizes[mode].append(peer["sent_bytes"] + peer["received_bytes"])
                    finally:
                        for program in programs:
                            program.terminate()
                        for program in programs:
                            program.wait()
    finally:
        echo.kill()
    for mode in MODES:
        print(
            f"{mode:8} {statistics.median(times[mode]):6.2f} ms, {min(times[mode]):.2f} to {max(times[mode]):.2f}; "
            f"{statistics.median(sizes[mode]):.0f} bytes"
        )


main(sys.argv[1], int(sys.argv[2]))
