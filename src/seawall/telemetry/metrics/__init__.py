"""Metrics: cells that count, families of series, a registry that bounds them, a block for all processes."""

from seawall.telemetry.metrics.cardinality import OTHER, OVERFLOW, CardinalityReached, LabelReport
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
from seawall.telemetry.metrics.families import Family, SeriesOf
from seawall.telemetry.metrics.metric import Aggregation, Kind, Metric
from seawall.telemetry.metrics.native import Exponential
from seawall.telemetry.metrics.registry import METRIC_OVERFLOW, Registry, RegistryStatistics

__all__ = [
    "METRIC_OVERFLOW",
    "OTHER",
    "OVERFLOW",
    "Aggregation",
    "CardinalityReached",
    "Cell",
    "Counter",
    "Exemplar",
    "Exponential",
    "Family",
    "Gauge",
    "Histogram",
    "Info",
    "Kind",
    "LabelReport",
    "Metric",
    "NativeHistogram",
    "Registry",
    "RegistryStatistics",
    "SeriesOf",
    "StateSet",
]
