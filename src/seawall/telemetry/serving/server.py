"""The two listeners of a process, metrics on 9090 and the status API on 8080, in the loop that runs already.

Both answer the health pages, since probes are pointed at either. Applications that have a server of their
own mount the routes instead (:func:`metrics_routes`, :func:`status_routes`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from seawall.kernel.errors import PolicyError, UsageError
from seawall.telemetry.serving.access import Access, Binding, is_loopback
from seawall.telemetry.serving.checks import Checks, ChecksStatistics
from seawall.telemetry.serving.endpoints import Endpoint
from seawall.telemetry.serving.gate import Gate, GateStatistics, Limits, send_problem
from seawall.telemetry.serving.listener import Listener, ListenerStatistics
from seawall.telemetry.serving.operations import OnError, operation_endpoints
from seawall.telemetry.serving.pages import METRICS_PATH, PageWriter, health_endpoints, metrics_endpoint
from seawall.telemetry.serving.problems import ProblemDetails
from seawall.telemetry.serving.status import StatusApi

__all__ = [
    "METRICS_BINDING",
    "STATUS_BINDING",
    "ServerStatistics",
    "TelemetryServer",
    "application",
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
        gates: Requests, by listener; those of the health pages as ``health``.
        checks: Health checks.
    """

    listeners: dict[str, ListenerStatistics]
    gates: dict[str, GateStatistics]
    checks: ChecksStatistics


def metrics_routes(
    writer: PageWriter,
    checks: Checks,
    *,
    access: Access | None = None,
    limits: Limits | None = None,
    gates: tuple[Gate, Gate] | None = None,
    local_only: bool = False,
) -> list[BaseRoute]:
    """``/metrics`` and the health pages, for an application's own Starlette or FastAPI router.

    Args:
        writer: Writes the page of metrics.
        checks: The health checks.
        access: Who is let in; everybody reads without it.
        limits: What requests are given.
        gates: That of the metrics and that of the health pages, if somebody wants to read them.
        local_only: Whether requests that call this machine by a name are turned away.
    """
    access = Access() if access is None else access
    gate, health_gate = _gates(limits) if gates is None else gates
    metrics = metrics_endpoint(writer, gate, access, local_only=local_only)
    return _routes({METRICS_PATH: metrics, **health_endpoints(checks, health_gate, access)})


def status_routes(
    api: StatusApi,
    checks: Checks,
    *,
    access: Access | None = None,
    limits: Limits | None = None,
    gates: tuple[Gate, Gate] | None = None,
    on_error: OnError | None = None,
    local_only: bool = False,
) -> list[BaseRoute]:
    """The status API, its document and the health pages, for an application's Starlette or FastAPI router.

    Args:
        api: What is offered; it takes no more registrations afterwards.
        checks: The health checks.
        access: Who is let in; without it everybody reads, and nobody gives orders.
        limits: What requests are given.
        gates: That of the API and that of the health pages, if somebody wants to read them.
        on_error: Told the correlation id and the error behind a failed operation.
        local_only: Whether requests that call this machine by a name are turned away.
    """
    access = Access() if access is None else access
    gate, health_gate = _gates(limits) if gates is None else gates
    endpoints = operation_endpoints(api, gate, access, on_error=on_error, local_only=local_only)
    return _routes({**endpoints, **health_endpoints(checks, health_gate, access)})


def application(routes: Sequence[BaseRoute]) -> ASGIApp:
    """An application of these routes alone, which answers everything else with a problem."""
    # Not ``Starlette``'s own handlers: they'd show other documents, and redirect by the client's Host header.
    app = Starlette(routes=list(routes))
    app.router.redirect_slashes = False
    app.router.default = _not_found
    return app.router


class TelemetryServer:
    """The server; start it, or use it as an asynchronous context manager, or run :meth:`serve` as a task.

    Args:
        writer: Writes the page of metrics; without one there is no metrics listener.
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
        writer: PageWriter | None = None,
        checks: Checks | None = None,
        api: StatusApi | None = None,
        metrics: Binding = METRICS_BINDING,
        status: Binding = STATUS_BINDING,
        limits: Limits | None = None,
        on_error: OnError | None = None,
        grace_s: float = 5.0,
    ) -> None:
        if writer is None and api is None:
            raise UsageError("TelemetryServer(): give it a writer of metrics, a status API, or both")
        problems = [] if writer is None else metrics.problems()
        problems += [] if api is None else status.problems()
        if problems:
            raise PolicyError(problems, "telemetry server")
        self.checks = Checks() if checks is None else checks
        self._grace_s = grace_s
        self._gates: dict[str, Gate] = {}
        self._listeners: dict[str, Listener] = {}
        self._stopped = asyncio.Event()
        limits = Limits() if limits is None else limits
        health = Gate(limits, limits.health_requests)
        self._gates["health"] = health
        if writer is not None:
            gate = self._gates["metrics"] = Gate(limits)
            routes = metrics_routes(
                writer,
                self.checks,
                access=metrics.access,
                gates=(gate, health),
                local_only=_local_only(metrics),
            )
            self._listeners["metrics"] = Listener(metrics, application(routes), limits)
        if api is not None:
            gate = self._gates["status"] = Gate(limits)
            routes = status_routes(
                api,
                self.checks,
                access=status.access,
                gates=(gate, health),
                on_error=on_error,
                local_only=_local_only(status),
            )
            self._listeners["status"] = Listener(status, application(routes), limits)

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
        self._stopped.clear()

    async def stop(self) -> None:
        """Let requests end, within the grace, and close; it may be started again."""
        await asyncio.gather(*(listener.stop(self._grace_s) for listener in self._listeners.values()))
        await self.checks.close()
        self._stopped.set()

    async def serve(self) -> None:
        """Run until :meth:`stop` is called or the task is cancelled."""
        await self.start()
        try:
            await self._stopped.wait()
        finally:
            await self.stop()

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


def _gates(limits: Limits | None) -> tuple[Gate, Gate]:
    limits = Limits() if limits is None else limits
    return Gate(limits), Gate(limits, limits.health_requests)


def _routes(endpoints: dict[str, Endpoint]) -> list[BaseRoute]:
    # Literal paths before those with parameters: "backends/all" is no backend called "all".
    ordered = sorted(endpoints.items(), key=lambda item: ("{" in item[0], item[0]))
    return [Route(path, endpoint) for path, endpoint in ordered]


def _local_only(binding: Binding) -> bool:
    return is_loopback(binding.host) and binding.access.open


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 -- ASGI's signature
    await send_problem(_NOT_FOUND, send)
