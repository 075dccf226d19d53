"""``traceparent`` out and in, beside OpenTelemetry's own propagator.

Every call gets another trace than the one before: some contexts and carriers go round, and taking the next
one is the control. They are few, for those of a request that has just come in are in the processor's caches
as well.
"""

from __future__ import annotations

import random
from itertools import cycle

from opentelemetry.context.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from benchmarks.arms import loop
from benchmarks.telemetering.costs import OURS, Row
from seawall.telemetry.propagation import Propagator

__all__ = ["rows"]

INJECT_NS, EXTRACT_NS = 500.0, 1_500.0
TRACES = 16
THEIRS = "TraceContextTextMapPropagator"


def rows() -> list[Row]:
    """Inject and extract."""
    dice = random.Random(1)
    contexts = [_context(dice) for _ in range(TRACES)]
    carriers: list[dict[str, str]] = [{} for _ in contexts]
    theirs, ours = TraceContextTextMapPropagator(), Propagator()
    for carrier, context in zip(carriers, contexts, strict=True):
        theirs.inject(carrier, context)
        check: dict[str, str] = {}
        ours.inject(check, context)
        assert check == carrier, f"the propagators differ: {check} and {carrier}"
    sent: dict[str, str] = {}
    return [
        Row(
            name="W3C inject",
            target=INJECT_NS,
            control=loop("context = n()", n=cycle(contexts).__next__),
            arms={
                name: loop("f(sent, n())", f=one.inject, sent=sent, n=cycle(contexts).__next__)
                for name, one in ((OURS, ours), (THEIRS, theirs))
            },
        ),
        Row(
            name="W3C extract",
            target=EXTRACT_NS,
            control=loop("carrier = n()", n=cycle(carriers).__next__),
            arms={
                name: loop("f(n())", f=one.extract, n=cycle(carriers).__next__)
                for name, one in ((OURS, ours), (THEIRS, theirs))
            },
        ),
    ]


def _context(dice: random.Random) -> Context:
    flags = TraceFlags(TraceFlags.SAMPLED)
    trace_id, span_id = dice.getrandbits(128) or 1, dice.getrandbits(64) or 1
    span = NonRecordingSpan(SpanContext(trace_id, span_id, is_remote=False, trace_flags=flags))
    return set_span_in_context(span, Context())
