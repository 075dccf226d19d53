"""What users write, as a type checker sees it; read by mypy in tests/repo/test_types.py, never run.

A right use passes. A wrong one carries ``# type: ignore[code]``, and an ignore that hides nothing is an error
too: so every line here is a promise about the types of the public API.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, assert_type

from seawall import (
    Attempt,
    Attempts,
    Breaker,
    Budget,
    Bulkhead,
    DeadlineExceeded,
    Guard,
    Outcome,
    Permit,
    RateLimit,
    Result,
    Retry,
    State,
    deadline,
    guard,
    listen,
    signals,
)
from seawall.testing import DeterministicRandom, VirtualClock, force, record_signals, run

db = guard(
    "orders-db",
    breaker=Breaker(errors="5%", p95="500ms"),
    retry=Retry(attempts=3, budget=Budget(ratio="10%"), on=(ConnectionError,)),
    bulkhead=Bulkhead(limit=20, queue=50, max_wait="100ms"),
    rate=RateLimit(rate="100/s", burst=20),
    timeout="2s",
    deadline=5.0,
    fallback=lambda error: f"instead of {error}",
    probe=lambda: True,
    ignore=(ValueError,),
    classify=lambda error: Outcome.IGNORED if isinstance(error, KeyError) else None,
    classify_result=lambda value: Outcome.OK if value else Outcome.FAILED,
    clock=VirtualClock(),
    rng=DeterministicRandom(7),
    hub=signals.Hub(),
)
assert_type(db, Guard)


# -- decorated functions keep their signature --------------------------------------------------------------


@db
def load(order_id: int, *, fresh: bool = False) -> str:
    return f"{order_id} {fresh}"


@db
async def aload(order_id: int, *, fresh: bool = False) -> str:
    return f"{order_id} {fresh}"


@db
def rows(limit: int) -> Iterator[bytes]:
    yield b"x" * limit


@db
async def arows(limit: int) -> AsyncIterator[bytes]:
    yield b"x" * limit


class Orders:
    """Methods keep theirs, too."""

    @db
    def load(self, order_id: int) -> str:
        return str(order_id)

    @db
    async def aload(self, order_id: int) -> str:
        return str(order_id)

    @classmethod
    @db
    def made(cls, order_id: int) -> "Orders":
        return cls()

    @staticmethod
    @db
    def free(order_id: int) -> int:
        return order_id


def decorated(orders: Orders) -> None:
    assert_type(load(7, fresh=True), str)
    assert_type(asyncio.run(aload(7)), str)
    assert_type(asyncio.run(orders.aload(7)), str)
    asynchronous: Callable[[int], Coroutine[Any, Any, str]] = aload
    asyncio.run(asynchronous(7))
    assert_type(rows(3), Iterator[bytes])
    assert_type(arows(3), AsyncIterator[bytes])
    assert_type(orders.load(7), str)
    assert_type(Orders.made(7), Orders)
    assert_type(Orders.free(7), int)
    assert_type(db(len)("abc"), int)
    plain: Callable[[int], str] = load
    plain(7)


def decorated_wrongly(orders: Orders) -> None:
    load("7")  # type: ignore[arg-type]
    load()  # type: ignore[call-arg]
    load(7, stale=True)  # type: ignore[call-arg]
    load(7).append(8)  # type: ignore[attr-defined]
    asyncio.run(aload("7"))  # type: ignore[arg-type]
    rows("3")  # type: ignore[arg-type]
    arows("3")  # type: ignore[arg-type]
    orders.load("7")  # type: ignore[arg-type]
    db(7)  # type: ignore[arg-type]


# -- calling through a guard -------------------------------------------------------------------------------


def called() -> None:
    assert_type(db.call(load, 7, fresh=True), str)
    assert_type(db.call(int, "7"), int)
    result = db.try_call(load, 7)
    assert_type(result, Result[str])
    assert_type(result.ok, bool)
    assert_type(result.value, str | None)
    assert_type(result.error, Exception | None)
    assert_type(result.rejected, bool)
    assert_type(result.unwrap(), str)


async def awaited() -> None:
    assert_type(await db.acall(aload, 7, fresh=True), str)
    assert_type(await db.acall(asyncio.sleep, 1.0, "done"), str)
    assert_type(await db.atry_call(aload, 7), Result[str])


def called_wrongly() -> None:
    db.call(load, "7")  # type: ignore[arg-type]
    db.call(load)  # type: ignore[call-arg]
    db.try_call(load, 7, stale=True)  # type: ignore[call-arg]
    number: int = db.call(load, 7)  # type: ignore[assignment]
    print(number)


async def awaited_wrongly() -> None:
    await db.acall(load, 7)  # type: ignore[arg-type]
    await db.acall(aload, "7")  # type: ignore[arg-type]
    number: int = await db.acall(aload, 7)  # type: ignore[arg-type]
    print(number)


# -- blocks, permits, attempts -----------------------------------------------------------------------------


def in_blocks() -> None:
    with db as held:
        assert_type(held, Guard)
    permit = db.try_acquire()
    assert_type(permit, Permit | None)
    permit.ok()  # type: ignore[union-attr]
    with db.acquire() as taken:
        assert_type(taken, Permit)
    taken.fail(ValueError())
    taken.fail("no")  # type: ignore[arg-type]
    for attempt in db.attempts():
        assert_type(attempt, Attempt)
        with attempt:
            assert_type(attempt.number, int)


async def in_async_blocks() -> str:
    async with db as held:
        assert_type(held, Guard)
    with await db.aacquire() as taken:
        assert_type(taken, Permit)
    attempts = db.attempts()
    assert_type(attempts, Attempts)
    async for attempt in attempts:
        assert_type(attempt, Attempt)
        async with attempt:
            return "done"
    raise AssertionError


def after_the_loop() -> str:
    for attempt in db.attempts():
        with attempt:
            return load(attempt.number)
    # A block may end with an error that is retried, so for a checker what follows the loop can be reached.
    raise AssertionError


# -- the rest ------------------------------------------------------------------------------------------------


def looked_at() -> None:
    assert_type(db.state, State)
    assert_type(db.allows(), bool)
    assert_type(db.at("tenant-7"), Guard)
    assert_type(str(db.explain()), str)
    assert_type(db.statistics().fallbacks, int)
    db.force("open", owner="ops", reason="maintenance", for_="5m")
    db.force("open", owner="ops", reason="maintenance")  # type: ignore[call-arg]
    db.state = State.OPEN  # type: ignore[misc]


def told() -> None:
    def hear(signal: signals.Signal) -> None:
        print(signal.at, signal.name)

    with listen(hear, signals.BreakerChanged):
        pass
    listen(hear, str)  # type: ignore[arg-type]
    listen("print")  # type: ignore[arg-type]


def under_a_deadline(now: float) -> None:
    with deadline.scope(now + 2.0) as inner:
        assert_type(inner.remaining(now), float)
    error = DeadlineExceeded("db")
    timeout: TimeoutError = error
    print(timeout)


def configured_wrongly() -> None:
    guard("db", breaker="5%")  # type: ignore[arg-type]
    guard("db", retry=3)  # type: ignore[arg-type]
    guard("db", timeouts="2s")  # type: ignore[call-arg]
    Breaker("5%")  # type: ignore[call-arg]
    Retry(on=[ConnectionError])  # type: ignore[arg-type]


def in_tests(later: Callable[[], Awaitable[int]]) -> None:
    async def main() -> int:
        return await later()

    assert_type(run(main()), int)
    assert_type(run(main(), VirtualClock()), int)
    run(later)  # type: ignore[arg-type]
    with force(db, "open") as forced, record_signals(hub=signals.Hub()) as recorded:
        assert_type(forced, Guard)
        assert_type(recorded.of(signals.RampMoved), list[signals.RampMoved])
    with force(db, "ajar"):  # type: ignore[arg-type]
        pass
