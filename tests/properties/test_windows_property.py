"""Cohorts and windows against an oracle that remembers every single call."""

import math

import hypothesis.strategies as st
from hypothesis import given, settings

from seawall.kernel.errors import Outcome
from seawall.resilience.windows import Cohort, Ring, Totals, Window

BOUNDS = st.sampled_from([(0.1, 0.0), (0.5, 0.0), (0.5, 2.0), (2.0, 30.0), (10.0, 0.0)])
CALLS = st.lists(st.tuples(st.floats(0.0, 0.4), st.floats(0.0, 12.0) | st.none()), min_size=1, max_size=40)
"""Pauses between starts, and how long each call lasts; ``None`` hangs for ever."""


class Oracle:
    """Knows when each call started and ended."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, float]] = []

    def slow(self, now: float, bound_s: float) -> int:
        """Calls that have been out for ``bound_s`` at ``now``, or were when they ended."""
        return sum(min(end, now) - start >= bound_s for start, end in self.calls if start <= now)

    def fast(self, now: float, bound_s: float) -> int:
        return sum(end <= now and end - start < bound_s for start, end in self.calls)


def play(
    window: Window, oracle: Oracle, calls: list[tuple[float, float | None]], until: float, polled: bool
) -> None:
    """Start and end the calls in the order of time; roll whenever it is due, or only when calls happen."""
    starts: list[tuple[float, float | None]] = []
    now = 0.0
    for pause, lasts in calls:
        now += pause
        starts.append((now, lasts))
    due = window.roll(0.0)
    out: list[tuple[float, float, Cohort]] = []

    def roll_to(at: float) -> None:
        nonlocal due
        while polled and due <= at:
            due = window.roll(due)
        if at >= due:
            due = window.roll(at)

    def end_to(at: float) -> None:
        for call in sorted((call for call in out if call[0] <= at), key=lambda call: call[:2]):
            end, started, cohort = call
            roll_to(end)
            window.settle(cohort, Outcome.OK, end - started)
            out.remove(call)

    for at, lasts in starts:
        end_to(at)
        roll_to(at)
        window.cohort.started += 1
        end = math.inf if lasts is None else at + lasts
        oracle.calls.append((at, end))
        out.append((end, at, window.cohort))
    end_to(until)
    roll_to(until)


@given(bounds=BOUNDS, calls=CALLS, rest=st.floats(0.0, 40.0), polled=st.booleans())
@settings(max_examples=200)
def test_cohorts_count_as_exactly_as_single_calls_within_one_grain(
    bounds: tuple[float, float], calls: list[tuple[float, float | None]], rest: float, polled: bool
) -> None:
    slow_s, slower_s = bounds
    window, oracle = Window(0.0, slow_s, slower_s), Oracle()
    until = sum(pause for pause, _ in calls) + rest
    play(window, oracle, calls, until, polled)
    now = window.rolled_at
    # A cohort matures with the first roll after its youngest call may be slow: a grain and a tick at most.
    blur = window.grain_s + 2.0 * window.tick_s + 1e-9
    assert window.slow <= oracle.slow(now + 1e-9, slow_s), "nothing is slow before its time"
    if polled:
        assert window.slow >= oracle.slow(now - blur, slow_s)
    assert window.answered_fast() == oracle.fast(until, slow_s)
    if slower_s > 0.0:
        assert window.slower <= oracle.slow(now + 1e-9, slower_s)
        assert window.slower >= oracle.slow(now - blur, slower_s) or not polled
    assert window.slow + window.answered_fast() <= len(calls)


@given(bounds=BOUNDS, pauses=st.lists(st.floats(0.0, 0.4), min_size=1, max_size=40))
def test_no_hung_call_is_slow_before_its_time(bounds: tuple[float, float], pauses: list[float]) -> None:
    """Rolled at the very moment when each cohort may mature."""
    window, oracle = Window(0.0, *bounds), Oracle()
    play(window, oracle, [(pause, None) for pause in pauses], sum(pauses), polled=False)
    for cohort in [*window.live, window.cohort]:
        at = cohort.start + window.grain_s + window.slow_s
        window.roll(max(at, window.rolled_at))
        assert window.slow <= oracle.slow(window.rolled_at + 1e-9, window.slow_s)


@given(bounds=BOUNDS, calls=CALLS, polled=st.booleans())
def test_in_the_end_every_call_is_fast_or_slow(
    bounds: tuple[float, float], calls: list[tuple[float, float | None]], polled: bool
) -> None:
    slow_s, slower_s = bounds
    window, oracle = Window(0.0, slow_s, slower_s), Oracle()
    until = sum(pause for pause, _ in calls) + 13.0 + 2.0 * max(slow_s, slower_s)
    play(window, oracle, calls, until, polled)
    assert window.slow == oracle.slow(until, slow_s)
    assert window.slow + window.answered_fast() == len(calls)
    window.roll(until + window.grain_s)
    assert sum(cohort.started for cohort in window.live) == 0, "nothing is kept for longer than needed"
    if slower_s > 0.0:
        assert window.slower == oracle.slow(until, slower_s)


@given(
    gaps=st.lists(st.floats(0.0, 3.0) | st.sampled_from([0.0, 0.02, 0.1, 20.0, 100.0]), max_size=60),
    slices=st.sampled_from([6, 10]),
    span_s=st.sampled_from([1.0, 10.0, 60.0]),
)
def test_a_window_is_a_brute_force_count_to_within_its_slices(
    gaps: list[float], slices: int, span_s: float
) -> None:
    """Marked at each of some moments, a call between each two of them."""
    ring = Ring(span_s, slices, Totals(0.0, 0, 0, 0, 0, 0))
    seen: list[float] = []
    now = last = 0.0
    for gap in gaps:
        now += gap
        total = len(seen)
        ring.mark(Totals(last, total, 0, 0, 0, 0), now - last)
        ring.mark(Totals(now, total, 0, 0, 0, 0), 0.0)
        last = now
        seen.append(now)
        counted = len(seen) - ring.far_end(now).total
        least = sum(at > now - span_s + 1.5 * ring.slice_s + 1e-9 for at in seen)
        most = sum(at >= now - span_s - 1.5 * ring.slice_s - 1e-9 for at in seen)
        assert least <= counted <= most


@given(pauses=st.lists(st.floats(0.0, 30.0), min_size=1, max_size=30), calls=st.integers(1, 5))
def test_the_windows_of_a_key_count_what_fell_into_them(pauses: list[float], calls: int) -> None:
    window = Window(0.0, 0.5)
    due, now = window.roll(0.0), 0.0
    seen: list[float] = []
    for pause in pauses:
        now += pause
        if now >= due:
            due = window.roll(now)
        for _ in range(calls):
            window.reported(ok=False, latency_s=0.1)
            seen.append(now)
        totals = window.totals(now)
        for ring in (window.short, window.long, window.minute):
            counted = totals.since(ring.far_end(now))
            least = sum(at > now - ring.span_s + 2.0 * ring.slice_s + 1e-9 for at in seen)
            most = sum(at >= now - ring.span_s - 2.0 * ring.slice_s - 1e-9 for at in seen)
            assert least <= counted.total <= most
            assert counted.failed == counted.total
