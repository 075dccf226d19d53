"""Bulkhead: at most ``limit`` calls inside at once, a bounded first-in-first-out queue before the door.

The pure core. It counts, queues and hands over; it never waits. The edges (``aio``, ``threads``) park the
waiter::

    if not bulkhead.try_enter():
        ticket = bulkhead.enqueue(now, wake)          # None: the queue is full, refuse the call
        ... park until wake() or ticket.expires_at, whichever is first, unless ticket.granted already ...
        if woken by a timer or cancelled:  next = bulkhead.cancel(ticket, now)
    ... the call ...
    next = bulkhead.leave(now)                        # the slot's new owner, if any: call ``next.wake()``

A ticket's life::

    state      event                          next       the slot
    WAITING    leave() reaches it in time     GRANTED    goes to the waiter, never free in between
    WAITING    leave() reaches it too late    EXPIRED    stays with the leaver, who tries the next waiter
    WAITING    expire(), enqueue() find it    EXPIRED    -
    WAITING    cancel() in time               CANCELLED  -
    WAITING    cancel() when the time is over EXPIRED    -
    GRANTED    cancel()                       CANCELLED  goes on to the next waiter, or is free
    otherwise  anything                       unchanged  -

Theory. One invariant carries everything: **while somebody waits, every slot is taken.** ``enqueue`` appends
only when it sees no free slot, ``leave`` frees a slot only when it sees no waiter, and each pair of seeing
and doing is one step. From it follow first-in-first-out without barging (``try_enter`` can't overtake: with
waiters there is no free slot), no lost wake-up (a slot can't become free between a failed ``try_enter`` and
``enqueue`` without ``enqueue`` seeing it and granting at once), and no leaked slot (a granted ticket is
either used, and left, or cancelled, and handed on).

Expired waiters are passed over: giving a slot to a caller who has stopped waiting wastes it. Each waiter has
its own timer at the edge, so tickets that ``leave`` and ``enqueue`` find expired are not woken; ``expire``
returns those it ends, for edges without timers. It is not CoDel: waiters
are dropped by age alone, against one fixed bound, the oldest first.

Threads: no lock. CPython 3.11 to 3.13 with the GIL switches threads (and runs signal handlers) only at
function entry, after a call has returned and on a loop's backward jump; 3.11 may also run the cycle
collector, and with it finalizers, while a container is allocated. So "look at a count, then change it" is one
step, and so is "look at a count, then call ``deque.append`` or ``deque.popleft``": these run in C to their
end and the switch can only come after them. Hence the order of the lines below: a ticket is made before the
look; the waiting count goes down before ``popleft``, not after; it is a count because ``len()`` would be a
call between look and act; and a ticket's state is looked at and set in one step after it was popped, since a
cancel may have come in between. ``cancel`` removes first and counts after: in between the queue looks one
longer than it is, so that a racing newcomer may be refused a moment early, but the bound is never passed. A
free-threaded build has no such guarantee: there the edge must hold a lock.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, final

from seawall.kernel.errors import UsageError

__all__ = ["Bulkhead", "BulkheadStatistics", "Ticket", "TicketState"]


class TicketState(enum.IntEnum):
    """Where a waiter stands; see the module's table."""

    WAITING = 0
    GRANTED = 1
    CANCELLED = 2
    EXPIRED = 3


# Plain globals: looking a member up on the class may run Python code, which would be a switch point.
_WAITING: Final = TicketState.WAITING
_GRANTED: Final = TicketState.GRANTED
_CANCELLED: Final = TicketState.CANCELLED
_EXPIRED: Final = TicketState.EXPIRED


@final
class Ticket:
    """One waiter's place in the queue. Made by ``Bulkhead.enqueue``, changed by the bulkhead only.

    Attributes:
        state: See ``TicketState``.
        queued_at: When it was queued, monotonic seconds.
        expires_at: When it stops being worth a slot, monotonic seconds.
        wake: What the edge wants called once the ticket is granted; the core never calls it. It returns the
            next owner if nobody is there any more to be woken.
    """

    __slots__ = ("expires_at", "queued_at", "state", "wake")

    def __init__(self, queued_at: float, expires_at: float, wake: Callable[[], Ticket | None] | None) -> None:
        self.state = _WAITING
        self.queued_at = queued_at
        self.expires_at = expires_at
        self.wake = wake

    @property
    def granted(self) -> bool:
        """Whether the waiter owns a slot: it must use it and leave, or cancel."""
        return self.state is _GRANTED

    def __repr__(self) -> str:
        return (
            f"<Ticket {self.state.name.lower()} queued_at={self.queued_at:g} expires_at={self.expires_at:g}>"
        )


@dataclass(frozen=True, slots=True)
class BulkheadStatistics:
    """One moment of a bulkhead. ``entered - inside`` calls have left.

    Attributes:
        limit: Slots.
        queue_limit: Most waiters.
        inside: Slots taken now.
        waiting: Waiters now.
        peak: Most slots ever taken at once.
        peak_waiting: Most waiters ever.
        entered: Slots given, at the door or from the queue.
        busy: Times ``try_enter`` found every slot taken.
        queued: Tickets that had to wait.
        rejected_full: Calls refused since the queue was full.
        rejected_expired: Waiters whose time ran out.
        cancelled: Waiters who went away before their time, some of them with a slot already theirs.
    """

    limit: int
    queue_limit: int
    inside: int
    waiting: int
    peak: int
    peak_waiting: int
    entered: int
    busy: int
    queued: int
    rejected_full: int
    rejected_expired: int
    cancelled: int


@final
class Bulkhead:
    """Counts who is inside and who waits; hands slots over in order.

    Args:
        limit: Calls that may be inside at once, at least 1.
        queue_limit: Calls that may wait, 0 for none.
        max_wait_s: Seconds a call may wait; infinity leaves the end to the caller.

    Raises:
        ValueError: A number is out of range.
    """

    __slots__ = (
        "_busy",
        "_cancelled",
        "_entered",
        "_inside",
        "_limit",
        "_max_wait_s",
        "_peak",
        "_peak_waiting",
        "_queue",
        "_queue_limit",
        "_queued",
        "_rejected_expired",
        "_rejected_full",
        "_waiting",
    )

    def __init__(self, limit: int, queue_limit: int = 0, max_wait_s: float = 0.0) -> None:
        if limit < 1:
            raise ValueError(f"limit = {limit!r}: must be an integer >= 1 (calls inside at once)")
        if queue_limit < 0:
            raise ValueError(f"queue_limit = {queue_limit!r}: must be an integer >= 0 (calls that may wait)")
        if not max_wait_s >= 0.0:
            raise ValueError(f"max_wait_s = {max_wait_s!r}: must be a number of seconds >= 0")
        self._limit = limit
        self._queue_limit = queue_limit
        self._max_wait_s = max_wait_s
        self._queue: deque[Ticket] = deque()
        self._inside = 0
        self._waiting = 0
        self._peak = 0
        self._peak_waiting = 0
        self._entered = 0
        self._busy = 0
        self._queued = 0
        self._rejected_full = 0
        self._rejected_expired = 0
        self._cancelled = 0

    @property
    def limit(self) -> int:
        """Slots in all."""
        return self._limit

    @property
    def inside(self) -> int:
        """Slots taken now."""
        return self._inside

    @property
    def waiting(self) -> int:
        """Waiters now."""
        return self._waiting

    def try_enter(self) -> bool:
        """Take a free slot, if there is one. It can't overtake: while somebody waits, no slot is free.

        Returns:
            Whether the caller is inside, and so owes one ``leave``.
        """
        inside = self._inside
        if inside >= self._limit:
            self._busy += 1
            return False
        inside += 1
        self._inside = inside
        self._entered += 1
        if inside > self._peak:  # noqa: PLR1730  # max() would be a call, and so a switch point
            self._peak = inside
        return True

    def enqueue(self, now: float, wake: Callable[[], Ticket | None] | None = None) -> Ticket | None:
        """Wait for a slot, after ``try_enter`` found none.

        Args:
            now: Monotonic seconds.
            wake: Kept on the ticket, before any other thread can see it.

        Returns:
            None if the queue is full. Else a ticket, already ``granted`` if a slot has come free in the
            meantime.
        """
        ticket = Ticket(now, now + self._max_wait_s, wake)
        while True:
            inside = self._inside
            if inside < self._limit:
                inside += 1
                self._inside = inside
                self._entered += 1
                if inside > self._peak:  # noqa: PLR1730  # max() would be a call, and so a switch point
                    self._peak = inside
                ticket.state = _GRANTED
                return ticket
            waiting = self._waiting
            if waiting < self._queue_limit:
                waiting += 1
                self._waiting = waiting
                self._queued += 1
                if waiting > self._peak_waiting:  # noqa: PLR1730  # as above
                    self._peak_waiting = waiting
                self._queue.append(ticket)
                return ticket
            if not self.expire(now):
                self._rejected_full += 1
                return None

    def leave(self, now: float) -> Ticket | None:
        """Give a slot back: to the first waiter whose time hasn't run out, or else to nobody.

        Args:
            now: Monotonic seconds.

        Returns:
            The ticket that owns the slot now, for the edge to wake; None if the slot is free.

        Raises:
            UsageError: Nobody is inside: something left twice.
        """
        if self._inside <= 0:
            raise UsageError("Bulkhead.leave() without a call inside: each entry owes exactly one leave")
        queue = self._queue
        while True:
            if not queue:
                self._inside -= 1
                return None
            self._waiting -= 1
            ticket = queue.popleft()
            if ticket.state is _WAITING:
                if now < ticket.expires_at:
                    ticket.state = _GRANTED
                    self._entered += 1
                    return ticket
                ticket.state = _EXPIRED
                self._rejected_expired += 1

    def cancel(self, ticket: Ticket, now: float) -> Ticket | None:
        """Give a ticket up, whatever has become of it: the wait was cancelled, or its time is over.

        Harmless on a ticket that has expired or was cancelled before. Not for a slot in use: that one is
        left.

        Args:
            ticket: What ``enqueue`` returned.
            now: Monotonic seconds; from ``ticket.expires_at`` on it counts as expired, not as cancelled.

        Returns:
            If the ticket had been granted meanwhile, what ``leave`` returns: the slot's next owner, for the
            edge to wake.
        """
        if ticket.state is _WAITING:
            if now < ticket.expires_at:
                ticket.state = _CANCELLED
                self._cancelled += 1
            else:
                ticket.state = _EXPIRED
                self._rejected_expired += 1
            with suppress(ValueError):  # a leaver has popped it just now, sees its state and passes it over
                self._queue.remove(ticket)
                self._waiting -= 1
            return None
        if ticket.state is _GRANTED:
            ticket.state = _CANCELLED
            self._cancelled += 1
            return self.leave(now)
        return None

    def expire(self, now: float) -> list[Ticket]:
        """End the waits whose time is over, oldest first.

        Args:
            now: Monotonic seconds.

        Returns:
            The tickets it ended, for edges whose waiters have no timer of their own.
        """
        expired: list[Ticket] = []
        queue = self._queue
        while True:
            if not queue or now < queue[0].expires_at:
                return expired
            self._waiting -= 1
            ticket = queue.popleft()
            if ticket.state is _WAITING:
                ticket.state = _EXPIRED
                self._rejected_expired += 1
                expired.append(ticket)

    def statistics(self) -> BulkheadStatistics:
        """Limits, levels and counters."""
        return BulkheadStatistics(
            limit=self._limit,
            queue_limit=self._queue_limit,
            inside=self._inside,
            waiting=self._waiting,
            peak=self._peak,
            peak_waiting=self._peak_waiting,
            entered=self._entered,
            busy=self._busy,
            queued=self._queued,
            rejected_full=self._rejected_full,
            rejected_expired=self._rejected_expired,
            cancelled=self._cancelled,
        )

    def __repr__(self) -> str:
        return (
            f"<Bulkhead inside={self._inside}/{self._limit} waiting={self._waiting}/{self._queue_limit}"
            f" entered={self._entered} rejected={self._rejected_full + self._rejected_expired}>"
        )
