"""What a worker does with what it is told about the servers: which it uses, and when it holds its clients.

The supervisor says who is the primary and what clients may do (``topology.Topology``); its operators' orders
come the same way. While clients are held, statements wait in their pools, in the order in which they came.
"""

from __future__ import annotations

import asyncio
from typing import Any

from seawall.kernel.errors import ValidationError
from seawall.proxy.client import Client
from seawall.proxy.naming import ATTACHED
from seawall.proxy.topology import Phase, Topology
from seawall.wire.pgwire import framing


class Following:
    """Follows the topology for one worker.

    Args:
        worker: whose.
    """

    def __init__(self, worker: Any) -> None:  # noqa: ANN401 -- the worker has one of these
        self._worker = worker
        self.generation = 0
        self.ordered_pause = False
        """An operator's or the supervisor's order, beside what the topology says."""

    @property
    def held(self) -> bool:
        """Whether new transactions have to wait."""
        topology: Topology = self._worker.topology
        return self.ordered_pause or (topology.tracked and topology.phase is not Phase.SERVING)

    @property
    def without_primary(self) -> bool:
        """Whether they wait because there is nobody to serve them, and not because somebody said so."""
        topology: Topology = self._worker.topology
        return topology.tracked and topology.phase in (Phase.HOLDING, Phase.OBSERVING)

    def read(self, generation: int, text: bytes) -> None:
        """Read what the supervisor has published, if it is news."""
        if generation == self.generation or not text:
            return
        self.generation = generation
        try:
            topology = Topology.from_json(text)
        except ValidationError as error:
            self._worker.note(f"what the supervisor published makes no sense: {error}")
            return
        self.follow(topology)

    def follow(self, topology: Topology) -> None:
        """The servers are these now."""
        before: Topology = self._worker.topology
        self._worker.topology = topology
        self._worker.sampling.count_lost(before, topology)
        self._worker.backends.follow(topology)
        self._apply()

    def pause(self) -> None:
        """Let no transaction begin."""
        self.ordered_pause = True
        self._apply()

    def resume(self) -> None:
        """Let them begin again."""
        self.ordered_pause = False
        self._apply()

    def _apply(self) -> None:
        held = self.held
        if self._worker.topology.phase is not Phase.REPLAYING:
            self._worker.rescue.turns.release()
        for pool in list(self._worker.pools.values()):
            pool.paused = held
            for server in [one for one in pool.idle if not self._worker.backends.serves(one.backend)]:
                pool.discard(server)
            if held:
                self._worker.rescue.turns.take_from(pool)
            else:
                pool.release()
        if not held:
            self._worker.rescue.turns.serve()
            for pool in list(self._worker.pools.values()):
                self._worker.want(pool)

    def cut(self, name: str) -> int:
        """End all connections to a server; how many there were. Their clients are rescued."""
        count = 0
        for pool in list(self._worker.pools.values()):
            for server in [one for one in pool.servers if one.backend.name == name]:
                server.buffered = True
                server.transport.abort()
                server.connection_lost(None)
                count += 1
        return count

    def busy(self) -> int:
        """How many server connections are in a transaction or owe something."""
        count = 0
        for pool in self._worker.pools.values():
            for server in pool.servers:
                client = server.sink
                if (
                    (isinstance(client, Client) and client.state != ATTACHED)
                    or server.busy
                    or server.status != framing.IDLE
                ):
                    count += 1
        return count

    async def replay(self, *, pin: bool = True) -> dict[str, Any]:
        """Have all cases that wait take their turns on the new primary; what came of them.

        Args:
            pin: sequences may be set back meanwhile; the answer says whether they may go on being.
        """
        rescue = self._worker.rescue
        before = rescue.book.tally()
        ended = asyncio.Event()
        rescue.pinner.disturbed |= not pin
        rescue.turns.take(ended.set)
        await ended.wait()
        after = rescue.book.tally()
        pin = not rescue.pinner.disturbed
        return {"done": True, "replayed": after[0] - before[0], "refused": after[1] - before[1], "pin": pin}
