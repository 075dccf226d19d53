"""Puts a guard's breaker into a state for the length of a block: what does the code around it do then?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from seawall.kernel.commands import ForceMode
from seawall.kernel.units import MAX_DURATION_S
from seawall.resilience.guard import Guard
from seawall.resilience.states import State

OWNER: Final = "seawall.testing"
"""Shown as the owner of what a test forces."""


@contextmanager
def force(guard: Guard, mode: ForceMode = "open") -> Iterator[Guard]:
    """Force ``guard`` within the block; afterwards it is as before.

    A guard that was closed is closed again, with empty windows, and not half open as after an operator's
    order: the next test must not find probes to make. What somebody else had forced is in force again.

    Args:
        guard: whose breaker; for one key of it, ``guard.at(key)``.
        mode: ``open`` rejects all, ``closed`` admits all, ``shadow`` only tells, ``disabled`` does nothing.

    Raises:
        UsageError: the guard has no breaker, or the mode is unknown.

    Example:
        >>> from seawall import BreakerOpen, guard
        >>> db = guard("db")
        >>> with force(db, "open"):
        ...     db.try_call(int, "7").rejected
        True
        >>> db.call(int, "7")
        7
    """
    breaker = guard.breaker
    before = breaker.override
    closed = guard.state is State.CLOSED
    guard.force(mode, owner=OWNER, reason="a test", for_=MAX_DURATION_S)
    try:
        yield guard
    finally:
        if before is not None:
            breaker.force(before, guard.plan.now())
        elif closed:
            breaker.reset(guard.plan.now())
        else:
            breaker.release(guard.plan.now())
