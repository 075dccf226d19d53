"""Values in SQL, and in what PostgreSQL says about them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.telemetry.redaction.sql import mask_sql
from tests.telemetry.logs.lines import PLANTED


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("select * from t where a = 'x' and b=4711", "select * from t where a = *** and b=***"),
        ("7 rows by SELECT $1, 8", "7 rows by SELECT $1, ***"),
        ("INSERT INTO \"T1\" VALUES ('it''s', -1.5e3, NULL)", 'INSERT INTO "T1" VALUES (***, -***, NULL)'),
        ("update t1 set a = $$x 'y'$$, b = $tag$z$tag$", "update t1 set a = ***, b = ***"),
        ("DELETE FROM t -- 4711\nWHERE a IN (1, 2)", "DELETE FROM t ***\nWHERE a IN (***, ***)"),
        ("/* a /* b */ c */ SELECT 1", "*** SELECT ***"),
        ("SELECT E'a\\nb', N'c', B'01', U&'d'", "SELECT ***, ***, ***, ***"),
        ("SELECT 'open", "SELECT ***"),
        ("SELECT a -> 'k' FROM t7 LIMIT 5", "SELECT a -> *** FROM t7 LIMIT ***"),
        ("couldn't SELECT 'x' FROM t", "couldn***"),
        ("SELECT DATE'2026-01-01' + 1, a", "SELECT DATE***"),
    ],
)
def test_values_go_and_names_stay(text, masked):
    assert mask_sql(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        f"Key (email)=({PLANTED}) already exists.",
        f"Key (lower(email))=({PLANTED}) already exists.",
        f'"{PLANTED}" is out of range for type double precision',
        f'invalid hexadecimal digit: "{PLANTED}"',
        f'syntax error at or near "{PLANTED}"',
        f'Token "{PLANTED}" is invalid.',
        f"failed\nDETAIL:  whatever {PLANTED}",
        f"failed\nCONTEXT:  COPY t, line 1: {PLANTED}",
        f"failed\nSTATEMENT:  {PLANTED}",
        f"COPY t, line 3, column a: {PLANTED}",
        f"CREATE TABLE t (a text DEFAULT '{PLANTED}')",
        f"ALTER TABLE t ALTER a SET DEFAULT '{PLANTED}'",
        f"PREPARE TRANSACTION '{PLANTED}'",
        f"ROLLBACK PREPARED '{PLANTED}'",
        f"COMMENT ON TABLE t IS '{PLANTED}'",
        f"SELECT'{PLANTED}'",
        f"couldn't run SELECT * FROM t WHERE a = '{PLANTED}'",
        f"the users' SELECT * FROM t WHERE a = '{PLANTED}'",
        f"SELECT 1 didn't work, nor did SELECT '{PLANTED}'",
        f'query "SELECT * FROM t WHERE a = {PLANTED}" failed',
        f"query {f'SELECT * FROM t WHERE a = {PLANTED!r}'!r} failed",
        f'{{"sql": "SELECT \\\\"a\\\\" FROM t WHERE a = {PLANTED}"}}',
        f"stray ' before SELECT '{PLANTED}' FROM t",
        f"Failing row contains (1, {PLANTED}, null).",
        f'invalid input syntax for type integer: "{PLANTED}"',
        f"parameters: $1 = '{PLANTED}', $2 = '7'",
        f"[parameters: ('{PLANTED}', {PLANTED})]",
        f"ALTER ROLE app PASSWORD '{PLANTED}'",
        f"CREATE USER x PASSWORD $${PLANTED}$$",
        f"INSERT INTO t VALUES (E'a\\' {PLANTED}', '{PLANTED}')",
        f"COPY t FROM '{PLANTED}'",
        f"SET search_path = '{PLANTED}'",
        f"NOTIFY jobs, '{PLANTED}'",
        f"EXECUTE find ('{PLANTED}')",
        f"DO $x$ begin {PLANTED} end $x$",
        f"a ='{PLANTED}'",
        f"İİİ where a = '{PLANTED}'",
    ],
)
def test_no_value_is_left(text):
    assert PLANTED not in mask_sql(text)


@pytest.mark.parametrize(
    "text",
    ["don't reset 5 and don't update 3 sets", "the offset is 7", "call 5 of 7 failed", "create 3 backends"],
)
def test_what_is_no_sql_is_left_alone(text):
    assert mask_sql(text) == text


@given(st.text("ab 'x\"$-/*E\\", max_size=40), st.text("ab '$\"", max_size=20))
def test_a_quoted_literal_is_masked_whatever_stands_around_it(value, after):
    literal = "'" + (PLANTED + value).replace("'", "''") + "'"
    assert PLANTED not in mask_sql(f"select {literal}{after}")
