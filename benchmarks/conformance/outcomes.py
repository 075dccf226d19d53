"""Cases about what a result means: cancellation, business errors, hung calls, generators, async."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator

from benchmarks.conformance.subject import Case, Make, ServiceError, Verdict, verdict


def cancelled_is_no_success(make: Make) -> Verdict:
    """A cancelled call between failures must not reset what has been counted."""
    subject = make(failures=5, minimum=5)
    subject.calls("fail", "fail", "fail", "fail")
    subject.begin().cancel()
    subject.call("fail")
    opened = subject.is_open
    return verdict(opened, "5 failures open it" if opened else "a cancelled call reset the failure count")


def cancelled_is_no_failure(make: Make) -> Verdict:
    """Cancelled calls alone must not open."""
    subject = make(failures=5, minimum=5)
    for count in range(1, 31):
        call = subject.begin()
        if not call.reached:
            return verdict(False, f"open after {count - 1} cancelled calls")
        call.cancel()
    opened = subject.is_open
    return verdict(not opened, "open after 30 cancelled calls" if opened else "30 cancelled, still closed")


def excluded_is_no_success(make: Make) -> Verdict:
    """Business errors between failures must neither reset nor dilute what has been counted."""
    subject = make(failures=5, minimum=5)
    for count in range(1, 21):
        if subject.is_open:
            return verdict(True, f"open after {count - 1} failures among business errors")
        subject.calls("fail", "business", "business")
    return verdict(subject.is_open, "20 of 20 calls that say something failed, still closed")


def hung_calls_count(make: Make) -> Verdict:
    """Calls past the slow bound are slow while they are still out."""
    subject = make(slow_s=0.1, minimum=10)
    held = [subject.begin() for _ in range(40)]
    for _ in range(3):
        subject.wait(0.1)
        late = subject.begin()
        if late.reached:
            held.append(late)
    opened = subject.is_open
    for call in held:
        call.end("ok")
    text = "40 calls out at 3 x the slow bound"
    return verdict(opened, f"{text}: open" if opened else f"{text}: still closed, sees only finished calls")


def async_is_guarded(make: Make) -> Verdict:
    """The decorator guards an async function, or refuses it; it must not let it through unguarded."""
    subject = make(failures=5, minimum=5)

    async def fails() -> int:
        raise ServiceError("down")

    try:
        guarded = subject.decorate(fails)
    except TypeError as error:
        return verdict(True, f"refuses an async function: {error}")
    for _ in range(10):
        with contextlib.suppress(Exception):
            subject.loop.run_until_complete(guarded())
    opened = subject.is_open
    return verdict(opened, "failures of an async function count" if opened else "10 failures, still closed")


def generator_fails_late(make: Make) -> Verdict:
    """A generator that fails after its first item is a failure, not a success at creation."""
    subject = make(failures=5, minimum=5)

    def items() -> Iterator[int]:
        yield 1
        raise ServiceError("down")

    try:
        guarded = subject.decorate(items)
    except TypeError as error:
        return verdict(True, f"refuses a generator: {error}")
    for _ in range(10):
        with contextlib.suppress(Exception):
            list(guarded())
    opened = subject.is_open
    return verdict(opened, "recorded at the end" if opened else "10 failed mid-way, counted as successes")


def async_generator_fails_late(make: Make) -> Verdict:
    """The same for an async generator."""
    subject = make(failures=5, minimum=5)

    async def items() -> AsyncIterator[int]:
        yield 1
        raise ServiceError("down")

    async def drain(source: AsyncIterator[int]) -> None:
        async for _ in source:
            continue

    try:
        guarded = subject.decorate(items)
    except TypeError as error:
        return verdict(True, f"refuses an async generator: {error}")
    for _ in range(10):
        try:
            subject.loop.run_until_complete(drain(guarded()))
        except TypeError as error:
            return verdict(False, f"an async generator breaks: {error}")
        except Exception:
            continue
    opened = subject.is_open
    return verdict(opened, "recorded at the end" if opened else "10 failed mid-way, counted as successes")


def generator_left_early(make: Make) -> Verdict:
    """A caller who stops reading says nothing about the backend."""
    subject = make(failures=5, minimum=5)

    def items() -> Iterator[int]:
        yield 1
        yield 2

    try:
        guarded = subject.decorate(items)
    except TypeError as error:
        return verdict(True, f"refuses a generator: {error}")
    for count in range(1, 11):
        try:
            source = guarded()
            next(source)
            source.close()
        except Exception as error:
            return verdict(False, f"closing it early raised {type(error).__name__} at the {count}. time")
    opened = subject.is_open
    return verdict(not opened, "10 left early opened it" if opened else "10 left early, still closed")


CASES = (
    Case("cancellation as success", "a cancelled call resets nothing", ("async",), cancelled_is_no_success),
    Case("cancellation as failure", "cancelled calls alone do not open", ("async",), cancelled_is_no_failure),
    Case("excluded as success", "business errors hide no outage", ("exclude",), excluded_is_no_success),
    Case("hung calls invisible", "calls past the slow bound count while out", ("latency",), hung_calls_count),
    Case("async silently unguarded", "async functions are guarded or refused", (), async_is_guarded),
    Case("generator outcome", "a generator's outcome is that of its end", (), generator_fails_late),
    Case("async generator outcome", "the same for async generators", (), async_generator_fails_late),
    Case("generator left early", "a generator closed early proves nothing", (), generator_left_early),
)
