"""OpenTelemetry's instrumentations over our provider, propagator and exporter, between real servers.

A customer and a shop (``instrumented``) are two processes; what they export is read where a collector would
be. The same goes through the SDK's provider, and the traces have to be alike.
"""

import contextlib
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from seawall.telemetry.propagation import context_of_sql
from tests.telemetry.otlp.collectors import Collector
from tests.telemetry.otlp.grpc_collector import serving
from tests.telemetry.otlp.reading import pairs

pytestmark = pytest.mark.timeout(60)

ROOT = Path(__file__).parents[2]
GIVE_UP_S = 30.0
CALLER = "00f067aa0ba902b7"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CAME = {"traceparent": f"00-{TRACE_ID}-{CALLER}-01", "tracestate": "vendor=1"}
DRAWN = re.compile(r"(?<=127\.0\.0\.1:)\d+")
"""Ports, which are others each time."""
PORTS = frozenset({"net.peer.port", "net.host.port"})

INTERNAL, SERVER, CLIENT = SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CLIENT
UNSET, ERROR = StatusCode.UNSET, StatusCode.ERROR
DIVISION = ("exception", "psycopg.errors.DivisionByZero", "division by zero")

ORDER = ("checkout", "GET", "GET /orders/{number}")
STOCK = (*ORDER, "GET", "GET /stock/{number}")
BROKEN = ("checkout", "GET", "GET /broken")
EXPECTED = sorted(
    [
        ("customer", ("checkout",), INTERNAL, UNSET, ()),
        ("customer", ("checkout", "GET"), CLIENT, UNSET, ()),
        ("shop", ORDER, SERVER, UNSET, ()),
        ("shop", (*ORDER, "price"), INTERNAL, UNSET, (("priced", None, None),)),
        ("shop", (*ORDER, "SELECT"), CLIENT, UNSET, ()),
        ("shop", (*ORDER, "GET"), CLIENT, UNSET, ()),
        ("shop", STOCK, SERVER, UNSET, ()),
        ("shop", (*STOCK, "SELECT"), CLIENT, UNSET, ()),
        ("shop", (*ORDER, "GET /orders/{number} http send"), INTERNAL, UNSET, ()),
        ("shop", (*ORDER, "GET /orders/{number} http send"), INTERNAL, UNSET, ()),
        ("customer", ("checkout", "GET"), CLIENT, ERROR, ()),
        ("shop", BROKEN, SERVER, ERROR, (DIVISION,)),
        ("shop", (*BROKEN, "SELECT"), CLIENT, ERROR, (DIVISION,)),
        ("shop", (*BROKEN, "GET /broken http send"), INTERNAL, ERROR, ()),
        ("shop", (*BROKEN, "GET /broken http send"), INTERNAL, UNSET, ()),
    ],
    key=repr,
)
"""Process, names from the root down, kind, status, events."""


@dataclass(frozen=True)
class Story:
    """What the two processes said, and the spans that arrived."""

    customer: list[dict]
    shop: list[dict]
    spans: list[tuple[str, object]]

    def path(self, span):
        """Its names from the root down."""
        by_id = {each.span_id: each for _, each in self.spans}
        above = by_id.get(span.parent_span_id)
        return (*(self.path(above) if above else ()), span.name)

    def one(self, *path):
        """The only span that is there."""
        (found,) = [span for _, span in self.spans if self.path(span) == path]
        return found

    @property
    def order(self):
        """What the customer was given."""
        return self.customer[0]["order"]

    def shape(self):
        """What has to be the same each time."""
        found = []
        for process, span in self.spans:
            events = tuple(map(event, span.events))
            code = StatusCode(span.status.code)
            found.append((process, self.path(span), SpanKind(span.kind - 1), code, events))
        return sorted(found, key=repr)

    def details(self):
        """What has to be the same with both providers."""
        return sorted(
            (
                *self.path(span),
                span.status.message,
                span.flags,
                span.trace_state,
                *(f"{key}={DRAWN.sub('', str(value))}" for key, value in sorted(said(span).items())),
            )
            for _, span in self.spans
        )


def event(found):
    """Its name, and which exception it is."""
    known = pairs(found.attributes)
    return found.name, known.get("exception.type"), known.get("exception.message")


def said(span):
    """Its attributes, without those that are ports."""
    return {key: value for key, value in pairs(span.attributes).items() if key not in PORTS}


@contextlib.contextmanager
def role(name, told):
    """One of the two processes; its answers are read as lines."""
    command = [sys.executable, "-m", "tests.integration.instrumented", name, json.dumps(told)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def rest(process):
    """What it says until its end, after the end of its input."""
    printed, _ = process.communicate(timeout=GIVE_UP_S)
    assert process.returncode == 0
    return [json.loads(line) for line in printed.splitlines()]


def told_by(told):
    """Run both, the shop for as long as the customer."""
    with role("shop", told) as shop:
        url = json.loads(shop.stdout.readline())["url"]
        with role("customer", {**told, "shop": url}) as customer:
            customers = rest(customer)
        return customers, rest(shop)


def spans_of(messages):
    """All spans, each with the process that it came from."""
    return [
        (pairs(resource.resource.attributes)["service.name"], span)
        for message in messages
        for resource in message.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def story(server, provider, protocol):
    told = {"provider": provider, "protocol": protocol, "dsn": server.dsn(), **CAME}
    if protocol == "grpc":
        with serving() as service:
            said = told_by({**told, "collector": f"http://127.0.0.1:{service.port}"})
            return Story(*said, spans_of(service.requests))
    with Collector() as collector:
        said = told_by({**told, "collector": collector.url})
        messages = [ExportTraceServiceRequest.FromString(each.body) for each in collector.requests]
        return Story(*said, spans_of(messages))


@pytest.fixture(scope="module")
def stories(server):
    """Each story is told once."""
    known = {}

    def tell(provider, protocol):
        if (provider, protocol) not in known:
            known[provider, protocol] = story(server, provider, protocol)
        return known[provider, protocol]

    return tell


ways = pytest.mark.parametrize(
    ("provider", "protocol"), [("light", "http/protobuf"), ("light", "grpc"), ("sdk", "http/protobuf")]
)


@ways
def test_it_is_one_trace_with_the_right_parents_kinds_and_endings(stories, provider, protocol):
    told = stories(provider, protocol)
    assert {span.trace_id.hex() for _, span in told.spans} == {TRACE_ID}
    assert told.one("checkout").parent_span_id.hex() == CALLER
    assert {span.trace_state for _, span in told.spans} == {"vendor=1"}
    assert told.shape() == EXPECTED
    for process in (told.customer, told.shop):
        assert (process[-1]["dropped"], process[-1]["pending"], process[-1]["faults"]) == (0, 0, 0)
    assert told.customer[-1]["exported"] + told.shop[-1]["exported"] == len(EXPECTED)


@ways
def test_statements_carry_the_span_that_stands_for_them(stories, provider, protocol):
    told = stories(provider, protocol)
    for path, statement in (ORDER, told.order["statement"]), (STOCK, told.order["stock"]["statement"]):
        carried = get_current_span(context_of_sql(statement)).get_span_context()
        query = told.one(*path, "SELECT")
        assert (carried.trace_id, carried.span_id) == (
            int.from_bytes(query.trace_id),
            int.from_bytes(query.span_id),
        )
        assert carried.trace_state.to_header() == "vendor=1"
        assert carried.trace_flags.sampled


@ways
def test_a_failure_is_told_where_it_happened_and_all_the_way_up(stories, provider, protocol):
    told = stories(provider, protocol)
    assert told.customer[0]["broken"] == 500
    page, query = told.one(*BROKEN), told.one(*BROKEN, "SELECT")
    assert said(page)["http.status_code"] == 500
    assert query.status.message == "DivisionByZero: division by zero"
    for span in page, query:
        (failure,) = span.events
        assert span.start_time_unix_nano <= failure.time_unix_nano <= span.end_time_unix_nano
        assert "division by zero" in pairs(failure.attributes)["exception.stacktrace"]
    (failure,) = page.events
    assert 'connection.execute("SELECT 1 / 0")' in pairs(failure.attributes)["exception.stacktrace"]


@ways
def test_baggage_goes_through_all_processes(stories, provider, protocol):
    order = stories(provider, protocol).order
    assert order["baggage"] == {"tenant": "blue & green"}
    assert order["stock"]["baggage"] == "tenant=blue%20&%20green"


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_both_providers_say_the_same(stories, protocol):
    assert stories("light", protocol).details() == stories("sdk", "http/protobuf").details()
