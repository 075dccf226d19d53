import pytest

from seawall.telemetry.otlp.verdict import ASKED_LIMIT_S, Backoff


def backoff():
    return Backoff(base_s=1.0, max_s=30.0)


def highest():
    return 1.0


def test_it_doesnt_wait_at_first():
    assert backoff().wait_s(0.0) <= 0.0


def test_waits_double_up_to_the_longest():
    ours, now, waits = backoff(), 0.0, []
    for _ in range(7):
        ours.failed(now, highest)
        waits.append(ours.wait_s(now))
        now += waits[-1]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_half_of_a_wait_is_chance():
    waits = []
    for dice in (0.0, 0.5):
        ours = backoff()
        ours.failed(0.0, lambda dice=dice: dice)
        waits.append(ours.wait_s(0.0))
    assert waits == [0.5, 0.75]


def test_many_failures_dont_overflow():
    ours = backoff()
    ours.troubles = 10_000
    ours.failed(0.0, highest)
    assert ours.wait_s(0.0) == 30.0


def test_an_answer_ends_it():
    ours = backoff()
    for _ in range(4):
        ours.failed(0.0, highest, asked_s=5.0)
    ours.answered()
    assert ours.wait_s(0.0) <= 0.0
    ours.failed(0.0, highest)
    assert (ours.wait_s(0.0), ours.troubles) == (1.0, 1)


def test_a_wait_that_is_asked_for_is_kept_and_spread_after_it():
    ours = backoff()
    ours.failed(0.0, highest, asked_s=10.0)
    ours.hurry()
    assert ours.wait_s(0.0) == 11.0


@pytest.mark.parametrize(("seconds", "wait"), [(0.0, 0.0), (1e9, ASKED_LIMIT_S)])
def test_a_wait_that_is_asked_for_is_bounded(seconds, wait):
    ours = backoff()
    ours.failed(0.0, lambda: 0.0, asked_s=seconds)
    assert ours.wait_s(0.0) == wait


def test_who_is_in_a_hurry_needs_not_wait_for_chance():
    ours = backoff()
    ours.failed(0.0, highest)
    ours.hurry()
    assert ours.wait_s(0.0) <= 0.0
