"""The rivals of ``benchmarks.guard``, each set up as its documentation shows, all with real clocks.

A contestant offers statements, not callables: what is timed is what a user would write. ``None`` means that
the library has no such thing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any


def nothing() -> None:
    """Take no argument and do nothing: the function under guard."""


def three(a: int, b: int, *, c: int = 0) -> None:
    """Take two arguments and a keyword."""


async def nothing_async() -> None:
    """Do nothing, awaited."""


def failing() -> None:
    """Fail, to open a breaker."""
    raise ConnectionError("down")


@dataclass(frozen=True)
class Statement:
    """A statement and its names; ``before`` runs before each round, outside the time."""

    text: str
    names: dict[str, Any] = field(default_factory=dict)
    before: Callable[[], object] | None = None


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One library, with what it can do on each row."""

    name: str
    windowed: bool
    rows: dict[str, Statement]
    make: Callable[[str], object]


(
    SYNC,
    SYNC_ARGS,
    ASYNC,
    VERDICT,
    RECORD,
    PACED,
    REJECT,
    REJECT_VALUE,
    METHOD,
    KEYED,
    COMPOSED,
    COMPOSED_ASYNC,
) = (
    "sync call, no arguments",
    "sync call, 2 arguments and 1 keyword",
    "async call",
    "verdict read",
    "record",
    "engine's part of a call at 100 calls/s, rolls included",
    "rejection, raised and caught",
    "rejection as a value",
    "call(f) by method",
    "call(f) at one of many keys",
    "sync call with retry, bulkhead, timeout and breaker",
    "async call with retry, bulkhead, timeout and breaker",
)
ROWS = (
    SYNC,
    SYNC_ARGS,
    ASYNC,
    VERDICT,
    RECORD,
    PACED,
    REJECT,
    REJECT_VALUE,
    METHOD,
    KEYED,
    COMPOSED,
    COMPOSED_ASYNC,
)

CALL = "f()"
CALL_ARGS = "f(1, 2, c=3)"
AWAIT = "await f()"
CATCH = """
try:
    f()
except Rejected:
    pass
"""


def opened(call: Callable[[], object], is_open: Callable[[], bool]) -> None:
    """Fail through ``call`` until the breaker is open.

    Raises:
        RuntimeError: It stays closed.
    """
    for _ in range(1000):
        if is_open():
            return
        try:
            call()
        except Exception:
            continue
    raise RuntimeError("the breaker stays closed after 1000 failures; check its threshold")


def _pybreaker() -> Contestant:
    import pybreaker

    breaker, broken = pybreaker.CircuitBreaker(), pybreaker.CircuitBreaker(reset_timeout=3600)
    opened(broken(failing), lambda: broken.current_state == "open")
    return Contestant(
        name="pybreaker",
        windowed=False,
        make=lambda name: pybreaker.CircuitBreaker(name=name),
        rows={
            SYNC: Statement(CALL, {"f": breaker(nothing)}),
            SYNC_ARGS: Statement(CALL_ARGS, {"f": breaker(three)}),
            VERDICT: Statement("b.current_state == 'closed'", {"b": breaker}),
            REJECT: Statement(CATCH, {"f": broken(nothing), "Rejected": pybreaker.CircuitBreakerError}),
        },
    )


def _circuitbreaker() -> Contestant:
    import circuitbreaker

    breaker = circuitbreaker.CircuitBreaker(name="cost")
    broken = circuitbreaker.CircuitBreaker(name="cost-open", recovery_timeout=3600)
    opened(broken.decorate(failing), lambda: bool(broken.opened))
    return Contestant(
        name="circuitbreaker",
        windowed=False,
        make=lambda name: circuitbreaker.CircuitBreaker(name=name),
        rows={
            SYNC: Statement(CALL, {"f": breaker.decorate(nothing)}),
            SYNC_ARGS: Statement(CALL_ARGS, {"f": breaker.decorate(three)}),
            ASYNC: Statement(AWAIT, {"f": breaker.decorate(nothing_async)}),
            VERDICT: Statement("b.closed", {"b": breaker}),
            REJECT: Statement(
                CATCH, {"f": broken.decorate(nothing), "Rejected": circuitbreaker.CircuitBreakerError}
            ),
        },
    )


def _aiobreaker() -> Contestant:
    import aiobreaker

    breaker = aiobreaker.CircuitBreaker()
    broken = aiobreaker.CircuitBreaker(timeout_duration=timedelta(hours=1))
    opened(broken(failing), lambda: broken.current_state.name == "OPEN")
    closed = aiobreaker.CircuitBreakerState.CLOSED
    return Contestant(
        name="aiobreaker",
        windowed=False,
        make=lambda name: aiobreaker.CircuitBreaker(name=name),
        rows={
            SYNC: Statement(CALL, {"f": breaker(nothing)}),
            SYNC_ARGS: Statement(CALL_ARGS, {"f": breaker(three)}),
            ASYNC: Statement(AWAIT, {"f": breaker(nothing_async)}),
            VERDICT: Statement("b.current_state is closed", {"b": breaker, "closed": closed}),
            REJECT: Statement(CATCH, {"f": broken(nothing), "Rejected": aiobreaker.CircuitBreakerError}),
        },
    )


def _purgatory() -> Contestant:
    import purgatory
    from purgatory.domain.model import OpenedState

    sync, later = purgatory.SyncCircuitBreakerFactory(), purgatory.AsyncCircuitBreakerFactory()
    broken = purgatory.SyncCircuitBreakerFactory(default_ttl=3600)
    breaker, open_breaker = sync.get_breaker("cost"), broken.get_breaker("cost")
    opened(broken("cost")(failing), lambda: open_breaker.context.state == "opened")

    def forget_traceback() -> None:
        # It raises the same exception object each time, whose traceback grows with every rejection.
        state = open_breaker.context._state
        if isinstance(state, OpenedState):
            state.__traceback__ = None

    def make(name: str) -> object:
        return purgatory.SyncCircuitBreakerFactory().get_breaker(name)

    return Contestant(
        name="purgatory",
        windowed=False,
        make=make,
        rows={
            SYNC: Statement(CALL, {"f": sync("cost")(nothing)}),
            SYNC_ARGS: Statement(CALL_ARGS, {"f": sync("cost")(three)}),
            ASYNC: Statement(AWAIT, {"f": later("cost")(nothing_async)}),
            VERDICT: Statement("b.state == 'closed'", {"b": breaker.context}),
            REJECT: Statement(
                CATCH, {"f": broken("cost")(nothing), "Rejected": OpenedState}, before=forget_traceback
            ),
        },
    )


def _interlock(label: str, window: str) -> Contestant:
    import interlock

    kind = interlock.WindowType[window]
    size = 10 if window == "TIME_BASED" else 100

    def config(wait_s: float = 60.0) -> interlock.Config:
        return interlock.Config(window_type=kind, window_size=size, wait_duration_in_open=wait_s)

    breaker = interlock.CircuitBreaker(name="cost", config=config())
    broken = interlock.CircuitBreaker(name="cost-open", config=config(3600.0))
    opened(broken(failing), lambda: broken.state is interlock.State.OPEN)
    inner = interlock.CircuitBreaker(name="cost-record", config=config())._engine._machine
    return Contestant(
        name=label,
        windowed=True,
        make=lambda name: interlock.CircuitBreaker(name=name, config=config()),
        rows={
            SYNC: Statement(CALL, {"f": breaker(nothing)}),
            SYNC_ARGS: Statement(CALL_ARGS, {"f": breaker(three)}),
            ASYNC: Statement(AWAIT, {"f": breaker(nothing_async)}),
            VERDICT: Statement("b.state is closed", {"b": breaker, "closed": interlock.State.CLOSED}),
            # No public call records a result; this is what its engine calls, without its lock and clock.
            RECORD: Statement("m.record(ok)", {"m": inner, "ok": interlock.Outcome.SUCCESS}),
            REJECT: Statement(CATCH, {"f": broken(nothing), "Rejected": interlock.CircuitOpenError}),
        },
    )


def rivals(runner: asyncio.Runner) -> list[Contestant]:
    """Return all rivals; async ones are made inside the loop that will run them."""

    async def make() -> list[Contestant]:
        return [
            _pybreaker(),
            _circuitbreaker(),
            _aiobreaker(),
            _purgatory(),
            _interlock("interlock-cb, 10 s", "TIME_BASED"),
            _interlock("interlock-cb, 100 calls", "COUNT_BASED"),
        ]

    return runner.run(make())
