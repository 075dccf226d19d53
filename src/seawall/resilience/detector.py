"""Judges a window: is the bad share really above its limit, or does it only look so?

Pure arithmetic.  The breaker asks :meth:`Detector.judge` after every failure and at every roll of the window;
the answer is ``None`` or an :class:`Evidence` that explains the verdict to a person.

Theory of operation
-------------------
*adaptive* mode opens when the Wilson score interval's lower bound of the bad share lies above the limit
(E. B. Wilson, 1927), on the short or on the long window.  With p0 the limit, k bad calls out of n and z
standard errors this is the same as ``k - n*p0 > z * sqrt(n*p0*(1-p0))``: no square root and no division are
needed to say "no".  A share that merely touches its limit by chance does not open, so no ``minimum_requests``
is needed to protect quiet keys; it stays as an optional floor.  Because the test is repeated all the time, z
is larger than in a textbook: 4 by default. :func:`confidence_for` turns a wanted rate of false opens into z.

*consecutive*: so many failures, or so many slow calls, in a row that even a key at its limit would show them
only once in fifty million calls.  That is what makes a hard failure visible within a few calls, long before a
share moves.

*static* mode compares raw shares with their limits over one window after ``minimum_requests``: the literal
reading of the usual configuration keys, kept for those who rely on it.
"""

from __future__ import annotations

import math
from typing import Final

from seawall.resilience.windows import Totals, Window

MIN_BAD: Final = 5
"""Fewer bad calls than this are an anecdote, whatever the arithmetic says."""
RUN_CHANCE: Final = 2e-8
"""A run of bad calls opens when a key that sits exactly at its limit would show it this rarely per call."""
RUN_MIN: Final = 5
RUN_MAX: Final = 50
LOOKS_PER_HOUR: Final = 36_000.0
"""Effectively independent looks at the windows per key and hour: one per 100 ms slice."""


class Evidence:
    """Why a breaker opened.

    Attributes:
        rule: ``errors``, ``slow``, ``slower``, ``throttled``, ``saturation``, ``consecutive`` or ``probe``.
        window_s: the window that was judged, seconds; 0 where there is none.
        bad: bad calls in it.
        total: calls in it.
        bound: lower bound of the true bad share (adaptive), or the raw share (static).
        limit: the limit it lies above.
        latency_s: the slow bound of a latency rule, else 0.
        at: monotonic seconds of the verdict.
    """

    __slots__ = ("at", "bad", "bound", "latency_s", "limit", "rule", "total", "window_s")

    def __init__(
        self,
        rule: str,
        window_s: float,
        bad: int,
        total: int,
        bound: float,
        limit: float,
        latency_s: float,
        at: float,
    ) -> None:
        self.rule: str = rule
        self.window_s: float = window_s
        self.bad: int = bad
        self.total: int = total
        self.bound: float = bound
        self.limit: float = limit
        self.latency_s: float = latency_s
        self.at: float = at

    def explain(self) -> str:
        """One sentence for a person."""
        if self.rule == "probe":
            return (
                f"calls were left unanswered for {self.latency_s * 1000:.0f} ms and the active probe failed"
            )
        if self.rule == "consecutive":
            what = f"calls slower than {self.latency_s * 1000:.0f} ms" if self.latency_s > 0.0 else "failures"
            return f"{self.bad} {what} in a row (limit {self.limit:.0f})"
        if self.rule == "saturation":
            span = f"{self.window_s:g} s"
            return f"{self.bound:.0%} of the capacity was in use for {span} (limit {self.limit:.0%})"
        what = {
            "errors": "failed",
            "throttled": "were throttled",
            "slow": f"took longer than {self.latency_s * 1000:.0f} ms",
            "slower": f"took longer than {self.latency_s * 1000:.0f} ms",
        }[self.rule]
        return (
            f"{self.bad} of {self.total} calls {what} in the last {self.window_s:g} s; "
            f"the bad share is at least {self.bound:.1%}, the limit is {self.limit:.1%}"
        )

    def __str__(self) -> str:
        return self.explain()

    def __reduce__(self) -> tuple[type[Evidence], tuple[object, ...]]:
        """Rebuild from the constructor's arguments: errors that carry evidence cross process borders."""
        return Evidence, (
            self.rule,
            self.window_s,
            self.bad,
            self.total,
            self.bound,
            self.limit,
            self.latency_s,
            self.at,
        )

    def __repr__(self) -> str:
        return f"<Evidence {self.rule}: {self.explain()}>"


def wilson_lower(bad: int, total: int, z: float) -> float:
    """Lower bound of the true share behind ``bad`` of ``total``, ``z`` standard errors down (Wilson)."""
    if total <= 0:
        return 0.0
    share = bad / total
    z2 = z * z
    centre = share + z2 / (2.0 * total)
    # The radicand is 0 for share 0 or 1 and tiny z; rounding may take it below.
    spread = z * math.sqrt(max(share * (1.0 - share) / total + z2 / (4.0 * total * total), 0.0))
    return max(0.0, (centre - spread) / (1.0 + z2 / total))


def confidence_for(false_opens_per_hour: float) -> float:
    """Standard errors z so that a key whose bad share sits *exactly at its limit* opens this often per hour.

    A key below its limit opens far more rarely.  Uses the normal tail; solved by bisection.

    Raises:
        ValueError: the rate is not above zero, or so high that every look would open.
    """
    chance = false_opens_per_hour / LOOKS_PER_HOUR
    if not 0.0 < chance < 0.5:
        raise ValueError(
            f"false_opens_per_hour = {false_opens_per_hour!r}: allowed is a number above 0 and below "
            f"{LOOKS_PER_HOUR / 2:.0f}"
        )
    low, high = 0.0, 38.0
    for _ in range(80):
        middle = (low + high) / 2.0
        if 0.5 * math.erfc(middle / math.sqrt(2.0)) > chance:
            low = middle
        else:
            high = middle
    return high


def run_limit(errors: float) -> int:
    """How many failures in a row open a breaker whose error limit is ``errors`` (a share)."""
    if not 0.0 < errors < 1.0:
        return RUN_MAX
    return min(max(math.ceil(math.log(RUN_CHANCE) / math.log(errors)), RUN_MIN), RUN_MAX)


class Rule:
    """One limit on one counter, with the products that the test needs."""

    __slots__ = ("_variance", "latency_s", "limit", "name")

    def __init__(self, name: str, limit: float, z: float, latency_s: float) -> None:
        self.name: str = name
        self.limit: float = limit
        self.latency_s: float = latency_s
        self._variance: float = z * z * limit * (1.0 - limit)

    def exceeded(self, bad: int, total: int) -> bool:
        """Whether the Wilson lower bound of ``bad`` in ``total`` lies above the limit."""
        excess = bad - total * self.limit
        return excess > 0.0 and excess * excess > self._variance * total


class Detector:
    """The rules of one breaker.

    Args:
        z: confidence in standard errors.
        errors: limit on the failed share, or 0 for no such rule; likewise ``slow``, ``slower``,
            ``throttled``.
        slow_s: the bound behind ``slow``; ``slower_s`` the one behind ``slower``.
        consecutive: failures in a row that open, 0 for never.
        minimum_requests: no ratio rule opens on fewer calls.
        static: compare raw shares on the long window only.
    """

    __slots__ = (
        "_answered",
        "_errors",
        "_run",
        "_slow",
        "_slower",
        "_throttled",
        "consecutive",
        "minimum_requests",
        "static",
        "z",
    )

    def __init__(
        self,
        *,
        z: float,
        errors: float,
        slow: float,
        slower: float,
        throttled: float,
        slow_s: float,
        slower_s: float,
        consecutive: int,
        minimum_requests: int,
        static: bool,
    ) -> None:
        self.z: float = z
        self.static: bool = static
        self.consecutive: int = consecutive
        self.minimum_requests: int = minimum_requests
        self._errors: Rule | None = Rule("errors", errors, z, 0.0) if errors > 0.0 else None
        self._slow: Rule | None = Rule("slow", slow, z, slow_s) if slow > 0.0 else None
        self._slower: Rule | None = Rule("slower", slower, z, slower_s) if slower > 0.0 else None
        self._throttled: Rule | None = Rule("throttled", throttled, z, 0.0) if throttled > 0.0 else None
        self._run: int = 0
        self._answered: int = -1

    def reset(self) -> None:
        """Forget the current run of failures."""
        self._run = 0
        self._answered = -1

    def failed(self, window: Window) -> None:
        """Count a failure that ``window`` has just taken in towards the run of consecutive failures."""
        answered_well = window.answered_fast() - window.failed_fast
        if answered_well == self._answered:
            self._run += 1
        else:
            self._answered = answered_well
            self._run = 1

    def judge(self, window: Window, now: float) -> Evidence | None:
        """The verdict on ``window``: evidence if it is bad, else ``None``."""
        run = self._run
        if 0 < self.consecutive <= run and self._answered == window.answered_fast() - window.failed_fast:
            return Evidence("consecutive", 0.0, run, run, 1.0, float(self.consecutive), 0.0, now)
        run = window.slow_run
        if self._slow is not None and 0 < self.consecutive <= run:
            limit = float(self.consecutive)
            return Evidence("consecutive", 0.0, run, run, 1.0, limit, self._slow.latency_s, now)
        totals = window.totals(now)
        if not self.static:
            found = self._judge_span(totals.since(window.short.far_end(now)), window.short.span_s, now)
            if found is not None:
                return found
        return self._judge_span(totals.since(window.long.far_end(now)), window.long.span_s, now)

    def _judge_span(self, counts: Totals, span_s: float, now: float) -> Evidence | None:
        total = counts.total
        if total < self.minimum_requests:
            return None
        found = self._test(self._errors, counts.failed, total, span_s, now)
        if found is None:
            found = self._test(self._slow, counts.slow, total, span_s, now)
        if found is None:
            found = self._test(self._slower, counts.slower, total, span_s, now)
        if found is None:
            found = self._test(self._throttled, counts.throttled, total, span_s, now)
        return found

    def _test(self, rule: Rule | None, bad: int, total: int, span_s: float, now: float) -> Evidence | None:
        if rule is None or bad <= 0:
            return None
        if self.static:
            if total <= 0 or bad <= rule.limit * total:
                return None
            bound = min(1.0, bad / total)
        else:
            # A failure may still be waiting for its cohort to mature: it is in ``bad`` but not yet in
            # ``total``.
            total = max(total, bad)
            if bad < MIN_BAD or not rule.exceeded(bad, total):
                return None
            bound = wilson_lower(bad, total, self.z)
        return Evidence(rule.name, span_s, bad, total, bound, rule.limit, rule.latency_s, now)
