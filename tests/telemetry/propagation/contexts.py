"""Contexts as tests need them, and a span that doesn't record."""

from __future__ import annotations

from opentelemetry.baggage import set_baggage
from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    TraceState,
    get_current_span,
    set_span_in_context,
)

TRACE_ID = 0x0AF7651916CD43DD8448EB211C80319C
SPAN_ID = 0xB7AD6B7169203331
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def context_with(
    *,
    trace_id: int = TRACE_ID,
    span_id: int = SPAN_ID,
    flags: int = 1,
    state: TraceState | None = None,
    baggage: dict[str, object] | None = None,
) -> Context:
    """A context with a span, and baggage if there is some."""
    span_context = SpanContext(
        trace_id, span_id, is_remote=False, trace_flags=TraceFlags(flags), trace_state=state
    )
    context = set_span_in_context(NonRecordingSpan(span_context), Context())
    for name, value in (baggage or {}).items():
        context = set_baggage(name, value, context)
    return context


def remote(context: Context) -> SpanContext:
    """The span context of a context."""
    return get_current_span(context).get_span_context()
