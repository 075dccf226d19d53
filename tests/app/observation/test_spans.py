"""Spans of queries, made by real providers."""

import time
from math import inf

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from seawall.app.observation.spans import Spans
from seawall.kernel.proxy_signals import FailoverEnded
from seawall.proxy.settings import Backend
from seawall.telemetry.tracing import TracingSettings, make_provider
from seawall.telemetry.tracing.settings import Sampling
from tests.app.observation.told import PARENT_ID, TRACE_ID, record, traceparent
from tests.telemetry.otlp.reading import decoded, spans_in

NS = 1_000_000_000
SLACK_NS = 5 * NS


class Made:
    """Spans and where they wait."""

    def __init__(self, provider="light", **changes):
        told = TracingSettings(
            provider=provider, resource={"service.name": "proxy"}, sampling=Sampling(ratio=1.0)
        )
        self.provider, self.lane = make_provider(told)
        backends = {"one": Backend(name="one", host="db1", port=5433)}
        self.spans = Spans(self.provider, backends, **{"slow_s": 1.0, "errors": True, **changes})

    def of(self, told):
        """The spans made of a record."""
        self.spans.add(told)
        return list(self.lane.take(10))


@pytest.fixture(params=["light", "sdk"])
def made(request):
    return Made(request.param)


def test_a_query_of_a_sampled_trace_is_a_child_of_its_comments_span(made):
    (span,) = made.of(record(traceparent=traceparent(), tracestate="vendor=1"))
    assert f"{span.context.trace_id:032x}" == TRACE_ID
    assert f"{span.parent.span_id:016x}" == PARENT_ID
    assert span.parent.is_remote
    assert span.context.trace_state.get("vendor") == "1"
    assert (span.name, span.kind) == ("SELECT orders", SpanKind.CLIENT)
    assert span.status.status_code is StatusCode.UNSET
    assert (made.spans.made, made.spans.unsampled) == (1, 0)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, False),
        ({"took_s": 1.0}, True),
        ({"took_s": 0.999}, False),
        ({"sqlstate": "23505"}, True),
        ({"waited_s": 9.0, "lead_s": 9.0}, False),
    ],
)
@pytest.mark.parametrize("unsampled", [True, False], ids=["unsampled", "no trace"])
def test_what_is_in_no_sampled_trace_has_a_span_if_it_is_slow_or_fails(made, told, expected, unsampled):
    context = traceparent(sampled=False) if unsampled else ""
    found = made.of(record(traceparent=context, **told))
    assert len(found) == made.spans.made == expected
    assert made.spans.unsampled == (not expected)
    for span in found:
        assert (span.parent is not None) is unsampled
        assert (f"{span.context.trace_id:032x}" == TRACE_ID) is unsampled


def test_slow_and_failed_queries_have_none_where_that_is_not_wanted():
    made = Made(slow_s=inf, errors=False)
    assert made.of(record(took_s=1e6, sqlstate="57014")) == []
    (span,) = made.of(record(sqlstate="57014", traceparent=traceparent()))
    assert span.status.status_code is StatusCode.ERROR


@pytest.mark.parametrize(
    "context", ["garbage", "00-0-0-01", traceparent(trace="0" * 32), traceparent() + "x"]
)
def test_a_context_that_is_none_is_as_none(made, context):
    assert made.of(record(traceparent=context)) == []
    (span,) = made.of(record(traceparent=context, took_s=2.0))
    assert span.parent is None


def test_a_span_begins_when_its_wait_began(made):
    now, wall = time.monotonic(), time.time_ns()
    told = record(ended_at=now - 10, took_s=2.0, waited_s=3.0, fitted_s=0.5, lead_s=3.5, idle_s=0.125)
    (span,) = made.of(told)
    assert span.end_time - span.start_time == pytest.approx(5.5 * NS, abs=1000)
    assert abs(span.end_time - (wall - 10 * NS)) < SLACK_NS
    assert span.attributes["seawall.queue_s"] == 3.0
    assert span.attributes["seawall.checkout_s"] == 0.5
    assert span.attributes["seawall.server_s"] == 2.0
    assert span.attributes["seawall.client_s"] == 0.125


def test_a_wait_before_an_earlier_query_is_told_and_no_part_of_the_span(made):
    (span,) = made.of(record(took_s=2.0, waited_s=3.0))
    assert span.end_time - span.start_time == pytest.approx(2.0 * NS, abs=1000)
    assert span.attributes["seawall.queue_s"] == 3.0


def test_attributes_are_those_of_the_conventions(made):
    (span,) = made.of(record(sqlstate="23505"))
    assert dict(span.attributes) == {
        "db.system.name": "postgresql",
        "db.namespace": "shop",
        "db.operation.name": "SELECT",
        "db.collection.name": "orders",
        "db.response.status_code": "23505",
        "error.type": "23505",
        "server.address": "db1",
        "server.port": 5433,
        "seawall.backend": "one",
        "seawall.worker": 1,
        "seawall.queue_s": 0.0,
        "seawall.checkout_s": 0.0,
        "seawall.server_s": 0.25,
    }
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "23505")


def test_of_an_unknown_server_and_no_table_nothing_is_made_up(made):
    (span,) = made.of(record(backend="gone", command="OTHER", table="", took_s=2.0))
    assert span.name == "OTHER"
    assert not {"server.address", "server.port", "db.collection.name"} & set(span.attributes)


def test_names_in_any_encoding_can_be_sent(made):
    found = made.of(record(database="caf\udce9", took_s=2.0))
    (sent,) = spans_in(decoded(*found))
    assert sent.name == "SELECT orders"


def test_a_failover_is_a_span_from_the_first_sign_on(made):
    now = time.monotonic()
    made.spans.failover(
        FailoverEnded(
            at=now,
            name="cluster",
            kind="unplanned",
            outcome="done",
            old_primary="one",
            new_primary="two",
            took_s=1.5,
            held_s=1.0,
            replays=2,
            reason="one is down: secret",
        )
    )
    (span,) = made.lane.take(10)
    assert (span.name, span.kind, span.parent) == ("failover unplanned", SpanKind.INTERNAL, None)
    assert span.end_time - span.start_time == pytest.approx(1.5 * NS, abs=1000)
    assert span.attributes["seawall.failover.new_primary"] == "two"
    assert span.attributes["seawall.failover.replays"] == 2
    assert "secret" not in repr(span.attributes)
