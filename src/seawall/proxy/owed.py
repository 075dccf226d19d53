"""What a server owes: the kinds of replies that are due, and what to take back if they don't come."""

from __future__ import annotations

from collections import deque
from typing import Final

from seawall.proxy.statements import Statement
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.exchange import BATCH, DESCRIBED_BATCH, EXECUTED_BATCH, PLAIN_BATCH, QUERY_ALONE
from seawall.wire.pgwire.framing import FIELD, HEADER

# What is owed. Small numbers, because they are compared on every message.
SIMPLE: Final = 1
"""Query or FunctionCall: everything up to and including a ReadyForQuery."""
SYNCED: Final = 2
"""Sync: a ReadyForQuery."""
PARSED: Final = 3
"""A client's Parse that was sent; has a note."""
BOUND: Final = 4
DESCRIBED: Final = 5
CLOSED: Final = 6
EXECUTED: Final = 7
PARSED_UNSEEN: Final = 8
"""A Parse of ours: its reply is swallowed; has a note."""
CLOSED_UNSEEN: Final = 9
"""A Close of ours, of a shared statement that has to make room; has a note."""
PARSED_ALREADY: Final = 30
"""A client's Parse that was not sent: its reply is made up; has a note."""
CLOSED_ALREADY: Final = 31
"""A client's Close that was not sent; has a note."""
COPY_END: Final = 32
PARSED_INSTEAD: Final = 11
"""A client's Parse in whose place a Close of nothing was sent: that one's reply becomes a made up one."""
CLOSED_INSTEAD: Final = 12
"""A client's Close in whose place a Close of nothing was sent; has a note."""
PLAIN_PARSED: Final = 13
"""A client's Parse on a server it does not share."""
UNNAMED: Final = 14
"""A client's Parse of its unnamed statement; has a note."""
UNNAMED_UNSEEN: Final = 15
"""The unnamed Parse once more, on another server; has a note."""
UNNAMED_CLOSED: Final = 16
"""A client's Close of its unnamed statement; has a note."""
SAMPLED: Final = 17
"""A Query of ours ahead of a COMMIT: everything up to and including its ReadyForQuery is swallowed."""
SAMPLE_BOUND: Final = 18
SAMPLE_EXECUTED: Final = 19
SAMPLE_CLOSED: Final = 10
"""Bind, Execute and Close of ours ahead of a COMMIT in a batch: their replies are swallowed."""

ENTRIES: Final[dict[int, tuple[int, ...]]] = {
    QUERY_ALONE: (SIMPLE,),
    EXECUTED_BATCH: (BOUND, EXECUTED, SYNCED),
    DESCRIBED_BATCH: (BOUND, DESCRIBED, EXECUTED, SYNCED),
    BATCH: (UNNAMED, BOUND, DESCRIBED, EXECUTED, SYNCED),
    PLAIN_BATCH: (PLAIN_PARSED, BOUND, DESCRIBED, EXECUTED, SYNCED),
}
"""What is said in one go (``exchange``), entered one by one."""

FREED: Final = 20
"""Execute of what forgets named statements, one or all: taken for done as soon as it is said; has a note."""

SAMPLE_ENDS: Final = {
    framing.BIND_COMPLETE: SAMPLE_BOUND,
    framing.COMMAND_COMPLETE: SAMPLE_EXECUTED,
    framing.CLOSE_COMPLETE: SAMPLE_CLOSED,
}
HIDDEN: Final = frozenset({SAMPLED, SAMPLE_BOUND, SAMPLE_EXECUTED, SAMPLE_CLOSED})
NOTED: Final = frozenset(
    {
        PARSED,
        PARSED_UNSEEN,
        PARSED_ALREADY,
        CLOSED_ALREADY,
        PARSED_INSTEAD,
        CLOSED_INSTEAD,
        CLOSED_UNSEEN,
        FREED,
        UNNAMED,
        UNNAMED_UNSEEN,
        UNNAMED_CLOSED,
    }
)
UNSEEN: Final = frozenset({PARSED_UNSEEN, UNNAMED_UNSEEN, CLOSED_UNSEEN})
MADE_UP: Final = frozenset({PARSED_ALREADY, CLOSED_ALREADY, COPY_END})
"""What the server is not asked and the proxy answers itself; the highest numbers, for one comparison."""

STREAMED: Final = frozenset(
    {
        framing.ROW_DESCRIPTION,
        framing.PARAMETER_DESCRIPTION,
        framing.NOTICE,
        framing.NOTIFICATION,
        framing.FUNCTION_RESULT,
    }
)
"""Kinds of replies of which the header is enough."""
UNASKED: Final = frozenset({framing.ERROR, framing.NOTICE, framing.NOTIFICATION, framing.PARAMETER_STATUS})
"""Kinds that may come when nothing is owed."""

PARSE_COMPLETE_MESSAGE: Final = b"1\0\0\0\4"
CLOSE_COMPLETE_MESSAGE: Final = b"3\0\0\0\4"
CLOSE_NOTHING: Final = messages.close_statement("seawall_nothing")
"""Changes nothing; and ends a copy, as any message does that has no business in one."""

SAMPLE: Final = (
    "SELECT pg_catalog.pg_current_xact_id_if_assigned(), pg_catalog.pg_current_wal_insert_lsn(),"
    " pg_catalog.pg_last_wal_replay_lsn()"
)
"""What a COMMIT is resolved by: its transaction, where it stands in the log, and the last recovery's end."""
SAMPLE_QUERY: Final = messages.query(SAMPLE)
_COLUMNS: Final = (
    (b"pg_current_xact_id_if_assigned", 5069),
    (b"pg_current_wal_insert_lsn", 3220),
    (b"pg_last_wal_replay_lsn", 3220),
)
_DESCRIBED: Final = b"\0\3" + b"".join(
    name + b"\0" + FIELD.pack(0, 0, type_oid, 8, -1, 0) for name, type_oid in _COLUMNS
)
SAMPLE_COLUMNS: Final = HEADER.pack(framing.ROW_DESCRIPTION, 4 + len(_DESCRIBED)) + _DESCRIBED
"""How every server describes the answer: xid8 and pg_lsn have fixed numbers, and eight bytes."""
SAMPLE_TAIL: Final = messages.command_complete("SELECT 1") + messages.ready_for_query(b"T")
SHORT_ROW: Final = b"D\0\0\0"
"""How a DataRow of less than 256 bytes begins."""
SAMPLE_NAME: Final = "seawall_sample"
"""Of the statement and of the portal that ask within a batch."""
SAMPLE_BATCH: Final = (
    messages.bind(SAMPLE_NAME, SAMPLE_NAME, [])
    + messages.execute(SAMPLE_NAME)
    + messages.close_portal(SAMPLE_NAME)
)
SAMPLE_FLUSHED: Final = SAMPLE_BATCH + messages.flush()
"""So that it is answered before the COMMIT behind it waits for replicas."""
_AGAIN: Final = "seawall_again"
SAMPLE_AGAIN: Final = (
    messages.parse(_AGAIN, SAMPLE)
    + messages.bind(_AGAIN, _AGAIN, [])
    + messages.execute(_AGAIN)
    + messages.close_statement(_AGAIN)
    + messages.sync()
)
"""The question behind what was said again; it leaves the client's unnamed statement and portals alone."""
SAMPLE_BATCH_TAIL: Final = messages.command_complete("SELECT 1") + messages.CLOSE_COMPLETE


ASKING: Final = frozenset({PARSED_UNSEEN, CLOSED_UNSEEN, SAMPLE_BOUND, SAMPLE_EXECUTED, SAMPLE_CLOSED})
"""What may be owed first for our question."""


def skips_query(pending: deque[int]) -> bool:
    """Whether a server that fails at our question skips the Query behind it, because it waits for a Sync.

    Such a server is given up: to put it in step again is not worth what it takes, our question hardly ever
    fails (somebody cancels in just that moment).
    """
    if not pending or pending[0] not in ASKING:
        return False
    for one in pending:
        if one in (SYNCED, SIMPLE):
            return one == SIMPLE
    return False


class Note:
    """What to take back if a message that was sent ahead comes to nothing.

    Attributes:
        owed: what kind of message.
        statement: the named statement it was about.
        name: the client's name for it.
        mine: the client's unnamed Parse before.
        held: the server's unnamed Parse before.
        new: the unnamed Parse that this one made current.
        names: of what forgot names, the client's statements and the server's before.
    """

    __slots__ = ("held", "mine", "name", "names", "new", "owed", "statement")

    def __init__(
        self,
        owed: int,
        statement: Statement | None,
        name: bytes,
        mine: bytes | None = None,
        held: bytes | None = None,
        new: bytes | None = None,
        names: tuple[dict[bytes, Statement] | None, dict[bytes, bool]] | None = None,
    ) -> None:
        self.owed: int = owed
        self.statement: Statement | None = statement
        self.name: bytes = name
        self.mine: bytes | None = mine
        self.held: bytes | None = held
        self.new: bytes | None = new
        self.names: tuple[dict[bytes, Statement] | None, dict[bytes, bool]] | None = names

    def follow(self, undone: Note, *, failed: bool) -> None:
        """Stand on what an earlier note of the unnamed statement stood on, because that came to nothing."""
        if self.mine is undone.new:
            self.mine = None if failed else undone.mine
        if self.held is undone.new:
            self.held = None if failed else undone.held
