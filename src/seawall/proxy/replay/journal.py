"""What a client said since its transaction began, and what it has seen of the answers.

One per server connection, used by whichever client has it and cleared whenever a transaction ends. On a
query's way it costs two appends: chunks are kept as they passed. Only when the server is lost they are cut
into *turns*, each ending with the message that asks for a ReadyForQuery (Query, FunctionCall, Sync).

The same said again has to give the same answers. What is compared is the client's own view, made canonical:
notices, notifications and reported settings are left out, of an error only the SQLSTATE counts, and a table's
object number is left out of a row's description, because a table made in the transaction gets another one.
All else counts to the byte: rows, tags, transaction status. Answers are kept as they are up to
``KEPT_BYTES``; from there on only their XXH3 (64 bits) is, with a mark at the end of every turn. A client
that has seen part of an answer sees the rest of it after the part has come again.

Sources: PostgreSQL documentation, chapter "Message Formats"; XXH3: xxHash specification, "XXH3_64bits".
"""

from __future__ import annotations

from typing import Any, Final

import xxhash

from seawall.wire.pgwire import framing
from seawall.wire.pgwire.framing import FIELD, HEADER, HEADER_BYTES
from seawall.wire.pgwire.messages import parse_fields

KEPT_BYTES: Final = 65_536
"""Of answers in one transaction; what is longer is hashed."""
WHOLE_LIMIT: Final = 1_048_576
"""Longest message that is taken apart; a longer description is compared as it is."""
TURN_ENDS: Final = frozenset({framing.QUERY, framing.SYNC, framing.FUNCTION_CALL})
COPIED: Final = frozenset({framing.COPY_DATA, framing.COPY_DONE, framing.COPY_FAIL})
COPY_ENDS: Final = frozenset({framing.COPY_DONE, framing.COPY_FAIL})
LEFT_OUT: Final = frozenset({framing.NOTICE, framing.NOTIFICATION, framing.PARAMETER_STATUS})
WHOLE: Final = frozenset(
    {framing.ERROR, framing.ROW_DESCRIPTION, framing.READY, framing.COMMAND_COMPLETE, *LEFT_OUT}
)
READY_BYTES: Final = HEADER_BYTES + 1
NONE_PROVEN: Final = -(1 << 40)
"""Chunks were cut or forgotten, so counting them says nothing any more."""
NO_NUMBER: Final = b"\0\3\xff\xff\xff\xff"
"""How a DataRow of three columns begins whose first is NULL."""
NO_TABLE: Final = b"\0\0\0\0"


class Journal:
    """What was said and seen; ``Client`` writes it, ``rescue`` reads it.

    Attributes:
        said: chunks, as they came from the client.
        last: the last that the client was told since the transaction began.
        replays: answers are kept, so that the transaction can be said again.
        resolves: what became of its COMMIT is found out.
        changed: a Query has changed something, and nothing was asked since.
        proven: how many of the chunks provably change nothing.
        spoiled: why it can't be said again, or empty.
        sample: the row that was asked for ahead of a COMMIT, as it came.
        sampled_at: when it was asked for, monotonic seconds; 0.0 if it wasn't.
        sampled_early: that was behind the first change, so that no number means nothing.
        topology: what was known of the servers then.
        names: the client's statements by name before it changed them, if it did.
        names_bytes: their texts together.
        names_changed: it did.
        unnamed: its unnamed statement before.
    """

    __slots__ = (
        "_canon",
        "_kept",
        "_kept_bytes",
        "changed",
        "last",
        "limit_bytes",
        "limit_chunks",
        "names",
        "names_bytes",
        "names_changed",
        "proven",
        "replays",
        "resolves",
        "said",
        "said_bytes",
        "sample",
        "sampled_at",
        "sampled_early",
        "spoiled",
        "topology",
        "unnamed",
    )

    def __init__(self, limit_bytes: int, limit_chunks: int) -> None:
        self.limit_bytes: int = limit_bytes
        self.limit_chunks: int = limit_chunks
        self.said: list[bytes] = []
        self.said_bytes: int = 0
        self.last: bytes = b""
        self.replays: bool = False
        self.resolves: bool = False
        self.changed: bool = False
        self.proven: int = 0
        self.spoiled: str = ""
        self.sample: bytes = b""
        self.sampled_at: float = 0.0
        self.sampled_early: bool = False
        self.topology: Any = None
        self.names: dict[bytes, Any] | None = None
        self.names_bytes: int = 0
        self.names_changed: bool = False
        self.unnamed: bytes | None = None
        self._kept: list[bytes] = []
        self._kept_bytes: int = 0
        self._canon: Canon | None = None

    @property
    def told(self) -> bool:
        """Whether the client has been told something since the transaction began."""
        return self.last != b""

    def say(self, data: bytes) -> None:
        """The client said this."""
        said = self.said
        said.append(data)
        size = self.said_bytes = self.said_bytes + len(data)
        if size > self.limit_bytes or len(said) > self.limit_chunks:
            self._spoil("it is longer than is kept")

    def unsay(self, count: int) -> None:
        """The last bytes will be said later."""
        self.proven = NONE_PROVEN
        self.said_bytes -= count
        while count > 0 and self.said:
            last = self.said.pop()
            if len(last) > count:
                self.said.append(last[: len(last) - count])
            count -= len(last)

    def hear(self, data: bytes) -> None:
        """The client is told this."""
        if self.replays:
            self.keep(data)
        else:
            self.last = data

    def keep(self, data: bytes) -> None:
        """The client is told this, and it is one whose transactions are said again."""
        self.last = data
        if self._canon is not None:
            self._canon.feed(data)
            return
        self._kept.append(data)
        size = self._kept_bytes = self._kept_bytes + len(data)
        if size > KEPT_BYTES:
            self._canon = Canon(hashed=True)
            for chunk in self._kept:
                self._canon.feed(chunk)
            self._kept.clear()

    def remember(self, names: dict[bytes, Any] | None, names_bytes: int) -> None:
        """The client's statements are about to change."""
        if not self.names_changed:
            self.names_changed = True
            self.names = None if names is None else dict(names)
            self.names_bytes = names_bytes

    def clear(self) -> None:
        """The transaction has ended."""
        self.said.clear()
        self.said_bytes = 0
        self.changed = False
        self.proven = 0
        self.last = b""
        if self._kept_bytes:
            self._kept.clear()
            self._kept_bytes = 0
            self._canon = None
        if self.topology is not None or self.sampled_at or self.spoiled:
            self.spoiled = ""
            self.sample = b""
            self.sampled_at = 0.0
            self.sampled_early = False
            self.topology = None
        if self.names_changed:
            self.names_changed = False
            self.names = None

    @property
    def changes_nothing(self) -> bool:
        """Whether every chunk was proven to change nothing as it passed; that it is false says nothing."""
        return self.proven == len(self.said)

    @property
    def numbered(self) -> bool:
        """Whether a sample tells the transaction's number, or is on its way and will."""
        return self.sampled_early and not self.sample.startswith(NO_NUMBER)

    def seen(self) -> Canon:
        """What the client has seen, made canonical."""
        if self._canon is not None:
            return self._canon
        canon = Canon(hashed=False)
        for chunk in self._kept:
            canon.feed(chunk)
        return canon

    def answers(self) -> list[bytes]:
        """The answer to each turn as it came; none if they were too long to be kept."""
        raw = b"".join(self._kept)
        found: list[bytes] = []
        start = position = 0
        while position + HEADER_BYTES <= len(raw):
            kind, length = HEADER.unpack_from(raw, position)
            position += 1 + length
            if kind == framing.READY:
                found.append(raw[start:position])
                start = position
        return found

    def turns(self) -> list[bytes]:
        """What was said, each turn up to the message that ends it; the last may be only part of one."""
        return cut_turns(b"".join(self.said))

    def _spoil(self, why: str) -> None:
        self.spoiled = why
        self.proven = NONE_PROVEN
        self.said.clear()
        self.said_bytes = 0
        self._kept.clear()
        self._kept_bytes = 0
        self._canon = None
        self.replays = False


def cut_turns(said: bytes) -> list[bytes]:
    """Cut what was said into turns; the last may be part of one."""
    turns: list[bytes] = []
    start = position = 0
    end = len(said)
    while position + HEADER_BYTES <= end:
        kind, length = HEADER.unpack_from(said, position)
        if kind in COPIED and position == start and turns:
            start -= len(turns.pop())  # what is copied in belongs to the turn that asked for it
        position += 1 + length
        if (kind in TURN_ENDS and position <= end) or (
            kind in COPY_ENDS and position <= end and said[start] == framing.QUERY
        ):
            turns.append(said[start:position])
            start = position
    if start < end:
        turns.append(said[start:])
    return turns


def texts(said: bytes) -> list[bytes]:
    """The SQL in what was said, in order; a text that is only partly there as far as it is."""
    found: list[bytes] = []
    position, end = 0, len(said)
    while position + HEADER_BYTES <= end:
        kind, length = HEADER.unpack_from(said, position)
        after = position + 1 + length
        body = said[position + HEADER_BYTES : min(after, end)]
        if kind == framing.QUERY:
            found.append(body.partition(b"\0")[0])
        elif kind == framing.PARSE:
            found.append(body.partition(b"\0")[2].partition(b"\0")[0])
        position = after
    return found


class Canon:
    """A stream of answers, made canonical as it comes, in any chunks.

    Args:
        hashed: keep only the hash.

    Attributes:
        count: canonical bytes so far.
        text: all of them, unless hashed.
        marks: count and hash at the end of every turn.
        idle: how many turns there were up to the last one that ended outside of a transaction.
        partial: the beginning of a message that is taken in whole or not at all.
    """

    __slots__ = ("_hash", "_left", "count", "hashed", "idle", "marks", "partial", "text")

    def __init__(self, *, hashed: bool) -> None:
        self.hashed: bool = hashed
        self.count: int = 0
        self.text: bytearray = bytearray()
        self.marks: list[tuple[int, int]] = []
        self.idle: int = 0
        self.partial: bytes = b""
        self._hash: Any = xxhash.xxh3_64()
        self._left: int = 0

    def feed(self, data: bytes) -> None:
        """Take in a chunk."""
        for piece, _ in self.pieces(data):
            self.add(piece)

    def add(self, piece: bytes) -> None:
        """Take in what has been made canonical."""
        self.count += len(piece)
        self._hash.update(piece)
        if not self.hashed:
            self.text += piece
        if len(piece) == READY_BYTES and piece[0] == framing.READY:
            self.marks.append((self.count, self.digest()))
            if piece[HEADER_BYTES] == framing.IDLE:
                self.idle = len(self.marks)

    def behind(self, turns: int) -> Canon:
        """What is behind the first turns; of what was not hashed."""
        rest = Canon(hashed=False)
        start = self.marks[turns - 1][0] if turns else 0
        for end, _ in self.marks[turns:]:
            rest.add(bytes(self.text[start : end - READY_BYTES]))
            rest.add(bytes(self.text[end - READY_BYTES : end]))
            start = end
        rest.add(bytes(self.text[start:]))
        rest.partial = self.partial
        return rest

    def digest(self) -> int:
        """The hash of all so far."""
        return int(self._hash.intdigest())

    def pieces(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Cut a chunk into pieces, each canonical and as it came; the end may wait for the next chunk.

        A canonical piece that is not what came belongs to one whole message.
        """
        if self.partial:
            data = self.partial + data
            self.partial = b""
        found: list[tuple[bytes, bytes]] = []
        end = len(data)
        position = min(self._left, end)
        if position:
            found.append((data[:position], data[:position]))
            self._left -= position
        while position < end:
            if position + HEADER_BYTES > end:
                self.partial = data[position:]
                break
            kind, length = HEADER.unpack_from(data, position)
            after = position + 1 + length
            if kind in WHOLE and length <= WHOLE_LIMIT:
                if after > end:
                    self.partial = data[position:]
                    break
                raw = data[position:after]
                found.append((canonical(kind, raw), raw))
            else:
                raw = data[position : min(after, end)]
                found.append((raw, raw))
                self._left = max(0, after - end)
            position = after
        return found


def canonical(kind: int, raw: bytes) -> bytes:
    """What of a whole message has to come again."""
    if kind in LEFT_OUT:
        return b""
    if kind == framing.ERROR:
        return b"E" + parse_fields(raw[HEADER_BYTES:]).get("C", "").encode()
    if kind == framing.ROW_DESCRIPTION:
        return _without_tables(raw)
    return raw


def _without_tables(raw: bytes) -> bytes:
    """A RowDescription without the object numbers of tables."""
    out = bytearray(raw)
    position = HEADER_BYTES + 2
    while position < len(raw):
        end = raw.find(b"\0", position)
        if end < 0:
            return raw
        out[end + 1 : end + 5] = NO_TABLE
        position = end + 1 + FIELD.size
    return bytes(out)
