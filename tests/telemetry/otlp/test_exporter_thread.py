"""The exporter with a thread of its own: how it begins, ends and lives on in a child process."""

import asyncio
import atexit
import os
import subprocess
import sys
import threading

import pytest
from opentelemetry.test._otlp_test_server import OtlpProtoTestServer
from opentelemetry.trace import SpanContext, StatusCode

from seawall.telemetry.otlp import Exporter, OtlpSettings, from_environment
from seawall.telemetry.otlp import exporter as under_test
from seawall.telemetry.otlp.verdict import Answer, Verdict
from seawall.telemetry.tracing.lane import Lane as TracersLane
from tests.telemetry.otlp.collectors import GIVE_UP_S, Collector, Lane, hang, partial, raw, reply
from tests.telemetry.otlp.samples import RESOURCE, TIME_NS, Happened, Light, Linked, light

TAKEN = Verdict(answer=Answer.ACCEPTED)


class Door:
    """A transport that answers when the test opens it."""

    def __init__(self, *, is_open=True):
        self.opened = threading.Event()
        self.reached = threading.Event()
        self.closed = threading.Event()
        self.threads = []
        self.forks = 0
        if is_open:
            self.opened.set()

    def send(self, body, spans, timeout_s):
        self.threads.append(threading.current_thread())
        self.reached.set()
        self.opened.wait(GIVE_UP_S)
        return TAKEN

    def close(self):
        self.closed.set()

    def forked(self):
        self.forks += 1


@pytest.fixture
def exporting():
    """Makes exporters, and ends what they began."""
    made = []

    def make(lane, *doors):
        doors = iter(doors)
        exporter = Exporter(lane, OtlpSettings(poll_s=50.0), transport=lambda _: next(doors, Door()))
        made.append(exporter)
        return exporter

    yield make
    for exporter in made:
        exporter.stop(GIVE_UP_S)


def test_it_works_in_one_thread_from_the_start_to_the_stop(exporting):
    door = Door()
    lane = Lane(light(3))
    exporter = exporting(lane, door)
    assert not exporter.flush(GIVE_UP_S)  # not started
    assert exporter.stop().taken == 0
    exporter.start()
    exporter.start()
    assert exporter.flush(GIVE_UP_S)
    assert exporter.statistics().exported == 3
    assert "running" in repr(exporter)
    lane.spans += light(2)
    assert exporter.stop(GIVE_UP_S).exported == 5
    assert "stopped exported=5" in repr(exporter)
    (thread,) = set(door.threads)
    assert (thread.name, thread.daemon, thread.is_alive(), door.closed.is_set()) == (
        "seawall-otlp",
        True,
        False,
        True,
    )


def test_it_can_be_started_again(exporting):
    lane = Lane(light(3))
    exporter = exporting(lane)
    exporter.start()
    exporter.stop(GIVE_UP_S)
    lane.spans += light(4)
    exporter.start()
    assert exporter.flush(GIVE_UP_S)
    assert exporter.statistics().exported == 7


def test_a_flush_gives_up_in_time(exporting):
    door = Door(is_open=False)
    exporter = exporting(Lane(light(3)), door)
    exporter.start()
    assert not exporter.flush(0.01)
    door.opened.set()
    assert exporter.flush(GIVE_UP_S)


def test_a_stop_gives_a_thread_that_hangs_up_and_ends_every_flush(exporting):
    door = Door(is_open=False)
    lane = Lane(light(3))
    exporter = exporting(lane, door)
    exporter.start()
    flushed = []
    other = threading.Thread(target=lambda: flushed.append(exporter.flush(GIVE_UP_S)))
    other.start()
    assert door.reached.wait(GIVE_UP_S)
    last = exporter.stop(0.0)
    other.join(GIVE_UP_S)
    assert (last.taken, last.dropped["shutdown"], last.exported, flushed) == (3, 3, 0, [False])
    # The next start has a connection of its own, and the old thread spoils nothing.
    exporter.start()
    lane.spans += light(2)
    assert exporter.flush(GIVE_UP_S)
    door.opened.set()
    assert door.closed.wait(GIVE_UP_S)
    now = exporter.statistics()
    assert (now.taken, now.exported, now.pending) == (5, 2, 0)


def test_a_program_that_ends_without_a_stop_sends_what_is_left(exporting, monkeypatch):
    hooks = []
    monkeypatch.setattr(atexit, "register", lambda *call: hooks.append(call))
    exporter = exporting(Lane(light(3)))
    exporter.start()
    ((stop, seconds),) = hooks
    assert (stop(seconds).exported, seconds) == (3, under_test.EXIT_S)


def test_a_program_that_ends_is_not_kept_by_a_collector_that_hangs():
    program = (
        "from seawall.telemetry.otlp import *\nfrom seawall.telemetry.otlp import exporter as e\n"
        "import sys\nfrom tests.telemetry.otlp.collectors import Lane\n"
        "from tests.telemetry.otlp.samples import light\n"
        "e.EXIT_S = 0.05\nExporter(Lane(light(3)), OtlpSettings(endpoint=sys.argv[1])).start()\n"
    )
    with Collector(hang) as collector:
        done = subprocess.run(
            [sys.executable, "-c", program, collector.url],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            timeout=GIVE_UP_S,
            check=True,
        )
    assert (done.stdout, done.stderr) == (b"", b"")
    assert len(collector.requests) == 1


def test_neither_sdk_nor_protocol_buffers_nor_grpc_are_loaded():
    program = (
        "import sys, seawall.telemetry.otlp as otlp\notlp.Exporter(None)\n"
        "foreign = {'opentelemetry', 'google.protobuf', 'grpc', 'httpx', 'asyncio'}\n"
        "print(sorted(foreign & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "[]"


# --- forks --------------------------------------------------------------------------------------------------


def test_in_a_child_everything_starts_from_nothing(exporting):
    parents, childs = Door(is_open=False), Door()
    lane = Lane(light(3))
    exporter = exporting(lane, parents, childs)
    exporter.start()
    exporter._run.wake.set()
    assert not exporter.flush(0.01)
    lane.spans += light(2)
    under_test._forked()
    assert (parents.forks, lane.forgotten, lane.spans) == (1, 2, [])
    assert exporter.statistics().taken == 0
    lane.spans += light(4)
    assert exporter.flush(GIVE_UP_S)  # a thread goes on by itself, since the parent had one
    parents.opened.set()
    assert parents.closed.wait(GIVE_UP_S)
    now = exporter.statistics()
    assert (now.taken, now.exported, now.attempts) == (4, 4, 1)


def test_a_child_of_a_parent_that_had_not_started_has_not_either(exporting):
    exporter = exporting(Lane())
    exporter.forked()
    assert not exporter.flush(GIVE_UP_S)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_child_exports_its_own_spans_over_its_own_connection():
    """And its parent goes on, on the connection that it had."""
    with Collector() as collector:
        done = subprocess.run(
            [
                sys.executable,
                "-W",
                "ignore::DeprecationWarning",
                "-m",
                "tests.telemetry.otlp.forking",
                collector.url,
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            timeout=GIVE_UP_S,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert collector.names[:2] == ["parent before", "child"]
        assert sorted(collector.names[2:]) == ["parent after", "parent waiting"]
        assert collector.connections == 2


# --- from a lane to a collector and back: everything real but the collector's storage -----------------------


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_the_test_server_of_opentelemetry_reads_parents_events_and_status(compression):
    span = Light(
        name="charge",
        trace_id=0xAAAA,
        span_id=0xCCCC,
        parent_span_id=0xBBBB,
        attributes={"card.kind": "debit", "retries": 2},
        events=[Happened("exception", TIME_NS + 5, {"exception.type": "TimeoutError"})],
        links=[Linked(SpanContext(1, 2, False), {"why": "batch"})],
        status_code=StatusCode.ERROR,
        status_description="timed out",
    )
    with OtlpProtoTestServer() as server:
        exporter = Exporter(
            Lane([span, *light(2_048)]),
            OtlpSettings(endpoint=server.traces_endpoint, compression=compression),
        )
        exporter.start()
        last = exporter.stop(GIVE_UP_S)
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


def test_the_accounts_of_the_lane_and_of_the_exporter_meet():
    lane = TracersLane(100, reserve=0.1)
    for span in [*light(150), None]:
        lane.offer([span], urgent=span is None)
    with Collector(partial(3)) as collector:
        exporter = Exporter(lane, OtlpSettings(endpoint=collector.url))
        exporter.start()
        assert exporter.flush(GIVE_UP_S)
        lane.offer(light(2))
        before, now = lane.statistics(), exporter.statistics()
        assert before.offered == before.accepted + sum(before.dropped.values()) == 153
        assert before.accepted == before.taken + before.waiting + before.forgotten
        assert before.taken == now.taken == now.exported + sum(now.dropped.values()) + now.pending
        last = exporter.stop(GIVE_UP_S)
    assert (last.taken, last.exported, last.pending) == (93, 89, 0)
    assert (last.dropped["rejected"], last.dropped["unencodable"]) == (3, 1)


def test_configured_by_the_environment():
    with Collector() as collector:
        base = collector.url.removesuffix("/v1/traces")
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": base, "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=7"}
        settings, problems = from_environment(environ)
        exporter = Exporter(Lane(light(5)), settings)
        exporter.start()
        exporter.stop(GIVE_UP_S)
    (received,) = collector.requests
    assert (problems, received.headers["x-tenant"], len(received.names)) == ((), "7", 5)


def test_a_loop_goes_on_while_a_stop_waits_in_a_thread():
    async def main():
        with Collector(reply(503)) as collector:
            settings = OtlpSettings(endpoint=collector.url, retry_base_s=0.01)
            exporter = Exporter(Lane(light(5)), settings)
            exporter.start()
            return await asyncio.to_thread(exporter.stop, GIVE_UP_S)

    assert asyncio.run(main()).exported == 5


def test_faults_cost_time_and_no_span():
    """A timeout, garbage, half an answer and two polite refusals: the spans arrive all the same."""
    answers = [
        hang,
        raw(b"\x00\x01 nothing of the kind\r\n\r\n"),
        raw(b"HTTP/1.1 20"),
        reply(429),
        reply(503),
    ]
    with Collector(*answers) as collector:
        settings = OtlpSettings(endpoint=collector.url, timeout_s=0.1, retry_base_s=0.01)
        exporter = Exporter(Lane(light(30)), settings)
        exporter.start()
        assert exporter.flush(GIVE_UP_S)
        last = exporter.stop(GIVE_UP_S)
    assert (last.exported, sum(last.dropped.values()), last.attempts) == (30, 0, 6)
    counts = {reason: count for reason, count in last.failed.items() if count}
    assert counts == {"timeout": 1, "garbled": 2, "throttled": 1, "unavailable": 1}
    # The faults bite: the collector saw the same request once per attempt.
    assert len({request.raw for request in collector.requests}) == 1
    assert len(collector.requests) == 6


@pytest.mark.parametrize(("answer", "reason"), [(reply(400), "refused"), (partial(30), "rejected")])
def test_what_a_collector_doesnt_want_is_dropped_at_once(answer, reason):
    with Collector(answer) as collector:
        exporter = Exporter(Lane(light(30)), OtlpSettings(endpoint=collector.url))
        exporter.start()
        last = exporter.stop(GIVE_UP_S)
    assert (last.exported, last.dropped[reason], len(collector.requests)) == (0, 30, 1)
