"""What a deployment says about the proxy's telemetry: plain values, which load nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Door", "Logs", "ObservationSettings", "Tracing"]

METRICS_PORT = 9090
STATUS_PORT = 8080


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A listener of HTTP.

    Attributes:
        enabled: whether there is one.
        host: address or host name.
        port: 0 lets the system choose.
        token: what readers have to present; empty: nothing.
        allow_unauthenticated: let everybody read, on any address.
        certificate: file of the certificate; empty: no TLS.
        key: file of its key.
        client_ca: file of the authorities that clients' certificates have to be signed by.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 0
    token: str = field(default="", repr=False)
    allow_unauthenticated: bool = False
    certificate: str = ""
    key: str = ""
    client_ca: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """Spans of queries.

    Attributes:
        enabled: whether there are any.
        provider: ``light`` or ``sdk``.
        service: what the proxy is called in traces.
        slow_s: a query that takes so long has a span even without a trace; 0: none has.
        errors: whether queries that fail have one even without a trace.
        endpoint: of the collector; empty: what the environment says, or this machine.
        protocol: ``http/protobuf`` or ``grpc``.
        environ: the variables ``OTEL_EXPORTER_OTLP_...``, which hold where the file says nothing.
    """

    enabled: bool = False
    provider: str = "light"
    service: str = "seawall-proxy"
    slow_s: float = 1.5
    errors: bool = True
    endpoint: str = ""
    protocol: str = ""
    environ: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """Lines about what happens.

    Attributes:
        form: ``json``, ``console``, or ``auto``: the second in a terminal, the first elsewhere.
        level: as :mod:`logging` names it.
    """

    form: str = "auto"
    level: str = "INFO"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationSettings:
    """All of it.

    Attributes:
        metrics: where ``/metrics`` and the health pages are.
        status: where the status API is.
        namespace: prefix of every metric's name.
        state_numbering: ``seawall`` or ``helios``.
        aliases: whether metrics are also written under their names in reference documents.
        tracing: spans.
        logs: lines.
    """

    metrics: Door = Door(port=METRICS_PORT)
    status: Door = Door(port=STATUS_PORT)
    namespace: str = "seawall"
    state_numbering: str = "seawall"
    aliases: bool = False
    tracing: Tracing = Tracing()
    logs: Logs = Logs()
