"""Where a text of SQL begins and ends, and where its comments are.

It knows what PostgreSQL's lexer takes for a literal, an identifier or a comment, and nothing of grammar.
Where it could be wrong it says that it doesn't know: text that doesn't end, and text whose meaning depends on
a setting of the session (a backslash before a quote means one thing with ``standard_conforming_strings`` and
another without).

``sql_comment`` calls it. Source: PostgreSQL documentation, chapter "SQL Syntax", section "Lexical Structure".
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Final, NamedTuple

LOOK_CHARACTERS: Final = 16_384
"""Longer text is not looked at: a bulk load should not hold up everybody else for the sake of a comment."""
PARTS_MAX: Final = 64
"""Comments and dollar quotes of one text, and delimiters within one comment; each is a step of Python."""

_SPACE: Final = " \t\n\r\f\v"
_IDLE: Final = _SPACE + ";"

_WORD: Final = r"[A-Za-z0-9_$\x80-\U0010ffff]"
_TAG: Final = r"(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*+)?"

# Code without comments and dollar quotes, as far as it goes; it also ends at a quote without an end, or with
# one that is not certain. A dollar sign is code where it begins no quote, and in the middle of a word; behind
# a digit it could be either. The outer repetition is not possessive: with assertions in it, CPython before
# 3.11.5 loses its place in such a one.
_CODE: Final = re.compile(
    rf"(?:[^'\"$/\-]++"
    rf"|-(?!-)"
    rf"|/(?!\*)"
    rf"|(?<=[eE])(?<!{_WORD}[eE])'(?>(?:[^'\\]++|''|\\.)*)'"
    rf"|'(?>(?:[^'\\]++|''|\\[^'])*)'"
    rf'|"(?>(?:[^"]++|"")*)"'
    rf"|\$(?!{_TAG}\$)"
    rf"|(?<=[A-Za-z_$\x80-\U0010ffff])\$"
    rf")*",
    re.DOTALL,
).match
_LINE: Final = re.compile(r"--[^\n\r]*").match
_DELIMITER: Final = re.compile(r"/\*|\*/")
_DOLLAR: Final = re.compile(rf"(?<![0-9])\${_TAG}\$").match


class Layout(NamedTuple):
    """Where things are in a text.

    Attributes:
        begin: Where the first token begins that is neither space, comment nor semicolon.
        end: Where the last of these ends; 0 if there are none.
        comments: Beginning and end of each comment, delimiters included; those inside others are not listed.
    """

    begin: int
    end: int
    comments: tuple[tuple[int, int], ...]


def survey(sql: str) -> Layout | None:
    """Find the ends and the comments of a text.

    Returns:
        None if they cannot be told for certain, or the text exceeds :data:`LOOK_CHARACTERS` or
        :data:`PARTS_MAX`.
    """
    if len(sql) > LOOK_CHARACTERS or "\0" in sql:
        return None
    begin = end = at = 0
    comments: list[tuple[int, int]] = []
    for _ in range(PARTS_MAX + 1):
        stop = _end(_CODE(sql, at))
        code = sql[at:stop].rstrip(_IDLE)
        if code:
            begin = begin if end else at + len(code) - len(code.lstrip(_IDLE))
            end = at + len(code)
        if stop == len(sql):
            return Layout(begin, end, tuple(comments))
        if sql.startswith("/*", stop):
            at = _comment_end(sql, stop + 2)
            comments.append((stop, at))
        elif sql.startswith("--", stop):
            at = _end(_LINE(sql, stop))
            comments.append((stop, at))
        else:
            at = _dollar_end(sql, stop)
            begin = begin if end else stop
            end = at
        if at < 0:
            return None
    return None


def _end(match: re.Match[str] | None) -> int:
    return -1 if match is None else match.end()


def _comment_end(sql: str, at: int) -> int:
    """Where the comment ends whose opening ends here; -1 if it doesn't. Comments nest."""
    depth = 1
    for match in islice(_DELIMITER.finditer(sql, at), PARTS_MAX):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    return -1


def _dollar_end(sql: str, at: int) -> int:
    """Where the dollar quote ends that begins here; -1 if there is none, or none for certain."""
    opening = _DOLLAR(sql, at)
    if opening is None:
        return -1
    close = sql.find(opening[0], opening.end())
    end = close + len(opening[0])
    # Another one at once, or the middle of a word?
    return -1 if close < 0 or sql.startswith("$", end) else end
