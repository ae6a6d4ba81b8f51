"""Virtual networks of adit, scripted.

A Lab is a network that runs: started by Lab.up, or found by its name with Lab(name). Requests go to its control
socket; commands in its nodes are run by the program adit.
"""

from .control import Control, ControlError
from .lab import Lab, LabError, Ping

__all__ = ["Control", "ControlError", "Lab", "LabError", "Ping"]
