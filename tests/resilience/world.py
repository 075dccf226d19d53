"""The small world that tests of guards live in: virtual time, fixed chance, its own hub, flaky functions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from seawall.kernel.signals import Hub, Signal
from seawall.resilience.breaker import BreakerStatistics
from seawall.resilience.guard import Guard, guard
from seawall.resilience.policy import Breaker
from seawall.testing import RecordedSignals, VirtualClock, run

T = TypeVar("T")
S = TypeVar("S", bound=Signal)

START_S = 1000.0
TOUCHY = Breaker(consecutive=1, open_for="5s", open_jitter="1%", probes=1)
"""Opens at the first failure and closes after one good probe and a ramp."""


class World:
    """A clock, a hub that is recorded, and guards on both."""

    def __init__(self) -> None:
        self.clock = VirtualClock(START_S)
        self.hub = Hub()
        self.signals = RecordedSignals()
        subscription = self.hub.subscribe(on_ready=lambda: self.signals.take_from(subscription))

    def guard(self, **parts: Any) -> Guard:
        """A guard called "db" in this world."""
        return guard("db", **{"clock": self.clock, "rng": lambda: 0.5, "hub": self.hub, **parts})

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run ``main`` on this world's time."""
        return run(main, self.clock)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the world began."""
        return round(self.clock.monotonic() - START_S, 9)


def counts(of: Guard) -> BreakerStatistics:
    """What the breaker of a guard has counted."""
    return of.breaker.statistics()


class Flaky:
    """A function that fails a given number of times and then succeeds; counts its calls."""

    def __init__(self, failures: int, error: type[BaseException] = ConnectionError) -> None:
        self.failures = failures
        self.error = error
        self.calls = 0

    def __call__(self, value: str = "done") -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return value

    async def later(self, value: str = "done") -> str:
        """The same, awaited."""
        return self(value)


def runs(test: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test that is a coroutine in a world of its own."""

    def wrapped() -> None:
        world = World()
        world.run(test(world))

    wrapped.__name__ = test.__name__
    wrapped.__doc__ = test.__doc__
    return wrapped


async def hang() -> None:
    """Wait until cancelled."""
    await asyncio.Event().wait()


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Let ``task`` run until it waits, then cancel it from outside."""
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def in_thread(work: Callable[[], object]) -> threading.Thread:
    """A running daemon thread, which can't keep a failed test from ending."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def seen(db: Guard) -> tuple[int, int, int, int]:
    """In flight, all, failed and voided calls of a guard."""
    at = counts(db)
    return at.in_flight, at.calls, at.failed, at.voided
