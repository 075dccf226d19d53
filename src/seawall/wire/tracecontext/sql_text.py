"""Where a text of SQL begins and ends, and where its comments are.

It knows what PostgreSQL's lexer takes for a literal, an identifier or a comment, and nothing of grammar.
Where it could be wrong it says that it doesn't know: text that doesn't end, and text whose meaning depends on
a setting of the session (a backslash before a quote means one thing with ``standard_conforming_strings`` and
another without).

``sql_comment`` calls it. Source: PostgreSQL documentation, chapter "SQL Syntax", section "Lexical Structure".
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

LOOK_CHARACTERS: Final = 65_536
"""Longer text is not looked at: a bulk load should not hold up everybody else for the sake of a comment."""

_SPACE: Final = " \t\n\r\f\v"
_IDLE: Final = _SPACE + ";"

_WORD: Final = r"[A-Za-z0-9_$\x80-\U0010ffff]"
_TAG: Final = r"(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*+)?"

# Each alternative is one whole token, but for "/*", whose end is counted. Group 2 is a beginning without an
# end, or one that is not certain; it comes last, so that it is tried when the whole token has failed.
_OPAQUE: Final = re.compile(
    rf"--[^\n\r]*+"
    rf"|/\*"
    rf"|(?<!{_WORD})[eE]'(?:[^'\\]++|''|\\.)*+'"
    rf"|'(?:[^'\\]++|''|\\[^'])*+'"
    rf'|"(?:[^"]++|"")*+"'
    rf"|(?<!{_WORD})\$({_TAG})\$.*?\$\1\$"
    rf"|(['\"]|(?<!{_WORD})\${_TAG}\$|(?<=[0-9])\${_TAG}\$)",
    re.DOTALL,
).search
_NESTING: Final = re.compile(r"/\*|\*/")


class Layout(NamedTuple):
    """Where things are in a text.

    Attributes:
        begin: Where the first token begins that is neither space, comment nor semicolon.
        end: Where the last of these ends; 0 if there are none.
        comments: Beginning and end of each ``/* */``, delimiters included; those inside others are not
            listed.
        lines: Number of ``--`` comments.
    """

    begin: int
    end: int
    comments: tuple[tuple[int, int], ...]
    lines: int


def survey(sql: str) -> Layout | None:
    """Find the ends and the comments of a text.

    Returns:
        None if they cannot be told for certain, or the text is longer than :data:`LOOK_CHARACTERS`.
    """
    if len(sql) > LOOK_CHARACTERS or "\0" in sql:
        return None
    begin = end = at = lines = 0
    comments: list[tuple[int, int]] = []
    while True:
        match = _OPAQUE(sql, at)
        gap = sql[at:] if match is None else sql[at : match.start()]
        code = gap.rstrip(_IDLE)
        if code:
            begin = begin if end else at + len(code) - len(code.lstrip(_IDLE))
            end = at + len(code)
        if match is None:
            return Layout(begin, end, tuple(comments), lines)
        if match[2] is not None:
            return None
        start, at = match.span()
        if match[0] == "/*":
            at = _comment_end(sql, at)
            if at < 0:
                return None
            comments.append((start, at))
        elif match[0].startswith("--"):
            lines += 1
        elif match[1] is not None and sql.startswith("$", at):
            # Another one at once, or the middle of a word? The patterns only see the dollar sign before it.
            return None
        else:
            begin = begin if end else start
            end = at


def _comment_end(sql: str, at: int) -> int:
    """Where the comment ends whose opening ends here; -1 if it doesn't. Comments nest."""
    depth = 1
    for match in _NESTING.finditer(sql, at):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    return -1
