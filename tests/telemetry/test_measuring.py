"""The arithmetic of ``benchmarks.telemetry``: what is judged is what was measured."""

import asyncio
import math
import os

import pytest

from benchmarks.telemetering import costs
from benchmarks.telemetering.costs import OURS, Row, figure, measure, quiet, times
from benchmarks.telemetering.delays import (
    NS_IN_MS,
    Round,
    Ticker,
    Window,
    added,
    by_time,
    first,
    quietest,
)
from benchmarks.telemetering.delays import measure as measure_delay

MS = int(NS_IN_MS)


class Clock:
    """Gives what it is told, and how often the thread lost the processor."""

    def __init__(self):
        self.now = self.lost = 0

    def ticker(self):
        return Ticker(lambda: self.now, lambda: self.lost)


def tick(ticker, clock, after, *, lost=0):
    clock.now += after
    clock.lost += lost
    ticker.tick()


def test_a_ticker_notes_the_gaps_that_a_load_is_in_and_no_others():
    clock = Clock()
    ticker = clock.ticker()
    for after in (5, 7):
        tick(ticker, clock, after)
    ticker.begin()
    tick(ticker, clock, 11)
    tick(ticker, clock, 13)
    ticker.end()
    tick(ticker, clock, 17)
    tick(ticker, clock, 19)
    assert ticker.take() == Window([11, 13, 17])
    assert ticker.take() == Window([])


def test_the_gap_before_the_first_run_is_none():
    clock = Clock()
    ticker = clock.ticker()
    with ticker.noting():
        tick(ticker, clock, 1_000)
    assert ticker.take().gaps == []


def test_gaps_in_which_the_processor_was_lost_are_counted():
    clock = Clock()
    ticker = clock.ticker()
    tick(ticker, clock, 1, lost=5)
    with ticker.noting():
        tick(ticker, clock, 2)
        tick(ticker, clock, 3, lost=2)
        tick(ticker, clock, 4)
    assert ticker.take() == Window([2, 3, 4], 1)


def test_by_time_asks_in_which_gap_a_moment_lies():
    gaps = [1] * 9_000 + [100] * 10
    assert by_time(gaps, 0.5) == 1
    assert by_time(gaps, 0.99) == 100, "a tenth of the time lies in a thousandth of the gaps"
    assert by_time([3], 0.99) == 3
    assert math.isnan(by_time([], 0.99))


def test_what_is_added_is_the_median_over_rounds_of_loaded_less_idle():
    def one(idle, loaded):
        return Round(Window([idle * MS] * 10), Window([0] * 5 + [loaded * MS] * 95), 1.0)

    estimate = added([one(1, 3), one(2, 9), one(1, 2)])
    assert (estimate.median, estimate.low, estimate.high) == (2, 1, 7)


def test_the_99th_percentile_leaves_the_hundredth_out():
    idle = Window([0] * 200)
    assert added([Round(idle, Window([MS] * 198 + [50 * MS] * 2), 1.0)]).median == 1
    assert added([Round(idle, Window([MS] * 197 + [50 * MS] * 3), 1.0)]).median == 50


def a_round(*, yardstick, disturbed=0):
    return Round(Window([1], disturbed), Window([2]), yardstick)


def test_undisturbed_rounds_count_or_the_least_disturbed_quarter():
    calm, slow, lost = a_round(yardstick=10), a_round(yardstick=20), a_round(yardstick=10, disturbed=3)
    assert quietest([lost, calm, slow, calm], 11.0) == [calm, calm]
    assert quietest([lost, slow, lost, lost, lost], 11.0) == [slow, lost]


def test_the_windows_in_the_quietest_moments_count_whatever_they_found():
    windows = [costs.Window(float(number * 7 % 100), 1.0 / (number + 1)) for number in range(100)]
    assert [one.yardstick_ns for one in quiet(windows)] == list(range(100 // 8))
    few = sorted(number * 7 % 100 for number in range(20))
    assert [one.yardstick_ns for one in quiet(windows[:20])] == few[:8]
    assert len(quiet(windows[:3])) == 3


def constant(seconds):
    return lambda number: seconds * number


@pytest.mark.parametrize(("unit", "scale"), [("ns", 1.0), ("ms", 1e-6)])
def test_a_row_is_what_an_arm_costs_above_the_control_in_its_unit(unit, scale):
    row = Row(
        name="work",
        unit=unit,
        control=constant(10e-9),
        arms={OURS: constant(35e-9), "rival": constant(110e-9)},
        target=30.0 * scale,
        goal=20.0 * scale,
        number=10,
    )
    made = figure(row, measure([row], rounds=8)["work"])
    assert made.value == pytest.approx(round(25.0 * scale, 3 if unit == "ms" else 1))
    assert made.ok
    assert made.op == "<="
    assert list(made.rivals) == ["rival"]
    assert "rival x 4.0" in made.note
    assert f"goal {20.0 * scale:g} {unit}" in made.note


def test_a_row_without_a_target_is_only_shown():
    row = Row(name="work", arms={OURS: constant(1.0)}, number=1)
    made = figure(row, measure([row], rounds=4)["work"])
    assert (made.op, made.target, made.ok, made.note) == (None, None, True, None)


def test_a_run_that_takes_too_long_ends_after_a_quarter():
    windows = []
    row = Row(name="work", arms={OURS: lambda number: windows.append(number) or 0.0}, number=10)
    measure([row], rounds=8, within_s=-1.0)
    assert windows.count(10) == 2


def test_times_says_nothing_beside_a_cost_that_is_none():
    assert times(2.0, {"a": 5.0, "b": 1.0}) == ["a x 2.5", "b x 0.5"]
    assert times(0.0, {"a": 5.0}) == times(-1.0, {"a": 5.0}) == []


def test_windows_hold_what_the_load_did_to_the_loop():
    held = []

    async def load(ticker):
        before = ticker._clock()
        with ticker.noting():
            sum(range(20_000))
            held.append(ticker._clock() - before)
            await asyncio.sleep(0)

    rounds = asyncio.run(measure_delay(load, rounds=4, loads=2, idle_s=0.0))
    assert 1 <= len(rounds) <= 4
    assert all(one.idle.gaps and len(one.loaded.gaps) >= 2 for one in rounds)
    assert max(max(one.loaded.gaps) for one in rounds) >= min(held)


def test_going_first_ends_with_the_block():
    before = os.sched_getscheduler(0)
    with first() as allowed:
        assert (os.sched_getscheduler(0) == os.SCHED_FIFO) is allowed
    assert os.sched_getscheduler(0) == before
