"""Metrics: cells that count, families of series, a registry that bounds them, a block for all processes.

One process: a ``Registry``. Several: a ``Block`` made for a ``Layout`` of all metrics, in every worker a
``Sheet`` of it for the worker's registry, and a ``Collector`` in the process that is scraped.
"""

from seawall.telemetry.metrics.cardinality import (
    METRIC_OVERFLOW,
    OTHER,
    OVERFLOW,
    CardinalityReached,
    GuardStatistics,
    LabelReport,
)
from seawall.telemetry.metrics.cells import (
    Cell,
    Counter,
    Exemplar,
    Gauge,
    Histogram,
    Info,
    NativeHistogram,
    StateSet,
)
from seawall.telemetry.metrics.families import Family
from seawall.telemetry.metrics.gathering import Collector, CollectorStatistics
from seawall.telemetry.metrics.layout import Layout
from seawall.telemetry.metrics.metric import Aggregation, Kind, Metric
from seawall.telemetry.metrics.native import Exponential
from seawall.telemetry.metrics.registry import Registry, RegistryStatistics
from seawall.telemetry.metrics.shared import Block, Sheet, SheetStatistics

__all__ = [
    "METRIC_OVERFLOW",
    "OTHER",
    "OVERFLOW",
    "Aggregation",
    "Block",
    "CardinalityReached",
    "Cell",
    "Collector",
    "CollectorStatistics",
    "Counter",
    "Exemplar",
    "Exponential",
    "Family",
    "Gauge",
    "GuardStatistics",
    "Histogram",
    "Info",
    "Kind",
    "LabelReport",
    "Layout",
    "Metric",
    "NativeHistogram",
    "Registry",
    "RegistryStatistics",
    "Sheet",
    "SheetStatistics",
    "StateSet",
]
