import math

import pytest

from seawall.kernel.clock import Clock, ManualClock
from seawall.kernel.errors import UsageError


def test_it_stands_still_until_it_is_told_to_move():
    clock: Clock = ManualClock(10.0)
    assert clock.monotonic() == 10.0
    assert clock.monotonic() == 10.0


def test_it_moves_by_what_it_is_told():
    clock = ManualClock()
    assert clock.advance(1.5) == 1.5
    assert clock.advance(0.0) == 1.5
    assert clock.monotonic() == 1.5


@pytest.mark.parametrize("seconds", [-0.001, math.nan, math.inf])
def test_it_never_moves_back_or_away(seconds):
    clock = ManualClock(5.0)
    with pytest.raises(UsageError, match="time only moves forward"):
        clock.advance(seconds)
    assert clock.monotonic() == 5.0
