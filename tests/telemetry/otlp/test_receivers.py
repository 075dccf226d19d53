"""From a lane to a collector and back: everything real but the collector's storage."""

import asyncio

import pytest
from opentelemetry.test._otlp_test_server import OtlpProtoTestServer
from opentelemetry.trace import Link, SpanContext, StatusCode, TraceFlags

from seawall.telemetry.otlp import JsonForm, OtlpSettings, exporter_to, from_environment
from seawall.telemetry.otlp.exporter import Exporter
from tests.telemetry.otlp.collectors import (
    Collector,
    Lane,
    hang,
    on_virtual_time,
    partial,
    raw,
    refused_port,
    reply,
)
from tests.telemetry.otlp.exporting import balanced
from tests.telemetry.otlp.samples import RESOURCE, TIME_NS, Light, light


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_the_test_server_of_opentelemetry_reads_parents_events_and_status(compression):
    parent = SpanContext(0xAAAA, 0xBBBB, True, TraceFlags(1))
    own = SpanContext(0xAAAA, 0xCCCC, False, TraceFlags(1))
    span = Light(
        name="charge",
        context=own,
        parent=parent,
        attributes={"card.kind": "debit", "retries": 2},
        events=[("exception", TIME_NS + 5, {"exception.type": "TimeoutError"})],
        links=[Link(SpanContext(1, 2, False), {"why": "batch"})],
        status=StatusCode.ERROR,
        status_description="timed out",
    )

    async def main(url):
        exporter = exporter_to(
            OtlpSettings(endpoint=url, compression=compression), Lane([span, *light(2_048)])
        )
        exporter.start()
        return await exporter.stop(10.0)

    with OtlpProtoTestServer() as server:
        last = asyncio.run(main(server.traces_endpoint))
        received = server.drain_spans()
    assert (last.exported, sum(last.dropped.values()), sum(last.failed.values())) == (2_049, 0, 0)
    assert len(received) == 2_049
    (found,) = [each for each in received if each.span.name == "charge"]
    assert found.span.trace_id.hex() == f"{0xAAAA:032x}"
    assert (found.span.span_id.hex(), found.span.parent_span_id.hex()) == (f"{0xCCCC:016x}", f"{0xBBBB:016x}")
    assert found.span.events[0].attributes[0].value.string_value == "TimeoutError"
    assert (found.span.status.code, found.span.status.message) == (2, "timed out")
    assert found.span.links[0].attributes[0].value.string_value == "batch"
    assert found.resource.attributes[0].value.string_value == RESOURCE.attributes["service.name"]
    assert (found.scope.name, found.scope.version) == ("library", "1.2")


def test_configured_by_the_environment():
    async def main():
        async with Collector() as collector:
            base = collector.url.removesuffix("/v1/traces")
            environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": base, "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=7"}
            settings, problems = from_environment(environ)
            exporter = exporter_to(settings, Lane(light(5)), resource=RESOURCE)
            exporter.start()
            await exporter.stop()
            (received,) = collector.requests
            assert (problems, received.headers["x-tenant"], len(received.names)) == ((), "7", 5)

    asyncio.run(main())


@pytest.mark.parametrize("tls", [False, True])
def test_on_uvloop(certificates, tls):
    uvloop = pytest.importorskip("uvloop")

    async def main():
        async with Collector(tls=certificates.server() if tls else None) as collector:
            settings = OtlpSettings(endpoint=collector.url, certificate=certificates.ca_pem)
            exporter = exporter_to(settings, Lane(light(5_000)))
            exporter.start()
            last = await exporter.stop(10.0)
            assert (last.exported, last.failed["tls"], len(collector.names)) == (5_000, 0, 5_000)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_as_json():
    async def main():
        async with Collector() as collector:
            exporter = exporter_to(OtlpSettings(endpoint=collector.url, protocol="http/json"), Lane(light(5)))
            assert isinstance(exporter._encoder._form, JsonForm)
            exporter.start()
            assert (await exporter.stop()).exported == 5
            assert collector.requests[0].body.startswith(b'{"resourceSpans":[')

    asyncio.run(main())


# --- collectors that misbehave: the spans arrive all the same, and the application never notices -----------

GARBAGE = raw(b"\x00\x01\x02 nothing of the kind\r\n\r\n")
CUT = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhalf of it")


POLL_S = 50.0
"""Each jump of virtual time gives the sockets real time; a flush wakes the exporter anyway."""


def surviving(*answers, spans=30):
    """Export to a collector that begins with ``answers``; statistics, collector, virtual seconds."""

    async def main():
        async with Collector(*answers) as collector:
            settings = OtlpSettings(endpoint=collector.url, compression="none", in_flight=1, poll_s=POLL_S)
            exporter: Exporter = exporter_to(settings, Lane(light(spans)), rng=lambda: 1.0)
            exporter.start()
            settled = await exporter.flush(200.0)
            seconds = asyncio.get_running_loop().time()
            balanced(exporter)
            return await exporter.stop(), collector, settled, seconds

    return on_virtual_time(main())


@pytest.mark.parametrize(
    ("answers", "reasons", "waited"),
    [
        ([hang], {"timeout": 1}, (11.0, 12.0)),
        ([GARBAGE], {"garbled": 1}, (1.0, 2.0)),
        ([CUT], {"connection": 1}, (1.0, 2.0)),
        ([reply(429, "Retry-After: 7\r\n")], {"throttled": 1}, (8.0, 9.0)),
        ([reply(503)], {"unavailable": 1}, (1.0, 2.0)),
        (
            [reply(502), hang, CUT, GARBAGE],
            {"unavailable": 1, "timeout": 1, "connection": 1, "garbled": 1},
            (25.0, 27.0),
        ),
    ],
    ids=["hangs", "garbage", "cut", "429", "503", "all of it"],
)
def test_a_fault_costs_time_and_no_span(answers, reasons, waited):
    last, collector, settled, seconds = surviving(*answers)
    assert settled
    assert (last.exported, sum(last.dropped.values())) == (30, 0)
    assert {reason: count for reason, count in last.failed.items() if count} == reasons
    assert waited[0] <= round(seconds, 3) <= waited[1]
    # The fault bites: the collector saw the request once per attempt.
    assert len(collector.requests) == len(answers) + 1
    assert len({request.raw for request in collector.requests}) == 1


@pytest.mark.parametrize(("answer", "reason"), [(reply(400), "refused"), (partial(30), "rejected")])
def test_what_a_collector_doesnt_want_is_dropped_at_once(answer, reason):
    last, collector, settled, seconds = surviving(answer)
    assert (settled, last.exported, last.dropped[reason], len(collector.requests)) == (True, 0, 30, 1)
    assert seconds < 1.0


def test_a_collector_that_is_away_for_good():
    async def main():
        url = f"http://127.0.0.1:{await refused_port()}/v1/traces"
        exporter = exporter_to(
            OtlpSettings(endpoint=url, compression="none", retry_elapsed_s=30.0, poll_s=POLL_S),
            Lane(light(30)),
        )
        exporter.start()
        assert await exporter.flush(100.0)
        return await exporter.stop()

    last = on_virtual_time(main())
    assert (last.exported, last.dropped["expired"]) == (0, 30)
    assert last.failed["connection"] > 3
    assert "connection" in last.last_failure


def test_a_stop_doesnt_wait_for_a_collector_that_hangs():
    async def main():
        async with Collector(*[hang] * 9) as collector:
            settings = OtlpSettings(endpoint=collector.url, compression="none", poll_s=POLL_S)
            exporter = exporter_to(settings, Lane(light(30)))
            exporter.start()
            last = await exporter.stop(2.0)
            return last, asyncio.get_running_loop().time()

    last, seconds = on_virtual_time(main())
    assert last.dropped["shutdown"] == 30
    assert 2.0 <= seconds < 2.5
