"""Signals become log lines: which are worth one is decided where they are published, and said on a thread.

What an operator has to know has a line each: a breaker that changed, an order, a reload. What comes with
every call of an outage has one now and then, with the number of signals it stands for, so that a storm of
refusals can't flood the logs. Changes of keys are of the second kind: a guard may have many.

A line holds names, numbers and reasons of this library's, and never an argument or the text of an exception.
A key is given as ``key``, which this package's logs show only if it was declared there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any, Final, Protocol

from opentelemetry.trace import Span

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
    RateRefused,
    RetryRefused,
    RetryScheduled,
    Signal,
)
from seawall.kernel.tally import Tally
from seawall.telemetry.logs.levels import DEBUG, INFO, WARNING
from seawall.telemetry.subscribers.counting import by
from seawall.telemetry.subscribers.standing import OPEN

__all__ = ["EVERY_S", "SLOTS_MAX", "Note", "Notes", "TakesLines", "say"]

EVERY_S: Final = 10.0
"""Between two lines of one kind about one guard, in seconds of the guard's clock."""
SLOTS_MAX: Final = 4_096
"""Kinds of lines times guards; those beyond share one place, and so say less."""


class TakesLines(Protocol):
    """A logger: this package's, structlog's, or whatever takes a level, a text and values."""

    def log(self, level: int, event: str, **values: Any) -> object:  # noqa: ANN401  # plain data
        """Write one line."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Note(Signal):
    """A signal that is worth a line.

    Attributes:
        fact: The signal.
        count: How many it stands for.
        span: The span that was current where it was published.
    """

    fact: Signal
    count: int
    span: Span | None


class _Slot:
    """When the last line of one kind about one guard was due, and how much has been left out since."""

    __slots__ = ("last_at", "missed")

    def __init__(self) -> None:
        self.last_at = -inf
        self.missed = 0

    def due(self, at: float) -> int:
        """How many signals a line at this time would stand for; 0 if it is too early for one."""
        # Between reading and writing nothing is called: no other thread comes between.
        missed = self.missed + 1
        # Threads come a little out of order; what is much too early has another clock.
        if -EVERY_S < at - self.last_at < EVERY_S:
            self.missed = missed
            return 0
        self.last_at = at
        self.missed = 0
        return missed


class Notes:
    """Decides which signals are worth a line; called in the publishers' threads.

    Attributes:
        left_out: Signals that had to wait for the next line of their kind.
    """

    __slots__ = ("_slots", "left_out")

    def __init__(self) -> None:
        self._slots: dict[tuple[type[Signal], str, str], _Slot] = {}
        self.left_out = Tally()

    def note(self, signal: Signal, current_span: Callable[[], Span | None]) -> Note | None:
        """The note of a signal; ``None`` if it is worth none, or has to wait.

        Args:
            signal: Which.
            current_span: Asked only if there is a note.
        """
        kind = _known(type(signal))
        if kind is None:
            return None
        count = 1
        if kind in _STORMY or (kind is BreakerChanged and signal.key):
            count = self._slot(kind, signal).due(signal.at)
            if not count:
                self.left_out.add()
                return None
        return Note(
            at=signal.at, name=signal.name, key=signal.key, fact=signal, count=count, span=current_span()
        )

    def _slot(self, kind: type[Signal], signal: Signal) -> _Slot:
        place = (kind, signal.name, getattr(signal, _DETAILS.get(kind, ""), ""))
        slot = self._slots.get(place)
        if slot is None:
            if len(self._slots) >= SLOTS_MAX:
                place = (Signal, "", "")
            slot = self._slots.setdefault(place, _Slot())
        return slot


def say(note: Note, logger: TakesLines) -> None:
    """Write the line of a note.

    Raises:
        Exception: Whatever the logger raises.
    """
    signal = note.fact
    kind = _known(type(signal))
    assert kind is not None, "only what has a line gets a note"
    level, text, values = _LINES[kind](signal)
    values["guard"] = signal.name
    if signal.key and kind is not EvictedKey:
        values["key"] = signal.key
    if kind in _STORMY or note.count > 1:
        values["count"] = note.count
    logger.log(level, text, **values)


Line = tuple[int, str, dict[str, Any]]


def _changed(signal: BreakerChanged) -> Line:
    level = WARNING if signal.new == OPEN else INFO
    return level, f"breaker is {signal.new.replace('_', '-')}: {signal.reason}", {"state": signal.new}


def _forced(signal: BreakerForced) -> Line:
    return WARNING, f"breaker forced {signal.mode} by {signal.owner}: {signal.reason}", {"state": signal.mode}


def _released(signal: BreakerReleased) -> Line:
    why = f"released by {signal.owner}" if signal.owner else "its time was over"
    return INFO, f"breaker no longer forced {signal.mode}: {why}", {}


def _refused(signal: CallRefused) -> Line:
    return WARNING, f"calls refused by the {_PARTS[by(signal)]}", {}


def _retried(signal: RetryScheduled) -> Line:
    return DEBUG, "calls retried", {"attempt": signal.attempt, "duration_s": signal.delay_s}


def _not_retried(signal: RetryRefused) -> Line:
    return INFO, f"failed calls not retried: {signal.reason}", {"attempt": signal.attempt}


def _expired(signal: DeadlineExpired) -> Line:
    return WARNING, f"out of time: {signal.stage}", {"timeout_s": signal.timeout_s}


def _fell_back(signal: FallbackUsed) -> Line:
    return INFO, f"fallback used for {signal.error}", {}


def _reloaded(signal: PolicyReloaded) -> Line:
    # Keys only: what the values are is the configuration's affair.
    return INFO, f"policy changed: {', '.join(change.key for change in signal.changes) or 'nothing'}", {}


def _evicted(signal: EvictedKey) -> Line:
    return INFO, f"keys forgotten, since there may be {signal.limit}", {}


_PARTS: Final = {"breaker": "breaker", "bulkhead": "bulkhead", "rate": "rate limit", "other": "guard"}

_LINES: Final[dict[type[Signal], Callable[[Any], Line]]] = {
    BreakerChanged: _changed,
    BreakerForced: _forced,
    BreakerReleased: _released,
    BreakerRefused: _refused,
    BulkheadRefused: _refused,
    RateRefused: _refused,
    CallRefused: _refused,
    RetryScheduled: _retried,
    RetryRefused: _not_retried,
    DeadlineExpired: _expired,
    FallbackUsed: _fell_back,
    PolicyReloaded: _reloaded,
    EvictedKey: _evicted,
}
_DETAILS: Final[dict[type[Signal], str]] = {
    BreakerChanged: "new",
    RetryRefused: "reason",
    DeadlineExpired: "stage",
    FallbackUsed: "error",
}
"""What a line says besides the guard's name: others have a line of their own."""
_STORMY: Final = frozenset(_LINES) - {BreakerChanged, BreakerForced, BreakerReleased, PolicyReloaded}
"""Kinds that come with calls, and so as often as they do."""


def _known(kind: type[Signal]) -> type[Signal] | None:
    if kind in _LINES:
        return kind
    return next((base for base in kind.__mro__ if base in _LINES), None)
