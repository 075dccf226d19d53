"""Spans to encode: light ones with all that the encoder reads, and what Hypothesis makes of both kinds."""

from dataclasses import dataclass, field
from typing import Any

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
CONTEXT = SpanContext(0x0102030405060708090A0B0C0D0E0F10, 0x1112131415161718, False, TraceFlags(3))


@dataclass(slots=True)
class Light:
    """A span of the tracer's kind: plain attributes, events as tuples."""

    name: Any = "GET /orders"
    context: Any = CONTEXT
    parent: Any = None
    kind: Any = SpanKind.SERVER
    start_time: Any = TIME_NS
    end_time: Any = TIME_NS + 1_000_000
    attributes: Any = field(default_factory=dict)
    events: Any = ()
    links: Any = ()
    status: Any = StatusCode.UNSET
    status_description: Any = None
    resource: Any = RESOURCE
    instrumentation_scope: Any = SCOPE
    dropped_attributes: int = 0
    dropped_events: int = 0
    dropped_links: int = 0


class Told(Light):
    """A span that tells its lineage, and makes contexts only for who asks: nobody here."""

    def __init__(self):
        super().__init__(context=None, parent=None)

    def lineage(self):
        return 10, 11, 1, None, 12, True


def light(count, **changes):
    """So many spans with ids of their own."""
    return [
        Light(
            context=SpanContext(0xABC, 0x1000 + number, False, TraceFlags(1)),
            **{"attributes": {"n": number}, **changes},
        )
        for number in range(count)
    ]


# --- what Hypothesis makes ----------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
int64 = st.integers(-(2**63), 2**63 - 1)
scalars = st.one_of(texts, st.booleans(), int64, st.floats(allow_nan=False), st.binary(max_size=12))
values = st.one_of(
    scalars,
    st.lists(st.booleans(), max_size=3),
    st.lists(texts, max_size=3),
    st.lists(int64, max_size=3),
    st.lists(st.floats(allow_nan=False), max_size=3).map(tuple),
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
resources = st.builds(SdkResource, attributes, texts)
scopes = st.builds(SdkScope, keys, texts, texts, attributes)

sdk_spans = st.builds(
    ReadableSpan,
    name=texts,
    context=contexts,
    parent=st.none() | contexts,
    resource=resources,
    attributes=attributes,
    events=st.lists(st.builds(SdkEvent, texts, attributes, times), max_size=3),
    links=st.lists(links, max_size=3),
    kind=st.sampled_from(SpanKind),
    status=statuses,
    start_time=times,
    end_time=times,
    instrumentation_scope=scopes,
)

light_spans = st.builds(
    Light,
    name=texts,
    context=contexts,
    parent=st.none() | contexts,
    kind=st.sampled_from(SpanKind),
    start_time=st.none() | times,
    end_time=st.none() | times,
    attributes=st.none() | attributes,
    events=st.none() | st.lists(st.tuples(texts, times, st.none() | attributes), max_size=3),
    links=st.none() | st.lists(links, max_size=3),
    status=st.sampled_from(StatusCode),
    status_description=st.none() | texts,
    dropped_attributes=counts,
    dropped_events=counts,
    dropped_links=counts,
)
