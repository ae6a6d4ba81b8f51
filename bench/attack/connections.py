"""connections.py PORT COUNT: connections to the server, opened again as they are closed; every second one is silent,
the others send junk as fast as they can."""

import os
import resource
import select
import socket
import sys
import time

import forged

port, count = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (2 * count + 100,) * 2)
junk = os.urandom(65536)
poll, sockets, opened = select.epoll(), {}, 0


def connect():
    global opened
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex((socket.inet_ntoa(forged.SERVER), port))
    opened += 1
    poll.register(s, select.EPOLLIN if opened % 2 else select.EPOLLOUT)
    sockets[s.fileno()] = s


for _ in range(count):
    connect()
start, progress = time.monotonic(), forged.Progress()
while (elapsed := time.monotonic() - start) < 600:
    progress("%d connections, %.0f opened a second" % (len(sockets), opened / max(elapsed, 0.001)))
    for fd, event in poll.poll(0.5):
        try:
            if event & select.EPOLLOUT:
                sockets[fd].send(junk)
                continue
            if sockets[fd].recv(9):
                continue
        except BlockingIOError:
            continue
        except OSError:
            pass
        sockets.pop(fd).close()
        connect()
