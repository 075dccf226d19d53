"""The sums over all workers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.telemetry.metrics.cardinality import OVERFLOW
from seawall.telemetry.metrics.cells import Histogram, NativeHistogram
from seawall.telemetry.metrics.families import SLICE
from seawall.telemetry.metrics.gathering import Collector
from seawall.telemetry.metrics.layout import NUMBER, Layout
from seawall.telemetry.metrics.metric import Kind, Metric
from seawall.telemetry.metrics.native import BUCKETS_MAX
from seawall.telemetry.metrics.registry import Registry
from seawall.telemetry.metrics.shared import Block, Sheet
from seawall.telemetry.metrics.shared_cells import READS_MAX
from tests.telemetry.metrics.host import (
    BUILD,
    CALLS,
    METRICS,
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
    passed,
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


def test_metrics_that_nobody_has_made_have_no_series(host: Host) -> None:
    cell(host.worker(0), TOTAL)
    assert list(host.collected()) == ["total"]
    assert len(host.collector.families()) == len(METRICS) + 1


def test_gauges_are_put_together_as_declared(host: Host) -> None:
    for number, value in enumerate((5, 9, 7)):
        worker = host.worker(number)
        for metric in (OLDEST, YOUNGEST):
            cell(worker, metric).set(value)
        cell(worker, SIZE, "main").inc(value + 1)
        cell(worker, SIZE, "main").dec()
    assert host.seen(SIZE, "main").value == 21
    assert host.seen(OLDEST).value == 9
    assert host.seen(YOUNGEST).value == 5


def test_states_and_facts(host: Host) -> None:
    first, second = host.worker(0), host.worker(1)
    cell(first, STATE, "db").set("open")
    cell(second, STATE, "db").set("closed")
    cell(second, BUILD, "1.0")
    assert host.seen(STATE, "db").state == 1
    assert host.seen(BUILD, "1.0") is not None
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


def test_series_that_are_too_many_only_together_overflow_at_the_scrape(host: Host) -> None:
    for number in range(3):
        worker = host.worker(number)
        for path in ("/a", f"/{number}", f"/{number + 10}"):
            cell(worker, CALLS, path).inc()
    assert sum(each.value for each in host.collected()["calls"].values()) == 9
    assert set(host.collected()["calls"]) == {("/a",), ("/0",), ("/10",), (OVERFLOW,)}
    overflows = Metric(name="metric_overflow", kind=Kind.COUNTER, help="")
    assert host.seen(overflows, "calls").value == 4
    assert host.seen(overflows, "calls").value == 4


def counting(rows: int, series: int) -> Block:
    """Workers that have counted once in each of so many series."""
    many = Metric(name="many", kind=Kind.COUNTER, help="", labels=("n",), limit=5_000, values_limit=5_000)
    block = Block(Layout([many], rows=rows))
    for number in range(rows):
        family = Registry(cells=Sheet(block, number)).declare(many)
        for value in range(series):
            family.cell(str(value)).inc()
    return block


def total(collector: Collector) -> float:
    return sum(each.value for family in collector.families() for each in family.cells.values())


def test_a_collection_goes_in_slices() -> None:
    block = counting(2, 1_000)
    collector = Collector(block)
    assert passed(collector) >= 3 * (1_000 // SLICE)
    assert total(collector) == 2_000
    assert repr(collector) == "<Collector series=1000 entries=2000>"
    block.close()


def test_a_slice_holds_fewer_of_what_takes_longer_to_read() -> None:
    block = Block(Layout([TIME], rows=20))
    for row in range(20):
        Registry(cells=Sheet(block, row)).declare(TIME).cell().observe(1.0)
    collector = Collector(block)
    passed(collector)
    assert passed(collector) == 1
    (family,) = (family for family in collector.families() if family.cells)
    assert family.cells[()].count == 20
    block.close()


def test_two_scrapes_at_once_collect_once() -> None:
    block = counting(1, 500)
    collector = Collector(block)
    first = collector.refreshing(0.0)
    next(first)
    assert passed(collector) == 0
    assert total(collector) == 0
    assert sum(1 for _ in first) > 0
    assert total(collector) == 500
    assert passed(collector) > 0
    block.close()


def test_a_collection_that_was_given_up_leaves_nothing_half_done() -> None:
    block = counting(1, 500)
    collector = Collector(block)
    given_up = collector.refreshing(0.0)
    next(given_up)
    given_up.close()
    passed(collector)
    assert total(collector) == 500
    block.close()


def test_a_gauge_that_is_used_anew_between_two_looks_is_not_mistaken(host: Host) -> None:
    worker = host.worker(0)
    cell(worker, SIZE, "old").set(1)
    host.collected()
    one = host.collector._sums["size", ("old",)]
    worker.declare(SIZE).remove("old")
    cell(worker, SIZE, "new").set(2)
    # Between the scan and the reading: the entry has another head now.
    host.collector._refresh(one, {0})
    assert ("size", ("old",)) not in host.collector._sums
    assert host.seen(SIZE, "new").value == 2
    assert host.seen(SIZE, "old") is None


def test_a_histogram_whose_writer_is_too_fast_stays_as_it_was(host: Host) -> None:
    wait, time = (cell(host.worker(0), metric) for metric in (WAIT, TIME))
    wait.observe(0.5)
    time.observe(0.5)
    assert (host.seen(WAIT).count, host.seen(TIME).count) == (1, 1)
    sums = [host.collector._sums[name, ()] for name in ("wait", "time")]
    for each, at, one in ((wait, wait._at + 2, sums[0]), (time, time._table + NUMBER, sums[1])):
        each.observe(0.5)
        words = host.block.words
        plain, number = words.signed, words.signed[at]
        words.signed = Turning(plain, at, list(range(10, 10 + 2 * READS_MAX)))
        host.collector._refresh(one, {0})
        words.signed = plain
        plain[at] = number
    assert host.collector.statistics().stale == 2
    assert [one.cell.count for one in sums] == [1, 1]
    assert (host.seen(WAIT).count, host.seen(TIME).count) == (2, 2)
