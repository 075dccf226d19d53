"""Timed loops for ``benchmarks.guard``: one statement, compiled into a loop with fast locals.

A statement is written out in the loop instead of being called through a lambda, because a call costs more
than most of what is measured. No breaker is known here; ``contestants`` builds them.
"""

from __future__ import annotations

import asyncio
import gc
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import Any, cast

from benchmarks.harness import Arm, cpu_clock

_SYNC = """
def arm(number_, {names}):
    turns_ = repeat(None, number_)
    started_ = clock()
    for _ in turns_:
{statement}
    return clock() - started_
"""

_ASYNC = """
async def arm(number_, {names}):
    turns_ = repeat(None, number_)
    started_ = clock()
    for _ in turns_:
{statement}
    return clock() - started_
"""


def _compile(template: str, statement: str, names: dict[str, object]) -> Any:  # noqa: ANN401 - a built function
    source = template.format(
        names=", ".join(f"{name}={name}" for name in ("repeat", "clock", *names)),
        statement=textwrap.indent(textwrap.dedent(statement).strip(), " " * 8),
    )
    space: dict[str, Any] = {"repeat": repeat, "clock": cpu_clock, **names}
    exec(compile(source, f"<arm: {statement[:40]}>", "exec"), space)
    return space["arm"]


def loop(statement: str, **names: object) -> Arm:
    """Return an arm that runs ``statement``; ``names`` are its locals."""
    return cast("Arm", _compile(_SYNC, statement, names))


def async_loop(runner: asyncio.Runner, statement: str, **names: object) -> Arm:
    """Return an arm that runs ``statement``, which may await, inside ``runner``'s loop."""
    arm = _compile(_ASYNC, statement, names)

    def run(n: int) -> float:
        return cast("float", runner.run(arm(n)))

    return run


@contextmanager
def quiet_gc() -> Iterator[None]:
    """Keep the cycle collector out of the loops."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
