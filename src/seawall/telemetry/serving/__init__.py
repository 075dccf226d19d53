"""Health, status and metrics over HTTP: two listeners in the event loop that runs already.

Processes start a :class:`TelemetryServer`; applications with a server of their own mount
:func:`metrics_routes` and :func:`status_routes`. It needs Starlette, uvicorn and msgspec, which the extra
``telemetry`` brings. It measures nothing: the page of metrics comes from a :class:`Scraper`, which the writer
of ``exposition`` is, health from :class:`Checks`, and what the status API shows from the parts that register
it.
"""

from seawall.telemetry.serving.access import Access, Binding, Caller, Role, Tls, Token
from seawall.telemetry.serving.checks import Checks, ChecksStatistics
from seawall.telemetry.serving.gate import GateStatistics, Limits
from seawall.telemetry.serving.health import Check, CheckFailed, CheckResult, Probe, Report, Status
from seawall.telemetry.serving.listener import ListenerStatistics
from seawall.telemetry.serving.pages import Scrape, Scraper
from seawall.telemetry.serving.server import (
    METRICS_BINDING,
    STATUS_BINDING,
    ServerStatistics,
    TelemetryServer,
    metrics_routes,
    status_routes,
)
from seawall.telemetry.serving.status import StatusApi

__all__ = [
    "METRICS_BINDING",
    "STATUS_BINDING",
    "Access",
    "Binding",
    "Caller",
    "Check",
    "CheckFailed",
    "CheckResult",
    "Checks",
    "ChecksStatistics",
    "GateStatistics",
    "Limits",
    "ListenerStatistics",
    "Probe",
    "Report",
    "Role",
    "Scrape",
    "Scraper",
    "ServerStatistics",
    "Status",
    "StatusApi",
    "TelemetryServer",
    "Tls",
    "Token",
    "metrics_routes",
    "status_routes",
]
