"""Where a text of SQL begins, ends and has its comments; and where that cannot be known."""

import pytest
from hypothesis import given

from seawall.wire.tracecontext.sql_text import LOOK_CHARACTERS, PARTS_MAX, Layout, survey
from tests.wire.tracecontext.lexer import comments, tokens
from tests.wire.tracecontext.statements import SQL


@pytest.mark.parametrize(
    ("sql", "layout"),
    [
        ("", Layout(0, 0, ())),
        (" ; \n;", Layout(0, 0, ())),
        ("SELECT 1", Layout(0, 8, ())),
        (" ; SELECT 1 ;; ", Layout(3, 11, ())),
        ("/* a */ -- b\n;", Layout(0, 0, ((0, 7), (8, 12)))),
        ("/* a */SELECT 1--b", Layout(7, 15, ((0, 7), (15, 18)))),
        ("'a'", Layout(0, 3, ())),
        (" ''''", Layout(1, 5, ())),
        (' "a;""/*" ;', Layout(1, 9, ())),
        ("$$ ' $$", Layout(0, 7, ())),
        ("$$$$", Layout(0, 4, ())),
        ("$$a$$'$$'", Layout(0, 9, ())),
        ("$a$ $b$ $$ $a$ ", Layout(0, 14, ())),
        ("a$$b$$ c", Layout(0, 8, ())),
        ("a1$b", Layout(0, 4, ())),
        ("$ $a", Layout(0, 4, ())),
        ("SELECT $1", Layout(0, 9, ())),
        ("SELECT $1, $2;", Layout(0, 13, ())),
        ("E'\\'' ", Layout(0, 5, ())),
        ("'\\\\' /*'*/", Layout(0, 4, ((5, 10),))),
        ("'a\\b'", Layout(0, 5, ())),
        ("1 /* /* */ */ ", Layout(0, 1, ((2, 13),))),
        ("1 /*/*/ */ */ 2", Layout(0, 15, ((2, 13),))),
        ("1 /***/ - -- x", Layout(0, 9, ((2, 7), (10, 14)))),
        ("--\r1", Layout(3, 4, ((0, 2),))),
        ("a */* b */", Layout(0, 3, ((3, 10),))),
        ("\u20ac$$\u20ac", Layout(0, 4, ())),
        ("$\u00e9$'$\u00e9$", Layout(0, 7, ())),
    ],
)
def test_finds_ends_and_comments(sql: str, layout: Layout) -> None:
    assert survey(sql) == layout


@pytest.mark.parametrize(
    "sql",
    [
        "'",
        "'a''",
        '"a',
        "/*",
        "/* /* */",
        "$$ $a$",
        "$a$ $A$",
        "E'\\'",
        "E'a\\",
        "'a\\' ",
        "'a\\'b'",
        "U&'\\'",
        "B'\\'",
        "1$$",
        "$$$$$$",
        "$$a$$$b$'$b$",
        "$1$$ $$",
        "1$a$ $a$",
        "a1$b$",
        "SELECT E'a'\n'b\\'c'",
        "SELECT 1\0",
        "x" * (LOOK_CHARACTERS + 1),
        "--\n" * (PARTS_MAX + 1),
        "$$ $$ " * (PARTS_MAX + 1),
        "/*" + "/**/" * PARTS_MAX + "*/",
    ],
)
def test_says_when_it_does_not_know(sql: str) -> None:
    assert survey(sql) is None


def test_looks_at_what_is_just_short_enough() -> None:
    assert survey("x" * LOOK_CHARACTERS) == Layout(0, LOOK_CHARACTERS, ())


def test_looks_at_as_many_parts_as_it_may() -> None:
    layout = survey("--\n" * PARTS_MAX + "x")
    assert layout is not None
    assert len(layout.comments) == PARTS_MAX
    assert survey("/*" + "/**/" * (PARTS_MAX // 2 - 1) + "*/x") is not None


@pytest.mark.parametrize("scrap", ["'", '"', "$a", "$a$", "E'\\", "/*", "*/", "--", "''", "$$'", "a$"])
def test_the_worst_text_takes_no_longer_than_its_length(scrap: str) -> None:
    # Quadratic work would take minutes here and run into the limit of every test.
    survey(scrap * (LOOK_CHARACTERS // len(scrap)))
    survey((scrap + " ") * (LOOK_CHARACTERS // (len(scrap) + 1)))


@given(SQL)
def test_agrees_with_a_plain_lexer(sql: str) -> None:
    layout = survey(sql)
    if layout is None:
        return
    seen = tokens(sql)
    assert seen is not None
    assert tokens(sql, standard=False) is not None
    significant = [token for token in seen if token != ";"]
    assert (layout.end > 0) == bool(significant)
    if significant:
        assert sql[layout.begin :].startswith(significant[0])
        assert sql[: layout.end].endswith(significant[-1])
        rest = tokens(sql[layout.end :])
        assert rest is not None
        assert set(rest) <= {";"}
    assert [sql[begin:end] for begin, end in layout.comments] == comments(sql)
