"""Span contexts of OpenTelemetry's API, made and taken apart without its checks.

The API's class is a tuple of its attributes and of whether they are valid. Making one without proving that
again costs a third, and taking one apart is one step where its properties are five calls. Whether the class
still is that tuple is looked at once, when this module is imported; if not, the API's own way is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from opentelemetry.trace import DEFAULT_TRACE_STATE, SpanContext, TraceFlags, TraceState

__all__ = ["KNOWN_FLAGS", "RANDOM_FLAG", "TUPLE", "make_remote", "make_span_context", "take_apart"]

RANDOM_FLAG: Final = int(TraceFlags.RANDOM_TRACE_ID)
KNOWN_FLAGS: Final = int(TraceFlags.SAMPLED) | RANDOM_FLAG

_new: Final[Callable[..., SpanContext]] = tuple.__new__
_FLAGS: Final = tuple(TraceFlags(flags) for flags in range(KNOWN_FLAGS + 1))


def _is_tuple() -> bool:
    made: object = SpanContext(1, 2, True, _FLAGS[3], DEFAULT_TRACE_STATE)
    return isinstance(made, tuple) and tuple(made) == (1, 2, True, _FLAGS[3], DEFAULT_TRACE_STATE, True)


TUPLE: Final[Any] = SpanContext if _is_tuple() else None
"""The class that may be taken for a tuple of what :func:`take_apart` gives."""


def make_span_context(
    trace_id: int, span_id: int, *, remote: bool, flags: int, state: TraceState | None
) -> SpanContext:
    """A context of ids that are known to be valid.

    Args:
        trace_id: 1 to 2**128 - 1.
        span_id: 1 to 2**64 - 1.
        remote: Whether it came from another process.
        flags: No other ones than :data:`KNOWN_FLAGS`.
        state: What other tracing systems want to find again.
    """
    if state is None:
        state = DEFAULT_TRACE_STATE
    if TUPLE is None:
        return SpanContext(trace_id, span_id, remote, _FLAGS[flags], state)
    return _new(SpanContext, (trace_id, span_id, remote, _FLAGS[flags], state, True))


def make_remote(trace_id: int, span_id: int, flags: int, state: TraceState) -> SpanContext:
    """As :func:`make_span_context`, of what came from another process; without keywords, which cost."""
    if TUPLE is None:
        return SpanContext(trace_id, span_id, True, _FLAGS[flags], state)
    return _new(SpanContext, (trace_id, span_id, True, _FLAGS[flags], state, True))


def take_apart(context: Any) -> tuple[int, int, bool, int, TraceState, bool]:  # noqa: ANN401  # of any make
    """Trace id, span id, whether it is remote, flags, state, and whether the ids are valid; the slow way."""
    return (
        context.trace_id,
        context.span_id,
        context.is_remote,
        context.trace_flags,
        context.trace_state,
        context.is_valid,
    )
