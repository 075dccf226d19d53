"""A span that records: quick to make, read at leisure.

A real subclass of OpenTelemetry's span. Tracers fill its slots and make it without a constructor; whatever
not every span needs (ids, the span context, events, links) is made when somebody asks. Times are kept by the
monotonic clock, so that a step of the wall clock can't make a span last minus two seconds.

No method raises for what it is given, logs, blocks or takes a lock. What an ended span is told is counted and
ignored.

Readers find the attributes of the SDK's ``ReadableSpan``; ``trace_id``, ``span_id``, ``trace_flags`` and
``status_code`` besides are cheaper than going through ``context`` and ``status``.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Final, Protocol, final

from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace import Span as ApiSpan
from opentelemetry.util.types import AnyValue
from opentelemetry.util.types import Attributes as GivenAttributes

from seawall.telemetry.tracing.attributes import SCALARS, Attributes, dropped_of, put
from seawall.telemetry.tracing.origin import AnyResource, Origin
from seawall.telemetry.tracing.readable import (
    BoundedLink,
    Event,
    InstrumentationScope,
    context_fields,
    moment_text,
)
from seawall.telemetry.tracing.segment import BREAKER, FAILED, Segment, Segments

__all__ = ["ObservedSpan", "Observer", "Span", "Unrecorded"]

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
    """

    __slots__ = (
        "_attributes",
        "_origin",
        "_parent",
        "_root",
        "_segment",
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
    _root: bool
    _segment: Segment

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
        segment = self._segment
        if end_time is None or not isinstance(end_time, int):
            ended = origin.now_ns()
        else:
            ended = end_time - segment.offset_ns
        # between this test and the assignment no other thread can run
        if self.ended_ns is not None:
            origin.segments.after_end += 1
            return
        self.ended_ns = ended
        failed = self.status_code is _ERROR
        if failed:
            segment.reasons |= FAILED
        if segment.owner is None:
            origin.segments.late(segment, self, failed=failed)
        elif self._root:
            origin.segments.close(segment, self)
        else:
            segment.spans.append(self)

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
            key.__class__ is str
            and key
            and key not in attributes
            and value.__class__ in SCALARS
            and origin.value_length is None
            and len(attributes) < origin.limits.attributes
        ):
            attributes[key] = value
            return
        self._lost_attributes += put(attributes, key, value, origin.limits.attributes, origin.value_length)

    def set_attributes(self, attributes: Mapping[str, AnyValue]) -> None:
        """Set several attributes."""
        if not self._writable():
            return
        origin = self._origin
        limit = origin.limits.attributes
        if self._attributes is None:
            self._attributes = origin.own(attributes, limit)
            return
        # without a limit: the oldest that goes may be one that is there already
        taken = origin.own(attributes, sys.maxsize)
        if taken is None:
            return
        lost = dropped_of(taken)
        for key, value in taken.items():
            lost += put(self._attributes, key, value, limit, None)
        self._lost_attributes += lost

    def add_event(self, name: str, attributes: GivenAttributes = None, timestamp: int | None = None) -> None:
        """Record that something has happened.

        Args:
            name: What. A name that marks a breaker event keeps the whole segment.
            attributes: More about it.
            timestamp: When, in nanoseconds since 1970; now if left out.
        """
        origin = self._origin
        segment = self._segment
        at = origin.now_ns() + segment.offset_ns if timestamp is None else timestamp
        taken = origin.own(attributes, origin.limits.event_attributes)
        event = Event(name, at, {} if taken is None else taken)
        if not self._writable():
            return
        called: object = name  # callers err
        if isinstance(called, str) and called.startswith(origin.segments.breaker_events):
            segment.reasons |= BREAKER
        events = self._events
        if events is None:
            events = self._events = []
        events.append(event)
        if len(events) > origin.limits.events:
            del events[0]
            self.dropped_events += 1

    def add_link(self, context: SpanContext, attributes: GivenAttributes = None) -> None:
        """Point to another span; ignored if the context is invalid and there is nothing else to tell."""
        link = self._origin.link(context, attributes)
        if link is None or not self._writable():
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
        self.status_description = description if code is _ERROR and isinstance(description, str) else None

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
            kind = type(exception)
            module = kind.__module__
            known: Attributes = {
                "exception.type": kind.__qualname__
                if module == "builtins"
                else f"{module}.{kind.__qualname__}",
                "exception.message": text_of(exception),
                "exception.stacktrace": "".join(traceback.format_exception(exception)),
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
            self.set_status(_ERROR, f"{type(exception).__name__}: {text_of(exception)}")

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
        return self._segment.trace_id or self._origin.segments.identify(self._segment)

    @property
    def span_id(self) -> int:
        """Its own id."""
        if self._span_id == 0:
            drawn = self._origin.segments.draw_span_id()
            if self._span_id == 0:  # another thread may have drawn during the call
                self._span_id = drawn
        return self._span_id

    @property
    def trace_flags(self) -> int:
        """What is propagated: whether the head of the trace is sampled, whether its id is random."""
        if self._context is not None:
            return self._context.trace_flags
        self._origin.segments.identify(self._segment)
        return self._segment.flags

    @property
    def context(self) -> SpanContext:
        """What is propagated to other processes."""
        context = self._context
        if context is None:
            segment = self._segment
            trace_id = self.trace_id
            context = SpanContext(
                trace_id, self.span_id, False, TraceFlags(segment.flags), segment.trace_state
            )
            self._context = context
        return context

    def get_span_context(self) -> SpanContext:
        """As :attr:`context`."""
        return self.context

    @property
    def parent(self) -> SpanContext | None:
        """The span that it is part of."""
        parent = self._parent
        return parent.context if isinstance(parent, Span) else parent

    @property
    def start_time(self) -> int:
        """When it began, in nanoseconds since 1970."""
        return self.began_ns + self._segment.offset_ns

    @property
    def end_time(self) -> int | None:
        """When it ended, in nanoseconds since 1970; ``None`` while it records."""
        ended = self.ended_ns
        return None if ended is None else ended + self._segment.offset_ns

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
        """As JSON text, with the fields of the SDK's."""
        parent = self.parent
        status = {"status_code": self.status_code.name}
        if self.status_description:
            status["description"] = self.status_description
        fields = {
            "name": self.name,
            "context": context_fields(self.context),
            "kind": str(self.kind),
            "parent_id": None if parent is None else context_fields(parent)["span_id"],
            "start_time": moment_text(self.start_time),
            "end_time": moment_text(self.end_time),
            "status": status,
            "attributes": dict(self.attributes),
            "events": [
                {
                    "name": event.name,
                    "timestamp": moment_text(event.timestamp),
                    "attributes": dict(event.attributes),
                }
                for event in self.events
            ],
            "links": [
                {"context": context_fields(link.context), "attributes": dict(link.attributes or {})}
                for link in self.links
            ],
            "resource": json.loads(self.resource.to_json()),
        }
        return json.dumps(fields, indent=indent, default=str)

    def __repr__(self) -> str:
        state = "recording" if self.ended_ns is None else "ended"
        return f"<Span {self.name!r} {state}, {self.status_code.name}>"


class Observer(Protocol):
    """Who is told of the ends of spans: the span processors that are plugged in."""

    def ended(self, span: ObservedSpan) -> None:
        """A span has ended; called once for each."""
        ...


@final
class ObservedSpan(Span):
    """A span that span processors hear of. Made only while one is installed."""

    _observer: Observer
    _told: bool = False

    def end(self, end_time: int | None = None) -> None:
        """As :meth:`Span.end`, and tell the processors."""
        super().end(end_time)
        if self._told:
            return
        self._told = True
        self._observer.ended(self)


@final
class Unrecorded(NonRecordingSpan):
    """A span that its segment had no room for.

    It passes on the context of its nearest recorded ancestor, so that what other processes do for it hangs on
    a span that exists.

    Args:
        parent: That ancestor.
        segment: Whose child it would have been.
    """

    __slots__ = ("_parent", "_segment")

    def __init__(self, parent: Span, segment: Segment) -> None:
        self._parent = parent
        self._segment = segment

    def get_span_context(self) -> SpanContext:
        """The context of its nearest recorded ancestor."""
        return self._parent.context

    def __repr__(self) -> str:
        return f"<Unrecorded child of {self._parent.name!r}>"


def text_of(exception: BaseException) -> str:
    """What an exception says; its own ``__str__`` may be broken."""
    try:
        return str(exception)
    except Exception:  # noqa: BLE001  # whatever it raises, and telemetry raises nothing
        return f"<{type(exception).__name__} without text>"
