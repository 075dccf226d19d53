"""Generators: settled at their end, whatever their consumer does."""

import gc
import weakref
from collections.abc import Generator, Iterator

import pytest

from seawall import (
    BreakerOpen,
    Bulkhead,
)
from tests.resilience.world import TOUCHY, World, seen


def talk(*items: object) -> Generator[object, object, str]:
    """Gives its items, or raises those that are errors; returns what was sent last."""
    heard: object = None
    for item in items:
        if isinstance(item, BaseException):
            raise item
        try:
            heard = yield item
        except LookupError:
            heard = yield "caught"
    return f"heard {heard}"


def test_a_generator_is_settled_when_it_is_exhausted() -> None:
    db = World().guard(bulkhead=Bulkhead(limit=1))
    source = db(talk)(1, 2)

    assert seen(db) == (0, 0, 0, 0), "nothing has begun"
    assert next(source) == 1
    assert seen(db)[0] == 1
    assert db.statistics().bulkhead.inside == 1
    assert list(source) == [2]
    assert seen(db) == (0, 1, 0, 0)
    assert db.statistics().bulkhead.inside == 0


def test_send_throw_and_the_return_value_pass() -> None:
    source = World().guard()(talk)(1, 2)

    next(source)
    assert source.throw(LookupError()) == "caught"
    assert source.send("hello") == 2
    with pytest.raises(StopIteration) as stopped:
        source.send("bye")
    assert stopped.value.value == "heard bye"


def test_a_generator_that_raises_has_failed() -> None:
    db = World().guard()

    with pytest.raises(ConnectionError):
        list(db(talk)(1, ConnectionError()))
    assert seen(db)[2:] == (1, 0)


def test_a_consumer_that_throws_what_is_not_caught_makes_it_fail() -> None:
    db = World().guard()
    source = db(talk)(1, 2)
    next(source)

    with pytest.raises(ConnectionError):
        source.throw(ConnectionError())
    assert seen(db)[2:] == (1, 0)


def test_a_consumer_that_stops_early_proves_nothing() -> None:
    db = World().guard(bulkhead=Bulkhead(limit=1))
    closed: list[str] = []

    @db
    def rows() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            closed.append("closed")

    source = rows()
    next(source)
    source.close()
    for row in rows():
        if row == 3:
            break

    gc.collect()
    assert closed == ["closed"] * 2
    assert seen(db)[2:] == (0, 2)
    assert db.statistics().bulkhead.inside == 0


def test_a_generator_behind_an_open_breaker_does_not_begin() -> None:
    world = World()
    db = world.guard(breaker=TOUCHY, bulkhead=Bulkhead(limit=1))
    with pytest.raises(ConnectionError):
        list(db(talk)(ConnectionError()))

    with pytest.raises(BreakerOpen):
        next(db(talk)(1))
    assert db.statistics().bulkhead.inside == 0


def test_a_finalizer_can_settle_while_the_breaker_is_busy() -> None:
    """A forgotten generator in a cycle is closed by the collector at any time: also inside the lock."""
    world = World()
    db = world.guard()

    class Cycle:
        def __init__(self) -> None:
            self.source = db(talk)(1, 2)
            self.me = self

    cycle = Cycle()
    next(cycle.source)
    gone = weakref.ref(cycle)
    gc.disable()
    try:
        del cycle
        with db.breaker._lock:
            gc.collect()
    finally:
        gc.enable()
    assert gone() is None
    assert seen(db)[0] == 0
