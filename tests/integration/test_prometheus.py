"""A real Prometheus scrapes our server: what it was told is what it knows."""

import asyncio
import contextlib
import math
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from random import Random

import pytest

from seawall.telemetry.exposition import Writer
from seawall.telemetry.metrics import Block, Collector, Exemplar, Kind, Metric, Registry
from seawall.telemetry.serving import Access, Binding, Role, TelemetryServer, Token
from tests.integration.counting import DURATION, JOBS, LAYOUT
from tests.integration.prometheus import GIVE_UP_S, PROGRAM, prometheus, until

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(PROGRAM is None, reason="prometheus is not installed (Debian: prometheus)"),
]

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-for-prometheus-0123456789"
NATIVE = ("native-histograms", "exemplar-storage")

WAITS = (0.05, 0.5, 0.7, 0.9, 2.0, 2.0, 2.4, 3.0)
WAIT_BUCKETS = (0.1, 1.0, 2.5)
QUERIES = 20_000
DICE = Random(7)  # the same durations each time
DURATIONS = sorted(DICE.lognormvariate(-4.0, 1.2) for _ in range(QUERIES))


class Noted:
    """A writer of which it is known what it was asked for.

    Args:
        writer: Who writes.
    """

    def __init__(self, writer):
        self.writer = writer
        self.types = set()

    def scrape(self, accept=None, accept_encoding=None):
        """Answer one scrape."""
        scrape = self.writer.scrape(accept, accept_encoding)
        self.types.add(dict(scrape.headers)["content-type"].partition(";")[0])
        return scrape


@contextlib.contextmanager
def served(*bindings):
    """Servers in a loop of their own: a scraper and its access each. Gives their URLs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(GIVE_UP_S)

    servers = [
        TelemetryServer(scraper=scraper, metrics=Binding(key="telemetry.metrics", port=0, access=access))
        for scraper, access in bindings
    ]
    try:
        for server in servers:
            run(server.start())
        yield [server.metrics_url for server in servers]
    finally:
        for server in servers:
            run(server.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def exemplar(number, value):
    return Exemplar((("trace_id", f"{number:032x}"),), value, time.time())


def everything():
    """A registry with one metric of each kind."""
    registry = Registry()
    calls = registry.declare(Metric(name="calls", kind=Kind.COUNTER, help="Calls.", labels=("to",)))
    calls.cell('odd "name"\\n').inc(7)
    calls.cell("db").inc(2.5, exemplar=exemplar(1, 1.0))
    gauge = registry.declare(Metric(name="temperature", kind=Kind.GAUGE, help="Outside.", unit="celsius"))
    gauge.cell().set(-3.25)
    wait = registry.declare(
        Metric(name="wait", kind=Kind.HISTOGRAM, help="Waits.", unit="seconds", buckets=WAIT_BUCKETS)
    )
    for number, value in enumerate(WAITS):
        wait.cell().observe(value, exemplar(number, value) if value in {0.5, 2.4} else None)
    query = registry.declare(
        Metric(name="query", kind=Kind.NATIVE_HISTOGRAM, help="Queries.", unit="seconds")
    ).cell()
    for value in DURATIONS:
        query.observe(value)
    state = Metric(
        name="breaker", kind=Kind.STATE_SET, help="Breakers.", labels=("to",), states=("closed", "open")
    )
    registry.declare(state).cell("db").set("open")
    registry.declare(Metric(name="build", kind=Kind.INFO, help="Build.", labels=("version",))).cell("1.2")
    return registry, query


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """One registry twice: behind a token for one Prometheus, for everybody here for a plainer one."""
    registry, query = everything()
    guarded, loose = Noted(Writer(registry)), Noted(Writer(registry))
    access = Access(tokens=(Token.of("prometheus", Role.VIEWER, TOKEN),))
    with contextlib.ExitStack() as stack:
        urls = stack.enter_context(served((guarded, access), (loose, Access())))
        jobs = {
            "ours": (urls[0], TOKEN),
            "stranger": (urls[0], "another-token-0123456789"),
            "nobody": (urls[0], ""),
        }
        first = prometheus(tmp_path_factory.mktemp("native"), jobs, *NATIVE)
        second = prometheus(tmp_path_factory.mktemp("plain"), {"ours": (urls[1], "")}, "exemplar-storage")
        native, plain = stack.enter_context(first), stack.enter_context(second)
        for each in native, plain:
            until(lambda each=each: each.value('up{job="ours"}') == 1)
        yield {"native": (native, guarded), "plain": (plain, loose), "query": query}


@pytest.fixture(params=["native", "plain"])
def scraped(request, world):
    """One of the two."""
    return world[request.param][0]


def test_each_gets_the_best_format_it_knows(world):
    assert world["native"][1].types == {"application/vnd.google.protobuf"}
    assert world["plain"][1].types == {"application/openmetrics-text"}


def test_nobody_comes_in_without_the_token(world):
    native = world["native"][0]
    until(lambda: len(native.vector("up")) == 3)
    up = {dict(labels)["job"]: value for labels, value in native.vector("up").items()}
    assert up == {"ours": 1, "stranger": 0, "nobody": 0}
    targets = native.get("targets")["activeTargets"]
    errors = {target["labels"]["job"]: target["lastError"] for target in targets}
    assert errors["ours"] == ""
    assert "401" in errors["stranger"]
    assert "401" in errors["nobody"]


def test_counters_and_gauges(scraped):
    assert scraped.value('seawall_calls_total{to="db"}') == 2.5
    (labels,) = scraped.vector("seawall_calls_total == 7")
    assert dict(labels)["to"] == 'odd "name"\\n'
    assert scraped.value("seawall_temperature_celsius") == -3.25


def test_state_sets_and_facts(scraped):
    states = {dict(labels)["state"]: value for labels, value in scraped.vector("seawall_breaker").items()}
    assert states == {"closed": 0, "open": 1}
    ((labels, value),) = scraped.vector("seawall_build_info").items()
    assert (dict(labels)["version"], value) == ("1.2", 1)


def test_types_and_helps_are_known(scraped):
    known = {
        name: (found[0]["type"], found[0]["help"]) for name, found in scraped.get("metadata").items() if found
    }
    counter = known.get("seawall_calls_total") or known["seawall_calls"]
    assert counter == ("counter", "Calls.")
    assert known["seawall_temperature_celsius"] == ("gauge", "Outside.")
    assert known["seawall_wait_seconds"] == ("histogram", "Waits.")
    assert known["seawall_query_seconds"] == ("histogram", "Queries.")


def test_a_classic_histogram(scraped):
    buckets = {
        float(dict(labels)["le"]): value
        for labels, value in scraped.vector("seawall_wait_seconds_bucket").items()
    }
    assert buckets == {0.1: 1, 1.0: 4, 2.5: 7, math.inf: 8}
    assert scraped.value("seawall_wait_seconds_count") == len(WAITS)
    assert scraped.value("seawall_wait_seconds_sum") == pytest.approx(sum(WAITS))
    # The fourth of eight is the last in its bucket, the sixth the second of three in the next.
    for share, expected in (0.5, 1.0), (0.75, 1.0 + 1.5 * 2 / 3):
        found = scraped.value(f"histogram_quantile({share}, seawall_wait_seconds_bucket)")
        assert found == pytest.approx(expected)


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 0.9, 0.99, 0.999])
def test_a_native_histogram(world, share):
    native = world["native"][0]
    true = DURATIONS[math.ceil(share * QUERIES) - 1]
    growth = 2.0 ** (2.0 ** -world["query"].schema)
    found = native.value(f"histogram_quantile({share}, seawall_query_seconds)")
    assert true / growth <= found <= true * growth


def test_a_native_histogram_counts_and_adds(world):
    for name, query in (
        ("native", "histogram_{}(seawall_query_seconds)"),
        ("plain", "seawall_query_seconds_{}"),
    ):
        assert world[name][0].value(query.format("count")) == QUERIES
        assert world[name][0].value(query.format("sum")) == pytest.approx(sum(DURATIONS))


def test_exemplars(scraped):
    assert scraped.exemplars("seawall_calls_total") == [(f"{1:032x}", 1.0)]
    assert scraped.exemplars("seawall_wait_seconds_bucket") == [(f"{1:032x}", 0.5), (f"{6:032x}", 2.4)]


@contextlib.contextmanager
def worker(block, row):
    """A process that counts in a row."""
    command = [sys.executable, "-m", "tests.integration.counting", str(block.descriptor), str(row)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        pass_fds=[block.descriptor],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_totals_of_workers_never_fall_though_one_is_killed(tmp_path):
    block = Block(LAYOUT)
    with contextlib.ExitStack() as stack:
        stack.callback(block.close)
        first, second = (stack.enter_context(worker(block, row)) for row in range(2))
        (url,) = stack.enter_context(served((Noted(Writer(Collector(block))), Access())))
        seen = stack.enter_context(prometheus(tmp_path, {"ours": (url, "")}, *NATIVE))
        until(lambda: seen.value("seawall_workers_working") == 2)
        until(lambda: len(seen.samples("seawall_jobs_total[1m]")) > 1)
        first.send_signal(signal.SIGKILL)
        first.wait()
        block.retire(0)
        before = seen.value("seawall_jobs_total")
        until(lambda: seen.value("seawall_workers_working") == 1)
        assert seen.value("seawall_jobs_total") > before
        third = stack.enter_context(worker(block, 0))
        until(lambda: seen.value("seawall_workers_working") == 2)
        counted = sum(int(each.communicate(timeout=GIVE_UP_S)[0]) for each in (second, third))
        # Not the collector that is scraped meanwhile: it collects once at a time.
        afterwards = Collector(block)
        total = sum_of(afterwards, JOBS)
        until(lambda: seen.value("seawall_jobs_total") == total)
        assert total > counted > 0
        jobs = seen.samples("seawall_jobs_total[5m]")
        assert jobs == sorted(jobs)
        assert len(set(jobs)) > 3
        assert seen.value("resets(seawall_jobs_total[5m])") == 0
        durations = seen.value("histogram_count(seawall_job_duration_seconds)")
        assert durations == count_of(afterwards, DURATION)
        # The one that was killed may have been between a job and its duration.
        assert total - 1 <= durations <= total


def family_of(collector, metric):
    for _ in collector.refreshing(0.0):
        continue
    (family,) = (family for family in collector.families() if family.metric == metric)
    return family


def sum_of(collector, metric):
    return sum(cell.value for cell in family_of(collector, metric).cells.values())


def count_of(collector, metric):
    return sum(cell.count for cell in family_of(collector, metric).cells.values())
