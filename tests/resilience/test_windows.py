"""Counting: cohorts and what they know of calls that hang, windows and what they forget."""

import pytest

from seawall.kernel.errors import Outcome
from seawall.resilience.windows import (
    GRAIN_MAX_S,
    GRAIN_MIN_S,
    HORIZON_S,
    LIVE_MAX,
    LIVE_MAX_WATCHED,
    Cohort,
    Ring,
    Totals,
    Window,
    grain_for,
)

SLOW_S = 0.5
SLOWER_S = 2.0


def start(window: Window, calls: int = 1) -> Cohort:
    window.cohort.started += calls
    return window.cohort


def roll_to(window: Window, until: float, now: float = 0.0) -> None:
    """Roll as a busy caller does: whenever a roll is due."""
    due = window.roll(now)
    while due < until:
        due = window.roll(due)
    window.roll(until)


def test_a_cohort_is_one_grain_and_grains_suit_the_bounds() -> None:
    assert grain_for(SLOW_S, 0.0) == 0.02
    assert grain_for(0.01, 0.0) == GRAIN_MIN_S
    assert grain_for(20.0, 0.0) == GRAIN_MAX_S
    assert grain_for(0.5, 48.0) == 48.0 / LIVE_MAX, "a long second bound makes it coarser"
    assert grain_for(0.0, 0.0) == HORIZON_S / LIVE_MAX


def test_the_grain_of_a_watched_key_does_not_blur_the_stall_bound() -> None:
    assert grain_for(0.0, 0.0, 0.15) == pytest.approx(0.1)
    assert grain_for(0.0, 0.0, 0.005) == HORIZON_S / LIVE_MAX_WATCHED
    assert grain_for(SLOW_S, 0.0, 0.15) == 0.02, "it was fine enough"
    assert grain_for(0.01, 0.0, 0.005) == GRAIN_MIN_S


def test_a_hung_call_counts_as_slow_as_soon_as_its_cohort_is_older_than_the_bound() -> None:
    window = Window(0.0, SLOW_S)
    start(window)
    roll_to(window, SLOW_S + window.grain_s - 0.001)
    assert (window.slow, window.in_flight()) == (0, 1)
    roll_to(window, SLOW_S + 2 * window.grain_s + 0.001, SLOW_S + window.grain_s)
    assert (window.slow, window.in_flight()) == (1, 0)
    roll_to(window, 10.0, 1.0)
    assert window.slow == 1, "and once"


def test_no_call_can_join_a_cohort_that_is_older_than_its_grain() -> None:
    window = Window(0.0, slow_s=10.0)
    assert window.tick_s < window.grain_s == 0.4
    window.roll(0.39)
    assert window.roll(0.395) == 0.4, "not 0.495: a call at 0.49 would count as slow before it is"


def test_answers_are_counted_where_they_belong() -> None:
    window = Window(0.0, SLOW_S)
    cohort = start(window, 7)
    assert window.settle(cohort, Outcome.OK, 0.1) is False
    assert window.settle(cohort, Outcome.IGNORED, 0.1) is False
    assert window.settle(cohort, Outcome.VOID, 0.1) is False
    assert window.settle(cohort, Outcome.THROTTLED, 0.1) is True
    assert window.settle(cohort, Outcome.FAILED, 0.1) is True
    assert window.settle(cohort, Outcome.UNREACHABLE, 0.1) is True
    assert window.settle(cohort, Outcome.SLOW, 0.1) is True
    assert (window.ignored, window.voided, window.throttled, window.slow) == (1, 1, 1, 1)
    assert (window.failed, window.failed_fast, window.unreachable) == (2, 2, 1)
    assert (window.in_flight(), window.answered_fast()) == (0, 4)
    totals = window.totals(0.1)
    assert (totals.total, totals.failed, totals.slow, totals.throttled) == (5, 2, 1, 1)


def test_slow_answers_of_every_kind_are_slow_once() -> None:
    window = Window(0.0, SLOW_S)
    cohort = start(window, 5)
    outcomes = [Outcome.OK, Outcome.FAILED, Outcome.THROTTLED, Outcome.IGNORED, Outcome.SLOW]
    for outcome in outcomes:
        window.settle(cohort, outcome, SLOW_S)
    assert (window.in_flight(), window.slow) == (0, 0), "answered, and to be counted with the cohort"
    roll_to(window, 5.0)
    assert window.slow == 5
    assert (window.failed, window.failed_fast, window.ignored) == (1, 0, 1)


def test_the_second_bound_counts_what_the_first_one_has_counted_already() -> None:
    window = Window(0.0, SLOW_S, SLOWER_S)
    cohort = start(window, 4)
    window.settle(cohort, Outcome.OK, 0.1)
    window.settle(cohort, Outcome.OK, 1.0)
    roll_to(window, 1.0)
    assert (window.slow, window.slower, window.in_flight()) == (3, 0, 2)
    window.settle(cohort, Outcome.FAILED, 1.9)
    window.settle(cohort, Outcome.OK, SLOWER_S)
    roll_to(window, 2.2, 1.0)
    assert (window.slow, window.slower, window.in_flight()) == (3, 1, 0)
    assert window.live == []


def test_a_cohort_whose_slow_calls_all_came_back_in_time_for_the_second_bound_is_dropped_early() -> None:
    window = Window(0.0, SLOW_S, SLOWER_S)
    cohort = start(window)
    window.settle(cohort, Outcome.OK, 0.7)
    roll_to(window, 0.7)
    assert (window.slow, window.live) == (1, [])


def test_a_call_that_is_cancelled_after_it_became_slow_stays_slow_but_becomes_no_slower() -> None:
    window = Window(0.0, SLOW_S, SLOWER_S)
    cohort = start(window, 2)
    roll_to(window, 1.0)
    window.settle(cohort, Outcome.VOID, 1.0)
    assert (window.slow, window.in_flight()) == (2, 1)
    roll_to(window, 3.0, 1.0)
    assert (window.slow, window.slower) == (2, 1)


def test_without_a_latency_rule_calls_are_forgotten_but_their_endings_are_not() -> None:
    window = Window(0.0)
    cohort = start(window, 5)
    window.settle(cohort, Outcome.OK, HORIZON_S + 0.1)
    assert window.answered_fast() == 1, "no bound, no slow answer"
    roll_to(window, HORIZON_S + 2 * window.grain_s + 0.1)
    assert (window.slow, window.forgotten, window.in_flight()) == (0, 4, 0)
    window.settle(cohort, Outcome.OK, 70.0)
    window.settle(cohort, Outcome.FAILED, 70.0)
    assert (window.answered_fast(), window.failed, window.failed_fast) == (3, 1, 1)
    window.settle(cohort, Outcome.IGNORED, 70.0)
    window.settle(cohort, Outcome.SLOW, 70.0)
    assert (window.answered_fast(), window.ignored, window.slow) == (3, 1, 1)


def test_reports_need_no_cohort() -> None:
    window = Window(0.0, SLOW_S, SLOWER_S)
    window.reported(ok=True, latency_s=0.1)
    window.reported(ok=False, latency_s=0.1)
    window.reported(ok=True, latency_s=1.0)
    window.reported(ok=False, latency_s=3.0)
    totals = window.totals(0.0)
    assert (totals.total, totals.failed, totals.slow, totals.slower) == (4, 2, 2, 1)
    assert window.failed_fast == 1


def test_a_run_of_slow_calls_ends_with_a_fast_answer_to_a_later_call() -> None:
    window = Window(0.0, SLOW_S)
    due = window.roll(0.0)
    for _ in range(3):
        start(window, 2)
        due = window.roll(due)
    roll_to(window, 0.6, due)
    assert window.slow_run == 6
    late = start(window)
    window.settle(late, Outcome.OK, 0.01)
    roll_to(window, 0.7, 0.62)
    assert window.slow_run == 0


def test_slow_calls_before_a_fast_one_are_no_run() -> None:
    window = Window(0.0, SLOW_S)
    due = window.roll(0.0)
    for _ in range(5):
        start(window)
        due = window.roll(due)
        window.settle(start(window), Outcome.OK, 0.001)
        due = window.roll(due)
    roll_to(window, 2.0, due)
    assert (window.slow, window.slow_run) == (5, 0), "each was followed by a fast one"


def test_a_run_ends_with_a_fast_answer_of_a_cohort_that_is_still_out() -> None:
    window = Window(0.0, SLOW_S)
    start(window, 3)
    due = window.roll(window.roll(0.0))
    roll_to(window, 0.3, due)
    mixed = start(window, 2)
    window.settle(mixed, Outcome.OK, 0.01)
    roll_to(window, 0.6, 0.32)
    assert (window.slow, window.slow_run) == (3, 0)


def test_windows_are_differences_of_totals() -> None:
    window = Window(0.0, SLOW_S)
    for second in range(20):
        for _ in range(10):
            window.reported(ok=second < 15, latency_s=0.1)
        roll_to(window, second + 1.0, second + 0.01)
    totals = window.totals(20.0)
    long = totals.since(window.long.far_end(20.0))
    assert (long.total, long.failed) == (100, 50)
    minute = totals.since(window.minute.far_end(20.0))
    assert (minute.total, minute.failed) == (200, 50)
    assert totals.since(window.short.far_end(20.0)).total <= 10


def test_what_was_before_a_quiet_time_is_not_now() -> None:
    window = Window(0.0, SLOW_S)
    for _ in range(4):
        window.reported(ok=False, latency_s=0.1)
    window.roll(0.3)
    for _ in range(4):
        window.reported(ok=False, latency_s=0.1)
    window.roll(100.0)
    totals = window.totals(100.0)
    assert totals.since(window.short.far_end(100.0)).total == 0
    assert totals.since(window.long.far_end(100.0)).total == 0
    assert totals.since(window.minute.far_end(100.0)).total == 0
    assert totals.total == 8


def test_a_pause_shorter_than_a_slice_ends_no_slice() -> None:
    ring = Ring(10.0, 10, Totals(0.0, 0, 0, 0, 0, 0))
    ring.mark(Totals(0.5, 5, 0, 0, 0, 0), 0.4)
    assert ring.far_end(10.6).total == 0
    ring.mark(Totals(0.6, 6, 0, 0, 0, 0), 1.0)
    assert ring.far_end(10.6).total == 6


def test_a_ring_keeps_no_more_than_its_slices() -> None:
    ring = Ring(1.0, 10, Totals(0.0, 0, 0, 0, 0, 0))
    for step in range(1, 1000):
        ring.mark(Totals(step * 0.05, step, 0, 0, 0, 0), 0.0)
    assert len(ring._marks) <= 12


def stalled_at(window: Window, now: float, answered: int, sent: int = 10) -> bool:
    cohort = start(window, sent)
    for _ in range(answered):
        window.settle(cohort, Outcome.OK, 0.01)
    begin = window.cohort.start
    roll_to(window, begin + now, begin)
    return window.stalled(begin + now, 0.15, 0.7)


@pytest.mark.parametrize("slow_s", [0.0, SLOW_S, 10.0, 3600.0])
def test_a_stall_is_seen_with_every_latency_rule(slow_s: float) -> None:
    """Calls every few milliseconds, none answered: a coarse grain may delay the suspicion, not prevent it."""
    window = Window(0.0, slow_s, stall_s=0.15)
    due, now = window.roll(0.0), 0.0
    while not window.stalled(now, 0.15, 0.7):
        now += 0.005
        if now >= due:
            due = window.roll(now)
        start(window)
        assert now < 0.15 + 3.0 * window.grain_s + 0.01
    assert now >= 0.15


def test_most_of_the_calls_have_to_be_unanswered() -> None:
    assert stalled_at(Window(0.0, SLOW_S, stall_s=0.15), 0.2, answered=3)
    assert not stalled_at(Window(0.0, SLOW_S, stall_s=0.15), 0.2, answered=4)
    assert not stalled_at(Window(0.0, SLOW_S, stall_s=0.15), 0.1, answered=0), "too early"
    assert not stalled_at(Window(0.0, SLOW_S, stall_s=0.15), 0.4, answered=0), "too late"
    assert not Window(0.0, SLOW_S, stall_s=0.15).stalled(1.0, 0.15, 0.7), "nothing was sent"


def test_answered_cohorts_are_kept_for_the_stall_test_only() -> None:
    for stall_s, kept in ((0.0, 0), (0.15, 1)):
        window = Window(0.0, SLOW_S, stall_s=stall_s)
        window.settle(start(window), Outcome.OK, 0.01)
        window.roll(0.02)
        window.roll(0.1)
        assert sum(cohort.started for cohort in window.live) == kept


def test_a_new_generation_forgets_the_windows_and_remembers_the_totals() -> None:
    window = Window(0.0, SLOW_S)
    cohort = start(window, 3)
    window.settle(cohort, Outcome.FAILED, 0.1)
    window.settle(cohort, Outcome.OK, 0.1)
    assert window.renew(0.2) == 1
    assert (window.cohort.generation, window.in_flight(), window.forgotten) == (1, 0, 1)
    totals = window.totals(0.2)
    assert (totals.total, totals.failed) == (2, 1)
    assert totals.since(window.long.far_end(0.2)).total == 0


def test_late_results_are_counted_and_nothing_else() -> None:
    window = Window(0.0, SLOW_S)
    cohort = start(window, 4)
    window.renew(0.1)
    before = window.totals(0.1)
    window.stray(cohort)
    cohort.fast += 1  # as the hot path does
    assert window.late_results() == 2
    window.renew(0.2)
    window.stray(cohort)
    assert window.late_results() == 3, "also two generations later"
    assert repr(window.totals(0.1)) == repr(before)


def test_a_late_result_finds_its_own_cohort_among_the_orphans() -> None:
    window = Window(0.0, SLOW_S)
    first = start(window, 2)
    roll_to(window, 0.1)
    second = start(window, 2)
    window.renew(0.11)
    window.stray(second)
    assert (first.fast, second.fast, window.late_results()) == (0, 1, 1)


def test_a_window_with_other_bounds_goes_on_with_the_totals() -> None:
    old = Window(0.0, SLOW_S)
    cohort = start(old, 10)
    for outcome in Outcome:
        old.settle(cohort, outcome, 0.1)
    new = Window(1.0, 1.0, 3.0)
    new.succeed(old, 1.0)
    assert (new.generation, new.forgotten, new.in_flight()) == (1, 3, 0)
    assert new.totals(1.0).total == 5
    assert (new.failed, new.ignored, new.unreachable, new.voided, new.throttled) == (2, 1, 1, 1, 1)
    new.stray(cohort)
    assert new.late_results() == 1


def test_a_cohort_can_be_adopted_with_its_calls() -> None:
    window = Window(5.0, SLOW_S)
    window.generation = 3
    cohort = Cohort(0, 5.0)
    cohort.started, cohort.fast = 4, 3
    window.adopt(cohort)
    assert (window.cohort, cohort.generation, window.in_flight()) == (cohort, 3, 1)
    assert window.rolled_at == 5.0


def test_totals_show_what_they_hold() -> None:
    assert repr(Totals(1.0, 5, 1, 2, 0, 3)) == (
        "Totals(at=1.000, total=5, failed=1, slow=2, slower=0, throttled=3)"
    )


def test_rolling_twice_at_one_time_changes_nothing() -> None:
    window = Window(0.0, SLOW_S)
    start(window, 2)
    roll_to(window, 0.6)
    before = (window.slow, window.in_flight(), repr(window.totals(0.6)), len(window.live))
    window.roll(0.6)
    assert (window.slow, window.in_flight(), repr(window.totals(0.6)), len(window.live)) == before


def test_what_matured_before_a_new_generation_is_not_counted_again() -> None:
    window = Window(0.0, SLOW_S, SLOWER_S)
    cohort = start(window, 3)
    window.settle(cohort, Outcome.OK, 0.1)
    window.settle(cohort, Outcome.OK, 1.0)
    roll_to(window, 1.0)
    window.renew(1.0)
    assert (window.totals(1.0).total, window.slow, window.forgotten) == (3, 2, 1)
    window.stray(cohort)
    assert window.late_results() == 1


def test_a_cohort_outlives_the_roll_that_retires_it() -> None:
    """Other threads start calls in it until the breaker has told them of the new one."""
    window = Window(0.0, SLOW_S)
    old = start(window)
    window.settle(old, Outcome.OK, 0.001)
    window.roll(0.02)
    old.started += 1
    window.roll(0.04)
    assert window.in_flight() == 1
