"""A name server, by UDP and TCP: PORT ANSWER ADDRESS ... Every name has the address ANSWER. Prints `up`."""
import ipaddress, socket, struct, sys, threading

ANSWER = ipaddress.ip_address(sys.argv[2])

def reply(query):
    end = query.index(b"\0", 12) + 5
    kind = struct.unpack(">H", query[end - 4:end - 2])[0]
    count = 1 if kind == (1 if ANSWER.version == 4 else 28) else 0
    record = b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(ANSWER.packed)) + ANSWER.packed
    return query[:2] + struct.pack(">HHHHH", 0x8180, 1, count, 0, 0) + query[12:end] + record * count

def stream(connection):
    while head := connection.recv(2):
        query = connection.recv(struct.unpack(">H", head)[0])
        answer = reply(query)
        connection.sendall(struct.pack(">H", len(answer)) + answer)
    connection.close()

def tcp(listener):
    while True:
        threading.Thread(target=stream, args=(listener.accept()[0],), daemon=True).start()

def udp(server):
    while True:
        query, sender = server.recvfrom(4096)
        server.sendto(reply(query), sender)

for address in sys.argv[3:]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    place = (address, int(sys.argv[1]))
    listener = socket.create_server(place, family=family)
    server = socket.socket(family, socket.SOCK_DGRAM)
    server.bind(place)
    for target, argument in [(tcp, listener), (udp, server)]:
        threading.Thread(target=target, args=(argument,), daemon=True).start()
print("up", flush=True)
threading.Event().wait()
