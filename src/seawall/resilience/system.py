"""The system's clock, randomness and locks: the one place in this package that touches them.

The guard asks here for defaults; tests and simulations pass their own.  Nothing else in ``resilience``
imports ``time``, ``random`` or ``threading``, but ``aio`` and ``threads``.
"""

from __future__ import annotations

import random
import threading
import time
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from seawall.kernel.clock import Clock
from seawall.kernel.signals import Hub


@runtime_checkable
class SleepingClock(Clock, Protocol):
    """A clock that can also wait, as the retry of a synchronous guard does."""

    def sleep(self, seconds: float, /) -> None:
        """Return after ``seconds``."""
        ...


class SystemClock:
    """Monotonic time of this machine; never the wall clock, which can be set."""

    __slots__ = ()

    # The builtins themselves, not methods around them: a reading is half of what a guarded call costs.
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)


SYSTEM_CLOCK = SystemClock()
"""What guards use unless they are given a clock."""


HUB = Hub()
"""Where guards announce what happens to them unless they are given a hub."""


def system_rng() -> float:
    """A random number from [0, 1); for jitter, not for secrets."""
    return random.random()  # noqa: S311 -- jitter needs no unpredictability


def new_lock() -> AbstractContextManager[object]:
    """A lock for bookkeeping that is never held while user code or I/O runs.

    The same thread may take it twice, because of what it can't help: a finalizer (of a forgotten permit, of
    an abandoned generator) and a signal handler run between any two steps, and settle calls too.
    """
    return threading.RLock()
