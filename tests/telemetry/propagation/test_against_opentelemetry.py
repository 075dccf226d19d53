"""OpenTelemetry's own propagators as a second opinion, on random input, where they follow W3C's text.

Where they don't (opentelemetry-api 1.45), the last test says what the text asks for and what we do:

- A ``traceparent`` that comes twice: they take the first.
- Flags: they send on those that nobody knows.
- ``tracestate``: they have the keys of level 1, drop all members when one comes twice, refuse what is added
  to a full list, and send up to 8 192 characters.
- ``baggage``: they read the first field only, nothing of what is longer than the limit, take properties for
  part of the value, a plus sign for a space, and decode names.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.baggage import get_all
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.trace import TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from seawall.telemetry.propagation.propagator import Propagator
from tests.telemetry.propagation.contexts import PARENT, context_with, remote

OURS = Propagator()
TRACES = TraceContextTextMapPropagator()
BAGGAGE = W3CBaggagePropagator()

HEX = st.text("0123456789abcdefF-.", max_size=36)
PARENTS = st.one_of(
    st.text(max_size=60).filter(lambda text: "\n" not in text),
    st.builds(
        "{}{}-{}-{}-{}{}".format,
        st.sampled_from(["", " ", "\t "]),
        st.sampled_from(["00", "01", "cc", "ff", "0", "0G"]),
        st.one_of(st.just(PARENT[3:35]), st.just("0" * 32), HEX),
        st.one_of(st.just(PARENT[36:52]), st.just("0" * 16), HEX),
        st.sampled_from(["00", "01", "02", "03", "ff", "0", "001"]),
        st.sampled_from(["", " ", "-", "-x", ".", "-\u00e9"]),
    ),
)
KEYS = st.builds(
    "{}{}{}".format,
    st.sampled_from("az"),
    st.text("abz09_-*/", max_size=8),
    st.sampled_from(["", "", "@v", "@sys-1"]),
)
VALUES = st.builds("{}{}".format, st.text(" !+-<>~azAZ09;:'\"", max_size=8), st.sampled_from("!~a9"))
MEMBERS = st.lists(st.tuples(KEYS, VALUES), max_size=18, unique_by=lambda member: member[0])
NAMES = st.text("abzAZ09-_.", min_size=1, max_size=6)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=10).filter(
    lambda text: text == text.strip()
)


@given(PARENTS)
def test_the_same_parent_is_read(parent: str) -> None:
    ours, theirs = (
        remote(OURS.extract({"traceparent": parent})),
        remote(TRACES.extract({"traceparent": parent})),
    )
    assert ours[:3] == theirs[:3]
    assert ours.trace_flags == theirs.trace_flags & 3
    assert ours.is_valid == theirs.is_valid


@given(MEMBERS, st.sampled_from([",", " , ", ",,", "\t,"]))
def test_the_same_members_are_read(members: list[tuple[str, str]], comma: str) -> None:
    carrier = {"traceparent": PARENT, "tracestate": comma.join(f"{key}={value}" for key, value in members)}
    ours, theirs = remote(OURS.extract(carrier)), remote(TRACES.extract(carrier))
    assert list(ours.trace_state.items()) == list(theirs.trace_state.items()) == members


@given(
    st.integers(0, 2**128 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 3),
    MEMBERS,
    st.dictionaries(NAMES, st.text("abc09-_.", max_size=8), max_size=6),
)
def test_the_same_fields_are_written(
    trace_id: int, span_id: int, flags: int, members: list[tuple[str, str]], baggage: dict[str, object]
) -> None:
    context = context_with(
        trace_id=trace_id, span_id=span_id, flags=flags, state=TraceState(members), baggage=baggage
    )
    ours: dict[str, str] = {}
    theirs: dict[str, str] = {}
    OURS.inject(ours, context)
    if trace_id and span_id:  # they write ids of zero, if the other one is not
        TRACES.inject(theirs, context)
    BAGGAGE.inject(theirs, context)
    assert ours == theirs


PIECES = st.sampled_from([*"abz019!#$&'()*-./:<=>?@[]^_`{|}~", "%20", "%25", "%2B", "%C3%A9", "%zz", "%"])


@given(st.lists(st.tuples(NAMES, st.lists(PIECES, max_size=8).map("".join)), max_size=6))
def test_the_same_baggage_is_read(members: list[tuple[str, str]]) -> None:
    # They strip a decoded value of its spaces, so there are none at its ends.
    carrier = {"baggage": ", ".join(f"{name}=x{value}x" for name, value in members)}
    assert get_all(OURS.extract(carrier, Context())) == get_all(BAGGAGE.extract(carrier, Context()))


@given(st.dictionaries(NAMES, TEXTS, max_size=6))
def test_they_read_whatever_we_write(baggage: dict[str, object]) -> None:
    carrier: dict[str, str] = {}
    OURS.inject(carrier, context_with(baggage=baggage))
    assert get_all(BAGGAGE.extract(carrier, Context())) == baggage


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"traceparent": [PARENT, PARENT]}, {}),
        ({"traceparent": PARENT[:-2] + "ff"}, {"traceparent": PARENT[:-2] + "03"}),
        ({"traceparent": PARENT + "\n"}, {}),
        (
            {"traceparent": PARENT, "tracestate": "1a=1,b@@c=2,b@=3,1a=4"},
            {"traceparent": PARENT, "tracestate": "1a=1,b@@c=2,b@=3"},
        ),
        (
            {"traceparent": PARENT, "tracestate": f"a={'x' * 200},b={'y' * 200},c={'z' * 200}"},
            {"traceparent": PARENT, "tracestate": f"a={'x' * 200},b={'y' * 200}"},
        ),
        ({"baggage": ["a=1", "b=2"]}, {"baggage": "a=1,b=2"}),
        ({"baggage": "a=1;p;q=2,b=x+y,%41=3"}, {"baggage": "a=1;p;q=2,b=x%2By,%41=3"}),
        ({"baggage": f"a=1,b={'x' * 9000}"}, {"baggage": "a=1"}),
    ],
)
def test_what_the_specification_says_where_they_say_otherwise(
    fields: dict[str, object], sent: dict[str, str]
) -> None:
    carrier: dict[str, str] = {}
    OURS.inject(carrier, OURS.extract(fields))
    assert carrier == sent
