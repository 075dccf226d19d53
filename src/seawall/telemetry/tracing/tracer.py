"""The tracer: starts spans.

A span is a child if its parent is of a segment that is open here; otherwise it is a local root and begins a
segment. The common case runs straight through one function.
"""

# ruff: noqa: SLF001 -- a tracer builds spans from outside: a constructor would cost as much as the rest

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry import trace as api
from opentelemetry.context.context import Context
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode
from opentelemetry.util.types import Attributes as GivenAttributes

from seawall.telemetry.tracing.activation import Activation
from seawall.telemetry.tracing.current import SPAN_KEY, get_current
from seawall.telemetry.tracing.origin import AnyResource, Origin
from seawall.telemetry.tracing.readable import BoundedLink, InstrumentationScope
from seawall.telemetry.tracing.span import Span

__all__ = ["Tracer"]

_UNSET = StatusCode.UNSET
_INTERNAL = SpanKind.INTERNAL


class Tracer(api.Tracer):
    """Starts the spans of one instrumentation scope.

    Args:
        origin: What its spans have in common.

    Attributes:
        origin: As given.
    """

    __slots__ = ("origin",)

    def __init__(self, origin: Origin) -> None:
        self.origin = origin

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = _INTERNAL,
        attributes: GivenAttributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,  # noqa: FBT001, FBT002  # OpenTelemetry's signature
        set_status_on_exception: bool = True,  # noqa: FBT001, FBT002  # OpenTelemetry's signature
    ) -> Span:
        """Start a span without making it the current one.

        The arguments are those of OpenTelemetry's ``Tracer.start_span``; the attributes are copied.
        """
        origin = self.origin
        segments = origin.segments
        parent: Any = get_current().get(SPAN_KEY) if context is None else _span_in(context)
        now_ns = origin.now_ns
        span = Span()
        span.began_ns = began = now_ns()
        segment = None
        if parent is not None and type(parent) is Span:
            segment = parent._segment or parent.segment
            # no call between the tests and the additions, so no other thread either
            if segment.owner is not segments or not (
                (
                    segment.started < segments.segment_spans_max
                    and segments.spans_open < segments.spans_open_max
                )
                or segments.relieve(segment)
            ):
                segment = None
        if segment is not None:
            segment.started += 1
            segments.spans_open += 1
            span._parent = parent
            span._offset_ns = parent._offset_ns
        else:
            if began >= segments.read_again_ns:
                segments.read_wall_clock(began)
            span._offset_ns = segments.offset_ns
            span._parent = None if parent is None else _context_of(parent)
        span._segment = segment
        span._origin = origin
        span.name = name
        span.kind = kind
        span.ended_ns = None
        span.status_code = _UNSET
        span._attributes = None if attributes is None else origin.own(attributes, origin.attributes_max)
        if links is not None or start_time is not None or not (record_exception and set_status_on_exception):
            self._add_rare(span, links, start_time)
            span._record_exception = record_exception
            span._set_status_on_exception = set_status_on_exception
        if origin.processors is not None:
            origin.processors.started(span, context)
        return span

    def _add_rare(self, span: Span, links: Sequence[Link] | None, start_time: object) -> None:
        origin = self.origin
        if start_time is not None:
            if isinstance(start_time, int):
                span.began_ns = start_time - span._offset_ns
            else:
                origin.segments.failed += 1
        kept: list[BoundedLink] = []
        try:
            for given in links or ():
                link = origin.link(getattr(given, "context", None), getattr(given, "attributes", None))
                if link is not None:
                    kept.append(link)
        except Exception:  # noqa: BLE001  # not a sequence of links, and telemetry raises nothing
            origin.segments.failed += 1
        if kept:
            span.dropped_links = max(len(kept) - origin.limits.links, 0)
            span._links = kept[span.dropped_links :]

    def start_as_current_span(  # type: ignore[override]  # noqa: PLR0917  # a faster class with the same three uses
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = _INTERNAL,
        attributes: GivenAttributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,  # noqa: FBT001, FBT002  # OpenTelemetry's signature
        set_status_on_exception: bool = True,  # noqa: FBT001, FBT002  # OpenTelemetry's signature
        end_on_exit: bool = True,  # noqa: FBT001, FBT002  # OpenTelemetry's signature
    ) -> Activation:
        """A span around a ``with`` block, or around each call of a decorated function, async or not.

        Args:
            name: As in :meth:`start_span`.
            context: As in :meth:`start_span`.
            kind: As in :meth:`start_span`.
            attributes: As in :meth:`start_span`.
            links: As in :meth:`start_span`.
            start_time: As in :meth:`start_span`.
            record_exception: Whether an exception that leaves the block becomes an event.
            set_status_on_exception: Whether it becomes the status.
            end_on_exit: Whether the span ends with the block.

        Returns:
            A context manager that is a decorator too.
        """
        return Activation(
            self,
            (name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception),
            end_on_exit,
        )

    @property
    def resource(self) -> AnyResource:
        """The process that its spans come from."""
        return self.origin.resource

    @property
    def instrumentation_scope(self) -> InstrumentationScope:
        """The library that it speaks for."""
        return self.origin.scope

    # read under this name by tests of instrumentation libraries
    _instrumentation_scope = instrumentation_scope

    def __repr__(self) -> str:
        return f"<Tracer {self.origin.scope.name!r}>"


def _span_in(context: object) -> object:
    """The span that a context holds; ``None`` if it holds none or is no context."""
    return context.get(SPAN_KEY) if isinstance(context, dict) else None


def _context_of(parent: object) -> SpanContext | None:
    """The context of a parent that is of no open segment here; ``None`` if it is invalid."""
    if not isinstance(parent, api.Span):
        return None
    try:
        # a span of somebody else's making may give anything
        context: object = parent.get_span_context()
    except Exception:  # noqa: BLE001  # or raise anything, and telemetry raises nothing
        return None
    return context if isinstance(context, SpanContext) and context.is_valid else None
