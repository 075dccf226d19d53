"""Signals become events of the span that is current where they are published.

Events of breakers have names that begin with ``circuit_breaker``, by which tracing keeps what it would
otherwise have left to the ratio. No attribute holds a key, an argument or the text of an exception.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from opentelemetry.trace import Span

from seawall.kernel.signals import (
    BreakerChanged,
    BreakerForced,
    BreakerRefused,
    BreakerReleased,
    BulkheadRefused,
    CallRefused,
    DeadlineExpired,
    FallbackUsed,
    RateRefused,
    RetryRefused,
    RetryScheduled,
    Signal,
)
from seawall.telemetry.tracing.current import SPAN_KEY, get_current

__all__ = ["GUARD", "add_event", "current_span"]

GUARD: Final = "seawall.guard"
"""The attribute that names the guard."""

Values = dict[str, str | int | float]


def _changed(signal: BreakerChanged) -> Values:
    return {"seawall.from": signal.old, "seawall.to": signal.new, "seawall.reason": signal.reason}


def _mode(signal: BreakerForced | BreakerReleased) -> Values:
    return {"seawall.mode": signal.mode}


def _refused(signal: CallRefused) -> Values:
    return {} if signal.retry_after_s is None else {"seawall.retry_after_s": signal.retry_after_s}


def _crowded(signal: BulkheadRefused) -> Values:
    return {"seawall.in_flight": signal.in_flight, "seawall.waiting": signal.waiting}


def _retried(signal: RetryScheduled) -> Values:
    return {"seawall.attempt": signal.attempt, "seawall.delay_s": signal.delay_s}


def _not_retried(signal: RetryRefused) -> Values:
    return {"seawall.attempt": signal.attempt, "seawall.reason": signal.reason}


def _expired(signal: DeadlineExpired) -> Values:
    return {"seawall.timeout_s": signal.timeout_s, "seawall.stage": signal.stage}


def _fell_back(signal: FallbackUsed) -> Values:
    return {"seawall.error": signal.error}


_EVENTS: Final[dict[type[Signal], tuple[str, Callable[[Any], Values]]]] = {
    BreakerChanged: ("circuit_breaker.changed", _changed),
    BreakerForced: ("circuit_breaker.forced", _mode),
    BreakerReleased: ("circuit_breaker.released", _mode),
    BreakerRefused: ("circuit_breaker.refused", _refused),
    BulkheadRefused: ("bulkhead.refused", _crowded),
    RateRefused: ("rate_limit.refused", _refused),
    CallRefused: ("guard.refused", _refused),
    RetryScheduled: ("retry.scheduled", _retried),
    RetryRefused: ("retry.refused", _not_retried),
    DeadlineExpired: ("deadline.expired", _expired),
    FallbackUsed: ("fallback.used", _fell_back),
}


def current_span() -> Span | None:
    """The span that is current here; ``None`` without one that records."""
    span = get_current().get(SPAN_KEY)
    return span if isinstance(span, Span) and span.is_recording() else None


def add_event(signal: Signal, span: Span) -> bool:
    """Add the event of a signal to a span.

    Returns:
        Whether the signal is of a kind that has one.

    Raises:
        Exception: Whatever a span of somebody else's making raises.
    """
    kind = type(signal)
    found = _EVENTS.get(kind)
    if found is None:
        found = next((_EVENTS[base] for base in kind.__mro__ if base in _EVENTS), None)
        if found is None:
            return False
    name, values = found
    span.add_event(name, {GUARD: signal.name, **values(signal)})
    return True
