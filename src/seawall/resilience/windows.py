"""Counts of calls over time, including the calls that have not come back yet.

This module counts; it never judges (``detector``) and never decides (``breaker``).
It reads no clock: every method takes ``now`` in monotonic seconds.

Theory of operation
-------------------
*Cohorts.* Calls that start within the same ``grain`` share one :class:`Cohort` with two counters, ``started``
and ``fast`` (finished below the slow bound).  When the whole cohort is older than the slow bound,
``started - fast`` is exactly the number of its calls that were slow, whether they have finished or still
hang.  So a hang is seen at the slow bound and not at the client's timeout, without a timer and without a
registry of calls, and every call is counted once: counting overdue calls at tick time would weigh long calls
more than short ones.  A second bound (P99) works the same way with the counter ``late``.

*Percentiles.* "P95 above 500 ms" is the same statement as "more than 5 % of the calls took longer than 500
ms", so the percentile rules need no sketch: the slow count over the total is exact.

*Windows.* Totals only ever grow; a ring keeps copies of them (:class:`Totals`) at slice borders.  A window's
count is the difference between now and the copy at its far end: nothing is summed and nothing is forgotten
twice.

*Threads.* The owner calls the hot increments without a lock.  With the GIL, CPython 3.11 to 3.13 hands over
to another thread only at function entry, after a call returns and at a loop's back edge; ``cohort.started +=
1`` contains none of those, so it is atomic.  ``roll`` and everything below it runs under the owner's lock.
"""

from __future__ import annotations

import math
from typing import Final

from seawall.kernel.errors import Outcome

AT_ONCE: Final = -math.inf
"""Before all time: what is due then is due now."""
NEVER: Final = math.inf
SHORT_SLICES: Final = 10
"""Slices of the short window: 100 ms each for the usual 1 s."""
LONG_SLICES: Final = 10
"""Slices of the long window: 1 s each for the usual 10 s."""
MINUTE_S: Final = 60.0
MINUTE_SLICES: Final = 6
"""The longest window, for display and for slow rules on quiet keys: six slices of 10 s."""
GRAINS_PER_BOUND: Final = 25
"""Cohorts per slow bound: 20 ms for 500 ms. A slow call is noticed at most 4 % of the bound late."""
GRAIN_MIN_S: Final = 0.01
GRAIN_MAX_S: Final = 0.5
LIVE_MAX: Final = 48
"""Cohorts that can be alive at once; a long second bound makes the grain coarser, not the list longer."""
LIVE_MAX_WATCHED: Final = 600
"""The same for a key with an active probe, whose grain must not blur the stall bound."""
STALL_SPAN: Final = 5.0 / 3.0
"""The stall test looks at calls between one and this many times the stall bound old."""
HORIZON_S: Final = 60.0
"""Without a latency rule, an unanswered call is forgotten after this long."""


class Ticket:
    """What an admitted call carries: which life of the breaker it belongs to."""

    __slots__ = ("generation",)

    def __init__(self, generation: int) -> None:
        self.generation: int = generation


class Cohort(Ticket):
    """Calls that started within one grain.

    ``started - fast`` calls are unanswered, or were answered after the slow bound.
    """

    __slots__ = ("fast", "late", "matured", "start", "started")

    def __init__(self, generation: int, start: float) -> None:
        super().__init__(generation)
        self.start: float = start
        self.started: int = 0
        self.fast: int = 0
        self.late: int = 0
        self.matured: bool = False


class Totals:
    """A copy of the running totals at the time ``at``, and also the difference of two of them."""

    __slots__ = ("at", "failed", "slow", "slower", "throttled", "total")

    def __init__(self, at: float, total: int, failed: int, slow: int, slower: int, throttled: int) -> None:
        self.at: float = at
        self.total: int = total
        self.failed: int = failed
        self.slow: int = slow
        self.slower: int = slower
        self.throttled: int = throttled

    def since(self, other: Totals) -> Totals:
        """What happened after ``other`` was taken."""
        return Totals(
            other.at,
            self.total - other.total,
            self.failed - other.failed,
            self.slow - other.slow,
            self.slower - other.slower,
            self.throttled - other.throttled,
        )

    def __repr__(self) -> str:
        return (
            f"Totals(at={self.at:.3f}, total={self.total}, failed={self.failed}, slow={self.slow}, "
            f"slower={self.slower}, throttled={self.throttled})"
        )


class Ring:
    """Copies of the totals at slice borders, spanning one window."""

    __slots__ = ("_marks", "_next_at", "slice_s", "span_s")

    def __init__(self, span_s: float, slices: int, zero: Totals) -> None:
        self.span_s: float = span_s
        self.slice_s: float = span_s / slices
        self._marks: list[Totals] = [zero]
        self._next_at: float = zero.at + self.slice_s

    def mark(self, totals: Totals, gap_s: float) -> None:
        """Keep ``totals`` if a slice border has passed, and drop the copies that left the window.

        A quiet time of ``gap_s`` after ``totals.at`` that is longer than a slice ends the slice early.
        """
        if totals.at < self._next_at and gap_s < self.slice_s:
            return
        marks = self._marks
        marks.append(totals)
        self._next_at = totals.at + self.slice_s
        horizon = totals.at - self.span_s
        while len(marks) > 1 and marks[1].at <= horizon:
            marks.pop(0)

    def far_end(self, now: float) -> Totals:
        """The newest copy that is at least one window old, or the oldest there is."""
        marks = self._marks
        horizon = now - self.span_s + self.slice_s * 0.5
        while len(marks) > 1 and marks[1].at <= horizon:
            marks.pop(0)
        return marks[0]


def grain_for(slow_s: float, slower_s: float, stall_s: float = 0.0) -> float:
    """Length of a cohort in seconds for the given bounds (0: none)."""
    slow_s = slow_s if slow_s > 0.0 else HORIZON_S
    grain = min(max(slow_s / GRAINS_PER_BOUND, GRAIN_MIN_S), GRAIN_MAX_S)
    grain = max(grain, max(slow_s, slower_s) / LIVE_MAX)
    if stall_s <= 0.0:
        return grain
    # A cohort longer than the span that the stall test looks at would fall through it.
    fine = max(stall_s * (STALL_SPAN - 1.0), GRAIN_MIN_S, max(slow_s, slower_s) / LIVE_MAX_WATCHED)
    return min(grain, fine)


class Window:
    """All counters of one breaker.

    Args:
        now: the time of birth, monotonic seconds.
        slow_s: a call at or above this is slow; 0 means no latency rule.
        slower_s: the second bound, 0 for none; must be above ``slow_s``.
        short_s: span of the short window.
        long_s: span of the long window.
        stall_s: unanswered for this long is suspicious, 0 if nobody asks :meth:`stalled`.
    """

    __slots__ = (
        "_fast_at",
        "_has_bound",
        "_run_at",
        "cohort",
        "failed",
        "failed_fast",
        "forgotten",
        "generation",
        "grain_s",
        "ignored",
        "keep_s",
        "late",
        "live",
        "long",
        "minute",
        "orphans",
        "passed",
        "rolled_at",
        "short",
        "slow",
        "slow_run",
        "slow_s",
        "slower",
        "slower_s",
        "throttled",
        "tick_s",
        "unreachable",
        "voided",
    )

    def __init__(
        self,
        now: float,
        slow_s: float = 0.0,
        slower_s: float = 0.0,
        short_s: float = 1.0,
        long_s: float = 10.0,
        stall_s: float = 0.0,
    ) -> None:
        self._has_bound: bool = slow_s > 0.0
        self.slow_s: float = slow_s if slow_s > 0.0 else HORIZON_S
        self.slower_s: float = slower_s
        self.grain_s: float = grain_for(slow_s, slower_s, stall_s)
        self.tick_s: float = min(self.grain_s, short_s / SHORT_SLICES)
        # Answered cohorts are of use to the stall test for as long as it looks back.
        self.keep_s: float = self._look_back_s(stall_s) if stall_s > 0.0 else 0.0
        self.generation: int = 0
        self.cohort: Cohort = Cohort(0, now)
        self.live: list[Cohort] = []
        self.passed: int = 0
        self.failed: int = 0
        self.failed_fast: int = 0
        self.slow: int = 0
        self.slow_run: int = 0
        self._run_at: float = AT_ONCE
        self._fast_at: float = AT_ONCE
        self.slower: int = 0
        self.throttled: int = 0
        self.ignored: int = 0
        self.unreachable: int = 0
        self.voided: int = 0
        self.forgotten: int = 0
        self.late: int = 0
        self.orphans: list[tuple[Cohort, int]] = []
        self.rolled_at: float = now
        zero = Totals(now, 0, 0, 0, 0, 0)
        self.short: Ring = Ring(short_s, SHORT_SLICES, zero)
        self.long: Ring = Ring(long_s, LONG_SLICES, zero)
        self.minute: Ring = Ring(max(MINUTE_S, long_s), MINUTE_SLICES, zero)

    # -- what has been counted -----------------------------------------------------------------------------

    def answered_fast(self) -> int:
        """Calls that came back below the slow bound, failed ones included."""
        count = self.passed + self.cohort.fast
        for cohort in self.live:
            if not cohort.matured:
                count += cohort.fast
        return count

    def in_flight(self) -> int:
        """Calls that have not come back and are still remembered."""
        count = self.cohort.started - self.cohort.fast - self.cohort.late
        for cohort in self.live:
            count += cohort.started - cohort.fast - cohort.late
        return count

    def totals(self, now: float) -> Totals:
        """The running totals: every call that is known to be fast or known to be slow."""
        return Totals(
            now, self.answered_fast() + self.slow, self.failed, self.slow, self.slower, self.throttled
        )

    # -- one call ------------------------------------------------------------------------------------------

    def settle(self, cohort: Cohort, outcome: Outcome, latency_s: float) -> bool:
        """A call of ``cohort``, of this generation, came back; true if that speaks against the callee."""
        if outcome is Outcome.OK:
            self._answer(cohort, latency_s)
            return False
        if outcome is Outcome.IGNORED:
            # A business error says nothing about health, so it leaves the denominator, unless it was slow.
            self.ignored += 1
            if latency_s < self.slow_s or not self._has_bound:
                self._withdraw(cohort)
            else:
                self._answer(cohort, latency_s)
            return False
        if outcome is Outcome.VOID:
            # Cancelled from outside: as if it had never started.
            self.voided += 1
            self._withdraw(cohort)
            return False
        if outcome is Outcome.THROTTLED:
            # The server asked for less: a total of its own, neither a success nor a failure.
            self.throttled += 1
            self._answer(cohort, latency_s)
        elif outcome is Outcome.SLOW:
            self._declared_slow(cohort, latency_s)
        else:
            self.failed += 1
            self.unreachable += outcome is Outcome.UNREACHABLE
            self.failed_fast += self._answer(cohort, latency_s)
        return True

    def _answer(self, cohort: Cohort, latency_s: float) -> bool:
        """Count an answer; true if it was fast, as every answer is when there is no latency rule."""
        if latency_s < self.slow_s or not (self._has_bound or cohort.matured):
            cohort.fast += 1
            return True
        if not self._has_bound:
            # It was forgotten in the meantime, but its ending is known now.
            self.passed += 1
            return True
        # Its cohort counts it as slow when it matures; here it is only kept from counting as slower.
        if latency_s < self.slower_s or self.slower_s <= 0.0:
            cohort.late += 1
        return False

    def _declared_slow(self, cohort: Cohort, latency_s: float) -> None:
        if latency_s < self.slow_s or not self._has_bound:
            self._withdraw(cohort)
            self.slow += 1
        else:
            self._answer(cohort, latency_s)

    def _withdraw(self, cohort: Cohort) -> None:
        if cohort.matured:
            # It counts as slow already, but it must not become slower.
            cohort.late += 1
        else:
            cohort.started -= 1

    def stray(self, cohort: Cohort) -> None:
        """A call of an older generation came back."""
        for orphan, _ in self.orphans:
            if orphan is cohort:
                cohort.fast += 1
                return
        self.late += 1

    def reported(self, *, ok: bool, latency_s: float) -> None:
        """A call known only by its result (no ticket was drawn)."""
        if latency_s < self.slow_s:
            self.passed += 1
        else:
            self.slow += 1
            if self.slower_s > 0.0 and latency_s >= self.slower_s:
                self.slower += 1
        if not ok:
            self.failed += 1
            if latency_s < self.slow_s:
                self.failed_fast += 1

    # -- time ----------------------------------------------------------------------------------------------

    def roll(self, now: float) -> float:
        """Mature old cohorts and mark slice borders; returns the time of the next useful roll.

        Idempotent: rolling twice at the same time changes nothing.
        """
        gap_s = now - self.rolled_at
        if gap_s > 2.0 * self.tick_s:
            # What was counted before a quiet time belongs to the time before it, not to now.
            self._mark(self.rolled_at + self.tick_s, gap_s)
        retired: Cohort | None = None
        if now >= self.cohort.start + self.grain_s:
            retired = self.cohort
            self.live.append(retired)
            self.cohort = Cohort(self.generation, now)
        self._mature(now, retired)
        self._mark(now, 0.0)
        self.rolled_at = now
        # A call that starts in a cohort after its grain would be taken for slow before it is.
        return min(now + self.tick_s, self.cohort.start + self.grain_s)

    def _mark(self, at: float, gap_s: float) -> None:
        totals = self.totals(at)
        self.short.mark(totals, gap_s)
        self.long.mark(totals, gap_s)
        self.minute.mark(totals, gap_s)

    def _mature(self, now: float, retired: Cohort | None) -> None:
        slow_before = now - self.grain_s - self.slow_s
        slower_before = now - self.grain_s - self.slower_s
        keep_after = now - self.grain_s - self.keep_s
        kept: list[Cohort] = []
        self._follow_fast()
        for cohort in self.live:
            if not cohort.matured:
                unanswered = cohort.started - cohort.fast
                if cohort.start <= slow_before:
                    cohort.matured = True
                    self.passed += cohort.fast
                    if not self._has_bound:
                        self.forgotten += unanswered
                        continue
                    self.slow += unanswered
                    self._run_on(cohort, unanswered)
                elif unanswered == 0 and cohort.start <= keep_after and cohort is not retired:
                    # Not while the owner may still start calls in it: it learns of the new cohort after this.
                    self.passed += cohort.fast
                    continue
            if cohort.matured:
                if self.slower_s <= 0.0:
                    continue
                unanswered = cohort.started - cohort.fast - cohort.late
                if unanswered == 0:
                    continue
                if cohort.start <= slower_before:
                    self.slower += unanswered
                    continue
            kept.append(cohort)
        self.live = kept

    def _follow_fast(self) -> None:
        """Find the newest cohort with a fast answer; it ends a run of slow calls that started before."""
        newest = self.cohort
        if newest.fast == 0:
            for cohort in reversed(self.live):
                if cohort.fast > 0:
                    newest = cohort
                    break
        if newest.fast > 0:
            self._fast_at = max(self._fast_at, newest.start)
        if self._fast_at >= self._run_at:
            self.slow_run = 0

    def _run_on(self, cohort: Cohort, unanswered: int) -> None:
        """Extend the run of slow calls, unless a call that started later was answered fast."""
        if cohort.start > self._fast_at:
            self.slow_run += unanswered
            self._run_at = cohort.start

    def stalled(self, now: float, after_s: float, share: float) -> bool:
        """Whether at least ``share`` of what was sent a little more than ``after_s`` ago is unanswered.

        The calls looked at started between ``after_s`` and ``STALL_SPAN`` times that long ago, to half a
        grain, and at least the calls of one whole cohort.
        """
        started = 0
        answered = 0
        self.keep_s = self._look_back_s(after_s)
        youngest = now - after_s - 0.5 * self.grain_s
        oldest = now - self.keep_s
        for cohort in self.live:
            if oldest <= cohort.start <= youngest:
                started += cohort.started
                answered += cohort.fast + cohort.late
        return started > 0 and started - answered >= share * started

    def _look_back_s(self, after_s: float) -> float:
        return max(after_s * STALL_SPAN + 0.5 * self.grain_s, after_s + 2.0 * self.grain_s)

    def renew(self, now: float) -> int:
        """Forget the windows and start a new generation; calls still out no longer count here.

        Returns the number of the new generation.
        """
        self.generation += 1
        self.late = self.late_results()
        self.orphans = []
        for cohort in [*self.live, self.cohort]:
            # Read once: an answer that another thread counts in between is a late one.
            fast, answered = cohort.fast, cohort.fast + cohort.late
            if not cohort.matured:
                self.passed += fast
            self.forgotten += cohort.started - answered
            self.orphans.append((cohort, answered))
        self.live = []
        self.slow_run = 0
        self._run_at = AT_ONCE
        self._fast_at = AT_ONCE
        self.cohort = Cohort(self.generation, now)
        zero = self.totals(now)
        self.short = Ring(self.short.span_s, SHORT_SLICES, zero)
        self.long = Ring(self.long.span_s, LONG_SLICES, zero)
        self.minute = Ring(self.minute.span_s, MINUTE_SLICES, zero)
        self.rolled_at = now
        return self.generation

    def succeed(self, old: Window, now: float) -> None:
        """Go on where ``old``, which counted by other bounds, ends: its totals, and a new generation."""
        self.generation = old.generation
        self.cohort, self.live, self.orphans = old.cohort, old.live, old.orphans
        self.passed, self.failed, self.failed_fast = old.passed, old.failed, old.failed_fast
        self.slow, self.slower, self.throttled = old.slow, old.slower, old.throttled
        self.ignored, self.unreachable, self.voided = old.ignored, old.unreachable, old.voided
        self.forgotten, self.late = old.forgotten, old.late
        self.renew(now)

    def late_results(self) -> int:
        """Results that came back after their generation had ended; they are counted here and nowhere else."""
        count = self.late
        for cohort, answered in self.orphans:
            count += cohort.fast + cohort.late - answered
        return count

    def adopt(self, cohort: Cohort) -> None:
        """Take over the calls of a cohort that was counted elsewhere (a light breaker that grew up)."""
        cohort.generation = self.generation
        self.cohort = cohort
        self.rolled_at = cohort.start
