"""What the status API shows fits what the proxy has, and who is ready."""

import asyncio
import time

import msgspec
import pytest

from seawall.app.observation.status import (
    BEAT_MAX_S,
    MICRO,
    NAMED_MAX,
    NO_BEAT,
    Backend,
    Failover,
    Telemetry,
    TopologyView,
    checks_of,
    status_api,
    workers_of,
)
from seawall.proxy.failover.desk import Desk
from seawall.proxy.shared import COLUMNS
from seawall.proxy.topology import Phase, untracked
from seawall.telemetry.serving import Probe
from tests.app.observation.test_gauges import topology
from tests.proxy.failover.conducting import conducted

TELEMETRY = Telemetry(spans={}, export={}, logs={}, scrapes=0, series=0, failed=0)


class FakeProxy:
    """A supervisor, as far as it is looked at."""

    def __init__(self, count=2, **changes):
        self.count = self.alive = count
        self.stopping = False
        self.topology = topology()
        self.ages = [0.05] * count
        self.shown = {"backends": [], "topology": [], "failovers": []}
        vars(self).update(changes)

    def rows(self):
        now = time.monotonic()
        empty = dict.fromkeys(COLUMNS, 0)
        return [
            {**empty, "pid": 9, "queries": 3, "beat": 0 if age is None else int((now - age) * MICRO)}
            for age in self.ages
        ]

    def show(self, what):
        return self.shown[what]


def readiness(proxy):
    """The two checks' results by name."""

    async def run():
        checks = checks_of(proxy)
        report = await checks.report(Probe.READINESS)
        await checks.close()
        return {result.name: result for result in report.results}

    return asyncio.run(run())


def test_a_proxy_whose_workers_answer_and_that_has_a_primary_is_ready():
    found = readiness(FakeProxy())
    assert all(result.healthy for result in found.values())
    assert dict(found["workers"].details) == {"alive": 2, "wanted": 2, "silent": 0}
    assert dict(found["primary"].details) == {"phase": "serving", "primary": "one"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ages": [0.0, BEAT_MAX_S + 0.1]}, "no sign of life from worker 1"),
        ({"ages": [3.0, 3.0]}, "no sign of life from worker 0, 1"),
        ({"ages": [0.0, None]}, "no sign of life from worker 1"),
        ({"alive": 1}, "1 of 2 workers are alive"),
        ({"stopping": True}, "the proxy is shutting down"),
        ({"count": 64, "ages": [9.0] * 64}, "no sign of life from worker 0, 1, 2, 3, 4, 5, 6, 7, ..."),
    ],
)
def test_a_proxy_with_a_worker_that_is_missing_or_hangs_is_not_ready(changes, reason):
    found = readiness(FakeProxy(**changes))
    assert (found["workers"].healthy, found["workers"].reason) == (False, reason)
    assert found["primary"].healthy
    assert NAMED_MAX == 8


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.SERVING])
def test_a_proxy_whose_clients_wait_is_not_ready(phase):
    found = readiness(FakeProxy(topology=topology(phase, None)))
    assert not found["primary"].healthy
    assert dict(found["primary"].details) == {"phase": phase.value}
    assert found["workers"].healthy


@pytest.mark.parametrize("watched", [None, untracked("nobody watches")])
def test_a_proxy_whose_servers_nobody_watches_is_ready(watched):
    found = readiness(FakeProxy(topology=watched))
    assert dict(found["primary"].details) == {"phase": "unwatched"}
    assert found["primary"].healthy


def test_a_beat_of_this_very_moment_is_no_worker_that_hangs():
    # The worker's process may write between our looking at the clock and at the row.
    found = readiness(FakeProxy(ages=[-0.001, -0.000_001]))
    assert found["workers"].healthy
    assert [worker.beat_age_s for worker in workers_of(FakeProxy(ages=[-5.0, None]))] == [0.0, NO_BEAT]


def test_workers_are_shown_with_their_counters():
    (first, _) = workers_of(FakeProxy(ages=[1.0, 2.0]))
    assert (first.number, first.pid, first.queries) == (0, 9, 3)
    assert first.beat_age_s == pytest.approx(1.0, abs=0.5)


SCHEMAS = {"backends": Backend, "topology": TopologyView, "failovers": Failover}


def fitting(desk):
    """Everything that the console shows, as the API does; no column may be left out."""
    found = {}
    for what, schema in SCHEMAS.items():
        rows = desk.show(what)
        assert all(set(row) == {field.name for field in msgspec.structs.fields(schema)} for row in rows)
        found[what] = msgspec.convert(rows, list[schema])
    return found


def test_rows_of_the_console_fit_the_schemas_before_in_and_after_a_failover(monkeypatch):
    async def scenario(it):
        found = fitting(it.desk)
        assert [one.name for one in found["backends"]] == ["one", "two", "three"]
        assert (found["topology"][0].primary, found["failovers"]) == ("one", [])
        it.servers.kill("one")
        await it.until(lambda one: one.phase is not Phase.SERVING)
        (under_way,) = fitting(it.desk)["failovers"]
        assert (under_way.outcome, under_way.took_ms) == ("under way", None)
        await it.until(lambda one: one.phase is Phase.SERVING and one.primary != "one")
        (over,) = fitting(it.desk)["failovers"]
        assert (over.kind, over.outcome, over.old_primary) == ("unplanned", "done", "one")
        assert over.took_ms > 0

    conducted(monkeypatch, scenario)


def test_where_nobody_watches_there_are_no_rows():
    assert fitting(Desk(None)) == {"backends": [], "topology": [], "failovers": []}


def test_the_api_names_all_resources():
    api = status_api(FakeProxy(), lambda: TELEMETRY)
    answers = {operation.name: operation.call() for operation in api.operations()}
    assert answers.pop("workers") == workers_of(FakeProxy())
    assert answers == {"backends": [], "topology": [], "failovers": [], "telemetry": TELEMETRY}
