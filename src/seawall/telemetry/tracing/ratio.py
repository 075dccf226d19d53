"""The ratio: which traces it keeps, by the random bits of their ids, drawn or not.

W3C calls the low 56 bits of a trace id random, and whoever knows the id says the same about its trace. A
trace that nobody else knows of needs no id to be judged: a random float stands for 53 of these bits, which is
half the work, and the id is made with them if somebody asks for it afterwards.

Pure. Segments ask it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from seawall.telemetry.tracing.settings import RANDOM_BITS

__all__ = ["CHANCE_BITS", "Ratio"]

CHANCE_BITS: Final = 53
"""Those of a random float."""

_RANDOM: Final = (1 << RANDOM_BITS) - 1


@final
class Ratio:
    """Which traces are kept.

    Args:
        threshold: The lowest value of a trace id's random bits that is kept.

    Attributes:
        share: The lowest chance that is kept.
    """

    __slots__ = ("_threshold", "share")

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        # exact: a threshold has no more digits than the setting, which is a float
        self.share = threshold / (1 << RANDOM_BITS)

    def keeps(self, trace_id: int) -> bool:
        """Whether a trace of this id is kept."""
        return trace_id & _RANDOM >= self._threshold

    def chance_of(self, trace_id: int) -> float:
        """The chance that stands for a known id: 1 if it is kept, else 0."""
        return float(self.keeps(trace_id))

    def id_with(self, chance: float, random_bits: Callable[[int], int]) -> int:
        """A trace id that is kept if the chance is.

        Args:
            chance: From 0 to below 1, of :data:`CHANCE_BITS` random bits; they are the id's.
            random_bits: Gives a whole number of so many random bits.

        Returns:
            1 to 2**128 - 1.
        """
        low = int(chance * (1 << CHANCE_BITS)) << (RANDOM_BITS - CHANCE_BITS)
        low |= random_bits(RANDOM_BITS - CHANCE_BITS)
        if chance < self.share:
            low = min(low, self._threshold - 1)  # the further bits must not change the verdict
        return random_bits(128 - RANDOM_BITS) << RANDOM_BITS | low or 1  # all zeros is no trace id
