"""Families that come as finished samples: those of other libraries, which the bridge makes.

Types are OpenMetrics' own words: ``counter``, ``gauge``, ``histogram``, ``gaugehistogram``, ``summary``,
``info``, ``stateset``, ``unknown``. Names are plain ones (``[a-zA-Z_:][a-zA-Z0-9_:]*``, of labels without the
colon): whoever makes samples sees to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from seawall.telemetry.metrics.cells import Exemplar
from seawall.telemetry.metrics.native import Exponential

__all__ = ["SUFFIXES", "Pairs", "Sample", "SampleFamily", "Source", "claims"]

Pairs = tuple[tuple[str, str], ...]
"""Labels in the order in which they are written."""

SUFFIXES: Final[dict[str, tuple[str, ...]]] = {
    "counter": ("_total", "_created"),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "gaugehistogram": ("_bucket", "_gsum", "_gcount"),
    "summary": ("_sum", "_count", "_created"),
    "info": ("_info",),
}
"""What a type's samples have behind the family's name."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One finished sample.

    Attributes:
        name: Full name, with its suffix.
        labels: All labels, ``le`` and ``quantile`` among them.
        value: The number; not used if there is a native histogram.
        timestamp: Unix seconds, or ``None`` for the time of the scrape.
        exemplars: At most one behind a count, several in a native histogram.
        native: The native histogram that is this sample.
    """

    name: str
    labels: Pairs
    value: float
    timestamp: float | None = None
    exemplars: tuple[Exemplar, ...] = ()
    native: Exponential | None = None


@dataclass(frozen=True, slots=True)
class SampleFamily:
    """A family whose samples are finished; its name has no suffix, as OpenMetrics wants it."""

    name: str
    type: str
    help: str
    unit: str
    samples: Sequence[Sample]

    def without_created(self) -> list[Sample]:
        """The samples without times of creation, which double the lines and which no dashboard reads."""
        if self.type not in {"counter", "histogram", "summary"}:
            return list(self.samples)
        return [sample for sample in self.samples if sample.name != f"{self.name}_created"]


class Source(Protocol):
    """Whoever has finished families to add to an exposition."""

    def collect(self) -> Iterable[SampleFamily]:
        """The families of this moment. What it raises is counted, and the rest of the source left out."""


def claims(name: str, kind: str) -> frozenset[str]:
    """All names that a family occupies, its own and its samples'.

    Args:
        name: Of the family.
        kind: Its type.
    """
    return frozenset([name, *(name + suffix for suffix in SUFFIXES.get(kind, ()))])
