"""Named prepared statements, shared by all clients that prepare the same text.

A client's name means nothing on a server connection that many clients use, so every distinct statement gets
one name of the proxy's own, per worker. A server connection remembers which of those it has; a client
remembers which of its names stands for which statement. Whoever comes to a server that lacks the statement
has it prepared there first, unseen.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from functools import lru_cache
from typing import Final

from seawall.proxy.worth import TRACE
from seawall.wire.pgwire.framing import HEADER, HEADER_BYTES, PARSE
from seawall.wire.pgwire.glance import glance

PREFIX: Final = b"seawall_"
CACHE_LIMIT: Final = 10_000
"""Distinct statements a worker knows by text; the one unused for longest is forgotten first."""


CACHE_BYTES: Final = 256 * 1024 * 1024
"""Their texts together."""
CHANGES: Final = 1
COMMITS: Final = 2
CHANGING: Final = frozenset({b"insert", b"update", b"delete", b"merge "})
COMMITTING: Final = frozenset({b"com", b"end"})
FREEING: Final = re.compile(rb"\s*(?:deallocate\s+(?:prepare\s+)?|discard\s+)all\s*;?\s*", re.IGNORECASE)
DEALLOCATE: Final = re.compile(
    rb"\s*deallocate\s+(?:prepare\s+)?(?:([a-z_][\w$]*)|\"([^\"]+)\")\s*;?\s*", re.IGNORECASE
)
COMMENTS: Final = frozenset({b"/*", b"--"})
COMMIT_BYTES: Final = 16
"""Of a text, to see whether it may be a COMMIT."""
REMEMBERED_LIMIT: Final = 4_096
"""Texts of which the suspicion is remembered, whoever parses them under whatever name."""
REMEMBERED_BYTES: Final = 1_024
"""Longest of these."""


class Statement:
    """One text with its parameter types.

    Attributes:
        tail: what follows the name in a Parse message: text, NUL, parameter types.
        name: what servers call it, without the NUL.
        parse: the whole Parse message under that name.
        suspicion: flags of what running it may change in the session.
        effect: whether it may be a COMMIT, or changes something.
        proven: it provably changes nothing.
        traced: a comment in it has a trace's context.
    """

    __slots__ = ("effect", "name", "parse", "proven", "suspicion", "tail", "traced")

    def __init__(self, tail: bytes, name: bytes) -> None:
        self.tail: bytes = tail
        look = parse_glance(tail)
        self.suspicion: int = max(look, 0)
        self.proven: bool = look < 0
        self.effect: int = effect(tail[:COMMIT_BYTES])
        self.name: bytes = name
        self.parse: bytes = parse_message(name, tail)
        self.traced: bool = TRACE in tail


def commits(head: bytes) -> bool:
    """Whether a text that begins like this may be a COMMIT; ``classify`` knows for certain."""
    return effect(head) == COMMITS


def effect(head: bytes) -> int:
    """What a text may do that begins like this: ``CHANGES``, ``COMMITS``, or 0 for all else."""
    word = head[:6].lower()
    if word in CHANGING:
        return CHANGES
    if word[:3] in COMMITTING:
        return COMMITS
    if word[:1].isspace() or word[:2] in COMMENTS:
        word = head.lstrip()[:6].lower()
        return (
            CHANGES if word in CHANGING else COMMITS if word[:3] in COMMITTING or word[:2] in COMMENTS else 0
        )
    return 0


def frees(tail: bytes) -> bool:
    """Whether a parsed text forgets all named statements."""
    return FREEING.fullmatch(tail, 0, max(tail.find(b"\0"), 0)) is not None


def deallocated(sql: bytes) -> bytes:
    """The name of the one statement that a text forgets, as the server reads it; empty for any other text."""
    found = DEALLOCATE.fullmatch(sql)
    if found is None or FREEING.fullmatch(sql):
        return b""
    quoted: bytes | None = found.group(2)
    plain: bytes = found.group(1) or b""
    return plain.lower() if quoted is None else quoted


def texts_bytes(statements: dict[bytes, Statement] | None) -> int:
    """How long the texts of some statements are together."""
    return sum(len(one.tail) for one in statements.values()) if statements else 0


def parse_suspicion(tail: bytes) -> int:
    """Flags of what running a parsed text may change in the session."""
    return max(0, parse_glance(tail))


def parse_glance(tail: bytes) -> int:
    """The suspicion of a parsed text, or ``glance.PROVEN``."""
    end = tail.find(b"\0")
    if 0 < end <= REMEMBERED_BYTES:
        return _remembered(tail[:end])
    return glance(tail[: max(end, 0)])


@lru_cache(maxsize=REMEMBERED_LIMIT)
def _remembered(sql: bytes) -> int:
    """Texts that are parsed come again and again; their values travel apart."""
    return glance(sql)


def parsed_text(message: bytes | None) -> bytes:
    """What an unnamed Parse message says, with what follows; nothing if there is none."""
    if message is None or len(message) <= HEADER_BYTES:
        return b""
    return message[HEADER_BYTES + 1 :]


def parse_message(name: bytes, tail: bytes) -> bytes:
    """A Parse message made of its parts."""
    return HEADER.pack(PARSE, HEADER_BYTES + len(name) + len(tail)) + name + b"\0" + tail


class StatementCache:
    """All statements of a worker by text.

    Args:
        limit: distinct texts that are remembered.
    """

    __slots__ = ("_by_tail", "_bytes", "_count", "_limit", "evicted")

    def __init__(self, limit: int = CACHE_LIMIT) -> None:
        self._limit: int = limit
        self._count: int = 0
        self._bytes: int = 0
        self._by_tail: OrderedDict[bytes, Statement] = OrderedDict()
        self.evicted: int = 0

    def __len__(self) -> int:
        return len(self._by_tail)

    def get(self, tail: bytes) -> Statement:
        """The statement with this text and these types."""
        found = self._by_tail.get(tail)
        if found is not None:
            self._by_tail.move_to_end(tail)
            return found
        made = Statement(tail, self._next_name())
        self._by_tail[tail] = made
        self._bytes += len(tail)
        while len(self._by_tail) > self._limit or (self._bytes > CACHE_BYTES and len(self._by_tail) > 1):
            # Clients that hold the evicted one keep using it; only its text is no longer found.
            old, _ = self._by_tail.popitem(last=False)
            self._bytes -= len(old)
            self.evicted += 1
        return made

    def rename(self, statement: Statement) -> None:
        """Give a statement a new name, so that every server prepares it afresh.

        After a schema change a server may refuse the old plan for ever ("cached plan must not change result
        type"); a client that talks to its server directly would close it and prepare again.
        """
        statement.name = self._next_name()
        statement.parse = parse_message(statement.name, statement.tail)

    def _next_name(self) -> bytes:
        self._count += 1
        return PREFIX + b"%d" % self._count
