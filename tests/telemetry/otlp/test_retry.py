import pytest

from seawall.telemetry.otlp.retry import ASKED_LIMIT_S, Answer, Gate, Verdict

LATER = Verdict(answer=Answer.RETRY, reason="connection")


def asked(seconds):
    return Verdict(answer=Answer.RETRY, reason="throttled", retry_after_s=seconds)


def gate():
    return Gate(base_s=1.0, max_s=30.0)


def highest():
    return 1.0


def test_it_is_open_at_first():
    assert gate().wait_s(0.0) == 0.0


def test_waits_double_up_to_the_longest():
    ours, now, waits = gate(), 0.0, []
    for _ in range(7):
        ours.failed(LATER, began=now, now=now, rng=highest)
        waits.append(ours.wait_s(now))
        now = ours.opens_at
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_half_of_a_wait_is_chance():
    waits = []
    for dice in (0.0, 0.5):
        ours = gate()
        ours.failed(LATER, began=0.0, now=0.0, rng=lambda dice=dice: dice)
        waits.append(ours.wait_s(0.0))
    assert waits == [0.5, 0.75]


def test_many_failures_dont_overflow():
    ours = gate()
    ours.troubles = 10_000
    ours.failed(LATER, began=0.0, now=0.0, rng=highest)
    assert ours.wait_s(0.0) == 30.0


def test_attempts_that_were_under_way_count_once():
    ours = gate()
    ours.failed(LATER, began=0.0, now=5.0, rng=highest)
    ours.failed(LATER, began=1.0, now=5.1, rng=highest)
    assert (ours.troubles, ours.opens_at) == (1, 6.0)


def test_success_opens_it_and_forgets():
    ours = gate()
    for _ in range(4):
        ours.failed(LATER, began=0.0, now=0.0, rng=highest)
    ours.succeeded()
    assert (ours.wait_s(0.0), ours.troubles) == (0.0, 0)


def test_a_wait_that_is_asked_for_is_kept_and_spread_after_it():
    ours = gate()
    ours.failed(asked(10.0), began=0.0, now=0.0, rng=highest)
    assert ours.wait_s(0.0) == 11.0
    ours.succeeded()
    ours.hurry()
    assert ours.wait_s(0.0) == 11.0


def test_other_failures_dont_shorten_a_wait_that_is_asked_for():
    ours = gate()
    ours.failed(asked(10.0), began=0.0, now=0.0, rng=highest)
    ours.failed(asked(2.0), began=0.0, now=0.5, rng=highest)
    ours.failed(LATER, began=0.5, now=1.0, rng=highest)
    assert ours.opens_at == 11.0
    ours.failed(LATER, began=12.0, now=12.0, rng=highest)
    assert ours.opens_at > 12.0
    assert not ours.asked


@pytest.mark.parametrize(("seconds", "wait"), [(-5.0, 0.0), (0.0, 0.0), (1e9, ASKED_LIMIT_S)])
def test_a_wait_that_is_asked_for_is_bounded(seconds, wait):
    ours = gate()
    ours.failed(asked(seconds), began=0.0, now=0.0, rng=lambda: 0.0)
    assert ours.wait_s(0.0) == wait


def test_who_is_in_a_hurry_needs_not_wait_for_chance():
    ours = gate()
    ours.failed(LATER, began=0.0, now=0.0, rng=highest)
    ours.hurry()
    assert ours.wait_s(0.0) == 0.0
