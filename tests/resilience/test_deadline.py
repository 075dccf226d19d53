"""Deadlines: they only shorten, follow the request, and cross the wire as what remains."""

import asyncio
import contextvars
import dataclasses
import math
import threading
from collections.abc import Iterator

import pytest

from seawall.kernel.errors import UsageError
from seawall.resilience import deadline
from seawall.resilience.deadline import Deadline


def test_without_a_scope_there_is_no_deadline() -> None:
    assert deadline.current() is None
    assert deadline.remaining(0.0) is None


def test_a_scope_sets_it_and_takes_it_back() -> None:
    with deadline.scope(10.0) as inside:
        assert inside == deadline.current() == Deadline(10.0)
        assert deadline.remaining(4.0) == 6.0
        assert deadline.remaining(11.0) == 0.0
    assert deadline.current() is None


def test_an_inner_scope_only_ever_shortens() -> None:
    with deadline.scope(10.0) as outer:
        with deadline.scope(20.0) as inner:
            assert inner is outer
        with deadline.scope(5.0) as inner:
            assert inner.at == 5.0
            assert deadline.current() is inner
        assert deadline.current() is outer


def test_it_is_taken_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), deadline.scope(10.0):
        raise ZeroDivisionError
    assert deadline.current() is None


def test_expiry_is_reached_at_the_very_point() -> None:
    assert not Deadline(10.0).expired(9.999)
    assert Deadline(10.0).expired(10.0)
    assert not Deadline(math.inf).expired(1e300)


def test_tasks_inherit_it_and_threads_do_not() -> None:
    seen = []

    async def child() -> None:
        seen.append(deadline.current())
        with deadline.scope(1.0):
            await asyncio.sleep(0)

    async def parent() -> None:
        with deadline.scope(10.0):
            await asyncio.create_task(child())
            seen.append(deadline.current())
            thread = threading.Thread(target=lambda: seen.append(deadline.current()))
            thread.start()
            thread.join()

    asyncio.run(parent())
    assert seen == [Deadline(10.0), Deadline(10.0), None]


def test_a_block_closed_in_another_context_restores_nothing_there() -> None:
    def opened():
        with deadline.scope(10.0):
            yield

    abandoned = opened()
    contextvars.copy_context().run(next, abandoned)
    with deadline.scope(99.0) as mine:
        abandoned.close()
        assert deadline.current() is mine


def test_a_scope_is_used_once_and_in_order() -> None:
    block = deadline.scope(10.0)
    with pytest.raises(UsageError, match="without having been entered"):
        block.__exit__(None, None, None)
    assert repr(block) == "<DeadlineScope at=10 new>"
    with block:
        assert repr(block) == "<DeadlineScope at=10 entered>"
    with pytest.raises(UsageError, match="entered once"):
        block.__enter__()
    assert not hasattr(block, "__dict__")


@pytest.mark.parametrize(
    ("at", "now", "text"),
    [
        (10.0, 9.75, "250"),
        (10.0, 9.9991, "0"),
        (10.0, 11.0, "0"),
        (1.9999, 0.0, "1999"),
        (1e9, 0.0, "99999999"),
        (math.inf, 0.0, "99999999"),
    ],
)
def test_the_header_carries_what_remains_rounded_down(at: float, now: float, text: str) -> None:
    assert Deadline(at).to_header(now) == text


def test_the_callee_never_believes_to_have_longer_than_the_caller_waits() -> None:
    for microseconds in range(0, 20_000, 7):
        left_s = microseconds / 1e6
        assert deadline.from_header(Deadline(left_s).to_header(0.0), 0.0).at <= left_s


@pytest.mark.parametrize(
    ("text", "at"), [("0", 100.0), ("250", 100.25), ("00000001", 100.001), ("99999999", 100_099.999)]
)
def test_a_header_is_read_by_the_own_clock(text: str, at: float) -> None:
    assert deadline.from_header(text, 100.0).at == pytest.approx(at)


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1.5", " 1", "1m", "1_0", "٣", "²", "100000000", "9" * 10_000]
)
def test_a_header_that_says_anything_else_is_refused_in_few_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"seawall-timeout-ms = .*1 to 8 decimal digits") as caught:
        deadline.from_header(text, 0.0)
    assert len(str(caught.value)) < 200


def test_a_deadline_is_a_number_and_stays_it() -> None:
    with pytest.raises(ValueError, match="at = nan"):
        deadline.scope(math.nan)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Deadline(1.0).at = 2.0  # type: ignore[misc]  # the point of the test
    assert not hasattr(Deadline(1.0), "__dict__")
    assert repr(Deadline(1.0)) == "Deadline(at=1.0)"


def test_scopes_may_be_left_in_any_order() -> None:
    first, second = deadline.scope(10.0), deadline.scope(5.0)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert deadline.current() == Deadline(5.0)
    second.__exit__(None, None, None)
    assert deadline.current() is None
    with deadline.scope(7.0):
        assert deadline.current() == Deadline(7.0)
    assert deadline.USED


def test_generators_that_hold_scopes_leave_none_behind() -> None:
    def held(at: float) -> Iterator[int]:
        with deadline.scope(at):
            yield from range(3)

    for _ in zip(held(10.0), held(20.0), strict=False):
        assert deadline.current() == Deadline(10.0)
    assert deadline.current() is None


def test_a_scope_that_is_left_in_another_context_is_left_in_this_one_too() -> None:
    scope = deadline.scope(10.0)
    scope.__enter__()
    contextvars.copy_context().run(scope.__exit__, None, None, None)
    assert deadline.current() is None
    assert deadline.remaining(0.0) is None


def test_a_task_that_outlives_the_block_is_free_of_it() -> None:
    seen = []

    async def child(go: asyncio.Event) -> None:
        seen.append(deadline.current())
        await go.wait()
        seen.append(deadline.current())

    async def parent() -> None:
        go = asyncio.Event()
        with deadline.scope(10.0):
            task = asyncio.create_task(child(go))
            await asyncio.sleep(0)
        go.set()
        await task

    asyncio.run(parent())
    assert seen == [Deadline(10.0), None]
