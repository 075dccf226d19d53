"""The awaiting edge: guards calls of ``async`` functions on asyncio (and uvloop).

The only file of this package that awaits.  It waits and interrupts; every decision is ``plan``'s.

Cancellation from outside passes through untouched and counts as nothing: the ticket is voided, the place in
the bulkhead handed on.  An own timeout is told apart from it by ``asyncio.timeout`` and comes out as
``DeadlineExceeded``.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType
from typing import Any, Final, TypeVar

from seawall.kernel.errors import Outcome
from seawall.resilience import deadline, threads
from seawall.resilience.breaker import CircuitBreaker
from seawall.resilience.bulkhead import Ticket
from seawall.resilience.plan import FULL, TIRED, Call, Plan, PlanHolder, Probe, hand_on
from seawall.resilience.windows import NEVER

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


async def once(
    plan: Plan, fn: Callable[..., Awaitable[R]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> R:
    """:func:`call`, by the short way where there is one."""
    breaker = plan.short
    if breaker is None:
        return await call(plan, fn, args, kwargs)
    started = plan.now()
    cohort = None if deadline.USED and deadline.current() is not None else breaker.enter(started)
    if cohort is None:
        if breaker.inline and started < breaker.rejects_until:
            raise plan.refusal(breaker, started)
        return await call(plan, fn, args, kwargs)
    try:
        result = await fn(*args, **kwargs)
    except BaseException as error:
        plan.settle_error(breaker, cohort, started, error)
        raise
    ended = plan.now()
    if not breaker.leave(cohort, started, ended):
        breaker.settle(cohort, Outcome.OK, started, ended)
    return result


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
                at = now()
                if this.overran(at):
                    # It blocked the loop or caught the cancellation; see threads.
                    this.end(Outcome.FAILED, at)
                    return value
                delay_s = this.succeeded(value, at)
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
    try:
        if not this.enter(at):
            await _wait_for_place(this, at)
        if plan.probe is not None:
            watch(plan, at)
    except BaseException:
        this.leave(plan.now())
        raise
    return this


async def _wait_for_place(this: Call, at: float) -> None:
    plan = this.plan
    bulkhead = plan.bulkhead
    assert bulkhead is not None  # ``enter`` says no only where there is one
    loop = asyncio.get_running_loop()
    woken: asyncio.Future[None] = loop.create_future()

    def wake() -> Ticket | None:
        # The one who leaves may be on another thread or in another loop.
        try:
            loop.call_soon_threadsafe(_resolve, woken)
        except RuntimeError:
            # Our loop is closed: nobody will ever use this place. Cancelled and not left, because the
            # coroutine that waits for it may be closed yet, and would give it back a second time.
            assert ticket is not None  # only who queued is woken
            return bulkhead.cancel(ticket, plan.now())
        return None

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
            hand_on(bulkhead.cancel(ticket, now))
            if now >= this.deadline_at:
                raise this.expired(now, "in the queue") from None
            raise this.crowded(now, TIRED) from None
        except BaseException:
            # Cancelled, or the coroutine was closed: the place must not come to somebody who has gone.
            hand_on(bulkhead.cancel(ticket, plan.now()))
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
    # A context of its own: the probe works for everybody, not under the deadline of the call that was
    # suspicious.
    task = asyncio.get_running_loop().create_task(
        _probe(breaker, plan.probe, plan.now), context=contextvars.Context()
    )
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def _probe(breaker: CircuitBreaker, probe: Probe, now: Callable[[], float]) -> None:
    ok = True  # a probe that is cancelled, because the loop ends, has found nothing
    try:
        async with asyncio.timeout(breaker.stall_after_s):
            ok = await probe() is not False  # type: ignore[misc]  # watch() looked: it is async
    except Exception:  # noqa: BLE001 -- whatever a probe raises means "not well"
        ok = False
    finally:
        breaker.probed(ok, now())


def function(holder: PlanHolder, fn: Function) -> Function:
    """The coroutine function ``fn`` guarded by the holder's plan; the short way is told in ``threads``."""
    breaker = holder.plan.short
    if breaker is None:

        async def guarded_by_all(*args: Any, **kwargs: Any) -> Any:
            return await call(holder.plan, fn, args, kwargs)

        return guarded_by_all
    return (_called if threads.COMPILED else _inlined)(holder, fn, breaker)


def _inlined(holder: PlanHolder, fn: Function, breaker: CircuitBreaker) -> Function:
    now, used, current = holder.plan.now, deadline.USED, deadline.current

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        started = now()
        if started >= breaker.due or (used and current() is not None):
            if breaker.inline and started < breaker.rejects_until:
                raise holder.plan.refusal(breaker, started)
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


def _called(holder: PlanHolder, fn: Function, breaker: CircuitBreaker) -> Function:
    now, enter, leave = holder.plan.now, breaker.enter, breaker.leave
    used, current = deadline.USED, deadline.current

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        started = now()
        cohort = None if used and current() is not None else enter(started)
        if cohort is None:
            if breaker.inline and started < breaker.rejects_until:
                raise holder.plan.refusal(breaker, started)
            return await call(holder.plan, fn, args, kwargs)
        try:
            result = await fn(*args, **kwargs)
        except BaseException as error:
            holder.plan.settle_error(breaker, cohort, started, error)
            raise
        ended = now()
        if not leave(cohort, started, ended):
            breaker.settle(cohort, Outcome.OK, started, ended)
        return result

    return guarded


def generator(holder: PlanHolder, fn: Function) -> Function:
    """The async generator function ``fn`` guarded; a call is settled when its generator is exhausted.

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
            this.done(now())
        except BaseException as error:
            this.failed(error, now())
            raise
        finally:
            try:
                if source is not None:
                    await source.aclose()
            finally:
                this.leave(now())

    return guarded


class Limit:
    """The time limit of an ``async with`` block: interrupts it, and tells guards inside about it.

    Args:
        until: when the block has to be over, monotonic seconds; infinity: never.
        now: monotonic seconds now.
    """

    __slots__ = ("_scope", "_timeout")

    def __init__(self, until: float, now: float) -> None:
        self._timeout = None if until == NEVER else asyncio.timeout(until - now)
        self._scope = deadline.scope(until)

    async def enter(self) -> None:
        """The block begins."""
        if self._timeout is not None:
            await self._timeout.__aenter__()
            self._scope.__enter__()

    async def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """The block ends; true if that is because its time was over."""
        if self._timeout is None:
            return False
        self._scope.__exit__(kind, error, trace)
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            return True
        return False


async def pause(delay_s: float) -> None:
    """Wait between two attempts."""
    await asyncio.sleep(delay_s)
