"""The adapter of Seawall: a guard on a clock that moves only when a case says so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from benchmarks.conformance.subject import BusinessError, ServiceError, Setup, Subject
from seawall.kernel.clock import ManualClock
from seawall.kernel.errors import CallRejected
from seawall.kernel.signals import BreakerChanged, Hub
from seawall.resilience.guard import Guard, guard
from seawall.resilience.policy import Breaker, Budget, Retry
from seawall.resilience.states import State
from seawall.resilience.system import SYSTEM_CLOCK

T = TypeVar("T")


class SteppedClock(ManualClock):
    """Moves when told to, also by a sleep; with ``system`` on top of the clock that guards use by default."""

    __slots__ = ("_under",)

    def __init__(self, *, system: bool) -> None:
        super().__init__(1000.0)
        self._under = SYSTEM_CLOCK.monotonic if system else None

    def monotonic(self) -> float:
        """Return seconds, moved on by all that was waited."""
        moved = super().monotonic()
        return moved if self._under is None else moved + self._under()

    def sleep(self, seconds: float, /) -> None:
        """Move on instead of sleeping."""
        self.advance(seconds)


class Seawall(Subject):
    """Seawall's guard with a breaker."""

    name = "Seawall"

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.clock = SteppedClock(system=setup.system_clock)
        self.hub = Hub()
        if setup.listener is not None:
            self.hub.subscribe(BreakerChanged, on_ready=setup.listener)
        self.policy = Breaker(
            errors=setup.ratio,
            p95=setup.slow_s,
            slow_ratio=setup.ratio,
            consecutive=setup.failures if setup.in_a_row else None,
            window=setup.window_s,
            minimum_requests=setup.minimum,
            open_for=setup.open_for_s,
            open_for_max=max(60.0, setup.open_for_s),
            probe_lease=setup.open_for_s,
            open_jitter=0.0,
        )
        self.guard = self._guard()

    def _guard(self, retry: Retry | None = None) -> Guard:
        return guard(
            "conformance",
            breaker=self.policy,
            retry=retry,
            ignore=(BusinessError,),
            clock=self.clock,
            rng=lambda: 0.5,
            hub=self.hub,
        )

    def guard_sync(self, function: Callable[[], T]) -> Callable[[], T]:
        """Return the function guarded."""
        return self.guard(function)

    def guard_async(self, function: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
        """Return the coroutine function guarded."""
        return self.guard(function)

    def decorate(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function guarded, whatever its kind."""
        return self.guard(function)

    @property
    def is_open(self) -> bool:
        """True while nothing but probes passes."""
        return self.guard.state in {State.OPEN, State.HALF_OPEN}

    def wait(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.clock.advance(seconds)

    def hint_s(self, error: BaseException) -> float | None:
        """Return the hint of a rejection."""
        return error.retry_after_s if isinstance(error, CallRejected) else None

    def retrying(self, attempts: int) -> Callable[[Callable[[], T]], Callable[[], T]]:
        """Return the guard's decorator, after giving the guard a retry."""
        self.guard = self._guard(Retry(attempts=attempts, on=(ServiceError,), budget=None))
        return self.guard

    def rejections(self) -> int:
        """Return how many calls the breaker has rejected."""
        return self.guard.breaker.rejected

    def budgeted(self) -> Budgeted:
        """Return calls that are retried on a budget of a tenth, without a breaker in the way."""
        retry = Retry(attempts=3, on=(ServiceError,), budget=Budget(ratio="10%"))
        free = guard("budget", breaker=None, retry=retry, clock=self.clock, rng=lambda: 0.5, hub=self.hub)
        return Budgeted(free)


class SeawallBlocks(Seawall):
    """The same guard, used as ``with`` and ``async with`` blocks and as an attempts loop."""

    name = "Seawall, blocks"

    def guard_sync(self, function: Callable[[], T]) -> Callable[[], T]:
        """Return the function called inside a block, or inside attempts where the guard retries."""

        def once() -> T:
            with self.guard:
                return function()

        def repeated() -> T:
            for attempt in self.guard.attempts():
                with attempt:
                    return function()
            raise AssertionError("attempts() ended without a result and without an error")

        return once if self.guard.policy.retry is None else repeated

    def guard_async(self, function: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
        """Return the coroutine function awaited inside a block."""

        async def guarded() -> T:
            async with self.guard:
                return await function()

        return guarded

    def retrying(self, attempts: int) -> Callable[[Callable[[], T]], Callable[[], T]]:
        """Return a decorator that loops over the guard's attempts."""
        super().retrying(attempts)
        return self.guard_sync


class SeawallKeyed(Seawall):
    """The breaker of one key among many, which starts light."""

    name = "Seawall, keyed"

    def _guard(self, retry: Retry | None = None) -> Guard:
        return super()._guard(retry).at("one key")


class Budgeted:
    """Calls through a guard with a retry budget."""

    def __init__(self, free: Guard) -> None:
        self._guard = free

    def attempts(self, *, failing: bool) -> int:
        """Make one call and return how often the backend saw it."""
        seen = 0

        def call() -> int:
            nonlocal seen
            seen += 1
            if failing:
                raise ServiceError("down")
            return seen

        try:
            self._guard.call(call)
        except ServiceError:
            return seen
        return seen
