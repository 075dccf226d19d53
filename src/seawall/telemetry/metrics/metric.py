"""One row of the metric catalogue: what a metric is called, what it measures, how large it may grow.

A row is a value: it is written once, in the code, and the registry, the writers, the catalogue page and the
layout of the shared block are derived from it. It holds no number that was measured (``cells``) and no series
(``families``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from math import isfinite
from typing import Final

from seawall.kernel.errors import PolicyError, Problem
from seawall.telemetry.metrics.native import SCHEMA_MAX, SCHEMA_MIN

__all__ = ["BUCKETS_MAX", "LABELS_MAX", "STATES_MAX", "Aggregation", "Kind", "Metric"]

LABELS_MAX: Final = 16
"""Labels of one metric: each multiplies the number of series."""
BUCKETS_MAX: Final = 200
"""Bounds of one histogram: each is a line per series in every scrape."""
STATES_MAX: Final = 64
"""States of one state set: each is a line per series in every scrape."""
ALIASES_MAX: Final = 8
"""Further names of one metric: each doubles its series in a scrape that is asked for them."""
LIMIT_MAX: Final = 1_000_000
"""No limit may be set so high that it is none."""

_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
"""Without the colon, which Prometheus keeps for recording rules."""


class Kind(Enum):
    """What sort of cell a metric has."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    NATIVE_HISTOGRAM = "native_histogram"
    STATE_SET = "state_set"
    INFO = "info"


class Aggregation(Enum):
    """How one number is made of a gauge's values in several processes."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One row of the catalogue.

    Attributes:
        name: The name without namespace and without ``_total`` or ``_info``; the writer adds them.
        kind: What sort of cell it has.
        help: One sentence for whoever reads the exposition.
        unit: The base unit, which is also the name's last word: ``seconds``, ``bytes``, ``ratio``. State sets
            and facts have none.
        labels: Names of its labels, in the order of the values that a series is asked for by.
        buckets: Upper bounds of a histogram, ascending, without +Inf.
        states: Names of a state set's states; the first one holds until another is set.
        limit: Series of this metric; more go to the overflow series.
        values_limit: Values of one label; more become ``__other__``.
        alias: Names that reference documents have for it: whole ones, with suffix and without namespace.
        schema: Resolution that a native histogram starts with: 3 means bounds that grow by 9 %, one less
            joins them in pairs.
        aggregation: How the values of several processes become one; the sum for gauges and the highest state
            for state sets, unless said otherwise. No other kind has one.
        idle_s: A gauge's series that nobody has set for so long is forgotten; no other kind has one.

    Raises:
        PolicyError: If any of these is wrong; every mistake is named at once.
    """

    name: str
    kind: Kind
    help: str
    unit: str = ""
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    states: tuple[str, ...] = ()
    limit: int = 2_000
    values_limit: int = 100
    alias: tuple[str, ...] = ()
    schema: int = 3
    aggregation: Aggregation | None = None
    idle_s: float | None = None

    def __post_init__(self) -> None:
        problems = [*_of_names(self), *_of_labels(self), *_of_shape(self), *_of_limits(self)]
        if problems:
            raise PolicyError(problems, f"metric {self.name!r}")

    @property
    def full_name(self) -> str:
        """The name with its unit as the last word, whether or not it was written with it."""
        if not self.unit or self.name == self.unit or self.name.endswith(f"_{self.unit}"):
            return self.name
        return f"{self.name}_{self.unit}"

    @property
    def sample_names(self) -> tuple[str, ...]:
        """Names under which its numbers appear, without the namespace."""
        name = self.full_name
        if self.kind is Kind.COUNTER:
            return (name, f"{name}_total")
        if self.kind is Kind.HISTOGRAM or self.kind is Kind.NATIVE_HISTOGRAM:
            return (name, f"{name}_bucket", f"{name}_count", f"{name}_sum")
        if self.kind is Kind.INFO:
            return (name, f"{name}_info")
        return (name,)

    @property
    def merged_by(self) -> Aggregation:
        """The aggregation that holds when none was declared."""
        if self.aggregation is not None:
            return self.aggregation
        return Aggregation.MAX if self.kind is Kind.STATE_SET else Aggregation.SUM


def _of_names(metric: Metric) -> Iterator[Problem]:
    if not _NAME.fullmatch(metric.name):
        yield Problem("name", metric.name, "letters, digits and _, no digit first")
    # What the writer adds itself: a name that has it would be read as a sample of another metric.
    reserved = ["_total", "_bucket", "_created", *(["_info"] if metric.kind is Kind.INFO else [])]
    for ending in reserved:
        if metric.name.endswith(ending):
            yield Problem("name", metric.name, f"a name without {ending}", "leave it out: the writer adds it")
    if metric.unit:
        if metric.kind in {Kind.STATE_SET, Kind.INFO}:
            yield Problem("unit", metric.unit, "nothing, for a state set or facts")
        elif not _NAME.fullmatch(metric.unit):
            fix = "write a base unit: seconds, bytes, ratio"
            yield Problem("unit", metric.unit, "letters, digits and _", fix)
    if len(metric.alias) > ALIASES_MAX:
        yield Problem("alias", metric.alias, f"at most {ALIASES_MAX}")
    for alias in metric.alias:
        if not _NAME.fullmatch(alias):
            yield Problem("alias", alias, "letters, digits and _, no digit first")


def _of_labels(metric: Metric) -> Iterator[Problem]:
    if len(metric.labels) > LABELS_MAX:
        yield Problem("labels", metric.labels, f"at most {LABELS_MAX}")
    if len(set(metric.labels)) < len(metric.labels):
        yield Problem("labels", metric.labels, "each name once")
    # The exposition has these for itself.
    taken = {"le", "quantile", *(["state"] if metric.kind is Kind.STATE_SET else [])}
    for label in metric.labels:
        if not _NAME.fullmatch(label) or label.startswith("__") or label in taken:
            allowed = "letters, digits and _, no __ first, none of " + ", ".join(sorted(taken))
            yield Problem("labels", label, allowed)


def _of_shape(metric: Metric) -> Iterator[Problem]:
    kind = metric.kind
    if kind is Kind.HISTOGRAM:
        bounds = metric.buckets
        if not 1 <= len(bounds) <= BUCKETS_MAX or not all(map(isfinite, bounds)):
            yield Problem(
                "buckets", bounds, f"1 to {BUCKETS_MAX} finite bounds", "leave out +Inf: it is added"
            )
        elif any(low >= high for low, high in pairwise(bounds)):
            yield Problem("buckets", bounds, "bounds in ascending order, each once")
    elif metric.buckets:
        yield Problem("buckets", metric.buckets, "nothing, but for a histogram")
    if kind is Kind.STATE_SET:
        if not 1 <= len(metric.states) <= STATES_MAX or len(set(metric.states)) < len(metric.states):
            yield Problem("states", metric.states, f"1 to {STATES_MAX} names, each once")
    elif metric.states:
        yield Problem("states", metric.states, "nothing, but for a state set")
    if not SCHEMA_MIN <= metric.schema <= SCHEMA_MAX:
        yield Problem("schema", metric.schema, f"{SCHEMA_MIN} to {SCHEMA_MAX}")
    if metric.aggregation is not None and kind not in {Kind.GAUGE, Kind.STATE_SET}:
        yield Problem("aggregation", metric.aggregation, "nothing, but for a gauge or a state set")
    if metric.aggregation is Aggregation.SUM and kind is Kind.STATE_SET:
        yield Problem("aggregation", metric.aggregation, "max or min", "states can't be added")


def _of_limits(metric: Metric) -> Iterator[Problem]:
    if not 1 <= metric.limit <= LIMIT_MAX:
        yield Problem("limit", metric.limit, f"1 to {LIMIT_MAX}")
    if not 1 <= metric.values_limit <= LIMIT_MAX:
        yield Problem("values_limit", metric.values_limit, f"1 to {LIMIT_MAX}")
    if metric.idle_s is not None:
        if metric.kind is not Kind.GAUGE:
            fix = "leave it out: a total that disappears can't be told from one that never was"
            yield Problem("idle_s", metric.idle_s, "nothing, but for a gauge", fix)
        elif not (isfinite(metric.idle_s) and metric.idle_s > 0):
            yield Problem("idle_s", metric.idle_s, "a finite number of seconds above 0")
