"""A worker that doesn't sleep while there are queries, and does when there are none."""

from collections import deque

import pytest

from seawall.proxy.busy import CLOCK_STEP_S, BusyPolling

ROUND_S = 0.0001


class Loop:
    """As much of an event loop as is asked for; a round of it takes ``ROUND_S``."""

    def __init__(self):
        self.now = 100.0
        self.soon = deque()

    def time(self):
        return self.now

    def call_soon(self, callback):
        self.soon.append(callback)

    def rounds(self, most):
        """Turn until it would sleep; how many rounds that took."""
        for number in range(most):
            if not self.soon:
                return number
            self.now += ROUND_S
            for _ in range(len(self.soon)):
                self.soon.popleft()()
        return most


@pytest.fixture
def loop():
    return Loop()


class Queries:
    number = 0

    def __call__(self):
        return self.number


def test_it_is_off_unless_it_is_asked_for(loop):
    queries = Queries()
    busy = BusyPolling(0.0, queries, loop)
    queries.number += 5
    busy.look()
    assert not loop.soon
    assert not busy.polling


def test_it_begins_with_queries_and_ends_itself_without(loop):
    queries = Queries()
    busy = BusyPolling(0.01, queries, loop)
    busy.look()
    assert not loop.soon  # nobody asked anything yet
    queries.number += 1
    busy.look()
    taken = loop.rounds(10_000)
    assert taken == pytest.approx(0.01 / ROUND_S, abs=2)
    assert (busy.polling, busy.rounds) == (False, taken - 1)
    busy.look()
    assert not loop.soon  # the query of before doesn't begin it again


def test_it_goes_on_for_as_long_as_queries_come(loop):
    queries = Queries()
    busy = BusyPolling(0.01, queries, loop)
    queries.number += 1
    busy.look()
    for _ in range(50):
        assert loop.rounds(90) == 90
        busy.look()
        assert len(loop.soon) == 1  # a look while it polls doesn't begin it twice
        queries.number += 1
    assert loop.rounds(10_000) < 250
    assert not busy.polling
    queries.number += 1
    busy.look()
    assert busy.polling


def test_no_patience_is_shorter_than_the_clock_can_tell(loop):
    queries = Queries()
    busy = BusyPolling(0.000_001, queries, loop)
    queries.number += 1
    busy.look()
    assert loop.rounds(1_000) >= CLOCK_STEP_S / ROUND_S
