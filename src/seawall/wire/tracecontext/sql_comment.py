"""Names and values in a comment of a SQL statement: ``SELECT 1 /*traceparent='00-…'*/``.

The comment goes behind the last token, before the semicolon if there is one. Nothing else of the text
changes, and a text that isn't understood for certain is left as it is: a statement without a trace is better
than another statement. Literals, quoted identifiers, dollar quotes and nested comments may hold whatever
looks like a comment.

A comment that is different each time makes each text a new one to those who prepare statements by their text.
It is PostgreSQL's SQL that is read here, not MySQL's.

Source: the sqlcommenter specification (opentelemetry-sqlcommenter, "Specifications").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

from seawall.wire.tracecontext.sql_text import survey

PAIRS_MAX: Final = 64
"""More are neither written nor read."""
COMMENT_MAX: Final = 8_192
"""A longer comment is neither written nor read: it is sent with every statement and shown in logs."""

# Commands that are not for PostgreSQL's SQL parser where they are used: those of a replication connection,
# whose parser knows no comments, and SHOW, which is also the language of poolers' consoles.
_OTHER_LANGUAGE: Final = re.compile(
    r"(?:identify_system|base_backup|start_replication|(?:create|drop|alter|read)_replication_slot"
    r"|timeline_history|upload_manifest|show)(?![A-Za-z0-9_$\x80-\U0010ffff])",
    re.IGNORECASE,
).match
_PAIR: Final = re.compile(
    r"\s*+((?>(?:[^\s'=,\\]|\\.)+))\s*+=\s*+'((?>(?:[^'\\]++|\\.)*))'\s*+(,|\Z)", re.DOTALL
).match
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


def write_comment(sql: str, pairs: Mapping[str, str], *, double_percent: bool = False) -> str:
    """Add a comment to a statement; to the last one of several.

    Args:
        sql: Any text.
        pairs: Names and values; names should be letters. They are written in order of name.
        double_percent: Write ``%%`` for a percent sign, for drivers to which it marks a parameter: psycopg
            refuses a statement with parameters in which one stands alone.

    Returns:
        The text with the comment. The same text if there is nothing to say, or more than :data:`PAIRS_MAX`
        and :data:`COMMENT_MAX` allow; if there is no statement in it, or a comment already (the specification
        asks for that: comments may be hints to the server); if it is longer than
        :data:`~seawall.wire.tracecontext.sql_text.LOOK_CHARACTERS`, or could not be read for certain.
    """
    comment = _comment(pairs)
    layout = survey(sql) if comment else None
    if layout is None or layout.end == 0 or layout.comments:
        return sql
    if _OTHER_LANGUAGE(sql, layout.begin) is not None:
        return sql
    if double_percent:
        comment = comment.replace("%", "%%")
    return f"{sql[: layout.end]} {comment}{sql[layout.end :]}"


def read_comment(sql: str | bytes) -> dict[str, str]:
    """The names and values in the comments of a text.

    Args:
        sql: Any text. Bytes are taken for UTF-8, or for any other encoding in which ASCII is ASCII.

    Returns:
        Names and values, at most :data:`PAIRS_MAX`. Of a name that comes twice, the first in a comment
        counts, and the last comment. Empty if there are none, and if the text could not be read for certain.
    """
    if isinstance(sql, bytes):
        if b"/*" not in sql:
            return {}
        # A byte that is no UTF-8 becomes a character that is no ASCII either: a letter, as it is
        # to the server.
        sql = sql.decode("utf-8", "replace")
    elif "/*" not in sql:
        return {}
    layout = survey(sql)
    if layout is None:
        return {}
    found: dict[str, str] = {}
    for begin, end in reversed(layout.comments):
        if sql.startswith("--", begin):
            continue
        for name, value in _pairs(sql[begin + 2 : end - 2]).items():
            if len(found) == PAIRS_MAX:
                return found
            found.setdefault(name, value)
    return found


def _comment(pairs: Mapping[str, str]) -> str:
    """The comment alone; empty text if there is nothing to say, or too much."""
    if len(pairs) > PAIRS_MAX:
        return ""
    texts = [f"{_encoded(name)}='{_encoded(value)}'" for name, value in sorted(pairs.items()) if name]
    comment = f"/*{','.join(texts)}*/" if texts else ""
    return comment if len(comment) <= COMMENT_MAX else ""


def _pairs(text: str) -> dict[str, str]:
    """What a comment says; nothing if it is not wholly made of pairs."""
    found: dict[str, str] = {}
    if len(text) > COMMENT_MAX:
        return found
    at = 0
    while True:
        match = _PAIR(text, at)
        if match is None:
            return {}
        if len(found) < PAIRS_MAX:
            found.setdefault(_decoded(match[1]), _decoded(match[2]))
        at = match.end()
        if not match[3]:
            return found


def _encoded(text: str) -> str:
    # Everything that could end a literal or a comment is encoded, so nothing is left to be escaped.
    return quote(text, safe="", errors="replace")


def _decoded(text: str) -> str:
    # "%%" is a percent sign that was doubled for a driver and came through; encoded text has no such thing.
    return unquote(_ESCAPED.sub(r"\1", text).replace("%%", "%"))
