"""A span that records: quick to make, read at leisure.

A real subclass of OpenTelemetry's span. It has no constructor, which would cost as much as all the rest:
tracers fill its slots. Whatever not every span needs (its id, the span context, events, links) is made when
somebody asks. Times are kept by the monotonic clock, so that a step of the wall clock can't make a span last
minus two seconds.

No method raises for what it is given, logs, blocks or takes a lock. What an ended span is told is counted and
ignored.

Readers find the attributes of the SDK's ``ReadableSpan``; ``trace_id``, ``span_id``, ``status_code`` and
``lineage`` besides are cheaper than going through ``context``, ``parent`` and ``status``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Final

from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace import Span as ApiSpan
from opentelemetry.util.types import AnyValue
from opentelemetry.util.types import Attributes as GivenAttributes

from seawall.telemetry.tracing.attributes import PLAIN, Attributes, dropped_of, put
from seawall.telemetry.tracing.failing import DESCRIPTION_MAX, described, message_of, trace_of
from seawall.telemetry.tracing.json_text import json_of
from seawall.telemetry.tracing.origin import AnyResource, Origin
from seawall.telemetry.tracing.readable import BoundedLink, Event, InstrumentationScope
from seawall.telemetry.tracing.segment import BREAKER, FAILED, Segment, Segments
from seawall.telemetry.tracing.span_context import make_span_context

__all__ = ["Span"]

PARENT_KNOWN: Final = 0x100
PARENT_REMOTE: Final = 0x200
"""OTLP: that it is known whether the parent is in another process, and that it is."""

_ERROR: Final = StatusCode.ERROR
_UNSET: Final = StatusCode.UNSET
_OK: Final = StatusCode.OK


class Span(ApiSpan):
    """One operation, recorded. A tracer makes it.

    Attributes:
        name: What the operation is called.
        kind: Its role.
        began_ns: When it began, by the monotonic clock.
        ended_ns: When it ended; ``None`` while it records.
        status_code: How it went.
        status_description: What went wrong.
        dropped_events: Events that its limit kept out.
        dropped_links: Links that its limit kept out.
    """

    __slots__ = (
        "_attributes",
        "_offset_ns",
        "_origin",
        "_parent",
        "_segment",
        "_trace_id",
        "began_ns",
        "ended_ns",
        "kind",
        "name",
        "status_code",
    )

    name: str
    kind: SpanKind
    began_ns: int
    ended_ns: int | None
    status_code: StatusCode
    _attributes: Attributes | None
    _origin: Origin
    _parent: Span | SpanContext | None
    _segment: Segment | None
    _offset_ns: int
    _trace_id: int

    # What most spans never have is a default of the class: it costs nothing until it is set.
    status_description: str | None = None
    _context: SpanContext | None = None
    _events: list[Event] | None = None
    _links: list[BoundedLink] | None = None
    _span_id: int = 0
    _lost_attributes: int = 0
    dropped_events: int = 0
    dropped_links: int = 0
    _record_exception: bool = True
    _set_status_on_exception: bool = True

    # -- the end ---------------------------------------------------------------------------------------------

    def end(self, end_time: int | None = None) -> None:
        """End the operation; further calls do nothing.

        Args:
            end_time: When, in nanoseconds since 1970; now if left out.
        """
        origin = self._origin
        segments = origin.segments
        trace_id = 0
        if self._segment is None:
            # a function out of a slot is called faster by a name of its own
            parent, draw = self._parent, segments.random_bits
            trace_id = (draw(128) or 1) if parent is None else parent.trace_id
        if end_time is None or not isinstance(end_time, int):
            now_ns = origin.now_ns
            ended = now_ns()
        else:
            ended = end_time - self._offset_ns
        # between this test and the verdict, or the addition to a segment's spans, no other thread can run
        if self.ended_ns is not None:
            segments.after_end += 1
            return
        self.ended_ns = ended
        segment = self._segment
        failed = self.status_code is _ERROR
        if segment is None:
            self._trace_id = trace_id
            segments.close_alone(self, trace_id, ended - self.began_ns, failed)
        else:
            if failed:
                segment.reasons |= FAILED
            if type(self._parent) is not Span:
                segments.close(segment, self)
            elif segment.owner is None or segment.spans is None:
                segments.hold_first(segment, self, failed=failed)
            else:
                segment.spans.append(self)
        if origin.processors is not None:
            origin.processors.ended(self)

    @property
    def segment(self) -> Segment:
        """What it is judged with; asking gives one to a span that stands alone."""
        return self._segment or self._origin.segments.open(self)

    def is_recording(self) -> bool:
        """Whether it has not ended."""
        return self.ended_ns is None

    def _writable(self) -> bool:
        if self.ended_ns is None:
            return True
        self._origin.segments.after_end += 1
        return False

    # -- what users write ------------------------------------------------------------------------------------

    def set_attribute(self, key: str, value: AnyValue) -> None:
        """Set one attribute; sequences are copied to tuples."""
        if self.ended_ns is not None:
            self._origin.segments.after_end += 1
            return
        attributes = self._attributes
        if attributes is None:
            attributes = self._attributes = {}
        origin = self._origin
        if (
            type(key) is str
            and key
            and key not in attributes
            and len(attributes) < origin.attributes_max
            and (type(value) in PLAIN or (type(value) is str and len(value) <= origin.value_length))
        ):
            attributes[key] = value
            return
        lost = put(attributes, key, value, origin.attributes_max, origin.value_length)
        self._lost_attributes += lost

    def set_attributes(self, attributes: Mapping[str, AnyValue]) -> None:
        """Set several attributes."""
        if not self._writable():
            return
        origin = self._origin
        limit = origin.attributes_max
        if self._attributes is None:
            self._attributes = origin.own(attributes, limit)
            return
        # without a limit: the oldest that goes may be one that is there already
        taken = origin.own(attributes, sys.maxsize)
        if taken is None:
            return
        lost = dropped_of(taken)
        for key, value in taken.items():
            lost += put(self._attributes, key, value, limit, origin.value_length)
        self._lost_attributes += lost

    def add_event(self, name: str, attributes: GivenAttributes = None, timestamp: int | None = None) -> None:
        """Record that something has happened.

        Args:
            name: What. A name that marks a breaker event keeps the whole segment.
            attributes: More about it.
            timestamp: When, in nanoseconds since 1970; now if left out.
        """
        if not self._writable():
            return
        origin = self._origin
        at = origin.now_ns() + self._offset_ns if timestamp is None else timestamp
        taken = origin.own(attributes, origin.limits.event_attributes)
        called: object = name  # callers err
        if isinstance(called, str) and called.startswith(origin.segments.breaker_events):
            self.segment.reasons |= BREAKER
        events = self._events
        if events is None:
            events = self._events = []
        events.append(Event(name, at, {} if taken is None else taken))
        if len(events) > origin.limits.events:
            del events[0]
            self.dropped_events += 1

    def add_link(self, context: SpanContext, attributes: GivenAttributes = None) -> None:
        """Point to another span; ignored if the context is invalid and there is nothing else to tell."""
        if not self._writable():
            return
        link = self._origin.link(context, attributes)
        if link is None:
            return
        links = self._links
        if links is None:
            links = self._links = []
        links.append(link)
        if len(links) > self._origin.limits.links:
            del links[0]
            self.dropped_links += 1

    def update_name(self, name: str) -> None:
        """Call the operation otherwise."""
        if self._writable():
            self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Say how it went. "OK" is final, "unset" is ignored.

        Args:
            status: How it went.
            description: What went wrong; for errors only, and not beside a ``Status``, which has its own.
        """
        if isinstance(status, Status):
            code, description = status.status_code, status.description
        else:
            code = status
        if not isinstance(code, StatusCode):
            self._origin.segments.failed += 1  # type: ignore[unreachable]  # callers err
            return
        if not self._writable() or code is _UNSET or self.status_code is _OK:
            return
        self.status_code = code
        told = code is _ERROR and isinstance(description, str)
        self.status_description = description[:DESCRIPTION_MAX] if told else None  # type: ignore[index]  # a text

    def record_exception(
        self,
        exception: BaseException,
        attributes: GivenAttributes = None,
        timestamp: int | None = None,
        escaped: bool = False,  # noqa: FBT001, FBT002  # OpenTelemetry's signature
    ) -> None:
        """Record an exception as an event; it does not change the status.

        Args:
            exception: Which.
            attributes: More about it; they win over those of the exception.
            timestamp: When, in nanoseconds since 1970; now if left out.
            escaped: Whether it leaves the span.
        """
        if not self._writable():
            return
        try:
            shown = self._origin.shows_exceptions
            kind = type(exception)
            module = kind.__module__
            known: Attributes = {
                "exception.type": kind.__qualname__
                if module == "builtins"
                else f"{module}.{kind.__qualname__}",
                "exception.message": message_of(exception, shown=shown),
                "exception.stacktrace": trace_of(exception, shown=shown),
                "exception.escaped": str(escaped),
            }
            if attributes:
                known.update(attributes)
        except Exception:  # noqa: BLE001  # a broken exception or mapping, and telemetry raises nothing
            self._origin.segments.failed += 1
            return
        self.add_event("exception", known, timestamp)

    def fail(self, exception: BaseException, *, record: bool, escaped: bool, mark: bool) -> None:
        """An exception leaves the block that this span stands for.

        Args:
            exception: Which. Only what is an ``Exception`` says that something went wrong.
            record: Whether it becomes an event.
            escaped: What the event says about that.
            mark: Whether it becomes the status.
        """
        if not isinstance(exception, Exception) or self.ended_ns is not None:
            return
        if record:
            self.record_exception(exception, escaped=escaped)
        if mark:
            self.set_status(_ERROR, described(exception, shown=self._origin.shows_exceptions))

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """End the span; an exception is recorded and becomes the status, as the tracer was told."""
        if exc_val is not None:
            self.fail(
                exc_val, record=self._record_exception, escaped=True, mark=self._set_status_on_exception
            )
        self.end()

    # -- what readers read -----------------------------------------------------------------------------------

    @property
    def trace_id(self) -> int:
        """The trace it belongs to."""
        return self.segment.trace_id

    @property
    def span_id(self) -> int:
        """Its own id."""
        if self._span_id == 0:
            drawn = self._origin.segments.random_bits(64) or 1  # all zeros is no span id
            if self._span_id == 0:  # another thread may have drawn during the call
                self._span_id = drawn
        return self._span_id

    def get_span_context(self) -> SpanContext:
        """What is propagated to other processes."""
        context = self._context
        if context is None:
            segment = self.segment
            self._context = context = make_span_context(
                segment.trace_id, self.span_id, remote=False, flags=segment.flags, state=segment.trace_state
            )
        return context

    @property
    def context(self) -> SpanContext:
        """As :meth:`get_span_context`."""
        return self.get_span_context()

    @property
    def parent(self) -> SpanContext | None:
        """The span that it is part of."""
        parent = self._parent
        return parent.get_span_context() if isinstance(parent, Span) else parent

    def lineage(self) -> tuple[int, int, int, int, str]:
        """What ``context`` and ``parent`` say, without making them: an export asks each span once.

        Returns:
            Trace id, span id, the parent's span id (0 without a parent), flags as OTLP has them (trace flags,
            :data:`PARENT_KNOWN`, :data:`PARENT_REMOTE`), and the header ``tracestate``.
        """
        segment = self.segment
        parent = self._parent
        flags = segment.flags | PARENT_KNOWN
        if isinstance(parent, SpanContext) and parent.is_remote:
            flags |= PARENT_REMOTE
        state = segment.trace_state
        return (
            segment.trace_id,
            self.span_id,
            0 if parent is None else parent.span_id,
            flags,
            "" if state is None else state.to_header(),
        )

    @property
    def start_time(self) -> int:
        """When it began, in nanoseconds since 1970."""
        return self.began_ns + self._offset_ns

    @property
    def end_time(self) -> int | None:
        """When it ended, in nanoseconds since 1970; ``None`` while it records."""
        ended = self.ended_ns
        return None if ended is None else ended + self._offset_ns

    # read under these names by tests of instrumentation libraries
    _start_time = start_time
    _end_time = end_time

    @property
    def attributes(self) -> Mapping[str, AnyValue]:
        """Its attributes, read only."""
        return MappingProxyType(self._attributes or {})

    @property
    def dropped_attributes(self) -> int:
        """How many attributes could not be kept."""
        return self._lost_attributes + dropped_of(self._attributes)

    @property
    def events(self) -> Sequence[Event]:
        """What has happened in it."""
        return tuple(self._events or ())

    @property
    def links(self) -> Sequence[Link]:
        """The spans it points to."""
        return tuple(self._links or ())

    @property
    def status(self) -> Status:
        """How it went, with the description."""
        return Status(self.status_code, self.status_description)

    @property
    def segments(self) -> Segments:
        """Where it is judged and counted."""
        return self._origin.segments

    @property
    def resource(self) -> AnyResource:
        """The process that makes it."""
        return self._origin.resource

    @property
    def instrumentation_scope(self) -> InstrumentationScope:
        """The library that makes it."""
        return self._origin.scope

    def to_json(self, indent: int | None = 4) -> str:
        """As text to look at, laid out as the SDK's; see ``json_text``."""
        return json_of(self, indent)

    def __repr__(self) -> str:
        state = "recording" if self.ended_ns is None else "ended"
        return f"<Span {self.name!r} {state}, {self.status_code.name}>"
