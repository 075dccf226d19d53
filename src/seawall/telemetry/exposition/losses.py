"""What an exposition had to leave out, counted.

A scrape never fails for one bad part; that it was left out has to be seen somewhere. The writer owns one of
these, the dialects count in it.
"""

from __future__ import annotations

from typing import final

__all__ = ["Losses"]


@final
class Losses:
    """Counters of what was left out.

    Attributes:
        exemplars: Exemplars that are longer than the format allows, or have no readable labels or number.
        families: Families that could not be read to their end.
        clashes: Families whose name another one had in the same scrape.
        sources: Times that a source failed.
    """

    __slots__ = ("clashes", "exemplars", "families", "sources")

    def __init__(self) -> None:
        self.exemplars = 0
        self.families = 0
        self.clashes = 0
        self.sources = 0

    def __repr__(self) -> str:
        return (
            f"<Losses exemplars={self.exemplars} families={self.families}"
            f" clashes={self.clashes} sources={self.sources}>"
        )
