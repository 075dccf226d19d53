"""Suspicion: what is ordinary is cleared, what leaves something behind is found in every disguise."""

import pytest

from seawall.wire.pgwire import scan
from seawall.wire.pgwire.messages import bind
from seawall.wire.pgwire.scan import (
    ADVISORY,
    ASKABLE,
    BOUND_NAME,
    COMPUTED_NAME,
    CURSOR,
    DDL_DATABASE,
    LARGE_OBJECT,
    LISTEN,
    LOADED,
    PREPARED,
    REPLICATION,
    RESET,
    SEQUENCE,
    SETTINGS,
    STATEFUL,
    TEMPORARY,
    TWO_PHASE,
    UNKNOWN,
    bound_names,
    custom_names,
    suspicion,
    tag_suspicion,
)

ORDINARY = [
    b"",
    b";",
    b"SELECT 1",
    b"select 1;",
    b"\n   SELECT 1  ;  \n",
    b"/* web:orders */ SELECT 1",
    b"-- a comment\nSELECT 1",
    b"-- a comment\r\nSELECT 1",
    b"-- only a comment",
    b"(SELECT 1) UNION (SELECT 2)",
    b"UPDATE t SET a = 1 WHERE id = 5",
    b"UPDATE t SET a = ';'; ",
    b"INSERT INTO t VALUES ('; SET x = 1')",
    b"INSERT INTO t VALUES ('; LISTEN x') -- temp",
    b"INSERT INTO t (temp) VALUES (21.5)",
    b"SELECT temperature, attempt FROM template",
    b"SELECT '; DISCARD ALL', $$ ; SET x = 1 $$, $a$ ; LOAD 'x' $a$",
    b"SELECT E'\\'; LOAD ''x'''",
    b'SELECT "a;set x" FROM t',
    b"WITH x AS (SELECT 1) SELECT * FROM x",
    b"BEGIN",
    b"BEGIN ISOLATION LEVEL SERIALIZABLE;",
    b"START TRANSACTION",
    b"COMMIT",
    b"commit ;",
    b"ROLLBACK TO SAVEPOINT a",
    b"END",
    b"COMMIT AND CHAIN",
    b"SET LOCAL search_path = x",
    b"SET /* x */ LOCAL work_mem = '1MB'",
    b"BEGIN; SET LOCAL app.usr = '1'; SELECT 1; COMMIT",
    b"SET TRANSACTION READ ONLY",
    b"SET CONSTRAINTS ALL DEFERRED",
    b"SELECT set_config('app.usr', $1, true)",
    b"SELECT pg_catalog.set_config('search_path', $1, true), set_config($2, coalesce($3, ''), true)",
    b"select set_config(setting_name => 'a.b', new_value => 'x', is_local => true)",
    b"SELECT pg_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(2)",
    b"SELECT pg_advisory_xact_lock(1); SELECT 1",
    b"CREATE TABLE t (a int)",
    b"CREATE TABLE temperature (temp int)",
    b"ALTER TABLE t ADD temp int",
    b"CREATE TEMPLATE x",
    b"DECLARE c CURSOR FOR SELECT 1",
    b"DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1",
    b"FETCH 10 FROM c",
    b"NOTIFY x",
    b"EXPLAIN ANALYZE SELECT 1",
    b"SHOW search_path",
    b"COPY t FROM STDIN",
    b"COPY (SELECT 1) TO STDOUT",
    b"VACUUM ANALYZE t",
    b"DISCARD PLANS",
    b"SELECT lastval FROM t",
    b"SELECT 'lastval()' AS a",
    b"SELECT * FROM pg_replication_slots",
    b"GRANT SELECT ON t TO x",
    b"SELECT 1; SELECT 2; UPDATE t SET a = 1",
    b"ALTER SYSTEM SET work_mem = '1MB'",
    b"ALTER ROLE x SET work_mem = '1MB'",
    b"nonsense",
    b"\xff\xfe",
]

FOUND = [
    # settings
    (b"SET x = 1", SETTINGS),
    (b"set\tx to 1", SETTINGS),
    (b"/**/SET x = 1", SETTINGS),
    (b"SET/**/x = 1", SETTINGS),
    (b'SET"app"."usr"=1', SETTINGS),
    (b'SET "local".x = 1', SETTINGS),
    (b"SET local.x = 1", SETTINGS),
    (b"SET local . x = 1", SETTINGS),
    (b"SET SESSION x = 1", SETTINGS),
    (b"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", SETTINGS),
    (b"SET SESSION AUTHORIZATION bob", SETTINGS),
    (b"SET ROLE bob", SETTINGS),
    (b"SET TIME ZONE 'UTC'", SETTINGS),
    (b"SET NAMES 'UTF8'", SETTINGS),
    (b"SELECT 1; SET x = 1", SETTINGS),
    (b"SELECT 1;SET x = 1;", SETTINGS),
    (b"SELECT 1; -- ;\n /* ; */ SET x = 1", SETTINGS),
    (b"UPDATE t SET a = 'it''s'; SET x = 1", SETTINGS),
    (b"SELECT 'a\\'; SET x = 1; SELECT 'b'", SETTINGS),
    (b"SELECT 'a\\' || '; SET x = 1; --'", SETTINGS),
    (b"SELECT E'a\\'; '; SET x = 1", SETTINGS),
    (b"SELECT E'\x83\\'; SET x = 1; --'", SETTINGS),
    (b"SELECT $a$ ' $a$; SET x = 1", SETTINGS),
    (b"SELECT $A$ $a$ $A$; SET x = 1; SELECT $a$ $a$", SETTINGS),
    (b"SELECT $1$a$; SET x = 1; SELECT $a$", SETTINGS),
    (b"SELECT a$$ FROM t; SET x = 1; SELECT a$$", SETTINGS),
    (b"SELECT '/*'; SET x = 1; SELECT '*/'", SETTINGS),
    (b"SELECT '--'; SET x = 1", SETTINGS),
    (b"/* /* */ SELECT 1 */ SET x = 1", SETTINGS),
    (b"SELECT 1; /* /* */ */ SET x = 1", SETTINGS),
    (b"-- a\rSET x = 1", SETTINGS),
    (b'SELECT "a""; --" FROM t; SET x = 1', SETTINGS),
    (b"RESET x", SETTINGS | RESET),
    (b"RESET ALL", SETTINGS | RESET),
    (b"SELECT set_config('x', 'y', false)", SETTINGS),
    (b"select SET_CONFIG('x', $1, false)", SETTINGS),
    (b"SELECT pg_catalog . set_config ('x', 'y', false)", SETTINGS),
    (b"SELECT \"set_config\"('x', 'y', false)", SETTINGS),
    (b"SELECT set_config('x', 'y', $1)", SETTINGS),
    (b"SELECT set_config('x', 'y', \"true\") FROM t", SETTINGS),
    (b"SELECT set_config('x', 'y', true), set_config('x', 'y', false)", SETTINGS),
    (b"SELECT set_config('x', set_config('z', 'y', false), true)", SETTINGS),
    (b"SELECT set_config('x'::text, 'y', 'false')", SETTINGS),
    (
        b"SELECT set_config(is_local => false, setting_name => 'x', new_value => 'y')",
        SETTINGS | COMPUTED_NAME,
    ),
    (b"SELECT set_config('x' || 'y', 'z', false)", SETTINGS | COMPUTED_NAME),
    (b"SELECT set_config(name, value, false) FROM t", SETTINGS | COMPUTED_NAME),
    (b"SELECT set_config($$a.b$$, 'z', false)", SETTINGS | COMPUTED_NAME),
    (b"SELECT set_config($1, $2, false)", SETTINGS | BOUND_NAME),
    (b"SELECT set_config($1::text, $2, $3)", SETTINGS | BOUND_NAME),
    (b"SELECT query_to_xml('select set_config(''x'', ''y'', false)', true, true, '')", SETTINGS),
    (b"SELECT set_config('x', 'a\\b', false)", SETTINGS),
    (b"SELECT set_config('seed', '0.5', true)", STATEFUL),
    (b"SELECT U&\"set\\005fconfig\"('x', 'y', false)", SETTINGS | UNKNOWN),
    (b"SELECT u&\"set!005fconfig\" UESCAPE '!' ('x', 'y', false)", UNKNOWN | COMPUTED_NAME),
    # temporary objects
    (b"CREATE TEMP TABLE t (a int)", TEMPORARY),
    (b"create temporary table t as select 1", TEMPORARY),
    (b"CREATE /*x*/ TEMP TABLE t (a int)", TEMPORARY),
    (b"CREATE\nLOCAL--x\nTEMPORARY TABLE t (a int)", TEMPORARY),
    (b"CREATE GLOBAL TEMP TABLE t (a int)", TEMPORARY),
    (b"CREATE OR REPLACE TEMP VIEW v AS SELECT 1", TEMPORARY),
    (b"CREATE TEMP SEQUENCE s", TEMPORARY),
    (b"CREATE TABLE pg_temp.t (a int)", TEMPORARY),
    (b'CREATE TABLE "pg_temp" . t (a int)', TEMPORARY),
    (b"CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", TEMPORARY),
    (b'CREATE TABLE U&"pg\\005ftemp".t (a int)', UNKNOWN),
    (b"SELECT 1 AS a INTO TEMP t", TEMPORARY),
    (b"SELECT 1 AS a INTO/**/TEMPORARY TABLE t", TEMPORARY),
    (b"SELECT 1 AS a INTO LOCAL TEMP t", TEMPORARY),
    (b"SELECT 1 AS a INTO pg_temp.t", TEMPORARY),
    (b"WITH x AS (SELECT 1) SELECT * INTO TEMP t FROM x", TEMPORARY),
    (b"EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1", TEMPORARY),
    (b"SET LOCAL search_path = pg_temp", TEMPORARY),
    (b"SELECT set_config('search_path', 'pg_temp', true)", TEMPORARY),
    (b"SELECT 'a\\'; CREATE TEMP TABLE t (a int); --'", TEMPORARY),
    # locks
    (b"SELECT pg_advisory_lock(1)", ADVISORY),
    (b"SELECT pg_catalog . pg_advisory_lock(1)", ADVISORY),
    (b"SELECT PG_TRY_ADVISORY_LOCK_SHARED(1)", ADVISORY),
    (b"SELECT pg_advisory_xact_lock(1), pg_advisory_lock(2)", ADVISORY),
    (b'SELECT "pg_advisory_lock"(1)', ADVISORY),
    (b"SELECT pg_advisory_unlock(1)", RESET),
    (b"SELECT pg_advisory_unlock_all()", RESET),
    # channels, statements, cursors
    (b"LISTEN x", LISTEN),
    (b"SELECT 1;LISTEN x", LISTEN),
    (b"UNLISTEN *", RESET),
    (b"PREPARE p AS SELECT 1", PREPARED),
    (b"PREPARE transaction AS SELECT 1", PREPARED),
    (b"PREPARE p (int) AS SELECT $1", PREPARED),
    (b"EXECUTE p", UNKNOWN),
    (b"EXPLAIN ANALYZE EXECUTE p", UNKNOWN),
    (b"CREATE TABLE t AS EXECUTE p", UNKNOWN),
    (b"CREATE TABLE t AS /**/ EXECUTE p", UNKNOWN),
    (b"DEALLOCATE p", RESET),
    (b"DEALLOCATE ALL", RESET),
    (b"DECLARE c CURSOR WITH HOLD FOR SELECT 1", CURSOR),
    (b"DECLARE c SCROLL CURSOR WITH/**/HOLD FOR SELECT 1", CURSOR),
    (b"BEGIN; DECLARE c CURSOR WITH\tHOLD FOR SELECT 1; COMMIT", CURSOR),
    (b"CLOSE c", RESET),
    # what can't be asked for
    (b"LOAD 'auto_explain'", LOADED),
    (b"load 'x'", LOADED),
    (b"SELECT currval('s')", SEQUENCE),
    (b"SELECT pg_catalog.lastval ( )", SEQUENCE),
    (b'SELECT "lastval"/**/()', SEQUENCE),
    (b'SELECT U&"last\\0076al"()', SEQUENCE),
    (b'SELECT U&"last\\+000076al"()', SEQUENCE),
    (b"SELECT setseed(0.5)", STATEFUL),
    (b"SET seed = 0.5", STATEFUL),
    (b"SET LOCAL seed = 0.5", STATEFUL),
    (b"SET SESSION seed TO 0.5", STATEFUL),
    (b"SELECT dblink_connect('c', 'dbname=x')", STATEFUL),
    (b"SELECT dblink_connect_u('c', 'dbname=x')", STATEFUL),
    (b"SELECT pg_replication_origin_session_setup('o')", STATEFUL),
    (b"SELECT pg_create_physical_replication_slot('s', true, true)", STATEFUL),
    (b"SELECT pg_copy_logical_replication_slot('a', 'b', true)", STATEFUL),
    # anything
    (b"DO 'BEGIN END'", UNKNOWN),
    (b"DO $$ BEGIN PERFORM lastval(); END $$", UNKNOWN | SEQUENCE),
    (b"DO $$ BEGIN PERFORM set_config('a.b', 'x', false); END $$", UNKNOWN | SETTINGS),
    (b"DO $$ BEGIN PERFORM set_config('a.' || 'b', 'x', false); END $$", UNKNOWN | COMPUTED_NAME),
    (b"DO $$ BEGIN EXECUTE 'LOAD ''x'''; END $$", UNKNOWN | LOADED),
    (b"DO $$ BEGIN PERFORM setseed(0.1); END $$", UNKNOWN | STATEFUL),
    (b"DO $$ BEGIN PERFORM pg_create_physical_replication_slot('s', true, true); END $$", UNKNOWN | STATEFUL),
    (b"CALL p()", UNKNOWN),
    (b"DISCARD ALL", RESET | SETTINGS),
    (b"DISCARD/**/TEMP", RESET),
    (b"DISCARD SEQUENCES", RESET),
    (b"DROP TABLE t", RESET),
    # the rest
    (b"SELECT lo_open(1, 2)", LARGE_OBJECT),
    (b"PREPARE TRANSACTION 'x'", TWO_PHASE),
    (b"COMMIT PREPARED 'x'", TWO_PHASE),
    (b"ROLLBACK PREPARED 'x'", TWO_PHASE),
    (b"CREATE DATABASE x", DDL_DATABASE),
    (b"DROP /**/ DATABASE x", DDL_DATABASE | RESET),
    (b"ALTER DATABASE x RENAME TO y", DDL_DATABASE),
    (b"SELECT 'a\\'; DROP /* /* */ */ DATABASE x; --'", DDL_DATABASE),
    (b"PREPARE /* /* */ */ TRANSACTION 'x'", TWO_PHASE),
    (b"SET LOCAL /* /* */ */ seed = 1", STATEFUL),
    (b"START_REPLICATION SLOT x LOGICAL 0/0", REPLICATION),
    (b"IDENTIFY_SYSTEM", REPLICATION),
]


@pytest.mark.parametrize("sql", ORDINARY)
def test_the_ordinary_is_cleared(sql: bytes) -> None:
    assert suspicion(sql) == 0
    assert suspicion(sql.upper()) == 0


@pytest.mark.parametrize(("sql", "flags"), FOUND)
def test_what_leaves_something_is_found(sql: bytes, flags: int) -> None:
    assert suspicion(sql) & flags == flags


@pytest.mark.parametrize(("sql", "flags"), FOUND)
def test_verdicts_are_not_given_without_need(sql: bytes, flags: int) -> None:
    # What can't be asked for pins a client; only suspicion of what can be asked for may be generous.
    if b"\\" not in sql and b"/* /*" not in sql and b"UESCAPE" not in sql:
        assert suspicion(sql) & scan.LASTING == flags & scan.LASTING


def test_the_tags_of_dollar_quotes_know_upper_and_lower_case() -> None:
    assert suspicion(b"SELECT 1; SELECT $A$ $a$ ; LOAD 'x'; $A$") == 0
    assert suspicion(b"SELECT 1; SELECT $A$ $a$ $A$ ; LOAD 'x'; SELECT $a$ $a$") == LOADED


def test_a_comment_within_a_comment_is_not_followed() -> None:
    assert suspicion(b"/* a /* nested */ comment */ SELECT 1") & ASKABLE == ASKABLE


def test_text_too_long_to_be_taken_apart_is_taken_as_it_is() -> None:
    ballast = b"SELECT '" + b"x" * scan.LOOK_BYTES
    assert suspicion(ballast + b"'") == 0
    assert suspicion(ballast + b" temp'") == TEMPORARY
    assert suspicion(ballast + b" lastval'") == 0 | SEQUENCE
    assert suspicion(ballast + b"'; SET x = 1") == SETTINGS
    assert suspicion(ballast + b"'; SET LOCAL x = 1") == 0
    assert suspicion(ballast + b"; SET x = 1'") == SETTINGS
    assert suspicion(ballast + b"'; -- here\n SET x = 1") & ASKABLE == ASKABLE
    assert suspicion(ballast + b"'; SELECT set_config('a.b', 'c', false)") == SETTINGS
    assert suspicion(ballast + b"'; SELECT set_config(x, 'c', false)") & COMPUTED_NAME


REPEATED = [b"/*", b";/*", b";--", b"$", b"'", b'"', b"e'\xe9", b"$a$b", b"set ", b"set_config(", b"a."]
REPEATED += [b"load ", b"create ", b";create ", b";declare ", b"'; ", b"\\'", b"set a.", b"set_config('"]


@pytest.mark.parametrize("text", REPEATED)
def test_time_grows_with_the_length_only(text: bytes) -> None:
    # Quadratic time would need minutes for this; the limit of a unit test is two seconds.
    sql = b"x;set_config(" + text * (scan.LOOK_BYTES // len(text) - 20)
    assert suspicion(sql) & SETTINGS
    assert custom_names(sql) is not None
    assert suspicion(sql * 4) & SETTINGS


@pytest.mark.parametrize(
    ("tag", "flags"),
    [
        (b"SELECT 1", 0),
        (b"INSERT 0 1", 0),
        (b"UPDATE 5", 0),
        (b"BEGIN", 0),
        (b"COMMIT", 0),
        (b"CREATE TABLE", 0),
        (b"", 0),
        (b"SET", SETTINGS),
        (b"RESET", SETTINGS | RESET),
        (b"LISTEN", LISTEN),
        (b"UNLISTEN", RESET),
        (b"PREPARE", PREPARED),
        (b"DEALLOCATE", RESET),
        (b"DEALLOCATE ALL", RESET),
        (b"DISCARD ALL", SETTINGS | RESET),
        (b"DECLARE CURSOR", CURSOR),
        (b"CLOSE CURSOR", RESET),
        (b"LOAD", LOADED),
        (b"DO", UNKNOWN),
        (b"CALL", UNKNOWN),
        (b"CREATE DATABASE", DDL_DATABASE),
        (b"DROP DATABASE", DDL_DATABASE),
        (b"DROP TABLE", RESET),
        (b"PREPARE TRANSACTION", TWO_PHASE),
        (b"START_REPLICATION", REPLICATION),
    ],
)
def test_tags(tag: bytes, flags: int) -> None:
    assert tag_suspicion(tag) == flags


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        (b"SET app.usr = 'x'", ["app.usr"]),
        (b"SET SESSION app.usr TO 'x'", ["app.usr"]),
        (b'SET/**/"App" . "Usr" = 1; SET b.c.d = 2', ["app.usr", "b.c.d"]),
        (b"SELECT set_config('app.usr', t.a, false) FROM public.t", ["app.usr"]),
        (b"SELECT set_config('App.Usr' || '', 'x', false)", ["app.usr"]),
        (b"DO $$ BEGIN SET app.usr = 1; PERFORM set_config('b.c', 'x', false); END $$", ["b.c", "app.usr"]),
        (b"DO 'BEGIN PERFORM set_config(''b.c'', ''x'', false); END'", ["b.c"]),
        (b"SET work_mem = '1MB'", []),
        (b"SET search_path = 'a b.c'", []),
        (b"SET a\xc3\xa9.b$1 = 1", ["a\u00e9.b$1"]),
        (b"SET a\xe9.b = 1", ["a\udce9.b"]),
        (b"SELECT 'a\\'; SET x.y = 1", ["x.y"]),
    ],
)
def test_names_of_custom_settings(sql: bytes, names: list[str]) -> None:
    assert custom_names(sql) == names


def test_names_are_bounded() -> None:
    many = b";".join(b"SET a.b%d = 1" % number for number in range(500))
    assert len(custom_names(many)) == scan.NAMES_MAX
    values = [b"a.b%d" % number for number in range(500)]
    assert len(bound_names(bind("", "", values)[5:])) == scan.NAMES_MAX


def test_names_in_a_bind_message() -> None:
    message = bind("p", "s", [b"App.Usr", None, b"", b"value", b"x y.z", b"b.c"])
    assert bound_names(message[5:]) == ["app.usr", "b.c"]
    assert bound_names(message[5:24]) == ["app.usr"]
    assert bound_names(message[5:20]) == []
    assert bound_names(b"") == []
    assert bound_names(b"\0\0\0") == []
