"""Which server a new connection goes to.

Among the backends that take all kinds of statements, those of the highest priority that can be reached,
weighted by least connections. A backend that can't be reached is left alone for a moment that doubles up to
a second, never longer: a server that is back after a restart is found at once.
"""

from __future__ import annotations

from seawall.proxy.settings import Backend, Role


class Backends:
    """The servers of a group, as one worker sees them.

    Args:
        backends: all that are configured.
    """

    def __init__(self, backends: tuple[Backend, ...]) -> None:
        writable = [one for one in backends if one.role is not Role.REPLICA and not one.allowed_query_types]
        self.all = backends
        self.candidates = sorted(writable, key=lambda one: -one.priority)
        self.connections: dict[str, int] = {one.name: 0 for one in backends}
        self._failures: dict[str, int] = {one.name: 0 for one in backends}
        self._barred_until: dict[str, float] = {one.name: 0.0 for one in backends}

    def choose(self, now: float) -> Backend:
        """The backend for a new connection; one that is barred only if all are."""
        open_ones = [one for one in self.candidates if self._barred_until[one.name] <= now]
        if not open_ones:
            return min(self.candidates, key=lambda one: self._barred_until[one.name])
        top = open_ones[0].priority
        return min(
            (one for one in open_ones if one.priority == top),
            key=lambda one: (self.connections[one.name] + 1) / max(one.weight, 1e-6),
        )

    def connected(self, backend: Backend) -> None:
        """A connection to it was opened."""
        self._failures[backend.name] = 0
        self._barred_until[backend.name] = 0.0
        self.connections[backend.name] += 1

    def closed(self, backend: Backend) -> None:
        """A connection to it is gone."""
        self.connections[backend.name] -= 1

    def failed(self, backend: Backend, now: float, first_s: float, last_s: float) -> float:
        """It couldn't be reached; returns after how many seconds to try again."""
        count = self._failures[backend.name]
        self._failures[backend.name] = count + 1
        wait_s: float = min(last_s, first_s * 2 ** min(count, 10))
        self._barred_until[backend.name] = now + wait_s
        return wait_s
