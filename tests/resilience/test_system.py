"""The system's clock, dice and locks."""

import time

from seawall.kernel.clock import ManualClock
from seawall.kernel.signals import Hub
from seawall.resilience.system import HUB, SYSTEM_CLOCK, SleepingClock, new_lock, system_rng


def test_the_clock_is_the_monotonic_one_without_a_wrapper() -> None:
    assert SYSTEM_CLOCK.monotonic is time.monotonic
    assert SYSTEM_CLOCK.sleep is time.sleep


def test_it_can_wait_and_a_bare_clock_can_not() -> None:
    assert isinstance(SYSTEM_CLOCK, SleepingClock)
    assert not isinstance(ManualClock(), SleepingClock)


def test_random_numbers_are_from_zero_to_below_one() -> None:
    assert all(0.0 <= system_rng() < 1.0 for _ in range(100))


def test_there_is_one_hub_for_all() -> None:
    assert isinstance(HUB, Hub)


def test_a_finalizer_can_come_in_while_its_own_thread_holds_the_lock() -> None:
    lock = new_lock()

    with lock, lock:
        pass
