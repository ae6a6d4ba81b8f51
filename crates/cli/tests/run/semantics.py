"""What sockets behind a NAT see: SERVER4 NO-HOST4 UNREACHABLE4 SERVER6 NO-HOST6 UNREACHABLE6 MASQUERADE4 MASQUERADE6 PORT.
Prints one line for each check, in order; they run at the same time."""
import errno, select, socket, struct, sys, threading, time

WAIT = 60

def name_of(error):
    return errno.errorcode.get(error.errno, "time is over") if isinstance(error, OSError) else repr(error)

class Family:
    def __init__(self, name, server, no_host, unreachable, masquerade):
        self.name, self.server, self.no_host = name, server, no_host
        self.unreachable, self.masquerade = unreachable, masquerade
        self.is_v6 = ":" in server
        self.family = socket.AF_INET6 if self.is_v6 else socket.AF_INET

    def tcp(self, port, address=None):
        s = socket.socket(self.family)
        s.settimeout(WAIT)
        s.connect((address or self.server, port))
        return s

    def udp(self, port, address=None):
        s = socket.socket(self.family, socket.SOCK_DGRAM)
        s.settimeout(WAIT)
        s.connect((address or self.server, port))
        return s

    # TCP.

    def options(self):
        s = self.tcp(5001)
        info = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
        words = [word for bit, word in [(1, "timestamps"), (2, "sack"), (4, "scale")] if info[5] & bit]
        return f"mss {s.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)}, {' '.join(words)}"

    def source(self):
        s = socket.socket(self.family)
        s.settimeout(WAIT)
        own = int(words[8]) + self.is_v6
        s.bind(("", own))
        s.connect((self.server, 5002))
        address, port = s.recv(100).decode().split()
        address = "the host" if address == self.masquerade else address
        return f"{address}, {'the same port' if int(port) == own else port}"

    def refused(self):
        return self.tcp(5099)

    def no_such_host(self):
        return self.tcp(80, self.no_host)

    def unreachable_host(self):
        return self.tcp(80, self.unreachable)

    def reset_by_server(self):
        s = self.tcp(5003)
        s.send(b"x")
        return s.recv(1)

    def half_close(self):
        s = self.tcp(5004)
        s.sendall(b"x" * 100_000)
        s.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: s.recv(100), b""))

    def server_ends_first(self):
        s = self.tcp(5005)
        first = b"".join(iter(lambda: s.recv(100), b""))
        s.sendall(b"y" * 50_000)
        s.close()
        return f"{first}, and the server got {self.tcp(5006).recv(100)}"

    def backpressure(self):
        s = self.tcp(5007)
        s.setblocking(False)
        taken = 0
        while taken < 64 << 20 and select.select([], [s], [], 2)[1]:
            taken += s.send(bytes(1 << 16))
        return "blocks" if taken < 64 << 20 else "takes everything"

    def urgent(self):
        s = self.tcp(5008)
        s.sendall(b"ab")
        s.send(b"!", socket.MSG_OOB)
        return s.recv(100)

    # UDP.

    def datagram(self, length, start=b""):
        s = self.udp(5000)
        # Larger ones than the MTU are sent in fragments.
        s.setsockopt(*((socket.IPPROTO_IPV6, 23) if self.is_v6 else (socket.IPPROTO_IP, 10)), 0)
        s.send(start.ljust(length, b"n"))
        answer = s.recv(65536)
        return f"{len(answer)} bytes back" if start else answer

    def datagram_100(self):
        return self.datagram(100)

    def datagram_4000(self):
        return self.datagram(4000)

    def echo_60000(self):
        return self.datagram(60_000, b"echo")

    def closed_port(self):
        s = self.udp(5098)
        s.send(b"x")
        return s.recv(1)

    def unreachable_datagram(self):
        s = self.udp(9, self.unreachable)
        # Errors are reported also if they are not of the remote host (IP_RECVERR, IPV6_RECVERR).
        s.setsockopt(*((socket.IPPROTO_IPV6, 25) if self.is_v6 else (socket.IPPROTO_IP, 11)), 1)
        s.send(b"x")
        return s.recv(1)

    def path_mtu(self):
        s = self.udp(5000)
        level, discover, mtu = (socket.IPPROTO_IPV6, 23, 24) if self.is_v6 else (socket.IPPROTO_IP, 10, 14)
        s.setsockopt(level, discover, 2)
        for _ in range(3):
            try:
                s.send(b"n" * 4000)
            except OSError as error:
                return f"{name_of(error)}, mtu {s.getsockopt(level, mtu)}"
            time.sleep(0.3)
        return "no error"

    # Echo.

    def ping(self, address):
        """An identifier for each address: the checks run at the same time."""
        protocol, request, reply = (58, 128, 129) if self.is_v6 else (1, 8, 0)
        identifier = 1000 + sum(address.encode())
        message = struct.pack("!BBHHH", request, 0, 0, identifier, 1) + b"q" * 32
        if not self.is_v6:
            total = sum(struct.unpack(f"!{len(message) // 2}H", message))
            total = (total >> 16) + (total & 0xffff)
            message = message[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xffff) + message[4:]
        s = socket.socket(self.family, socket.SOCK_RAW, protocol)
        s.settimeout(WAIT)
        s.sendto(message, (address, 0))
        while True:
            data, _ = s.recvfrom(2000)
            if not self.is_v6:
                data = data[(data[0] & 15) * 4:]
            kind, code = data[0], data[1]
            if kind == reply and data[4:6] == message[4:6]:
                return "reply"
            # The packet that the error is about is quoted behind its header.
            quoted = data[8 + 40:] if self.is_v6 else data[8 + 20:]
            if kind in ((1,) if self.is_v6 else (3,)) and quoted[:1] == message[:1] and quoted[4:6] == message[4:6]:
                return f"type {kind} code {code}"

    def ping_server(self):
        return self.ping(self.server)

    def ping_unreachable(self):
        return self.ping(self.unreachable)

    def ping_no_such_host(self):
        return self.ping(self.no_host)

    def checks(self):
        return [
            self.options, self.source, self.refused, self.no_such_host, self.unreachable_host,
            self.reset_by_server, self.half_close, self.server_ends_first, self.backpressure, self.urgent,
            self.datagram_100, self.datagram_4000, self.echo_60000, self.closed_port,
            self.unreachable_datagram, self.path_mtu, self.ping_server, self.ping_unreachable,
            self.ping_no_such_host,
        ]

found = {}

def run(name, check):
    try:
        found[name] = check()
    except Exception as error:
        found[name] = name_of(error)

words = sys.argv[1:]
families = [Family("v4", *words[:3], words[6]), Family("v6", *words[3:6], words[7])]
checks = [(f"{family.name} {check.__name__}", check) for family in families for check in family.checks()]
threads = [threading.Thread(target=run, args=one) for one in checks]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for name, _ in checks:
    print(name, found[name])

# Apart from the others: the answer comes from a port that was not asked.
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
s.sendto(b"other", (words[0], 5000))
try:
    print("other port", s.recvfrom(100)[0])
except TimeoutError:
    print("other port nothing")
