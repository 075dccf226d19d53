"""The instruments measure what they say: intervals, the backend's arithmetic, and faults that bite."""

from __future__ import annotations

import math

import pytest

from benchmarks import harness
from benchmarks.simulation.backend import NEVER, Backend, Schedule
from benchmarks.simulation.episodes import oracle_cost, replay, worlds_of
from benchmarks.simulation.faults import BENIGN, BY_NAME, FAULTS, Fault
from benchmarks.simulation.healthy import run_block
from benchmarks.simulation.rules import Consecutive, Never
from benchmarks.simulation.seawall_rule import seawall
from benchmarks.simulation.traces import draw_trace


def test_poisson_interval_is_exact() -> None:
    # Garwood's limits for 0 and 3 events (95 %), as printed in any table.
    assert harness.poisson_interval(0, 1.0) == pytest.approx((0.0, 3.6889), abs=1e-3)
    assert harness.poisson_interval(3, 1.0) == pytest.approx((0.6187, 8.7673), abs=1e-3)
    assert harness.poisson_interval(0, 200.0)[1] == pytest.approx(0.01844, abs=1e-4)


def test_median_interval_of_known_ranks() -> None:
    # n = 11: the 2nd and the 10th value bound the median with 98.8 % confidence.
    found = harness.median_interval([float(i) for i in range(1, 12)])

    assert (found.median, found.low, found.high) == (6.0, 2.0, 10.0)


def test_figure_is_judged_by_its_operator() -> None:
    def ok(value: float | None, op: harness.Operator) -> bool:
        return harness.Figure(figure="f", value=value, unit="s", op=op, target=2.0).ok

    assert ok(2.0, "<=")
    assert ok(2.0, ">=")
    assert not ok(2.1, "<=")
    assert not ok(None, "<=")
    assert not ok(math.nan, ">=")


def test_json_has_no_infinity() -> None:
    row = harness.Figure(figure="f", value=math.inf, unit="s", rivals={"other": math.nan}).as_json()

    assert row["value"] is None
    assert row["rivals"] == {"other": None}


def test_schedule_stretches_work_over_a_stall() -> None:
    schedule = Schedule([(10.0, 0.0), (10.3, 1.0), (20.0, 0.5)])

    assert schedule.finish(5.0, 1.0) == 6.0
    assert schedule.finish(9.9, 0.2) == pytest.approx(10.4)
    assert schedule.finish(30.0, 1.0) == 32.0
    assert Schedule([(1.0, 0.0)]).finish(0.5, 1.0) == NEVER


def test_backend_queues_and_skips_who_gave_up() -> None:
    backend = Backend(1, Schedule(), timeout_s=2.0)

    assert backend.submit(0.0, 1.5) == 1.5
    assert backend.submit(0.1, 1.5) == 3.0
    assert backend.submit(0.2, 1.0) == NEVER
    assert backend.submit(1.5, 1.0) == 4.0


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_bites(fault: Fault) -> None:
    trace = draw_trace(fault, rate=50.0, seed=1)
    world = worlds_of([trace])[0]
    during = [
        bad
        for (at, _, _), bad in zip(trace.calls, world, strict=True)
        if trace.fault_at + fault.onset_s + 1.0 <= at < trace.repaired_at
    ]

    assert sum(during) > 0.05 * len(during) > 5


HARMLESS = [fault for fault in BENIGN if "stall" not in fault.name]


@pytest.mark.parametrize("fault", HARMLESS, ids=lambda fault: fault.name)
def test_benign_model_stays_below_the_limit(fault: Fault) -> None:
    trace = draw_trace(fault, rate=100.0, seed=1)
    world = worlds_of([trace])[0]

    assert sum(world) < 0.05 * len(world)


def test_replay_repeats_to_the_digit() -> None:
    trace = draw_trace(BY_NAME["20 % errors"], rate=50.0, seed=3)

    assert replay(trace, seawall()) == replay(trace, seawall())


def test_five_in_a_row_opens_with_the_fifth_refusal_or_soon_after() -> None:
    trace = draw_trace(BY_NAME["hard failure"], rate=100.0, seed=1)
    bad = [at for at, _, _ in trace.calls if at >= trace.fault_at]
    opened = replay(trace, Consecutive()).openings[0]

    # Calls that were in flight when the fault began still succeed and start the row anew.
    assert bad[4] <= opened <= trace.fault_at + 0.3


def test_oracle_never_costs_more_than_sending_all() -> None:
    trace = draw_trace(BY_NAME["800 ms stall"], rate=100.0, seed=1)
    world = worlds_of([trace])[0]

    assert 0 < oracle_cost(trace, world) <= sum(world)


def test_healthy_block_has_the_rate_and_the_errors_it_says() -> None:
    block = run_block(Never, rate=50.0, errors=0.01, hours=0.1, seed=1)

    assert block.calls == pytest.approx(50 * 360, rel=0.05)
    assert block.failed == pytest.approx(0.01 * block.calls, rel=0.3)
    assert block.opens == 0
