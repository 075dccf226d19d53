"""The bulkhead against a model of people at a door, under any interleaving of what they may do.

The machine also plays the races that threads can have: a ``popleft``, which a thread switch may follow,
can be followed by another, complete operation.
"""

from collections import deque
from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seawall.kernel.errors import UsageError
from seawall.resilience.bulkhead import Bulkhead, Ticket, TicketState

GAPS = st.sampled_from([0.0, 0.1, 0.5, 1.0, 5.0])


class InterruptedQueue(deque[Ticket]):
    """Runs one pending operation of "another thread" right after a ``popleft``."""

    pending: Callable[[], object] | None = None

    def popleft(self) -> Ticket:
        ticket = super().popleft()
        other, self.pending = self.pending, None
        if other is not None:
            other()
        return ticket


class BulkheadMachine(RuleBasedStateMachine):
    """``waiting`` is the model's queue, ``inside`` its slots taken, ``owners`` those with a ticket."""

    @initialize(
        limit=st.integers(1, 3), queue_limit=st.integers(0, 4), max_wait_s=st.sampled_from([0.0, 1.0, 2.0])
    )
    def build(self, limit: int, queue_limit: int, max_wait_s: float) -> None:
        self.bulkhead = Bulkhead(limit, queue_limit, max_wait_s)
        self.queue = self.bulkhead._queue = InterruptedQueue()
        self.limit, self.queue_limit = limit, queue_limit
        self.now = 0.0
        self.inside = 0
        self.waiting: list[Ticket] = []
        self.owners: list[Ticket] = []
        self.gone: list[Ticket] = []
        self.entered = 0

    def leaver(self) -> None:
        """Somebody is about to leave: one who entered at the door, or else the oldest owner of a ticket."""
        if self.inside == len(self.owners):
            del self.owners[0]

    def grant(self, granted: Ticket | None) -> None:
        """A slot came back: the first who is in time gets it, those before it have expired."""
        expected = next((ticket for ticket in self.waiting if self.now < ticket.expires_at), None)
        assert granted is expected
        passed_over = self.waiting if expected is None else self.waiting[: self.waiting.index(expected)]
        for ticket in passed_over:
            assert ticket.state is TicketState.EXPIRED
        self.gone += passed_over
        del self.waiting[: len(passed_over)]
        if granted is None:
            self.inside -= 1
        else:
            assert granted.granted
            self.waiting.remove(granted)
            self.owners.append(granted)
            self.entered += 1

    @rule(gap=GAPS)
    def pause(self, gap: float) -> None:
        self.now += gap

    @rule()
    def enter(self) -> None:
        entered = self.bulkhead.try_enter()
        assert entered is (self.inside < self.limit)
        self.inside += entered
        self.entered += entered

    @rule()
    def enqueue(self) -> None:
        ticket = self.bulkhead.enqueue(self.now)
        if self.inside < self.limit:
            assert ticket is not None
            assert ticket.granted
            self.inside += 1
            self.entered += 1
            self.owners.append(ticket)
            return
        if len(self.waiting) == self.queue_limit:
            # Full: the expired at the head make room.
            while self.waiting and self.waiting[0].expires_at <= self.now:
                self.gone.append(self.waiting.pop(0))
                assert self.gone[-1].state is TicketState.EXPIRED
        if len(self.waiting) == self.queue_limit:
            assert ticket is None
        else:
            assert ticket is not None
            assert ticket.state is TicketState.WAITING
            self.waiting.append(ticket)

    @precondition(lambda self: self.inside > 0)
    @rule()
    def leave(self) -> None:
        self.leaver()
        self.grant(self.bulkhead.leave(self.now))

    @precondition(lambda self: self.inside == 0)
    @rule()
    def leave_without_having_entered(self) -> None:
        with pytest.raises(UsageError):
            self.bulkhead.leave(self.now)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel_while_waiting(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.waiting))
        assert self.bulkhead.cancel(ticket, self.now) is None
        self.waiting.remove(ticket)
        self.gone.append(ticket)

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def cancel_although_granted(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.owners))
        self.owners.remove(ticket)
        self.gone.append(ticket)
        self.grant(self.bulkhead.cancel(ticket, self.now))
        assert ticket.state is TicketState.CANCELLED

    @precondition(lambda self: self.gone)
    @rule(data=st.data())
    def cancel_again(self, data: st.DataObject) -> None:
        before = self.bulkhead.statistics()
        assert self.bulkhead.cancel(data.draw(st.sampled_from(self.gone)), self.now) is None
        assert self.bulkhead.statistics() == before

    @rule()
    def expire(self) -> None:
        expired = self.bulkhead.expire(self.now)
        due = [ticket for ticket in self.waiting if ticket.expires_at <= self.now]
        assert expired == due == self.waiting[: len(due)]
        self.gone += due
        del self.waiting[: len(due)]

    @precondition(lambda self: self.inside > 0 and self.waiting)
    @rule(data=st.data())
    def cancel_in_the_middle_of_a_leave(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.waiting))
        self.leaver()
        self.queue.pending = lambda: self.bulkhead.cancel(ticket, self.now)
        granted = self.bulkhead.leave(self.now)
        assert ticket.state in {TicketState.CANCELLED, TicketState.EXPIRED}
        self.waiting.remove(ticket)
        self.gone.append(ticket)
        self.grant(granted)

    @precondition(lambda self: self.waiting and self.waiting[0].expires_at <= self.now)
    @rule()
    def cancel_in_the_middle_of_an_expire(self) -> None:
        """By a thread whose clock reading is a little older, so that to it the wait isn't over."""
        first = self.waiting.pop(0)
        self.queue.pending = lambda: self.bulkhead.cancel(first, first.expires_at - 0.01)
        expired = self.bulkhead.expire(self.now)
        assert first.state is TicketState.CANCELLED
        assert first not in expired
        self.gone += [first, *expired]
        del self.waiting[: len(expired)]

    @precondition(lambda self: self.inside > 0 and self.waiting)
    @rule()
    def enter_in_the_middle_of_a_leave(self) -> None:
        self.leaver()
        entered: list[bool] = []
        self.queue.pending = lambda: entered.append(self.bulkhead.try_enter())
        self.grant(self.bulkhead.leave(self.now))
        assert entered == [False], "a slot that is being handed over is not free"

    @precondition(lambda self: self.inside > 0 and self.waiting)
    @rule()
    def enqueue_in_the_middle_of_a_leave(self) -> None:
        self.leaver()
        newcomers: list[Ticket | None] = []
        self.queue.pending = lambda: newcomers.append(self.bulkhead.enqueue(self.now))
        granted = self.bulkhead.leave(self.now)
        (newcomer,) = newcomers
        assert newcomer is not None, "the popped waiter has left a place in the queue"
        self.waiting.append(newcomer)
        self.grant(granted)

    @precondition(lambda self: self.inside > 1 and self.waiting)
    @rule()
    def two_leave_at_once(self) -> None:
        """The second to pop is the first to grant; each waiter still gets one slot, each slot one owner."""
        self.leaver()
        self.inside -= 1  # for a moment, so that the second leaver is another one
        self.leaver()
        self.inside += 1
        granted: list[Ticket | None] = []
        self.queue.pending = lambda: granted.append(self.bulkhead.leave(self.now))
        granted.append(self.bulkhead.leave(self.now))
        owners = [ticket for ticket in granted if ticket is not None]
        due = [ticket for ticket in self.waiting if self.now < ticket.expires_at][:2]
        assert sorted(map(id, owners)) == sorted(map(id, due))
        self.inside -= 2 - len(owners)
        self.entered += len(owners)
        self.owners += owners
        self.gone += [ticket for ticket in self.waiting if ticket.state is TicketState.EXPIRED]
        self.waiting = [ticket for ticket in self.waiting if ticket.state is TicketState.WAITING]

    @invariant()
    def no_more_than_the_limit_inside(self) -> None:
        assert self.bulkhead.inside == self.inside <= self.limit

    @invariant()
    def the_queue_is_bounded_and_in_order(self) -> None:
        assert list(self.queue) == self.waiting
        assert self.bulkhead.waiting == len(self.waiting) <= self.queue_limit
        assert all(ticket.state is TicketState.WAITING for ticket in self.waiting)

    @invariant()
    def nobody_waits_for_a_free_slot(self) -> None:
        assert not self.waiting or self.inside == self.limit

    @invariant()
    def everything_is_counted(self) -> None:
        counted = self.bulkhead.statistics()
        assert counted.entered == self.entered
        assert counted.peak <= self.limit
        assert counted.peak_waiting <= self.queue_limit
        states = [ticket.state for ticket in self.gone]
        assert counted.rejected_expired == states.count(TicketState.EXPIRED)
        assert counted.cancelled == states.count(TicketState.CANCELLED)

    def teardown(self) -> None:
        """No slot has leaked: when all have left, all slots are free."""
        if not hasattr(self, "bulkhead"):
            return
        while self.inside:
            self.leave()
        assert self.bulkhead.inside == self.bulkhead.waiting == 0
        assert all(self.bulkhead.try_enter() for _ in range(self.limit))
        assert not self.bulkhead.try_enter()


TestBulkheadMachine = BulkheadMachine.TestCase
TestBulkheadMachine.settings = settings(max_examples=400, stateful_step_count=40, deadline=None)
