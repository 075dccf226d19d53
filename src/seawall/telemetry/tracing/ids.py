"""Random bits for trace ids and span ids.

They identify, they protect nothing: a fast generator seeded by the system is enough, and what matters is that
two processes never share its state. Therefore a forked child seeds it anew. Tests pass dice of their own.
"""

from __future__ import annotations

import random
from typing import Protocol

__all__ = ["Dice", "SystemDice"]


class Dice(Protocol):
    """Where ids come from."""

    def getrandbits(self, bits: int, /) -> int:
        """A whole number from 0 to below ``2 ** bits``."""
        ...

    def seed(self) -> None:
        """Forget the state: this process has just been forked from one with the same."""
        ...


SystemDice = random.Random
"""Mersenne Twister, seeded by the system; both of its methods are one call into C."""
