"""Spans to encode: light ones with all that the encoder reads, and what Hypothesis makes of the SDK's."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource as SdkResource
from opentelemetry.sdk.trace import Event as SdkEvent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope as SdkScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

TIME_NS = 1_790_000_000_000_000_000


@dataclass(frozen=True)
class Described:
    """A resource or a scope."""

    name: str = "library"
    version: str | None = "1.2"
    attributes: Any = None
    schema_url: str = ""


RESOURCE = Described(attributes={"service.name": "shop"})
SCOPE = Described()


class Happened(NamedTuple):
    """An event."""

    name: str
    timestamp: Any
    attributes: Any = None
    dropped_attributes: int = 0


@dataclass
class Linked:
    """A link."""

    context: Any
    attributes: Any = None
    dropped_attributes: int = 0


@dataclass
class Light:
    """A span of the tracer's kind."""

    name: Any = "GET /orders"
    kind: Any = SpanKind.SERVER
    start_time: Any = TIME_NS
    end_time: Any = TIME_NS + 1_000_000
    attributes: Any = field(default_factory=dict)
    events: Any = ()
    links: Any = ()
    status_code: Any = StatusCode.UNSET
    status_description: Any = None
    resource: Any = RESOURCE
    instrumentation_scope: Any = SCOPE
    dropped_attributes: int = 0
    dropped_events: int = 0
    dropped_links: int = 0
    trace_id: int = 0xABC
    span_id: int = 0x1000
    parent_span_id: int = 0
    flags: int = 0x101
    trace_state: str = ""

    def lineage(self):
        return self.trace_id, self.span_id, self.parent_span_id, self.flags, self.trace_state


def light(count, **changes):
    """So many spans with ids of their own."""
    return [Light(span_id=0x1000 + n, **{"attributes": {"n": n}, **changes}) for n in range(count)]


# --- what Hypothesis makes ----------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
int64 = st.integers(-(2**63), 2**63 - 1)
scalars = st.one_of(texts, st.booleans(), int64, st.floats(allow_nan=False), st.binary(max_size=12))
values = st.one_of(
    scalars,
    st.lists(int64, max_size=3).map(tuple),
    st.recursive(
        scalars,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
        max_leaves=8,
    ),
)
attributes = st.dictionaries(keys, values, max_size=6)
times = st.integers(0, 2**63)
trace_states = st.lists(
    st.tuples(
        st.from_regex(r"[a-z][a-z0-9_\-*/]{0,10}", fullmatch=True),
        st.from_regex(r"[!-+\--<>-~]{1,10}", fullmatch=True),
    ),
    max_size=3,
    unique_by=lambda entry: entry[0],
).map(TraceState)
contexts = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.integers(0, 255).map(TraceFlags),
    trace_states,
)
links = st.builds(Link, contexts, attributes)
statuses = st.one_of(
    st.sampled_from([Status(), Status(StatusCode.OK)]), texts.map(lambda text: Status(StatusCode.ERROR, text))
)
counts = st.integers(0, 2**32 - 1)

sdk_spans = st.builds(
    ReadableSpan,
    name=texts,
    context=contexts,
    parent=st.none() | contexts,
    resource=st.builds(SdkResource, attributes, texts),
    attributes=attributes,
    events=st.lists(st.builds(SdkEvent, texts, attributes, times), max_size=3),
    links=st.lists(links, max_size=3),
    kind=st.sampled_from(SpanKind),
    status=statuses,
    start_time=times,
    end_time=times,
    instrumentation_scope=st.builds(SdkScope, keys, texts, texts, attributes),
)

light_spans = st.builds(
    Light,
    name=texts,
    kind=st.sampled_from(SpanKind),
    start_time=times,
    end_time=st.none() | times,
    attributes=st.none() | attributes,
    events=st.lists(st.builds(Happened, texts, times, st.none() | attributes, counts), max_size=3),
    links=st.lists(st.builds(Linked, contexts, attributes, counts), max_size=3),
    status_code=st.sampled_from(StatusCode),
    status_description=st.none() | texts,
    dropped_attributes=counts,
    dropped_events=counts,
    dropped_links=counts,
    trace_id=st.integers(1, 2**128 - 1),
    span_id=st.integers(1, 2**64 - 1),
    parent_span_id=st.integers(0, 2**64 - 1),
    flags=st.integers(0, 0x3FF),
    trace_state=trace_states.map(TraceState.to_header),
)
