#!/usr/bin/env python3
"""Measures for how long a network of two paths is interrupted when one of them fails.

usage: outage.py leaf-spine.toml [ADIT]
"""

import sys
import time

from adit_lab import Lab


def until_answered(lab: Lab, a: str, b: str, within: float = 60) -> float:
    """Seconds until a ping from a to b is answered."""
    begin = time.monotonic()
    while time.monotonic() - begin < within:
        if lab.ping(a, b, timeout=0.5).answered:
            return time.monotonic() - begin
    raise SystemExit(f"{a} does not reach {b} in {within} s")


def main() -> None:
    adit = sys.argv[2] if len(sys.argv) > 2 else "adit"
    with Lab.up(sys.argv[1], adit=adit) as lab:
        print(f"converged after {until_answered(lab, 'h1', 'h3'):.1f} s")
        for link in ("leaf1-spine1", "leaf1-spine2"):
            lab.fail(link)
            print(f"{link} failed: interrupted for {until_answered(lab, 'h1', 'h3'):.1f} s")
            lab.heal(link)
            time.sleep(5)
        for event in lab.events():
            print(event)


if __name__ == "__main__":
    main()
