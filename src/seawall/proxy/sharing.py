"""Limits above the pools: whose turn it is for the next place.

The limits of a database, a user and a backend hold for several pools together. A pool that they keep from
opening a connection queues for its turn, and a place that becomes free goes to the first in that queue that
can use it. A pool that is never idle would keep its places for ever, because whoever waits in it is served
first; so one of its servers is given up when another pool waits for what only this one can free. A server is
not given up before it has been open for ``TURN_S``: logins cost more than transactions.

``worker`` opens the connections; ``pool`` asks when a server comes back.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from seawall.proxy.pool import Pool
from seawall.proxy.server import Server
from seawall.proxy.settings import Backend

TURN_S: Final = 0.1
"""A server is kept at least for so long."""
LOOK_S: Final = 0.01
"""How often at most it is looked whether another pool's turn has come; it takes a walk through all pools."""


class Sharing:
    """Who gets the next place, for one worker.

    Args:
        worker: whose.
    """

    def __init__(self, worker: Any) -> None:  # noqa: ANN401 -- the worker has one of these
        self._worker = worker
        self._turns: deque[Pool] = deque()
        self._making_place = False
        self._look_at = 0.0

    def __repr__(self) -> str:
        return f"Sharing({len(self._turns)} pools wait)"

    def place(self, pool: Pool) -> Backend | None:
        """Reserve a place for a connection; without one the pool's turn comes later."""
        worker = self._worker
        backend: Backend | None = worker.backends.take(worker.clock()) if self.allowed(pool) else None
        if backend is None:
            if pool not in self._turns:
                self._turns.append(pool)
            self._worker.signals.contended = True
        return backend

    def allowed(self, pool: Pool) -> bool:
        """Whether limits above the pool's own leave room; an idle connection of another pool makes place."""
        pools: list[Pool] = list(self._worker.pools.values())
        return all(self._makes_place(pool, same) for same in self._full(pool)) and (
            not self._worker.backends.full or self._makes_place(pool, pools)
        )

    def _makes_place(self, pool: Pool, same: list[Pool]) -> bool:
        """Close an idle connection of another pool; false if there is none that would help."""
        serves = self._worker.backends.serves
        for one in same:
            if one is not pool and one.idle and not one.waiting and serves(one.idle[0].backend):
                self._making_place = True
                try:
                    one.discard(one.idle[0])
                finally:
                    self._making_place = False
                return True
        return False

    def share(self, last: Pool) -> None:
        """A place may be free: those that wait have it in turn, this pool behind them."""
        if self._making_place:
            return
        self._worker.signals.contended = False
        for _ in range(len(self._turns)):
            waiting = self._turns.popleft()
            if waiting.waiting:
                self._worker.want(waiting)
        self._worker.want(last)

    def yields(self, pool: Pool, server: Server) -> bool:
        """Whether a server for which its own pool has use makes place for another pool's."""
        now = self._worker.clock()
        if now < self._look_at or now - server.born_at < TURN_S:
            return False
        self._look_at = now + LOOK_S
        return any(
            one is not pool and one.lacking > 0 and now >= one.retry_at and self._frees(pool, server, one)
            for one in self._turns
        )

    def _frees(self, pool: Pool, server: Server, other: Pool) -> bool:
        """Whether one connection less here is all that another pool waits for."""
        backends = self._worker.backends
        full = self._full(other)
        if any(pool not in same for same in full):
            return False
        return bool(backends.serves(server.backend) if backends.full else full)

    def _full(self, pool: Pool) -> list[list[Pool]]:
        """The pools under each limit above this pool's own that is reached."""
        worker = self._worker
        pooling = worker.settings.pooling
        entry = worker.settings.databases.get(pool.database)
        pools: list[Pool] = list(worker.pools.values())
        limits: tuple[tuple[int, list[Pool]], ...] = (
            (
                (entry.max_connections if entry else 0) or pooling.max_db_connections,
                [one for one in pools if one.database == pool.database],
            ),
            (pooling.max_user_connections, [one for one in pools if one.user == pool.user]),
        )
        return [
            same
            for limit, same in limits
            if limit and sum(len(one.servers) + one.opening for one in same) >= worker.share_of(limit)
        ]
