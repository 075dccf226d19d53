"""The rules under test behind one protocol: other systems' trip rules, re-implemented.

A rule is what decides to open, with the system's own defaults for its wait and its probes. What is
compared is the decision, so the rivals are treated kindly: no locks across calls, results of an
earlier state are dropped, probes never get lost. Sources: pybreaker 1.4, resilience4j 2 (count window),
Polly v8 (10 slices), Hystrix (10 buckets, volume threshold), and the reference document's static
configuration. Seawall's own rules, adapted from its engine, are in ``seawall_rule``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Protocol

from benchmarks.simulation.faults import SLOW_BOUND_S

NEVER = float("inf")


class Rule(Protocol):
    """What the simulator drives. ``next_due`` is when ``poll`` is next useful, inf for never."""

    @property
    def is_open(self) -> bool: ...

    @property
    def next_due(self) -> float: ...

    @property
    def probe_timeout_s(self) -> float: ...

    def admit(self, now: float) -> object | None: ...

    def settle(self, ticket: object, fate: str, started: float, now: float) -> None: ...

    def poll(self, now: float) -> None: ...

    def suspects(self, now: float) -> bool: ...

    def probed(self, ok: bool, now: float) -> None: ...  # noqa: FBT001 - mirrors the engine's call


class SliceWindow:
    """A sliding window of ``slices`` slices of ``width_s``: running totals of calls, bad and slow."""

    __slots__ = ("_index", "_ring", "bad", "slices", "slow", "total", "width_s")

    def __init__(self, slices: int, width_s: float) -> None:
        self.slices = slices
        self.width_s = width_s
        self.clear()

    def clear(self) -> None:
        self._ring: deque[list[int]] = deque([[0, 0, 0]], maxlen=self.slices)
        self._index = 0
        self.total = self.bad = self.slow = 0

    def roll(self, now: float) -> None:
        index = int(now / self.width_s)
        steps = index - self._index
        if steps <= 0:
            return
        self._index = index
        for _ in range(min(steps, self.slices)):
            if len(self._ring) == self.slices:
                total, bad, slow = self._ring[0]
                self.total -= total
                self.bad -= bad
                self.slow -= slow
            self._ring.append([0, 0, 0])

    def add(self, now: float, *, bad: bool, slow: bool) -> None:
        self.roll(now)
        cell = self._ring[-1]
        cell[0] += 1
        self.total += 1
        if bad:
            cell[1] += 1
            self.bad += 1
        if slow:
            cell[2] += 1
            self.slow += 1


class RivalRule(ABC):
    """Closed, open, half-open with a bounded number of probes; subclasses say when to trip.

    ``needed`` of ``probes`` successful probes close; the round is judged when all have answered,
    or at the first failure where ``strict``.
    """

    open_for_s = 60.0
    probes = 1
    needed = 1
    strict = True
    probe_timeout_s = 0.0

    def __init__(self) -> None:
        self._generation = 0
        self._open_until = -1.0
        self._half_open = False
        self._opened = False
        self._issued = self._good = self._answered = 0

    @property
    def is_open(self) -> bool:
        return self._opened

    @property
    def next_due(self) -> float:
        return NEVER

    def poll(self, now: float) -> None:  # noqa: B027 - nothing to do between calls for most rules
        """These rules decide when a call ends, not between calls."""

    def suspects(self, now: float) -> bool:
        del now
        return False

    def probed(self, ok: bool, now: float) -> None:  # noqa: B027, FBT001 - mirrors the engine's call
        """Never called: these rules have no active probe."""

    def admit(self, now: float) -> object | None:
        if not self._opened:
            return self._generation if self.shares(now) else None
        if not self._half_open:
            if now < self._open_until:
                return None
            self._half_open = True
            self._generation += 1
            self._issued = self._good = self._answered = 0
        if self._issued >= self.probes:
            return None
        self._issued += 1
        return self._generation

    def settle(self, ticket: object, fate: str, started: float, now: float) -> None:
        if ticket != self._generation or fate == "ignored":
            return
        failed = fate == "failed"
        if self._opened:
            self._probe(ok=not failed, now=now)
        elif self.trips(failed=failed, slow=now - started > SLOW_BOUND_S, now=now):
            self._open(now)

    def shares(self, now: float) -> bool:
        """Say whether a closed rule admits this call; only a recovery ramp says no."""
        del now
        return True

    @abstractmethod
    def trips(self, *, failed: bool, slow: bool, now: float) -> bool:
        """Count one result and say whether to open."""

    @abstractmethod
    def forget(self, now: float) -> None:
        """Start over after closing."""

    def _probe(self, *, ok: bool, now: float) -> None:
        self._answered += 1
        self._good += ok
        if self._good >= self.needed and (self.strict or self._answered >= self.probes):
            self._opened = self._half_open = False
            self._generation += 1
            self.forget(now)
        elif (self.strict and not ok) or self._answered >= self.probes:
            self._open(now)

    def _open(self, now: float) -> None:
        self._opened, self._half_open = True, False
        self._generation += 1
        self._open_until = now + self.open_for_s


class Consecutive(RivalRule):
    """pybreaker's defaults: five failures in a row; 60 s; one trial call."""

    def __init__(self, limit: int = 5) -> None:
        super().__init__()
        self._limit = limit
        self._row = 0

    def trips(self, *, failed: bool, slow: bool, now: float) -> bool:
        del slow, now
        self._row = self._row + 1 if failed else 0
        return self._row >= self._limit

    def forget(self, now: float) -> None:
        del now
        self._row = 0


class CountWindow(RivalRule):
    """resilience4j's defaults: 50 % of the last 100 calls, all 100 needed; 60 s; 10 permits, 50 %."""

    probes = 10
    needed = 6
    strict = False

    def __init__(self, size: int = 100, ratio: float = 0.5) -> None:
        super().__init__()
        self._ring: deque[bool] = deque(maxlen=size)
        self._size, self._ratio = size, ratio
        self._bad = 0

    def trips(self, *, failed: bool, slow: bool, now: float) -> bool:
        del slow, now
        if len(self._ring) == self._size:
            self._bad -= self._ring[0]
        self._ring.append(failed)
        self._bad += failed
        return len(self._ring) == self._size and self._bad >= self._ratio * self._size

    def forget(self, now: float) -> None:
        del now
        self._ring.clear()
        self._bad = 0


class RatioWindow(RivalRule):
    """A failure ratio over a sliding time window with a minimum of calls (Polly, Hystrix)."""

    def __init__(self, *, slices: int, width_s: float, minimum: int, ratio: float, open_for_s: float) -> None:
        super().__init__()
        self._window = SliceWindow(slices, width_s)
        self._minimum, self._ratio = minimum, ratio
        self.open_for_s = open_for_s

    def trips(self, *, failed: bool, slow: bool, now: float) -> bool:
        window = self._window
        window.add(now, bad=failed, slow=slow)
        return window.total >= self._minimum and window.bad >= self._ratio * window.total

    def forget(self, now: float) -> None:
        self._window.clear()
        self._window.roll(now)


class ReferenceStatic(RivalRule):
    """The reference document's configuration read literally: raw ratios over 10 s, minimum 20.

    More than 5 % failed, or a raw P95 over 500 ms (more than 5 % of calls slower); 30 s open, 8 of 10
    probes, then 120 s of recovery in steps of a tenth.
    """

    open_for_s = 30.0
    probes = 10
    needed = 8
    strict = False
    ramp_s = 120.0

    def __init__(self) -> None:
        super().__init__()
        self._window = SliceWindow(100, 0.1)
        self._ramp_from = -NEVER
        self._credit = 0.0

    def shares(self, now: float) -> bool:
        elapsed = now - self._ramp_from
        if elapsed >= self.ramp_s * 0.9:
            return True
        self._credit += 0.1 * (1 + int(10 * elapsed / self.ramp_s))
        if self._credit < 1.0:
            return False
        self._credit -= 1.0
        return True

    def trips(self, *, failed: bool, slow: bool, now: float) -> bool:
        window = self._window
        window.add(now, bad=failed, slow=slow)
        return window.total >= 20 and max(window.bad, window.slow) > 0.05 * window.total

    def forget(self, now: float) -> None:
        self._window.clear()
        self._window.roll(now)
        self._ramp_from = now


class Never(RivalRule):
    """Admits everything: the control arm, and the world the oracle is computed from."""

    def trips(self, *, failed: bool, slow: bool, now: float) -> bool:
        del failed, slow, now
        return False

    def forget(self, now: float) -> None:
        """Nothing is remembered."""


def polly() -> RivalRule:
    """Return Polly v8's defaults: 10 % of 30 s, minimum 100, break 5 s, one probe."""
    return RatioWindow(slices=10, width_s=3.0, minimum=100, ratio=0.1, open_for_s=5.0)


def hystrix() -> RivalRule:
    """Return Hystrix's defaults: 50 % of 10 s, minimum 20, sleep 5 s, one test request."""
    return RatioWindow(slices=10, width_s=1.0, minimum=20, ratio=0.5, open_for_s=5.0)


RIVALS: dict[str, Callable[[], Rule]] = {
    "pybreaker": Consecutive,
    "resilience4j": CountWindow,
    "Polly": polly,
    "Hystrix": hystrix,
    "reference static": ReferenceStatic,
}
