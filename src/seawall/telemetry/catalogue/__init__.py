"""Every metric that Seawall has, as data: name, type, unit, labels, and what reference documents call it.

The parts that count declare these rows and no others; dashboards, alert rules and the page of metrics are
made from them, so that none of these can name what doesn't exist.
"""

from seawall.telemetry.catalogue.proxy import PROXY
from seawall.telemetry.catalogue.resilience import RESILIENCE
from seawall.telemetry.metrics.metric import Metric

__all__ = ["CATALOGUE", "PROXY", "RESILIENCE"]

CATALOGUE: tuple[Metric, ...] = (*PROXY, *RESILIENCE)
