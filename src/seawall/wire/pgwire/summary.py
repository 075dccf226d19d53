"""What a statement does, in a few words that hold no value: ``SELECT orders``, ``INSERT audit.entries``.

It is what traces call a query (OpenTelemetry's ``db.operation.name`` and ``db.collection.name``). Only the
server's own command words and names of tables are let through, and names only where literals could be told
from code for certain.

Source: PostgreSQL documentation, chapters "SQL Commands" and "SQL Syntax" (lexical structure).
"""

from __future__ import annotations

import re
from typing import Final

from seawall.wire.pgwire.classify import code_of

__all__ = ["OTHER", "Summary", "summary"]

OTHER: Final = "OTHER"
"""For what begins with no command that is known."""
TARGET_BYTES: Final = 127
"""A schema and a name, as long as the server keeps them."""
COMMANDS: Final = frozenset(
    b"abort alter analyze begin call checkpoint close cluster comment commit copy create deallocate"
    b" declare delete discard do drop end execute explain fetch grant import insert listen load lock merge"
    b" move notify prepare reassign refresh reindex release reset revoke rollback savepoint security select"
    b" set show start table truncate unlisten update vacuum values with".split()
)
_HEAD: Final = re.compile(rb"[\s(;]*+([a-z]++)(?![\w$\x80-\xff])")
_PART: Final = rb"\x02?[a-z_][a-z0-9_]*+"
_TARGET: Final = re.compile(
    rb"(?<![\w$\x80-\xff\x02])(?:(from|join)|into|update|table|only|copy)\s+"
    rb"(?!(?:select|lateral|only|set|if|stdin|program)(?![\w$\x80-\xff]))"
    rb"((?>" + _PART + rb"(?:\s*\.\s*" + _PART + rb")?))(?![\w$\x80-\xff.])(?(1)(?!\s*\())"
)
"""A table behind the word that announces one; behind FROM and JOIN it may be a function, which is none."""
_BODY: Final = re.compile(
    rb"(?<![\w$\x80-\xff\x02])(insert|update|delete|merge|select|values)(?![\w$\x80-\xff])"
)
_TARGETED: Final = frozenset(
    {b"select", b"insert", b"update", b"delete", b"merge", b"copy", b"truncate", b"lock", b"with", b"table"}
)
"""Commands that are about a table, or may be."""

Summary = tuple[str, str]
"""The command in capitals, and the first table it names; empty if there is none or it isn't certain."""


def summary(sql: bytes) -> Summary:
    """The command and the table of a text's first statement. Any bytes will do; none raise."""
    code = code_of(sql)
    head = _HEAD.match(sql.lower() if code is None else code)
    word = head[1] if head is not None else b""
    if word not in COMMANDS:
        return OTHER, ""
    if code is None or word not in _TARGETED:
        return word.decode().upper(), ""
    first = code.split(b";", 1)[0]
    if word == b"with":
        # What stands in no parentheses is what the statement does with the queries in front of it.
        first = _outside(first)
        body = _BODY.search(first)
        word = body[1] if body is not None else word
        first = first[body.start() :] if body is not None else b""
    found = _TARGET.search(first)
    target = b"".join(found[2].replace(b"\x02", b"").split()) if found is not None else b""
    return word.decode().upper(), target.decode() if len(target) <= TARGET_BYTES else ""


def _outside(code: bytes) -> bytes:
    """What of a statement stands in no parentheses."""
    kept, depth = bytearray(), 0
    for byte in code:
        if byte == ord("("):
            depth += 1
        elif byte == ord(")"):
            depth = max(depth - 1, 0)
        elif not depth:
            kept.append(byte)
    return bytes(kept)
