"""The two listeners of a process, metrics on 9090 and the status API on 8080, in the loop that runs already.

Both answer the health pages, since probes are pointed at either. Applications that have a server of their
own mount the routes instead (:func:`metrics_routes`, :func:`status_routes`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from starlette.routing import BaseRoute, Route, Router
from starlette.types import Receive, Scope, Send

from seawall.kernel.errors import PolicyError, Problem, UsageError
from seawall.telemetry.serving.access import Access, Binding, is_loopback
from seawall.telemetry.serving.checks import Checks, ChecksStatistics
from seawall.telemetry.serving.endpoints import Endpoint
from seawall.telemetry.serving.gate import Gate, GateStatistics, Limits, send_problem
from seawall.telemetry.serving.health import HEALTH_PATHS, Probe
from seawall.telemetry.serving.listener import Listener, ListenerStatistics
from seawall.telemetry.serving.operations import OnError, operation_endpoints
from seawall.telemetry.serving.pages import (
    METRICS_PATH,
    Scraper,
    health_endpoint,
    metrics_endpoint,
)
from seawall.telemetry.serving.problems import ProblemDetails
from seawall.telemetry.serving.status import StatusApi

__all__ = [
    "METRICS_BINDING",
    "STATUS_BINDING",
    "ServerStatistics",
    "TelemetryServer",
    "metrics_routes",
    "status_routes",
]

METRICS_BINDING: Final = Binding(key="telemetry.metrics", port=9090)
STATUS_BINDING: Final = Binding(key="telemetry.status", port=8080)

_NOT_FOUND: Final = ProblemDetails(status=404, detail="There is nothing at this path.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatistics:
    """What the server did so far.

    Attributes:
        listeners: Connections, by listener.
        gates: Requests, by listener; those of the health pages as ``liveness`` and ``readiness``.
        checks: Health checks.
    """

    listeners: dict[str, ListenerStatistics]
    gates: dict[str, GateStatistics]
    checks: ChecksStatistics


def metrics_routes(
    scraper: Scraper, checks: Checks, *, access: Access, limits: Limits | None = None
) -> list[BaseRoute]:
    """``/metrics`` and the health pages, for an application's own Starlette or FastAPI router.

    Args:
        scraper: Writes the page of metrics.
        checks: The health checks.
        access: Who is let in.
        limits: What requests are given.

    Raises:
        PolicyError: Nobody has to say who they are, and that isn't said to be meant: who can reach the
            application is not known here.
    """
    _check(access)
    limits = Limits() if limits is None else limits
    metrics = metrics_endpoint(scraper, Gate(limits), access, local_only=False)
    health = _health_endpoints(checks, _health_gates(limits), access, local_only=False)
    return _routes({METRICS_PATH: metrics, **health})


def status_routes(
    api: StatusApi,
    checks: Checks,
    *,
    access: Access,
    limits: Limits | None = None,
    on_error: OnError | None = None,
) -> list[BaseRoute]:
    """The status API, its document and the health pages, for an application's Starlette or FastAPI router.

    Args:
        api: What is offered; it takes no more registrations afterwards.
        checks: The health checks.
        access: Who is let in.
        limits: What requests are given.
        on_error: Told the correlation id and the error behind a failed operation.

    Raises:
        PolicyError: As of :func:`metrics_routes`.
    """
    _check(access)
    limits = Limits() if limits is None else limits
    endpoints = operation_endpoints(api, Gate(limits), access, on_error=on_error, local_only=False)
    health = _health_endpoints(checks, _health_gates(limits), access, local_only=False)
    return _routes({**endpoints, **health})


class TelemetryServer:
    """The server; start it, or use it as an asynchronous context manager.

    Args:
        scraper: Writes the page of metrics; without one there is no metrics listener.
        checks: The health checks; none without it.
        api: What the status API offers; without one there is no status listener.
        metrics: Where the metrics are.
        status: Where the status API is.
        limits: What clients are given, for each listener.
        on_error: Told the correlation id and the error behind a failed operation.
        grace_s: Seconds for requests that are under way when it stops.

    Raises:
        PolicyError: A binding is wrong, or would let in the world unasked; every problem is named.
        UsageError: There is nothing to serve.
    """

    def __init__(
        self,
        *,
        scraper: Scraper | None = None,
        checks: Checks | None = None,
        api: StatusApi | None = None,
        metrics: Binding = METRICS_BINDING,
        status: Binding = STATUS_BINDING,
        limits: Limits | None = None,
        on_error: OnError | None = None,
        grace_s: float = 5.0,
    ) -> None:
        if scraper is None and api is None:
            raise UsageError("TelemetryServer(): give it a writer of metrics, a status API, or both")
        problems = [] if scraper is None else metrics.problems()
        problems += [] if api is None else status.problems()
        if problems:
            raise PolicyError(problems, "telemetry server")
        self.checks = Checks() if checks is None else checks
        self._grace_s = grace_s
        limits = Limits() if limits is None else limits
        health = _health_gates(limits)
        self._gates: dict[str, Gate] = {probe.value: gate for probe, gate in health.items()}
        self._listeners: dict[str, Listener] = {}

        def listen(name: str, binding: Binding, endpoints: Mapping[str, Endpoint]) -> None:
            pages = _health_endpoints(self.checks, health, binding.access, local_only=_local_only(binding))
            routes = _routes({**endpoints, **pages})
            # Not an application of Starlette's: its handlers show other documents, and redirect by Host.
            router = Router(routes, redirect_slashes=False, default=_not_found)
            self._listeners[name] = Listener(binding, router, limits)

        if scraper is not None:
            gate = self._gates["metrics"] = Gate(limits)
            page = metrics_endpoint(scraper, gate, metrics.access, local_only=_local_only(metrics))
            listen("metrics", metrics, {METRICS_PATH: page})
        if api is not None:
            gate = self._gates["status"] = Gate(limits)
            local_only = _local_only(status)
            operations = operation_endpoints(
                api, gate, status.access, on_error=on_error, local_only=local_only
            )
            listen("status", status, operations)

    @property
    def metrics_url(self) -> str:
        """Where the metrics listener is; empty if there is none."""
        return self._listeners["metrics"].url if "metrics" in self._listeners else ""

    @property
    def status_url(self) -> str:
        """Where the status listener is; empty if there is none."""
        return self._listeners["status"].url if "status" in self._listeners else ""

    async def start(self) -> None:
        """Listen on all addresses, or on none.

        Raises:
            PolicyError: The files for TLS are not what they should be.
            UsageError: An address can't be bound, or it runs already.
        """
        begun: list[Listener] = []
        try:
            for listener in self._listeners.values():
                await listener.start()
                begun.append(listener)
        except BaseException:
            for listener in begun:
                await listener.stop(0.0)
            raise

    async def stop(self) -> None:
        """Let requests end, within the grace, and close; it may be started again."""
        await asyncio.gather(*(listener.stop(self._grace_s) for listener in self._listeners.values()))
        await self.checks.close()

    def statistics(self) -> ServerStatistics:
        """Counters, all of one moment."""
        return ServerStatistics(
            listeners={name: listener.statistics() for name, listener in self._listeners.items()},
            gates={name: gate.statistics() for name, gate in self._gates.items()},
            checks=self.checks.statistics(),
        )

    def __repr__(self) -> str:
        return f"<TelemetryServer {' '.join(listener.url for listener in self._listeners.values())}>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def _check(access: Access) -> None:
    if not access.tokens and not access.allow_unauthenticated:
        problem = Problem(
            "access.tokens",
            "none",
            "one token or more, as long as nobody said that everybody may read",
            "give Access(tokens=...), or Access(allow_unauthenticated=True)",
        )
        raise PolicyError([problem], "mounted routes")


def _health_gates(limits: Limits) -> dict[Probe, Gate]:
    return {probe: Gate(limits, limits.health_requests) for probe in Probe}


def _health_endpoints(
    checks: Checks, gates: Mapping[Probe, Gate], access: Access, *, local_only: bool
) -> dict[str, Endpoint]:
    return {
        path: health_endpoint(probe, checks, gates[probe], access, local_only=local_only)
        for path, probe in HEALTH_PATHS.items()
    }


def _routes(endpoints: Mapping[str, Endpoint]) -> list[BaseRoute]:
    # Literal paths before those with parameters: "backends/all" is no backend called "all".
    ordered = sorted(endpoints.items(), key=lambda item: ("{" in item[0], item[0]))
    return [Route(path, endpoint) for path, endpoint in ordered]


def _local_only(binding: Binding) -> bool:
    return is_loopback(binding.host) and binding.access.open


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 -- ASGI's signature
    await send_problem(_NOT_FOUND, send)
