"""``prometheus_client`` and Seawall's metrics, both ways.

``RegistryCollector`` shows our registry in theirs; ``PrometheusSource`` adds theirs to our exposition.
Neither is needed by anybody who doesn't have ``prometheus_client``: it is loaded when a collector is made,
not before.
"""

from seawall.telemetry.bridge.collector import RegistryCollector
from seawall.telemetry.bridge.source import PrometheusSource, PrometheusSourceStatistics

__all__ = ["PrometheusSource", "PrometheusSourceStatistics", "RegistryCollector"]
