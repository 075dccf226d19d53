"""A second opinion on SQL text: PostgreSQL's lexer, one character after the other, without patterns.

Slow, plain, and by another way than the code under test. It says what tokens a server would see, with either
setting of ``standard_conforming_strings``.
"""

from __future__ import annotations

SPACE = " \t\n\r\f\v"
OPERATORS = "+-*/<>=~!@#%^&|`?"
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
DIGITS = "0123456789"


class EndlessError(Exception):
    """A literal, an identifier or a comment that doesn't end."""


def _letter(char: str) -> bool:
    return char in LETTERS or ord(char) >= 128


def _word(char: str) -> bool:
    return _letter(char) or char in DIGITS or char == "$"


class Lexer:
    """Tokens and comments of a text.

    Args:
        sql: The text.
        standard: ``standard_conforming_strings``.
    """

    def __init__(self, sql: str, *, standard: bool) -> None:
        self.sql = sql
        self.standard = standard
        self.at = 0
        self.tokens: list[str] = []
        self.comments: list[str] = []
        while self.at < len(sql):
            self._next()

    def _next(self) -> None:
        sql, start = self.sql, self.at
        if sql[start] in SPACE:
            self.at += 1
        elif sql.startswith("--", start):
            while self.at < len(sql) and sql[self.at] not in "\n\r":
                self.at += 1
            self.comments.append(sql[start : self.at])
        elif sql.startswith("/*", start):
            self._comment()
            self.comments.append(sql[start : self.at])
        else:
            self._token(sql[start])
            self.tokens.append(sql[start : self.at])

    def _token(self, char: str) -> None:
        sql, start = self.sql, self.at
        if char == "'":
            self._quoted("'", backslash=not self.standard)
        elif char == '"':
            self._quoted('"', backslash=False)
        elif _letter(char):
            self._word_or_literal()
        elif char in DIGITS:
            while self.at < len(sql) and sql[self.at] in DIGITS + ".":
                self.at += 1
        elif char == "$":
            self._dollar()
        elif char in OPERATORS:
            while self.at < len(sql) and sql[self.at] in OPERATORS:
                if self.at > start and sql[self.at : self.at + 2] in {"--", "/*"}:
                    break
                self.at += 1
        else:
            self.at += 1

    def _comment(self) -> None:
        depth = 0
        while self.at < len(self.sql):
            two = self.sql[self.at : self.at + 2]
            if two in {"/*", "*/"}:
                depth += 1 if two == "/*" else -1
                self.at += 2
                if depth == 0:
                    return
            else:
                self.at += 1
        raise EndlessError

    def _quoted(self, quote: str, *, backslash: bool) -> None:
        self.at += 1
        while self.at < len(self.sql):
            char = self.sql[self.at]
            if char == "\\" and backslash:
                self.at += 2
            elif char != quote:
                self.at += 1
            elif self.sql[self.at + 1 : self.at + 2] == quote:
                self.at += 2
            else:
                self.at += 1
                return
        raise EndlessError

    def _word_or_literal(self) -> None:
        sql, start = self.sql, self.at
        two = sql[start : start + 2].lower()
        three = sql[start : start + 3].lower()
        if two == "e'":
            self.at += 1
            self._quoted("'", backslash=True)
        elif two in {"b'", "x'"}:
            self.at += 1
            self._quoted("'", backslash=False)
        elif two == "n'":
            self.at += 1
            self._quoted("'", backslash=not self.standard)
        elif three in {"u&'", 'u&"'}:
            self.at += 2
            self._quoted(three[2], backslash=False)
        else:
            while self.at < len(sql) and _word(sql[self.at]):
                self.at += 1

    def _dollar(self) -> None:
        sql, end = self.sql, self.at + 1
        if end < len(sql) and (_letter(sql[end])):
            while end < len(sql) and _word(sql[end]) and sql[end] != "$":
                end += 1
        if sql[end : end + 1] == "$":
            delimiter = sql[self.at : end + 1]
            close = sql.find(delimiter, end + 1)
            if close < 0:
                raise EndlessError
            self.at = close + len(delimiter)
            return
        self.at += 1
        while self.at < len(sql) and sql[self.at] in DIGITS:
            self.at += 1


def tokens(sql: str, *, standard: bool = True) -> list[str] | None:
    """What a server sees beside comments; None if the text doesn't end."""
    try:
        return Lexer(sql, standard=standard).tokens
    except EndlessError:
        return None


def comments(sql: str) -> list[str]:
    """The comments of a text that ends."""
    return Lexer(sql, standard=True).comments
