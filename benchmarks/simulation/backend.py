"""A backend with c servers, one queue, and a speed that changes with time.

Every fault that slows or stops the backend is a piecewise-constant ``speed``: 1 is healthy, 1/40 is
forty times slower, 0 is a hang or a stall. A call takes ``work`` seconds at speed 1; the moment it
ends is found when it is submitted, because the schedule of an episode is known beforehand and the
queue is first in, first out. Not a model of locks, caches (see ``benchmarks.recovery``) or networks.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from heapq import heapify, heapreplace

NEVER = math.inf


class Schedule:
    """A piecewise-constant speed over time: ``steps`` are (from_s, speed), the first at -inf."""

    __slots__ = ("_speeds", "_times")

    def __init__(self, steps: Sequence[tuple[float, float]] = ()) -> None:
        self._times = [-math.inf, *(at for at, _ in steps)]
        self._speeds = [1.0, *(speed for _, speed in steps)]
        if self._times != sorted(self._times):
            raise ValueError(f"steps: {steps!r}; the times must rise")

    def finish(self, start: float, work: float) -> float:
        """Return when ``work`` begun at ``start`` is done, ``inf`` if never."""
        index = bisect_right(self._times, start) - 1
        last = len(self._times) - 1
        while index < last:
            speed = self._speeds[index]
            until = self._times[index + 1]
            if speed > 0:
                end = start + work / speed
                if end <= until:
                    return end
                work -= (until - start) * speed
            start = until
            index += 1
        speed = self._speeds[last]
        return start + work / speed if speed > 0 else NEVER


class Backend:
    """c servers behind one queue; a caller who gave up in the queue is skipped, one in service is not."""

    __slots__ = ("_free", "_schedule", "timeout_s")

    def __init__(self, servers: int, schedule: Schedule, timeout_s: float) -> None:
        self._free = [-math.inf] * servers
        heapify(self._free)
        self._schedule = schedule
        self.timeout_s = timeout_s

    def submit(self, now: float, work: float) -> float:
        """Take a call at ``now`` and return when it would be answered, ``inf`` if never."""
        free = self._free[0]
        start = max(free, now)
        if start - now >= self.timeout_s:
            return NEVER
        end = self._schedule.finish(start, work)
        heapreplace(self._free, end)
        return end
