"""What one server still owes, in order, and what is taken back when it doesn't come.

Whoever sends a message to the server enters the reply it will cause into ``pending``, in
order. The server's replies take entries off. The connection is free when nothing is pending, nothing was
sent since the last Sync, and the last ReadyForQuery said "idle". Counting only ReadyForQuery would do for
that; the entries in between are needed because prepared statements are shared: a Parse for a statement the
server already has is not sent, and its ParseComplete has to appear in the client's stream exactly where the
server would have put it; a Parse that the proxy adds must not be seen.

*Errors.* In the extended protocol an ErrorResponse makes the server discard everything up to the next Sync,
so all entries up to that Sync go too, along with what they promised (statements that were not prepared after
all).

*COPY.* While copying in, the server ignores Sync, whether sent before or after it said so. ``COPY_END``
entries mark CopyDone and CopyFail among what was sent ahead, so that exactly the Syncs before it are
forgotten. Any other message ends the copy with an error. One that the proxy would answer itself is not left
out where it may do that: a Close of nothing stands in for it.

Source: PostgreSQL documentation, chapter "Message Flow"; ``PostgresMain`` for what is ignored while copying.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from seawall.proxy.owed import (
    CLOSE_COMPLETE_MESSAGE,
    CLOSE_NOTHING,
    CLOSED,
    CLOSED_INSTEAD,
    CLOSED_UNSEEN,
    COPY_END,
    ENTRIES,
    EXECUTED,
    FREED,
    HIDDEN,
    NOTED,
    PARSE_COMPLETE_MESSAGE,
    PARSED,
    PARSED_ALREADY,
    PARSED_INSTEAD,
    PARSED_UNSEEN,
    PLAIN_PARSED,
    SAMPLE_BATCH,
    SAMPLE_BATCH_TAIL,
    SAMPLE_BOUND,
    SAMPLE_CLOSED,
    SAMPLE_COLUMNS,
    SAMPLE_ENDS,
    SAMPLE_EXECUTED,
    SAMPLE_FLUSHED,
    SAMPLE_QUERY,
    SAMPLE_TAIL,
    SAMPLED,
    SHORT_ROW,
    SIMPLE,
    SYNCED,
    UNNAMED,
    UNNAMED_CLOSED,
    UNNAMED_UNSEEN,
    UNSEEN,
    Note,
    skips_query,
)
from seawall.proxy.replay.journal import Journal
from seawall.proxy.sink import Sink, descriptor
from seawall.proxy.statements import Statement
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.exchange import BATCH
from seawall.wire.pgwire.framing import HEADER, HEADER_BYTES, PARSE_COMPLETE, READY
from seawall.wire.pgwire.messages import ProtocolViolation
from seawall.wire.pgwire.scan import tag_suspicion

MADE_UP_FROM: Final = PARSED_ALREADY
CRASHED: Final = b"\0C57P02\0"
OPEN: Final = 0
BROKEN: Final = 1


class Owing:
    """A server connection without its socket's side; ``server.Server`` is the whole of it.

    Args:
        transport: an asyncio transport.
        sink: who gets what it says.
        max_statements: named statements kept on it.

    Attributes:
        buffered: its transport may hold back what has to go first.
        entered: what is owed, but for ``whole``; read it by ``pending``.
        whole: what was said in one go and is all that is owed, as in ``exchange``; 0 for nothing.
        before: of a batch said so, the client's and the server's unnamed Parse before, and its own.
    """

    __slots__ = (
        "_carry",
        "_ready",
        "_skip",
        "applied",
        "astray",
        "backend",
        "before",
        "born_at",
        "buffered",
        "cancels",
        "copying",
        "discarded",
        "dying",
        "entered",
        "fd",
        "journal",
        "key",
        "last_error",
        "max_statements",
        "notes",
        "overtime",
        "parameters",
        "paused",
        "pid",
        "pool",
        "retries",
        "sampling",
        "since",
        "sink",
        "skipping",
        "stalled",
        "state",
        "statements",
        "status",
        "suppressed",
        "suspect",
        "tap",
        "transport",
        "unexecuted",
        "unnamed",
        "unsynced",
        "used_at",
        "whole",
    )

    def __init__(self, transport: Any, sink: Sink, max_statements: int) -> None:  # noqa: ANN401, PLR0915
        self.transport: Any = transport
        self.fd: int = descriptor(transport)
        self.sink: Sink = sink
        self.max_statements: int = max_statements
        self.buffered: bool = True
        self.entered: deque[int] = deque()
        self.whole: int = 0
        self.before: tuple[bytes | None, bytes | None, bytes | None] = (None, None, None)
        self.notes: deque[Note] = deque()
        self.statements: dict[bytes, bool] = {}
        self.unnamed: bytes | None = None
        """The unnamed Parse it holds, by identity."""
        self.status: int = framing.IDLE
        self.unsynced: bool = False
        self.stalled: bool = False
        """The client waits for a Sync's answer before it says more."""
        self.skipping: bool = False
        """An error was told, and no Sync was sent since: whatever else is said, the server skips."""
        self.suspect: int = 0
        self.discarded: bool = False
        """DISCARD ALL passed."""
        self.state: int = OPEN
        self.paused: bool = False
        self.applied: Any = None
        self.parameters: Any = None
        self.pool: Any = None
        self.backend: Any = None
        self.tap: Any = None
        self.pid: int = 0
        self.key: bytes = b""
        self.born_at: float = 0.0
        self.used_at: float = 0.0
        self.since: float = 0.0
        self.retries: int = 0
        """Errands that were cancelled since it was last in the pool."""
        self.cancels: int = 0
        self.overtime: bool = False
        """A cancel was sent because the query took too long."""
        self.last_error: bytes = b""
        self._carry: bytes = b""
        self._skip: int = 0
        self._ready: bool = False
        """The chunk that is being read had a ReadyForQuery."""
        self.copying: bool = False
        """It reads copy data, and ignores Sync and Flush."""
        self.journal: Journal | None = None
        """What its present client says and sees, if that may have to be said again."""
        self.sampling: int = 0
        """So many replies to questions of ours are owed."""
        self.astray: bool = False
        """It has said what makes no sense, and was cut; what it owed isn't known any more."""
        self.unexecuted: bool = False
        """It has refused what was said because it is in recovery, and is not used any more."""
        self.suppressed: bool = False
        """The beginning of its last answer was not passed on."""
        self.dying: bool = False
        """It has said why it ends the connection (``last_error``); nobody has been told."""

    @property
    def pending(self) -> deque[int]:
        """What is owed, in order."""
        if self.whole:
            self.enter(self.whole)
            self.whole = 0
        return self.entered

    def enter(self, what: int) -> None:
        """Enter what was said in one go, message by message."""
        if what == BATCH:
            self.notes.append(Note(UNNAMED, None, b"", self.before[0], self.before[1], self.before[2]))
        self.entered.extend(ENTRIES[what])

    def already(self, note: Note) -> bytes:
        """Promise the client a reply to what is not sent, or make it up if nothing is before it.

        Returns what to send in its place, if anything.
        """
        if self._may_copy():
            self.pending.append(PARSED_INSTEAD if note.owed == PARSED_ALREADY else CLOSED_INSTEAD)
            self.notes.append(note)
            return CLOSE_NOTHING
        if self.pending or self._skip:
            self.pending.append(note.owed)
            self.notes.append(note)
        else:
            self.sink.deliver(
                PARSE_COMPLETE_MESSAGE if note.owed == PARSED_ALREADY else CLOSE_COMPLETE_MESSAGE
            )
        return b""

    def _may_copy(self) -> bool:
        """Whether the next message may find the server copying: it ends that, so it can't be left out."""
        for owed in reversed(self.pending):
            if owed != SYNCED:  # which is ignored while copying
                return owed in (EXECUTED, SIMPLE)
        return False

    def noted(self, note: Note) -> None:
        """Enter what was sent and may have to be taken back."""
        self.pending.append(note.owed)
        self.notes.append(note)

    def prepare(self, statement: Statement, owed: int, name: bytes) -> bytes:
        """Return what to send so that the server has this statement, and enter it.

        Args:
            statement: which.
            owed: ``PARSED`` if the client asked for it, ``PARSED_UNSEEN`` if it did not.
            name: the client's name for it.
        """
        statements = self.statements
        out = b""
        if statements and len(statements) >= self.max_statements:
            oldest = next(iter(statements))
            del statements[oldest]
            out = HEADER.pack(framing.CLOSE, len(oldest) + 6) + b"S" + oldest + b"\0"
            self.noted(Note(CLOSED_UNSEEN, None, oldest))
        statements[statement.name] = True
        self.noted(Note(owed, statement, name))
        return out + statement.parse

    def forget(self, names: dict[bytes, Statement] | None, left: dict[bytes, bool]) -> None:
        """Enter the Execute of what forgets named statements: from here on these are left."""
        self.noted(Note(FREED, None, b"", names=(names, self.statements)))
        self.statements = left

    def copy_ended(self) -> None:
        """The client sent CopyDone or CopyFail."""
        if self.copying:
            self.copying = False
        elif self.pending:
            self.pending.append(COPY_END)

    @property
    def mid_message(self) -> bool:
        """Whether a message of the server's was passed on only in part."""
        return self._skip > 0

    @property
    def busy(self) -> bool:
        """Whether something is owed or only partly said."""
        return bool(self.pending) or self.unsynced or self.copying or self._skip > 0

    @property
    def free(self) -> bool:
        """Whether nothing is owed and no transaction is open."""
        return not self.pending and not self.unsynced and self.status == framing.IDLE and not self._skip

    def _replied(self, kind: int, data: bytes, position: int, after: int) -> bool:
        """Take off what a less frequent message answers; true if the client must not see it."""
        if kind == READY:
            if position + 6 != after or not self.pending or self.pending[0] > SYNCED:
                raise ProtocolViolation
            self.status = data[position + 5]
            self.copying = False
            self._ready = True
            self.pending.popleft()
            return False
        if kind == PARSE_COMPLETE:
            return self._prepared()
        if kind == framing.CLOSE_COMPLETE:
            return self._closed(self.pending[0])
        body = data[position + HEADER_BYTES : after]
        if kind == framing.ERROR:
            recovering = self._recovering(body)
            ends = b"\0VFATAL\0" in body or b"\0VPANIC\0" in body
            if ends or recovering or (self.sampling and skips_query(self.pending)):
                self.last_error = body
                self.dying = True
                self.unexecuted = self.unexecuted or recovering
                return True
            if self.sampling and self.pending and self.pending[0] == SAMPLED:
                return True  # our own question failed: the COMMIT behind it will be answered by ROLLBACK
        if kind == framing.NOTICE and CRASHED in body:
            return True  # the warning of a server whose other process crashed; its end is what counts
        self._rare(kind, body)
        return False

    def _recovering(self, body: bytes) -> bool:
        """Whether an error says that this is a replica, to a client that has been told nothing yet."""
        if b"\0C25006\0" not in body and not (b"\0C0A000\0" in body and b"recovery" in body):
            return False
        standby = self.parameters is not None and self.parameters.get("in_hot_standby") == "on"
        return standby and self.journal is not None and not self.journal.told

    def _swallowed(self, kind: int, data: bytes, position: int, after: int) -> int:
        """Take off what answers our own question; where it ends, or 0 if not all of it is here."""
        whole = self._swallow_whole(data, position)
        if whole or after > len(data):
            return position + whole if whole else 0
        self._swallow(kind, data[position + HEADER_BYTES : after])
        return after

    def _swallow(self, kind: int, body: bytes) -> None:
        """Take off one message that answers our own question."""
        pending = self.pending
        if kind == framing.DATA_ROW:
            if self.journal is not None:
                self.journal.sample = body
        elif pending[0] == SAMPLED and kind == READY:
            self.status = body[0]
            pending.popleft()
            self.sampling -= 1
        elif SAMPLE_ENDS.get(kind) == pending[0]:
            pending.popleft()
            self.sampling -= 1

    def _swallow_whole(self, data: bytes, position: int) -> int:
        """Take off the whole answer to our question at once, if it is there; how many bytes it has, or 0."""
        simple = self.pending[0] == SAMPLED
        if not simple and self.pending[0] != SAMPLE_BOUND:
            return 0
        head, end = (SAMPLE_COLUMNS, SAMPLE_TAIL) if simple else (messages.BIND_COMPLETE, SAMPLE_BATCH_TAIL)
        row = position + len(head)
        if row + HEADER_BYTES > len(data) or not data.startswith(head + SHORT_ROW, position):
            return 0
        tail = row + 1 + data[row + 4]
        if not data.startswith(end, tail):
            return 0
        if self.journal is not None:
            self.journal.sample = data[row + HEADER_BYTES : tail]
        if simple:
            self.status = framing.IN_TRANSACTION
        for _ in range(1 if simple else 3):
            self.pending.popleft()
            self.sampling -= 1
        return tail + len(end) - position

    def ask_simple(self, now: float, *, early: bool = False) -> bytes:
        """Our question as a Query, to be sent ahead of a COMMIT or behind a change, and entered."""
        self.pending.append(SAMPLED)
        self.sampling += 1
        self._asked(now, early=early)
        return SAMPLE_QUERY

    def ask_extended(self, statement: Statement, now: float, *, early: bool = False) -> bytes:
        """Our question within a batch, to be sent ahead of a COMMIT's Bind or of a Sync, and entered."""
        parse = b"" if statement.name in self.statements else self.prepare(statement, PARSED_UNSEEN, b"")
        self.pending.extend((SAMPLE_BOUND, SAMPLE_EXECUTED, SAMPLE_CLOSED))
        self.sampling += 3
        self._asked(now, early=early)
        return parse + (SAMPLE_BATCH if early else SAMPLE_FLUSHED)

    def _asked(self, now: float, *, early: bool = False) -> None:
        if self.journal is not None:
            self.journal.sample = b""
            self.journal.sampled_early = early
            self.journal.sampled_at = now

    def _rare(self, kind: int, body: bytes) -> None:
        pending = self.pending
        if kind == framing.EMPTY_QUERY or kind == framing.PORTAL_SUSPENDED:  # noqa: PLR1714
            if pending and pending[0] == EXECUTED:
                pending.popleft()
        elif kind == framing.ERROR:
            self._failed(body)
        elif kind == framing.PARAMETER_STATUS:
            self.sink.parameter(self, body)
        elif kind == framing.COPY_IN:
            self._copy_began()
        elif kind == framing.COPY_BOTH:
            self.copying = True

    def _tagged(self, tag: bytes) -> None:
        # The rest is told by the text, and better: SET LOCAL has the tag of SET.
        freed = bool(self.pending) and self.pending[0] == FREED
        if freed and tag[:2] in (b"DE", b"DI"):  # whatever else answers it is out of step
            self.pending.popleft()
            self.notes.popleft()
        if tag == b"DISCARD ALL" or tag == b"DEALLOCATE ALL":  # noqa: PLR1714
            self.suspect |= tag_suspicion(tag)
            self.discarded = tag == b"DISCARD ALL"
            if not freed:
                self.statements.clear()
                self.sink.forgotten()

    def _closed(self, head: int) -> bool:
        """CloseComplete came; true if the client must not see it."""
        if head == PARSED_INSTEAD:
            self.pending[0] = PARSED_ALREADY  # which is next in line, so it is made up now
            return True
        if head in (CLOSED, CLOSED_INSTEAD, CLOSED_UNSEEN, UNNAMED_CLOSED):
            self.pending.popleft()
            if head != CLOSED:
                self.notes.popleft()
        return head == CLOSED_UNSEEN

    def _prepared(self) -> bool:
        """ParseComplete came; true if the client must not see it."""
        head = self.pending[0]
        if head in NOTED:
            self.notes.popleft()
        elif head != PLAIN_PARSED:
            return False
        self.pending.popleft()
        return head in UNSEEN

    def _make_up(self) -> bytes:
        """Replies to what was never sent and is next in line."""
        pending = self.pending
        made: list[bytes] = []
        while pending and pending[0] >= MADE_UP_FROM:
            owed = pending.popleft()
            if owed != COPY_END:
                self.notes.popleft()
                made.append(PARSE_COMPLETE_MESSAGE if owed == PARSED_ALREADY else CLOSE_COMPLETE_MESSAGE)
        return b"".join(made)

    def _failed(self, body: bytes) -> None:
        self.last_error = body
        self.copying = False
        pending = self.pending
        if pending and pending[0] != SIMPLE:
            failed = pending[0] in NOTED
            skipped: list[Note] = []
            while pending and pending[0] != SYNCED:
                if pending.popleft() in NOTED:
                    skipped.append(self.notes.popleft())
            while skipped:
                note = skipped.pop()  # the last first, so that the oldest state is what is left
                self._undo(note, failed=failed and not skipped)
            if not pending:
                self.unsynced = self.skipping = True
            if self.sampling:
                self.sampling = sum(1 for one in pending if one in HIDDEN)
        self.sink.refused(self, body)

    def _undo(self, note: Note, *, failed: bool) -> None:
        if note.owed in (PARSED, PARSED_UNSEEN) and note.statement is not None:
            self.statements.pop(note.statement.name, None)
        elif note.owed == CLOSED_UNSEEN:
            self.statements[note.name] = True
            return
        elif note.owed == FREED and note.names is not None:
            self.statements = note.names[1]
        elif note.owed in (UNNAMED, UNNAMED_UNSEEN, UNNAMED_CLOSED):
            # A Parse drops the unnamed statement before it looks at the new text.
            if self.unnamed is note.new:
                self.unnamed = None if failed else note.held
            for later in self.notes:
                later.follow(note, failed=failed)
        self.sink.undone(note, failed=failed)

    def _copy_began(self) -> None:
        """Forget what the server ignores (Syncs), and what ends the copy: end of data, or anything else."""
        pending = self.pending
        copying = pending.popleft()
        while pending and pending[0] == SYNCED:
            pending.popleft()
        if not pending:
            self.copying = True
        elif pending[0] == COPY_END:
            pending.popleft()
        elif copying == SIMPLE and pending.popleft() in NOTED:
            self._undo(self.notes.popleft(), failed=False)
        if copying != SIMPLE and SYNCED not in pending:
            self.unsynced = True  # the one that was sent is ignored: another has to come
        pending.appendleft(copying)
