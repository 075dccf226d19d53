"""In a worker: counts what its pools have counted into shared memory, and passes on what is worth a span.

It runs in the sweeper, ten times a second for the records and once for the counts, and never waits: a
channel that is full drops records, which is counted. It loads neither OpenTelemetry nor a web server.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from seawall.app.observation.records import pack, record_of
from seawall.proxy.watching import FACTS_MAX, Fact, Watch
from seawall.telemetry.catalogue import CATALOGUE
from seawall.telemetry.catalogue import proxy as rows
from seawall.telemetry.metrics import Block, Layout, Registry, Sheet

__all__ = ["COUNT_EVERY", "WorkerAttachment", "WorkerObserver", "layout_of"]

COUNT_EVERY: Final = 10
"""Sweeps between two counts."""
ACCEPTED: Final = "accepted"
FULL: Final = "full"
LOST: Final = "channel"
"""What becomes of a query that is worth a span: it is passed on, or there was no room."""


def layout_of(workers: int) -> Layout:
    """What lies where in the shared block: a row for each worker and, behind them, one for the supervisor."""
    return Layout(CATALOGUE, rows=workers + 1)


@dataclass(frozen=True, slots=True)
class WorkerAttachment:
    """What a worker needs to be observed; pickled.

    Attributes:
        block: descriptor of the shared block.
        channel: descriptor of the socket that records go to.
        workers: how many there are, which decides the block's layout.
        slow_s: a query that takes so long is worth a span; infinity: none for that.
        spans: whether queries are remembered at all.
    """

    block: int
    channel: int
    workers: int
    slow_s: float
    spans: bool

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the worker's process inherits."""
        return (self.block, self.channel)

    def attach(self, worker: Any) -> WorkerObserver:  # noqa: ANN401 -- a ``worker.Worker``
        """Make the observer; from here on the worker remembers queries."""
        block = Block(layout_of(self.workers), self.block)
        if self.spans:
            worker.watch = Watch(self.slow_s, FACTS_MAX)
        channel = socket.socket(fileno=self.channel)
        channel.setblocking(False)
        return WorkerObserver(worker, Sheet(block, worker.number), channel)


class WorkerObserver:
    """The observer of one worker.

    Args:
        worker: which.
        sheet: its row of the shared block.
        channel: a datagram socket that doesn't wait.
    """

    def __init__(self, worker: Any, sheet: Sheet, channel: socket.socket) -> None:  # noqa: ANN401
        self._worker = worker
        self._sheet = sheet
        self._channel = channel
        self._registry = Registry(cells=sheet)
        self._counted: dict[Any, float] = {}
        """What has been counted already; bounded, as are cells and durations, by the worker's pools."""
        self._cells: dict[tuple[Any, tuple[str, ...]], Any] = {}
        self._durations: dict[Any, tuple[list[int], float]] = {}
        self._round = 0
        self._lost = 0
        """Facts that did not get into the channel."""
        registry = self._registry
        self._pools: tuple[tuple[Any, Callable[[Any], float]], ...] = (
            (registry.counter(rows.QUERIES), lambda pool: pool.queries),
            (registry.counter(rows.TRANSACTIONS), lambda pool: pool.transactions),
            (registry.counter(rows.ERRORS), lambda pool: pool.errors),
            (registry.counter(rows.WAIT_SECONDS), lambda pool: pool.waited_s),
            (registry.counter(rows.CONNECT_ERRORS), lambda pool: pool.connect_errors),
            (registry.counter(rows.SERVERS_OPENED), lambda pool: pool.opened_count),
        )
        self._levels: tuple[tuple[Any, Callable[[Any], float]], ...] = (
            (registry.gauge(rows.CLIENTS_WAITING), lambda pool: len(pool.waiting)),
            (registry.gauge(rows.SERVERS), lambda pool: len(pool.servers)),
            (registry.gauge(rows.SERVERS_IDLE), lambda pool: len(pool.idle)),
        )
        self._totals: tuple[tuple[Any, Callable[[Any], float]], ...] = (
            (registry.counter(rows.CLIENT_CONNECTIONS), lambda worker: worker.clients_total),
            (registry.counter(rows.CONNECTIONS_REFUSED), lambda worker: worker.refused_at_door),
            (registry.counter(rows.QUEUE_OVERFLOWS), lambda worker: worker.queue_overflows),
            (registry.counter(rows.CANCELS), lambda worker: worker.cancels),
            (registry.counter(rows.STATEMENTS_EVICTED), lambda worker: worker.statements.evicted),
        )
        self._clients = registry.gauge(rows.CLIENTS)
        self._took = registry.histogram(rows.TRANSACTION_DURATION)
        self._rescues = registry.counter(rows.RESCUES)
        self._fates = registry.counter(rows.SPANS_OFFERED)
        self._backends = registry.gauge(rows.BACKEND_CONNECTIONS)

    def swept(self, now: float) -> None:
        """Pass on what is worth a span; once a second, count."""
        del now
        if self._worker.watch.facts:
            self._pass_on(self._worker.watch.take())
        self._round += 1
        if self._round % COUNT_EVERY == 1:
            self.count()

    def _pass_on(self, facts: list[Fact]) -> None:
        number, sent = self._worker.number, 0
        try:
            for datagram, count in pack(record_of(fact, number) for fact in facts):
                with suppress(OSError):  # full, too long, or nobody is there to read
                    self._channel.send(datagram)
                    sent += count
        finally:
            self._lost += len(facts) - sent

    def count(self) -> None:
        """Bring the shared cells up to what the worker has counted."""
        worker = self._worker
        for family, read in self._totals:
            self._advance(family.cell(), family, read(worker))
        self._clients.cell().set(len(worker.clients))
        levels: dict[Any, float] = {}  # by cell: those that no series has room for share one
        for key, pool in worker.pools.items():
            pool.add_up()
            labels = (pool.database, pool.user)
            for family, read in self._pools:
                self._advance(self._cell(family, *labels), (family, key), read(pool))
            for family, read in self._levels:
                cell = self._cell(family, *labels)
                levels[cell] = levels.get(cell, 0.0) + read(pool)
            self._observe(key, pool)
        for cell, value in levels.items():
            cell.set(value)
        for what, total in worker.rescue.counts.items():
            self._advance(self._cell(self._rescues, what), ("rescue", what), total)
        for backend, connections in worker.backends.connections.items():
            self._cell(self._backends, backend).set(connections)
        watch = worker.watch
        for fate, total in (
            (ACCEPTED, watch.accepted - self._lost),
            (FULL, watch.dropped),
            (LOST, self._lost),
        ):
            self._advance(self._cell(self._fates, fate), ("fate", fate), total)

    def _cell(self, family: Any, *labels: str) -> Any:  # noqa: ANN401 -- a family of cells, and one of them
        """The cell of some labels; asked for once, since each time counts for one that has no room."""
        found = self._cells.get((family, labels))
        if found is None:
            found = self._cells[family, labels] = family.cell(*labels)
        return found

    def _advance(self, cell: Any, key: object, total: float) -> None:  # noqa: ANN401 -- a counter
        before = self._counted.get(key, 0)
        if total > before:
            cell.inc(total - before)
            self._counted[key] = total

    def _observe(self, key: object, pool: Any) -> None:  # noqa: ANN401
        counts, total = self._durations.get(key, ([0] * len(pool.took), 0.0))
        if pool.took != counts:
            fresh = [now - before for now, before in zip(pool.took, counts, strict=True)]
            self._cell(self._took, pool.database).add(fresh, pool.busy_s - total)
            self._durations[key] = (list(pool.took), pool.busy_s)
