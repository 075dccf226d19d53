"""What a deployment may decide about its exposition.

It holds no state and reads no file: whoever joins the parts makes one and hands it to the writer and to the
bridge, so that both say the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Final, Literal

from seawall.kernel.errors import PolicyError, Problem
from seawall.telemetry.exposition.names import is_plain_label, is_plain_metric

__all__ = ["SLICE_SERIES", "SLICE_SERIES_MAX", "Settings", "StateNumbering"]

SLICE_SERIES: Final = 200
"""Series that are written before an event loop gets its turn: about a tenth of a millisecond."""
SLICE_SERIES_MAX: Final = 10_000
"""A slice that takes longer than some milliseconds is none."""

StateNumbering = Literal["seawall", "helios"]

_NUMBERINGS: Final = ("seawall", "helios")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How families are named and numbered.

    Attributes:
        namespace: Prefix of every name, without its underscore; ``None`` for the registry's own, empty for
            none.
        state_numbering: ``"seawall"`` writes a breaker's state as 0 closed, 1 half-open, 2 open;
            ``"helios"`` swaps the last two.
        breaker_states: Names, as in the catalogue, of the gauges that hold the state of a breaker.
        aliases: Whether a family is also written under its aliases, whole names without the prefix.
        state_label: Label that holds the state of a state set. Empty, or taken by the metric, for
            OpenMetrics' own form, in which the label is named like the metric.
        created_at: When this process began to count, in Unix seconds. If given, OpenMetrics and protobuf
            say so for every counter and histogram; it nearly doubles the lines of the former.
        slice_series: Series per slice.

    Raises:
        PolicyError: If any of these is wrong; every mistake is named at once.
    """

    namespace: str | None = None
    state_numbering: StateNumbering = "seawall"
    breaker_states: frozenset[str] = frozenset({"circuit_breaker_state"})
    aliases: bool = False
    state_label: str = "state"
    created_at: float | None = None
    slice_series: int = SLICE_SERIES

    def __post_init__(self) -> None:
        problems = []
        if self.namespace and not is_plain_metric(self.namespace):
            problems.append(Problem("namespace", self.namespace, "letters, digits, _ and :, no digit first"))
        if self.state_numbering not in _NUMBERINGS:
            problems.append(Problem("state_numbering", self.state_numbering, " or ".join(_NUMBERINGS)))
        if self.state_label and not is_plain_label(self.state_label):
            problems.append(Problem("state_label", self.state_label, "letters, digits and _, no digit first"))
        if self.created_at is not None and not (isfinite(self.created_at) and self.created_at > 0):
            problems.append(Problem("created_at", self.created_at, "a finite number of seconds above 0"))
        if not 1 <= self.slice_series <= SLICE_SERIES_MAX:
            problems.append(Problem("slice_series", self.slice_series, f"1 to {SLICE_SERIES_MAX}"))
        if problems:
            raise PolicyError(problems, "exposition")
