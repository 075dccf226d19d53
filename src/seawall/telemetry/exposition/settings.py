"""What a deployment may decide about its exposition.

It holds no state and reads no file: whoever joins the parts makes one and hands it to the writer and to the
bridge, so that both say the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from seawall.kernel.errors import PolicyError, Problem

__all__ = ["SLICE_SERIES", "SLICE_SERIES_MAX", "Settings", "StateNumbering"]

SLICE_SERIES: Final = 200
"""Series that are written before an event loop gets its turn: about a tenth of a millisecond."""
SLICE_SERIES_MAX: Final = 10_000
"""A slice that takes longer than some milliseconds is none."""

StateNumbering = Literal["seawall", "helios"]

_NUMBERINGS: Final = ("seawall", "helios")
_NAMESPACE: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How families are named and numbered.

    Attributes:
        namespace: Prefix of every name, without its underscore; empty for none.
        state_numbering: ``"seawall"`` writes the gauge of a breaker's state as 0 closed, 1 half-open, 2 open;
            ``"helios"`` swaps the last two.
        aliases: Whether a family is also written under its aliases.
        slice_series: Series per slice.

    Raises:
        PolicyError: If any of these is wrong; every mistake is named at once.
    """

    namespace: str = "seawall"
    state_numbering: StateNumbering = "seawall"
    aliases: bool = False
    slice_series: int = SLICE_SERIES

    def __post_init__(self) -> None:
        problems = []
        if self.namespace and not _NAMESPACE.fullmatch(self.namespace):
            problems.append(Problem("namespace", self.namespace, "letters, digits and _, no digit first"))
        if self.state_numbering not in _NUMBERINGS:
            problems.append(Problem("state_numbering", self.state_numbering, " or ".join(_NUMBERINGS)))
        if not 1 <= self.slice_series <= SLICE_SERIES_MAX:
            problems.append(Problem("slice_series", self.slice_series, f"1 to {SLICE_SERIES_MAX}"))
        if problems:
            raise PolicyError(problems, "exposition")
