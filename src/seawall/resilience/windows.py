"""Counts of calls over time, including the calls that have not come back yet.

This module counts; it never judges (``detector``) and never decides (``breaker``).
It reads no clock: every method takes ``now`` in monotonic seconds.

Theory of operation
-------------------
*Cohorts.* Calls that start within the same ``grain`` share one :class:`Cohort` with two counters, ``started`` and
``fast`` (finished below the slow bound).  When the whole cohort is older than the slow bound, ``started - fast`` is
exactly the number of its calls that were slow, whether they have finished or still hang.  So a hang is seen at the
slow bound and not at the client's timeout, without a timer and without a registry of calls, and every call is counted
once: counting overdue calls at tick time would weigh long calls more than short ones.  A second bound (P99) works the
same way with the counter ``late``.

*Percentiles.* "P95 above 500 ms" is the same statement as "more than 5 % of the calls took longer than 500 ms", so the
percentile rules need no sketch: the slow count over the total is exact.

*Windows.* Totals only ever grow; a ring keeps copies of them (:class:`Totals`) at slice borders.  A window's count is
the difference between now and the copy at its far end: nothing is summed and nothing is forgotten twice.

*Threads.* The owner calls the hot increments without a lock.  With the GIL, CPython 3.11 to 3.13 hands over to another
thread only at function entry, after a call returns and at a loop's back edge; ``cohort.started += 1`` contains none of
those, so it is atomic.  ``roll`` and everything below it runs under the owner's lock.
"""

from __future__ import annotations

from typing import Final

SHORT_SLICES: Final = 10
"""Slices of the short window: 100 ms each for the usual 1 s."""
LONG_SLICES: Final = 10
"""Slices of the long window: 1 s each for the usual 10 s."""
MINUTE_S: Final = 60.0
MINUTE_SLICES: Final = 6
"""The longest window, for display and for slow rules on quiet keys: six slices of 10 s."""
GRAINS_PER_BOUND: Final = 25
"""Cohorts per slow bound: 20 ms for 500 ms. A slow call is noticed at most 4 % of the bound after it became slow."""
GRAIN_MIN_S: Final = 0.01
GRAIN_MAX_S: Final = 0.5
LIVE_MAX: Final = 48
"""Cohorts that can be alive at once; a long second bound makes the grain coarser instead of the list longer."""
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

    def mark(self, totals: Totals) -> None:
        """Keep ``totals`` if a slice border has passed, and drop the copies that left the window."""
        if totals.at < self._next_at:
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


def grain_for(slow_s: float, slower_s: float) -> float:
    """Length of a cohort in seconds for the given slow bounds (``slower_s`` 0: none)."""
    grain = min(max(slow_s / GRAINS_PER_BOUND, GRAIN_MIN_S), GRAIN_MAX_S)
    return max(grain, max(slow_s, slower_s) / LIVE_MAX)


class Window:
    """All counters of one breaker.

    Args:
        now: the time of birth, monotonic seconds.
        slow_s: a call at or above this is slow; 0 means no latency rule.
        slower_s: the second bound, 0 for none; must be above ``slow_s``.
        short_s: span of the short window.
        long_s: span of the long window.
        keep_s: keep cohorts at least this long even when all their calls came back (the stall test needs them).
    """

    __slots__ = (
        "_has_bound",
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
        keep_s: float = 0.0,
    ) -> None:
        self._has_bound: bool = slow_s > 0.0
        self.slow_s: float = slow_s if slow_s > 0.0 else HORIZON_S
        self.slower_s: float = slower_s
        self.grain_s: float = grain_for(self.slow_s, slower_s)
        self.tick_s: float = min(self.grain_s, short_s / SHORT_SLICES)
        self.keep_s: float = keep_s
        self.generation: int = 0
        self.cohort: Cohort = Cohort(0, now)
        self.live: list[Cohort] = []
        self.passed: int = 0
        self.failed: int = 0
        self.failed_fast: int = 0
        self.slow: int = 0
        self.slow_run: int = 0
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

    def fail(self, cohort: Cohort, latency_s: float) -> None:
        """A call of ``cohort`` came back as a failure."""
        self.failed += 1
        if latency_s < self.slow_s:
            cohort.fast += 1
            self.failed_fast += 1
        else:
            self.tardy(cohort, latency_s)

    def tardy(self, cohort: Cohort, latency_s: float) -> None:
        """A call came back at or above the slow bound: its cohort counts it as slow when it matures."""
        if latency_s < self.slower_s:
            cohort.late += 1

    def throttle(self, cohort: Cohort, latency_s: float) -> None:
        """The server asked for less: a total of its own, neither a success nor a failure."""
        self.throttled += 1
        if latency_s < self.slow_s:
            cohort.fast += 1
        else:
            self.tardy(cohort, latency_s)

    def ignore(self, cohort: Cohort, latency_s: float) -> None:
        """A business error: says nothing about health, so it leaves the denominator, unless it was slow."""
        self.ignored += 1
        if latency_s < self.slow_s:
            self._withdraw(cohort)
        else:
            self.tardy(cohort, latency_s)

    def void(self, cohort: Cohort) -> None:
        """A call that was cancelled from outside: as if it had never started."""
        self.voided += 1
        self._withdraw(cohort)

    def _withdraw(self, cohort: Cohort) -> None:
        if not cohort.matured:
            cohort.started -= 1

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
        gap = now - self.rolled_at
        if gap > 2.0 * self.tick_s:
            # What was counted before a quiet time belongs to the time before it, not to now.
            self._mark(self.rolled_at + self.tick_s)
        if now >= self.cohort.start + self.grain_s:
            self.live.append(self.cohort)
            self.cohort = Cohort(self.generation, now)
        self._mature(now)
        self._mark(now)
        self.rolled_at = now
        return now + self.tick_s

    def _mark(self, at: float) -> None:
        totals = self.totals(at)
        self.short.mark(totals)
        self.long.mark(totals)
        self.minute.mark(totals)

    def _mature(self, now: float) -> None:
        slow_before = now - self.grain_s - self.slow_s
        slower_before = now - self.grain_s - self.slower_s
        keep_after = now - self.grain_s - self.keep_s
        kept: list[Cohort] = []
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
                elif unanswered == 0 and cohort.start <= keep_after:
                    self.passed += cohort.fast
                    self._run_on(cohort, 0)
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

    def _run_on(self, cohort: Cohort, unanswered: int) -> None:
        """Cohorts in which not one call was fast extend the run of slow calls; any fast call ends it."""
        if cohort.fast > 0:
            self.slow_run = 0
        else:
            self.slow_run += unanswered

    def stalled(self, now: float, after_s: float, share: float) -> bool:
        """Whether at least ``share`` of what was sent a little more than ``after_s`` ago is unanswered.

        The calls looked at started between ``after_s`` and ``STALL_SPAN`` times that long ago, to half a grain.
        """
        started = 0
        answered = 0
        youngest = now - after_s - 0.5 * self.grain_s
        oldest = now - after_s * STALL_SPAN - 0.5 * self.grain_s
        for cohort in self.live:
            if oldest <= cohort.start <= youngest:
                started += cohort.started
                answered += cohort.fast + cohort.late
        return started > 0 and started - answered >= share * started

    def renew(self, now: float) -> int:
        """Forget the windows and start a new generation; calls still out no longer count here.

        Returns the number of the new generation.
        """
        self.generation += 1
        self.late = self.late_results()
        self.forgotten += self.in_flight()
        self.passed = self.answered_fast()
        self.orphans = [
            (c, c.fast + c.late) for c in [*self.live, self.cohort] if c.started > c.fast + c.late
        ]
        self.live = []
        self.slow_run = 0
        self.cohort = Cohort(self.generation, now)
        zero = self.totals(now)
        self.short = Ring(self.short.span_s, SHORT_SLICES, zero)
        self.long = Ring(self.long.span_s, LONG_SLICES, zero)
        self.minute = Ring(self.minute.span_s, MINUTE_SLICES, zero)
        self.rolled_at = now
        return self.generation

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
