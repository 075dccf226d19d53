"""The sums over all workers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.telemetry.metrics.cardinality import OVERFLOW
from seawall.telemetry.metrics.cells import Histogram, NativeHistogram
from seawall.telemetry.metrics.gathering import SLICE, Collector
from seawall.telemetry.metrics.layout import NUMBER, Layout
from seawall.telemetry.metrics.metric import Kind, Metric
from seawall.telemetry.metrics.native import BUCKETS_MAX
from seawall.telemetry.metrics.reading import READS_MAX
from seawall.telemetry.metrics.registry import Registry
from seawall.telemetry.metrics.shared import Block, Sheet
from tests.telemetry.metrics.host import (
    BUILD,
    CALLS,
    LATEST,
    OLDEST,
    SIZE,
    STATE,
    TIME,
    TOTAL,
    WAIT,
    YOUNGEST,
    Host,
    Turning,
    cell,
)


def test_counters_of_all_workers_are_added(host: Host) -> None:
    for number in range(3):
        worker = host.worker(number)
        cell(worker, TOTAL).inc()
        cell(worker, CALLS, "/a").inc(number)
    assert host.seen(TOTAL).value == 3
    assert host.seen(CALLS, "/a").value == 3
    assert host.seen(CALLS, "/b") is None


def test_a_series_keeps_its_cell_from_scrape_to_scrape(host: Host) -> None:
    total = cell(host.worker(0), TOTAL)
    total.inc()
    first = host.seen(TOTAL)
    total.inc()
    assert host.seen(TOTAL) is first
    assert first.value == 2


def test_metrics_that_nobody_has_made_are_left_out(host: Host) -> None:
    cell(host.worker(0), TOTAL)
    assert [family.metric.name for family in host.collector.collect()] == ["total"]


def test_gauges_are_put_together_as_declared(host: Host) -> None:
    for number, value in enumerate((5, 9, 7)):
        worker = host.worker(number)
        host.now = (10.0, 30.0, 20.0)[number]
        for metric in (OLDEST, YOUNGEST, LATEST):
            cell(worker, metric).set(value)
        cell(worker, SIZE, "main").inc(value + 1)
        cell(worker, SIZE, "main").dec()
    assert host.seen(SIZE, "main").value == 21
    assert host.seen(OLDEST).value == 9
    assert host.seen(YOUNGEST).value == 5
    assert host.seen(LATEST).value == 9
    host.now = 40.0
    cell(worker, LATEST).inc()
    assert host.seen(LATEST).value == 8
    cell(worker, LATEST).dec(2)
    assert host.seen(LATEST).value == 6


def test_states_and_facts(host: Host) -> None:
    first, second = host.worker(0), host.worker(1)
    cell(first, STATE, "db").set("open")
    cell(second, STATE, "db").set("closed")
    cell(second, BUILD, "1.0")
    assert host.seen(STATE, "db").state == 1
    assert host.seen(BUILD, "1.0").value == 1
    cell(first, STATE, "db").set("closed")
    assert host.seen(STATE, "db").state == 0


VALUES = st.lists(st.floats(-1e9, 1e9), max_size=40)


@settings(max_examples=60)
@given(st.lists(VALUES, min_size=1, max_size=3))
def test_histograms_hold_the_observations_of_all_workers(parts: list[list[float]]) -> None:
    host = Host(rows=len(parts))
    plain, native = Histogram(WAIT.buckets), NativeHistogram(TIME.schema)
    for number, values in enumerate(parts):
        worker = host.worker(number)
        for value in values:
            for each in (cell(worker, WAIT), plain, cell(worker, TIME), native):
                each.observe(value)
        cell(worker, WAIT)
        cell(worker, TIME)
    wait, time = host.seen(WAIT), host.seen(TIME)
    host.block.close()
    assert wait.counts == plain.counts
    assert wait.sum == pytest.approx(plain.sum)
    assert time.count == native.count == sum(map(len, parts))
    assert time.zero_count == native.zero_count
    assert time.sum == pytest.approx(native.sum)
    assert len(time.positive) + len(time.negative) <= BUCKETS_MAX
    if time.schema == native.schema:
        assert (time.positive, time.negative) == (native.positive, native.negative)


def test_the_totals_of_a_dead_worker_stay_and_its_gauges_go(host: Host) -> None:
    first, second = host.worker(0), host.worker(1)
    for worker in (first, second):
        cell(worker, TOTAL).inc(5)
        cell(worker, WAIT).observe(0.5)
        cell(worker, TIME).observe(0.5)
        cell(worker, OLDEST).set(7)
    cell(first, SIZE, "main").set(4)
    cell(second, OLDEST).set(3)
    assert (host.seen(OLDEST).value, host.seen(SIZE, "main").value) == (7, 4)
    host.block.retire(0)
    assert host.seen(TOTAL).value == 10
    assert host.seen(WAIT).count == host.seen(TIME).count == 2
    assert host.seen(OLDEST).value == 3
    assert host.seen(SIZE, "main") is None


def test_who_lives_may_be_said_by_the_caller(host: Host) -> None:
    cell(host.worker(0), SIZE, "main").set(4)
    assert host.seen(SIZE, "main", living={100}).value == 4
    assert host.seen(SIZE, "main", living=set()) is None
    assert host.seen(SIZE, "main", living={100}).value == 4


def test_series_that_are_too_many_only_together_overflow_at_the_scrape(host: Host) -> None:
    for number in range(3):
        worker = host.worker(number)
        for path in ("/a", f"/{number}", f"/{number + 10}"):
            cell(worker, CALLS, path).inc()
    assert sum(each.value for each in host.seen_all(CALLS).values()) == 9
    assert set(host.seen_all(CALLS)) == {("/a",), ("/0",), ("/10",), (OVERFLOW,)}
    overflows = Metric(name="metric_overflow", kind=Kind.COUNTER, help="")
    assert host.seen(overflows, "calls").value == 4
    assert host.seen(overflows, "calls").value == 4


def test_a_scrape_goes_in_slices() -> None:
    many = Metric(name="many", kind=Kind.COUNTER, help="", labels=("n",), limit=5_000, values_limit=5_000)
    block = Block(Layout([many], rows=2))
    for number in range(2):
        family = Registry(cells=Sheet(block, number, pid=1)).declare(many)
        for value in range(1_000):
            family.cell(str(value)).inc()
    collector = Collector(block)
    pauses = sum(1 for _ in collector.slices())
    assert pauses >= 3 * (1_000 // SLICE)
    assert sum(each.value for each in collector.families()[0].cells.values()) == 2_000
    assert repr(collector) == "<Collector series=1000 entries=2000>"
    block.close()


def test_a_gauge_that_is_used_anew_between_two_looks_is_not_mistaken(host: Host) -> None:
    worker = host.worker(0)
    cell(worker, SIZE, "old").set(1)
    slices = host.collector
    slices.collect()
    one = slices._sums["size", ("old",)]
    worker.declare(SIZE).remove("old")
    cell(worker, SIZE, "new").set(2)
    # Between the scan and the reading: the entry has another head now.
    slices._refresh(one, {0})
    assert one.hidden
    assert host.seen(SIZE, "new").value == 2


def test_a_histogram_whose_writer_is_too_fast_stays_as_it_was(host: Host) -> None:
    wait, time = (cell(host.worker(0), metric) for metric in (WAIT, TIME))
    wait.observe(0.5)
    time.observe(0.5)
    assert (host.seen(WAIT).count, host.seen(TIME).count) == (1, 1)
    for each, at in ((wait, wait._at + 2), (time, time._table + NUMBER)):
        each.observe(0.5)
        words = host.block.words
        plain, number = words.signed, words.signed[at]
        words.signed = Turning(plain, at, list(range(10, 10 + 2 * READS_MAX)))
        host.collector._refresh(host.collector._sums["wait" if each is wait else "time", ()], {0})
        words.signed = plain
        plain[at] = number
    assert host.collector.statistics().stale == 2
    assert (host.collector._sums["wait", ()].cell.count, host.collector._sums["time", ()].cell.count) == (
        1,
        1,
    )
