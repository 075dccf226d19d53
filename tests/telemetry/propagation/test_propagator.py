"""The propagator: what goes out comes in again, and nothing that others do wrong gets out of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.baggage import get_all, get_baggage, set_baggage
from opentelemetry.context import Context, attach, detach
from opentelemetry.propagators.textmap import DefaultSetter, Getter, Setter, TextMapPropagator
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, set_span_in_context

from seawall.telemetry.propagation import propagator as module
from seawall.telemetry.propagation.baggage import BaggageValue
from seawall.telemetry.propagation.propagator import PropagationStatistics, Propagator
from seawall.telemetry.propagation.state import CarriedState
from seawall.telemetry.tracing import span_context
from seawall.wire.tracecontext.baggage import Property
from tests.telemetry.propagation.contexts import PARENT, SPAN_ID, TRACE_ID, context_with, remote

NONE = PropagationStatistics(rejected=0, baggage_dropped=0, failures=0)


def injected(context: Context, propagator: Propagator | None = None) -> dict[str, str]:
    carrier: dict[str, str] = {}
    (propagator or Propagator()).inject(carrier, context)
    return carrier


def test_is_a_propagator_of_opentelemetry() -> None:
    propagator = Propagator()
    assert isinstance(propagator, TextMapPropagator)
    assert propagator.fields == {"traceparent", "tracestate", "baggage"}


def test_writes_the_span_of_a_context() -> None:
    assert injected(context_with()) == {"traceparent": PARENT}
    assert injected(context_with(trace_id=1, span_id=2, flags=0)) == {
        "traceparent": f"00-{'0' * 31}1-{'0' * 15}2-00"
    }


@pytest.mark.parametrize(
    ("flags", "sent"), [(0, "00"), (1, "01"), (2, "02"), (3, "03"), (0xFF, "03"), (0xFC, "00")]
)
def test_sends_the_flags_that_this_version_knows(flags: int, sent: str) -> None:
    assert injected(context_with(flags=flags))["traceparent"][-2:] == sent


def test_takes_the_current_context() -> None:
    token = attach(context_with(baggage={"a": "1"}))
    try:
        carrier: dict[str, str] = {}
        Propagator().inject(carrier)
        assert carrier == {"traceparent": PARENT, "baggage": "a=1"}
    finally:
        detach(token)


@pytest.mark.parametrize(
    "context",
    [
        Context(),
        context_with(trace_id=0),
        context_with(span_id=0),
        set_span_in_context(trace.INVALID_SPAN, Context()),
    ],
)
def test_writes_nothing_without_a_valid_span(context: Context) -> None:
    propagator = Propagator()
    assert injected(context, propagator) == {}
    assert propagator.statistics() == NONE


def test_writes_state_of_ours_and_of_the_api() -> None:
    assert injected(context_with(state=TraceState([("a", "1")])))["tracestate"] == "a=1"
    assert injected(context_with(state=CarriedState(("b=2", "c=3"))))["tracestate"] == "b=2,c=3"
    assert "tracestate" not in injected(context_with(state=CarriedState(("faulty",))))
    assert "tracestate" not in injected(context_with(state=TraceState()))


def test_writes_no_more_state_than_everybody_passes_on() -> None:
    long = [(f"k{at}", "v" * 60) for at in range(12)]
    text = injected(context_with(state=TraceState(long)))["tracestate"]
    assert len(text) <= 512
    assert text == ",".join(f"{key}={value}" for key, value in long[:8])


def test_writes_baggage() -> None:
    propagator = Propagator()
    baggage = {"user": "Am\u00e9lie", "n": 1, "p": BaggageValue("v", [Property("x"), Property("y", "1 2")])}
    assert (
        injected(context_with(baggage=baggage), propagator)["baggage"] == "user=Am%C3%A9lie,n=1,p=v;x;y=1%202"
    )
    assert injected(set_baggage("no token", "1", context_with()), propagator) == {"traceparent": PARENT}
    assert propagator.statistics() == PropagationStatistics(0, 1, 0)


def test_baggage_goes_without_a_span_too() -> None:
    assert injected(set_baggage("a", "1", Context())) == {"baggage": "a=1"}


def test_reads_what_it_has_written() -> None:
    baggage: dict[str, object] = {"a": "1", "b": BaggageValue("2", [Property("p", "3")])}
    sent = injected(context_with(flags=3, state=TraceState([("a", "1")]), baggage=baggage))
    context = Propagator().extract(sent)
    read = remote(context)
    assert (read.trace_id, read.span_id, read.trace_flags, read.is_remote, read.is_valid) == (
        TRACE_ID,
        SPAN_ID,
        3,
        True,
        True,
    )
    assert type(read.trace_flags) is TraceFlags
    assert read.trace_state == {"a": "1"}
    assert get_all(context) == {"a": "1", "b": "2"}
    assert get_baggage("b", context).properties == (Property("p", "3"),)
    assert injected(context) == sent


@pytest.mark.parametrize(
    "carrier", [{}, {"traceparent": ""}, {"traceparent": []}, {"traceparent": None}, {"tracestate": "a=1"}]
)
def test_reads_nothing_from_nothing(carrier: dict[str, object]) -> None:
    propagator = Propagator()
    given = Context({"kept": 1})
    assert propagator.extract(carrier, given) is given
    assert propagator.extract(carrier) == {}
    assert propagator.statistics() == NONE


@pytest.mark.parametrize(
    "value",
    ["faulty", PARENT + "-", [PARENT, PARENT], ["x"], (PARENT, "x"), [PARENT.encode()], f"{PARENT},{PARENT}"],
)
def test_counts_what_it_cannot_read(value: object) -> None:
    propagator = Propagator()
    assert propagator.extract({"traceparent": value, "tracestate": "a=1"}) == {}
    assert propagator.statistics() == PropagationStatistics(rejected=1, baggage_dropped=0, failures=0)


def test_adds_to_the_context_it_is_given() -> None:
    given = context_with(trace_id=5, baggage={"a": "1", "b": "2"})
    other = Context({**given, "else": 1})
    context = Propagator().extract({"traceparent": PARENT, "baggage": "b=3,c=4"}, other)
    assert remote(context).trace_id == TRACE_ID
    assert get_all(context) == {"a": "1", "b": "3", "c": "4"}
    assert context["else"] == 1
    assert get_all(other) == {"a": "1", "b": "2"}
    assert remote(other).trace_id == 5


def test_several_fields_are_one_list() -> None:
    propagator = Propagator()
    carrier = {"traceparent": [PARENT], "tracestate": ["a=1", "b=2"], "baggage": ["c=3", "d=4,faulty"]}
    context = propagator.extract(carrier)
    assert list(remote(context).trace_state.items()) == [("a", "1"), ("b", "2")]
    assert get_all(context) == {"c": "3", "d": "4"}
    assert propagator.statistics().baggage_dropped == 1


def test_members_that_are_no_text_harm_nobody() -> None:
    context = Propagator().extract({"traceparent": PARENT, "tracestate": [1, None], "baggage": [2]})
    assert remote(context).trace_id == TRACE_ID
    assert dict(remote(context).trace_state) == {}


class Broken(Getter[object], Setter[object]):
    def __init__(self, *good: str) -> None:
        self.good = good

    def get(self, carrier: object, key: str) -> list[str] | None:
        if key in self.good:
            return [PARENT]
        raise RuntimeError

    def keys(self, carrier: object) -> list[str]:
        raise RuntimeError

    def set(self, carrier: object, key: str, value: str) -> None:
        raise RuntimeError


def test_what_carriers_do_wrong_stays_here() -> None:
    propagator = Propagator()
    given = Context({"kept": 1})
    assert propagator.extract(object(), given) is given
    assert propagator.extract({}, given, Broken()) is given
    propagator.inject(None, context_with())
    propagator.inject({}, context_with(), Broken())
    propagator.inject({}, Context({module.SPAN_KEY: "no span"}))
    assert propagator.statistics() == PropagationStatistics(rejected=0, baggage_dropped=0, failures=5)


def test_what_was_read_before_a_failure_stays_read() -> None:
    propagator = Propagator()
    context = propagator.extract({}, None, Broken("traceparent", "tracestate"))
    assert remote(context).trace_id == TRACE_ID
    assert propagator.statistics().failures == 1


def test_values_of_baggage_that_have_no_text_stay_here() -> None:
    class Mute:
        def __str__(self) -> str:
            raise RuntimeError

    propagator = Propagator()
    assert injected(context_with(baggage={"a": Mute()}), propagator) == {"traceparent": PARENT}
    assert propagator.statistics().failures == 1
    assert injected(Context({module.BAGGAGE_KEY: "no dict"}), propagator) == {}


def test_asks_setters_of_others() -> None:
    class Shouting(DefaultSetter):
        def set(self, carrier: dict[str, str], key: str, value: str) -> None:
            carrier[key.upper()] = value

    carrier: dict[str, str] = {}
    Propagator().inject(carrier, context_with(state=TraceState([("a", "1")]), baggage={"b": "2"}), Shouting())
    assert carrier == {"TRACEPARENT": PARENT, "TRACESTATE": "a=1", "BAGGAGE": "b=2"}


class Foreign:
    """A span context that is no tuple."""

    trace_id, span_id, is_remote, trace_flags = TRACE_ID, SPAN_ID, False, TraceFlags(1)

    def __init__(self, state: TraceState, *, is_valid: bool = True) -> None:
        self.trace_state = state
        self.is_valid = is_valid


class ForeignSpan(NonRecordingSpan):
    def __init__(self, context: object) -> None:
        self.given = context

    def get_span_context(self) -> SpanContext:
        return self.given


def test_takes_span_contexts_of_another_make() -> None:
    def sent(context: object) -> dict[str, str]:
        return injected(set_span_in_context(ForeignSpan(context), Context()))

    assert sent(Foreign(TraceState([("a", "1")]))) == {"traceparent": PARENT, "tracestate": "a=1"}
    assert sent(Foreign(TraceState())) == {"traceparent": PARENT}
    assert sent(Foreign(TraceState(), is_valid=False)) == {}

    for trace_id in (0, -1, 1 << 128):
        lying, propagator = Foreign(TraceState()), Propagator()
        lying.trace_id = trace_id
        assert injected(set_span_in_context(ForeignSpan(lying), Context()), propagator) == {}
        assert propagator.statistics().failures == 1

    class Child(SpanContext):
        pass

    assert sent(Child(TRACE_ID, SPAN_ID, is_remote=False, trace_flags=TraceFlags(1))) == {
        "traceparent": PARENT
    }


def test_works_where_the_api_s_contexts_are_no_tuples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_context, "TUPLE", None)
    sent = injected(context_with(flags=0xFF, state=TraceState([("a", "1")])))
    assert sent == {"traceparent": PARENT[:-1] + "3", "tracestate": "a=1"}
    assert injected(Propagator().extract(sent)) == sent
    assert injected(context_with(trace_id=0)) == {}


def test_says_how_it_is() -> None:
    propagator = Propagator()
    propagator.extract({"traceparent": "faulty"})
    assert repr(propagator) == ("<Propagator rejected=1 baggage_dropped=0 failures=0>")


def test_the_keys_are_those_of_the_api() -> None:
    from opentelemetry.baggage import _BAGGAGE_KEY
    from opentelemetry.trace.propagation import _SPAN_KEY

    assert (module.SPAN_KEY, module.BAGGAGE_KEY) == (_SPAN_KEY, _BAGGAGE_KEY)


ANYTHING = st.one_of(
    st.none(),
    st.text(max_size=20),
    st.integers(),
    st.binary(max_size=20),
    st.sampled_from([PARENT, "a=1", "a=1,b=2;p", "\ud800=1"]),
)


@given(
    st.dictionaries(
        st.sampled_from(["traceparent", "tracestate", "baggage"]),
        st.one_of(
            ANYTHING,
            st.lists(ANYTHING, max_size=3),
            st.dictionaries(st.text(max_size=2), ANYTHING, max_size=2),
        ),
    )
)
def test_any_carrier_gives_a_context_that_can_be_sent_on(carrier: dict[str, object]) -> None:
    propagator = Propagator()
    context = propagator.extract(carrier)
    assert set(context) <= {module.SPAN_KEY, module.BAGGAGE_KEY}
    failures = propagator.statistics().failures
    sent = injected(context, propagator)
    assert propagator.statistics().failures == failures
    assert injected(propagator.extract(sent)) == sent
    assert ("traceparent" in sent) == (module.SPAN_KEY in context)


def test_reads_texts_of_a_kind_of_their_own() -> None:
    class Text(str):
        __slots__ = ()

    context = Propagator().extract({"traceparent": Text(PARENT), "tracestate": Text("a=1")})
    assert (remote(context).trace_id, dict(remote(context).trace_state)) == (TRACE_ID, {"a": "1"})
