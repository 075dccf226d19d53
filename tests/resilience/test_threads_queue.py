"""Waiting for a place in the bulkhead on real threads, without a word about how long it takes."""

import threading
from typing import Any

import pytest

from seawall import (
    Bulkhead,
    BulkheadFull,
    DeadlineExceeded,
)
from seawall.resilience import threads
from seawall.resilience.bulkhead import Ticket
from seawall.resilience.guard import Guard
from tests.resilience.world import START_S, World, in_thread

JOIN_S = 10.0


class Inside:
    """A function on a thread that is inside a guard until it is let go."""

    def __init__(self, db: Guard) -> None:
        self.entered, self._go_on = threading.Event(), threading.Event()
        self._thread = in_thread(lambda: db.call(self._work))
        assert self.entered.wait(JOIN_S)

    def _work(self) -> None:
        self.entered.set()
        self._go_on.wait(JOIN_S)

    def leave(self) -> None:
        self._go_on.set()
        self._thread.join(JOIN_S)
        assert not self._thread.is_alive()


def queued(db: Guard, number: int) -> None:
    """Wait until so many are in the queue: no timing, only order."""
    while db.statistics().bulkhead.waiting < number:
        threading.Event().wait(0.0)


def test_waiters_come_in_one_after_the_other() -> None:
    world = World()
    db = world.guard(bulkhead=Bulkhead(limit=1, queue=2, max_wait="1h"))
    inside = Inside(db)
    order: list[int] = []
    waiters = []
    for number in range(2):
        waiters.append(in_thread(lambda number=number: db.call(order.append, number)))
        queued(db, number + 1)

    with pytest.raises(BulkheadFull, match="the bulkhead is full"):
        db.call(int)
    inside.leave()
    for waiter in waiters:
        waiter.join(JOIN_S)

    assert order == [0, 1]
    assert db.statistics().bulkhead.inside == 0


@pytest.mark.parametrize(
    ("parts", "kind", "text"),
    [
        ({}, BulkheadFull, "waited too long"),
        ({"deadline": "1ms"}, DeadlineExceeded, "in the queue"),
    ],
)
def test_who_waits_too_long_goes_without(parts: dict[str, Any], kind: type[Exception], text: str) -> None:
    """A millisecond of real time: long enough to be waited for, short enough for nobody to notice."""
    world = World()
    db = world.guard(bulkhead=Bulkhead(limit=1, queue=1, max_wait="1s" if parts else "1ms"), **parts)
    place = threads.enter(db.plan)

    with pytest.raises(kind, match=text):
        db.call(int)
    place.leave(START_S)
    assert (db.statistics().bulkhead.inside, db.statistics().bulkhead.waiting) == (0, 0)


def test_a_place_that_comes_free_in_the_meantime_is_taken_at_once() -> None:
    world = World()
    db = world.guard(bulkhead=Bulkhead(limit=1, queue=1, max_wait="1h"))
    place = threads.enter(db.plan)
    bulkhead = db.plan.bulkhead
    assert bulkhead is not None
    real = bulkhead.try_enter
    second = threads.Call(db.plan, START_S)
    assert not second.enter(START_S)
    place.leave(START_S)

    threads._wait_for_place(second, START_S)

    assert bulkhead.inside == 1
    assert not real()
    second.leave(START_S)
    assert bulkhead.inside == 0


def test_ctrl_c_in_the_queue_gives_the_place_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interrupt comes just after the place was granted: the worst moment."""
    world = World()
    db = world.guard(bulkhead=Bulkhead(limit=1, queue=2, max_wait="1h"))
    bulkhead = db.plan.bulkhead
    assert bulkhead is not None
    place = threads.enter(db.plan)
    heirs: list[str] = []

    class Parked:
        def acquire(self, timeout: float | None = None) -> None:
            if timeout is not None:
                bulkhead.enqueue(START_S, lambda: heirs.append("the next"))
                place.leave(START_S)
                raise KeyboardInterrupt

        def release(self) -> None:
            heirs.append("the one who went")

    monkeypatch.setattr(threads.threading, "Lock", Parked)
    with pytest.raises(KeyboardInterrupt):
        db.call(int)
    assert heirs == ["the one who went", "the next"]
    assert bulkhead.inside == 1
    assert bulkhead.waiting == 0


def test_a_place_without_an_heir_is_free() -> None:
    threads.hand_on(None)
    threads.hand_on(Ticket(0.0, 1.0, None))
