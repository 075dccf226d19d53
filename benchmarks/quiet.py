"""Tells a quiet moment of a shared machine from a disturbed one.

A neighbour on the same host can make everything twice as slow for seconds, CPU time included. The yardstick
is a fixed loop whose cost is known from the best moment of this run; a round that is framed by slow
yardsticks is measured again, a limited number of times, and counted as disturbed.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

TURNS = 20_000
SLOWER = 1.15
"""A yardstick this much above the best one means a disturbed moment."""
AGAIN = 3
"""Rounds are repeated until there are enough quiet ones, or this many times as many as wanted."""


class _Subject:
    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Quiet:
    """The yardsticks of one run.

    Attributes:
        best_ns: nanoseconds per turn of the fastest yardstick so far.
        disturbed: rounds that were measured again.
    """

    def __init__(self) -> None:
        self.best_ns = float("inf")
        self.disturbed = 0

    def yardstick_ns(self) -> float:
        """Run the yardstick; nanoseconds of CPU time per turn."""
        subject = _Subject()
        started = time.thread_time()
        for _ in range(TURNS):
            subject.count += 1
        found = (time.thread_time() - started) / TURNS * 1e9
        self.best_ns = min(self.best_ns, found)
        return found

    def disturbed_by(self, yardstick_ns: float) -> bool:
        """Whether a moment with this yardstick is slower than the machine can be."""
        return yardstick_ns > SLOWER * self.best_ns


QUIET = Quiet()


def recorded_ns(results: Path) -> float | None:
    """The best yardstick of the committed result, if it has one."""
    try:
        document = json.loads(results.read_text())
    except (OSError, ValueError):
        return None
    environment = document.get("environment") if isinstance(document, dict) else None
    value = environment.get("yardstick_ns") if isinstance(environment, dict) else None
    return float(value) if isinstance(value, int | float) else None
