"""What a client says: walk through its messages, enter what they will cause, rename statements, send.

Every message is entered into ``Server.pending`` by the reply it will cause. Where servers are shared, the
names of prepared statements are replaced, and a statement that this server lacks is brought to it first.

*What is decided ahead.* A client may say more before it has heard the answers. Whether a Parse or Close
takes effect is only known then, so each leaves a ``Note`` by which it is taken back if an error before it
made the server skip it. Past a Sync that isn't answered, a name may stand for one thing or another: whoever
uses it then waits for the answer.

Source: PostgreSQL documentation, chapter "Message Flow", sections "Extended Query" and "COPY Operations".
"""

from __future__ import annotations

import re
from abc import abstractmethod
from time import monotonic
from typing import Any, Final

from seawall.proxy import owed
from seawall.proxy.owed import Note
from seawall.proxy.server import Server, Sink
from seawall.proxy.statements import PREFIX, Statement, parse_message, parse_suspicion
from seawall.wire.pgwire import framing
from seawall.wire.pgwire.framing import HEADER, HEADER_BYTES, IN_COPY, LONG_BYTES, LONGEST
from seawall.wire.pgwire.scan import (
    BOUND_NAME,
    DDL_DATABASE,
    RESET,
    SETTINGS,
    UNKNOWN,
    bound_names,
    custom_names,
    suspicion,
)

CARRY_LIMIT: Final = 65_536
"""A message that is only partly there is held back up to this size; a longer one is streamed."""
PARSE_LIMIT: Final = 16 * 1024 * 1024
"""A named Parse has to be whole before its statement can be shared; this is the longest one."""
PREPARED_BYTES_MAX: Final = 64 * 1024 * 1024
"""Texts of the named statements of one client, together."""
NAMES_BYTES: Final = 5 + 2 * 64
"""A Bind that is streamed has to show this much of itself first: header, portal and statement name."""
DETACHED, WAITING, ATTACHED, CLOSED = 0, 1, 2, 3
REPLIES: Final[dict[int, int]] = {
    framing.BIND: owed.BOUND,
    framing.DESCRIBE: owed.DESCRIBED,
    framing.CLOSE: owed.CLOSED,
}
STRANGE: Final = b"not_"
"""Before a name by which a client would get at somebody else's statement: the proxy's names, or none."""
DEALLOCATE: Final = re.compile(
    rb"\s*deallocate\s+(?:prepare\s+)?(?:([a-z_][\w$]*)|\"([^\"]+)\")\s*;?\s*", re.IGNORECASE
)
DEALLOCATED: Final = HEADER.pack(framing.COMMAND_COMPLETE, 15) + b"DEALLOCATE\0"
NOTHING: Final = b""
"""In place of an unnamed Parse: the statement was closed."""
STALLED: Final = -2
UNNAMED: Final = frozenset({owed.UNNAMED, owed.UNNAMED_UNSEEN, owed.UNNAMED_CLOSED})
UNNAMED_CHANGED: Final = frozenset({owed.UNNAMED, owed.UNNAMED_CLOSED})
NAMING: Final = frozenset({framing.PARSE, framing.BIND, framing.DESCRIBE, framing.CLOSE})
STATEMENT: Final = ord("S")


class Speech(Sink):
    """A client as far as it speaks; ``client.Client`` is the whole of it.

    Args:
        transport: an asyncio transport.
        worker: the worker that owns it: pools, statement cache, counters, errands.
        pool: where its servers come from.
        ledger: its session state.
    """

    __slots__ = (
        "_carry",
        "_deaf",
        "_drop",
        "_held",
        "_parsed_here",
        "_skip",
        "address",
        "began_at",
        "clogged",
        "connected_at",
        "key",
        "ledger",
        "parameters",
        "pid",
        "pool",
        "prepared_bytes",
        "rename",
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

    def __init__(self, transport: Any, worker: Any, pool: Any, ledger: Any) -> None:  # noqa: ANN401
        self.transport: Any = transport
        self.worker: Any = worker
        self.pool: Any = pool
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
        self.user: str = ""
        """Its name here, which need not be the one on the server."""
        self.clogged: bool = False
        """It reads slower than it is written to."""
        self.connected_at: float = 0.0
        self.began_at: float = 0.0
        self.seen_at: float = 0.0
        self.waiting_since: float = 0.0
        self._carry: bytes = b""
        self.unnamed: bytes | None = None
        """The last unnamed Parse: the server on which it is bound may be another one."""
        self._held: bytes = b""
        self._skip: int = 0
        self._deaf: bool = False
        self._drop: int = 0
        """So many bytes belong to a message that no server gets."""
        self._parsed_here: bool = False
        """Since the last Sync there was an unnamed Parse."""

    def undone(self, note: Note, *, failed: bool) -> None:
        """A Parse or Close came to nothing: names stand for what they stood for before."""
        statements = self.statements
        if note.owed in UNNAMED_CHANGED and self.unnamed is note.new:
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
        self.statements = None
        self.prepared_bytes = 0

    @property
    def mid_message(self) -> bool:
        """Whether the server has got only the beginning of a message."""
        return self._skip > 0

    @abstractmethod
    def fail(self, sqlstate: str, message: str, detail: str, hint: str = "") -> None:
        """Tell the client why and close its connection."""

    @abstractmethod
    def proceed(self) -> None:
        """Say what was held back."""

    def _converse(self, server: Server, data: bytes) -> None:  # noqa: C901, PLR0912 -- a hot loop
        """Walk through a chunk of any messages; enter what they will cause, rename statements, send."""
        if self._carry:
            data = self._carry + data
            self._carry = b""
        end = len(data)
        position = self._skip
        start = 0
        out: list[bytes] = []
        if not server.pending:
            server.since = monotonic()
        while position + HEADER_BYTES <= end:
            kind, length = HEADER.unpack_from(data, position)
            after: int = position + 1 + length
            if kind == framing.COPY_DATA and 4 <= length <= LONG_BYTES:
                position = after
                continue
            if length < 4 or length > LONGEST.get(kind, 0):
                self._send(server, out, data[start:position])
                self._leave(kind, length)
                return
            if (server.skipping or server.copying) and self._unheeded(server, kind):
                position = after
                continue
            if after > end and not self._may_stream(kind, length, data, position):
                break
            if self.rename and kind in NAMING:
                changed, until = self._named(server, kind, data, position, min(after, end))
                if until == STALLED:
                    self._stall(server, out, data, start, position)
                    return
                if until < 0:
                    return
                if until > position:
                    out.append(data[start:position])
                    out.append(changed)
                    start = until
            else:
                self._enter(server, kind, data, position, after)
            position = after
        if self.state == CLOSED:
            return
        if position < end:
            self._carry = data[position:]
            end = position
            self._skip = 0
        else:
            self._skip = position - end
        self._send(server, out, data[start:end] if start or end != len(data) else data)
        if server.free and not self._carry:
            # Nothing was owed for it (a lone Flush, the rest of a failed copy): nothing will settle it.
            self._rest(server)

    def _unheeded(self, server: Server, kind: int) -> bool:
        """Whether a message will have no reply of its own: it goes to the server as it is."""
        if server.copying:
            if kind in IN_COPY:
                return False
            server.copying = False  # whatever else comes ends the copy with an error, and is lost with it
            return True
        server.skipping = kind != framing.SYNC
        return server.skipping

    def _suspect(self, server: Server, flags: int, sql: bytes) -> None:
        """Remember what may change, and make way for what can't wait."""
        server.suspect |= flags
        if flags & (SETTINGS | UNKNOWN):
            self.ledger.note(custom_names(sql))
        if flags & DDL_DATABASE:
            self.worker.database_ddl()

    def _answered(self, server: Server, flags: int, sql: bytes) -> bool:
        """Answer a suspicious Query that no server could: DEALLOCATE of a name that is shared there."""
        self._suspect(server, flags, sql)
        found = DEALLOCATE.fullmatch(sql) if flags & RESET and self.statements else None
        if found is None or server.pending or server.status == framing.IN_FAILED_TRANSACTION:
            return False
        name = found.group(2) if found.group(2) is not None else found.group(1).lower()
        if self.statements is None or name not in self.statements:
            return False
        self.prepared_bytes -= len(self.statements.pop(name).tail)
        self.deliver(DEALLOCATED + HEADER.pack(framing.READY, 5) + bytes([server.status]))
        self._rest(server)
        return True

    def _rest(self, server: Server) -> None:
        if not self.stay and not self._skip and self.server is server and self.state == ATTACHED:
            self.settled(server)

    def _send(self, server: Server, out: list[bytes], rest: bytes) -> None:
        if out:
            out.append(rest)
            rest = b"".join(out)
        if rest:
            server.send(rest)

    def _may_stream(self, kind: int, length: int, data: bytes, position: int) -> bool:
        """Whether a message that is not whole may go on as far as it came."""
        if kind == framing.COPY_DATA:
            return True
        if kind == framing.PARSE and self.rename and length > PARSE_LIMIT:
            self.fail("54000", f"statement of {length} bytes is too long to be shared", "")
            return False
        if length <= CARRY_LIMIT or len(data) - position < NAMES_BYTES:
            return False
        return kind != framing.PARSE or not self.rename or data[position + HEADER_BYTES] == 0

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
            statement = self.statements.pop(name)
            self.prepared_bytes -= len(statement.tail)
            server.already(Note(owed.CLOSED_ALREADY, statement, name))
            return b"", last + 1
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
        inject = b""
        foreign = name.startswith(PREFIX)
        if not name:
            inject = self._bring_unnamed(server)
            foreign = server.unnamed is not self.unnamed or not self.unnamed
        elif statement is not None:
            if statement.name not in server.statements:
                inject = server.prepare(statement, owed.PARSED_UNSEEN, name)
            if kind == framing.BIND and statement.suspicion:
                self._suspect(server, statement.suspicion, statement.tail)
        if kind == framing.BIND and server.suspect & BOUND_NAME:
            self.ledger.note(bound_names(data[position + HEADER_BYTES :]))
        server.pending.append(REPLIES[kind])
        if statement is None and foreign:
            return self._strange(data, at)
        if statement is None:
            return (inject, position) if not inject else (inject + data[position:last], last)
        length = HEADER.unpack_from(data, position)[1] + len(statement.name) - len(name)
        return inject + HEADER.pack(kind, length) + data[
            position + HEADER_BYTES : first
        ] + statement.name, last

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
        self.prepared_bytes += len(tail)
        if self.prepared_bytes > PREPARED_BYTES_MAX:
            self.fail(
                "53400", "prepared statements are too long together", "", "Close those that are not used."
            )
            return b"", -1
        statement: Statement = self.worker.statements.get(tail)
        self.statements[name] = statement
        if statement.name in server.statements:
            server.already(Note(owed.PARSED_ALREADY, statement, name))
            return b"", after
        return server.prepare(statement, owed.PARSED, name), after

    def _uncertain(self, server: Server, name: bytes) -> bool:
        """Whether what a name stands for hangs on an answer that isn't there yet."""
        pending = server.pending
        if server.suspect & RESET and (owed.SIMPLE in pending or owed.SYNCED in pending):
            return True  # it may be DEALLOCATE ALL
        if owed.SYNCED not in pending or (not name and self._parsed_here):
            return False
        return any((note.owed in UNNAMED) is not bool(name) for note in server.notes)

    def _stall(self, server: Server, out: list[bytes], data: bytes, start: int, position: int) -> None:
        """Send what comes before ``position`` and keep the rest until the Sync is answered."""
        self._skip = 0
        self._held = data[position:]
        self.state = WAITING
        server.stalled = True
        self._send(server, out, data[start:position])

    def resume(self) -> None:
        """The Sync is answered: go on."""
        self.proceed()

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

    def _enter(self, server: Server, kind: int, data: bytes, position: int, after: int) -> None:
        """Enter the reply that a message will cause, for messages that go on as they are."""
        pending = server.pending
        if kind == framing.SYNC:
            if not server.copying:
                pending.append(owed.SYNCED)
                server.unsynced = self._parsed_here = False
        elif kind == framing.EXECUTE:
            pending.append(owed.EXECUTED)
            server.unsynced = True
            self.pool.queries += 1
        elif kind == framing.QUERY:
            pending.append(owed.SIMPLE)
            server.unsynced = self._parsed_here = False
            self.unnamed = server.unnamed = None
            self.pool.queries += 1
            sql = data[position + HEADER_BYTES : after - 1]
            flags = suspicion(sql) if after <= len(data) else UNKNOWN
            if flags:
                self._suspect(server, flags, sql)
        elif kind == framing.BIND:
            pending.append(owed.BOUND)
            server.unsynced = True
        elif kind == framing.DESCRIBE:
            pending.append(owed.DESCRIBED)
            server.unsynced = True
        elif kind == framing.PARSE:
            pending.append(owed.PLAIN_PARSED)
            server.unsynced = True
        elif kind == framing.CLOSE:
            pending.append(owed.CLOSED)
            server.unsynced = True
        elif kind == framing.FUNCTION_CALL:
            pending.append(owed.SIMPLE)
            server.suspect |= UNKNOWN
        elif kind == framing.COPY_DONE or kind == framing.COPY_FAIL:  # noqa: PLR1714
            server.copy_ended()

    def _leave(self, kind: int, length: int) -> None:
        """Terminate, or something that is no message."""
        if kind == framing.TERMINATE:
            self.transport.close()
        elif kind not in LONGEST:
            self.fail("08P01", f"invalid frontend message type {kind}", "")
        else:
            self.fail("08P01", f"invalid length {length} of frontend message type {chr(kind)!r}", "")
