"""No disguise of space, comments or case hides a dangerous statement, and no bytes upset the scan."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.wire.pgwire import scan
from seawall.wire.pgwire.scan import bound_names, custom_names, suspicion, tag_suspicion

DANGEROUS = [
    ("SET x = 1", scan.SETTINGS),
    ("SET SESSION x TO 1", scan.SETTINGS),
    ("SET SESSION AUTHORIZATION x", scan.SETTINGS),
    ("RESET ALL", scan.SETTINGS),
    ("SELECT set_config ( 'x' , 'y' , false )", scan.SETTINGS),
    ("SELECT pg_catalog . set_config ( 'x' , 'y' , 'f' )", scan.SETTINGS),
    ("UPDATE t SET a = set_config ( b , c , false )", scan.SETTINGS | scan.COMPUTED_NAME),
    ("CREATE TEMP TABLE t ( a int )", scan.TEMPORARY),
    ("CREATE OR REPLACE LOCAL TEMPORARY VIEW t AS SELECT 1", scan.TEMPORARY),
    ("SELECT 1 AS a INTO TEMP t", scan.TEMPORARY),
    ("CREATE TABLE pg_temp . t ( a int )", scan.TEMPORARY),
    ("SELECT pg_advisory_lock ( 1 )", scan.ADVISORY),
    ("SELECT pg_try_advisory_lock ( 1 )", scan.ADVISORY),
    ("LISTEN x", scan.LISTEN),
    ("UNLISTEN *", scan.RESET),
    ("PREPARE p AS SELECT 1", scan.PREPARED),
    ("EXECUTE p", scan.UNKNOWN),
    ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", scan.CURSOR),
    ("LOAD 'x'", scan.LOADED),
    ("SELECT currval ( 's' )", scan.SEQUENCE),
    ("SELECT pg_catalog . lastval ( )", scan.SEQUENCE),
    ("SELECT setseed ( 1 )", scan.STATEFUL),
    ("SET LOCAL seed = 1", scan.STATEFUL),
    ("DO 'BEGIN END'", scan.UNKNOWN),
    ("CALL p ( )", scan.UNKNOWN),
    ("DISCARD ALL", scan.RESET),
    ("CREATE DATABASE x", scan.DDL_DATABASE),
    ("PREPARE TRANSACTION 'x'", scan.TWO_PHASE),
]

SPACE = st.one_of(
    st.sampled_from([" ", "  ", "\n", "\t", "\r\n", "\f", "/**/", "/* ; */", "/*'*/", '/*"*/', "/* $$ */"]),
    st.sampled_from(
        [
            "-- x\n",
            "--'\n",
            "-- $a$ ;\n",
            "--\r",
            "/* SET LOCAL */",
            "/* /* */ */",
            "/***/",
            "/*/*/ */ */",
            "/*/ */",
            "/*/*/ SELECT 1 */ */",
        ]
    ),
)
GAP = st.lists(SPACE, min_size=1, max_size=3).map("".join)

BEFORE = [
    "SELECT 1;",
    "SELECT 'a;b';",
    "SELECT ';''';",
    "SELECT E'\\'';",
    "SELECT $$'$$;",
    "SELECT $a$;$b$'$a$;",
]
BEFORE += [
    "SELECT 'c:\\';",
    'SELECT "a;""b";',
    "SELECT a$b FROM t;",
    "SELECT $1;",
    "BEGIN;",
    "SET LOCAL a = 1;",
]
BEFORE += [
    "/* ' */ SELECT 1;",
    "SELECT 1 -- '\n;",
    "SELECT E'é\\';';",
    "SELECT U&'\\0041';",
    "SELECT 1$a$;",
    ";",
]

LEADING = st.one_of(
    st.just(""), GAP, st.tuples(st.sampled_from(BEFORE), st.one_of(st.just(""), GAP)).map("".join)
)
TRAILING = st.sampled_from(
    ["", ";", " ; ", "; SELECT 1", "; SELECT ''", "; SELECT '\\'", " -- x", " /* ' */", "; -- $$"]
)


def cased(draw: st.DrawFn, word: str) -> str:
    if word.startswith("'"):
        return word
    upper = draw(st.integers(0, 2 ** len(word) - 1))
    return "".join(c.upper() if upper >> at & 1 else c.lower() for at, c in enumerate(word))


@st.composite
def disguised(draw: st.DrawFn) -> tuple[bytes, int]:
    plain, flags = draw(st.sampled_from(DANGEROUS))
    words = plain.split(" ")
    sql = draw(LEADING) + cased(draw, words[0])
    for word in words[1:]:
        sql += draw(GAP) + cased(draw, word)
    return (sql + draw(TRAILING)).encode(draw(st.sampled_from(["utf-8", "latin-1"]))), flags


@given(disguised())
def test_no_disguise_helps(case: tuple[bytes, int]) -> None:
    sql, flags = case
    assert suspicion(sql) & flags == flags


SCRAPS = [
    b"'",
    b'"',
    b"\\",
    b"$$",
    b"$a$",
    b"$1",
    b"/*",
    b"*/",
    b"--",
    b"\n",
    b"\r",
    b";",
    b" ",
    b"e'",
    b'U&"',
    b"(",
]
SCRAPS += [
    b"set_config(",
    b"set ",
    b"temp",
    b"create ",
    b"do ",
    b"\xff",
    b"\0",
    b"x",
    b"local ",
    b",true)",
    b"a.b",
    b")",
]


@given(st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(SCRAPS), max_size=30).map(b"".join)))
def test_any_bytes_are_taken(sql: bytes) -> None:
    assert suspicion(sql) >= 0
    assert suspicion(b"select" + sql + b";") >= 0
    assert tag_suspicion(sql) >= 0
    assert len(custom_names(sql)) <= scan.NAMES_MAX
    assert len(bound_names(sql)) <= scan.NAMES_MAX


@given(st.lists(st.sampled_from(SCRAPS), max_size=12).map(b"".join))
def test_what_stands_before_a_statement_never_hides_it(scraps: bytes) -> None:
    # Only what opens a literal, a quoted identifier or a comment can make the rest anything but a command.
    sql = scraps + b"\n;SET x = 1"
    if not any(opening in scraps for opening in (b"'", b'"', b"$", b"/*", b"&")):
        assert suspicion(sql) & scan.SETTINGS


@pytest.mark.parametrize(("plain", "flags"), DANGEROUS)
def test_the_plain_form_is_found_first(plain: str, flags: int) -> None:
    assert suspicion(plain.encode()) & flags == flags
