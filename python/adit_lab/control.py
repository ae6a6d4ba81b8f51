"""The control socket of a running program of adit: HTTP with JSON over a Unix socket."""

from __future__ import annotations

import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any, Optional


class ControlError(Exception):
    """A request was refused, or failed."""

    def __init__(self, status: int, message: str, code: Optional[str] = None) -> None:
        super().__init__(message)
        #: The HTTP status.
        self.status = status
        #: The code that `adit explain` knows.
        self.code = code


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: Optional[float]) -> None:
        super().__init__("adit", timeout=timeout or 60)
        self._path = path
        self._wait = timeout

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._wait)
        self.sock.connect(str(self._path))


def folder() -> Path:
    """The folder of control sockets of this user."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "adit"
    own = Path(f"/run/user/{os.getuid()}")
    return (own if own.is_dir() else Path("/run")) / "adit"


class Control:
    """A control socket: one request a connection."""

    def __init__(self, name: str, path: Optional[Path] = None) -> None:
        self.name = name
        self.path = path or folder() / f"{name}.sock"

    def request(self, method: str, path: str, body: Any = None, timeout: Optional[float] = 60) -> Any:
        """Sends a request and returns the object of its reply."""
        connection = _Connection(self.path, timeout)
        try:
            reply = self._send(connection, method, path, body)
            text = reply.read()
        finally:
            connection.close()
        return json.loads(text) if text else None

    def _send(self, connection: _Connection, method: str, path: str, body: Any) -> http.client.HTTPResponse:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Length": str(len(data or b""))} if method != "GET" else {}
        connection.request(method, path, data, headers)
        reply = connection.getresponse()
        if reply.status != 200:
            raise _error(reply.status, reply.read())
        return reply


def _error(status: int, text: bytes) -> ControlError:
    try:
        value = json.loads(text)
    except ValueError:
        return ControlError(status, text.decode(errors="replace"))
    error = value.get("error", value)
    return ControlError(status, error.get("message", "failed"), error.get("code"))
