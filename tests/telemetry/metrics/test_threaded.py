"""Cells of which each thread has its own part."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from seawall.telemetry.metrics.cells import Counter, Exemplar, Gauge, Histogram, NativeHistogram
from seawall.telemetry.metrics.threaded import (
    ThreadedCounter,
    ThreadedGauge,
    ThreadedHistogram,
    ThreadedNativeHistogram,
    seat,
)

THREADS = 4


def in_threads(work: Callable[[], Any], number: int = THREADS) -> list[Any]:
    """Run in threads that all live at once."""
    results: list[Any] = []
    meet = threading.Barrier(number)

    def run() -> None:
        meet.wait()
        result = work()
        meet.wait()
        results.append(result)

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_living_threads_have_seats_of_their_own_and_later_ones_get_them_again() -> None:
    first = in_threads(seat)
    assert len({*first, seat()}) == THREADS + 1
    assert set(in_threads(seat)) == set(first)


def test_parts_do_not_become_more_with_threads_that_come_and_go() -> None:
    counter = ThreadedCounter()
    for _ in range(10):
        in_threads(counter.inc)
    assert counter.value == 10 * THREADS
    assert len(counter._parts) <= THREADS + 1


def test_a_counter_of_all_threads() -> None:
    counter = ThreadedCounter()
    in_threads(lambda: [counter.inc(0.5) for _ in range(1_000)])
    counter.inc(-1)
    counter.inc(1, Exemplar((), 1.0, at=2.0))
    in_threads(lambda: counter.inc(1, Exemplar((), 1.0, at=1.0)), 1)
    assert isinstance(counter, Counter)
    assert (counter.value, counter.refused) == (0.5 * 1_000 * THREADS + 2, 1)
    assert counter.exemplar == Exemplar((), 1.0, at=2.0)
    assert ThreadedCounter().exemplar is None


def test_a_gauge_of_all_threads() -> None:
    gauge = ThreadedGauge()
    gauge.set(10)
    in_threads(lambda: [(gauge.inc(2), gauge.dec(1)) for _ in range(1_000)])
    assert isinstance(gauge, Gauge)
    assert gauge.value == 10 + 1_000 * THREADS


def test_a_histogram_of_all_threads() -> None:
    histogram = ThreadedHistogram((1.0,))
    assert (histogram.counts, histogram.sum, histogram.exemplars) == ([0, 0], 0.0, None)
    in_threads(lambda: [histogram.observe(value) for value in (0.5, 2.0)])
    histogram.observe("x")
    histogram.observe(3.0, Exemplar((), 3.0, at=2.0))
    in_threads(lambda: histogram.observe(4.0, Exemplar((), 4.0, at=1.0)), 1)
    assert isinstance(histogram, Histogram)
    assert (histogram.counts, histogram.count) == ([THREADS, THREADS + 2], 2 * THREADS + 2)
    assert (histogram.sum, histogram.refused) == (2.5 * THREADS + 7.0, 1)
    assert histogram.exemplars == [None, Exemplar((), 3.0, at=2.0)]


def test_a_native_histogram_of_all_threads() -> None:
    histogram, plain = ThreadedNativeHistogram(4), NativeHistogram(4)
    assert histogram.count == 0
    values = (0.0, 1.5, -2.5, 1e6)
    in_threads(lambda: [histogram.observe(value) for value in values])
    for value in values * THREADS:
        plain.observe(value)
    assert histogram.snapshot() == plain.snapshot()
    for name in ("schema", "zero_threshold", "zero_count", "positive", "negative", "sum", "count"):
        assert getattr(histogram, name) == getattr(plain, name)
    histogram.observe(None)
    assert histogram.refused == 1
    assert histogram.exemplars is None
    histogram.observe(1.0, Exemplar((), 1.0, at=1.0))
    assert histogram.exemplars == [Exemplar((), 1.0, at=1.0)]


def test_a_native_histogram_of_all_threads_can_be_loaded() -> None:
    histogram, plain = ThreadedNativeHistogram(), NativeHistogram(2)
    plain.observe(5.0)
    histogram.load(plain.snapshot())
    assert histogram.snapshot() == plain.snapshot()


@pytest.mark.parametrize("make", [ThreadedCounter, ThreadedGauge, ThreadedNativeHistogram])
def test_they_have_no_dict(make: Callable[[], object]) -> None:
    assert not hasattr(make(), "__dict__")
