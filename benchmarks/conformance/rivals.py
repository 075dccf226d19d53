"""Adapters of the rivals, each used as its documentation shows.

A rival that is not installed raises ImportError here; ``benchmarks.semantics`` then reports that it could
not run, because a matrix with holes proves nothing. Where a library takes a clock it gets one.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from inspect import isasyncgenfunction, iscoroutinefunction
from itertools import count
from typing import Any, TypeVar

import aiobreaker
import circuitbreaker
import interlock
import purgatory
import pybreaker
from purgatory.service._async.circuitbreaker import AsyncCircuitBreaker
from purgatory.service._sync.circuitbreaker import SyncCircuitBreaker

from benchmarks.conformance.subject import BusinessError, ServiceError, Setup, Subject

T = TypeVar("T")

logging.getLogger("interlock").setLevel(
    logging.CRITICAL
)  # it logs what its listeners raise; a case makes one raise

_NO_WINDOW = "counts failures in a row: has no window or rate"
_NO_LATENCY = "has no latency rule"
_NO_RETRY = "has no retry"
_NO_BUDGET = "has no retry budget"
_NO_HINT = "a rejection says nothing about when to come back"
_NO_CLOCK = "takes no clock"
_COUNTERS = {
    "window": _NO_WINDOW,
    "latency": _NO_LATENCY,
    "retry": _NO_RETRY,
    "budget": _NO_BUDGET,
    "clock": _NO_CLOCK,
}
_names = count()


class PyBreaker(Subject):
    """pybreaker: consecutive failures, an RLock held during the call."""

    name = "pybreaker"
    lacks = _COUNTERS | {
        "async": "has no asyncio support (Tornado coroutines only)",
        "concurrent": "its lock is held during the call: calls of one breaker never overlap",
        "hint": _NO_HINT,
    }

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        listeners = []
        if setup.listener is not None:
            changed = setup.listener

            class Listener(pybreaker.CircuitBreakerListener):  # type: ignore[misc] # the library is untyped here
                def state_change(self, cb: object, old_state: object, new_state: object) -> None:
                    del cb, old_state, new_state
                    changed()

            listeners.append(Listener())
        self.breaker = pybreaker.CircuitBreaker(
            fail_max=setup.failures,
            reset_timeout=setup.open_for_s,
            exclude=[BusinessError],
            listeners=listeners,
        )

    def guard_sync(self, function: Callable[[], T]) -> Callable[[], T]:
        return self.breaker(function)  # type: ignore[no-any-return] # untyped library

    def guard_async(self, function: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
        return self.breaker(function)  # type: ignore[no-any-return] # untyped library

    @property
    def is_open(self) -> bool:
        return bool(self.breaker.current_state != "closed")


class CircuitBreakerLibrary(Subject):
    """circuitbreaker: consecutive failures, monotonic clock, no bound on half-open."""

    name = "circuitbreaker"
    lacks = _COUNTERS | {"listener": "has no listeners"}

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.breaker = circuitbreaker.CircuitBreaker(
            failure_threshold=setup.failures,
            recovery_timeout=setup.open_for_s,
            expected_exception=ServiceError,
            name=f"conformance-{next(_names)}",
        )

    def guard_sync(self, function: Callable[[], T]) -> Callable[[], T]:
        return self.breaker.decorate(function)  # type: ignore[no-any-return] # untyped library

    def guard_async(self, function: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
        return self.breaker.decorate(function)  # type: ignore[no-any-return] # untyped library

    @property
    def is_open(self) -> bool:
        return bool(self.breaker.state != "closed")

    def hint_s(self, error: BaseException) -> float | None:
        if isinstance(error, circuitbreaker.CircuitBreakerError):
            return float(error._circuit_breaker.open_remaining)
        return None


class AioBreaker(Subject):
    """aiobreaker: consecutive failures, wall clock."""

    name = "aiobreaker"
    lacks = _COUNTERS

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        listeners = []
        if setup.listener is not None:
            changed = setup.listener

            class Listener(aiobreaker.CircuitBreakerListener):  # type: ignore[misc] # the library is untyped
                def state_change(self, breaker: object, old: object, new: object) -> None:
                    del breaker, old, new
                    changed()

            listeners.append(Listener())
        self.breaker = aiobreaker.CircuitBreaker(
            fail_max=setup.failures,
            timeout_duration=timedelta(seconds=setup.open_for_s),
            exclude=[BusinessError],
            listeners=listeners,
        )

    def guard_sync(self, function: Callable[[], T]) -> Callable[[], T]:
        return self.breaker(function)  # type: ignore[no-any-return] # untyped library

    def guard_async(self, function: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
        return self.breaker(function)  # type: ignore[no-any-return] # untyped library

    @property
    def is_open(self) -> bool:
        return bool(self.breaker.current_state.name != "CLOSED")

    def hint_s(self, error: BaseException) -> float | None:
        if isinstance(error, aiobreaker.CircuitBreakerError) and error.reopen_time is not None:
            return float(error.time_remaining.total_seconds())
        return None


class Purgatory(Subject):
    """purgatory: consecutive failures, wall clock; one circuit reached through both of its factories."""

    name = "purgatory"
    lacks = _COUNTERS | {"hint": _NO_HINT}

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        settings: dict[str, Any] = {
            "default_threshold": setup.failures,
            "default_ttl": setup.open_for_s,
            "exclude": [BusinessError],
        }
        self.sync = purgatory.SyncCircuitBreakerFactory(**settings)
        self.asynchronous = purgatory.AsyncCircuitBreakerFactory(**settings)
        self.context = self.sync.get_breaker("it").context
        if setup.listener is not None:
            changed = setup.listener

            def hook(name: str, event: str, payload: object) -> None:
                del name, payload
                if event == "state_changed":
                    changed()

            self.sync.add_listener(hook)

    def guard_sync(self, function: Callable[[], T]) -> Callable[[], T]:
        def guarded() -> T:
            with SyncCircuitBreaker(self.context, self.sync.uow, self.sync.messagebus):
                return function()

        return guarded

    def guard_async(self, function: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
        async def guarded() -> T:
            bus = self.asynchronous
            async with AsyncCircuitBreaker(self.context, bus.uow, bus.messagebus):
                return await function()

        return guarded

    def decorate(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if iscoroutinefunction(function) or isasyncgenfunction(function):
            self.context = self._async_context()
            return self.asynchronous("it")(function)  # type: ignore[no-any-return] # untyped library
        return self.sync("it")(function)  # type: ignore[no-any-return] # untyped library

    def _async_context(self) -> Any:  # noqa: ANN401 - a class of the library's domain model
        return self.loop.run_until_complete(self.asynchronous.get_breaker("it")).context

    @property
    def is_open(self) -> bool:
        return bool(self.context.state != "closed")


class Clock:
    """The clock that interlock takes: ours, or the one it has by default, moved on instead of waiting."""

    def __init__(self, *, system: bool) -> None:
        self.moved = 0.0
        self._under = interlock._clock.SystemClock().monotonic if system else lambda: 1000.0

    def monotonic(self) -> float:
        return float(self._under()) + self.moved


class _Classifier:
    def is_failure(self, *, result: object, exception: Exception | None) -> bool:
        del result
        return exception is not None and not isinstance(exception, BusinessError)


class Interlock(Subject):
    """interlock-cb: rate windows with slow calls; on a clock of ours."""

    name = "interlock-cb"
    lacks = {"retry": "has no retry of its own (tenacity integration)", "budget": _NO_BUDGET}  # noqa: RUF012 - a constant

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.clock = Clock(system=setup.system_clock)
        listener = None
        if setup.listener is not None:
            changed = setup.listener

            class Listener(interlock.CoreEventListener):  # type: ignore[misc] # skipped by the type checker
                def on_state_change(self, *, name: str, old: object, new: object) -> None:
                    del name, old, new
                    changed()

            listener = Listener()
        self.breaker = interlock.CircuitBreaker(
            name="it",
            config=interlock.Config(
                failure_rate_threshold=setup.ratio,
                minimum_number_of_calls=setup.minimum,
                slow_call_duration_threshold=setup.slow_s or 60.0,
                slow_call_rate_threshold=setup.ratio,
                wait_duration_in_open=setup.open_for_s,
                window_type=interlock.WindowType.TIME_BASED,
                window_size=int(setup.window_s),
            ),
            clock=self.clock,
            classifier=_Classifier(),
            listener=listener,
        )

    def guard_sync(self, function: Callable[[], T]) -> Callable[[], T]:
        return self.breaker(function)  # type: ignore[no-any-return] # skipped by the type checker

    def guard_async(self, function: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
        return self.breaker(function)  # type: ignore[no-any-return] # skipped by the type checker

    @property
    def is_open(self) -> bool:
        return bool(self.breaker.state is not interlock.State.CLOSED)

    def wait(self, seconds: float) -> None:
        self.clock.moved += seconds

    def hint_s(self, error: BaseException) -> float | None:
        after = error.retry_after if isinstance(error, interlock.CircuitOpenError) else None
        return None if after is None else float(after)


RIVALS: tuple[type[Subject], ...] = (PyBreaker, CircuitBreakerLibrary, AioBreaker, Purgatory, Interlock)
