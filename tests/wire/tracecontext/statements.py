"""Texts of SQL for property tests: whole ones, and ones glued together from what could mislead."""

from __future__ import annotations

from hypothesis import strategies as st

TOKENS = [
    "SELECT",
    "a",
    "e",
    "u",
    "fooe",
    "1",
    "$1",
    "*",
    "/",
    "-",
    "+-",
    "(",
    ")",
    ",",
    ";",
    "::text",
    ":name",
    "%s",
    "?",
    "'x'",
    "''",
    "'it''s'",
    "'/* no */'",
    "'-- no'",
    "'a\\b'",
    "'a\\\\'",
    "E'a\\'b'",
    "e'\\\\'",
    "B'01'",
    "X'1F'",
    "N'n'",
    "U&'\\0041'",
    'U&"\\0041"',
    '"id"',
    '"a""b"',
    '"/* no */"',
    "$$ /* no */ $$",
    "$a$ $$ ' $b$ $a$",
    "a$b",
    "a$$b",
    "\u00e9",
    "\u20ac$1",
    "'\u00e9'",
]
SPACES = [" ", "\n", "\t", "\r\n", "  "]
COMMENTS = ["/* c */", "/* ' */", "/*/* n */*/", "-- x\n", "-- '\r", "/* $$ */", "/***/"]
SCRAPS = [
    "'",
    '"',
    "\\",
    "$",
    "$$",
    "$a$",
    "/*",
    "*/",
    "*",
    "/",
    "--",
    "\n",
    "e'",
    "U&'",
    "E",
    "1",
    "a",
    ";",
    " ",
    "\u00e9",
]


def _texts(gaps: list[str]) -> st.SearchStrategy[str]:
    return st.lists(st.tuples(st.sampled_from(TOKENS), st.sampled_from(gaps)), max_size=12).map(
        lambda pairs: "".join(token + gap for token, gap in pairs)
    )


UNCOMMENTED = _texts(SPACES)
"""Texts that end, without comments."""

SQL = st.one_of(
    UNCOMMENTED,
    _texts(SPACES + COMMENTS),
    st.lists(st.sampled_from(SCRAPS), max_size=14).map("".join),
    st.text(max_size=40),
)
"""Any text, most of it misleading."""
