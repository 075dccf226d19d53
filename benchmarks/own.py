"""Seawall's side of ``benchmarks.guard`` and ``benchmarks.memory``: guards on the system's clock."""

from __future__ import annotations

import asyncio
import time
from itertools import count

from benchmarks.contestants import (
    ASYNC,
    AWAIT,
    CALL,
    CALL_ARGS,
    CATCH,
    COMPOSED,
    COMPOSED_ASYNC,
    KEYED,
    METHOD,
    PACED,
    RECORD,
    REJECT,
    REJECT_VALUE,
    SYNC,
    SYNC_ARGS,
    VERDICT,
    Contestant,
    Statement,
    failing,
    nothing,
    nothing_async,
    opened,
    three,
)
from seawall.kernel.errors import BreakerOpen, Outcome
from seawall.resilience.breaker import CircuitBreaker
from seawall.resilience.guard import Guard, guard
from seawall.resilience.policy import Breaker, Bulkhead, Policy, Retry
from seawall.resilience.registry import Registry

POLICY = Breaker(errors="5%", p95="500ms")
COMPOSITION = Policy(breaker=POLICY, retry=Retry(), bulkhead=Bulkhead(limit=10), timeout="2s")
HELD_OPEN = Breaker(errors="5%", p95="500ms", open_for="1h", open_for_max="2h")


def engine() -> CircuitBreaker:
    """Return an engine that has begun its first tick."""
    now = time.monotonic()
    made = CircuitBreaker(POLICY.rules(), name="cost", now=now)
    made.poll(now)
    return made


def seawall(runner: asyncio.Runner) -> Contestant:
    """Return Seawall as a contestant, its async guard made inside the loop that will run it."""
    healthy, broken = guard("cost", breaker=POLICY), guard("cost-open", breaker=HELD_OPEN)
    opened(broken(failing), lambda: not broken.allows())

    async def make_async(made: Guard) -> Statement:
        return Statement(AWAIT, {"f": made(nothing_async)})

    recorder, paced = engine(), CircuitBreaker(POLICY.rules(), name="paced")
    now = time.monotonic()
    recorder.admit(now)
    return Contestant(
        name="Seawall",
        windowed=True,
        make=lambda name: CircuitBreaker(POLICY.rules(), name=name),
        rows={
            SYNC: Statement(CALL, {"f": healthy(nothing)}),
            SYNC_ARGS: Statement(CALL_ARGS, {"f": healthy(three)}),
            ASYNC: runner.run(make_async(guard("cost-async", breaker=POLICY))),
            VERDICT: Statement("b.allows()", {"b": engine()}),
            RECORD: Statement("b.record(True, 0.01, now)", {"b": recorder, "now": now}),
            # The other rows call so fast that the window hardly ever rolls; here every second call rolls it.
            PACED: Statement(
                "at = tick()\nb.settle(b.admit(at), ok, at, at + 0.005)",
                {"b": paced, "ok": Outcome.OK, "tick": count(0.0, 0.01).__next__},
            ),
            REJECT: Statement(CATCH, {"f": broken(nothing), "Rejected": BreakerOpen}),
            REJECT_VALUE: Statement("call(f)", {"call": broken.try_call, "f": nothing}),
            METHOD: Statement("call(f)", {"call": healthy.call, "f": nothing}),
            KEYED: Statement('at("tenant-7").call(f)', {"at": healthy.at, "f": nothing}),
            COMPOSED: Statement(CALL, {"f": guard("cost-composed", policy=COMPOSITION)(nothing)}),
            COMPOSED_ASYNC: runner.run(make_async(guard("cost-composed-async", policy=COMPOSITION))),
        },
    )


def light_breakers(keys: list[str], calls: int) -> Registry:
    """Return a registry with a breaker per key that has seen ``calls`` good calls."""
    registry = Registry(POLICY.rules(), name="footprint", limit=len(keys))
    for key in keys:
        breaker = registry.get(key)
        for index in range(calls):
            ticket = breaker.admit(float(index))
            if ticket is None:
                raise RuntimeError(f"{key}: a new breaker rejected call {index}")
            breaker.settle(ticket, Outcome.OK, float(index), index + 0.01)
    grown = registry.statistics().keys - registry.statistics().light
    if grown:
        raise RuntimeError(f"{grown} of {len(keys)} breakers grew after {calls} good calls; expected none")
    return registry


def full_breakers(keys: list[str], calls: int) -> dict[str, CircuitBreaker]:
    """Return full engines by key that have seen ``calls`` good calls; they share their rules."""
    rules = POLICY.rules()
    made = {}
    for key in keys:
        breaker = CircuitBreaker(rules, name="footprint", key=key)
        for index in range(calls):
            ticket = breaker.admit(float(index))
            if ticket is not None:
                breaker.settle(ticket, Outcome.OK, float(index), index + 0.01)
        made[key] = breaker
    return made
