"""Puts an exporter together from its settings."""

from __future__ import annotations

import random
from collections.abc import Callable

from seawall.telemetry.otlp.accounts import Source, Transport
from seawall.telemetry.otlp.encode import Encoder, Form
from seawall.telemetry.otlp.exporter import Exporter
from seawall.telemetry.otlp.grpc import GrpcTransport
from seawall.telemetry.otlp.http import HttpTransport
from seawall.telemetry.otlp.json_form import JsonForm
from seawall.telemetry.otlp.protobuf import ProtobufForm
from seawall.telemetry.otlp.settings import OtlpSettings

__all__ = ["exporter_to"]


def exporter_to(
    settings: OtlpSettings,
    source: Source,
    *,
    resource: object = None,
    clock: Callable[[], float] | None = None,
    rng: Callable[[], float] = random.random,
) -> Exporter:
    """An exporter for ``settings``; ``start`` it on a running loop.

    Args:
        settings: Where to, how, and what may be spent on it.
        source: The lane that spans come from.
        resource: For spans that have none of their own.
        clock: Monotonic seconds; the loop's own time if None.
        rng: Uniform random numbers in [0, 1).

    Raises:
        UsageError: The protocol needs a package that isn't installed.
    """
    form: Form = JsonForm() if settings.protocol == "http/json" else ProtobufForm()
    transport: Transport = GrpcTransport(settings) if settings.protocol == "grpc" else HttpTransport(settings)
    encoder = Encoder(form, resource=resource, request_bytes=settings.encoded_bytes)
    return Exporter(source, transport, settings, encoder, clock=clock, rng=rng)
