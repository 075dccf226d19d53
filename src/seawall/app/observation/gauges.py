"""In the supervisor: what the servers and workers are like now, and what has happened to them, as metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from seawall.kernel.proxy_signals import FailoverEnded, WorkerEnded
from seawall.kernel.signals import Signal
from seawall.proxy.topology import NodeView, Topology
from seawall.telemetry.catalogue import proxy as rows
from seawall.telemetry.metrics import Registry

__all__ = ["Gauges"]

UNKNOWN: Final = rows.BACKEND_STATES[0]


class Gauges:
    """The supervisor's metrics.

    Args:
        registry: Where they are counted.
        backends: Names of all servers.
    """

    def __init__(self, registry: Registry, backends: Sequence[str]) -> None:
        self._backends = tuple(backends)
        self._state = registry.state_set(rows.BACKEND_STATE)
        self._lag = registry.gauge(rows.BACKEND_LAG)
        self._primary = registry.gauge(rows.PRIMARY)
        self._epoch = registry.gauge(rows.TOPOLOGY_EPOCH)
        self._workers = registry.gauge(rows.WORKERS)
        self._restarts = registry.counter(rows.WORKER_RESTARTS)
        self._failovers = registry.counter(rows.FAILOVERS)
        self._durations = registry.histogram(rows.FAILOVER_DURATION)
        self._restarts.cell()

    def show(self, topology: Topology | None, workers: int) -> None:
        """Set what is so now.

        Args:
            topology: What is known of the servers; ``None`` if nobody watches them.
            workers: Processes that are alive.
        """
        self._workers.cell().set(workers)
        if topology is None or not topology.tracked:
            return
        self._epoch.cell().set(topology.epoch)
        nodes: dict[str, NodeView] = {node.name: node for node in topology.nodes}
        for name in self._backends:
            node = nodes.get(name)
            self._state.cell(name).set(UNKNOWN if node is None else node.role.value)
            self._primary.cell(name).set(float(name == topology.primary))
            if node is None or node.lag_bytes is None:
                self._lag.remove(name)
            else:
                self._lag.cell(name).set(node.lag_bytes)

    def note(self, signal: Signal) -> None:
        """Count what has happened."""
        if isinstance(signal, WorkerEnded):
            self._restarts.cell().inc()
        elif isinstance(signal, FailoverEnded):
            self._failovers.cell(signal.kind, signal.outcome.replace(" ", "_")).inc()
            self._durations.cell(signal.kind).observe(signal.took_s)

    def __repr__(self) -> str:
        return f"Gauges({', '.join(self._backends)})"
