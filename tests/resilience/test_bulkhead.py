"""The bulkhead: counting, queueing, handing over; and each race between two steps, played by hand."""

import dataclasses
import math
from collections import deque
from collections.abc import Callable

import pytest

from seawall.kernel.errors import UsageError
from seawall.resilience.bulkhead import Bulkhead, BulkheadStatistics, Ticket, TicketState


def full(limit: int = 1, queue_limit: int = 3, max_wait_s: float = 1.0) -> Bulkhead:
    bulkhead = Bulkhead(limit, queue_limit, max_wait_s)
    for _ in range(limit):
        assert bulkhead.try_enter()
    return bulkhead


def queued(bulkhead: Bulkhead, now: float = 0.0) -> Ticket:
    ticket = bulkhead.enqueue(now)
    assert ticket is not None
    assert ticket.state is TicketState.WAITING
    return ticket


class SwitchAfterPop(deque[Ticket]):
    """A queue where another thread gets its turn right after ``popleft``, where CPython may switch."""

    other: Callable[[Ticket], object]

    def popleft(self) -> Ticket:
        ticket = super().popleft()
        self.other(ticket)
        return ticket


def test_no_more_than_the_limit_enter() -> None:
    bulkhead = Bulkhead(2)
    assert [bulkhead.try_enter() for _ in range(3)] == [True, True, False]
    assert bulkhead.inside == 2
    assert bulkhead.leave(0.0) is None
    assert bulkhead.try_enter()
    assert bulkhead.statistics().peak == 2


def test_without_a_queue_a_full_bulkhead_refuses() -> None:
    bulkhead = full(queue_limit=0)
    assert bulkhead.enqueue(0.0) is None
    assert bulkhead.statistics().rejected_full == 1


def test_slots_are_handed_over_first_in_first_out() -> None:
    bulkhead = full()
    first, second = queued(bulkhead), queued(bulkhead)
    assert not bulkhead.try_enter()
    assert bulkhead.leave(0.1) is first
    assert first.granted
    assert not bulkhead.try_enter(), "the slot went from hand to hand; nobody overtakes"
    assert bulkhead.leave(0.2) is second
    assert bulkhead.leave(0.3) is None
    assert bulkhead.inside == bulkhead.waiting == 0
    assert bulkhead.statistics().entered == 3


def test_the_edge_finds_its_wake_on_the_ticket() -> None:
    bulkhead = full()
    woken = []
    assert bulkhead.enqueue(0.0, lambda: woken.append(1)) is not None
    ticket = bulkhead.leave(0.0)
    assert ticket is not None
    assert ticket.wake is not None
    ticket.wake()
    assert woken == [1]


def test_a_slot_that_came_free_before_the_queueing_is_granted_at_once() -> None:
    bulkhead = full(limit=2)
    assert not bulkhead.try_enter()
    assert bulkhead.leave(0.0) is None  # by another thread, in between
    ticket = bulkhead.enqueue(0.0)
    assert ticket is not None
    assert ticket.granted, "waiting here would be waiting for a wake-up that has already gone by"
    assert bulkhead.waiting == 0
    bulkhead = Bulkhead(1)
    assert bulkhead.enqueue(0.0) is not None
    assert bulkhead.statistics().peak == 1


def test_the_queue_is_bounded() -> None:
    bulkhead = full(queue_limit=2)
    queued(bulkhead)
    queued(bulkhead)
    assert bulkhead.enqueue(0.5) is None
    now = bulkhead.statistics()
    assert (now.waiting, now.peak_waiting, now.queued, now.rejected_full) == (2, 2, 2, 1)


def test_expired_waiters_do_not_keep_newcomers_out() -> None:
    bulkhead = full(queue_limit=2)
    old = [queued(bulkhead), queued(bulkhead)]
    assert bulkhead.enqueue(1.0) is not None
    assert [ticket.state for ticket in old] == [TicketState.EXPIRED] * 2
    assert bulkhead.waiting == 1


def test_a_leaver_passes_expired_waiters_over() -> None:
    bulkhead = full()
    late, in_time = queued(bulkhead, 0.0), queued(bulkhead, 0.5)
    assert bulkhead.leave(1.0) is in_time
    assert late.state is TicketState.EXPIRED
    assert bulkhead.statistics().rejected_expired == 1
    assert bulkhead.waiting == 0


def test_if_all_have_expired_the_slot_is_free() -> None:
    bulkhead = full()
    queued(bulkhead)
    queued(bulkhead)
    assert bulkhead.leave(5.0) is None
    assert bulkhead.inside == bulkhead.waiting == 0


def test_expire_ends_the_oldest_waits_only() -> None:
    bulkhead = full()
    old, young = queued(bulkhead, 0.0), queued(bulkhead, 0.5)
    assert bulkhead.expire(0.9) == []
    assert bulkhead.expire(1.0) == [old]
    assert old.state is TicketState.EXPIRED
    assert young.state is TicketState.WAITING
    assert bulkhead.expire(2.0) == [young]
    assert bulkhead.expire(3.0) == []


def test_a_cancelled_waiter_leaves_the_queue_at_once() -> None:
    bulkhead = full()
    tickets = [queued(bulkhead) for _ in range(3)]
    assert bulkhead.cancel(tickets[1], 0.1) is None
    assert tickets[1].state is TicketState.CANCELLED
    assert bulkhead.waiting == 2
    assert bulkhead.leave(0.2) is tickets[0]
    assert bulkhead.leave(0.2) is tickets[2]


def test_a_waiter_that_gives_up_when_its_time_is_over_counts_as_expired() -> None:
    bulkhead = full()
    ticket = queued(bulkhead)
    assert bulkhead.cancel(ticket, ticket.expires_at) is None
    assert ticket.state is TicketState.EXPIRED
    now = bulkhead.statistics()
    assert (now.rejected_expired, now.cancelled, now.waiting) == (1, 0, 0)


def test_a_slot_granted_to_someone_who_has_gone_is_handed_on() -> None:
    bulkhead = full()
    gone, patient = queued(bulkhead), queued(bulkhead)
    assert bulkhead.leave(0.1) is gone
    assert bulkhead.cancel(gone, 0.1) is patient
    assert patient.granted
    assert bulkhead.inside == 1
    assert bulkhead.cancel(patient, 0.1) is None
    assert bulkhead.inside == 0
    assert bulkhead.statistics().cancelled == 2


def test_cancelling_twice_changes_nothing() -> None:
    bulkhead = full()
    waiting, granted = queued(bulkhead), queued(bulkhead)
    bulkhead.cancel(waiting, 0.0)
    bulkhead.leave(0.0)
    bulkhead.cancel(granted, 0.0)
    before = bulkhead.statistics()
    assert bulkhead.cancel(waiting, 0.0) is None
    assert bulkhead.cancel(granted, 0.0) is None
    assert bulkhead.statistics() == before
    assert before.inside == 0


def test_leaving_without_having_entered_is_a_misuse() -> None:
    bulkhead = full()
    bulkhead.leave(0.0)
    with pytest.raises(UsageError, match="exactly one leave"):
        bulkhead.leave(0.0)
    assert bulkhead.inside == 0


def test_race_a_waiter_cancels_right_after_a_leaver_popped_it() -> None:
    bulkhead = full()
    queue = bulkhead._queue = SwitchAfterPop()
    unlucky, next_in_line = queued(bulkhead), queued(bulkhead)
    queue.other = lambda ticket: bulkhead.cancel(ticket, 0.1) if ticket is unlucky else None
    assert bulkhead.leave(0.1) is next_in_line
    assert unlucky.state is TicketState.CANCELLED
    assert (bulkhead.inside, bulkhead.waiting) == (1, 0)
    now = bulkhead.statistics()
    assert (now.cancelled, now.rejected_expired, now.entered) == (1, 0, 2)


def test_race_a_waiter_cancels_right_after_expire_popped_it() -> None:
    bulkhead = full()
    queue = bulkhead._queue = SwitchAfterPop()
    ticket = queued(bulkhead)
    queue.other = lambda popped: bulkhead.cancel(popped, 0.5)
    assert bulkhead.expire(1.0) == [], "it was cancelled, by a thread whose clock reading was older"
    assert ticket.state is TicketState.CANCELLED
    assert bulkhead.waiting == 0
    assert bulkhead.statistics().rejected_expired == 0


def test_race_someone_queues_while_a_leaver_holds_the_last_waiter() -> None:
    bulkhead = full(queue_limit=1)
    queue = bulkhead._queue = SwitchAfterPop()
    first = queued(bulkhead)
    late: list[Ticket | None] = []

    def other(ticket: Ticket) -> None:
        if ticket is first:
            bulkhead.cancel(first, 0.1)
            assert not bulkhead.try_enter(), "the leaver's slot isn't free yet"
            late.append(bulkhead.enqueue(0.1))

    queue.other = other
    assert bulkhead.leave(0.1) is late[0]
    assert late[0] is not None
    assert late[0].granted
    assert (bulkhead.inside, bulkhead.waiting) == (1, 0)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((0,), "limit = 0"),
        ((1, -1), "queue_limit = -1"),
        ((1, 1, -0.1), "max_wait_s = -0.1"),
        ((1, 1, math.nan), "max_wait_s = nan"),
    ],
)
def test_numbers_that_cannot_work_are_named(arguments: tuple[int, ...], names: str) -> None:
    with pytest.raises(ValueError, match=names):
        Bulkhead(*arguments)


def test_statistics_and_repr_show_its_state() -> None:
    bulkhead = full(limit=2, queue_limit=1)
    assert not bulkhead.try_enter()
    ticket = queued(bulkhead, 3.0)
    assert bulkhead.enqueue(3.0) is None
    now = bulkhead.statistics()
    assert now == BulkheadStatistics(
        limit=2,
        queue_limit=1,
        inside=2,
        waiting=1,
        peak=2,
        peak_waiting=1,
        entered=2,
        busy=1,
        queued=1,
        rejected_full=1,
        rejected_expired=0,
        cancelled=0,
    )
    assert (bulkhead.limit, bulkhead.inside, bulkhead.waiting) == (2, 2, 1)
    assert repr(bulkhead) == "<Bulkhead inside=2/2 waiting=1/1 entered=2 rejected=1>"
    assert repr(ticket) == "<Ticket waiting queued_at=3 expires_at=4>"
    with pytest.raises(dataclasses.FrozenInstanceError):
        now.inside = 5  # type: ignore[misc]  # the point of the test
    for thing in (bulkhead, ticket, now):
        assert not hasattr(thing, "__dict__")
