"""The sections ``[observability]`` and ``[telemetry]``, and what is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from seawall.app import addresses
from seawall.app.keys import choice, file_path, reader, secret, span, text, truth, whole
from seawall.app.observation.settings import (
    METRICS_PORT,
    STATUS_PORT,
    Door,
    Logs,
    ObservationSettings,
    Tracing,
)
from seawall.app.secrets import Secret
from seawall.app.sections import Section

__all__ = [
    "BEARER_PATTERN",
    "BEARER_UNIT",
    "DOORS",
    "LOG_LEVELS",
    "DoorSection",
    "ObservabilitySection",
    "TelemetrySection",
    "observation",
]

LOG_LEVELS: Final = ("trace", "debug", "info", "warn", "warning", "error")
DOORS: Final = ("metrics", "status")
"""Tables of listeners."""
OTEL_PREFIX: Final = "OTEL_EXPORTER_OTLP_"
BEARER_PATTERN: Final = r"(?=.{16,512}\Z)[A-Za-z0-9._~+/-]+=*"
BEARER_UNIT: Final = "16 to 512 of the characters A-Z a-z 0-9 - . _ ~ + /, and = at the end"
_TRACING: Final = Tracing()


class ObservabilitySection(Section):
    """What the proxy tells about itself; more of it is in `[telemetry]`."""

    metrics_enabled: Annotated[
        bool, truth("Whether `/metrics`, `/health` and `/ready` are served. Needs `seawall[telemetry]`.")
    ] = True
    metrics_port: Annotated[int, whole(0, 65_535, "Where; 0 lets the system choose.")] = METRICS_PORT
    log_circuit_state_changes: Annotated[
        bool, truth("Whether state changes of breakers are logged.", acts=False)
    ] = True
    log_level: Annotated[
        str, choice("What is logged; `SEAWALL_LOG_LEVEL` and `HELIOS_LOG_LEVEL` overrule it.", *LOG_LEVELS)
    ] = "info"


class DoorSection(Section):
    """A listener of HTTP: who may connect and read.

    An address that other machines reach needs a token, clients' certificates, or the word that everybody may
    read.
    """

    host: Annotated[
        str,
        reader(
            "a host name or an IP address", addresses.read_host, "The address to listen on.", example='"::1"'
        ),
    ] = "127.0.0.1"
    token: Annotated[
        Secret | None,
        secret(
            "Readers present it as `Authorization: Bearer ...`.",
            pattern=BEARER_PATTERN,
            unit=BEARER_UNIT,
        ),
    ] = None
    token_file: Annotated[str | None, file_path("A file whose only line is that token.")] = None
    allow_unauthenticated: Annotated[bool, truth("Let everybody read who reaches the address.")] = False
    tls_certificate: Annotated[str | None, file_path("The certificate, PEM; encrypts with `tls_key`.")] = None
    tls_key: Annotated[str | None, file_path("Its key, PEM.")] = None
    tls_client_ca: Annotated[
        str | None, file_path("Only clients come in whose certificate these authorities have signed.")
    ] = None


class MetricsSection(DoorSection):
    """Where metrics are read; whether and on which port is said in `[observability]`."""


class StatusSection(DoorSection):
    """Where programs read how the proxy is: JSON, described at `/openapi.json`."""

    enabled: Annotated[bool, truth("Whether it is served. Needs `seawall[telemetry]`.")] = True
    port: Annotated[int, whole(0, 65_535, "Where; 0 lets the system choose.")] = STATUS_PORT


class TracingSection(Section):
    """Spans of queries, sent by OTLP.

    A query has a span if a comment in it carries a W3C trace context that is sampled (as sqlcommenter writes
    it), if it fails, or if it is slow. Of its text the span has the command and the name of a table, nothing
    else.
    """

    enabled: Annotated[bool, truth("Whether there are any. Needs `seawall[telemetry]`.")] = _TRACING.enabled
    provider: Annotated[
        str, choice("Who makes them: Seawall, or OpenTelemetry's SDK, if that is installed.", "light", "sdk")
    ] = _TRACING.provider
    service: Annotated[
        str, text("a name", "What the proxy is called in traces.", longest=255, example='"orders-proxy"')
    ] = _TRACING.service
    slow: Annotated[
        float,
        span(
            0.0,
            86_400.0,
            "A query for which a server takes so long has a span even without a trace; 0: no. "
            "Below `100ms` it is found by chance.",
        ),
    ] = _TRACING.slow_s
    errors: Annotated[bool, truth("Whether one that fails has a span even without a trace.")] = (
        _TRACING.errors
    )
    endpoint: Annotated[
        str | None,
        text(
            "a URL",
            "Where the collector is; not set: as `OTEL_EXPORTER_OTLP_ENDPOINT` says, or on this machine.",
            pattern=r"https?://[^\s\0@]+",
            longest=2_000,
            example='"http://collector:4318/v1/traces"',
        ),
    ] = None
    protocol: Annotated[
        str | None,
        choice(
            "How it is spoken to; `grpc` needs grpcio. Not set: as `OTEL_EXPORTER_OTLP_PROTOCOL` says.",
            "http/protobuf",
            "grpc",
        ),
    ] = None


class LogsSection(Section):
    """Lines about what happens, on standard error."""

    format: Annotated[
        str,
        choice(
            "`json`: one object per line, without secrets or values; `console`: for people; `auto`: for "
            "people in a terminal. Without `seawall[telemetry]` lines are plain.",
            "auto",
            "json",
            "console",
        ),
    ] = "auto"


class TelemetrySection(Section):
    """Metrics, status, traces and logs of the proxy."""

    namespace: Annotated[
        str,
        text(
            "letters, digits and _, no digit first",
            "Prefix of the metrics' names.",
            pattern=r"[a-zA-Z_][a-zA-Z0-9_]*",
            longest=64,
            example='"seawall"',
        ),
    ] = "seawall"
    state_numbering: Annotated[
        str,
        choice(
            "How breakers' states are numbered: 0 closed, 1 half-open, 2 open; `helios` swaps the last two.",
            "seawall",
            "helios",
        ),
    ] = "seawall"
    aliases: Annotated[
        bool, truth("Whether metrics are also written under their names in the reference documents.")
    ] = False
    metrics: MetricsSection = MetricsSection()
    status: StatusSection = StatusSection()
    tracing: TracingSection = TracingSection()
    logs: LogsSection = LogsSection()


def observation(
    observability: ObservabilitySection,
    telemetry: TelemetrySection,
    tokens: Mapping[str, Secret],
    env: Mapping[str, str],
    level: str,
) -> ObservationSettings:
    """What the telemetry is told.

    Args:
        observability: a section without problems.
        telemetry: another.
        tokens: those that were read from files, by the name of the table.
        env: the variables; those for OTLP hold where the file says nothing.
        level: of the logs, as :mod:`logging` names it.
    """
    tracing, status = telemetry.tracing, telemetry.status
    return ObservationSettings(
        metrics=_door(
            telemetry.metrics,
            enabled=observability.metrics_enabled,
            port=observability.metrics_port,
            token=tokens.get("metrics"),
        ),
        status=_door(status, enabled=status.enabled, port=status.port, token=tokens.get("status")),
        namespace=telemetry.namespace,
        state_numbering=telemetry.state_numbering,
        aliases=telemetry.aliases,
        tracing=Tracing(
            enabled=tracing.enabled,
            provider=tracing.provider,
            service=tracing.service,
            slow_s=tracing.slow,
            errors=tracing.errors,
            endpoint=tracing.endpoint or "",
            protocol=tracing.protocol or "",
            environ=tuple((name, value) for name, value in env.items() if name.startswith(OTEL_PREFIX)),
        ),
        logs=Logs(form=telemetry.logs.format, level=level),
    )


def _door(section: DoorSection, *, enabled: bool, port: int, token: Secret | None) -> Door:
    written = token or section.token
    return Door(
        enabled=enabled,
        host=section.host,
        port=port,
        token=written.reveal() if written is not None else "",
        allow_unauthenticated=section.allow_unauthenticated,
        certificate=section.tls_certificate or "",
        key=section.tls_key or "",
        client_ca=section.tls_client_ca or "",
    )
