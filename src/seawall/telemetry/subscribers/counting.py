"""Signals become counts, in the thread that publishes them.

A queue in between would lose counts in a flood, which is when they matter, and cost more: a cell is a dict
look-up and an addition, and a queue is two threads that take the interpreter from each other. No cell waits
or raises. What a label says is a name of the program's (a guard, a class, a reason), never a key or a text.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from seawall.kernel.signals import (
    BreakerChanged,
    BreakerForced,
    BreakerRefused,
    BreakerReleased,
    BulkheadRefused,
    CallRefused,
    DeadlineExpired,
    EvictedKey,
    FallbackUsed,
    PolicyReloaded,
    RampMoved,
    RateRefused,
    RetryRefused,
    RetryScheduled,
    Signal,
)
from seawall.telemetry.catalogue.resilience import (
    BREAKER_OPEN_DURATION,
    BREAKER_TRANSITIONS,
    CALLS_REFUSED,
    DEADLINES_EXPIRED,
    FALLBACKS,
    KEYS_EVICTED,
    POLICY_RELOADS,
    RETRIES,
    RETRIES_REFUSED,
)
from seawall.telemetry.metrics.registry import Registry
from seawall.telemetry.subscribers.standing import CLOSED, OPEN, Standing

__all__ = ["OPENINGS_MAX", "Counting"]

OPENINGS_MAX: Final = 10_000
"""Breakers whose opening is remembered until they close; of more, the oldest gets no duration."""

_BY: Final[dict[type[Signal], str]] = {
    BreakerRefused: "breaker",
    BulkheadRefused: "bulkhead",
    RateRefused: "rate",
    CallRefused: "other",
}


class Counting:
    """Counts signals in one registry.

    Args:
        registry: Where the cells are.

    Attributes:
        forgotten: Openings that were forgotten to make room for others.
    """

    __slots__ = (
        "_deadlines",
        "_durations",
        "_evicted",
        "_fallbacks",
        "_opened",
        "_refused",
        "_reloads",
        "_retries",
        "_retries_refused",
        "_standing",
        "_steps",
        "_transitions",
        "forgotten",
    )

    def __init__(self, registry: Registry) -> None:
        self._standing = Standing(registry)
        self._transitions = registry.counter(BREAKER_TRANSITIONS)
        self._durations = registry.histogram(BREAKER_OPEN_DURATION)
        self._refused = registry.counter(CALLS_REFUSED)
        self._retries = registry.counter(RETRIES)
        self._retries_refused = registry.counter(RETRIES_REFUSED)
        self._deadlines = registry.counter(DEADLINES_EXPIRED)
        self._fallbacks = registry.counter(FALLBACKS)
        self._evicted = registry.counter(KEYS_EVICTED)
        self._reloads = registry.counter(POLICY_RELOADS)
        # Each of its methods is one C call, which no other thread comes between.
        self._opened: OrderedDict[tuple[str, str], float] = OrderedDict()
        self.forgotten = 0
        self._steps: dict[type[Signal], Callable[[Any], None]] = {
            BreakerChanged: self._changed,
            BreakerForced: self._forced,
            BreakerReleased: self._released,
            RampMoved: self._ramped,
            CallRefused: self._call_refused,
            BreakerRefused: self._call_refused,
            BulkheadRefused: self._call_refused,
            RateRefused: self._call_refused,
            RetryScheduled: self._retried,
            RetryRefused: self._not_retried,
            DeadlineExpired: self._expired,
            FallbackUsed: self._fell_back,
            PolicyReloaded: self._reloaded,
            EvictedKey: self._forgot,
        }

    def count(self, signal: Signal) -> None:
        """Count one signal; of a kind that is not known, as what it derives from."""
        step = self._steps.get(type(signal))
        if step is None:
            step = next((self._steps[kind] for kind in type(signal).__mro__ if kind in self._steps), None)
            if step is None:
                return
        step(signal)

    def _changed(self, signal: BreakerChanged) -> None:
        name, new = signal.name, signal.new
        self._transitions.cell(name, new).inc()
        if new == OPEN:
            self._opened.setdefault((name, signal.key), signal.at)
            if len(self._opened) > OPENINGS_MAX:
                self._opened.popitem(last=False)
                self.forgotten += 1
        elif new == CLOSED:
            since = self._opened.pop((name, signal.key), None)
            if since is not None:
                self._durations.cell(name).observe(max(signal.at - since, 0.0))
        if not signal.key:
            self._standing.state(name, new)
            if new != "ramping":
                self._standing.share(name, float(new == CLOSED))

    def _forced(self, signal: BreakerForced) -> None:
        if not signal.key:
            self._standing.forced(signal.name, True)

    def _released(self, signal: BreakerReleased) -> None:
        if not signal.key:
            self._standing.forced(signal.name, False)

    def _ramped(self, signal: RampMoved) -> None:
        if not signal.key:
            self._standing.share(signal.name, signal.share)

    def _call_refused(self, signal: CallRefused) -> None:
        self._refused.cell(signal.name, by(signal)).inc()

    def _retried(self, signal: RetryScheduled) -> None:
        self._retries.cell(signal.name).inc()

    def _not_retried(self, signal: RetryRefused) -> None:
        self._retries_refused.cell(signal.name, signal.reason).inc()

    def _expired(self, signal: DeadlineExpired) -> None:
        self._deadlines.cell(signal.name, signal.stage).inc()

    def _fell_back(self, signal: FallbackUsed) -> None:
        self._fallbacks.cell(signal.name, signal.error).inc()

    def _reloaded(self, signal: PolicyReloaded) -> None:
        self._reloads.cell(signal.name).inc()

    def _forgot(self, signal: EvictedKey) -> None:
        self._evicted.cell(signal.name).inc()
        self._opened.pop((signal.name, signal.key), None)


def by(signal: CallRefused) -> str:
    """Which part of a guard refused the call."""
    return _BY.get(type(signal)) or next(_BY[kind] for kind in type(signal).__mro__ if kind in _BY)
