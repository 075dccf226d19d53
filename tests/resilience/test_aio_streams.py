"""Async generators, and blocks with a time limit."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextvars import ContextVar

import pytest

from seawall import (
    BreakerOpen,
    Bulkhead,
    deadline,
)
from seawall.resilience import aio
from tests.resilience.world import (
    START_S,
    TOUCHY,
    World,
    cancelled,
    hang,
    runs,
    seen,
)


async def talk(*items: object) -> AsyncGenerator[object, object]:
    """Gives its items, or raises those that are errors, or hangs at ``...``."""
    heard: object = None
    for item in items:
        if isinstance(item, BaseException):
            raise item
        if item is ...:
            await hang()
        try:
            heard = yield item if heard is None else f"heard {heard}"
        except LookupError:
            heard = yield "caught"


@runs
async def test_an_async_generator_is_settled_when_it_is_exhausted(world: World) -> None:
    db = world.guard(bulkhead=Bulkhead(limit=1))
    source = db(talk)(1, 2)

    assert seen(db) == (0, 0, 0, 0), "nothing has begun"
    assert await anext(source) == 1
    assert seen(db)[0] == 1
    assert db.statistics().bulkhead.inside == 1
    assert [item async for item in source] == [2]
    assert seen(db) == (0, 1, 0, 0)
    assert db.statistics().bulkhead.inside == 0


@runs
async def test_asend_and_athrow_pass(world: World) -> None:
    source = world.guard()(talk)(1, 2, 3)

    assert await anext(source) == 1
    assert await source.asend("hello") == "heard hello"
    assert await source.athrow(LookupError()) == "caught"
    assert await source.asend("bye") == "heard bye"
    with pytest.raises(StopAsyncIteration):
        await anext(source)


@runs
async def test_an_async_generator_that_raises_has_failed(world: World) -> None:
    db = world.guard()

    with pytest.raises(ConnectionError):
        [item async for item in db(talk)(1, ConnectionError())]
    source = db(talk)(1)
    await anext(source)
    with pytest.raises(ConnectionError):
        await source.athrow(ConnectionError())
    assert seen(db)[2:] == (2, 0)


@runs
async def test_a_consumer_that_stops_early_proves_nothing(world: World) -> None:
    db = world.guard(bulkhead=Bulkhead(limit=1))
    closed: list[int] = []

    @db
    async def rows() -> AsyncIterator[int]:
        try:
            for number in range(100):
                yield number
        finally:
            await asyncio.sleep(1.0)
            closed.append(db.statistics().bulkhead.inside)

    source = rows()
    await anext(source)
    await source.aclose()
    await source.aclose()

    assert closed == [1], "the source is closed before its place is given away"
    assert seen(db)[2:] == (0, 1)
    assert db.statistics().bulkhead.inside == 0


@runs
async def test_a_source_that_fails_to_close_gives_its_place_back(world: World) -> None:
    db = world.guard(bulkhead=Bulkhead(limit=1))

    @db
    async def rows() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            raise LookupError

    source = rows()
    await anext(source)
    with pytest.raises(LookupError):
        await source.aclose()
    assert db.statistics().bulkhead.inside == 0


@runs
async def test_a_cancelled_step_counts_as_nothing(world: World) -> None:
    db = world.guard(bulkhead=Bulkhead(limit=1))

    async def consume() -> None:
        async for _ in db(talk)(1, ...):
            pass

    await cancelled(asyncio.create_task(consume()))
    assert seen(db)[2:] == (0, 1)
    assert db.statistics().bulkhead.inside == 0


@runs
async def test_an_async_generator_behind_an_open_breaker_does_not_begin(world: World) -> None:
    db = world.guard(breaker=TOUCHY, bulkhead=Bulkhead(limit=1))
    with pytest.raises(ConnectionError):
        await anext(db(talk)(ConnectionError()))

    with pytest.raises(BreakerOpen):
        await anext(db(talk)(1))
    assert db.statistics().bulkhead.inside == 0


@runs
async def test_a_context_variable_set_between_steps_is_seen_inside(world: World) -> None:
    variable: ContextVar[int] = ContextVar("variable", default=0)

    @world.guard()
    async def look() -> AsyncIterator[int]:
        while True:
            yield variable.get()

    source = look()
    for number in range(3):
        variable.set(number)
        assert await anext(source) == number
    await source.aclose()


@runs
async def test_a_limit_interrupts_its_block(world: World) -> None:
    limit = aio.Limit(START_S + 2.0, START_S)
    await limit.enter()
    assert deadline.remaining(START_S) == 2.0
    error: BaseException | None = None
    try:
        await hang()
    except asyncio.CancelledError as interrupted:
        error = interrupted

    assert await limit.leave(type(error), error, None)
    assert world.elapsed_s == 2.0
    assert deadline.current() is None


@runs
async def test_a_limit_that_is_not_reached_says_no(world: World) -> None:
    for until in (world.clock.monotonic() + 2.0, aio.NEVER):
        limit = aio.Limit(until, START_S)
        await limit.enter()
        assert not await limit.leave(None, None, None)
