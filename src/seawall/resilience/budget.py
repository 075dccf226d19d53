"""Retry budget: how many retries and hedges the calls of a guard may cost the backend.

A token bucket that two streams fill: ``ratio`` tokens for each first attempt and ``min_per_s`` tokens per
second, up to ``capacity``. A retry or a hedge takes one token; without one it isn't sent. So over any stretch
of time::

    retries <= ratio * first attempts + min_per_s * seconds + capacity

What it is not: a gate for first attempts. Nothing here can refuse one, and that is why it can't lock up. A
budget that gates every call and is refilled by successes only refuses everything for good once it is empty:
nothing runs, so nothing succeeds, so nothing refills it. Here time refills the bucket even when every call
fails, and the debt is never deeper than one token, so a quiet backend is owed its next retry at most ``1 /
min_per_s`` seconds later.

Models: Finagle's ``RetryBudget`` (20 % plus 10 per second), gRPC proposal A6 "retry throttling" (10 tokens,
0.1 per success), and Marc Brooker's "Fixing retries with token buckets and circuit breakers", which shows why
the ratio, not the number of attempts, is what bounds the load. Finagle lets deposits expire after some
seconds; ``capacity`` does that job here in one number: what was saved in good times is worth at most that
many retries in bad ones.

Called by the guard: ``deposit`` as a call starts (or as it succeeds, which is stricter), ``try_spend`` before
each further attempt. Several guards may share one budget.

Threads: no lock. CPython 3.11 to 3.13 with the GIL switches threads (and runs signal handlers) only at
function entry, after a call has returned and on a loop's backward jump; 3.11 may also run the cycle
collector, and with it finalizers, while a container is allocated. ``deposit`` and ``try_spend`` contain no
call, no loop and no container: attribute loads, float arithmetic and attribute stores, so each runs as one
step. Threads may arrive with their clock readings out of order; an older ``now`` adds no time and never takes
any away. Code compiled by mypyc has fewer switch points, not more. A free-threaded build has no such
guarantee: there the edge must hold a lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Final, final

__all__ = ["BudgetStatistics", "RetryBudget"]

DEFAULT_CAPACITY: Final = 10.0
"""Retries that a full budget pays at once; gRPC's example has the same (``maxTokens: 10``)."""

_WHOLE_TOKEN: Final = 1.0 - 1e-9
"""Ten deposits of 0.1 add up to 0.9999999999999999 and are worth a retry. It still takes 1.0: no drift."""


@dataclass(frozen=True, slots=True)
class BudgetStatistics:
    """One moment of a retry budget.

    Attributes:
        balance: Tokens as of the last deposit or spending; ``RetryBudget.balance`` adds the time since then.
        capacity: Most tokens the budget can hold.
        deposits: First attempts that paid in.
        granted: Retries and hedges that were paid for.
        refused: Retries and hedges that found the budget empty.
    """

    balance: float
    capacity: float
    deposits: int
    granted: int
    refused: int


@final
class RetryBudget:
    """A bucket of retries, filled by first attempts and by time, full at first.

    Args:
        ratio: Tokens per first attempt; 0.1 allows retries for 10 % of the calls.
        min_per_s: Tokens per second whatever the traffic, so that rare calls can be retried too.
        capacity: Most tokens kept, at least one.

    Raises:
        ValueError: A number is out of range, or nothing would ever refill the budget.
    """

    __slots__ = ("_at", "_balance", "_capacity", "_deposits", "_granted", "_min_per_s", "_ratio", "_refused")

    def __init__(
        self, *, ratio: float = 0.1, min_per_s: float = 1.0, capacity: float = DEFAULT_CAPACITY
    ) -> None:
        if not (isfinite(ratio) and ratio >= 0.0):
            raise ValueError(f"ratio = {ratio!r}: must be a finite number >= 0 (tokens per first attempt)")
        if not (isfinite(min_per_s) and min_per_s >= 0.0):
            raise ValueError(f"min_per_s = {min_per_s!r}: must be a finite number >= 0 (tokens per second)")
        if not (isfinite(capacity) and capacity >= 1.0):
            raise ValueError(f"capacity = {capacity!r}: must be a finite number >= 1, the price of one retry")
        if ratio == 0.0 and min_per_s == 0.0:
            raise ValueError(
                "ratio = 0 with min_per_s = 0: nothing refills the budget; make one of them positive"
            )
        self._ratio = ratio
        self._min_per_s = min_per_s
        self._capacity = capacity
        self._balance = capacity
        self._at: float | None = None
        self._deposits = 0
        self._granted = 0
        self._refused = 0

    def deposit(self, now: float) -> None:
        """Pay in for one first attempt. It never fails: first attempts are not this budget's business.

        Args:
            now: Monotonic seconds.
        """
        at = self._at
        balance = self._balance + self._ratio
        if at is None:
            self._at = now
        elif now > at:
            self._at = now
            balance += (now - at) * self._min_per_s
        if balance > self._capacity:  # noqa: PLR1730  # min() would be a call, and so a switch point
            balance = self._capacity
        self._balance = balance
        self._deposits += 1

    def try_spend(self, now: float) -> bool:
        """Take one token for a retry or a hedge.

        Args:
            now: Monotonic seconds.

        Returns:
            Whether the retry may be sent.
        """
        at = self._at
        balance = self._balance
        if at is None:
            self._at = now
        elif now > at:
            self._at = now
            balance += (now - at) * self._min_per_s
            if balance > self._capacity:  # noqa: PLR1730  # min() would be a call, and so a switch point
                balance = self._capacity
        if balance < _WHOLE_TOKEN:
            self._balance = balance
            self._refused += 1
            return False
        self._balance = balance - 1.0
        self._granted += 1
        return True

    def balance(self, now: float) -> float:
        """Tokens available at ``now``; reads only.

        Args:
            now: Monotonic seconds.

        Returns:
            Tokens, from 0 to ``capacity``.
        """
        at = self._at
        balance = self._balance
        if at is not None and now > at:
            balance = min(balance + (now - at) * self._min_per_s, self._capacity)
        # The rounding that ``_WHOLE_TOKEN`` forgives may leave a hair of debt; nobody wants to read -1e-16.
        return max(balance, 0.0)

    def statistics(self) -> BudgetStatistics:
        """Counters and the balance as of the last change, all of one moment."""
        balance, deposits, granted, refused = self._balance, self._deposits, self._granted, self._refused
        return BudgetStatistics(
            balance=max(balance, 0.0),
            capacity=self._capacity,
            deposits=deposits,
            granted=granted,
            refused=refused,
        )

    def __repr__(self) -> str:
        now = self.statistics()
        return (
            f"<RetryBudget {now.balance:.1f} of {now.capacity:g} tokens, +{self._ratio:g} per call,"
            f" +{self._min_per_s:g} per s, granted={now.granted} refused={now.refused}>"
        )
