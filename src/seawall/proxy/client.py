"""One logged-in client: takes a server when it says something, gives it back between transactions.

Theory of operation
-------------------
A client is *detached*, *waiting* (for a server, or for its server to be put into the client's session state)
or
*attached*. What it says while it waits is held back and its socket is not read, so what it can make the
proxy hold is one chunk. Attached, its bytes go to the server as they came, except that names of prepared
statements are replaced where servers are shared. Every message is entered into ``server.pending`` by the
reply it will cause.

Back to the pool
----------------
When everything is answered and no transaction is open (``settled``). If the text or a command tag made it
possible that session state changed, the server is asked first: settings are remembered and follow the
client, what cannot follow (temporary tables, session locks, channels it listens to) pins the client to this
server until it is gone.
"""

from __future__ import annotations

from os import write
from time import monotonic
from typing import Any, Final

from seawall.proxy import owed
from seawall.proxy.naming import ATTACHED, CLOSED, DETACHED, WAITING
from seawall.proxy.replay.doomed import Doomed
from seawall.proxy.replay.journal import Journal
from seawall.proxy.server import Server
from seawall.proxy.speech import Speech
from seawall.proxy.statements import CHANGING, COMMIT_BYTES, commits
from seawall.proxy.worth import CROWDED, TRACE, Worth, ends_in_comment
from seawall.wire.pgwire import framing
from seawall.wire.pgwire.exchange import QUERY_ALONE, bind_end, parse_end
from seawall.wire.pgwire.framing import (
    BIND,
    HEADER,
    HEADER_BYTES,
    IDLE,
    IN_TRANSACTION,
    LONGEST,
    PARSE,
    QUERY,
)
from seawall.wire.pgwire.glance import glance

HELD_LIMIT: Final = 65_536
"""A client that waits is not read any more once this much of it is held back."""
COMMIT_LETTERS: Final = frozenset(b"cCeE/- \n\t\r")
"""What a COMMIT may begin with."""
CHANGE_LETTERS: Final = frozenset(b"iIuUdDmM")
WRITE: Final = write
UNPACK: Final = HEADER.unpack_from
CLOCK: Final = monotonic
"""Names of their own: compiled code looks up those of other modules at every call."""
COPYING: Final = frozenset({framing.COPY_DATA, framing.COPY_DONE, framing.COPY_FAIL})
ASIDE: Final = COPYING | {framing.TERMINATE, framing.FLUSH}
"""What needs no server."""


class Client(Speech):
    """One logged-in client connection. The protocol of its transport.

    Args:
        transport: an asyncio transport.
        worker: the worker that owns it: pools, statement cache, counters, errands.
        pool: where its servers come from.
        ledger: its session state.
    """

    __slots__ = ()

    # --- the transport's side -----------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401
        """The transport is this one (it was handed over after the login)."""
        self.transport = transport

    def eof_received(self) -> bool:
        """A client that stops talking is gone."""
        return False

    def pause_writing(self) -> None:
        """The client reads slower than its server writes: stop reading the server."""
        self.clogged = True
        server = self.server
        if server is not None and not server.paused:
            server.paused = True
            server.transport.pause_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.clogged = False
        server = self.server
        if server is not None and server.paused:
            server.paused = False
            server.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone: its server goes back if that is possible."""
        del error
        self.fd = -1
        if self.state == CLOSED:
            return
        self.state = CLOSED
        self._held = b""
        self.carry(b"")
        self.worker.client_gone(self)

    def data_received(self, data: bytes) -> None:  # noqa: C901, PLR0912 -- a hot path
        """Take in a chunk of what the client says."""
        server = self.server
        if server is None or self.state != ATTACHED:
            data = self._unattached(data)
            server = self.server
            if not data or server is None:
                return
        journal = self.journal
        if journal is not None:
            journal.say(data)
        size = len(data)
        if size > HEADER_BYTES and not (self._carry or self._skip or server.unsynced or server.copying):
            if data[0] == QUERY:
                length: int = UNPACK(data, 0)[1]
                if length + 1 == size:
                    look = glance(data[5:-1])
                    if look:
                        if look < 0:
                            if journal is not None:
                                journal.proven += 1
                        elif self._answered(server, look, data[5:-1]):
                            return
                    if ends_in_comment(data, size) and TRACE in data:
                        self.traced(server, b"", data)
                    if server.status != IDLE or self.stay:
                        server.since = CLOCK()
                        if journal is not None and journal.resolves:
                            if journal.changed or (data[5] in COMMIT_LETTERS and not journal.changes_nothing):
                                data = self._asked(server, journal, data)
                            elif data[5] in CHANGE_LETTERS and not journal.sampled_at:
                                journal.changed = data[5:11].lower() in CHANGING
                                if journal.changed and self.asks_behind:
                                    self._ask_behind(server, data)
                                    return
                    if self.unnamed is not None:
                        self.unnamed = server.unnamed = None  # a Query drops it
                    if server.whole or server.entered:
                        server.pending.append(owed.SIMPLE)
                    else:
                        server.whole = QUERY_ALONE
                    self.pool.queries += 1
                    server.send(data)
                    return
            elif not (server.whole or server.entered):
                if data[0] == PARSE:
                    end = parse_end(data)
                    if end and self._batched(server, data, end):
                        return
                elif data[0] == BIND:
                    end = bind_end(data)
                    if end and self._bound(server, data, end):
                        return
        self._converse(server, data)

    def _unattached(self, data: bytes) -> bytes:
        """Get a server; returns what is to be said now, nothing if that waits or needs no server."""
        if self.state == WAITING:
            self._hold(data)
            return b""
        if self._drop:
            data = self._dropped(data)
        if self.doomed is not None:
            data = self._mourned(self.doomed, data)
        return data if self.state != CLOSED and self._attach(data) else b""

    # --- what the server says -----------------------------------------------------------------------------

    def deliver(self, data: bytes) -> None:
        """Pass the server's bytes on."""
        journal = self.journal
        if journal is not None:
            if journal.replays:
                journal.keep(data)
            else:
                journal.last = data
        if self.buffered and self._holds_back():
            if not self.transport.is_closing():
                self.transport.write(data)
            return
        try:
            taken: int = WRITE(self.fd, data)
        except OSError:
            taken = 0
        if taken != len(data):
            self.tell(data[taken:])

    def tell(self, data: bytes) -> None:
        """Say something to the client, by its transport."""
        self.buffered = True
        self.transport.write(data)

    def _holds_back(self) -> bool:
        """Whether what it was told before, by the transport, is not all on its way."""
        transport = self.transport
        self.buffered = bool(transport.get_write_buffer_size()) or bool(transport.is_closing())
        return self.buffered

    def settled(self, server: Server) -> None:
        """Everything is answered: give the server back, unless a transaction or something else keeps it."""
        if self._skip:
            return  # the server has half a message; _converse comes back here when it has the whole
        now = CLOCK()
        if self.worth is not None:
            self.worker.watch.ended(self, server, now)
        if server.status != IDLE:
            server.since = now
            if self.pool.statement_mode:
                self.fail("25001", "transaction blocks are not allowed in statement pooling mode", "")
            return
        pool = self.pool
        pool.lasted.append(now - self.began_at)
        self.began_at = self.seen_at = now
        journal = self.journal
        if journal is not None:
            if journal.sample and journal.topology is not None:
                self.worker.sampling.committed(server, journal)
            journal.clear()
            if self.stay or server.suspect:
                self._begin(journal)
        if server.suspect:
            if pool.session:
                server.suspect = 0
                return
            self.state = WAITING
            self.worker.fitting.examine(self, server)
        elif not self.stay:
            self.server = self.journal = None
            self.state = DETACHED
            pool.put(server, now)
            if pool.signals.draining:
                self.worker.drain_client(self)

    def parameter(self, server: Server, body: bytes) -> None:
        """A reported setting changed."""
        self.worker.fitting.parameter_changed(self, server, body)

    def refused(self, server: Server, body: bytes) -> None:
        """An error passed; a stale plan makes the statements be prepared afresh."""
        self.pool.errors += 1
        if self.worth is None or self.worth is CROWDED:
            self.worth = Worth(traced=self.worth is CROWDED)
        self.worth.refusal = body
        if b"\0C0A000\0" in body and self.statements and self.rename:
            for statement in self.statements.values():
                self.worker.statements.rename(statement)

    def lost(self, server: Server) -> None:
        """The server is gone under the client's feet."""
        self.worker.server_lost(self, server)

    def throttle(self, *, stop: bool) -> None:
        """The server's socket is full, or has room again."""
        if self.state == CLOSED:
            return
        if stop:
            self.transport.pause_reading()
        elif self.state != WAITING:
            self.transport.resume_reading()

    # --- attaching ----------------------------------------------------------------------------------------

    def granted(self, server: Server, now: float = 0.0) -> None:
        """The pool has a server for this client, now if that is known; fit it to the client, then go on."""
        self.server = server
        server.sink = self
        journal = self.journal = server.journal
        if journal is not None:
            self._begin(journal)
        server.since = self.began_at = now or CLOCK()
        if self.clogged:
            self.pause_writing()
        if server.applied is not self.settings or server.parameters is not self.parameters:
            self.worker.fitting.fit(self, server)
            return
        self.proceed()

    def proceed(self) -> None:
        """The server is ready: say what was held back."""
        if self.rescue is not None:
            self.worker.rescue.perform(self)
            return
        self.state = ATTACHED
        held, self._held = self._held, b""
        if self._deaf:
            self.listen()
        server = self.server
        if held:
            self.data_received(held)
        elif server is not None and server.free and not self.stay:
            self.settled(server)

    def _ask_behind(self, server: Server, data: bytes) -> None:
        """Say a transaction's first change, and ask our question behind it.

        Whoever knows the transaction's number and a place in the log behind its first change can find out
        what became of it. Asked ahead of COMMIT, the answer may be lost together with the COMMIT's. Ahead
        of any other Query it can be asked without a Sync, so that both are answered in one piece, which is
        half the work. What came behind the first change last time tells which of the two it will be.
        """
        if self.unnamed is not None:
            self.unnamed = server.unnamed = None
        server.pending.append(owed.SIMPLE)
        self.pool.queries += 1
        if self.worker.sampling.samples_changes(self):
            data += server.ask_simple(CLOCK(), early=True)
        server.send(data)

    def _asked(self, server: Server, journal: Journal, data: bytes) -> bytes:
        """Put our question ahead of a Query: of a COMMIT, or what else follows the first change."""
        ahead = b"" if journal.sampled_early and journal.numbered else self._ahead(server, data[5:-1])
        if not journal.changed:
            return ahead + data
        journal.changed = False
        self.asks_behind = commits(data[5:][:COMMIT_BYTES])
        if ahead or self.asks_behind or server.whole or server.entered or journal.sampled_at:
            return ahead + data
        sampling = self.worker.sampling
        if server.status != IN_TRANSACTION or not sampling.samples_changes(self):
            return data
        return server.ask_extended(sampling.sample, CLOCK(), early=True) + data

    def _begin(self, journal: Journal) -> None:
        journal.replays = self.replays
        journal.resolves = self.resolves
        journal.unnamed = self.unnamed
        if self._carry:
            journal.say(self.carried())

    def _mourned(self, doomed: Doomed, data: bytes) -> bytes:
        """Have a client whose transaction is lost answered; what is left once it has ended it."""
        answers, data = doomed.feed(data)
        if doomed.over:
            self.doomed = None
        if answers:
            self.tell(answers)
        return data

    def _hold(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > HELD_LIMIT:
            self._deaf = True
            self.transport.pause_reading()

    def listen(self) -> None:
        """Read on, if so much was held back that it had been stopped."""
        if self._deaf:
            self._deaf = False
            self.transport.resume_reading()

    def catch_up(self) -> None:
        """Say what came in before the client was let in."""
        held, self._held = self._held, b""
        if held:
            self.data_received(held)

    @property
    def holding(self) -> bool:
        """Whether something was said that waits to be passed on."""
        return bool(self._held)

    def fail(self, sqlstate: str, message: str, detail: str, hint: str = "") -> None:
        """Tell the client why and close its connection."""
        self.worker.close_client(self, sqlstate, message, detail, hint)

    def _attach(self, data: bytes) -> bool:
        """Get a server; false if the client has to wait (its bytes are kept) or needs none."""
        if not data and not self._carry:
            return False
        first = self._carry[0] if self._carry else data[0]
        if first != QUERY and first != PARSE and first in ASIDE:  # noqa: PLR1714 -- twice as fast
            self._aside(data)
            return False
        server = self.pool.take(self)
        if server is None:
            self._held = data
            self.state = WAITING
            self.pool.wait(self)
            return False
        self.server = server
        server.sink = self
        journal = self.journal = server.journal
        if journal is not None:
            self._begin(journal)
        self.state = ATTACHED
        server.since = self.began_at = CLOCK()
        if self.clogged:
            self.pause_writing()
        if server.applied is not self.settings or server.parameters is not self.parameters:
            self._held = data
            self.state = WAITING
            self.worker.fitting.fit(self, server)
            return False
        return True

    def _aside(self, data: bytes) -> None:
        """What needs no server: goodbyes, and what is left of a copy that failed."""
        data = self.carried() + data
        self.carry(b"")
        position, end = 0, len(data)
        while position + HEADER_BYTES <= end:
            kind, length = HEADER.unpack_from(data, position)
            if kind == framing.TERMINATE:
                self.buffered = True
                self.transport.close()
                return
            if kind != framing.FLUSH and kind not in COPYING:
                self.carry(b"")
                self.data_received(data[position:])
                return
            if not 4 <= length <= LONGEST[kind]:
                self._leave(kind, length)
                return
            position += 1 + length
        if position > end:
            self._drop = position - end
        else:
            self.carry(data[position:])

    def _dropped(self, data: bytes) -> bytes:
        """What is left of a chunk behind the rest of a message that no server gets."""
        cut = min(self._drop, len(data))
        self._drop -= cut
        return data[cut:]
