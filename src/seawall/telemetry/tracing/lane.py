"""The lane: where finished spans wait for whoever exports them.

A bounded queue. It never waits, locks, raises or logs; what it can't take it drops and counts, so that
always::

    offered  == accepted + sum(dropped)
    accepted == taken + waiting + forgotten

A segment is taken whole or not at all: half a trace misleads. A share of the room is reserved for segments
with an error, so that a flood of good news can't push out the bad.

It is no exporter and has no thread. Segments offer to it, an exporter takes from it.

Threads: many may offer and take at once. CPython with the GIL switches threads only at function entry, after
a call and on a loop's backward jump, so a stretch of plain attribute arithmetic runs as one step; the claims
on room below are such stretches. A build without the GIL needs a lock here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Generic, TypeVar, final

__all__ = ["CLOSED", "FULL", "Lane", "LaneStatistics"]

Item = TypeVar("Item")

FULL: Final = "full"
"""There was no room."""
CLOSED: Final = "closed"
"""Nobody exports any more."""


@dataclass(frozen=True, slots=True)
class LaneStatistics:
    """One moment of a lane, in spans.

    Attributes:
        capacity: Most spans that wait.
        reserve: How many of those places are for segments with an error.
        offered: All that came.
        accepted: All that was let in.
        dropped: All that was not, by reason.
        waiting: In the lane now.
        taken: Given to an exporter.
        forgotten: Emptied out in a forked child, whose parent still has them.
    """

    capacity: int
    reserve: int
    offered: int
    accepted: int
    dropped: dict[str, int]
    waiting: int
    taken: int
    forgotten: int


@final
class Lane(Generic[Item]):
    """A bounded queue of finished spans.

    Args:
        capacity: Most spans that wait, 1 at least.
        reserve: Share of the capacity, from 0 to below 1, that only urgent offers may use.
    """

    __slots__ = (
        "_closed",
        "_dropped_closed",
        "_dropped_full",
        "_forgotten",
        "_offered",
        "_ordinary",
        "_queue",
        "_taken",
        "_waiting",
        "capacity",
    )

    def __init__(self, capacity: int, *, reserve: float) -> None:
        self.capacity = capacity
        self._ordinary = capacity - int(capacity * reserve)
        self._queue: deque[Item] = deque()
        self._waiting = 0
        self._offered = 0
        self._dropped_full = 0
        self._dropped_closed = 0
        self._taken = 0
        self._forgotten = 0
        self._closed = False

    def offer(self, spans: Sequence[Item], *, urgent: bool = False) -> bool:
        """Put all of ``spans`` in, or none.

        Args:
            spans: What is finished.
            urgent: Whether the reserved room may be used.

        Returns:
            Whether they were let in.
        """
        count = len(spans)
        # from here to the last claim there is no call, and so no switch of threads
        self._offered += count
        if self._closed:
            self._dropped_closed += count
            return False
        waiting = self._waiting + count
        if waiting > (self.capacity if urgent else self._ordinary):
            self._dropped_full += count
            return False
        self._waiting = waiting
        self._queue.extend(spans)
        return True

    def put(self, span: Item, urgent: bool) -> None:  # noqa: FBT001  # on the path of every span, where a keyword costs
        """Offer one span, as :meth:`offer` does.

        Args:
            span: What is finished.
            urgent: Whether the reserved room may be used.
        """
        self._offered += 1
        if self._closed:
            self._dropped_closed += 1
            return
        waiting = self._waiting + 1
        if waiting > (self.capacity if urgent else self._ordinary):
            self._dropped_full += 1
            return
        self._waiting = waiting
        self._queue.append(span)

    def take(self, limit: int) -> list[Item]:
        """Take the oldest spans out.

        Args:
            limit: Most spans taken.

        Returns:
            At most ``limit`` spans; none if nothing waits.
        """
        batch: list[Item] = []
        # another taker may have emptied the queue between two steps
        with suppress(IndexError):
            for _ in range(limit):
                batch.append(self._queue.popleft())  # noqa: PERF401  # what was taken before it ran dry is kept
        count = len(batch)
        self._waiting -= count
        self._taken += count
        return batch

    def forget(self) -> int:
        """Empty the lane without exporting: in a forked child, whose parent exports the same.

        Returns:
            How many there were.
        """
        self._queue.clear()
        forgotten = self._waiting
        self._waiting = 0
        self._forgotten += forgotten
        return forgotten

    def close(self) -> None:
        """Let nothing in any more; what waits can still be taken."""
        self._closed = True

    @property
    def waiting(self) -> int:
        """How many spans are in the lane."""
        return self._waiting

    def statistics(self) -> LaneStatistics:
        """Counters, all of one moment."""
        # read in one stretch without a call, so that the sums agree while other threads offer
        offered, full, closed = self._offered, self._dropped_full, self._dropped_closed
        waiting, taken, forgotten = self._waiting, self._taken, self._forgotten
        return LaneStatistics(
            capacity=self.capacity,
            reserve=self.capacity - self._ordinary,
            offered=offered,
            accepted=waiting + taken + forgotten,
            dropped={FULL: full, CLOSED: closed},
            waiting=waiting,
            taken=taken,
            forgotten=forgotten,
        )

    def __repr__(self) -> str:
        now = self.statistics()
        return (
            f"<Lane {now.waiting} of {now.capacity} spans, {now.reserve} for errors, offered={now.offered}"
            f" dropped={sum(now.dropped.values())}{' closed' if self._closed else ''}>"
        )
