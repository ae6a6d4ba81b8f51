"""A running lab."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Iterator, Mapping, Optional, Sequence, Type, Union
from urllib.parse import quote

from .control import Control


class LabError(Exception):
    """The program adit failed."""


@dataclass(frozen=True)
class Ping:
    """The result of a ping: how many requests were sent and answered, and the median of their times."""

    sent: int
    answered: int
    rtt_ms: Optional[float]


class Lab:
    """A running lab; it ends with the block if it is used with `with`."""

    def __init__(self, name: str, adit: str = "adit") -> None:
        #: Its name.
        self.name = name
        #: Its control socket, for requests that have no method here.
        self.control = Control(name)
        self._adit = adit

    @classmethod
    def up(
        cls,
        file: Union[str, Path],
        *,
        settings: Optional[Mapping[str, str]] = None,
        name: Optional[str] = None,
        adit: str = "adit",
    ) -> "Lab":
        """Starts the lab of a file and returns when all of it is ready. If a program fails, the lab ends."""
        words = [adit, "lab", "up", str(file), "-d"]
        for key, value in (settings or {}).items():
            words += ["--set", f"{key}={value}"]
        if name is not None:
            words += ["--name", name]
        else:
            name = _run([adit, "--json", "lab", "plan", str(file)], settings).get("name") or "lab"
        done = subprocess.run(words, capture_output=True, text=True)
        lab = cls(name, adit)
        if done.returncode == 1:
            # It runs, but a program of it has failed.
            lab.down()
        if done.returncode != 0:
            raise LabError(done.stderr.strip())
        return lab

    def down(self) -> None:
        """Ends the lab."""
        done = subprocess.run([self._adit, "lab", "down", "-l", self.name], capture_output=True, text=True)
        if done.returncode != 0:
            raise LabError(done.stderr.strip())

    def __enter__(self) -> "Lab":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.down()

    def show(self) -> dict[str, Any]:
        """The state of the lab, its nodes and links: `adit schema lab-show`."""
        return self.control.request("GET", "/lab?counters=all")

    def nodes(self) -> list[dict[str, Any]]:
        """Its nodes."""
        return self.show()["nodes"]

    def links(self) -> list[dict[str, Any]]:
        """Its links, with their counters."""
        return self.show()["links"]

    def exec(
        self, node: str, *words: str, timeout: Optional[float] = None, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Runs a command in a node and returns its output; a failure raises CalledProcessError unless check is False."""
        return subprocess.run(
            self._inside(node, words), capture_output=True, text=True, timeout=timeout, check=check
        )

    def popen(self, node: str, *words: str, **options: Any) -> "subprocess.Popen[Any]":
        """Starts a command in a node, with the options of subprocess.Popen."""
        return subprocess.Popen(self._inside(node, words), **options)

    def _inside(self, node: str, words: Sequence[str]) -> list[str]:
        return [self._adit, "lab", "exec", "-l", self.name, node, "--", *words]

    def ping(self, a: str, b: str, count: int = 1, timeout: float = 2) -> Ping:
        """Pings from a to b, count times."""
        times: list[float] = []
        for _ in range(count):
            words = ["--json", "lab", "ping", "-l", self.name, "--within", f"{timeout}s", a, b]
            done = subprocess.run([self._adit, *words], capture_output=True, text=True)
            # Status 1: a reply is missing.
            if done.returncode not in (0, 1):
                raise LabError(done.stderr.strip())
            times += [one["rtt_s"] * 1000 for one in json.loads(done.stdout)["pings"] if "rtt_s" in one]
        times.sort()
        return Ping(count, len(times), times[len(times) // 2] if times else None)

    def set(self, link: str, **keys: Any) -> list[str]:
        """Changes what a link is like: set("uplink", delay="80ms", a_to_b={"loss": "1%"})."""
        body = {key.replace("_", "-"): value for key, value in keys.items()}
        return self._done("PATCH", f"/lab/links/{quote(link, safe='')}", body)

    def fail(self, *parts: str) -> list[str]:
        """Lets links or nodes fail."""
        return self._done("POST", "/lab/fail", self._parts(parts))

    def heal(self, *parts: str) -> list[str]:
        """Heals links or nodes; everything without arguments."""
        return self._done("POST", "/lab/heal", self._parts(parts))

    def partition(self, *nodes: str) -> list[str]:
        """Cuts nodes off from all others, until heal()."""
        return self._done("POST", "/lab/fail", {"nodes": [], "links": [], "partition": list(nodes)})

    def _parts(self, parts: Sequence[str]) -> dict[str, list[str]]:
        known = {node["name"] for node in self.control.request("GET", "/lab")["nodes"]}
        nodes = [part for part in parts if part in known]
        return {"nodes": nodes, "links": [part for part in parts if part not in known], "partition": []}

    def _done(self, method: str, path: str, body: Any) -> list[str]:
        return self.control.request(method, path, body).get("done", [])

    def events(self, after: int = 0, follow: bool = False) -> Iterator[dict[str, Any]]:
        """What happened after the event of that number; with follow, also what happens from now on."""
        while True:
            for event in self.control.request("GET", f"/lab/events?after={after}"):
                after = max(after, event.get("number", after))
                yield event
            if not follow:
                return
            time.sleep(0.1)


def _run(words: Sequence[str], settings: Optional[Mapping[str, str]]) -> Any:
    for key, value in (settings or {}).items():
        words = [*words, "--set", f"{key}={value}"]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(done.stderr.strip())
    return json.loads(done.stdout)
