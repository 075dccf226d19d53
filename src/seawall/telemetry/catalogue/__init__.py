"""Every metric that Seawall has, as data: name, type, unit, labels, and what reference documents call it.

The parts that count declare these rows and no others; dashboards, alert rules and the page of metrics are
made from them, so that none of these can name what doesn't exist.
"""

from collections.abc import Mapping
from itertools import chain

from seawall.telemetry.catalogue.own import OWN
from seawall.telemetry.catalogue.proxy import PROXY
from seawall.telemetry.catalogue.resilience import RESILIENCE
from seawall.telemetry.metrics.cardinality import METRIC_OVERFLOW
from seawall.telemetry.metrics.metric import Metric

__all__ = ["CATALOGUE", "EXPOSED", "GROUPS", "OWN", "PROXY", "RESILIENCE"]

GROUPS: Mapping[str, tuple[Metric, ...]] = {"proxy": PROXY, "guards": RESILIENCE, "telemetry": OWN}
"""The rows by the part that they are about, which is also how dashboards and rule files are divided."""

CATALOGUE: tuple[Metric, ...] = tuple(chain.from_iterable(GROUPS.values()))
"""All rows."""

EXPOSED: tuple[Metric, ...] = (*CATALOGUE, METRIC_OVERFLOW)
"""What a scraper can see: the rows, and the one that every registry declares by itself."""
