"""A statement's summary names its command and its table, and never a value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.wire.pgwire.summary import COMMANDS, OTHER, summary

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT * FROM orders WHERE id = 7", ("SELECT", "orders")),
        ("select 1", ("SELECT", "")),
        ('SELECT x FROM "Orders"', ("SELECT", "orders")),
        ("SELECT x FROM shop.orders o JOIN lines l ON true", ("SELECT", "shop.orders")),
        ("INSERT INTO audit . entries (a) VALUES ('from hunter2')", ("INSERT", "audit.entries")),
        ("UPDATE ONLY stock SET n = 1", ("UPDATE", "stock")),
        ("UPDATE stock SET n = 1", ("UPDATE", "stock")),
        ("DELETE FROM carts", ("DELETE", "carts")),
        ("/* from hunter2 */ DELETE FROM carts", ("DELETE", "carts")),
        ("SELECT 'x FROM hunter2'", ("SELECT", "")),
        ("SELECT $a$ FROM hunter2 $a$", ("SELECT", "")),
        ("SELECT * FROM generate_series(1, 5)", ("SELECT", "")),
        ("SELECT * FROM (SELECT 1) AS x", ("SELECT", "")),
        ("WITH a AS (SELECT 1 FROM b) INSERT INTO c SELECT * FROM a", ("INSERT", "c")),
        ("WITH a AS (INSERT INTO b VALUES (1)) SELECT * FROM a", ("SELECT", "a")),
        ("TABLE orders", ("TABLE", "orders")),
        ("COPY orders FROM STDIN", ("COPY", "orders")),
        ("COPY (SELECT a FROM orders) TO STDOUT", ("COPY", "orders")),
        ("COMMIT", ("COMMIT", "")),
        ("SET x = 'hunter2'", ("SET", "")),
        ("BEGIN; SELECT * FROM orders", ("BEGIN", "")),
        ("SELECT a FROM b; SELECT c FROM d", ("SELECT", "b")),
        ("SELECT 'unfinished FROM hunter2", ("SELECT", "")),
        ("hunter2", (OTHER, "")),
        ("", (OTHER, "")),
        ("SELECT 1; hunter2", ("SELECT", "")),
        ("SELECT '\\' FROM hunter2 '", ("SELECT", "")),
        ("SELECT a FROM " + "x" * 200, ("SELECT", "")),
    ],
)
def test_what_is_said_of_a_statement(sql: str, expected: tuple[str, str]) -> None:
    assert summary(sql.encode()) == expected


@given(st.binary(max_size=200))
def test_any_bytes_will_do(sql: bytes) -> None:
    command, target = summary(sql)
    assert command == OTHER or command.lower().encode() in COMMANDS
    assert target.isascii()


PARTS = [
    "SELECT ",
    "'",
    '"',
    "$$",
    "$a$",
    "/*",
    "*/",
    "--",
    "\n",
    "E'",
    " FROM ",
    " into ",
    "t",
    "(",
    ")",
    ";",
]


@given(st.lists(st.sampled_from(PARTS), max_size=12))
def test_what_stands_in_a_literal_is_never_named(inside: list[str]) -> None:
    literal = "'" + "".join(inside).replace("'", "''") + " FROM hunter2'"
    for prefix in ("SELECT ", "SELECT a FROM t WHERE x = ", "INSERT INTO t VALUES ("):
        assert SECRET not in "".join(summary((prefix + literal).encode()))
