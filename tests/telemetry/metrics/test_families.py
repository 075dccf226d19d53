"""Series by label values: always an answer, always counted, never more than the limits."""

import gc
import os
import sys
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.telemetry.metrics import locks
from seawall.telemetry.metrics.cardinality import OTHER, OVERFLOW
from seawall.telemetry.metrics.cells import Counter, Gauge, Histogram, Info, NativeHistogram, StateSet
from seawall.telemetry.metrics.families import SLICE, Family, Local
from seawall.telemetry.metrics.metric import Kind, Metric
from seawall.telemetry.metrics.registry import Registry


def family(
    labels: tuple[str, ...] = ("path",), kind: Kind = Kind.COUNTER, series: int = 1_000, **more: Any
) -> Family:
    metric = Metric(name="calls", kind=kind, help="Calls.", labels=labels, **more)
    return Registry(series_limit=series).declare(metric)


def swept(of: Family, now: float) -> int:
    """Sweep at once; how many were forgotten."""
    before = of.forgotten
    for _ in of.sweep(now):
        continue
    return of.forgotten - before


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


def test_which_series_answers_for_which_values() -> None:
    calls = family(("path", "method"), values_limit=2, limit=3)
    for path in ("/a", "/b", "/c"):
        calls.cell(path, "GET")
    for values, answered in (
        (("/a", "GET"), ("/a", "GET")),
        (("/c", "GET"), (OTHER, "GET")),
        (("/a", "PUT"), (OVERFLOW, OVERFLOW)),
        (("/a",), (OVERFLOW, OVERFLOW)),
    ):
        assert calls.admit(values) == (answered, calls.cells[answered])


def test_who_asks_for_the_overflow_series_by_name_gets_it_and_the_books_stay_right() -> None:
    calls = family(limit=1)
    for _ in range(3):
        calls.cell(OVERFLOW).inc()
        calls.remove(OVERFLOW)
    now = calls.statistics()
    assert (now.series, now.offered, now.overflowed) == (0, 0, 0)
    calls.cell("/a").inc()
    assert calls.cell("/b") is calls.cell(OVERFLOW)
    assert calls.statistics().series == 1


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
    assert swept(sizes, 0.0) == 0
    assert swept(sizes, 59.0) == 0
    sizes.cell("/used").set(2)
    assert swept(sizes, 60.0) == 1
    assert set(sizes.cells) == {("/used",), ("/asked",)}
    assert sizes.statistics().series == 2
    assert swept(sizes, 119.0) == 0
    assert swept(sizes, 120.0) == 1
    assert set(sizes.cells) == {("/asked",)}


def test_an_idle_gauge_that_is_still_held_comes_back_when_it_is_written() -> None:
    sizes = family(kind=Kind.GAUGE, idle_s=60.0)
    gauge = sizes.cell("/a")
    swept(sizes, 0.0)
    swept(sizes, 60.0)
    assert sizes.cells == {}
    swept(sizes, 61.0)
    assert sizes.cells == {}
    gauge.set(5)
    swept(sizes, 62.0)
    assert sizes.cells == {("/a",): gauge}
    swept(sizes, 100.0)
    swept(sizes, 160.0)
    assert sizes.cells == {}
    assert sizes.cell("/a") is gauge


def test_an_idle_gauge_that_comes_back_to_a_full_family_waits() -> None:
    sizes = family(kind=Kind.GAUGE, idle_s=60.0, limit=1)
    gauge = sizes.cell("/a")
    swept(sizes, 0.0)
    swept(sizes, 60.0)
    sizes.cell("/b").set(1)
    gauge.set(5)
    swept(sizes, 61.0)
    assert set(sizes.cells) == {("/b",), (OVERFLOW,)}
    assert sizes.statistics().reasons["metric"] == 1
    sizes.remove("/b")
    gauge.set(6)
    swept(sizes, 62.0)
    assert sizes.cells["/a",] is gauge


def test_an_idle_gauge_that_nobody_holds_is_gone() -> None:
    sizes = family(kind=Kind.GAUGE, idle_s=60.0)
    sizes.cell("/a").set(5)
    swept(sizes, 0.0)
    swept(sizes, 60.0)
    gc.collect()
    assert len(sizes._asleep) == 0
    assert sizes.cell("/a").value == 0


def test_totals_are_never_idle() -> None:
    calls = family()
    calls.cell("/a").inc()
    assert swept(calls, 0.0) == swept(calls, 1e9) == 0
    assert list(calls.cells) == [("/a",)]


CELLS = (Counter, Gauge, Histogram, NativeHistogram, StateSet, Info)


def test_which_cells_there_are() -> None:
    for kind, expected in zip(Kind, CELLS, strict=True):
        buckets = (1.0,) if kind is Kind.HISTOGRAM else ()
        states = ("up",) if kind is Kind.STATE_SET else ()
        metric = Metric(name="x", kind=kind, help="", buckets=buckets, states=states)
        assert type(Local().make(metric, ())) is expected


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


def test_a_gauge_made_in_the_middle_of_a_sweep_is_not_taken_for_the_one_before() -> None:
    sizes = family(kind=Kind.GAUGE, idle_s=60.0, limit=2_000, values_limit=2_000)
    for number in range(SLICE + 1):
        sizes.cell(str(number))
    swept(sizes, 0.0)
    sweep = sizes.sweep(60.0)
    next(sweep)
    sizes.remove(str(SLICE))
    sizes.cell(str(SLICE)).set(5)
    for _ in sweep:
        continue
    assert {values: cell.value for values, cell in sizes.cells.items()} == {(str(SLICE),): 5}


def test_no_lock_is_held_while_label_values_become_texts() -> None:
    class Asking:
        def __str__(self) -> str:
            asked = threading.Thread(target=calls.cell, args=("/other",))
            asked.start()
            asked.join(timeout=5)
            assert not asked.is_alive()
            return "/asking"

    calls = family()
    calls.cell(Asking())
    assert set(calls.cells) == {("/other",), ("/asking",)}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_in_the_middle_of_a_change_waits_for_its_end() -> None:
    calls = family(limit=50, values_limit=60)
    stop = threading.Event()

    def churn() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            calls.cell(str(number % 60))
            calls.remove(str(number % 60))

    busy = threading.Thread(target=churn)
    busy.start()
    try:
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                if not locks.CHANGES.acquire(timeout=5):
                    os._exit(1)
                calls.cell("child")
                now = calls.statistics()
                own = sum(values != (OVERFLOW,) for values in calls.cells)
                os._exit(now.series != own or now.offered != now.kept + now.overflowed)
            assert os.waitpid(pid, 0)[1] == 0
    finally:
        stop.set()
        busy.join()
