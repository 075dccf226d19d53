"""What a client says: walk through its messages, enter what they will cause, send.

Every message is entered into ``Server.pending`` by the reply it will cause; what names a statement goes
through ``naming`` first.

Source: PostgreSQL documentation, chapter "Message Flow", sections "Extended Query" and "COPY Operations".
"""

from __future__ import annotations

from abc import abstractmethod
from time import monotonic
from typing import Any, Final

from seawall.proxy import owed
from seawall.proxy.home import Home
from seawall.proxy.naming import ATTACHED, CARRY_LIMIT, CLOSED, NAMING, STALLED, STATEMENT, WAITING, Naming
from seawall.proxy.owed import BOUND, DESCRIBED, EXECUTED, SYNCED
from seawall.proxy.server import Server
from seawall.proxy.statements import COMMIT_BYTES, COMMITS, commits, deallocated, effect, parse_glance
from seawall.proxy.worth import CROWDED, TRACE, Worth
from seawall.wire.pgwire import framing
from seawall.wire.pgwire.classify import COMMIT_TEXTS
from seawall.wire.pgwire.exchange import (
    BATCH,
    DESCRIBED_BATCH,
    EXECUTED_BATCH,
    PLAIN_BATCH,
    REST_BYTES,
    REST_OF_BATCH,
)
from seawall.wire.pgwire.framing import (
    BIND,
    DESCRIBE,
    EXECUTE,
    HEADER,
    HEADER_BYTES,
    IDLE,
    IN_COPY,
    LONG_BYTES,
    LONGEST,
    SHORT_BYTES,
    SYNC,
)
from seawall.wire.pgwire.glance import glance
from seawall.wire.pgwire.scan import RESET, UNKNOWN

CLOCK: Final = monotonic
PARSE_LIMIT: Final = 16 * 1024 * 1024
"""A named Parse has to be whole before its statement can be shared; this is the longest one."""
NAMES_BYTES: Final = 5 + 2 * 64
"""A Bind that is streamed has to show this much of itself first: header, portal and statement name."""
DEALLOCATED: Final = HEADER.pack(framing.COMMAND_COMPLETE, 15) + b"DEALLOCATE\0"
ASKED_AHEAD: Final = frozenset({framing.QUERY, SYNC})
TEXTS: Final = frozenset({framing.PARSE, framing.QUERY})
USUAL: Final = frozenset({BIND, DESCRIBE, EXECUTE, SYNC})
REST_OWED: Final = (DESCRIBED, EXECUTED, SYNCED)


class Speech(Naming):
    """A client as far as it speaks; ``client.Client`` is the whole of it.

    Attributes:
        worth: why what it says is worth remembering; nothing if it is not.
        plain_traced: a comment in ``plain`` has a trace's context.
    """

    __slots__ = ("plain_traced", "worth")

    def __init__(self, transport: Any, worker: Any, pool: Home, ledger: Any) -> None:  # noqa: ANN401
        super().__init__(transport, worker, pool, ledger)
        self.worth: Worth | None = None
        self.plain_traced: bool = False

    @abstractmethod
    def proceed(self) -> None:
        """Say what was held back."""

    def _converse(self, server: Server, data: bytes) -> None:  # noqa: C901, PLR0912, PLR0915 -- a hot loop
        """Walk through a chunk of any messages; enter what they will cause, rename statements, send."""
        if self._carry:
            data = self._whole(data)
            if not data:
                return
        start, end = 0, len(data)
        position = self._skip
        out: list[bytes] = []
        if not server.pending:
            server.since = CLOCK()
        usual = not (server.skipping or server.copying)
        kind: int  # of what comes out of HEADER nothing is known otherwise, and nothing is fast
        length: int
        while position + HEADER_BYTES <= end:
            kind, length = HEADER.unpack_from(data, position)
            after: int = position + 1 + length
            if usual and kind in USUAL and after <= end:
                taken = self._usual(server, kind, length, data, position)
                if taken:
                    position += taken
                    continue
            if kind == framing.COPY_DATA and 4 <= length <= LONG_BYTES:
                position = after
                continue
            if kind in TEXTS and data.find(TRACE, position, after) >= 0:
                self.worth = Worth(traced=True, said=data)
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
                if until < 0:
                    if until == STALLED:
                        self._stall(server, out, data, start, position)
                    return
                if until > position:
                    out.append(data[start:position])
                    out.append(changed)
                    start = until
            else:
                if self.journal is not None and self.journal.resolves and kind in ASKED_AHEAD:
                    ahead = self._ahead_of(server, kind, data, position, after)
                    if ahead:
                        out.append(data[start:position])
                        out.append(ahead)
                        start = position
                self._enter(server, kind, data, position, after)
            position = after
        if self.state != CLOSED:
            self._said(server, out, data, start, position)

    def _whole(self, data: bytes) -> bytes:
        """What was kept of a message, with what has come now; nothing if more of it is lacking."""
        if self._lacking > len(data):
            self._more += data
            self._lacking -= len(data)
            return b""
        data = self.carried() + data
        self.carry(b"")
        return data

    def _batched(self, server: Server, data: bytes, end: int) -> bool:
        """Say a whole batch of the unnamed statement in one go; whether that was possible.

        Args:
            server: owes nothing.
            data: the batch.
            end: where its Parse ends.
        """
        new = data[:end]
        if self.rename:
            if end > CARRY_LIMIT or server.suspect or self._changed:
                return False
            if new != self.plain:
                look = parse_glance(new[HEADER_BYTES + 1 :])
                if look > 0:
                    return False
                self.plain = new
                self.plain_proven = look < 0
                self.plain_effect = effect(new[HEADER_BYTES + 1 :][:COMMIT_BYTES])
                self.plain_traced = TRACE in new
            self._effect = self.plain_effect
            if self.plain_proven and self.journal is not None:
                self.journal.proven += 1
            server.before = (self.unnamed, server.unnamed, new)
            self.unnamed = server.unnamed = new
            if self.plain_effect and self._asks(server, self.plain_effect):
                data = self._asking(server, data, BATCH, self.plain_effect, new[HEADER_BYTES + 1 :])
            else:
                server.whole = BATCH
        else:
            server.whole = PLAIN_BATCH
            if new != self.plain:
                self.plain = new
                self.plain_traced = TRACE in new
        self._parsed_here = False
        self.pool.queries += 1
        if self.plain_traced:
            self.traced(server, b"", new)
        if self.stay or server.status != IDLE:
            server.since = CLOCK()
        server.send(data)
        return True

    def traced(self, server: Server, text: bytes, said: bytes) -> None:
        """A comment in what is about to be said has a trace's context.

        Args:
            server: that it will be said to; since when it has waited is still known.
            text: the text, if it is not said.
            said: what has the text, if it is.
        """
        if not self.worker.watch.roomy:
            self.worth = CROWDED
            return
        waits = server.status != IDLE and not (server.whole or server.entered)
        idle_s = CLOCK() - server.since if waits else 0.0
        self.worth = Worth(traced=True, text=text, said=said, idle_s=idle_s)

    def _bound(self, server: Server, data: bytes, end: int) -> bool:
        """Say a whole batch of a named statement in one go; whether that was possible.

        Args:
            server: owes nothing.
            data: the batch.
            end: where its Bind ends.
        """
        what = DESCRIBED_BATCH if len(data) - end == REST_BYTES else EXECUTED_BATCH
        if self.rename:
            if server.suspect or self._changed or self.statements is None:
                return False
            first = HEADER_BYTES + 1
            last = data.find(b"\0", first, end)
            statement = self.statements.get(data[first:last]) if last > first else None
            if statement is None or statement.suspicion:
                return False
            name = statement.name
            if statement.traced:
                self.traced(server, statement.tail, b"")
            if name not in server.statements:
                return False
            if statement.proven and self.journal is not None:
                self.journal.proven += 1
            asks = statement.effect and self._asks(server, statement.effect)
            if asks and self.worker.sampling.sample.name not in server.statements:
                return False  # to make room for our question, this very statement may be closed
            data = HEADER.pack(BIND, end - 1 + len(name) - (last - first)) + b"\0" + name + data[last:]
            if asks:
                data = self._asking(server, data, what, statement.effect, statement.tail)
            else:
                server.whole = what
        else:
            server.whole = what
        self.pool.queries += 1
        if self.stay or server.status != IDLE:
            server.since = CLOCK()
        server.send(data)
        return True

    def _asks(self, server: Server, what: int) -> bool:
        """Whether something may have to be asked ahead of a COMMIT, or behind a first change."""
        journal = self.journal
        if journal is None or not journal.resolves:
            return False
        if what == COMMITS:
            return not (journal.numbered or journal.changes_nothing)
        return not journal.sampled_at and server.status == framing.IN_TRANSACTION

    def _asking(self, server: Server, data: bytes, what: int, effect_: int, tail: bytes) -> bytes:
        """Enter a batch that is said in one go, and our question if one is asked; what to send for it.

        Args:
            server: owes nothing.
            data: the batch.
            what: of which sort, as in ``exchange``.
            effect_: what its statement does, as ``statements.effect``.
            tail: its text, and what follows in its Parse.
        """
        sampling = self.worker.sampling
        if effect_ == COMMITS:
            if sampling.samples(self, server, tail[: tail.find(b"\0")]):
                data = server.ask_extended(sampling.sample, CLOCK()) + data
                server.enter(what)
            else:
                server.whole = what
        elif sampling.samples_changes(self):
            server.enter(what)
            server.entered.pop()
            question = server.ask_extended(sampling.sample, CLOCK(), early=True)
            data = b"".join((data[:-HEADER_BYTES], question, data[-HEADER_BYTES:]))
            server.entered.append(SYNCED)
        else:
            server.whole = what
        return data

    def _said(self, server: Server, out: list[bytes], data: bytes, start: int, position: int) -> None:
        """A whole chunk was looked at: send it, keep the beginning of a message that has to be whole."""
        end = len(data)
        if position < end:
            rest = data[position:]
            # From here on _may_stream would say no more than it did: this one is kept until it is whole.
            whole = HEADER.unpack_from(rest, 0)[1] + 1 if len(rest) >= NAMES_BYTES else 0
            self.carry(rest, max(whole - len(rest), 0))
            end = position
            self._skip = 0
        else:
            self._skip = position - end
        self._send(server, out, data[start:end] if start or end != len(data) else data)
        if not (server.pending or server.unsynced or self._carry) and server.free:
            # Nothing was owed for it (a lone Flush, the rest of a failed copy): nothing will settle it.
            self._rest(server)

    def _usual(self, server: Server, kind: int, length: int, data: bytes, position: int) -> int:
        """Enter what nearly every batch consists of, as ``_enter`` would; how many bytes it is, or 0."""
        if kind == SYNC:
            if length != 4 or self._changed:
                return 0
            server.pending.append(SYNCED)
            server.unsynced = self._parsed_here = False
            return HEADER_BYTES
        if not 6 <= length <= SHORT_BYTES:
            return 0
        if kind == BIND:
            if self.rename and not (
                data[position + 5] == 0
                and data[position + 6] == 0
                and self._parsed_here
                and not (server.suspect or self._effect)
                and self.unnamed is server.unnamed
                and self.unnamed
            ):
                return 0
            server.pending.append(BOUND)
            self._frees = False
        elif kind == EXECUTE:
            self.executed(server, data, position)
            self.pool.queries += 1
        elif data[position + 5] == STATEMENT:
            return 0
        elif not (self._changed or self._frees) and data.startswith(REST_OF_BATCH, position):
            server.pending.extend(REST_OWED)
            server.unsynced = self._parsed_here = False
            self.pool.queries += 1
            return REST_BYTES
        else:
            server.pending.append(DESCRIBED)
        server.unsynced = True
        return length + 1

    def _unheeded(self, server: Server, kind: int) -> bool:
        """Whether a message will have no reply of its own: it goes to the server as it is."""
        if server.copying:
            if kind in IN_COPY:
                return False
            server.copying = False  # whatever else comes ends the copy with an error, and is lost with it
            return True
        server.skipping = kind != framing.SYNC
        return server.skipping

    def _answered(self, server: Server, flags: int, sql: bytes) -> bool:
        """Answer a suspicious Query that no server could: DEALLOCATE of a name that is shared there."""
        self._suspect(server, flags, sql)
        name = deallocated(sql) if flags & RESET and self.statements else b""
        if not name or server.pending or server.status == framing.IN_FAILED_TRANSACTION:
            return False
        if self.statements is None or name not in self.statements:
            return False
        if self.journal is not None:
            self.journal.remember(self.statements, self.prepared_bytes)
        self.prepared_bytes -= len(self.statements.pop(name).tail)
        server.sink.deliver(DEALLOCATED + HEADER.pack(framing.READY, 5) + bytes([server.status]))
        self._rest(server)
        return True

    def _ahead_of(self, server: Server, kind: int, data: bytes, position: int, after: int) -> bytes:
        if kind == framing.QUERY:
            first = position + HEADER_BYTES
            return self._ahead(server, data[first : max(after - 1, first)])
        return self._sample_change(server) if self._changed else b""

    def _ahead(self, server: Server, sql: bytes) -> bytes:
        """If a Query is a COMMIT, what to ask ahead of it so that its outcome can be found out."""
        if (sql in COMMIT_TEXTS or commits(sql[:COMMIT_BYTES])) and self.worker.sampling.samples(
            self, server, sql
        ):
            return server.ask_simple(CLOCK())
        return b""

    def _sample_change(self, server: Server) -> bytes:
        """What to send behind the first change of a transaction, ahead of its Sync."""
        self._changed = False
        journal = self.journal
        if (
            journal is None
            or journal.sampled_at
            or server.status != framing.IN_TRANSACTION
            or server.skipping
        ):
            return b""
        if not self.worker.sampling.samples_changes(self):
            return b""
        return server.ask_extended(self.worker.sampling.sample, CLOCK(), early=True)

    def resay(self, server: Server, data: bytes) -> None:
        """Say once more, on another server, what was said in a transaction; its sink gets the answers."""
        if self.journal is not None:
            self.journal.say(data)
        server.since = CLOCK()
        if data[0] == framing.QUERY and HEADER_BYTES < len(data) == HEADER.unpack_from(data, 0)[1] + 1:
            suspect = max(glance(data[HEADER_BYTES:-1]), 0)
            if suspect and self._answered(server, suspect, data[HEADER_BYTES:-1]):
                return
        self._converse(server, data)

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

    def _stall(self, server: Server, out: list[bytes], data: bytes, start: int, position: int) -> None:
        """Send what comes before ``position`` and keep the rest until the Sync is answered."""
        self._skip = 0
        self._held = data[position:]
        if self.journal is not None:
            self.journal.unsay(len(self._held))
        self.state = WAITING
        server.stalled = True
        self._send(server, out, data[start:position])

    def resume(self) -> None:
        """The Sync is answered: go on."""
        self.proceed()

    def _enter(self, server: Server, kind: int, data: bytes, position: int, after: int) -> None:
        """Enter the reply that a message will cause, for messages that go on as they are."""
        pending = server.pending
        if kind == framing.SYNC:
            if not server.copying:
                pending.append(owed.SYNCED)
                server.unsynced = self._parsed_here = False
        elif kind == framing.EXECUTE:
            self.executed(server, data, position)
            server.unsynced = True
            self.pool.queries += 1
        elif kind == framing.QUERY:
            pending.append(owed.SIMPLE)
            server.unsynced = self._parsed_here = False
            self.unnamed = server.unnamed = None
            self.pool.queries += 1
            sql = data[position + HEADER_BYTES : max(after - 1, position + HEADER_BYTES)]
            flags = max(glance(sql), 0) if after <= len(data) else UNKNOWN
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
            self.buffered = True
            self.transport.close()
        elif kind not in LONGEST:
            self.fail("08P01", f"invalid frontend message type {kind}", "")
        else:
            self.fail("08P01", f"invalid length {length} of frontend message type {chr(kind)!r}", "")
