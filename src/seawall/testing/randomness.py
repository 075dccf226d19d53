"""Random numbers that come out the same in every run, for jitter in tests."""

from __future__ import annotations

import random
from typing import Final


class DeterministicRandom:
    """A source for ``guard(rng=...)`` whose numbers depend on nothing but its start value.

    Args:
        seed: the start value; two sources with the same one give the same numbers.

    Attributes:
        seed: the same.
        drawn: how many numbers were taken.

    Example:
        >>> rng = DeterministicRandom(7)
        >>> first = rng(), rng()
        >>> rng.rewind()
        >>> (rng(), rng()) == first
        True
    """

    __slots__ = ("_random", "drawn", "seed")

    def __init__(self, seed: int = 0) -> None:
        self.seed: Final = seed
        self.rewind()

    def __call__(self) -> float:
        """The next number from [0, 1)."""
        self.drawn += 1
        return self._random.random()

    def rewind(self) -> None:
        """Start again with the first number."""
        self._random = random.Random(self.seed)  # noqa: S311 -- a test wants it predictable
        self.drawn = 0

    def __repr__(self) -> str:
        return f"<DeterministicRandom seed={self.seed} drawn={self.drawn}>"
