"""The exit codes of every verb, documented in ``seawall --help``."""

from __future__ import annotations

from typing import Final

OK: Final = 0
"""Done, and everything is as it should be."""
BROKEN: Final = 1
"""Done, but a promise did not hold: the demo's, or two settings contradict each other."""
USAGE: Final = 2
"""Not done: the command line or a configuration file is wrong."""
INTERRUPTED: Final = 130
"""Stopped with Ctrl-C; 128 plus the signal's number, as shells have it."""
