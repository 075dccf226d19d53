"""What the writer reads: the shape of a registry, and families that come as finished samples.

The writer knows the cells of Seawall's own registry by their attributes only (the protocols below), so that a
registry which sums several processes can stand in for one that counts. Families of other libraries come as
``SampleFamily``, made by a ``Source``; the bridge to ``prometheus_client`` makes them.

Types are OpenMetrics' own words: ``counter``, ``gauge``, ``histogram``, ``gaugehistogram``, ``summary``,
``info``, ``stateset``, ``unknown``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

__all__ = [
    "Cell",
    "ExemplarShape",
    "FamilyShape",
    "KindShape",
    "MetricShape",
    "Native",
    "RegistryShape",
    "Sample",
    "SampleFamily",
    "Source",
]

Cell: TypeAlias = Any
"""A cell is known by the attributes of its kind."""

Pairs = tuple[tuple[str, str], ...]
"""Labels in the order in which they are written."""


class KindShape(Protocol):
    """A kind of metric; only its name counts: ``COUNTER``, ``GAUGE`` and so on."""

    @property
    def name(self) -> str:
        """Its name."""
        ...


class MetricShape(Protocol):
    """One row of the catalogue."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def kind(self) -> KindShape:
        """What sort of cell it has."""
        ...

    @property
    def help(self) -> str:
        """One sentence."""
        ...

    @property
    def unit(self) -> str:
        """Its unit, or empty."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of its labels, in the order of the values."""
        ...

    @property
    def buckets(self) -> tuple[float, ...]:
        """Upper bounds of a histogram, without +Inf."""
        ...

    @property
    def states(self) -> tuple[str, ...]:
        """States of a state set."""
        ...

    @property
    def alias(self) -> tuple[str, ...]:
        """Further names, whole ones."""
        ...


class FamilyShape(Protocol):
    """A metric with its cells; each cell has a slot ``line`` that belongs to the writer."""

    @property
    def metric(self) -> MetricShape:
        """The row of the catalogue."""
        ...

    @property
    def cells(self) -> dict[tuple[str, ...], Cell]:
        """The cells by the values of their labels."""
        ...


class RegistryShape(Protocol):
    """All families, in order of name."""

    @property
    def namespace(self) -> str:
        """Prefix of all names, without its underscore."""
        ...

    def families(self) -> Sequence[FamilyShape]:
        """All families."""
        ...


class ExemplarShape(Protocol):
    """One example behind a count: the labels of its trace, its value, its time in Unix seconds."""

    @property
    def labels(self) -> Pairs:
        """Where to look, usually the trace."""
        ...

    @property
    def value(self) -> float:
        """What was observed."""
        ...

    @property
    def at(self) -> float | None:
        """When, in Unix seconds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Native:
    """A native histogram of one moment, every part from the same reading.

    Attributes:
        schema: Resolution: each bucket ends at the one before it times ``2 ** (2 ** -schema)``.
        zero_threshold: Half the width of the bucket around zero.
        zero_count: Observations in it.
        positive: Count by index; bucket ``i`` ends at ``2 ** (i * 2 ** -schema)``.
        negative: The same for what is below zero.
        count: All observations.
        sum: Their sum.
        exemplars: Examples, at most one for each bucket.
    """

    schema: int
    zero_threshold: float
    zero_count: int
    positive: dict[int, int]
    negative: dict[int, int]
    count: int
    sum: float
    exemplars: tuple[ExemplarShape, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One finished sample.

    Attributes:
        name: Full name, with its suffix.
        labels: All labels, ``le`` and ``quantile`` among them.
        value: The number; not used if there is a native histogram.
        timestamp: Unix seconds, or ``None`` for the time of the scrape.
        exemplar: An example behind the count.
        native: The native histogram that is this sample.
    """

    name: str
    labels: Pairs
    value: float
    timestamp: float | None = None
    exemplar: ExemplarShape | None = None
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class SampleFamily:
    """A family whose samples are finished; its name has no suffix, as OpenMetrics wants it."""

    name: str
    type: str
    help: str
    unit: str
    samples: Sequence[Sample]


class Source(Protocol):
    """Whoever has finished families to add to an exposition."""

    def collect(self) -> Iterable[SampleFamily]:
        """The families of this moment. What it raises is counted, and the rest of the source left out."""
