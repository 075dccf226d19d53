"""What the samples of a row are called in the exposition, for whoever writes queries.

It asks the writer's own views, so that a query and a scrape can't disagree, and it refuses what makes no
sense of a row's kind: the total of a gauge, the buckets of a counter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from seawall.kernel.errors import UsageError
from seawall.telemetry.exposition.formats import Format
from seawall.telemetry.exposition.settings import Settings, StateNumbering
from seawall.telemetry.exposition.views import View, views_of
from seawall.telemetry.metrics.metric import Kind, Metric

__all__ = ["JOB", "Exposed", "Naming"]

JOB: Final = "seawall"
"""Name of the scrape job; every query is about the targets of it."""

_OPEN: Final = {"seawall": 2, "helios": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed:
    """One row as a scraper sees it.

    Attributes:
        name: Of the sample that a query names; of a histogram, without ``_bucket``, ``_count`` and ``_sum``.
        type: OpenMetrics' word for it.
        unit: Base unit, or nothing.
        labels: Names of its labels, in their order; those that the writer adds are among them.
        help: What it says.
        aliases: Its other names, where these are wanted.
    """

    name: str
    type: str
    unit: str
    labels: tuple[str, ...]
    help: str
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How a deployment names and numbers.

    Attributes:
        namespace: Prefix of every name, as in the exposition's settings.
        state_numbering: How a breaker's state is a number, as there.

    Raises:
        PolicyError: One of them is wrong.
    """

    namespace: str = "seawall"
    state_numbering: StateNumbering = "seawall"

    def __post_init__(self) -> None:
        """Have the exposition's settings judge the values."""
        self._settings()

    @property
    def open_state(self) -> int:
        """The number of an open breaker."""
        return _OPEN[self.state_numbering]

    @property
    def state_words(self) -> dict[str, str]:
        """What the numbers of a breaker's states mean."""
        return {"0": "closed", str(3 - self.open_state): "half-open", str(self.open_state): "open"}

    @property
    def prefix(self) -> str:
        """What identifiers of files and dashboards begin with."""
        return self.namespace.replace("_", "-") or JOB

    def counter(self, metric: Metric) -> str:
        """A counter's total.

        Raises:
            UsageError: It is no counter.
        """
        return self._of(metric, Kind.COUNTER).sample

    def gauge(self, metric: Metric) -> str:
        """A gauge, or a state set.

        Raises:
            UsageError: It is neither.
        """
        return self._of(metric, Kind.GAUGE, Kind.STATE_SET).sample

    def info(self, metric: Metric) -> str:
        """Facts, whose value is always 1.

        Raises:
            UsageError: It has none.
        """
        return self._of(metric, Kind.INFO).sample

    def buckets(self, metric: Metric) -> str:
        """A histogram's buckets.

        Raises:
            UsageError: It is no histogram with bounds of its own.
        """
        return f"{self._of(metric, Kind.HISTOGRAM).name}_bucket"

    def native(self, metric: Metric) -> str:
        """A native histogram as a whole.

        Raises:
            UsageError: It is none.
        """
        return self._of(metric, Kind.NATIVE_HISTOGRAM).name

    def recorded(self, level: str, metric: Metric, operation: str) -> str:
        """Name of a recording rule in Prometheus' style: what is left, of which metric, what was done."""
        return f"{level}:{self._view(metric).name}:{operation}"

    def exposed(self, metric: Metric) -> Exposed:
        """The row as a scraper sees it."""
        view = self._view(metric)
        added = ("state",) if metric.kind is Kind.STATE_SET else ()
        return Exposed(
            name=view.sample,
            type=view.type,
            unit=view.unit,
            labels=metric.labels + added,
            help=metric.help,
            aliases=metric.alias,
        )

    def _of(self, metric: Metric, *kinds: Kind) -> View:
        if metric.kind not in kinds:
            wanted = " or ".join(kind.value for kind in kinds)
            raise UsageError(f"metric {metric.name!r} is a {metric.kind.value}, not a {wanted}")
        return self._view(metric)

    def _view(self, metric: Metric) -> View:
        return views_of(metric, self._settings(), Format.TEXT)[0]

    def _settings(self) -> Settings:
        return Settings(namespace=self.namespace, state_numbering=self.state_numbering)
