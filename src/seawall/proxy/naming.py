"""What the names in a client's messages stand for: statements that are shared, moved, taken back.

Where servers are shared, the names of prepared statements are replaced, and a statement that this server
lacks is brought to it first. A client may say more before it has heard the answers. Whether a Parse or Close
takes effect is only known then, so each leaves a ``Note`` by which it is taken back if an error before it
made the server skip it. Past a Sync that isn't answered, a name may stand for one thing or another: whoever
uses it then waits for the answer.

Source: PostgreSQL documentation, chapter "Message Flow", section "Extended Query".
"""

from __future__ import annotations

from abc import abstractmethod
from time import monotonic
from typing import Any, Final

from seawall.proxy import owed
from seawall.proxy.home import Home
from seawall.proxy.owed import Note
from seawall.proxy.replay.doomed import Doomed
from seawall.proxy.replay.journal import Journal
from seawall.proxy.server import Server
from seawall.proxy.sink import Sink, descriptor
from seawall.proxy.statements import (
    CHANGES,
    COMMIT_BYTES,
    COMMITS,
    PREFIX,
    Statement,
    deallocated,
    effect,
    frees,
    parse_message,
    parse_suspicion,
    parsed_text,
    texts_bytes,
)
from seawall.wire.pgwire import framing
from seawall.wire.pgwire.framing import HEADER, HEADER_BYTES
from seawall.wire.pgwire.scan import (
    BOUND_NAME,
    DDL_DATABASE,
    RESET,
    SETTINGS,
    UNKNOWN,
    bound_names,
    custom_names,
)

CARRY_LIMIT: Final = 65_536
"""A message that is only partly there is held back up to this size; a longer one is streamed."""
PREPARED_BYTES_MAX: Final = 64 * 1024 * 1024
"""Texts of the named statements of one client, together."""
DETACHED: Final = 0
WAITING: Final = 1
ATTACHED: Final = 2
CLOSED: Final = 3
REPLIES: Final[dict[int, int]] = {
    framing.BIND: owed.BOUND,
    framing.DESCRIBE: owed.DESCRIBED,
    framing.CLOSE: owed.CLOSED,
}
STRANGE: Final = b"not_"
"""Before a name by which a client would get at somebody else's statement: the proxy's names, or none."""
NOTHING: Final = b""
"""In place of an unnamed Parse: the statement was closed."""
STALLED: Final = -2
UNNAMED: Final = frozenset({owed.UNNAMED, owed.UNNAMED_UNSEEN, owed.UNNAMED_CLOSED})
UNNAMED_CHANGED: Final = frozenset({owed.UNNAMED, owed.UNNAMED_CLOSED})
NAMING: Final = frozenset({framing.PARSE, framing.BIND, framing.DESCRIBE, framing.CLOSE})
STATEMENT: Final = ord("S")


class Naming(Sink):
    """A client's state, and the names it uses; ``client.Client`` is the whole of it.

    Args:
        transport: an asyncio transport.
        worker: the worker that owns it: pools, statement cache, counters, errands.
        pool: where its servers come from.
        ledger: its session state.

    Attributes:
        plain: an unnamed Parse that leaves nothing in its session, the last that was looked at.
        plain_effect: what it does, as ``statements.effect``.
        plain_proven: it provably changes nothing.
        buffered: its transport may hold back what has to go first.
        unnamed: the last unnamed Parse: the server on which it is bound may be another one.
        refused_at: when a replica refused last what it said.
        rescue: what is being done about a server that it lost; a ``rescue.Case``.
        doomed: answers in place of a server until the client ends a transaction that is lost.
        _effect: of its unnamed statement, as ``statements.effect``.
        _changed: a statement that changes something was bound since the last Sync.
        _frees: what was bound last, to the unnamed portal, forgets named statements.
        _freed: which one that is, by its name; nothing if it is all of them.
        _parsed_here: since the last Sync there was an unnamed Parse.
    """

    __slots__ = (
        "_carry",
        "_changed",
        "_deaf",
        "_drop",
        "_effect",
        "_freed",
        "_frees",
        "_held",
        "_lacking",
        "_more",
        "_parsed_here",
        "_skip",
        "address",
        "asks_behind",
        "began_at",
        "buffered",
        "clogged",
        "connected_at",
        "database",
        "doomed",
        "fd",
        "journal",
        "key",
        "ledger",
        "parameters",
        "pid",
        "plain",
        "plain_effect",
        "plain_proven",
        "pool",
        "prepared_bytes",
        "refused_at",
        "rename",
        "replays",
        "rescue",
        "resolves",
        "seen_at",
        "server",
        "settings",
        "state",
        "statements",
        "stay",
        "transport",
        "unnamed",
        "user",
        "waiting_since",
        "worker",
    )

    def __init__(self, transport: Any, worker: Any, pool: Home, ledger: Any) -> None:  # noqa: ANN401, PLR0915
        self.transport: Any = transport
        self.fd: int = descriptor(transport)
        self.worker: Any = worker
        self.pool: Home = pool
        self.ledger: Any = ledger
        self.settings: Any = ledger.current
        """The ledger's current settings, here because they are compared at every attach."""
        self.parameters: Any = None
        self.server: Server | None = None
        self.state: int = DETACHED
        self.stay: bool = pool.session
        """Keep the server between transactions: session mode, or something pins the client to it."""
        self.rename: bool = not pool.session
        self.statements: dict[bytes, Statement] | None = None
        self.prepared_bytes: int = 0
        self.pid: int = 0
        self.key: bytes = b""
        self.address: str = ""
        self.database: str = pool.database
        """As it calls it; the server may know it by another name."""
        self.user: str = ""
        """Its name here, which need not be the one on the server."""
        self.clogged: bool = False
        """It reads slower than it is written to."""
        self.connected_at: float = 0.0
        self.began_at: float = 0.0
        self.seen_at: float = 0.0
        self.waiting_since: float = 0.0
        self._carry: bytes = b""
        """The beginning of a message, which has to be there as far as it is looked at."""
        self._more: bytearray = bytearray()
        """What came behind it of one that has to be whole, put together once when nothing is lacking."""
        self._lacking: int = 0
        self.unnamed: bytes | None = None
        self.plain: bytes | None = None
        self.plain_effect: int = 0
        self.plain_proven: bool = False
        self.buffered: bool = True
        self._held: bytes = b""
        self._skip: int = 0
        self._deaf: bool = False
        self._drop: int = 0
        """So many bytes belong to a message that no server gets."""
        self.journal: Journal | None = None
        """Of the server it is attached to."""
        self.replays: bool = False
        """Its transactions are said again when their server is lost."""
        self.refused_at: float = 0.0
        self.resolves: bool = False
        """It is found out what became of its COMMITs."""
        self.asks_behind: bool = True
        self.rescue: Any = None
        self.doomed: Doomed | None = None
        self._effect: int = 0
        self._changed: bool = False
        self._frees: bool = False
        self._freed: tuple[bytes, Statement] | None = None
        self._parsed_here: bool = False

    def undone(self, note: Note, *, failed: bool) -> None:
        """A Parse or Close came to nothing: names stand for what they stood for before."""
        if self.journal is not None and (note.statement is not None or note.owed == owed.FREED):
            self.journal.remember(self.statements, self.prepared_bytes)
        statements = self.statements
        if note.owed == owed.FREED and note.names is not None:
            self.statements = note.names[0]
            self.prepared_bytes = texts_bytes(note.names[0])
        elif note.owed in UNNAMED_CHANGED and self.unnamed is note.new:
            self.unnamed = None if failed else note.mine
        elif statements is None or note.statement is None:
            return
        elif note.owed == owed.CLOSED_ALREADY:
            statements[note.name] = note.statement
            self.prepared_bytes += len(note.statement.tail)
        elif note.owed != owed.PARSED_UNSEEN and statements.get(note.name) is note.statement:
            del statements[note.name]
            self.prepared_bytes -= len(note.statement.tail)

    def forgotten(self) -> None:
        """DISCARD ALL or DEALLOCATE ALL: the client's names are free."""
        if self.journal is not None:
            self.journal.remember(self.statements, self.prepared_bytes)
        self.statements = None
        self.prepared_bytes = 0

    def carry(self, data: bytes, lacking: int = 0) -> None:
        """Keep the beginning of a message; nothing is to be seen before so many bytes more have come."""
        self._carry = data
        self._lacking = lacking
        if self._more:
            self._more = bytearray()

    def carried(self) -> bytes:
        """The beginning of a message, as far as it came."""
        if self._more:
            self._carry += bytes(self._more)
            self._more = bytearray()
        return self._carry

    @property
    def mid_message(self) -> bool:
        """Whether the server has got only the beginning of a message."""
        return self._skip > 0

    @abstractmethod
    def fail(self, sqlstate: str, message: str, detail: str, hint: str = "") -> None:
        """Tell the client why and close its connection."""

    def _suspect(self, server: Server, flags: int, sql: bytes) -> None:
        """Remember what may change, and make way for what can't wait."""
        server.suspect |= flags
        if flags & (SETTINGS | UNKNOWN):
            self.ledger.note(custom_names(sql))
        if flags & DDL_DATABASE:
            self.worker.database_ddl()

    def _named(self, server: Server, kind: int, data: bytes, position: int, after: int) -> tuple[bytes, int]:
        """Enter a message that names a statement.

        Returns:
            What to send instead and up to where it stands for the data; up to ``position`` if the message
            goes on as it is, -1 if the client had to be cut.
        """
        if kind == framing.PARSE:
            return self._parse(server, data, position, after)
        first = position + HEADER_BYTES
        if kind == framing.BIND:
            first = data.find(b"\0", first, after) + 1
        elif first >= after or data[first] != STATEMENT:
            server.unsynced = True
            server.pending.append(REPLIES[kind])
            return b"", position
        else:
            first += 1
        last = data.find(b"\0", first, after) if first else -1
        if last < 0:
            self.fail("08P01", "invalid string in message", "")
            return b"", -1
        if (server.notes or server.suspect & RESET) and self._uncertain(server, data[first:last]):
            return b"", STALLED
        server.unsynced = True
        if kind == framing.CLOSE and last + 1 == after:
            return self._close(server, data, (position, first, last))
        return self._use(server, kind, data, (position, first, last))

    def _close(self, server: Server, data: bytes, at: tuple[int, int, int]) -> tuple[bytes, int]:
        """Close of a statement: a shared one stays on the server, for others."""
        position, first, last = at
        name = data[first:last]
        if self.statements and name in self.statements:
            if self.journal is not None:
                self.journal.remember(self.statements, self.prepared_bytes)
            statement = self.statements.pop(name)
            self.prepared_bytes -= len(statement.tail)
            return server.already(Note(owed.CLOSED_ALREADY, statement, name)), last + 1
        if not name:
            server.noted(Note(owed.UNNAMED_CLOSED, None, b"", self.unnamed, server.unnamed, NOTHING))
            self.unnamed = server.unnamed = NOTHING
            return b"", position
        server.pending.append(owed.CLOSED)
        return self._strange(data, at) if name.startswith(PREFIX) else (b"", position)

    def _strange(self, data: bytes, at: tuple[int, int, int]) -> tuple[bytes, int]:
        """The message with another name, under which no server has a statement of somebody else."""
        position, first, last = at
        kind, length = HEADER.unpack_from(data, position)
        head = HEADER.pack(kind, length + len(STRANGE)) + data[position + HEADER_BYTES : first]
        return head + STRANGE + data[first:last], last

    def _use(self, server: Server, kind: int, data: bytes, at: tuple[int, int, int]) -> tuple[bytes, int]:
        """Bind, Describe or a spoiled Close of the statement whose name stands at the last two of ``at``."""
        position, first, last = at
        name = data[first:last]
        statement = self.statements.get(name) if self.statements else None
        if kind == framing.BIND:
            self._freed = None
            self._frees = data[position + HEADER_BYTES] == 0 and self._all_freed(server, name, statement)
        # Ahead of bringing the statement: what makes room for the question may be the statement itself.
        inject = self._ask_ahead(server, name, statement) if kind == framing.BIND else b""
        foreign = name.startswith(PREFIX)
        if not name:
            plain = kind == framing.BIND and data[position + HEADER_BYTES] == 0
            instead = self._free_instead(server) if plain and self.statements else b""
            inject += instead or self._bring_unnamed(server)
            foreign = not instead and (server.unnamed is not self.unnamed or not self.unnamed)
        elif statement is not None:
            if statement.name not in server.statements:
                inject += server.prepare(statement, owed.PARSED_UNSEEN, name)
            if kind == framing.BIND and statement.suspicion:
                self._suspect(server, statement.suspicion, statement.tail)
        if kind == framing.BIND and server.suspect & BOUND_NAME:
            self.ledger.note(bound_names(data[position + HEADER_BYTES :]))
        server.pending.append(REPLIES[kind])
        if statement is None and foreign:
            head, until = self._strange(data, at)
            return inject + head, until
        if statement is None:
            return (inject, position) if not inject else (inject + data[position:last], last)
        length = HEADER.unpack_from(data, position)[1] + len(statement.name) - len(name)
        return inject + HEADER.pack(kind, length) + data[
            position + HEADER_BYTES : first
        ] + statement.name, last

    def _all_freed(self, server: Server, name: bytes, statement: Statement | None) -> bool:
        """Whether what is bound forgets all named statements."""
        if name:
            return statement is not None and statement.suspicion & RESET > 0 and frees(statement.tail)
        return server.suspect & RESET > 0 and frees(parsed_text(self.unnamed))

    def executed(self, server: Server, data: bytes, position: int) -> None:
        """Enter an Execute."""
        if not self._frees or data[position + HEADER_BYTES : position + HEADER_BYTES + 1] != b"\0":
            server.pending.append(owed.EXECUTED)
            return
        self._frees = False
        statements = self.statements
        if self.journal is not None:
            self.journal.remember(statements, self.prepared_bytes)
        if self._freed is None:
            server.forget(statements, {})
            self.statements = None
            self.prepared_bytes = 0
            return
        name, gone = self._freed
        server.forget(statements, {one: True for one in server.statements if one != gone.name})
        if statements and statements.get(name) is gone:
            self.statements = {key: one for key, one in statements.items() if key != name}
            self.prepared_bytes -= len(gone.tail)

    def _free_instead(self, server: Server) -> bytes:
        """If the unnamed statement forgets a shared one: what to send so that it does, by the shared name."""
        sql, _, types = parsed_text(self.unnamed).partition(b"\0")
        name = deallocated(sql)
        gone = self.statements.get(name) if self.statements and name else None
        if gone is None:
            return b""
        inject = b"" if gone.name in server.statements else server.prepare(gone, owed.PARSED_UNSEEN, name)
        new = parse_message(b"", b"DEALLOCATE " + gone.name + b"\0" + types)
        server.noted(Note(owed.UNNAMED_UNSEEN, None, b"", self.unnamed, server.unnamed, new))
        server.unnamed = new
        server.suspect |= RESET
        self._frees = True
        self._freed = (name, gone)
        return inject + new

    def _ask_ahead(self, server: Server, name: bytes, statement: Statement | None) -> bytes:
        """Note what a Bind's statement does; if it is a COMMIT, what to ask ahead of it."""
        what = self._effect if not name else statement.effect if statement is not None else 0
        if what == CHANGES and self.journal is not None and self.journal.resolves:
            self._changed = True
        if what != COMMITS:
            return b""
        text = statement.tail if statement is not None else parsed_text(self.unnamed)
        return self._sample(server, text.partition(b"\0")[0])

    def _parse(self, server: Server, data: bytes, position: int, after: int) -> tuple[bytes, int]:
        first = position + HEADER_BYTES
        if first < after and data[first] == 0:
            server.unsynced = self._parsed_here = True
            whole = HEADER.unpack_from(data, position)[1] + 1 == after - position
            # One that is too long to be brought to another server is known by its header alone.
            new = data[position : after if whole and after - position <= CARRY_LIMIT else first]
            server.noted(Note(owed.UNNAMED, None, b"", self.unnamed, server.unnamed, new))
            self.unnamed = server.unnamed = new
            flags = parse_suspicion(data[first + 1 : after]) if whole else UNKNOWN
            self._effect = effect(data[first + 1 : first + 1 + COMMIT_BYTES])
            if flags:
                self._suspect(server, flags, data[first + 1 : after])
            return b"", position
        last = data.find(b"\0", first, after)
        if last < 0:
            self.fail("08P01", "invalid string in message", "")
            return b"", -1
        name, tail = data[first:last], data[last + 1 : after]
        if (server.notes or server.suspect & RESET) and self._uncertain(server, name):
            return b"", STALLED
        server.unsynced = True
        if self.statements is None:
            self.statements = {}
        known = self.statements.get(name)
        if known is not None:
            # The server itself has to refuse it, because that also fails the transaction.
            inject = (
                b"" if known.name in server.statements else server.prepare(known, owed.PARSED_UNSEEN, name)
            )
            server.pending.append(owed.PLAIN_PARSED)
            return inject + parse_message(known.name, tail), after
        if len(self.statements) >= self.pool.statements_per_client:
            self.fail(
                "53400", "too many prepared statements", "", "Close statements that are no longer used."
            )
            return b"", -1
        if self.journal is not None:
            self.journal.remember(self.statements, self.prepared_bytes)
        self.prepared_bytes += len(tail)
        if self.prepared_bytes > PREPARED_BYTES_MAX:
            self.fail(
                "53400", "prepared statements are too long together", "", "Close those that are not used."
            )
            return b"", -1
        statement: Statement = self.worker.statements.get(tail)
        self.statements[name] = statement
        if statement.name in server.statements:
            return server.already(Note(owed.PARSED_ALREADY, statement, name)), after
        return server.prepare(statement, owed.PARSED, name), after

    def _uncertain(self, server: Server, name: bytes) -> bool:
        """Whether what a name stands for hangs on an answer that isn't there yet."""
        pending = server.pending
        if server.suspect & RESET and (owed.SIMPLE in pending or owed.SYNCED in pending):
            return True  # it may be DEALLOCATE ALL
        if owed.SYNCED not in pending or (not name and self._parsed_here):
            return False
        return any((note.owed in UNNAMED) is not bool(name) for note in server.notes)

    def _sample(self, server: Server, sql: bytes) -> bytes:
        """What to send ahead of the Bind of a COMMIT so that its outcome can be found out."""
        if (
            self.journal is None
            or not self.journal.resolves
            or not self.worker.sampling.samples(self, server, sql)
        ):
            return b""
        return server.ask_extended(self.worker.sampling.sample, monotonic())

    def restore(self, journal: Journal) -> None:
        """Go back to the names of before the transaction, to say it again."""
        if journal.names_changed:
            self.statements = None if journal.names is None else dict(journal.names)
            self.prepared_bytes = journal.names_bytes
        self.unnamed = journal.unnamed
        self._effect = effect(parsed_text(self.unnamed)[:COMMIT_BYTES])
        self._changed = False
        self._parsed_here = False
        self.carry(b"")
        self._skip = 0

    def _bring_unnamed(self, server: Server) -> bytes:
        """The Parse to send first if the unnamed statement was parsed on another server."""
        mine = self.unnamed
        if not mine or server.unnamed is mine or HEADER.unpack_from(mine)[1] >= len(mine):
            return b""
        server.noted(Note(owed.UNNAMED_UNSEEN, None, b"", mine, server.unnamed, mine))
        server.unnamed = mine
        flags = parse_suspicion(mine[HEADER_BYTES + 1 :])
        if flags:
            self._suspect(server, flags, mine)
        return mine
