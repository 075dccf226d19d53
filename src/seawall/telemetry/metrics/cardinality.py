"""The guard that keeps the number of series bounded, and says who made them so many.

Labels explode because somebody puts an identifier into one. Three limits stand in the way:

- values of one label: further ones become ``__other__``, so that the other labels of a series still tell;
- series of one metric, and series of the whole process: further ones go to the metric's overflow series, all
  of whose labels say ``__overflow__``.

Nothing is dropped silently: a total stays a total, and what was put together is counted by metric and reason.
The overflow series itself is outside the limits; there is one per metric, and metrics are bounded in number.

This module keeps count and decides; it makes no cells (``families``) and knows no lock, its callers have one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final

from seawall.kernel.signals import Signal
from seawall.telemetry.metrics.metric import Kind, Metric

__all__ = [
    "FAMILIES_MAX",
    "METRIC_OVERFLOW",
    "OTHER",
    "OVERFLOW",
    "REASONS",
    "VALUE_LENGTH_MAX",
    "CardinalityReached",
    "Census",
    "Guard",
    "GuardStatistics",
    "LabelReport",
]

OTHER: Final = "__other__"
"""Stands for the values of a label that came after its limit was reached."""
OVERFLOW: Final = "__overflow__"
"""All labels of the series that stands for those beyond a limit."""
VALUE_LENGTH_MAX: Final = 1_024
"""Characters of one label value: a longer one is data, not a label, and becomes ``__other__``."""
REASONS: Final = ("values", "metric", "process", "memory", "labels")
"""Why a series was not made: a label's limit, the metric's, the process's, no room in the shared block, or
values that do not fit the declared labels."""
EXAMPLES_SHOWN: Final = 3
FAMILIES_MAX: Final = 2_000
"""Metrics of one registry; each may have one series outside all other limits."""

METRIC_OVERFLOW: Final = Metric(
    name="metric_overflow",
    kind=Kind.COUNTER,
    help="Requests for a series that were answered by another one, because of a limit, by metric.",
    labels=("metric",),
    limit=FAMILIES_MAX,
    values_limit=FAMILIES_MAX,
)
"""Declared by a registry at its first overflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardinalityReached(Signal):
    """A limit of series or label values is close, or was reached; ``name`` is the metric, ``key`` the label.

    ``key`` is empty when the metric's series are meant, and ``name`` too when those of the whole process are.

    Attributes:
        count: Values or series there are.
        limit: Those there may be.
        overflowed: Requests of this metric that were answered by another series so far.
    """

    count: int
    limit: int
    overflowed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReport:
    """One label and what it costs.

    Attributes:
        metric: Name of the metric.
        label: Name of the label.
        values: Values it has.
        values_limit: Values it may have.
        series: Series of the metric.
        series_limit: Series the metric may have.
        overflowed: Requests of the metric that were answered by another series.
        examples: Some of the values; they may be what should not have been in a label.
    """

    metric: str
    label: str
    values: int
    values_limit: int
    series: int
    series_limit: int
    overflowed: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardStatistics:
    """Counts of one metric's guard; ``offered`` is always ``kept + overflowed``.

    Attributes:
        series: Series now, without the overflow series.
        offered: Requests for a series that there was not yet.
        kept: Those that got it.
        overflowed: Those that were answered by another series.
        reasons: The latter by :data:`REASONS`.
    """

    series: int
    offered: int
    kept: int
    overflowed: int
    reasons: dict[str, int]


class Census:
    """Series of the whole process.

    Args:
        limit: How many there may be.

    Attributes:
        limit: The same.
        series: How many there are.
    """

    __slots__ = ("limit", "series")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.series = 0


class Guard:
    """Decides for one metric which series may be made.

    Args:
        metric: Whose series.
        census: Of the process.
        exempt: Whether its series are not counted among those of the process.

    Attributes:
        series: Series now, without the overflow series.
        offered: Requests for a series that there was not yet.
        kept: Those that got a series of their own.
        reasons: Those that did not, by reason.
    """

    __slots__ = ("_census", "_exempt", "_metric", "_told", "_values", "kept", "offered", "reasons", "series")

    def __init__(self, metric: Metric, census: Census, *, exempt: bool = False) -> None:
        self._metric = metric
        self._census = census
        self._exempt = exempt
        # By label: its values, and how many series have each.
        self._values: tuple[dict[str, int], ...] = tuple({} for _ in metric.labels)
        # What was told last: 1 that the limit is close, 2 that it was reached; by label, "" for the series.
        self._told: dict[str, int] = {}
        self.series = 0
        self.offered = 0
        self.kept = 0
        self.reasons: dict[str, int] = dict.fromkeys(REASONS, 0)

    @property
    def overflowed(self) -> int:
        """Requests that were answered by another series."""
        return sum(self.reasons.values())

    def fit(self, values: tuple[str, ...]) -> tuple[str, ...]:
        """The same values, with ``__other__`` for those beyond their label's limit."""
        limit = self._metric.values_limit
        return tuple(
            value
            if value in known or value == OTHER or (len(known) < limit and len(value) <= VALUE_LENGTH_MAX)
            else OTHER
            for value, known in zip(values, self._values, strict=True)
        )

    def full(self) -> str:
        """Why there is no room for another series; empty if there is."""
        if not self._metric.labels:
            # The one series of a metric without labels is what the declaration asked for.
            return ""
        if self.series >= self._metric.limit:
            return "metric"
        return "process" if not self._exempt and self._census.series >= self._census.limit else ""

    def enter(self, values: tuple[str, ...]) -> None:
        """Count a series that was made."""
        self.series += 1
        self._census.series += not self._exempt
        for value, known in zip(values, self._values, strict=True):
            if value != OTHER:
                known[value] = known.get(value, 0) + 1

    def leave(self, values: tuple[str, ...]) -> None:
        """Forget a series; its values make room for others when no series has them any more."""
        self.series -= 1
        self._census.series -= not self._exempt
        for value, known in zip(values, self._values, strict=True):
            left = known.get(value, 0) - 1
            if left > 0:
                known[value] = left
            else:
                known.pop(value, None)

    def facts(self, now: float, warn_share: float) -> list[CardinalityReached]:
        """What is close to its limit, or has reached it, and was not told yet.

        Args:
            now: Monotonic seconds.
            warn_share: Share of a limit from which on it is close.
        """
        metric = self._metric
        counts = [("", self.series, metric.limit)] if metric.labels else []
        counts += [
            (label, len(known), metric.values_limit)
            for label, known in zip(metric.labels, self._values, strict=True)
        ]
        return [
            CardinalityReached(
                at=now, name=metric.name, key=key, count=count, limit=limit, overflowed=self.overflowed
            )
            for key, count, limit in counts
            if worse(self._told, key, count, limit, warn_share)
        ]

    def labels(self) -> list[LabelReport]:
        """What each label costs."""
        metric = self._metric
        return [
            LabelReport(
                metric=metric.name,
                label=label,
                values=len(known),
                values_limit=metric.values_limit,
                series=self.series,
                series_limit=metric.limit,
                overflowed=self.overflowed,
                examples=tuple(islice(known.copy(), EXAMPLES_SHOWN)),
            )
            for label, known in zip(metric.labels, self._values, strict=True)
        ]

    def statistics(self) -> GuardStatistics:
        """Counts at this moment."""
        return GuardStatistics(
            series=self.series,
            offered=self.offered,
            kept=self.kept,
            overflowed=self.overflowed,
            reasons=self.reasons.copy(),
        )


def worse(told: dict[str, int], key: str, count: int, limit: int, warn_share: float) -> bool:
    """Whether a count has come closer to its limit than was told; remembers that it will be told now."""
    level = 2 if count >= limit else 1 if count >= limit * warn_share else 0
    if level > told.get(key, 0):
        told[key] = level
        return True
    if level == 0:
        # Told anew when it comes close again; a count that stays close is told once.
        told.pop(key, None)
    return False
