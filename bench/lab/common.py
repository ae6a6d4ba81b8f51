"""What the benchmarks of labs share: they run in user, network and mount namespaces of their own."""

import os
import subprocess

ADIT = os.path.realpath(os.environ.get("ADIT", "target/release/adit"))


def run(*words, text=None):
    """The output of a command that must succeed."""
    return subprocess.run(words, input=text, check=True, text=True, stdout=subprocess.PIPE).stdout


def adit(*words):
    return run(ADIT, *words)


subprocess.run("mount -t tmpfs none /run && mkdir /run/netns", shell=True, check=True)
os.environ.pop("XDG_RUNTIME_DIR", None)
