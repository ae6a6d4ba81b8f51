"""Servers for the tests of the NAT: ADDRESS-V4 ADDRESS-V6. Prints `up` when all listen.

Port 7 echoes (TCP until the end of the stream, then its SHA-256; UDP), 9 sends 10 MB and their SHA-256.
"""
import hashlib, socket, sys, threading

def echo(connection):
    digest = hashlib.sha256()
    while data := connection.recv(1 << 16):
        digest.update(data)
    connection.sendall(digest.hexdigest().encode())
    connection.close()

def source(connection):
    block = bytes(range(256)) * 40
    try:
        for _ in range(1000):
            connection.sendall(block)
    except OSError:
        pass  # The client wanted no more.
    connection.close()

def tcp(family, address, port, handler):
    server = socket.create_server((address, port), family=family)
    while True:
        threading.Thread(target=handler, args=(server.accept()[0],), daemon=True).start()

def udp(family, address):
    server = socket.socket(family, socket.SOCK_DGRAM)
    server.bind((address, 7))
    while True:
        data, sender = server.recvfrom(65536)
        server.sendto(data, sender)

for family, address in zip([socket.AF_INET, socket.AF_INET6], sys.argv[1:]):
    threading.Thread(target=tcp, args=(family, address, 7, echo), daemon=True).start()
    threading.Thread(target=tcp, args=(family, address, 9, source), daemon=True).start()
    threading.Thread(target=udp, args=(family, address), daemon=True).start()
for address in sys.argv[1:]:
    while True:
        try:
            socket.create_connection((address, 9)).close()
            break
        except OSError:
            pass
print("up", flush=True)
threading.Event().wait()
