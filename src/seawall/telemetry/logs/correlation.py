"""Which trace and span a line belongs to, by OpenTelemetry's own context.

It needs the API alone: whoever provides the spans, an SDK or this library, keeps them in that context. The
caller's thread reads it, because a context is of a task and the writer has another.
"""

from __future__ import annotations

from opentelemetry.trace import get_current_span

__all__ = ["current_ids"]

_TRACE_BOUND = 1 << 128
_SPAN_BOUND = 1 << 64


def current_ids() -> tuple[int, int]:
    """Trace id and span id of the span that is current here; two zeros without a valid one."""
    try:
        context = get_current_span().get_span_context()
        trace_id, span_id = context.trace_id, context.span_id
        if 0 < trace_id < _TRACE_BOUND and 0 < span_id < _SPAN_BOUND:
            return trace_id, span_id
    except Exception:  # noqa: BLE001 -- a span of somebody else's making must not lose a line
        return 0, 0
    return 0, 0
