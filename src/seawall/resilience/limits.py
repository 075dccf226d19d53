"""Rate limiter: at most so many calls per second, with a named burst.

The generic cell rate algorithm in its virtual-scheduling form (ITU-T Recommendation I.371, annex A). Its
whole state is one number, the theoretical arrival time (TAT): when the next call would be due if all calls so
far had come evenly spaced. A call is admitted if it comes no earlier than the burst tolerance before the TAT,
and then moves the TAT on by its own spacing. For any stretch of t seconds this gives exactly the bound of a
token bucket ::

    admitted cost <= burst + rate_per_s * t

without a refill timer, a window whose edge doubles the rate, or a list of timestamps.

What it is not: a queue. It admits, or says how long to wait; who waits is the edge's matter. A wait is
sufficient provided that nobody else was admitted first; it reserves nothing, so a caller who goes away leaves
nothing behind.

Called by the guard before the bulkhead, with the clock reading the guard has taken anyway.

Rounding: the clock's magnitude limits how fine spacings are told apart. Adding the spacing ``burst`` times
to a reading of ``now`` gathers at most ``burst * now * 2**-53`` seconds, and the caller's ``now + wait`` one
more part of that size. So much is forgiven at the comparison (22 ns for a burst of 100 on a machine up for
11 days), or the last call of a burst would be told to wait for nanoseconds, and a wait might be too short by
them. It is never added to the TAT, so it can't pile up.

Threads: no lock. CPython 3.11 to 3.13 with the GIL switches threads (and runs signal handlers) only at
function entry, after a call has returned and on a loop's backward jump; 3.11 may also run the cycle
collector, and with it finalizers, while a container is allocated. ``try_acquire`` has none of these between
reading the TAT and writing it (the one call it contains builds the error of a misuse), so it runs as one
step. Threads may arrive with their clock readings out of order: an older ``now`` is told to wait a little
longer, and never admits too much. A free-threaded build has no such guarantee: there the edge must hold a
lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import Final, final

__all__ = ["RateLimiter", "RateLimiterStatistics"]

_SLOWEST: Final = 1e-9
"""Least rate: the spacing must stay a number that a clock can be compared with."""

_ULP: Final = 2.0**-52
"""Distance of two neighbouring floats, relative to the larger."""


@dataclass(frozen=True, slots=True)
class RateLimiterStatistics:
    """One moment of a rate limiter.

    Attributes:
        rate_per_s: Sustained cost per second.
        burst: Cost that may come at once after a pause.
        admitted: Calls let through.
        refused: Calls told to wait.
    """

    rate_per_s: float
    burst: float
    admitted: int
    refused: int


@final
class RateLimiter:
    """A GCRA limiter; a new one has its whole burst to give.

    Args:
        rate_per_s: Sustained cost per second, at least one call in 30 years.
        burst: Cost that may come at once, at least 1.

    Raises:
        ValueError: A number is out of range.
    """

    __slots__ = ("_admitted", "_burst", "_rate_per_s", "_refused", "_rounding", "_spacing_s", "_tat")

    def __init__(self, rate_per_s: float, burst: float = 1.0) -> None:
        if not (isfinite(rate_per_s) and rate_per_s >= _SLOWEST):
            raise ValueError(
                f"rate_per_s = {rate_per_s!r}: must be a finite number >= {_SLOWEST:g} (calls per second)"
            )
        if not (isfinite(burst) and burst >= 1.0):
            raise ValueError(f"burst = {burst!r}: must be a finite number >= 1, the cost of one call")
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._spacing_s = 1.0 / rate_per_s
        self._rounding = (burst + 1.0) * _ULP
        self._tat = -inf
        self._admitted = 0
        self._refused = 0

    def try_acquire(self, now: float, cost: float = 1.0) -> float:
        """Admit a call, or say when to come back. A refused call changes nothing.

        Args:
            now: Monotonic seconds, not negative.
            cost: How many ordinary calls this one stands for.

        Returns:
            0.0 if admitted, else the seconds to wait: at ``now + wait`` the call is admitted, unless others
            were first.

        Raises:
            ValueError: The cost isn't above 0, or above the burst, so that no wait would ever be enough.
        """
        if not 0.0 < cost <= self._burst:
            raise ValueError(f"cost = {cost!r}: must be above 0 and at most the burst, {self._burst:g}")
        tat = self._tat
        if tat < now:  # noqa: PLR1730  # max() would be a call, and so a switch point
            tat = now
        # Not ``tat + cost * spacing - burst * spacing``: written this way a full bucket never refuses by
        # rounding.
        earliest = tat - (self._burst - cost) * self._spacing_s
        if earliest <= now + now * self._rounding:
            self._tat = tat + cost * self._spacing_s
            self._admitted += 1
            return 0.0
        self._refused += 1
        return earliest - now

    def statistics(self) -> RateLimiterStatistics:
        """Settings and counters, all of one moment."""
        admitted, refused = self._admitted, self._refused
        return RateLimiterStatistics(
            rate_per_s=self._rate_per_s, burst=self._burst, admitted=admitted, refused=refused
        )

    def __repr__(self) -> str:
        now = self.statistics()
        return (
            f"<RateLimiter {now.rate_per_s:g}/s burst={now.burst:g}"
            f" admitted={now.admitted} refused={now.refused}>"
        )
