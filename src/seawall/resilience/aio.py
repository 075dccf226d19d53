"""The awaiting edge: guards calls of ``async`` functions on asyncio (and uvloop).

The only file of this package that awaits.  It waits and interrupts; every decision is ``plan``'s.

Cancellation from outside passes through untouched and counts as nothing: the ticket is voided, the place in the
bulkhead handed on.  An own timeout is told apart from it by ``asyncio.timeout`` and comes out as ``DeadlineExceeded``.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final, TypeVar

from seawall.kernel.errors import Outcome
from seawall.resilience import deadline, threads
from seawall.resilience.breaker import NEVER, CircuitBreaker
from seawall.resilience.plan import FULL, TIRED, Call, Plan, PlanHolder, Probe

R = TypeVar("R")
Function = Callable[..., Any]

_tasks: Final[set[asyncio.Task[None]]] = set()
"""Running probes: the loop keeps only weak references. At most one per breaker."""


async def call(
    plan: Plan, fn: Callable[..., Awaitable[R]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> R:
    """Await ``fn`` through ``plan``; what it raises or the fallback's value comes out.

    Raises:
        CallRejected: the plan did not let the call through.
        DeadlineExceeded: the timeout or the deadline is over.
    """
    if plan.fallback is None:
        return await _attempts(plan, fn, args, kwargs)
    try:
        return await _attempts(plan, fn, args, kwargs)
    except BaseException as error:  # noqa: BLE001 -- fall_back raises again what it does not replace
        value = plan.fall_back(error, plan.now())
        if inspect.isawaitable(value):
            return await value  # type: ignore[no-any-return]  # the user's promise
        return value  # type: ignore[return-value]  # the user's promise


async def _attempts(
    plan: Plan, fn: Callable[..., Awaitable[R]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> R:
    now = plan.now
    this = await enter(plan)
    try:
        while True:
            try:
                value = await _attempt(this, fn, args, kwargs)
            except BaseException as error:
                delay_s = this.failed(error, now())
                if delay_s is None:
                    raise
            else:
                delay_s = this.succeeded(value, now())
                if delay_s is None:
                    return value
            await pause(delay_s)
    finally:
        this.leave(now())


async def _attempt(
    this: Call, fn: Callable[..., Awaitable[R]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> R:
    now = this.plan.now
    at = now()
    until = this.begin(at)
    if this.plan.probe is not None:
        watch(this.plan, at)
    if until == NEVER:
        return await fn(*args, **kwargs)
    limit = asyncio.timeout(until - at)
    try:
        async with limit:
            with deadline.scope(until):
                return await fn(*args, **kwargs)
    except TimeoutError:
        if limit.expired():
            raise this.expired(now(), "attempt") from None
        raise


async def enter(plan: Plan) -> Call:
    """A call that has its place in the bulkhead, waited for if need be.

    Raises:
        CallRejected: there is none, or the rate limit is reached.
        DeadlineExceeded: there is no time left.
    """
    at = plan.now()
    this = Call(plan, at)
    if not this.enter(at):
        await _wait_for_place(this, at)
    return this


async def _wait_for_place(this: Call, at: float) -> None:
    plan = this.plan
    bulkhead = plan.bulkhead
    assert bulkhead is not None  # ``enter`` says no only where there is one
    loop = asyncio.get_running_loop()
    woken: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        # The one who leaves may be on another thread or in another loop.
        try:
            loop.call_soon_threadsafe(_resolve, woken)
        except RuntimeError:
            # Our loop is closed: nobody will ever use this place.
            threads.hand_on(bulkhead.leave(plan.now()))

    ticket = bulkhead.enqueue(at, wake)
    if ticket is None:
        raise this.crowded(at, FULL)
    if not ticket.granted:
        until = min(ticket.expires_at, this.deadline_at)
        try:
            async with asyncio.timeout(None if until == NEVER else max(until - at, 0.0)):
                await woken
        except TimeoutError:
            now = max(plan.now(), until)
            threads.hand_on(bulkhead.cancel(ticket, now))
            if now >= this.deadline_at:
                raise this.expired(now, "in the queue") from None
            raise this.crowded(now, TIRED) from None
        except BaseException:
            # Cancelled, or the coroutine was closed: the place must not come to somebody who has gone.
            threads.hand_on(bulkhead.cancel(ticket, plan.now()))
            raise
    this.entered()


def _resolve(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)


def watch(plan: Plan, now: float) -> None:
    """Start the active probe if the breaker suspects a stall: as a task if it is async, else on a thread."""
    breaker = plan.breaker
    if not isinstance(breaker, CircuitBreaker) or plan.probe is None or not breaker.suspects(now):
        return
    if not inspect.iscoroutinefunction(plan.probe):
        threads.start_probe(breaker, plan.probe, plan.now)
        return
    task = asyncio.get_running_loop().create_task(_probe(breaker, plan.probe, plan.now))
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def _probe(breaker: CircuitBreaker, probe: Probe, now: Callable[[], float]) -> None:
    ok = False
    try:
        async with asyncio.timeout(breaker.stall_after_s):
            ok = await probe() is not False  # type: ignore[misc]  # watch() looked: it is a coroutine function
    except Exception:  # noqa: BLE001 -- whatever a probe raises means "not well"
        ok = False
    finally:
        breaker.probed(ok, now())


def function(holder: PlanHolder, fn: Function) -> Function:
    """The coroutine function ``fn`` guarded by the holder's plan; see ``threads.function`` for the short way."""
    breaker = holder.plan.inline()
    if breaker is None:

        async def guarded_by_all(*args: Any, **kwargs: Any) -> Any:
            return await call(holder.plan, fn, args, kwargs)

        return guarded_by_all
    now = holder.plan.now

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        started = now()
        if started >= breaker.due:
            return await call(holder.plan, fn, args, kwargs)
        cohort = breaker.cohort
        cohort.started += 1
        try:
            result = await fn(*args, **kwargs)
        except BaseException as error:
            holder.plan.settle_error(breaker, cohort, started, error)
            raise
        ended = now()
        if ended - started < breaker.slow_s:
            cohort.fast += 1
        else:
            breaker.settle(cohort, Outcome.OK, started, ended)
        return result

    return guarded


def generator(holder: PlanHolder, fn: Function) -> Function:
    """The async generator function ``fn`` guarded; a call's outcome is settled when the generator is exhausted.

    A consumer that stops early (``aclose``) proves nothing: void.
    """

    async def guarded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        this = await enter(holder.plan)
        now = this.plan.now
        source: AsyncGenerator[Any, Any] | None = None
        try:
            this.begin(now())
            source = fn(*args, **kwargs)
            step: Awaitable[Any] = source.asend(None)
            while True:
                item = await step
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as error:  # noqa: BLE001 -- athrow(): the source has to see it
                    step = source.athrow(error)
                else:
                    step = source.asend(sent)
        except StopAsyncIteration:
            this.succeeded(None, now())
        except BaseException as error:
            this.failed(error, now())
            raise
        finally:
            this.leave(now())
            if source is not None:
                await source.aclose()

    return guarded


async def pause(delay_s: float) -> None:
    """Wait between two attempts."""
    await asyncio.sleep(delay_s)
