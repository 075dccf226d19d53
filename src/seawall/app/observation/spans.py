"""In the supervisor: spans of the queries that the workers passed on.

The parent is what the query's own comment said; a query without one, slow or failed, is a trace of its own.
OpenTelemetry's semantic conventions for databases name the attributes, and ``seawall.*`` what they have no
name for. No text of a query, no value and no server's message is in a span.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TracerProvider,
    get_current_span,
    set_span_in_context,
)

from seawall._version import __version__
from seawall.app.observation.records import Digest, Record, digest
from seawall.kernel.proxy_signals import FailoverEnded
from seawall.proxy.settings import Backend
from seawall.telemetry.propagation import PROPAGATOR

__all__ = ["Spans"]

SCOPE: Final = "seawall.proxy"
NS: Final = 1_000_000_000


class Spans:
    """Makes spans.

    Args:
        provider: Where they go.
        backends: The servers by name, for their addresses.
        slow_s: A query that takes so long has a span even without a trace; infinity: none has.
        errors: Whether a query that fails has one even without a trace.

    Attributes:
        made: Spans made of queries.
        unsampled: Queries whose trace is not recorded, and that were neither slow nor failed.
    """

    def __init__(
        self, provider: TracerProvider, backends: Mapping[str, Backend], *, slow_s: float, errors: bool
    ) -> None:
        self._tracer = provider.get_tracer(SCOPE, __version__)
        self._backends = backends
        self._slow_s = slow_s
        self._errors = errors
        self.made = 0
        self.unsampled = 0

    def add(self, record: Record) -> None:
        """Make a span of a query, if it is to have one."""
        shown = digest(record)
        carrier = {"traceparent": shown.traceparent, "tracestate": shown.tracestate}
        parent = PROPAGATOR.extract({name: value for name, value in carrier.items() if value})
        told = get_current_span(parent).get_span_context()
        failed = bool(record.sqlstate) and self._errors
        if not (told.trace_flags.sampled or failed or record.took_s >= self._slow_s):
            self.unsampled += 1
            return
        if told.is_valid and not told.trace_flags.sampled:
            parent = _sampled(told)
        ended_ns = _wall_ns(record.ended_at)
        span = self._tracer.start_span(
            f"{shown.command} {shown.table}".rstrip(),
            context=parent,
            kind=SpanKind.CLIENT,
            attributes=self._attributes(record, shown),
            start_time=ended_ns - int((record.lead_s + record.took_s) * NS),
        )
        if record.sqlstate:
            span.set_status(Status(StatusCode.ERROR, record.sqlstate))
        span.end(end_time=ended_ns)
        self.made += 1

    def failover(self, signal: FailoverEnded) -> None:
        """Make a span of a failover that is over."""
        ended_ns = _wall_ns(signal.at)
        span = self._tracer.start_span(
            f"failover {signal.kind}",
            kind=SpanKind.INTERNAL,
            attributes={
                "seawall.failover.kind": signal.kind,
                "seawall.failover.outcome": signal.outcome,
                "seawall.failover.old_primary": signal.old_primary,
                "seawall.failover.new_primary": signal.new_primary,
                "seawall.failover.held_s": signal.held_s,
                "seawall.failover.replays": signal.replays,
            },
            start_time=ended_ns - int(signal.took_s * NS),
        )
        span.end(end_time=ended_ns)

    def _attributes(self, record: Record, shown: Digest) -> dict[str, Any]:
        found: dict[str, Any] = {
            "db.system.name": "postgresql",
            "db.namespace": record.database,
            "db.operation.name": shown.command,
            "seawall.backend": record.backend,
            "seawall.worker": record.worker,
            "seawall.queue_s": round(record.waited_s, 6),
            "seawall.checkout_s": round(record.fitted_s, 6),
            "seawall.server_s": round(record.took_s, 6),
        }
        if record.idle_s:
            found["seawall.client_s"] = round(record.idle_s, 6)
        if shown.table:
            found["db.collection.name"] = shown.table
        backend = self._backends.get(record.backend)
        if backend is not None:
            found["server.address"] = backend.host
            found["server.port"] = backend.port
        if record.sqlstate:
            found["db.response.status_code"] = found["error.type"] = record.sqlstate
        return found


def _sampled(told: SpanContext) -> Context:
    """A parent as if it was recorded: providers make no child of another, and this child is wanted."""
    flags = TraceFlags(told.trace_flags | TraceFlags.SAMPLED)
    context = SpanContext(
        told.trace_id, told.span_id, is_remote=True, trace_flags=flags, trace_state=told.trace_state
    )
    return set_span_in_context(NonRecordingSpan(context))


def _wall_ns(monotonic_s: float) -> int:
    """Nanoseconds since 1970 at a moment of the monotonic clock, which all processes of a machine share."""
    return time.time_ns() - int((time.monotonic() - monotonic_s) * NS)
