"""Asks the NAT's name server: NAME ... Prints each name with its addresses, and by what way each answer came."""
import ipaddress, socket, struct, sys

def question(name, kind):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", kind, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)

def addresses(answer):
    """Of an answer whose records have names of two bytes."""
    assert answer[3] & 15 in (0, 3), answer
    at, found = answer.index(b"\0", 12) + 5, []
    for _ in range(struct.unpack(">H", answer[6:8])[0]):
        length = struct.unpack(">H", answer[at + 10:at + 12])[0]
        found.append(str(ipaddress.ip_address(answer[at + 12:at + 12 + length])))
        at += 12 + length
    return found

def udp(server, query):
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((server, 53))
        s.settimeout(5)
        for _ in range(12):
            s.send(query)
            try:
                return s.recv(4096)
            except TimeoutError:
                pass
    sys.exit(f"no answer of {server}")

def tcp(server, query):
    with socket.create_connection((server, 53), 60) as s:
        s.sendall(struct.pack(">H", len(query)) + query)
        s.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: s.recv(4096), b""))
        assert struct.unpack(">H", answer[:2])[0] == len(answer) - 2, answer
        return answer[2:]

for name in sys.argv[1:]:
    by_way = {}
    for server in ["10.0.2.3", "fd00::3"]:
        for way in [udp, tcp]:
            found = [ip for kind in (1, 28) for ip in addresses(way(server, question(name, kind)))]
            by_way.setdefault(" ".join(found), []).append(f"{way.__name__}{6 if ':' in server else 4}")
    for found, ways in by_way.items():
        print(name, found or "-", "by", *ways)
