"""The lane: nothing is lost uncounted, and errors have room when nothing else has."""

import threading

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seawall.telemetry.tracing.lane import CLOSED, FULL, Lane


def test_a_segment_is_taken_whole_or_not_at_all():
    lane: Lane[int] = Lane(10, reserve=0.0)
    assert lane.offer([1, 2, 3, 4, 5, 6])
    assert not lane.offer([7, 8, 9, 10, 11])
    assert lane.take(100) == [1, 2, 3, 4, 5, 6]
    assert lane.statistics().dropped == {FULL: 5, CLOSED: 0}


def test_a_tenth_is_reserved_for_errors():
    lane: Lane[int] = Lane(10, reserve=0.1)
    assert all(lane.offer([number]) for number in range(9))
    assert not lane.offer([9])
    assert lane.offer([10], urgent=True)
    assert not lane.offer([11], urgent=True), "the reserve has an end too"


def test_taking_makes_room_again():
    lane: Lane[int] = Lane(2, reserve=0.0)
    lane.offer([1, 2])
    assert lane.take(1) == [1]
    assert lane.offer([3])
    assert lane.take(5) == [2, 3]
    assert lane.take(5) == []


def test_a_closed_lane_lets_nothing_in_and_everything_out():
    lane: Lane[int] = Lane(5, reserve=0.1)
    lane.offer([1])
    lane.close()
    assert not lane.offer([2], urgent=True)
    assert lane.take(5) == [1]
    assert lane.statistics().dropped == {FULL: 0, CLOSED: 1}


def test_forgetting_is_counted():
    lane: Lane[int] = Lane(5, reserve=0.1)
    lane.offer([1, 2])
    assert lane.forget() == 2
    assert (lane.waiting, lane.statistics().forgotten, lane.take(5)) == (0, 2, [])


def test_its_repr_shows_its_state():
    lane: Lane[int] = Lane(20, reserve=0.1)
    lane.offer([1])
    lane.close()
    assert repr(lane) == "<Lane 1 of 20 spans, 2 for errors, offered=1 dropped=0 closed>"


@pytest.mark.usefixtures("impatient")
def test_threads_lose_nothing_and_never_overfill_it():
    lane: Lane[int] = Lane(500, reserve=0.2)
    taken: list[int] = []
    most = 0
    stop = threading.Event()

    def offer() -> None:
        for number in range(3_000):
            if number % 3:
                lane.offer([number, number], urgent=number % 7 == 0)
            else:
                lane.put(number, number % 7 == 0)
                lane.put(number, number % 7 == 0)

    def take() -> None:
        nonlocal most
        while not stop.is_set():
            most = max(most, lane.waiting)
            taken.extend(lane.take(64))

    givers = [threading.Thread(target=offer) for _ in range(4)]
    takers = [threading.Thread(target=take) for _ in range(2)]
    for thread in [*givers, *takers]:
        thread.start()
    for thread in givers:
        thread.join()
    stop.set()
    for thread in takers:
        thread.join()
    taken += lane.take(1_000)
    now = lane.statistics()
    assert most <= 500
    assert now.offered == 4 * 3_000 * 2
    assert now.offered == now.accepted + sum(now.dropped.values())
    assert now.waiting == 0
    assert len(taken) == now.taken == now.accepted


class LaneMachine(RuleBasedStateMachine):
    """Any order of offers, takings, emptyings and a close, against a list."""

    @initialize(capacity=st.integers(1, 30), reserve=st.sampled_from([0.0, 0.1, 0.5]))
    def build(self, capacity: int, reserve: float) -> None:
        self.lane: Lane[int] = Lane(capacity, reserve=reserve)
        self.capacity = capacity
        self.ordinary = capacity - int(capacity * reserve)
        self.model: list[int] = []
        self.offered = self.accepted = self.taken = self.forgotten = self.number = 0
        self.dropped = {FULL: 0, CLOSED: 0}
        self.closed = False

    @rule(count=st.integers(0, 8), urgent=st.booleans())
    def offer(self, count: int, urgent: bool) -> None:
        spans = list(range(self.number, self.number + count))
        self.number += count
        self.offered += count
        fits = len(self.model) + count <= (self.capacity if urgent else self.ordinary)
        assert self.lane.offer(spans, urgent=urgent) is (fits and not self.closed)
        if self.closed or not fits:
            self.dropped[CLOSED if self.closed else FULL] += count
        else:
            self.model += spans
            self.accepted += count

    @rule(urgent=st.booleans())
    def put(self, urgent: bool) -> None:
        self.lane.put(self.number, urgent)
        self.offered += 1
        if self.closed or len(self.model) + 1 > (self.capacity if urgent else self.ordinary):
            self.dropped[CLOSED if self.closed else FULL] += 1
        else:
            self.model.append(self.number)
            self.accepted += 1
        self.number += 1

    @rule(limit=st.integers(0, 12))
    def take(self, limit: int) -> None:
        assert self.lane.take(limit) == self.model[:limit]
        self.taken += len(self.model[:limit])
        del self.model[:limit]

    @rule()
    def forget(self) -> None:
        assert self.lane.forget() == len(self.model)
        self.forgotten += len(self.model)
        self.model.clear()

    @precondition(lambda self: not self.closed)
    @rule()
    def close(self) -> None:
        self.lane.close()
        self.closed = True

    @invariant()
    def counts(self) -> None:
        now = self.lane.statistics()
        assert (now.offered, now.accepted, now.dropped) == (self.offered, self.accepted, self.dropped)
        assert (now.waiting, now.taken, now.forgotten) == (len(self.model), self.taken, self.forgotten)
        assert now.offered == now.accepted + sum(now.dropped.values())
        assert now.accepted == now.taken + now.waiting + now.forgotten


TestLaneMachine = LaneMachine.TestCase
TestLaneMachine.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
