"""What a text is: proofs where nothing speaks against them, suspicions where anything speaks for them."""

import pytest

from seawall.wire.pgwire import classify as module
from seawall.wire.pgwire.classify import (
    BEGINS,
    CHAINS,
    COMMITS,
    DENIED,
    NOTIFIES,
    READ_ONLY,
    ROLLS_BACK,
    SESSION_ONLY,
    SEVERAL,
    TWO_PHASE,
    UNSURE,
    WRITES,
    classify,
)
from tests.wire.texts import PROVEN, UNPROVEN

# Exactly these flags.
EXACT = [
    (b"", READ_ONLY),
    (b";", READ_ONLY),
    (b" ; ; ", READ_ONLY),
    (b"-- ping", READ_ONLY),
    (b"/* ping */", READ_ONLY),
    (b"SELECT 1", READ_ONLY),
    (b"SELECT 1;", READ_ONLY),
    (b"SELECT 1; ;", READ_ONLY),
    (b"SELECT 1; SELECT 2", READ_ONLY | SEVERAL),
    (b"SELECT 1; INSERT INTO t VALUES (1)", WRITES | SEVERAL),
    (b"SHOW search_path", READ_ONLY | SESSION_ONLY),
    (b"SHOW a; SELECT 1", READ_ONLY | SESSION_ONLY | SEVERAL),
    (b"SET x = 1", SESSION_ONLY),
    (b"SET LOCAL x TO 'COMMIT; DROP TABLE t'", SESSION_ONLY),
    (b"SET SESSION AUTHORIZATION bob", SESSION_ONLY),
    (b"SET TRANSACTION READ ONLY", SESSION_ONLY),
    (b"SET CONSTRAINTS ALL IMMEDIATE", 0),
    (b"SET x = 1; SELECT 1", SESSION_ONLY | SEVERAL),
    (b"SET x = 1; UPDATE t SET a = 1", WRITES | SEVERAL),
    (b"RESET ALL", SESSION_ONLY),
    (b"DISCARD ALL", SESSION_ONLY),
    (b"LISTEN a", SESSION_ONLY),
    (b"UNLISTEN *", SESSION_ONLY),
    (b"DEALLOCATE p", SESSION_ONLY),
    (b"PREPARE p AS INSERT INTO t VALUES ($1)", SESSION_ONLY),
    (b"PREPARE p (int) AS SELECT f($1)", SESSION_ONLY),
    (b"EXECUTE p", 0),
    (b"CALL p()", 0),
    (b"LOCK TABLE t", 0),
    (b"SAVEPOINT a", SESSION_ONLY),
    (b"RELEASE SAVEPOINT a", SESSION_ONLY),
    (b"ROLLBACK TO a", SESSION_ONLY),
    (b"ROLLBACK TO SAVEPOINT a", SESSION_ONLY),
    (b"rollback work to savepoint a", SESSION_ONLY),
    (b"ROLLBACK TRANSACTION TO a", SESSION_ONLY),
    (b"FETCH 10 FROM c", SESSION_ONLY),
    (b"MOVE c", SESSION_ONLY),
    (b"CLOSE ALL", SESSION_ONLY),
    (b"DECLARE c CURSOR FOR SELECT * FROM t", SESSION_ONLY),
    (b'DECLARE "a b" NO SCROLL CURSOR WITH HOLD FOR (SELECT 1)', SESSION_ONLY),
    (b"DECLARE c BINARY INSENSITIVE CURSOR WITHOUT HOLD FOR VALUES (1)", SESSION_ONLY),
    (b"DECLARE c CURSOR FOR SELECT nextval('s')", 0),
    (b"DECLARE c CURSOR FOR SELECT * FROM t FOR UPDATE", 0),
    (b"DECLARE c CURSOR", 0),
    (b"BEGIN", BEGINS | SESSION_ONLY),
    (b"begin;", BEGINS | SESSION_ONLY),
    (b"Begin Transaction", BEGINS | SESSION_ONLY),
    (b"BEGIN WORK", BEGINS | SESSION_ONLY),
    (b"/* x */ BEGIN ISOLATION LEVEL SERIALIZABLE, READ WRITE;", BEGINS | SESSION_ONLY),
    (b"START TRANSACTION READ ONLY", BEGINS | SESSION_ONLY),
    (b"BEGIN; SELECT 1", BEGINS | SESSION_ONLY | SEVERAL),
    (b"BEGIN; UPDATE t SET a = 1; COMMIT", BEGINS | COMMITS | WRITES | SEVERAL),
    (b"COMMIT", COMMITS),
    (b"commit ;", COMMITS),
    (b"COMMIT WORK", COMMITS),
    (b"END", COMMITS),
    (b"END TRANSACTION", COMMITS),
    (b"COMMIT AND CHAIN", COMMITS | CHAINS),
    (b"END WORK AND/**/CHAIN", COMMITS | CHAINS),
    (b"COMMIT AND NO CHAIN", COMMITS),
    (b"ROLLBACK", ROLLS_BACK),
    (b"ABORT;", ROLLS_BACK),
    (b"ROLLBACK AND CHAIN", ROLLS_BACK | CHAINS),
    (b"PREPARE TRANSACTION 'x'", TWO_PHASE),
    (b"COMMIT PREPARED 'x'", TWO_PHASE),
    (b"ROLLBACK PREPARED 'x'", TWO_PHASE),
    (b"COMMIT/* ; */PREPARED 'x'", TWO_PHASE),
    (b"NOTIFY a", NOTIFIES),
    (b"NOTIFY a, 'b'", NOTIFIES),
    (b"SELECT pg_notify('a', 'b')", NOTIFIES),
    (b"SELECT 1 FROM pg_catalog . pg_notify($1, $2)", NOTIFIES),
    (b"DO $$ BEGIN NOTIFY a; END $$", NOTIFIES),
    (b"DO $$ BEGIN NULL; END $$", 0),
    (b"INSERT INTO t VALUES ('; COMMIT')", WRITES),
    (b"UPDATE t SET a = 1", WRITES),
    (b"delete from t", WRITES),
    (b"MERGE INTO t USING s ON true WHEN MATCHED THEN DO NOTHING", WRITES),
    (b"TRUNCATE t", WRITES),
    (b"CREATE TABLE t (a int)", WRITES),
    (b"ALTER TABLE t ADD a int", WRITES),
    (b"DROP TABLE t", WRITES),
    (b"GRANT SELECT ON t TO x", WRITES),
    (b"ANALYZE t", WRITES),
    (b"WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", WRITES),
    (b"WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", WRITES),
    (b"SELECT 1 AS a INTO t", WRITES),
    (b"SELECT * FROM t FOR UPDATE", 0),
    (b"WITH x AS (SELECT * FROM t FOR NO KEY UPDATE) SELECT * FROM x", 0),
    (b"EXPLAIN ANALYZE INSERT INTO t VALUES (1)", WRITES),
    (b"EXPLAIN INSERT INTO t VALUES (1)", 0),
    (b"COPY t FROM STDIN", WRITES),
    (b"copy t (a, b) from stdin with (format csv)", WRITES),
    (b"COPY t TO STDOUT", 0),
    (b"COPY (SELECT * FROM t) TO STDOUT", 0),
    (b"COPY (DELETE FROM t RETURNING *) TO STDOUT", WRITES),
    (b"COPY program FROM stdin", WRITES),
    (b"UPDATE system SET a = 1", WRITES),
    (b"nonsense", 0),
    (b"\xff\xfe", 0),
    (b"\0", 0),
]


@pytest.mark.parametrize(("sql", "flags"), EXACT)
def test_each_text_is_what_it_is(sql: bytes, flags: int) -> None:
    assert classify(sql) == flags


@pytest.mark.parametrize("sql", PROVEN)
def test_a_harmless_read_is_proven(sql: str) -> None:
    assert classify(sql.encode()) & (READ_ONLY | UNSURE) == READ_ONLY


@pytest.mark.parametrize("sql", UNPROVEN)
def test_what_may_do_more_than_read_is_not_proven(sql: str) -> None:
    assert not classify(sql.encode()) & (READ_ONLY | SESSION_ONLY)


@pytest.mark.parametrize(
    "sql",
    [
        b"SELECT dblink_exec('c', 'DELETE FROM t')",
        b"SELECT * FROM dblink('c', 'SELECT 1') AS t(a int)",
        b'SELECT "dblink_exec"($1)',
        b"SELECT query_to_xml('SELECT dblink_exec(1)', true, true, '')",
        b"DO $$ BEGIN PERFORM dblink_exec('x'); END $$",
        b"PREPARE p AS SELECT lo_import($1)",
        b"SELECT lo_export(1, '/tmp/x')",
        b"COPY t FROM '/tmp/x'",
        b"COPY t TO '/tmp/x'",
        b"COPY t TO $$/tmp/x$$",
        b"COPY t TO E'/tmp/x'",
        b"COPY t FROM/**/'/tmp/x'",
        b"COPY t TO U&'/tmp/x'",
        b"COPY (SELECT * FROM stdin) TO '/tmp/x'",
        b"COPY (SELECT * FROM stdin) TO PROGRAM 'cat'",
        b"copy t from program 'cat'",
        b"copy t from program$$cat$$",
        b"SELECT pg_read_file('x')",
        b"SELECT pg_catalog.pg_read_binary_file('x')",
        b"SELECT pg_ls_dir('.')",
        b"SELECT pg_stat_file('x')",
        b"SELECT pg_reload_conf()",
        b"SELECT pg_switch_wal()",
        b"SELECT PG_TERMINATE_BACKEND(1)",
        b"SELECT pg_cancel_backend/**/(1)",
        b"SELECT pg_create_logical_replication_slot('a', 'b')",
        b"SELECT pg_create_physical_replication_slot('a')",
        b"SELECT pg_drop_replication_slot('a')",
        b"SELECT * FROM pg_logical_slot_get_changes('a', null, null)",
        b"ALTER SYSTEM SET work_mem = '1MB'",
        b"ALTER/**/SYSTEM RESET ALL",
        b"CREATE DATABASE x",
        b"DROP TABLESPACE x",
        b"ALTER SUBSCRIPTION x DISABLE",
        b"VACUUM t",
        b"CHECKPOINT",
        b"CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)",
        b"REINDEX TABLE CONCURRENTLY t",
        b"DO LANGUAGE plpython3u $$ import os $$",
        b"DO $$ use strict $$ LANGUAGE 'plperlu'",
        b"/* no_replay */ SELECT 1",
        b"/*NO_REPLAY*/ INSERT INTO t VALUES (1)",
        b"INSERT INTO t VALUES (1) /*   No_Replay\t*/",
        b"SELECT 1 /* web: orders, no_replay */",
        b"SELECT 1 -- no_replay",
        b'SELECT U&"dbl\\0069nk"($1)',
        b"START_REPLICATION SLOT a LOGICAL 0/0",
        b"IDENTIFY_SYSTEM; CREATE_REPLICATION_SLOT a LOGICAL b",
    ],
)
def test_what_must_not_be_said_twice_is_denied(sql: bytes) -> None:
    assert classify(sql) & DENIED


@pytest.mark.parametrize(
    "sql",
    [
        b"SELECT no_replay FROM t",
        b"SELECT language FROM books",
        b"SELECT * FROM pg_catalog.pg_class",
        b"SELECT pg_get_viewdef(1)",
        b"SELECT lo_date FROM t",
        b"CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'",
        b"INSERT INTO t SELECT a FROM database",
        b"ALTER TABLE t ADD COLUMN system int",
        b"COPY t TO STDOUT",
    ],
)
def test_what_only_sounds_so_is_not(sql: bytes) -> None:
    assert not classify(sql) & DENIED


def test_a_name_in_escapes_may_be_any() -> None:
    flags = classify(b"SELECT U&\"\\0070g_notify\"('a', 'b')")
    assert flags & (DENIED | NOTIFIES | READ_ONLY) == DENIED | NOTIFIES


@pytest.mark.parametrize(
    "sql",
    [
        b"SELECT 'a\\'; COMMIT; --'",
        b"SELECT E'\x83\\'; COMMIT; --'",
        b"SELECT 'a' 'b\\'; END; --",
        b"/* /* */ */ COMMIT",
        b"SELECT 1 /* COMMIT",
        b'SELECT "COMMIT',
        b"SELECT $$ COMMIT",
        b"SELECT $a$ COMMIT $b$",
        b"SELECT 1$a$; COMMIT; $a$",
        b"SELECT U&'\\0041'; END",
    ],
)
def test_what_can_not_be_split_may_commit(sql: bytes) -> None:
    assert classify(sql) & (COMMITS | UNSURE | READ_ONLY | SESSION_ONLY) == COMMITS | UNSURE


@pytest.mark.parametrize(
    ("sql", "flags"),
    [
        (b"SELECT 'a\\'; NOTIFY a; --'", NOTIFIES),
        (b"SELECT 'a\\'; PREPARE/**/TRANSACTION 'x'; --'", TWO_PHASE),
        (b"SELECT 'a\\'; COMMIT PREPARED 'x'; --'", TWO_PHASE),
        (b"SELECT 'a\\'; COMMIT AND CHAIN; --'", COMMITS | CHAINS),
        (b"SELECT 'a\\'; ROLLBACK; --'", ROLLS_BACK),
        (b"SELECT 'a\\'; BEGIN; --'", BEGINS),
        (b"SELECT 'a\\'; DELETE FROM t; --'", WRITES),
        (b"SELECT 'a\\'; /**/ COPY t FROM STDIN; --'", DENIED),
        (b"SELECT 'a\\'; /**/ ALTER SYSTEM RESET ALL; --'", DENIED),
        (b"SELECT 'a\\'; SELECT dblink(1); --'", DENIED),
        (b"SELECT 'a\\' /* no_replay */", DENIED),
    ],
)
def test_of_such_a_text_every_suspicion_counts(sql: bytes, flags: int) -> None:
    assert classify(sql) & (flags | UNSURE) == flags | UNSURE


def test_an_ordinary_text_with_a_backslash_is_suspected_of_little() -> None:
    assert classify(b"INSERT INTO t VALUES ('C:\\dir')") == UNSURE | WRITES
    assert classify(b"SELECT 'C:\\dir'") == UNSURE


def test_what_is_inside_a_function_body_may_count_but_is_never_missed() -> None:
    flags = classify(b"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END")
    assert flags & (WRITES | COMMITS | SEVERAL) == WRITES | COMMITS | SEVERAL


FILLER = b"'" + b"x" * module.LOOK_BYTES + b"'"


@pytest.mark.parametrize(
    ("sql", "flags"),
    [
        (b"INSERT INTO t VALUES (" + FILLER + b")", WRITES | NOTIFIES),
        (b"SELECT " + FILLER, NOTIFIES),
        (b"COMMIT" + b" " * module.LOOK_BYTES, COMMITS | NOTIFIES),
        # Behind what is looked at stands another statement, or the first word isn't reached.
        (b"SELECT " + FILLER + b"; COMMIT", COMMITS | NOTIFIES),
        (b"SELECT " + FILLER + b";", COMMITS | NOTIFIES),
        (b"/*" + FILLER + b"*/ COMMIT", COMMITS | NOTIFIES),
        (b" " * (module.LOOK_BYTES - 3) + b"COMMIT", COMMITS | NOTIFIES),
        # Hints are only found within it.
        (b"/* no_replay */ SELECT " + FILLER, NOTIFIES | DENIED),
        (b"SELECT dblink(" + FILLER + b")", NOTIFIES | DENIED),
    ],
)
def test_a_long_text_is_taken_for_what_it_may_be(sql: bytes, flags: int) -> None:
    assert classify(sql) == UNSURE | flags


def test_a_very_long_text_is_not_even_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEARCH_BYTES", module.LOOK_BYTES)
    assert classify(b"INSERT INTO t VALUES (" + FILLER + b")") == UNSURE | WRITES | NOTIFIES | COMMITS


def test_the_longest_text_that_is_looked_at_whole() -> None:
    sql = b"SELECT '" + b"x" * (module.LOOK_BYTES - 9) + b"'"
    assert classify(sql) == READ_ONLY
    assert classify(sql + b" ") & UNSURE


def test_short_texts_are_remembered_in_bounded_memory() -> None:
    memory = module._remembered
    memory.cache_clear()
    for at in range(module.CACHED_TEXTS + 10):
        classify(b"SELECT %d FROM t" % at)
    classify(b"SELECT 5 FROM t WHERE a = '" + b"x" * module.CACHED_BYTES + b"'")
    information = memory.cache_info()
    assert information.currsize == information.maxsize == module.CACHED_TEXTS
    assert information.misses == module.CACHED_TEXTS + 10
    classify(b"SELECT 15 FROM t")
    assert memory.cache_info().hits == 1


@pytest.mark.parametrize(
    "piece",
    [
        b"a.",
        b"a. ",
        b"1.",
        b"over(",
        b")over(",
        b"lower(x) filter(",
        b"(",
        b"join (",
        b"declare c cursor ",
        b"t(a) as (",
        b"commit ",
        b"for no key ",
        b"/*",
        b"/* */",
        b"$a$",
        b"e'",
        b";do",
        b"a;",
        b"no_replay ",
        b"language ",
        b" ",
        b'"a" ',
    ],
)
def test_no_text_takes_long(piece: bytes) -> None:
    # The two seconds of a unit test are the bound: quadratic time would take minutes.
    for start in (b"", b"select ", b"explain ", b"copy ", b"declare c cursor for select "):
        sql = start + piece * ((module.LOOK_BYTES - len(start)) // len(piece))
        assert classify(sql) >= 0
