"""The blocking edge: guards calls of synchronous functions, on whatever thread they run.

It waits (for a place in the bulkhead, between attempts) and starts the thread of an active probe; every
decision is ``plan``'s.  A running synchronous function can't be interrupted: a timeout here is a deadline
that the function can read (``seawall.deadline``), an end to further attempts, and a failure in the breaker's
books.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Generator
from types import CoroutineType
from typing import Any, Final, TypeVar

from seawall.kernel.errors import Outcome, UsageError
from seawall.resilience import breaker as breaker_module
from seawall.resilience import deadline
from seawall.resilience.breaker import CircuitBreaker
from seawall.resilience.plan import FULL, TIRED, Call, Plan, PlanHolder, Probe, hand_on
from seawall.resilience.windows import NEVER

R = TypeVar("R")
Function = Callable[..., Any]

COMPILED: Final = not str(breaker_module.__file__).endswith(".py")
"""Whether the breaker is the compiled build; the wrappers choose the cheaper way to count by it."""
WAIT_MAX_S: Final = 3600.0 * 24
"""A lock's ``acquire`` takes no infinity."""

_probes: Final[dict[int, threading.Thread]] = {}
"""The probe thread of each breaker, by identity: at most one, even if it hangs."""


def call(plan: Plan, fn: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
    """Call ``fn`` through ``plan``; what it raises or the fallback's value comes out.

    Raises:
        CallRejected: the plan did not let the call through.
        DeadlineExceeded: there was no time left for it.
        UsageError: ``fn`` returned a coroutine: it would run outside the guard.
    """
    if plan.fallback is None:
        return _attempts(plan, fn, args, kwargs)
    try:
        return _attempts(plan, fn, args, kwargs)
    except BaseException as error:  # noqa: BLE001 -- fall_back raises again what it does not replace
        value = plan.fall_back(error, plan.now())
        return _no_coroutine(plan.fallback, value)  # type: ignore[return-value]  # the user's promise


def once(plan: Plan, fn: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
    """:func:`call`, by the short way where there is one."""
    breaker = plan.short
    if breaker is None:
        return call(plan, fn, args, kwargs)
    started = plan.now()
    cohort = None if deadline.USED and deadline.current() is not None else breaker.enter(started)
    if cohort is None:
        if breaker.inline and started < breaker.rejects_until:
            raise plan.refusal(breaker, started)
        return call(plan, fn, args, kwargs)
    try:
        result = fn(*args, **kwargs)
    except BaseException as error:
        plan.settle_error(breaker, cohort, started, error)
        raise
    if isinstance(result, CoroutineType):
        breaker.settle(cohort, Outcome.VOID, started, plan.now())
        raise unguarded(fn, result)
    ended = plan.now()
    if not breaker.leave(cohort, started, ended):
        breaker.settle(cohort, Outcome.OK, started, ended)
    return result


def _attempts(plan: Plan, fn: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
    now = plan.now
    this = enter(plan)
    try:
        while True:
            try:
                value = _attempt(this, fn, args, kwargs)
            except BaseException as error:
                delay_s = this.failed(error, now())
                if delay_s is None:
                    raise
            else:
                if hasattr(type(value), "__await__"):
                    raise unguarded(fn, value)
                at = now()
                if this.overran(at):
                    # It can't be interrupted, so its value is given all the same, but it was a failure.
                    this.end(Outcome.FAILED, at)
                    return value
                delay_s = this.succeeded(value, at)
                if delay_s is None:
                    return value
            plan.sleep(delay_s)
    finally:
        this.leave(now())


def _attempt(this: Call, fn: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
    until = this.begin(this.plan.now())
    if until == NEVER:
        return fn(*args, **kwargs)
    with deadline.scope(until):
        return fn(*args, **kwargs)


def enter(plan: Plan) -> Call:
    """A call that has its place in the bulkhead, waited for if need be.

    Raises:
        CallRejected: there is none, or the rate limit is reached.
        DeadlineExceeded: there is no time left.
    """
    at = plan.now()
    this = Call(plan, at)
    try:
        if not this.enter(at):
            _wait_for_place(this, at)
        if plan.probe is not None:
            watch(plan, at)
    except BaseException:
        this.leave(plan.now())
        raise
    return this


def _wait_for_place(this: Call, at: float) -> None:
    plan = this.plan
    bulkhead = plan.bulkhead
    assert bulkhead is not None  # ``enter`` says no only where there is one
    # A bare lock and no Event: whoever leaves may be a finalizer that runs on this very thread, inside the
    # wait.
    parked = threading.Lock()
    parked.acquire()
    ticket = bulkhead.enqueue(at, parked.release)
    if ticket is None:
        raise this.crowded(at, FULL)
    if not ticket.granted:
        try:
            parked.acquire(timeout=min(max(min(ticket.expires_at, this.deadline_at) - at, 0.0), WAIT_MAX_S))
        except BaseException:
            # Ctrl-C while waiting: the place must not come to somebody who has gone.
            hand_on(bulkhead.cancel(ticket, plan.now()))
            raise
        if not ticket.granted:
            now = max(plan.now(), min(ticket.expires_at, this.deadline_at))
            hand_on(bulkhead.cancel(ticket, now))
            if now >= this.deadline_at:
                raise this.expired(now, "in the queue")
            raise this.crowded(now, TIRED)
    this.entered()


def _no_coroutine(fn: Function, value: R) -> R:
    if hasattr(type(value), "__await__"):
        raise unguarded(fn, value)
    return value


def unguarded(fn: Callable[..., object], value: object) -> UsageError:
    """The error for a "synchronous" function that gave something to be awaited."""
    if isinstance(value, CoroutineType):
        value.close()
    name = getattr(fn, "__qualname__", repr(fn))
    return UsageError(
        f"{name} returned a {type(value).__name__}, which would run outside the guard: guard the async "
        "function itself, or use acall()"
    )


def watch(plan: Plan, now: float) -> None:
    """Start the active probe if the breaker suspects a stall and the probe needs no event loop."""
    breaker, probe = plan.breaker, plan.probe
    if not isinstance(breaker, CircuitBreaker) or probe is None or inspect.iscoroutinefunction(probe):
        return
    if breaker.suspects(now):
        start_probe(breaker, probe, plan.now)


def start_probe(breaker: CircuitBreaker, probe: Probe, now: Callable[[], float]) -> None:
    """Run ``probe`` on its own thread and tell ``breaker`` how it went, at the latest at its time limit."""
    running = _probes.get(id(breaker))
    if running is not None and running.is_alive():
        # The last probe still hangs: that is the answer.
        breaker.probed(False, now())
        return
    answer = _Answer(breaker, now)

    def run() -> None:
        ok = False
        try:
            ok = probe() is not False
        except Exception:  # noqa: BLE001 -- whatever a probe raises means "not well"
            ok = False
        finally:
            timer.cancel()
            _probes.pop(id(breaker), None)
            answer.give(ok=ok)

    timer = threading.Timer(max(breaker.stall_after_s, 0.001), answer.give)
    timer.daemon = True
    thread = threading.Thread(target=run, name=f"seawall-probe-{breaker.name}", daemon=True)
    _probes[id(breaker)] = thread
    try:
        timer.start()
        thread.start()
    except RuntimeError:
        # No thread to be had: that is our trouble, and says nothing about what the probe would have found.
        timer.cancel()
        _probes.pop(id(breaker), None)
        answer.give(ok=True)


class _Answer:
    """Told twice (by the probe and by the timer), it passes on the first."""

    __slots__ = ("_breaker", "_now", "_open")

    def __init__(self, breaker: CircuitBreaker, now: Callable[[], float]) -> None:
        self._breaker = breaker
        self._now = now
        self._open = [True]

    def give(self, *, ok: bool = False) -> None:
        try:
            self._open.pop()  # atomic: exactly one caller gets the element
        except IndexError:
            return
        self._breaker.probed(ok, self._now())


def function(holder: PlanHolder, fn: Function) -> Function:
    """``fn`` guarded by the holder's plan.

    A plan that only has a breaker gets the short way: while the breaker is plainly closed, a call costs two
    clock readings and two counter increments, written out here instead of called, because a call is what
    costs. The function's first call has its value looked at: a coroutine would run unguarded.
    """
    breaker = holder.plan.short
    if breaker is None:
        return lambda *args, **kwargs: call(holder.plan, fn, args, kwargs)
    return (_called if COMPILED else _inlined)(holder, fn, breaker)


def _inlined(holder: PlanHolder, fn: Function, breaker: CircuitBreaker) -> Function:
    """The short way for an interpreted breaker: reading its attributes is cheaper than calling it."""
    now, target, used, current = holder.plan.now, fn, deadline.USED, deadline.current

    def first(*args: Any, **kwargs: Any) -> Any:
        nonlocal target
        value = _no_coroutine(fn, fn(*args, **kwargs))
        target = fn
        return value

    target = first

    def guarded(*args: Any, **kwargs: Any) -> Any:
        started = now()
        if started >= breaker.due or (used and current() is not None):
            if breaker.inline and started < breaker.rejects_until:
                raise holder.plan.refusal(breaker, started)
            return call(holder.plan, fn, args, kwargs)
        cohort = breaker.cohort
        cohort.started += 1
        try:
            result = target(*args, **kwargs)
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
    """The short way for a compiled breaker: calling it is cheaper than reading its attributes."""
    now, enter, leave, target = holder.plan.now, breaker.enter, breaker.leave, fn
    used, current = deadline.USED, deadline.current

    def first(*args: Any, **kwargs: Any) -> Any:
        nonlocal target
        value = _no_coroutine(fn, fn(*args, **kwargs))
        target = fn
        return value

    target = first

    def guarded(*args: Any, **kwargs: Any) -> Any:
        started = now()
        cohort = None if used and current() is not None else enter(started)
        if cohort is None:
            if breaker.inline and started < breaker.rejects_until:
                raise holder.plan.refusal(breaker, started)
            return call(holder.plan, fn, args, kwargs)
        try:
            result = target(*args, **kwargs)
        except BaseException as error:
            holder.plan.settle_error(breaker, cohort, started, error)
            raise
        ended = now()
        if not leave(cohort, started, ended):
            breaker.settle(cohort, Outcome.OK, started, ended)
        return result

    return guarded


def generator(holder: PlanHolder, fn: Function) -> Function:
    """The generator function ``fn`` guarded; a call is settled when its generator is exhausted.

    A consumer that stops early (``close``, or dropping the generator) proves nothing: void.
    """

    def guarded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        this = enter(holder.plan)
        now = this.plan.now
        try:
            this.begin(now())
            try:
                value = yield from fn(*args, **kwargs)
            except BaseException as error:
                this.failed(error, now())
                raise
            this.done(now())
            return value
        finally:
            this.leave(now())

    return guarded
