"""Masks the values in SQL, and in what PostgreSQL says about values.

A text that shows no sign of SQL is left alone. In one that does, every quoted literal and comment is masked
wherever it stands, and every number from the statement on; parameters keep their number (``$1``), and names
are kept, quoted ones if they are simple: a whole statement may stand between quotes. Where literals cannot be
told apart for certain, all from the first quote on is masked: a backslash before a quote means one thing or
another, by a setting of the server; an apostrophe in a word pairs with the wrong quote; a literal without an
end may have begun at any quote before. It is no parser: what looks like SQL and is not loses its numbers,
which is the harmless mistake.

Source: PostgreSQL documentation, chapter "SQL Syntax" (lexical structure).
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["mask_sql"]

_MASK: Final = "***"


def _signs(table: dict[str, str]) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Patterns by the text they begin with, which is searched for first: that is all that most messages cost.

    They are applied to lower case, since a pattern that ignores case is not searched for by its beginning.
    Their repetitions are bounded, so that no text costs the square of its length.
    """
    return tuple(
        (stem, re.compile(re.escape(stem) + (rf"(?<=\b{stem})" if stem.isalpha() else "") + rest))
        for stem, rest in table.items()
    )


_OBJECTS: Final = (
    r"\s+(?:[a-z]+\s+){0,3}(?:aggregate|database|domain|function|index|policy|procedure|publication|role|rule"
    r"|schema|sequence|server|subscription|system|table|trigger|type|user|view)\b"
)
_STATEMENTS: Final = _signs(
    {
        "select": r"\b",
        "explain": r"\b",
        "returning": r"\b",
        "insert": r"\s+into\b",
        "delete": r"\s+from\b",
        "merge": r"\s+into\b",
        "values": r"\s*\(",
        "update": r"\s+\S{1,200}(?:\s+(?:as\s+)?\w{1,100})?\s+set\b",
        "copy": r"\s+\S.{0,200}?\s(?:from|to)\b",
        "call": r"\s+[\w.\"]{1,200}\s*\(",
        "execute": r"\s+[\w\"]{1,100}\s*\(",
        "prepare": r"\s+(?:transaction\b|\S.{0,200}?\sas\b)",
        "commit": r"\s+prepared\b",
        "rollback": r"\s+prepared\b",
        "comment": r"\s+on\b",
        "declare": r"\s+\S.{0,200}?\scursor\b",
        "alter": _OBJECTS,
        "create": _OBJECTS,
        "set": r"\s+(?:local\s+|session\s+)?[\w.]{1,100}\s*(?:=|\bto\b)",
        "where": r"\s+\S{1,200}\s*(?:[=<>!~]|\b(?:in|is|like|ilike|between|any)\b)",
        "notify": r"\s+\w{1,100}\s*,",
        "do": r"\s*\$",
        "'": r"(?<=[=<>(,]')",
        " '": r"(?<=[=<>(,] ')",
    }
)
_ENDINGS: Final = _signs(
    {
        "key": r"\s+\(.{0,200}?\)=\(",
        "failing": r"\s+row contains\s*\(",
        "param": r"(?:eter)?s?\b[\"']?\s*[:=]\s*",
        "$": r"\d+\s*=\s*",
        "invalid": r" (?:byte|cidr|end|escape|hexadecimal|input|json|name|regular|symbol|unicode|value|xml)\b"
        r"[^:\"]{0,200}[:\"]\s*",
        "malformed": r"\b[^:]{0,200}:\s*",
        "out": r" of range\b[^:]{0,200}:\s*",
        "value": r"\s+(?=\")",
        "token": r"\s+(?=\")",
        "near": r"\s+(?=\")",
        "found": r"\s+(?=\")",
        '"': r"(?=[^\"]{0,500}\" is out of range)",
        # What the server says beside its message, as clients print it: rows, parameters, statements.
        "detail": r":\s",
        "context": r":\s",
        "statement": r":\s",
        "line": r"\s+\d+[:,]\s",
    }
)
# In this order: what begins a literal or a comment hides everything inside it. What has no end runs to the
# end of the text. Comments nest: the last end is taken.
_LEXEMES: Final = re.compile(
    r"(?P<torn>(?<=\w)')"
    r"|(?P<escaped>\b[eE]'(?:[^'\\]|\\.|'')*(?:'|$))"
    r"|(?P<quoted>(?:\b[bBnNxX]|\b[uU]&)?'(?:[^']|'')*(?:'|$))"
    r"|(?P<dollar>(?<![\w$])\$(?P<tag>[^\W\d]\w*|)\$.*?(?:\$(?P=tag)\$|$))"
    r"|(?P<name>\"(?:[^\"]|\"\")*(?:\"|$))"
    r"|(?P<line>--[^\r\n]*)"
    r"|(?P<block>/\*(?:.*\*/|.*$))"
    r"|(?P<parameter>\$\d+)"
    r"|(?P<number>(?<![\w$])\.?\d[\w.]*)",
    re.DOTALL,
)
_SIMPLE_NAME: Final = re.compile(r"\"[^\W\d][\w$.\-]{0,62}\"")


def mask_sql(text: str) -> str:
    """The text without values, if it shows a sign of SQL; the same text if it does not."""
    lower = text.lower()
    ending = _first(_ENDINGS, lower)
    if ending is not None:
        # A letter may become two in lower case; then nothing is known about places.
        text = text[: ending.end()] + _MASK if len(lower) == len(text) else _MASK
        lower = text.lower()
    found = _first(_STATEMENTS, lower)
    if found is None:
        return text
    statement = found.start() if len(lower) == len(text) else 0
    quote = text.find("'")
    if "\\'" in text:
        text = text[:quote] + _MASK
    unclear = False

    def masked(lexeme: re.Match[str]) -> str:
        nonlocal unclear
        kind, said = lexeme.lastgroup, lexeme.group()
        if kind == "parameter" or (kind == "number" and lexeme.start() < statement):
            return said
        if kind == "name" and _SIMPLE_NAME.fullmatch(said) is not None:
            return said
        open_ended = said[-1] != "'" or said.find("'") == len(said) - 1
        unclear |= kind == "torn" or (kind == "name" and "'" in said)
        unclear |= kind in {"escaped", "quoted"} and open_ended
        return _MASK

    shown = _LEXEMES.sub(masked, text)
    return mask_sql(text[:quote] + _MASK) if unclear else shown


def _first(signs: tuple[tuple[str, re.Pattern[str]], ...], lower: str) -> re.Match[str] | None:
    first: re.Match[str] | None = None
    for stem, pattern in signs:
        if stem in lower:
            found = pattern.search(lower)
            if found is not None and (first is None or found.start() < first.start()):
                first = found
    return first
