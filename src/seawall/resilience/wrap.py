"""Finds out what kind of function is to be guarded, and has the right edge wrap it.

Sync functions and generators are ``threads``' business, async ones ``aio``'s.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from seawall.kernel.errors import UsageError
from seawall.resilience import aio, threads
from seawall.resilience.plan import Plan, PlanHolder

P = ParamSpec("P")
R = TypeVar("R")
Function = Callable[..., Any]


def wrap(holder: PlanHolder, fn: Callable[P, R]) -> Callable[P, R]:
    """``fn`` guarded, of the same kind and signature.

    Raises:
        UsageError: ``fn`` can't be wrapped, or is a generator and the guard has parts that can't work on one.
    """
    if isinstance(fn, staticmethod | classmethod):
        raise UsageError(
            f"guard {holder.plan.name!r} stands above @{type(fn).__name__}: put it below, on the function"
        )
    if not callable(fn):
        raise UsageError(f"guard {holder.plan.name!r} can only wrap something callable, not {fn!r}")
    kind = _kind(fn)
    if kind in {"generator", "async generator"}:
        _refuse_for_generators(holder.plan)
    maker = {
        "async": aio.function,
        "generator": threads.generator,
        "async generator": aio.generator,
        "sync": threads.function,
    }[kind]
    return cast("Callable[P, R]", functools.wraps(fn)(maker(holder, fn)))


def _kind(fn: Function) -> str:
    """What calling ``fn`` gives; looks through ``functools.partial`` and at ``__call__`` of objects."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    candidates = (fn,) if inspect.isroutine(fn) else (fn, getattr(type(fn), "__call__", fn))  # noqa: B004
    for candidate in candidates:
        if inspect.iscoroutinefunction(candidate):
            return "async"
        if inspect.isasyncgenfunction(candidate):
            return "async generator"
        if inspect.isgeneratorfunction(candidate):
            return "generator"
    return "sync"


def _refuse_for_generators(plan: Plan) -> None:
    if plan.attempts > 1:
        raise UsageError(
            f"guard {plan.name!r} retries, but a generator that has given items can't be started again: "
            "use a guard without retry"
        )
    if plan.fallback is not None:
        raise UsageError(
            f"guard {plan.name!r} has a fallback, which can't stand in for a half-read generator"
        )
    if plan.timeout_s != math.inf or plan.deadline_s != math.inf:
        raise UsageError(
            f"guard {plan.name!r} has a timeout or a deadline, which would count the consumer's time too: "
            "limit the time of each step inside the generator, and use a guard without"
        )
