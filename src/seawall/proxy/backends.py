"""Which server a new connection goes to.

Among the backends that take all kinds of statements, those of the highest priority that can be reached,
weighted by least connections. A backend that can't be reached is left alone for a moment that doubles up to
a second, never longer: a server that is back after a restart is found at once.
"""

from __future__ import annotations

from collections.abc import Callable

from seawall.proxy.settings import Backend, Role
from seawall.proxy.topology import NodeRole, Topology


class Backends:
    """The servers of a group, as one worker sees them.

    Args:
        backends: all that are configured.
        share_of: this worker's part of a limit that holds for all workers together.
    """

    def __init__(self, backends: tuple[Backend, ...], share_of: Callable[[int], int]) -> None:
        writable = [one for one in backends if one.role is not Role.REPLICA and not one.allowed_query_types]
        self.all = backends
        self._configured = sorted(writable, key=lambda one: -one.priority)
        self.candidates = self._configured
        self.connections: dict[str, int] = {one.name: 0 for one in backends}
        """Open or being opened."""
        self._limits = {one.name: share_of(one.max_connections) for one in backends if one.max_connections}
        self._failures: dict[str, int] = {one.name: 0 for one in backends}
        self._barred_until: dict[str, float] = {one.name: 0.0 for one in backends}

    def follow(self, topology: Topology) -> None:
        """Connections go to those that take writes; by the configuration where nobody watches."""
        if not topology.tracked:
            self.candidates = self._configured
        elif topology.multi_primary:
            writable = {one.name for one in topology.nodes if one.role is NodeRole.PRIMARY}
            self.candidates = [one for one in self._configured if one.name in writable]
        else:
            self.candidates = [one for one in self.all if one.name == topology.primary]

    def serves(self, backend: Backend) -> bool:
        """Whether its connections are good for new transactions."""
        return backend in self.candidates

    @property
    def full(self) -> bool:
        """Whether none of those that could be used has room for one more connection."""
        return not any(self._has_room(one) for one in self.candidates)

    def take(self, now: float) -> Backend | None:
        """Reserve a place for a connection; a barred backend only if all are, ``None`` if all are full."""
        free = [one for one in self.candidates if self._has_room(one)]
        if not free:
            return None
        open_ones = [one for one in free if self._barred_until[one.name] <= now]
        if open_ones:
            top = open_ones[0].priority
            chosen = min((one for one in open_ones if one.priority == top), key=self._load)
        else:
            chosen = min(free, key=lambda one: self._barred_until[one.name])
        self.connections[chosen.name] += 1
        return chosen

    def connected(self, backend: Backend) -> None:
        """The connection is there."""
        self._failures[backend.name] = 0
        self._barred_until[backend.name] = 0.0

    def closed(self, backend: Backend) -> None:
        """A connection is gone, or was refused for good."""
        self.connections[backend.name] -= 1

    def failed(self, backend: Backend, now: float, first_s: float, last_s: float) -> float:
        """It couldn't be reached; returns after how many seconds to try again."""
        self.closed(backend)
        count = self._failures[backend.name]
        self._failures[backend.name] = count + 1
        wait_s: float = min(last_s, first_s * 2 ** min(count, 10))
        self._barred_until[backend.name] = now + wait_s
        return wait_s

    def _has_room(self, backend: Backend) -> bool:
        limit = self._limits.get(backend.name)
        return limit is None or self.connections[backend.name] < limit

    def _load(self, backend: Backend) -> float:
        return (self.connections[backend.name] + 1) / backend.weight
