"""The current span lives where all OpenTelemetry code looks for it."""

import contextvars

from opentelemetry import context as otel_context
from opentelemetry import trace as api

from seawall.telemetry.tracing.current import SPAN_KEY, enter, get_current, leave


def test_what_is_entered_is_what_the_api_finds():
    span = api.NonRecordingSpan(api.SpanContext(1, 2, False))
    before = get_current()
    token = enter(span)
    assert api.get_current_span() is span
    assert otel_context.get_value(SPAN_KEY) is span
    assert otel_context.get_current() is get_current()
    assert leave(token)
    assert get_current() is before


def test_the_context_before_is_not_changed():
    before = dict(get_current())
    token = enter(api.INVALID_SPAN)
    leave(token)
    assert dict(get_current()) == before


def test_leaving_twice_or_elsewhere_says_so():
    token = contextvars.copy_context().run(enter, api.INVALID_SPAN)
    assert not leave(token)
    token = enter(api.INVALID_SPAN)
    assert leave(token)
    assert not leave(token)
