"""Guarding keeps what a function is: its kind, its name, its signature, its place in a class."""

import functools
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest.mock import AsyncMock

import pytest

from seawall import Retry, UsageError
from seawall.resilience.wrap import wrap
from tests.resilience.world import World


def plain(a: int, b: int = 2) -> int:
    """Adds."""
    return a + b


async def awaited(a: int, b: int = 2) -> int:
    return a + b


def items(n: int) -> Iterator[int]:
    yield from range(n)


async def aitems(n: int) -> AsyncIterator[int]:
    for number in range(n):
        yield number


async def collect(source: AsyncIterator[int]) -> list[int]:
    return [item async for item in source]


KINDS = [inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction]

# A guard of just a breaker takes the short way, one with a retry the long way; both must look the same.
PARTS: list[dict[str, Any]] = [{}, {"bulkhead": None, "breaker": None}]


@pytest.mark.parametrize("parts", PARTS, ids=["short", "long"])
@pytest.mark.parametrize("fn", [plain, awaited, items, aitems])
def test_a_function_stays_what_it_is(fn: Any, parts: dict[str, Any]) -> None:
    guarded = World().guard(**parts)(fn)

    assert [kind(guarded) for kind in KINDS] == [kind(fn) for kind in KINDS]
    assert guarded.__name__ == fn.__name__
    assert guarded.__doc__ == fn.__doc__
    assert guarded.__wrapped__ is fn
    assert inspect.signature(guarded) == inspect.signature(fn)


@pytest.mark.parametrize("parts", PARTS, ids=["short", "long"])
def test_arguments_and_results_pass(parts: dict[str, Any]) -> None:
    world = World()
    db = world.guard(**parts)

    assert db(plain)(1) == 3
    assert db(plain)(1, b=5) == 6
    assert world.run(db(awaited)(1, b=5)) == 6
    assert list(db(items)(3)) == [0, 1, 2]
    assert world.run(collect(db(aitems)(3))) == [0, 1, 2]


class Service:
    """Its methods are guarded in the tests below."""

    def __init__(self, base: int) -> None:
        self.base = base


def test_methods_get_their_object() -> None:
    world = World()
    db = world.guard()

    class Guarded(Service):
        @db
        def load(self, number: int) -> int:
            return self.base + number

        @db
        async def aload(self, number: int) -> int:
            return self.base + number

        @db
        def every(self, number: int) -> Iterator[int]:
            yield self.base + number

        @staticmethod
        @db
        def free(number: int) -> int:
            return number

        @classmethod
        @db
        def made(cls, number: int) -> int:
            return cls(number).base

    service = Guarded(10)
    assert service.load(1) == 11
    assert world.run(service.aload(2)) == 12
    assert list(service.every(3)) == [13]
    assert Guarded.free(4) == 4
    assert Guarded.made(5) == 5
    assert world.guard()(service.load)(6) == 16, "a bound method, guarded twice"


@pytest.mark.parametrize("kind", [staticmethod, classmethod])
def test_standing_above_a_descriptor_is_refused(kind: Any) -> None:
    with pytest.raises(UsageError, match=f"above @{kind.__name__}: put it below"):
        wrap(World().guard(), kind(plain))


def test_partials_are_looked_through() -> None:
    world = World()
    db = world.guard()

    assert db(functools.partial(plain, 1))(b=4) == 5
    assert inspect.iscoroutinefunction(db(functools.partial(awaited, 1)))
    assert world.run(db(functools.partial(functools.partial(awaited, 1), b=4))()) == 5
    assert list(db(functools.partial(items, 2))()) == [0, 1]
    assert inspect.isasyncgenfunction(db(functools.partial(aitems, 2)))


def test_callable_objects_are_what_their_call_is() -> None:
    world = World()
    db = world.guard()

    class Sync:
        def __call__(self, a: int) -> int:
            return a

    class Async:
        async def __call__(self, a: int) -> int:
            return a

    class Lazy:
        __slots__ = ()

        def __call__(self, a: int) -> Iterator[int]:
            yield a

    class AsyncLazy:
        async def __call__(self, a: int) -> AsyncIterator[int]:
            yield a

    assert db(Sync())(1) == 1
    assert world.run(db(Async())(2)) == 2
    assert inspect.iscoroutinefunction(db(functools.partial(Async())))
    assert list(db(Lazy())(3)) == [3]
    assert world.run(collect(db(AsyncLazy())(4))) == [4]


def test_builtins_and_classes_can_be_guarded() -> None:
    db = World().guard()

    assert db(len)("abc") == 3
    assert db(int)("7") == 7


def test_an_async_mock_is_async() -> None:
    world = World()

    assert world.run(world.guard()(AsyncMock(return_value=7))()) == 7


def test_what_is_not_callable_is_refused() -> None:
    with pytest.raises(UsageError, match="only wrap something callable, not 7"):
        wrap(World().guard(), 7)  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize("fn", [items, aitems])
@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"retry": Retry(attempts=2)}, "retries"),
        ({"fallback": lambda _error: None}, "has a fallback"),
        ({"timeout": "1s"}, "has a timeout or a deadline"),
        ({"deadline": "1s"}, "has a timeout or a deadline"),
    ],
)
def test_what_can_not_work_on_a_generator_is_refused(fn: Any, parts: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        World().guard(**parts)(fn)
