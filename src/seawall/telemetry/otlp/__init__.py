"""OTLP: finished spans to a collector, by HTTP or gRPC, from a thread that holds nobody up.

``encode`` makes requests in slices, ``http`` and ``grpc`` send them, ``exporter`` drains a lane. No
OpenTelemetry SDK and no Protocol Buffers library is needed: spans are read by their attributes. The protocol
is that of the OpenTelemetry Protocol specification, version 1, in its binary form.
"""

from __future__ import annotations

from seawall.telemetry.otlp.exporter import Exporter, ExporterStatistics
from seawall.telemetry.otlp.settings import OtlpSettings, from_environment

__all__ = ["Exporter", "ExporterStatistics", "OtlpSettings", "from_environment"]
