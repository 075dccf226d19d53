"""A counter that several threads add to without a lock, and that loses nothing.

It is no metric: it has no name and no labels, and nobody exports it. The signals hub counts with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from operator import sub

__all__ = ["Tally"]


class Tally:
    """Counts up by one, from 0.

    ``n += 1`` is a read and a write with a gap between them, in which another thread's addition is lost.
    ``next()`` of an ``itertools.count`` is one C call that runs no Python code, so the GIL makes it
    indivisible. A count can't be read without being advanced; therefore a second count follows how often that
    was done, and one ``map`` advances both in one C call and subtracts them. (A build without the GIL needs
    another counter.)

    Attributes:
        add: Count one more; what it returns means nothing.
    """

    __slots__ = ("_difference", "add")

    def __init__(self) -> None:
        total = count()
        self.add: Callable[[], int] = total.__next__
        self._difference: Iterator[int] = map(sub, total, count())

    @property
    def value(self) -> int:
        """How often :attr:`add` was called."""
        return next(self._difference)
