"""Series by label values: always an answer, always counted, never more than the limits."""

import gc
import sys
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.telemetry.metrics.cardinality import OTHER, OVERFLOW
from seawall.telemetry.metrics.cells import Counter, Gauge, Histogram, Info, NativeHistogram, StateSet
from seawall.telemetry.metrics.families import Family, Local
from seawall.telemetry.metrics.metric import Kind, Metric
from seawall.telemetry.metrics.registry import Registry
from seawall.telemetry.metrics.threaded import (
    ThreadedCounter,
    ThreadedGauge,
    ThreadedHistogram,
    ThreadedNativeHistogram,
)


def family(
    labels: tuple[str, ...] = ("path",), kind: Kind = Kind.COUNTER, series: int = 1_000, **more: Any
) -> Family:
    metric = Metric(name="calls", kind=kind, help="Calls.", labels=labels, **more)
    return Registry(series_limit=series).declare(metric)


def test_a_series_has_one_cell() -> None:
    calls = family(("path", "method"))
    assert calls.cell("/a", "GET") is calls.cell("/a", "GET")
    assert calls.cell("/a", "GET") is not calls.cell("/a", "PUT")
    assert list(calls.cells) == [("/a", "GET"), ("/a", "PUT")]
    assert repr(calls) == "<Family calls counter series=2>"


def test_a_metric_without_labels_has_one_series_whatever_the_limits() -> None:
    calls = family((), limit=1, series=1)
    assert calls.cell() is calls.cell()
    assert calls.statistics().kept == 1


def test_beyond_a_labels_limit_the_other_labels_still_tell() -> None:
    calls = family(("path", "method"), values_limit=2)
    for path in ("/a", "/b", "/c", "/d"):
        calls.cell(path, "GET").inc()
    assert {values: cell.value for values, cell in calls.cells.items()} == {
        ("/a", "GET"): 1,
        ("/b", "GET"): 1,
        (OTHER, "GET"): 2,
    }
    assert calls.statistics().reasons["values"] == 2


@pytest.mark.parametrize(("limits", "reason"), [({"limit": 2}, "metric"), ({"series": 2}, "process")])
def test_beyond_a_limit_of_series_there_is_one_for_the_rest(limits: dict, reason: str) -> None:
    calls = family(**limits)
    for path in ("/a", "/b", "/c", "/d", "/a"):
        calls.cell(path).inc()
    assert {values: cell.value for values, cell in calls.cells.items()} == {
        ("/a",): 2,
        ("/b",): 1,
        (OVERFLOW,): 2,
    }
    now = calls.statistics()
    assert (now.series, now.offered, now.kept, now.overflowed) == (2, 4, 2, 2)
    assert now.reasons[reason] == 2


class Unprintable:
    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize("values", [(), ("/a", "/b"), (Unprintable(),)])
def test_values_that_do_not_fit_raise_nothing_and_are_counted(values: tuple) -> None:
    calls = family()
    assert calls.cell(*values) is calls.cells[OVERFLOW,]
    assert calls.statistics().reasons["labels"] == 1


def test_values_become_texts_that_can_be_encoded() -> None:
    calls = family()
    assert calls.cell(404) is calls.cell("404")
    assert calls.cell([1]) is calls.cell("[1]")
    assert calls.cell("\udc80") is calls.cell("?")
    assert calls.statistics().kept == 3


def test_a_removed_series_makes_room() -> None:
    calls = family(limit=1, values_limit=1)
    calls.cell("/a").inc()
    calls.remove("/a")
    calls.remove("/a")
    calls.remove([])
    assert calls.cells == {}
    assert calls.cell("/b").value == 0
    assert calls.statistics().overflowed == 0
    calls.cell("/c")
    calls.remove(OTHER)
    calls.remove(OVERFLOW)
    assert list(calls.cells) == [("/b",)]
    assert calls.statistics().series == 1


def test_which_series_stands_for_which_values() -> None:
    calls = family(("path", "method"), values_limit=2, limit=3)
    for path in ("/a", "/b", "/c"):
        calls.cell(path, "GET")
    calls.cell("/a", "PUT")
    assert calls.standing_for(("/a", "GET")) == ("/a", "GET")
    assert calls.standing_for(("/c", "GET")) == (OTHER, "GET")
    assert calls.standing_for(("/a", "PUT")) == (OVERFLOW, OVERFLOW)


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("uvwxyz"), st.booleans()), max_size=80),
    st.integers(1, 8),
    st.integers(1, 8),
    st.integers(1, 20),
)
def test_offered_is_kept_and_overflowed_and_no_count_is_lost(
    requests: list[tuple[str, str, bool]], values_limit: int, limit: int, series: int
) -> None:
    registry = Registry(series_limit=series)
    metric = Metric(
        name="calls", kind=Kind.COUNTER, help="", labels=("a", "b"), limit=limit, values_limit=values_limit
    )
    calls = registry.declare(metric)
    offered = kept = removed = 0
    for first, second, remove in requests:
        offered += (first, second) not in calls.cells
        kept -= (first, second) in calls.cells
        calls.cell(first, second).inc()
        kept += (first, second) in calls.cells
        if remove and (first, second) in calls.cells:
            removed += calls.cells[first, second].value
            calls.remove(first, second)
    now = calls.statistics()
    assert now.offered == now.kept + now.overflowed == offered
    assert now.kept == kept
    assert sum(cell.value for cell in calls.cells.values()) + removed == len(requests)
    own = [values for values in calls.cells if values != (OVERFLOW, OVERFLOW)]
    assert len(own) == now.series <= min(limit, series)
    assert all(len({values[label] for values in own} - {OTHER}) <= values_limit for label in (0, 1))
    overflows = [each for each in registry.families() if each.metric.name == "metric_overflow"]
    assert sum(each.cell("calls").value for each in overflows) == now.overflowed


def test_an_idle_gauge_is_forgotten_and_a_used_one_is_not() -> None:
    sizes = family(kind=Kind.GAUGE, idle_s=60.0)
    sizes.cell("/idle").set(1)
    sizes.cell("/used").set(1)
    sizes.cell("/asked").function = lambda: 5
    assert sizes.sweep(0.0) == 0
    assert sizes.sweep(59.0) == 0
    sizes.cell("/used").set(2)
    assert sizes.sweep(60.0) == 1
    assert set(sizes.cells) == {("/used",), ("/asked",)}
    assert sizes.statistics().series == 2
    assert sizes.sweep(119.0) == 0
    assert sizes.sweep(120.0) == 1
    assert set(sizes.cells) == {("/asked",)}


def test_an_idle_gauge_that_is_still_held_comes_back_when_it_is_written() -> None:
    sizes = family(kind=Kind.GAUGE, idle_s=60.0)
    gauge = sizes.cell("/a")
    sizes.sweep(0.0)
    sizes.sweep(60.0)
    assert sizes.cells == {}
    sizes.sweep(61.0)
    assert sizes.cells == {}
    gauge.set(5)
    sizes.sweep(62.0)
    assert sizes.cells == {("/a",): gauge}
    sizes.sweep(100.0)
    sizes.sweep(160.0)
    assert sizes.cells == {}
    assert sizes.cell("/a") is gauge


def test_an_idle_gauge_that_comes_back_to_a_full_family_waits() -> None:
    sizes = family(kind=Kind.GAUGE, idle_s=60.0, limit=1)
    gauge = sizes.cell("/a")
    sizes.sweep(0.0)
    sizes.sweep(60.0)
    sizes.cell("/b").set(1)
    gauge.set(5)
    sizes.sweep(61.0)
    assert set(sizes.cells) == {("/b",), (OVERFLOW,)}
    assert sizes.statistics().reasons["metric"] == 1
    sizes.remove("/b")
    gauge.set(6)
    sizes.sweep(62.0)
    assert sizes.cells["/a",] is gauge


def test_an_idle_gauge_that_nobody_holds_is_gone() -> None:
    sizes = family(kind=Kind.GAUGE, idle_s=60.0)
    sizes.cell("/a").set(5)
    sizes.sweep(0.0)
    sizes.sweep(60.0)
    gc.collect()
    assert len(sizes._asleep) == 0
    assert sizes.cell("/a").value == 0


def test_totals_are_never_idle() -> None:
    calls = family()
    calls.cell("/a").inc()
    assert calls.sweep(0.0) == calls.sweep(1e9) == 0
    assert list(calls.cells) == [("/a",)]


PLAIN = (Counter, Gauge, Histogram, NativeHistogram, StateSet, Info)
THREADED = (ThreadedCounter, ThreadedGauge, ThreadedHistogram, ThreadedNativeHistogram, StateSet, Info)


@pytest.mark.parametrize(("threaded", "classes"), [(False, PLAIN), (True, THREADED)])
def test_which_cells_there_are(threaded: bool, classes: tuple[type, ...]) -> None:
    for kind, expected in zip(Kind, classes, strict=True):
        buckets = (1.0,) if kind is Kind.HISTOGRAM else ()
        states = ("up",) if kind is Kind.STATE_SET else ()
        metric = Metric(name="x", kind=kind, help="", buckets=buckets, states=states)
        assert type(Local(threaded=threaded).make(metric, ())) is expected


@pytest.mark.parametrize(("gil", "threaded"), [(True, False), (False, True)])
def test_a_build_without_the_gil_gets_threaded_cells(
    gil: bool, threaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: gil, raising=False)
    assert Local().threaded is threaded


def test_threads_that_ask_for_the_same_series_get_one_cell() -> None:
    calls = family(limit=50, values_limit=100)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=lambda: [calls.cell(str(number % 60)).inc() for number in range(3_000)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert sum(cell.value for cell in calls.cells.values()) == 12_000
    now = calls.statistics()
    assert (now.series, now.kept, now.overflowed) == (50, 50, 4 * 10 * 50)
