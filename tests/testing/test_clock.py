"""The virtual clock moves when told to, and when somebody sleeps by it."""

import math

import pytest

from seawall import UsageError
from seawall.resilience.system import SleepingClock
from seawall.testing import VirtualClock


def test_it_starts_where_it_is_told_to() -> None:
    assert VirtualClock().monotonic() == 0.0
    assert VirtualClock(7.5).monotonic() == 7.5


def test_a_sleep_moves_it() -> None:
    clock = VirtualClock(1.0)

    clock.sleep(2.0)
    clock.advance(0.5)

    assert clock.monotonic() == 3.5


def test_a_negative_sleep_is_none() -> None:
    clock = VirtualClock(1.0)

    clock.sleep(-3.0)

    assert clock.monotonic() == 1.0


@pytest.mark.parametrize("seconds", [math.nan, math.inf])
def test_it_does_not_sleep_for_ever(seconds: float) -> None:
    with pytest.raises(UsageError):
        VirtualClock().sleep(seconds)


def test_a_guard_can_sleep_by_it() -> None:
    assert isinstance(VirtualClock(), SleepingClock)


def test_it_shows_its_time() -> None:
    assert repr(VirtualClock(1.25)) == "<VirtualClock 1.25 s>"
