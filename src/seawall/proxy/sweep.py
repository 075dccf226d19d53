"""What is looked at ten times a second: timeouts, old connections, minimum pool sizes, counters.

Only servers and waiting clients are walked through, never all clients: ten thousand idle ones cost nothing.
"""

from __future__ import annotations

import asyncio
from typing import Final

from seawall.proxy.busy import BusyPolling
from seawall.proxy.client import Client
from seawall.proxy.connect import silence_s
from seawall.proxy.naming import ATTACHED, DETACHED
from seawall.proxy.pool import Pool
from seawall.proxy.server import OPEN, Server
from seawall.proxy.worker import Worker
from seawall.proxy.worth import Worth
from seawall.wire.pgwire import framing

INTERVAL_S: Final = 0.1
CANCEL_GRACE_S: Final = 5.0
"""A query that a cancel doesn't end within this time is cut off with its connection."""
SLOW_EVERY: Final = 10
"""Sweeps between looks at all clients (idle limits)."""
MICRO: Final = 1_000_000


class Sweeper:
    """Walks through a worker's pools.

    Args:
        worker: whose.
        busy: what is told to look for queries.
    """

    def __init__(self, worker: Worker, busy: BusyPolling | None = None) -> None:
        self._worker = worker
        self._busy = busy
        self._round = 0
        self._silent: dict[Server, float] = {}
        """Servers that acknowledge nothing, and since when that is known."""

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            self.sweep(self._worker.clock())

    def sweep(self, now: float) -> None:
        """Look at everything once."""
        self._round += 1
        for pool in self._worker.pools.values():
            pool.add_up()
        self._worker.signals.now = now
        self._worker.look_at_topology()
        self._worker.rescue.sweep(now)
        for pool in list(self._worker.pools.values()):
            self._waiting(pool, now)
            for server in list(pool.servers):
                self._server(pool, server, now)
            self._fill(pool)
            self._worker.want(pool)
        if self._silent:
            self._silent = {one: since for one, since in self._silent.items() if one.state == OPEN}
        if self._round % SLOW_EVERY == 0:
            self._idle_clients(now)
        self._count()
        self._show(now)
        if self._busy is not None:
            self._busy.look()

    def _show(self, now: float) -> None:
        """Let whoever looks on have what has come together."""
        worker = self._worker
        if worker.watcher.observer is not None and not worker.watcher.sweep(now):
            worker.watch.close()
            worker.note(f"telemetry has failed too often ({worker.watcher.last_error}) and is left alone")

    def _waiting(self, pool: Pool, now: float) -> None:
        timeout_s = self._worker.settings.pooling.queue_timeout_s
        hold_s = self._worker.settings.timeouts.unavailable_s
        reserve = self._worker.settings.pooling
        oldest = now - pool.waiting[0].waiting_since if pool.waiting else 0.0
        pool.reserve = reserve.reserve_size if oldest > reserve.reserve_after_s else 0
        while pool.waiting:
            waited_s = now - pool.waiting[0].waiting_since
            unserved = self._worker.following.without_primary or (pool.last_error and not pool.servers)
            if pool.waiting[0].rescue is not None and hold_s and waited_s > hold_s:
                self._worker.rescue.expire(pool.waiting.popleft())
            elif timeout_s and waited_s > timeout_s:
                self._worker.close_client(
                    pool.waiting.popleft(),
                    "53300",
                    "no server connection became free in time",
                    f"waited {waited_s:.1f} s; {len(pool.servers)} of {pool.size} connections are in use",
                    "Shorten transactions, or raise pool.size.",
                )
            elif unserved and hold_s and waited_s > hold_s:
                self._worker.close_client(
                    pool.waiting.popleft(),
                    "57P03",
                    "no server can be reached",
                    pool.last_error or self._worker.topology.reason,
                    "Try again later.",
                )
            else:
                return

    def _server(self, pool: Pool, server: Server, now: float) -> None:
        pooling, timeouts = self._worker.settings.pooling, self._worker.settings.timeouts
        client = server.sink
        if client is pool.idle_sink:
            old = pooling.server_lifetime_s and now - server.born_at > pooling.server_lifetime_s
            bored = pooling.server_idle_timeout_s and now - server.used_at > pooling.server_idle_timeout_s
            spare = len(pool.servers) > self._worker.share_of(pooling.min_size) if pooling.min_size else True
            if server in pool.idle and (old or (bored and spare) or server.born_at < 0):
                pool.discard(server)
            return
        lasted_s = now - server.since
        if timeouts.user_timeout_s and self._dead(server, lasted_s, now, timeouts.user_timeout_s):
            return
        if not isinstance(client, Client) or client.state != ATTACHED:
            return
        if timeouts.transaction_s and now - client.began_at > timeouts.transaction_s:
            self._worker.close_client(client, "25P04", "terminating connection due to transaction timeout")
            return
        if server.pending:
            if lasted_s >= self._worker.watch.slow_s - INTERVAL_S and client.worth is None:
                client.worth = Worth()
            if timeouts.query_s and lasted_s > timeouts.query_s:
                self._overtime(client, server, lasted_s - timeouts.query_s)
            return
        limit_s = timeouts.idle_in_transaction_s
        if server.status != framing.IDLE and limit_s and lasted_s > limit_s:
            self._worker.close_client(
                client, "25P03", "terminating connection due to idle-in-transaction timeout"
            )

    def _dead(self, server: Server, lasted_s: float, now: float, limit_s: float) -> bool:
        """Cut a server that has acknowledged nothing for so long; whether that was done."""
        silent_s = silence_s(server.transport) if lasted_s > limit_s / 2 else 0.0
        if not silent_s:
            self._silent.pop(server, None)
            return False
        if now - self._silent.setdefault(server, now) < limit_s / 2 or silent_s < limit_s:
            return False
        del self._silent[server]
        self._worker.note(f"{server.backend.name} has acknowledged nothing for {silent_s:.1f} s")
        server.cut()
        return True

    def _overtime(self, client: Client, server: Server, over_s: float) -> None:
        if over_s > CANCEL_GRACE_S:
            self._worker.close_client(client, "57014", "canceling statement due to query timeout")
        elif not server.cancels and not server.overtime:
            server.overtime = True
            self._worker.start(self._worker.cancel_server(server))

    def _fill(self, pool: Pool) -> None:
        least = self._worker.settings.pooling.min_size
        if least and not self._worker.signals.draining:
            self._worker.fill(pool, self._worker.share_of(least))

    def _idle_clients(self, now: float) -> None:
        limit_s = self._worker.settings.timeouts.client_idle_s
        if not limit_s:
            return
        for client in list(self._worker.clients.values()):
            if client.state == DETACHED and now - client.seen_at > limit_s:
                self._worker.close_client(client, "57P05", "terminating connection due to idle timeout")

    def _count(self) -> None:
        worker = self._worker
        pools = worker.pools.values()
        worker.row.write(
            beat=int(worker.clock() * MICRO),
            clients=len(worker.clients),
            clients_total=worker.clients_total,
            refused_at_door=worker.refused_at_door,
            clients_waiting=sum(len(pool.waiting) for pool in pools),
            servers=sum(len(pool.servers) for pool in pools),
            servers_idle=sum(len(pool.idle) for pool in pools),
            servers_total=sum(pool.opened_count for pool in pools),
            queries=sum(pool.queries for pool in pools),
            transactions=sum(pool.transactions for pool in pools),
            errors=sum(pool.errors for pool in pools),
            busy_us=int(sum(pool.busy_s for pool in pools) * MICRO),
            waited_us=int(sum(pool.waited_s for pool in pools) * MICRO),
            cancels=worker.cancels,
            connect_errors=sum(pool.connect_errors for pool in pools),
            queue_overflows=worker.queue_overflows,
            statements_evicted=worker.statements.evicted,
        )
