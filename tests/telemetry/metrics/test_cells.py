"""What cells count, what they refuse, and that threads lose nothing."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from math import inf, isnan, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.telemetry.metrics import cells, locks
from seawall.telemetry.metrics.cells import (
    EXEMPLARS_MAX,
    Cell,
    Counter,
    Exemplar,
    Gauge,
    Histogram,
    Info,
    NativeHistogram,
    StateSet,
)
from seawall.telemetry.metrics.native import BUCKETS_MAX, SCHEMA_MIN, key_of

THREADS = 4
STEPS = 20_000
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


class Odd:
    """A number that fails in a way of its own."""

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    __lt__ = __gt__ = __le__ = __ge__ = __add__ = __radd__ = __sub__ = __rsub__ = __float__ = __eq__
    __hash__ = None


def exemplar(value: float = 1.0, at: float = 0.0) -> Exemplar:
    return Exemplar((("trace_id", "abc"),), value, at)


@pytest.fixture
def restless() -> Iterator[None]:
    """Let threads take turns as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(work: Callable[[int], None]) -> None:
    start = threading.Barrier(THREADS)

    def run(number: int) -> None:
        start.wait()
        work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_counter_grows() -> None:
    counter = Counter()
    counter.inc()
    counter.inc(2.5)
    counter.inc(0)
    assert (counter.value, counter.refused, repr(counter)) == (3.5, 0, "<Counter 3.5>")


@pytest.mark.parametrize("amount", [-1, nan, inf, -inf, "1", None, Decimal("NaN"), Odd()])
def test_a_counter_refuses_what_makes_no_sense(amount: object) -> None:
    counter = Counter()
    counter.inc(1)
    counter.inc(amount)
    assert (counter.value, counter.refused) == (1, 1)


def test_a_counter_keeps_the_last_exemplar() -> None:
    counter = Counter()
    counter.inc(1, exemplar(1.0))
    counter.inc(1, exemplar(2.0))
    counter.inc()
    assert counter.exemplar == exemplar(2.0)


def test_a_gauge_moves() -> None:
    gauge = Gauge()
    gauge.set(5)
    gauge.inc()
    gauge.dec(3)
    assert (gauge.value, gauge.read(), repr(gauge)) == (3, 3.0, "<Gauge 3>")


def test_a_gauge_asks_its_function() -> None:
    gauge = Gauge()
    gauge.function = lambda: 7
    assert gauge.read() == 7.0
    gauge.function = lambda: 1 // 0
    assert isnan(gauge.read())
    assert gauge.refused == 1


def test_a_gauge_says_that_it_was_used() -> None:
    gauge = Gauge()
    for step in (lambda: gauge.set(1), gauge.inc, gauge.dec):
        gauge.used = False
        step()
        assert gauge.used


@pytest.mark.parametrize("step", ["1", None, Decimal(1), Odd()])
def test_a_gauge_refuses_steps_that_are_no_numbers(step: object) -> None:
    gauge = Gauge()
    gauge.set(0.5)
    gauge.inc(step)
    gauge.dec(step)
    assert (gauge.value, gauge.refused) == (0.5, 2)
    gauge.set(Odd())
    assert isnan(gauge.read())


@pytest.mark.parametrize("one", [Decimal(1), Fraction(1), True, 1.0])
def test_a_total_stays_a_plain_number_whoever_counts(one: object) -> None:
    counter = Counter()
    counter.inc(one)
    counter.inc(Fraction(1, 2))
    counter.inc(0.25)
    assert (counter.value, type(counter.value), counter.refused) == (1.75, float, 0)


@given(st.lists(FLOATS), st.lists(FLOATS, min_size=1, max_size=20, unique=True).map(sorted).map(tuple))
def test_a_histogram_counts_each_observation_once_below_the_first_bound_that_holds_it(
    values: list[float], bounds: tuple[float, ...]
) -> None:
    histogram = Histogram(bounds)
    for value in values:
        histogram.observe(value)
    assert histogram.count == sum(histogram.counts) == len(values)
    cumulated = 0
    for bound, count in zip(bounds, histogram.counts, strict=False):
        cumulated += count
        assert cumulated == sum(value <= bound for value in values)


def test_a_histogram_sums_and_knows_infinity() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.5):
        histogram.observe(value)
    assert (histogram.counts, histogram.sum) == ([2, 1, 1], 5.5)
    assert repr(histogram) == "<Histogram count=4 sum=5.5>"
    histogram.observe(inf)
    histogram.observe(-inf)
    assert histogram.counts == [3, 1, 2]


@pytest.mark.parametrize("value", [nan, "1", None, 10**400, Decimal(2), Odd()])
def test_histograms_refuse_what_is_no_number(value: object) -> None:
    for histogram in (Histogram((1.0,)), NativeHistogram()):
        histogram.observe(0.5)
        histogram.observe(value)
        assert (histogram.count, histogram.sum, histogram.refused) == (1, 0.5, 1)


def test_a_histogram_takes_many_observations_at_once() -> None:
    one, many = Histogram((0.1, 1.0)), Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 3.0):
        one.observe(value)
    many.add([2, 1, 0], 0.65)
    many.add([0, 0, 1], 3.0)
    assert (many.counts, many.sum, many.refused) == (one.counts, pytest.approx(one.sum), 0)


@pytest.mark.parametrize(
    ("counts", "total"),
    [([1, 2], 1.0), ([1, 2, -1], 1.0), ([1, 0, 0], float("nan")), ([1, 0, 0], "much"), (None, 1.0)],
)
def test_a_histogram_refuses_many_that_do_not_fit(counts: object, total: object) -> None:
    wait = Histogram((0.1, 1.0))
    wait.add(counts, total)
    assert (wait.counts, wait.sum, wait.refused) == ([0, 0, 0], 0.0, 1)


def test_a_histogram_keeps_the_last_exemplar_of_each_bucket() -> None:
    histogram = Histogram((1.0, 2.0))
    histogram.observe(0.5)
    assert histogram.exemplars is None
    histogram.observe(1.5, exemplar(1.5))
    histogram.observe(1.6, exemplar(1.6))
    assert histogram.exemplars == [None, exemplar(1.6), None]


@given(st.lists(st.floats(allow_nan=False), max_size=400), st.integers(SCHEMA_MIN, 8))
def test_a_native_histogram_holds_what_sorting_at_its_schema_would(values: list[float], schema: int) -> None:
    histogram = NativeHistogram(schema)
    for value in values:
        histogram.observe(value)
    state = histogram.snapshot()
    assert state.count == histogram.count == len(values)
    assert len(state.positive) + len(state.negative) <= BUCKETS_MAX
    expected: tuple[dict[int, int], dict[int, int]] = ({}, {})
    zeros = 0
    for value in values:
        if abs(value) <= state.zero_threshold:
            zeros += 1
            continue
        key = key_of(abs(value), state.schema)
        table = expected[value < 0]
        table[key] = table.get(key, 0) + 1
    assert (state.positive, state.negative, state.zero_count) == (*expected, zeros)


def test_a_native_histogram_lowers_its_schema_and_loses_nothing() -> None:
    histogram = NativeHistogram(8)
    for number in range(1, 2_000):
        histogram.observe(number / 100)
    assert histogram.schema < 8
    assert histogram.count == 1_999
    assert len(histogram.positive) <= BUCKETS_MAX
    assert repr(histogram).startswith("<NativeHistogram count=1999 ")


def test_a_native_histogram_of_all_magnitudes_stays_within_its_buckets() -> None:
    histogram = NativeHistogram(8)
    for exponent in range(-1074, 1024):
        histogram.observe(2.0**exponent)
        histogram.observe(-(2.0**exponent))
    histogram.observe(inf)
    assert histogram.schema == SCHEMA_MIN
    assert histogram.count == 2 * (1074 + 1024) + 1
    assert histogram.zero_count == 2 * (1074 - 127)
    assert histogram.snapshot().zero_threshold == 2.0**-128


def test_an_observation_that_worked_out_its_bucket_before_the_schema_was_lowered_starts_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    histogram = NativeHistogram(4)
    histogram.observe(3.0)

    def interrupted(magnitude: float, schema: int) -> int:
        key = key_of(magnitude, schema)
        if schema == 4:
            histogram._lower()
        return key

    monkeypatch.setattr(cells, "key_of", interrupted)
    histogram.observe(5.0)
    assert histogram.schema == 3
    assert histogram.positive == {key_of(3.0, 3): 1, key_of(5.0, 3): 1}


def test_a_native_histogram_reads_back_what_it_was() -> None:
    first, second = NativeHistogram(5), NativeHistogram(0)
    for value in (0.0, 1.5, -3.0):
        first.observe(value)
    second.load(first.snapshot())
    second.observe(1.5)
    first.observe(1.5)
    assert second.snapshot() == first.snapshot()


def test_a_native_histogram_keeps_the_latest_exemplars() -> None:
    histogram = NativeHistogram()
    histogram.observe(1.0)
    assert histogram.exemplars is None
    for number in range(EXEMPLARS_MAX + 2):
        histogram.observe(1.0, exemplar(at=float(number)))
    assert histogram.exemplars is not None
    assert [each.at for each in histogram.exemplars] == [float(n) for n in range(2, EXEMPLARS_MAX + 2)]
    histogram.observe(nan, exemplar(at=99.0))
    assert histogram.exemplars[-1].at != 99.0


def test_a_state_set() -> None:
    states = StateSet(("closed", "half_open", "open"))
    assert (states.state, repr(states)) == (0, "<StateSet closed>")
    states.set("open")
    states.set("ajar")
    states.set([])
    assert (states.state, states.refused) == (2, 2)


def test_facts_have_no_number() -> None:
    assert repr(Info()) == "<Info>"


def test_no_cell_has_a_dict() -> None:
    for cell in (Counter(), Gauge(), Histogram((1.0,)), NativeHistogram(), StateSet(("up",)), Info()):
        assert isinstance(cell, Cell)
        assert cell.line is None
        assert not hasattr(cell, "__dict__")


def test_the_stress_bites(restless: None) -> None:
    """The same load on a step with a call in its middle loses updates; else it would show nothing."""

    class Leaky:
        value = 0

        def inc(self) -> None:
            value = self.value
            threading.get_ident()
            self.value = value + 1

    for _ in range(50):
        leaky = Leaky()
        in_threads(lambda _, cell=leaky: [cell.inc() for _ in range(STEPS)])
        if leaky.value < THREADS * STEPS:
            return
    pytest.fail("no update was lost: the threads do not interfere")


def test_threads_lose_no_update(restless: None) -> None:
    counter, gauge, histogram = Counter(), Gauge(), Histogram((0.1, 1.0))

    def work(number: int) -> None:
        for step in range(STEPS):
            counter.inc()
            gauge.inc(2)
            gauge.dec(1)
            histogram.observe(step % 3)

    in_threads(work)
    assert counter.value == gauge.value == histogram.count == THREADS * STEPS
    assert histogram.sum == THREADS * sum(step % 3 for step in range(STEPS))


def test_threads_lose_no_observation_while_the_schema_is_lowered(restless: None) -> None:
    histogram = NativeHistogram(8)
    backwards = []

    def work(number: int) -> None:
        before = 0
        for step in range(STEPS // 4):
            histogram.observe(1.0 + (step * THREADS + number) / 50)
            if step % 100 == 0:
                # Whoever reads in the middle of a change sees every observation that was there before.
                count = histogram.snapshot().count
                if count < before:
                    backwards.append((before, count))
                before = count

    in_threads(work)
    assert histogram.schema < 8
    assert histogram.count == THREADS * (STEPS // 4)
    assert not backwards


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_another_thread_reads_leaves_no_lock_behind(restless: None) -> None:
    histogram = NativeHistogram(8)
    for number in range(1, 150):
        histogram.observe(number)
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            histogram.snapshot()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                # Would be waited for in vain if it had been copied while it was held.
                os._exit(not locks.FOLDING.acquire(timeout=5))
            assert os.waitpid(pid, 0)[1] == 0
    finally:
        stop.set()
        reader.join()
