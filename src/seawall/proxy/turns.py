"""In which order clients that lost a server go on, and until when those wait that have been rescued.

While a new primary is there for replays alone, cases take turns, since a replay may set a sequence back
(``pinner``). Whoever has had its turn is *parked*: what it says next might draw from a sequence that another
one's turn has set back. All go on when the primary serves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from seawall.proxy.client import Client
from seawall.proxy.naming import CLOSED
from seawall.proxy.owed import Note
from seawall.proxy.pinner import Pinner
from seawall.proxy.pool import Pool
from seawall.proxy.server import Server
from seawall.proxy.sink import Sink
from seawall.proxy.topology import Phase
from seawall.wire.pgwire import messages

FLUSH: Final = messages.flush()


class Turns:
    """Whose turn it is on one worker.

    Args:
        worker: whose.
        pinner: what sets sequences back.
    """

    def __init__(self, worker: Any, pinner: Pinner) -> None:  # noqa: ANN401 -- the worker has one of these
        self._worker = worker
        self._pinner = pinner
        self.waiting: deque[Client] = deque()
        """Clients whose case waits for a primary; bounded by the server connections there were."""
        self._parked: dict[Client, Parked] = {}
        self._turn: Client | None = None
        self._done: Callable[[], None] | None = None

    # --- cases that wait ----------------------------------------------------------------------------------

    def acquire(self, client: Client) -> None:
        """Get a server for a case: at once while the primary serves, else when there is one."""
        if not self._worker.following.held:
            client.pool.wait_first(client)
        elif self._turn is client:
            self.waiting.appendleft(client)
            self._next()
        else:
            self.waiting.append(client)

    def take_from(self, pool: Pool) -> None:
        """Clients are held: those with a case wait here, so that they can have their turns alone."""
        for client in [one for one in pool.waiting if one.rescue is not None and one is not pool.privileged]:
            pool.waiting.remove(client)
            self.waiting.append(client)

    def serve(self) -> None:
        """The primary serves: let all cases go on."""
        while self.waiting:
            client = self.waiting.popleft()
            if client.state != CLOSED and client.rescue is not None:
                client.pool.wait_first(client)

    def leave(self, client: Client) -> None:
        """A client waits no longer."""
        if client in self.waiting:
            self.waiting.remove(client)

    # --- turns --------------------------------------------------------------------------------------------

    def take(self, done: Callable[[], None]) -> None:
        """A new primary is there for cases alone: one after another.

        Args:
            done: called when all have had theirs.
        """
        self._done = done
        self._next()

    def ended(self, client: Client) -> None:
        """A case is over, for better or worse."""
        if self._turn is client:
            self._next()

    def _next(self) -> None:
        self._turn = None
        if self._pinner.open and self._done is not None:
            self._worker.start(self._mended())
            return
        while self.waiting:
            client = self.waiting.popleft()
            if client.state != CLOSED and client.rescue is not None:
                self._turn = client
                client.pool.wait_first(client, alone=True)
                return
        done, self._done = self._done, None
        if done is not None:
            done()

    async def _mended(self) -> None:
        """A turn left a sequence set back; nobody draws before it is where it belongs."""
        await self._pinner.mend()
        self._next()

    # --- clients that have had theirs -----------------------------------------------------------------------

    @property
    def parks(self) -> bool:
        """Whether a sequence may be set back in somebody's turn."""
        return bool(
            self._worker.topology.phase is Phase.REPLAYING
            and self._worker.settings.replay.pin_sequences
            and self._worker.settings.failover.sole_proxy
        )

    def go_on(self, client: Client, server: Server) -> None:
        """A client's transaction stands again: have it speak, when that disturbs nobody."""
        if not self.parks:
            self.ended(client)
            client.proceed()
            return
        parked = server.sink = self._parked[client] = Parked(self, client, server)
        if server.unsynced and server.pending:
            server.send(FLUSH)  # or it might keep back what its turn waits for
        parked.look()

    def disturb(self) -> None:
        """Somebody may draw from any sequence until all go on."""
        self._pinner.disturbed = True

    def unpark(self, client: Client) -> None:
        """A parked client speaks for itself again: it goes on, has gone, or has lost its server."""
        parked = self._parked.pop(client, None)
        if parked is not None:
            parked.server.sink = client
            self.ended(client)

    def release(self) -> None:
        """No sequence is set back any more: all go on."""
        self._pinner.forget()
        for client in list(self._parked):
            self.unpark(client)
            client.proceed()


class Parked(Sink):
    """Takes what a server says to a parked client; its turn lasts until nothing is owed any more.

    Args:
        turns: to be told.
        client: who is parked; it hears everything.
        server: its server.
    """

    def __init__(self, turns: Turns, client: Client, server: Server) -> None:
        self._turns = turns
        self._client = client
        self.server = server

    def look(self) -> None:
        """End the turn if nothing more will come."""
        server = self.server
        if server.copying and server.pending:
            self._turns.disturb()  # only the client can end it, and each of its rows may draw
            self._turns.ended(self._client)
        elif not server.pending:
            self._turns.ended(self._client)

    def deliver(self, data: bytes) -> None:
        """Pass it on."""
        self._client.deliver(data)
        self.look()

    def settled(self, server: Server) -> None:
        """All is answered; the turn has ended."""

    def parameter(self, server: Server, body: bytes) -> None:
        """A reported setting changed."""
        self._client.parameter(server, body)

    def refused(self, server: Server, body: bytes) -> None:
        """An error passed."""
        self._client.refused(server, body)

    def undone(self, note: Note, *, failed: bool) -> None:
        """A message came to nothing."""
        self._client.undone(note, failed=failed)

    def resume(self) -> None:
        """What the client said since is said when it goes on."""

    def forgotten(self) -> None:
        """All prepared statements are gone."""
        self._client.forgotten()

    def lost(self, server: Server) -> None:
        """This server is gone as well."""
        self._turns.unpark(self._client)
        self._client.lost(server)

    def throttle(self, *, stop: bool) -> None:
        """Nothing is said meanwhile."""
