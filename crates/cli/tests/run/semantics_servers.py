"""The servers that semantics.py asks, on all addresses. Prints `up`."""
import select, socket, struct, threading, time

def whole(connection):
    return sum(len(data) for data in iter(lambda: connection.recv(1 << 16), b""))

def accepts(connection, peer):
    whole(connection)

def source(connection, peer):
    connection.sendall(f"{peer[0]} {peer[1]}".encode())

def reset(connection, peer):
    connection.recv(1)
    # Closed at once: a RST.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

def counts(connection, peer):
    connection.sendall(b"%d" % whole(connection))

# What came after our end of the stream, for the next client of port 5006.
after_end = []

def ends_first(connection, peer):
    connection.sendall(b"hello")
    connection.shutdown(socket.SHUT_WR)
    after_end.append(b"%d" % whole(connection))

def tells_after_end(connection, peer):
    while not after_end:
        time.sleep(0.01)
    connection.sendall(after_end.pop())

def reads_nothing(connection, peer):
    time.sleep(1000)

def urgent(connection, peer):
    select.select([], [], [connection], 60)
    connection.sendall(b"urgent " + connection.recv(1, socket.MSG_OOB))

def serve(handler, connection, peer):
    try:
        handler(connection, peer)
    except OSError:
        pass
    connection.close()

def tcp(family, any_address, port, handler):
    listener = socket.create_server((any_address, port), family=family)
    if handler is reads_nothing:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    while True:
        thread = threading.Thread(target=serve, args=(handler, *listener.accept()), daemon=True)
        thread.start()

def udp(family, any_address):
    server = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    server.bind((any_address, 5000))
    while True:
        data, peer = server.recvfrom(65536)
        if data.startswith(b"other"):
            socket.socket(family, socket.SOCK_DGRAM).sendto(b"from another port", peer)
        elif data.startswith(b"echo"):
            server.sendto(data, peer)
        else:
            server.sendto(b"%d" % len(data), peer)

handlers = [accepts, source, reset, counts, ends_first, tells_after_end, reads_nothing, urgent]
for family, any_address in [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]:
    for port, handler in zip(range(5001, 5009), handlers):
        arguments = (family, any_address, port, handler)
        threading.Thread(target=tcp, args=arguments, daemon=True).start()
    threading.Thread(target=udp, args=(family, any_address), daemon=True).start()
for address in ["127.0.0.1", "::1"]:
    for port in [5001, 5008]:
        while True:
            try:
                socket.create_connection((address, port)).close()
                break
            except OSError:
                time.sleep(0.01)
print("up", flush=True)
threading.Event().wait()
