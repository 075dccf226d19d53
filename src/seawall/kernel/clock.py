"""What a clock is, and one that stands still until it is told to move.

The kernel reads no clock of the machine: time comes in as a parameter or through :class:`Clock`. The real
clock lives at the edge (``resilience.system``); :class:`ManualClock` is for tests, simulations and the
virtual clock of ``seawall.testing``.
"""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

from seawall.kernel.errors import UsageError

__all__ = ["Clock", "ManualClock"]


@runtime_checkable
class Clock(Protocol):
    """Tells how much time has passed; not what time it is."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never decreases."""
        ...


class ManualClock:
    """A clock that moves only when it is told to.

    Args:
        start_s: What it shows at first, in seconds.
    """

    __slots__ = ("_now",)

    def __init__(self, start_s: float = 0.0) -> None:
        self._now = start_s

    def monotonic(self) -> float:
        """Seconds, as last set."""
        return self._now

    def advance(self, seconds: float) -> float:
        """Move forward.

        Args:
            seconds: How far; 0 or more.

        Returns:
            What the clock shows now.

        Raises:
            UsageError: If the time would run backwards or away.
        """
        # NaN fails the comparison too.
        if not 0.0 <= seconds < math.inf:
            raise UsageError(
                f"advance({seconds!r}): allowed are finite seconds from 0; time only moves forward"
            )
        self._now += seconds
        return self._now
