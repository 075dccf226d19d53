"""OTLP: finished spans to a collector, by HTTP or gRPC, from the event loop and without holding it.

``protobuf``, ``json_form`` and ``encode`` make requests in slices; ``http`` and ``grpc`` send them;
``exporter`` drains a lane. No OpenTelemetry SDK and no Protocol Buffers library is needed, nor met: spans
are read by their attributes. The protocol is that of the OpenTelemetry Protocol specification, version 1.
"""

from __future__ import annotations

from seawall.telemetry.otlp.accounts import ExporterStatistics, Source, Transport
from seawall.telemetry.otlp.build import exporter_to
from seawall.telemetry.otlp.encode import Encoder, Request, spans
from seawall.telemetry.otlp.exporter import Exporter
from seawall.telemetry.otlp.grpc import GrpcTransport
from seawall.telemetry.otlp.http import HttpTransport
from seawall.telemetry.otlp.json_form import JsonForm
from seawall.telemetry.otlp.protobuf import ProtobufForm
from seawall.telemetry.otlp.retry import Answer, Verdict
from seawall.telemetry.otlp.settings import OtlpSettings, from_environment

__all__ = [
    "Answer",
    "Encoder",
    "Exporter",
    "ExporterStatistics",
    "GrpcTransport",
    "HttpTransport",
    "JsonForm",
    "OtlpSettings",
    "ProtobufForm",
    "Request",
    "Source",
    "Transport",
    "Verdict",
    "exporter_to",
    "from_environment",
    "spans",
]
