"""How connections end, seen from both ends.

`server ADDRESS ...` listens, and prints `up`. `client ADDRESS ...` prints what it found.

20 resets at once, 21 sends five bytes and resets, 22 ends its direction first, 24 passes urgent bytes, 25 reads to
the end, 26 reads nothing. 23 reports what 22, 24 and 25 saw last.
"""
import errno, hashlib, queue, select, socket, struct, sys, threading, time

seen = queue.Queue()

def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()

def read(connection):
    digest, count = hashlib.sha256(), 0
    try:
        while data := connection.recv(1 << 16):
            digest.update(data)
            count += len(data)
        return f"{count} {digest.hexdigest()}"
    except OSError as error:
        return errno.errorcode[error.errno]

def urgent(connection):
    select.select([], [], [connection], 60)
    got = connection.recv(1, socket.MSG_OOB)
    while len(got) < 7:
        got += connection.recv(100)
    return got

def serve(port, connection):
    if port == 20:
        connection.recv(1)
        reset(connection)
    elif port == 21:
        connection.recv(1)
        connection.sendall(b"12345")
        reset(connection)
    elif port == 22:
        connection.shutdown(socket.SHUT_WR)
        seen.put(read(connection))
    elif port == 23:
        connection.sendall(seen.get().encode())
        connection.close()
    elif port == 24:
        seen.put(urgent(connection).decode())
        connection.send(b"abc")
        connection.send(b"!", socket.MSG_OOB)
        connection.send(b"def")
        connection.recv(1)
    elif port == 25:
        seen.put(read(connection))
    elif port == 26:
        time.sleep(1000)

def server(addresses):
    def accept(listener, port):
        while True:
            connection = listener.accept()[0]
            threading.Thread(target=serve, args=(port, connection), daemon=True).start()
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for port in range(20, 27):
            listener = socket.create_server((address, port), family=family, backlog=64)
            threading.Thread(target=accept, args=(listener, port), daemon=True).start()
    print("up", flush=True)
    threading.Event().wait()

def connect(address, port):
    return socket.create_connection((address, port), 60)

def report(address):
    with connect(address, 23) as s:
        return read_all(s).decode()

def read_all(s):
    return b"".join(iter(lambda: s.recv(1 << 16), b""))

def name_of(call):
    try:
        return call()
    except OSError as error:
        return errno.errorcode[error.errno]

def client(address):
    say = lambda *words: print("v6" if ":" in address else "v4", *words, flush=True)
    data = bytes(range(251)) * 4000
    digest = hashlib.sha256(data).hexdigest()
    with connect(address, 20) as s:
        s.send(b"x")
        say("reset", name_of(lambda: s.recv(100)))
    with connect(address, 21) as s:
        s.send(b"x")
        say("bytes before a reset", s.recv(5, socket.MSG_WAITALL), name_of(lambda: s.recv(100)))
    with connect(address, 22) as s:
        say("end of the outside", s.recv(100))
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        say("end of the inside", report(address) == f"{len(data)} {digest}")
    with connect(address, 24) as s:
        s.send(b"abc")
        s.send(b"!", socket.MSG_OOB)
        s.send(b"def")
        say("urgent to the outside", report(address))
        say("urgent to the inside", urgent(s).decode())
    s = connect(address, 25)
    s.sendall(b"x")
    reset(s)
    say("reset by the inside", report(address))
    with connect(address, 26) as s:
        s.settimeout(1)
        count = 0
        try:
            while count < 200 << 20:
                count += s.send(bytes(1 << 16))
        except TimeoutError:
            pass
        say("back pressure", count < 64 << 20)
    nowhere = "2001:db8:99::1" if ":" in address else "198.51.100.1"
    say("no route", name_of(lambda: connect(nowhere, 7)))
    say("refused", name_of(lambda: connect(address, 11)))

if sys.argv[1] == "server":
    server(sys.argv[2:])
for address in sys.argv[2:]:
    client(address)
