"""The long way of starting a span: with a sampler and span processors of the OpenTelemetry SDK.

Taken only while one is installed. They are called as the SDK calls them and know no difference; the SDK
itself need not be installed. What one of them raises is counted and goes no further.

A sampler decides at the start of each span, as the SDK's does: "drop" gives a span that does not record,
"record only" one without the sampled flag. What is recorded is judged as every segment is, except that the
sampler takes the place of the ratio. Processors hear of every recorded span, before its segment is judged.
"""

# ruff: noqa: SLF001 -- a tracer builds spans from outside: a constructor would cost as much as the rest

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, final

from opentelemetry import trace as api
from opentelemetry.context.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.util.types import Attributes as GivenAttributes

from seawall.telemetry.tracing.activation import Activation
from seawall.telemetry.tracing.current import get_current
from seawall.telemetry.tracing.origin import Origin
from seawall.telemetry.tracing.segment import HEAD, Segments
from seawall.telemetry.tracing.span import ObservedSpan, Span
from seawall.telemetry.tracing.tracer import Tracer, parent_context, parent_in

__all__ = ["PluggedTracer", "Plugins", "Processor", "Sampler"]

_RANDOM = int(TraceFlags.RANDOM_TRACE_ID)
_SAMPLED = int(TraceFlags.SAMPLED)


class Decision(Protocol):
    """A sampler's decision, as the SDK's enumeration of this name."""

    def is_recording(self) -> bool:
        """Whether the span records."""
        ...

    def is_sampled(self) -> bool:
        """Whether the span is marked as sampled."""
        ...


class SamplingResult(Protocol):
    """What a sampler answers, as the SDK's class of this name."""

    decision: Any
    attributes: Any
    trace_state: TraceState | None


class Sampler(Protocol):
    """A sampler, as the SDK's."""

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: GivenAttributes = None,
        links: Sequence[Link] | None = None,
    ) -> Any:  # noqa: ANN401  # the SDK's result, which this module knows by its shape
        """Decide about a span that is about to start."""
        ...


class Processor(Protocol):
    """A span processor, as the SDK's."""

    def on_start(self, span: Any, parent_context: Context | None = None) -> None:  # noqa: ANN401  # the SDK's span, or ours
        """A span has started."""
        ...

    def on_end(self, span: Any) -> None:  # noqa: ANN401  # as above
        """A span has ended."""
        ...

    def shutdown(self) -> object:
        """No more spans come."""
        ...

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what has ended."""
        ...


@final
class Plugins:
    """What is plugged in to one provider.

    Args:
        segments: Who counts what they raise.
        sampler: Who decides at the start; the ratio of the segments if there is none.
    """

    __slots__ = ("processors", "sampler", "segments")

    def __init__(self, segments: Segments, sampler: Sampler | None = None) -> None:
        self.segments = segments
        self.sampler = sampler
        self.processors: tuple[Processor, ...] = ()

    def started(self, span: ObservedSpan, context: Context | None) -> None:
        """Tell the processors that a span has started."""
        for processor in self.processors:
            try:
                processor.on_start(span, parent_context=context)
            except Exception:  # noqa: BLE001  # somebody else's code on a caller's path
                self.segments.plugin_errors += 1

    def ended(self, span: ObservedSpan) -> None:
        """Tell the processors that a span has ended."""
        for processor in self.processors:
            try:
                # the SDK's processors have this hook under a private name, older ones don't
                ending = getattr(processor, "_on_ending", None)
                if ending is not None:
                    ending(span)
                processor.on_end(span)
            except Exception:  # noqa: BLE001  # somebody else's code on a caller's path
                self.segments.plugin_errors += 1


@final
class PluggedTracer(api.Tracer):
    """Starts spans by way of a sampler and tells processors.

    Args:
        origin: What the spans have in common.
        plugins: Whom to ask and tell.
    """

    __slots__ = ("_origin", "_plugins", "_tracer")

    def __init__(self, origin: Origin, plugins: Plugins) -> None:
        self._origin = origin
        self._plugins = plugins
        self._tracer = Tracer(origin, ObservedSpan)

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: GivenAttributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,  # noqa: FBT001, FBT002  # OpenTelemetry's signature
        set_status_on_exception: bool = True,  # noqa: FBT001, FBT002  # OpenTelemetry's signature
    ) -> api.Span:
        """As ``Tracer.start_span``."""
        plugins = self._plugins
        head: SpanContext | None = None
        if plugins.sampler is not None:
            try:
                head, attributes = self._sample(plugins.sampler, name, context, kind, attributes, links)
            except Exception:  # noqa: BLE001  # somebody else's code on a caller's path
                plugins.segments.plugin_errors += 1
            else:
                if attributes is _DROPPED:
                    return NonRecordingSpan(head)
        span = self._tracer.start_span(
            name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
        )
        if not isinstance(span, ObservedSpan):
            return span
        span._observer = plugins
        if head is not None:
            _apply(head, span)
        plugins.started(span, context)
        return span

    def _sample(
        self,
        sampler: Sampler,
        name: str,
        context: Context | None,
        kind: SpanKind,
        attributes: GivenAttributes,
        links: Sequence[Link] | None,
    ) -> tuple[SpanContext, GivenAttributes]:
        segments = self._origin.segments
        parent = parent_context(parent_in(get_current() if context is None else context))
        trace_id = segments.draw_trace_id() if parent is None else parent.trace_id
        result: SamplingResult = sampler.should_sample(context, trace_id, name, kind, attributes, links or ())
        decision: Decision = result.decision
        flags = _RANDOM if parent is None else parent.trace_flags & _RANDOM
        if decision.is_sampled():
            flags |= _SAMPLED
        head = SpanContext(trace_id, segments.draw_span_id(), False, TraceFlags(flags), result.trace_state)
        return head, result.attributes if decision.is_recording() else _DROPPED

    def start_as_current_span(  # type: ignore[override]  # noqa: PLR0917  # as Tracer's
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: GivenAttributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,  # noqa: FBT001, FBT002  # OpenTelemetry's signature
        set_status_on_exception: bool = True,  # noqa: FBT001, FBT002  # OpenTelemetry's signature
        end_on_exit: bool = True,  # noqa: FBT001, FBT002  # OpenTelemetry's signature
    ) -> Activation:
        """As ``Tracer.start_as_current_span``."""
        return Activation(
            self,
            (name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception),
            end_on_exit,
            self._origin.segments,
        )


_DROPPED: dict[str, Any] = {}
"""In place of attributes: the sampler does not want the span."""


def _apply(head: SpanContext, span: Span) -> None:
    """Give a new span the context that its sampler has decided on."""
    span._context = head
    span._span_id = head.span_id
    if span._root:
        segment = span._segment
        segment.trace_id = head.trace_id
        segment.flags = int(head.trace_flags)
        segment.trace_state = head.trace_state
        if head.trace_flags & _SAMPLED:
            segment.reasons |= HEAD
