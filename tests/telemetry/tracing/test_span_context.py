"""Contexts made without the API's checks are what the API makes."""

from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext, TraceFlags, TraceState

from seawall.telemetry.tracing import span_context
from seawall.telemetry.tracing.span_context import make_span_context, take_apart

STATE = TraceState([("a", "1")])


def test_the_quick_way_makes_what_the_api_makes(monkeypatch):
    # If this fails, the API's class has changed, and the slow way has to be the only one.
    assert span_context.TUPLE is SpanContext
    quick = make_span_context(1, 2, remote=True, flags=3, state=STATE)
    theirs = SpanContext(1, 2, True, TraceFlags(3), STATE)
    assert quick == theirs
    assert (type(quick), type(quick.trace_flags), repr(quick)) == (SpanContext, TraceFlags, repr(theirs))
    assert (quick.is_valid, quick.is_remote, quick.trace_state) == (True, True, STATE)
    monkeypatch.setattr(span_context, "TUPLE", None)
    assert make_span_context(1, 2, remote=True, flags=3, state=STATE) == theirs


def test_without_a_state_it_is_empty():
    assert make_span_context(1, 2, remote=False, flags=0, state=None) == SpanContext(1, 2, False)


def test_taking_apart_gives_what_the_tuple_holds():
    for context in (SpanContext(1, 2, True, TraceFlags(1), STATE), INVALID_SPAN_CONTEXT):
        assert take_apart(context) == tuple(context)
    assert not take_apart(INVALID_SPAN_CONTEXT)[5]
