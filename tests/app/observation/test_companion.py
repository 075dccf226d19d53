"""The companion beside a supervisor that is played: what comes in, what is served, what fails alone."""

import asyncio
import os
import socket
from contextlib import asynccontextmanager
from math import inf

import httpx
import pytest

from seawall.app.observation import companion as module
from seawall.app.observation.companion import READS_MAX, ObservingCompanion, binding_of, otlp_of
from seawall.app.observation.records import pack
from seawall.app.observation.settings import Door, ObservationSettings, Tracing
from seawall.kernel.errors import PolicyError
from seawall.kernel.proxy_signals import FailoverEnded
from seawall.kernel.signals import Hub
from seawall.proxy.settings import Backend, ProxySettings
from seawall.telemetry.metrics import Sheet
from seawall.telemetry.serving import Role
from tests.app.observation.scraping import samples
from tests.app.observation.test_status import FakeProxy
from tests.app.observation.told import record, traceparent
from tests.telemetry.otlp.collectors import Collector, refused_port
from tests.telemetry.serving.serving import VIEWER, bearer

PROXY = ProxySettings(backends=(Backend(name="one", host="db1"), Backend(name="two", host="db2")))
WAIT_S = 10.0
BOTH = 2


class FakeSupervisor(FakeProxy):
    def __init__(self, **changes):
        super().__init__(**changes)
        self.hub = Hub()


def told(*, tracing=None, **doors):
    return ObservationSettings(
        metrics=Door(**doors.get("metrics", {})),
        status=Door(**doors.get("status", {})),
        tracing=Tracing(**(tracing or {})),
    )


@asynccontextmanager
async def running(settings=None, supervisor=None, lines=None):
    made = ObservingCompanion(settings or told(), PROXY, (lines if lines is not None else []).append)
    try:
        await made.start(supervisor or FakeSupervisor())
        yield made
    finally:
        await made.stop()


async def until(condition):
    """Wait for something that is on its way."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 -- whatever a test waits for has no event
            await asyncio.sleep(0.005)


async def get(url, path, **more):
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(url + path, **more)


def test_metrics_status_and_health_are_served():
    async def run():
        async with running() as made:
            await until(lambda: len(made.urls) == BOTH)
            metrics, status = sorted(made.urls, key=lambda url: url != made._servers[0].metrics_url)
            if not made._servers[0].metrics_url:
                metrics, status = status, metrics
            page = samples((await get(metrics, "/metrics")).text)
            assert page["seawall_proxy_workers"] == 2
            assert (await get(metrics, "/ready")).status_code == 200
            assert (await get(status, "/health")).status_code == 200
            found = (await get(status, "/api/v1/telemetry")).json()
            assert found["scrapes"] == 1
            assert found["failed"] == 0

    asyncio.run(run())


def test_a_port_that_is_taken_costs_nothing_else_is_told_once_and_taken_when_it_is_free(monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    lines = []

    async def run():
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            async with running(told(metrics={"port": port}), lines=lines) as made:
                await until(lambda: len(made.urls) == 1 and lines)
                for _ in range(20):
                    await asyncio.sleep(0.01)
                taken.close()
                await until(lambda: len(made.urls) == BOTH)
                assert (await get(f"http://127.0.0.1:{port}", "/metrics")).status_code == 200

    asyncio.run(run())
    (line,) = lines
    assert "telemetry is not served, and will be tried again" in line
    assert "telemetry.metrics.port" in line


def test_a_door_that_is_shut_has_no_listener():
    async def run():
        async with running(told(status={"enabled": False})) as made:
            await until(lambda: made.urls)
            assert len(made._tasks) == BOTH  # the gauges' and one server's

    asyncio.run(run())


def test_what_workers_pass_on_becomes_spans_and_what_is_none_is_counted():
    async def run():
        with Collector() as collector:
            settings = told(tracing={"enabled": True, "endpoint": collector.url})
            async with running(settings) as made:
                attachment = made.attachment
                assert attachment.spans
                assert attachment.slow_s == 1.5
                channel = socket.socket(fileno=os.dup(attachment.descriptors[1]))
                good = [record(traceparent=traceparent()), record(), record(took_s=2.0, command="DELETE")]
                for datagram, _ in pack(good):
                    channel.send(datagram)
                channel.send(b"nonsense")
                await until(lambda: made.malformed)
                assert dict(made.telemetry().spans) == {
                    "made": 2,
                    "unsampled": 1,
                    "dropped": 0,
                    "malformed": 1,
                }
                # Whatever lies there when it ends is taken, however much.
                for _ in range(4 * READS_MAX):
                    channel.send(next(pack([record(sqlstate="23505", command="INSERT")]))[0])
                channel.close()
            sent = made.telemetry().export
            assert sent["taken"] == sent["exported"] == 2 + 4 * READS_MAX
            return collector.names

    names = asyncio.run(run())
    assert sorted(set(names)) == ["DELETE orders", "INSERT orders", "SELECT orders"]


def test_the_loop_gets_its_turn_between_reads():
    async def run():
        async with running() as made:
            channel = socket.socket(fileno=os.dup(made.attachment.descriptors[1]))
            with channel:
                for _ in range(2 * READS_MAX + 1):
                    channel.send(b"nonsense")
                read = []
                while made._read():
                    read.append(made.malformed)
                assert read == [READS_MAX, 2 * READS_MAX]
                for _ in range(2 * READS_MAX):
                    channel.send(b"nonsense")
            asyncio.get_running_loop().remove_reader(made._reader)
        assert made.malformed == 4 * READS_MAX + 1

    asyncio.run(run())


def test_an_operation_that_fails_is_told_without_what_it_failed_at():
    lines = []

    class Failing(FakeSupervisor):
        def show(self, what):
            raise KeyError("secret")

    async def run():
        async with running(told(metrics={"enabled": False}), Failing(), lines) as made:
            await until(lambda: made.urls)
            return await get(made.urls[0], "/api/v1/backends")

    answer = asyncio.run(run())
    assert answer.status_code == 500
    (line,) = lines
    assert line.startswith("status API: request ")
    assert line.endswith(" failed: KeyError")
    assert "secret" not in line + answer.text


def test_a_dead_workers_gauges_go():
    async def run():
        async with running(supervisor=FakeSupervisor(count=1)) as made:
            block = made._block
            Sheet(block, 0)
            assert block.pid(0) == os.getpid()
            made.worker_ended(0)
            assert block.pid(0) == 0
            assert block.pid(1) == os.getpid()  # the supervisor's own

    asyncio.run(run())


def test_a_record_of_which_no_span_can_be_made_costs_no_other(monkeypatch):
    async def run():
        settings = told(tracing={"enabled": True, "endpoint": f"http://127.0.0.1:{refused_port()}/v1/traces"})
        async with running(settings) as made:
            real = made._spans.add
            monkeypatch.setattr(made._spans, "add", lambda one: 1 / 0 if one.worker == 9 else real(one))
            made._take(next(pack([record(worker=9), record(took_s=2.0), record(worker=9)]))[0])
            assert (made.failed, made._spans.made) == (2, 1)
            assert made.telemetry().failed == 2

    asyncio.run(run())


def test_a_topology_that_cannot_be_shown_stops_nothing(monkeypatch):
    monkeypatch.setattr(module, "TICK_S", 0.0)
    supervisor = FakeSupervisor()
    supervisor.topology = object()

    async def run():
        async with running(supervisor=supervisor) as made:
            await until(lambda: made.failed > 1)
            supervisor.topology, supervisor.alive = None, 1
            await until(lambda: len(made.urls) == BOTH)
            url = next(one.metrics_url for one in made._servers if one.metrics_url)
            assert samples((await get(url, "/metrics")).text)["seawall_proxy_workers"] == 1

    asyncio.run(run())


def test_a_failover_is_counted_and_has_a_span():
    async def run():
        with Collector() as collector:
            supervisor = FakeSupervisor()
            settings = told(tracing={"enabled": True, "endpoint": collector.url})
            async with running(settings, supervisor):
                names = ("old_primary", "new_primary", "reason")
                supervisor.hub.publish(
                    FailoverEnded(
                        at=1.0,
                        name="cluster",
                        kind="planned",
                        outcome="done",
                        took_s=0.5,
                        held_s=0.1,
                        replays=0,
                        **dict.fromkeys(names, "one"),
                    )
                )
            return collector.names

    assert asyncio.run(run()) == ["failover planned"]


def test_without_tracing_nothing_is_asked_of_the_workers():
    async def run():
        async with running(told(tracing={"enabled": False, "slow_s": 0.0})) as made:
            assert not made.attachment.spans
            assert made.attachment.slow_s == inf
            assert dict(made.telemetry().spans) == dict(made.telemetry().export) == {}

    asyncio.run(run())


def test_one_that_was_never_started_can_be_stopped_and_twice():
    async def run():
        settings = told(tracing={"enabled": True})
        made = ObservingCompanion(settings, PROXY, print)
        assert made.attachment is None
        made.worker_ended(0)
        await made.stop()
        await made.stop()
        async with running() as other:
            pass
        await other.stop()
        other.worker_ended(0)

    asyncio.run(run())


@pytest.mark.parametrize("name", ["metrics", "status"])
def test_with_a_token_only_those_who_have_it_read(name):
    async def run():
        other = "status" if name == "metrics" else "metrics"
        settings = told(**{name: {"token": VIEWER}, other: {"enabled": False}})
        path = "/metrics" if name == "metrics" else "/api/v1/workers"
        async with running(settings) as made:
            await until(lambda: made.urls)
            (url,) = made.urls
            return [
                (await get(url, path)).status_code,
                (await get(url, path, headers=bearer(VIEWER + "x"))).status_code,
                (await get(url, path, headers=bearer(VIEWER))).status_code,
                (await get(url, "/health")).status_code,
            ]

    assert asyncio.run(run()) == [401, 401, 200, 200]


def test_a_door_becomes_a_binding():
    door = Door(host="::1", port=9, token=VIEWER, certificate="c.pem", key="k.pem", client_ca="ca.pem")
    found = binding_of("telemetry.metrics", door)
    assert (found.key, found.host, found.port) == ("telemetry.metrics", "::1", 9)
    assert [token.role for token in found.access.tokens] == [Role.VIEWER]
    assert (found.tls.certificate, found.tls.key, found.tls.client_ca) == ("c.pem", "k.pem", "ca.pem")
    assert VIEWER not in repr(door)
    bare = binding_of("telemetry.status", Door(allow_unauthenticated=True))
    assert bare.tls is None
    assert bare.access.tokens == ()
    assert bare.access.allow_unauthenticated


def test_an_address_that_others_reach_needs_a_token():
    async def run():
        async with running(told(metrics={"host": "0.0.0.0"})):
            raise AssertionError("it listens")

    with pytest.raises(PolicyError, match=r"telemetry\.metrics"):
        asyncio.run(run())


VARIABLES = (
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://elsewhere:4318"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hidden"),
)


@pytest.mark.parametrize(
    ("tracing", "endpoint"),
    [
        ({}, ""),
        ({"environ": VARIABLES}, "http://elsewhere:4318/v1/traces"),
        ({"environ": VARIABLES, "endpoint": "http://here:1/v1/traces"}, "http://here:1/v1/traces"),
    ],
)
def test_the_file_says_where_spans_go_or_else_the_environment(tracing, endpoint):
    found = otlp_of(told(tracing=tracing))
    assert found.endpoint == endpoint
    assert found.protocol == "http/protobuf"


def test_mistakes_of_the_environment_are_named():
    wrong = (("OTEL_EXPORTER_OTLP_ENDPOINT", "nowhere"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"))
    with pytest.raises(PolicyError) as caught:
        otlp_of(told(tracing={"environ": wrong}))
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in str(caught.value)
    assert "OTEL_EXPORTER_OTLP_TIMEOUT" in str(caught.value)
