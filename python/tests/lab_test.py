"""A whole lab by the package: run by `cargo test -p adit --test python`."""

import os
import subprocess
import sys
import unittest
from pathlib import Path

from adit_lab import ControlError, Lab, LabError

ADIT = os.environ["ADIT"]
FILE = """
name = "python-test"
[parameters]
delay = "1ms"
[host.a]
[host.b]
[[link]]
name = "cable"
ends = ["a", "b"]
delay = "${delay}"
"""


class Labs(unittest.TestCase):
    def setUp(self) -> None:
        self.file = Path(os.environ["SCRATCH"]) / "lab.toml"
        self.file.write_text(FILE)

    def test_a_lab_is_driven_from_python(self) -> None:
        with Lab.up(self.file, settings={"delay": "2ms"}, adit=ADIT) as lab:
            self.assertEqual([node["name"] for node in lab.nodes()], ["a", "b"])
            self.assertIn("eth0", lab.exec("a", "ip", "-br", "link").stdout)
            with self.assertRaises(subprocess.CalledProcessError):
                lab.exec("a", "false")
            with lab.popen("a", "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as cat:
                self.assertEqual(cat.communicate("through")[0], "through")
            ping = lab.ping("a", "b", count=3, timeout=10)
            self.assertEqual((ping.sent, ping.answered), (3, 3))
            # There and back.
            self.assertGreaterEqual(ping.rtt_ms, 4)
            lab.set("cable", delay="30ms")
            self.assertGreaterEqual(lab.ping("a", "b", timeout=10).rtt_ms, 60)
            with self.assertRaises(ControlError) as refused:
                lab.set("cable", delay="soon")
            self.assertEqual(refused.exception.code, "ADIT-E0821")
            lab.fail("cable")
            self.assertEqual(lab.links()[0]["state"], "failed")
            self.assertEqual(lab.ping("a", "b", timeout=0.2).answered, 0)
            lab.heal()
            self.assertEqual(lab.ping("a", "b", timeout=20).answered, 1)
            events = [event["event"] for event in lab.events()]
            self.assertIn(("cable", "failed"), [(event.get("part"), event.get("state")) for event in events])
        with self.assertRaises(OSError):
            lab.nodes()

    def test_a_failure_says_why(self) -> None:
        with self.assertRaisesRegex(LabError, "no parameter is called `dealy`"):
            Lab.up(self.file, settings={"dealy": "2ms"}, adit=ADIT)


if __name__ == "__main__":
    sys.exit(unittest.main())
