"""A client of servers.py behind a NAT: ADDRESS ... of each family. Prints what it found."""
import errno, hashlib, socket, sys

def check(what, good):
    print(what, "ok" if good else "BAD")

for address in sys.argv[1:]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    name = "v6" if ":" in address else "v4"
    with socket.create_connection((address, 7), 60) as s:
        data = bytes(range(251)) * 40000
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        got = b"".join(iter(lambda: s.recv(100), b""))
        check(f"{name} upload", got == hashlib.sha256(data).hexdigest().encode())
    with socket.create_connection((address, 9), 60) as s:
        got = b"".join(iter(lambda: s.recv(1 << 16), b""))
        check(f"{name} download", got == bytes(range(256)) * 40000)
    try:
        socket.create_connection((address, 11), 60)
        check(f"{name} refused", False)
    except OSError as error:
        check(f"{name} refused", error.errno == errno.ECONNREFUSED)
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.connect((address, 7))
        s.settimeout(1)
        for _ in range(60):
            try:
                s.send(b"datagram")
                check(f"{name} datagram", s.recv(100) == b"datagram")
                break
            except TimeoutError:
                pass
