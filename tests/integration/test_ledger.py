"""The ledger against real servers: what a session holds is seen, and follows its client elsewhere."""

import random
from collections.abc import Callable, Iterator

import pytest

from seawall.embedded import Cluster, EngineNotFound, find_engine
from seawall.proxy.ledger import EMPTY, Pin, Settings, apply_batch, describe_failure, examine_sql, settings_of
from seawall.wire.pgwire import messages, scan
from tests.proxy.followed import Connection, Followed

pytestmark = [pytest.mark.timeout(60)]

ENGINES = [("wheel", 18), ("wheel", 16), ("system", 15)]

SETUP = [
    "CREATE ROLE bob LOGIN",
    "CREATE ROLE chief SUPERUSER",
    "CREATE ROLE app LOGIN",
    "GRANT chief TO app",
    'CREATE ROLE "O\'Brien, ""x"""',
    "CREATE SCHEMA evil",
    "CREATE SEQUENCE seq",
    "SELECT lo_create(7)",
    """CREATE FUNCTION set_quietly(text, text) RETURNS text LANGUAGE sql
       AS $$ SELECT set_config($1, $2, false) $$""",
    "CREATE PROCEDURE set_by_procedure() LANGUAGE plpgsql AS $$ BEGIN SET work_mem = '11MB'; END $$",
    "CREATE FUNCTION evil.yes(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.yes)",
    "CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE sql AS $$ SELECT 'evil'::text $$",
    "CREATE FUNCTION evil.pg_my_temp_schema() RETURNS oid LANGUAGE sql AS $$ SELECT 1::oid $$",
    "CREATE VIEW evil.pg_settings AS SELECT 'work_mem' AS name, 'user' AS context, 'session' AS source",
    "CREATE VIEW evil.pg_locks AS SELECT 'advisory' AS locktype, pg_backend_pid() AS pid",
]


@pytest.fixture(scope="module", params=ENGINES, ids=lambda engine: f"{engine[0]}-{engine[1]}")
def node(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    try:
        engine = find_engine(*request.param)
    except EngineNotFound as absent:
        pytest.skip(str(absent))
    with Cluster.create(engine=engine, settings={"max_prepared_transactions": "5"}) as cluster:
        connection = Connection(cluster.primary.port)
        for sql in SETUP:
            connection.query(sql)
        connection.close()
        yield cluster


@pytest.fixture
def connect(node: Cluster) -> Iterator[Callable[..., Connection]]:
    made: list[Connection] = []

    def connection(user: str = "postgres", **parameters: str) -> Connection:
        made.append(Connection(node.primary.port, user, **parameters))
        return made[-1]

    yield connection
    for one in made:
        one.close()


Connect = Callable[..., Connection]

STATE = """SELECT name, setting, source FROM pg_settings
    WHERE source NOT IN ('default', 'override', 'configuration file', 'command line', 'client')
    AND name NOT IN ('transaction_isolation', 'transaction_read_only', 'transaction_deferrable')
    UNION ALL SELECT 'role', current_setting('role'), current_user
    UNION ALL SELECT 'session_authorization', current_setting('session_authorization'), session_user
    ORDER BY 1"""


def state(connection: Connection) -> list[list[str | None]]:
    """What pg_settings tells of a session, and who it is."""
    return connection.query(STATE)


# --- pins ---------------------------------------------------------------------------------------------------

HOLDS = [
    (["CREATE TEMP TABLE t (a int)"], Pin.TEMPORARY, ["DROP TABLE t"]),
    (["SELECT 1 AS a INTO TEMP t"], Pin.TEMPORARY, ["DISCARD TEMP"]),
    (["CREATE TABLE pg_temp.t (a int)"], Pin.TEMPORARY, ["DROP TABLE pg_temp.t"]),
    (["CREATE TEMP SEQUENCE s"], Pin.TEMPORARY, ["DROP SEQUENCE s"]),
    (["CREATE TEMP VIEW v AS SELECT 1"], Pin.TEMPORARY, ["DROP VIEW v"]),
    (["CREATE DOMAIN pg_temp.d AS int"], Pin.TEMPORARY, ["DROP DOMAIN pg_temp.d"]),
    (
        ["CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'"],
        Pin.TEMPORARY,
        ["DROP FUNCTION pg_temp.f"],
    ),
    (["BEGIN", "CREATE TEMP TABLE t (a int)", "COMMIT"], Pin.TEMPORARY, ["BEGIN", "DROP TABLE t", "COMMIT"]),
    (["DO $$ BEGIN CREATE TEMP TABLE t (a int); END $$"], Pin.TEMPORARY, ["DROP TABLE t"]),
    (["SET LOCAL search_path = pg_temp; CREATE TABLE t (a int)"], Pin.TEMPORARY, ["DROP TABLE t"]),
    (["SELECT pg_advisory_lock(1)"], Pin.ADVISORY_LOCK, ["SELECT pg_advisory_unlock(1)"]),
    (["SELECT pg_try_advisory_lock_shared(1, 2)"], Pin.ADVISORY_LOCK, ["SELECT pg_advisory_unlock_all()"]),
    # A lock of the session outlives the rollback of its transaction.
    (
        ["BEGIN", "SELECT pg_advisory_lock(1)", "ROLLBACK"],
        Pin.ADVISORY_LOCK,
        ["SELECT pg_advisory_unlock(1)"],
    ),
    (["LISTEN a"], Pin.LISTEN, ["UNLISTEN a"]),
    (["LISTEN a; LISTEN b"], Pin.LISTEN, ["UNLISTEN *"]),
    (["PREPARE p AS SELECT 1"], Pin.PREPARED, ["DEALLOCATE p"]),
    (["PREPARE p AS SELECT 1"], Pin.PREPARED, ["DEALLOCATE ALL"]),
    # So does a prepared statement.
    (["BEGIN", "PREPARE p AS SELECT 1", "ROLLBACK"], Pin.PREPARED, ["DEALLOCATE p"]),
    (["DECLARE c CURSOR WITH HOLD FOR SELECT 1"], Pin.CURSOR, ["CLOSE c"]),
    (["BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "COMMIT"], Pin.CURSOR, ["CLOSE ALL"]),
    (["SET search_path = pg_temp, public"], Pin.TEMPORARY_PATH, ["RESET search_path"]),
]


@pytest.mark.parametrize(("take", "pin", "let_go"), HOLDS)
def test_what_holds_a_session_is_seen_and_seen_to_go(
    connect: Connect, take: list[str], pin: Pin, let_go: list[str]
) -> None:
    client = Followed(connect())
    assert not [reply.errors for reply in client.run(*take) if reply.errors]
    assert client.ledger.pins == {pin}
    assert not [reply.errors for reply in client.run(*let_go) if reply.errors]
    assert client.ledger.portable


@pytest.mark.parametrize("take", [case[0] for case in HOLDS])
def test_discard_all_frees(connect: Connect, take: list[str]) -> None:
    client = Followed(connect())
    client.run(*take)
    assert not client.ledger.portable
    client.run("DISCARD ALL")
    assert client.ledger.portable
    asked = scan.ASKABLE
    rows = client.connection.query(examine_sql(asked))
    assert [row[0] for row in rows] == ["S", "S"]


@pytest.mark.parametrize(
    "statements",
    [
        ["BEGIN", "CREATE TEMP TABLE t (a int)", "ROLLBACK"],
        ["BEGIN", "SAVEPOINT s", "CREATE TEMP TABLE t (a int)", "ROLLBACK TO s", "COMMIT"],
        ["BEGIN", "CREATE TEMP TABLE t (a int) ON COMMIT DROP", "COMMIT"],
        ["CREATE TEMP TABLE t (a int); DROP TABLE t"],
        ["BEGIN", "SELECT pg_advisory_xact_lock(1)", "COMMIT"],
        ["SELECT pg_advisory_lock(1), pg_advisory_unlock(1)"],
        ["BEGIN", "LISTEN a", "ROLLBACK"],
        ["LISTEN a; UNLISTEN a"],
        ["BEGIN", "DECLARE c CURSOR FOR SELECT 1", "FETCH c", "COMMIT"],
        ["BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "ROLLBACK"],
        ["PREPARE p AS SELECT 1; EXECUTE p; DEALLOCATE p"],
        ["BEGIN", "SELECT lo_open(7, 262144)", "COMMIT"],
        ["BEGIN", "PREPARE TRANSACTION 'x'", "ROLLBACK PREPARED 'x'"],
        ["SELECT nextval('seq')"],
        ["DO $$ BEGIN PERFORM 1; END $$"],
        ["SET search_path = public, pg_temp", "RESET search_path"],
    ],
)
def test_what_leaves_nothing_pins_nobody(connect: Connect, statements: list[str]) -> None:
    client = Followed(connect())
    assert not [reply.errors for reply in client.run(*statements) if reply.errors]
    assert client.ledger.portable, client.ledger
    assert client.ledger.current is EMPTY
    assert state(client.connection) == state(connect())


def test_a_large_object_descriptor_ends_with_its_transaction(connect: Connect) -> None:
    client = Followed(connect())
    client.run("BEGIN", "SELECT lo_open(7, 262144)")
    assert not client.run("SELECT loread(0, 1)")[0].errors
    client.run("COMMIT")
    assert client.run("SELECT loread(0, 1)")[0].errors[0]["C"] == "42704"


def test_a_pinned_client_holds_several_things(connect: Connect) -> None:
    client = Followed(connect())
    client.run("LISTEN a", "CREATE TEMP TABLE t (a int)", "SELECT pg_advisory_lock(1)", "UNLISTEN *")
    assert client.ledger.pins == {Pin.TEMPORARY, Pin.ADVISORY_LOCK}
    client.run("DROP TABLE t", "SELECT pg_advisory_unlock(1)")
    assert client.ledger.portable


def test_what_an_executed_statement_does_is_seen(connect: Connect) -> None:
    client = Followed(connect())
    client.run("PREPARE p AS SELECT pg_advisory_lock(1)", "EXECUTE p", "DEALLOCATE p")
    assert client.ledger.pins == {Pin.ADVISORY_LOCK}


def test_what_cannot_be_asked_for_pins(connect: Connect) -> None:
    for sql, pin in [
        ("SELECT nextval('seq'), currval('seq')", Pin.SEQUENCE),
        ("SELECT setseed(0.5)", Pin.STATEFUL),
        ("LOAD 'plpgsql'", Pin.LOAD),
        ("SELECT set_config('a.' || 'b', 'x', false)", Pin.COMPUTED_NAME),
    ]:
        client = Followed(connect())
        assert not client.run(sql)[0].errors
        assert client.ledger.pins == {pin}


# --- settings -----------------------------------------------------------------------------------------------

SETTINGS: list[tuple[list[str], dict[str, str]]] = [
    (["SET statement_timeout = '5min'"], {"statement_timeout": "5min"}),
    (["SET work_mem = '1234kB'"], {"work_mem": "1234kB"}),
    (["SET search_path = \"a b\", 'C', public"], {"search_path": '"a b", "C", public'}),
    (["SET search_path = ''"], {"search_path": '""'}),
    (["SET search_path = 'it''s'"], {"search_path": '"it\'s"'}),
    (["SET datestyle = 'german, ymd'"], {"datestyle": "German, YMD"}),
    (["SET intervalstyle = iso_8601"], {"intervalstyle": "iso_8601"}),
    (["SET TIME ZONE 'Europe/Paris'"], {"timezone": "Europe/Paris"}),
    (["SET TIME ZONE INTERVAL '-08:30' HOUR TO MINUTE"], {"timezone": "<-08:30>+08:30"}),
    (["SET TIME ZONE 5.5"], {"timezone": "<+05:30>-05:30"}),
    (["SET NAMES 'LATIN1'"], {"client_encoding": "LATIN1"}),
    (["SET application_name = E'a\\'b\"c, d\\\\e'"], {"application_name": "a'b\"c, d\\e"}),
    (["SET application_name = ''"], {"application_name": ""}),
    (["SET default_transaction_read_only = on"], {"default_transaction_read_only": "on"}),
    (
        ["SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY"],
        {"default_transaction_isolation": "serializable", "default_transaction_read_only": "on"},
    ),
    (["SET standard_conforming_strings = off"], {"standard_conforming_strings": "off"}),
    (
        ["SET bytea_output = escape; SET extra_float_digits = 0"],
        {"bytea_output": "escape", "extra_float_digits": "0"},
    ),
    (["SET random_page_cost = 1.25"], {"random_page_cost": "1.25"}),
    (["SET session_replication_role = replica"], {"session_replication_role": "replica"}),
    (["SET app.usr = E'x\\ny''z'"], {"app.usr": "x\ny'z"}),
    (["SET app.usr = ''"], {"app.usr": ""}),
    (['SET "App" . "Usr" = 1'], {"app.usr": "1"}),
    (["SET a.b.c TO 'x, y'"], {"a.b.c": "x, y"}),
    (["SET local.x = 1"], {"local.x": "1"}),
    (["SET plpgsql.variable_conflict = use_column"], {"plpgsql.variable_conflict": "use_column"}),
    (["DO 'BEGIN END'", "SET plpgsql.extra_warnings = 'all'"], {"plpgsql.extra_warnings": "all"}),
    (["SELECT set_config('work_mem', '9MB', false)"], {"work_mem": "9MB"}),
    (["SELECT set_config('work' || '_mem', '9MB', false)"], {"work_mem": "9MB"}),
    (["SELECT set_config('app.usr', 'x', false)"], {"app.usr": "x"}),
    (
        ["DO $$ BEGIN SET work_mem = '9MB'; PERFORM set_config('app.usr', 'x', false); END $$"],
        {"work_mem": "9MB", "app.usr": "x"},
    ),
    (["CALL set_by_procedure()"], {"work_mem": "11MB"}),
    # No text says so, but the server reports it.
    (["SELECT set_quietly('TimeZone', 'CET')"], {"timezone": "CET"}),
    (["BEGIN", "SET work_mem = '9MB'", "COMMIT"], {"work_mem": "9MB"}),
    (["SET work_mem = '9MB'", "BEGIN", "SET LOCAL work_mem = '8MB'", "COMMIT"], {"work_mem": "9MB"}),
    (
        ["BEGIN", "SET work_mem = '9MB'", "SAVEPOINT s", "SET work_mem = '8MB'", "ROLLBACK TO s", "COMMIT"],
        {"work_mem": "9MB"},
    ),
    (
        ["SET work_mem = '9MB'; SET statement_timeout = '1min'", "RESET work_mem"],
        {"statement_timeout": "1min"},
    ),
    (["SET ROLE bob"], {"role": "bob"}),
    (['SET ROLE "O\'Brien, ""x"""'], {"role": 'O\'Brien, "x"'}),
    (["SET SESSION AUTHORIZATION bob"], {"session_authorization": "bob"}),
    (
        ["SET SESSION AUTHORIZATION bob", "SET work_mem = '9MB'"],
        {"session_authorization": "bob", "work_mem": "9MB"},
    ),
    (["SET SESSION AUTHORIZATION chief", "SET ROLE bob"], {"session_authorization": "chief", "role": "bob"}),
    (["SET ROLE bob", "SET SESSION AUTHORIZATION chief"], {"session_authorization": "chief"}),
]

NO_SETTINGS: list[list[str]] = [
    ["BEGIN", "SET work_mem = '9MB'", "ROLLBACK"],
    ["BEGIN", "SET LOCAL work_mem = '9MB'", "COMMIT"],
    ["BEGIN", "SELECT set_config('work_mem', '9MB', true)", "COMMIT"],
    ["BEGIN", "SAVEPOINT s", "SET work_mem = '9MB'", "ROLLBACK TO s", "COMMIT"],
    ["SET work_mem = '9MB'", "RESET work_mem"],
    ["SET work_mem = '9MB'", "SET work_mem TO DEFAULT"],
    ["SET work_mem = '9MB'", "RESET ALL"],
    ["SET work_mem = '9MB'", "DISCARD ALL"],
    ["SET ROLE bob", "RESET ROLE"],
    ["SET ROLE bob", "SET ROLE NONE"],
    ["SET SESSION AUTHORIZATION bob", "RESET SESSION AUTHORIZATION"],
    ["SET SESSION AUTHORIZATION bob", "SET ROLE bob", "DISCARD ALL"],
    ["SET ROLE bob", "DISCARD ALL"],
    ["BEGIN", "SET ROLE bob", "ROLLBACK"],
    ["BEGIN", "SET TRANSACTION READ ONLY", "COMMIT"],
    ["BEGIN READ ONLY", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "COMMIT"],
    ["SELECT set_config('transaction_read_only', 'on', false)"],
    [
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql SET work_mem = '9MB' AS 'SELECT 1'",
        "SELECT f()",
    ],
    ["SET work_mem = 'nonsense'"],
    ["BEGIN", "SET LOCAL TimeZone = 'CET'", "COMMIT"],
]


@pytest.mark.parametrize(("statements", "expected"), SETTINGS)
def test_settings_follow_their_client(
    connect: Connect, statements: list[str], expected: dict[str, str]
) -> None:
    first, second = connect(), connect()
    client = Followed(first)
    assert not [reply.errors for reply in client.run(*statements) if reply.errors]
    assert dict(client.ledger.current) == expected
    assert first.applied is client.ledger.current
    client.move(second)
    for connection in (first, second):
        connection.query("DO 'BEGIN END'")  # loads plpgsql, which declares settings of its own
    assert state(second) == state(first)
    for name in expected:
        assert second.query(f"SHOW {quoted(name)}") == first.query(f"SHOW {quoted(name)}")
    # And nothing of it stays behind for others.
    assert not second.take_on(EMPTY).errors
    assert state(second) == state(connect())


def quoted(name: str) -> str:
    return ".".join(f'"{part}"' for part in name.split("."))


@pytest.mark.parametrize("statements", NO_SETTINGS)
def test_what_is_gone_at_the_transactions_end_is_not_kept(connect: Connect, statements: list[str]) -> None:
    client = Followed(connect())
    client.run(*statements)
    assert dict(client.ledger.current) == {}
    assert client.ledger.portable
    assert state(client.connection) == state(connect())


def test_a_custom_setting_that_was_rolled_back_is_empty_as_on_a_direct_connection(connect: Connect) -> None:
    client = Followed(connect())
    client.run("BEGIN", "SET app.usr = 'x'", "ROLLBACK")
    client.move(connect())
    assert client.connection.query("SELECT current_setting('app.usr')") == [[""]]


def test_names_that_are_bound_are_known(connect: Connect) -> None:
    client = Followed(connect())
    client.run_bound("SELECT set_config($1, $2, false)", [b"App.Usr", b"x"])
    assert dict(client.ledger.current) == {"app.usr": "x"}
    assert client.ledger.portable


def test_local_settings_cost_no_question(connect: Connect) -> None:
    client = Followed(connect())
    client.run("BEGIN", "SELECT set_config('search_path', 'evil', true), set_config('app.usr', 'x', true)")
    client.run("SET LOCAL role = bob", "SET LOCAL work_mem = '8MB'")
    assert client.flags == 0
    client.run("COMMIT")
    assert client.ledger.current is EMPTY


def test_values_travel_in_the_clients_own_encoding(connect: Connect) -> None:
    latin = Followed(connect(), baseline=settings_of({"client_encoding": "LATIN1"}))
    latin.run("SET app.usr = 'caf\xe9'", encoding="latin-1")
    greek = Followed(connect(), baseline=settings_of({"client_encoding": "ISO_8859_7"}))
    greek.run("SET app.usr = '\u03b1'", encoding="iso8859-7")
    # Each goes to the connection that the other has left.
    one, other = latin.connection, greek.connection
    latin.move(other)
    greek.move(one)
    assert latin.connection.send(messages.query("SHOW app.usr")).rows == [["caf\xe9".encode("latin-1")]]
    assert greek.connection.send(messages.query("SHOW app.usr")).rows == [["\u03b1".encode("iso8859-7")]]
    one.take_on(EMPTY)
    plain = Followed(one, baseline=settings_of({"app.usr": "caf\xe9 \u03b1"}))
    assert plain.connection.query("SHOW app.usr") == [["caf\xe9 \u03b1"]]
    assert one.reported["client_encoding"] == "UTF8"


BASELINE = settings_of({"timezone": "CET", "app.base": "b", "statement_timeout": "1min", "role": "bob"})


@pytest.mark.parametrize(
    "sql", ["RESET ALL; RESET ROLE", "DISCARD ALL", "RESET timezone", "SET app.base TO DEFAULT"]
)
def test_what_a_client_resets_goes_back_to_its_own_startup(connect: Connect, sql: str) -> None:
    client = Followed(connect(), baseline=BASELINE)
    before = state(client.connection)
    client.run("SET TIME ZONE 'EET'", "SET statement_timeout = '2min'", "SET app.base = 'c'")
    for one in sql.split("; "):
        client.run(one)
    if sql in {"RESET ALL; RESET ROLE", "DISCARD ALL"}:
        expected = {**BASELINE, "app.base": ""} if sql.startswith("RESET") else dict(BASELINE)
        expected = {**expected, "app.base": client.ledger.current["app.base"]}
        assert dict(client.ledger.current) == expected
        assert client.connection.applied is not client.ledger.current
        client.move(client.connection)
        assert state(client.connection) == before
    elif sql == "RESET timezone":
        assert client.ledger.current["timezone"] == "CET"
        client.move(client.connection)
        assert client.connection.query("SHOW TimeZone") == [["CET"]]
    else:
        # PostgreSQL has no default for a custom setting but the empty text.
        assert client.ledger.current["app.base"] == ""


# --- whoever asks, and wherever -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "circumstances",
    [
        "SET search_path = evil, pg_catalog",
        "SET ROLE bob",
        "SET SESSION AUTHORIZATION bob",
        "SET standard_conforming_strings = off",
        "SET default_transaction_read_only = on",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET client_encoding = 'SJIS'",
        "SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off",
        "SET plan_cache_mode = force_generic_plan; SET transform_null_equals = on; SET row_security = off",
    ],
)
def test_the_question_is_exact_in_all_circumstances(connect: Connect, circumstances: str) -> None:
    client = Followed(connect())
    client.run(circumstances)
    assert client.ledger.portable
    known = set(client.ledger.current)
    client.run("SET app.usr = 'x'", "DO 'BEGIN END'")
    assert client.ledger.portable
    assert set(client.ledger.current) == known | {"app.usr"}
    client.run("SELECT pg_catalog.pg_advisory_lock(7); LISTEN x")
    assert client.ledger.pins == {Pin.ADVISORY_LOCK, Pin.LISTEN}
    assert client.ledger.current["app.usr"] == "x"
    client.run("SELECT pg_catalog.pg_advisory_unlock_all()", "UNLISTEN *")
    second = connect()
    client.move(second)
    assert second.query("SHOW app.usr") == [["x"]]


def test_the_question_leaves_nothing_behind(connect: Connect) -> None:
    connection = connect()
    client = Followed(connection)
    client.run("SET app.usr = 'x'", "DO $$ BEGIN END $$")
    pid = connection.query("SELECT pg_backend_pid()")[0][0]
    seen = connect().query(
        f"SELECT state, backend_xid, backend_xmin, (SELECT count(*) FROM pg_locks WHERE pid = {pid})"
        f" FROM pg_stat_activity WHERE pid = {pid}"
    )
    assert seen == [["idle", None, None, "0"]]
    assert connection.query("SELECT name FROM pg_prepared_statements") == []
    assert connection.query("SELECT name FROM pg_cursors WHERE name <> ''") == []


def test_a_setting_that_its_user_may_not_set_again_pins(connect: Connect) -> None:
    client = Followed(connect("app"), "app")
    client.run("SET ROLE chief", "SET log_min_duration_statement = '5s'", "RESET ROLE")
    assert client.ledger.pins == {Pin.PRIVILEGED}
    client.run("SET ROLE chief; RESET log_min_duration_statement; RESET ROLE")
    assert client.ledger.portable


def test_a_role_takes_its_settings_along(connect: Connect) -> None:
    client = Followed(connect("app"), "app")
    client.run("SET ROLE bob")
    assert client.run("SET ROLE chief")[0].errors == []
    client.run("SET work_mem = '9MB'")
    assert dict(client.ledger.current) == {"role": "chief", "work_mem": "9MB"}
    second = connect("app")
    client.move(second)
    assert second.query("SELECT current_user, session_user, current_setting('work_mem')") == [
        ["chief", "app", "9MB"]
    ]


def test_a_server_that_cannot_answer_pins(connect: Connect) -> None:
    client = Followed(connect())
    client.run("SET statement_timeout = '5min'")
    client.connection.query("BEGIN; REVOKE SELECT ON pg_catalog.pg_settings FROM PUBLIC; COMMIT")
    try:
        client.run("SET ROLE bob", "SET work_mem = '9MB'")
        assert client.ledger.pins == {Pin.UNANSWERED}
    finally:
        client.run("RESET ROLE")
        client.connection.query("GRANT SELECT ON pg_catalog.pg_settings TO PUBLIC")
    client.run("RESET work_mem")
    assert client.ledger.portable
    assert dict(client.ledger.current) == {"statement_timeout": "5min"}


def test_a_value_that_a_server_refuses_changes_nothing(connect: Connect) -> None:
    connection = connect()
    kept = settings_of({"timezone": "CET", "app.usr": "x"})
    connection.take_on(kept)
    before = state(connection)
    reply = connection.take_on(settings_of({"timezone": "EET", "work_mem": "much"}))
    assert describe_failure(reply.errors[0])[:2] == (
        "22023",
        'settings of the session cannot be restored: invalid value for parameter "work_mem": "much"',
    )
    assert reply.status == b"I"
    assert connection.applied is kept
    assert state(connection) == before


def test_values_are_never_read_as_sql(connect: Connect) -> None:
    connection = connect()
    nasty = "x'); CREATE TABLE pwned (); --\n\\'; \"$$"
    assert not connection.take_on(settings_of({"app.usr": nasty, "application_name": "'; DROP"})).errors
    assert connection.query("SHOW app.usr") == [[nasty]]
    assert connection.query("SELECT to_regclass('pwned')") == [[None]]
    assert connection.take_on(settings_of({"app.x; DROP TABLE y; --": "x"})).errors[0]["C"] == "42602"


def test_an_unknown_state_is_reset(connect: Connect) -> None:
    connection = connect()
    for sql in [
        "SET work_mem = '9MB'",
        "SET app.usr = 'x'",
        "SET SESSION AUTHORIZATION chief",
        "SET ROLE bob",
    ]:
        connection.query(sql)
    connection.applied = None
    wanted = settings_of({"timezone": "CET"})
    assert not connection.take_on(wanted).errors
    other = connect()
    other.take_on(wanted)
    assert state(connection) == state(other)
    assert connection.query("SHOW app.usr") == [[""]]


def test_a_connections_own_startup_values_come_back(connect: Connect) -> None:
    connection = connect(application_name="pool", options="-c work_mem=7MB")
    connection.take_on(settings_of({"application_name": "shop", "work_mem": "9MB"}))
    connection.take_on(EMPTY)
    assert connection.query("SHOW application_name") == [["pool"]]
    assert connection.query("SHOW work_mem") == [["7MB"]]


@pytest.mark.parametrize("current", [EMPTY, None])
def test_a_short_timeout_does_not_hit_the_batch(connect: Connect, current: Settings | None) -> None:
    connection = connect()
    many = {f"app.x{number}": "x" * 100 for number in range(100)}
    wanted = settings_of({"statement_timeout": "1ms", "role": "bob", **many})
    assert apply_batch(current, wanted).ready == 1
    connection.applied = current
    assert not connection.take_on(wanted).errors
    assert "statement timeout" in connection.send(messages.query("SELECT pg_sleep(1)")).errors[0]["M"]


# --- a standby, and the scan --------------------------------------------------------------------------------


def test_on_a_standby(cluster: Callable[..., Cluster]) -> None:
    made = cluster(replicas=1)
    standby = next(one for one in made.nodes if one.is_standby)
    first, second = Connection(standby.port), Connection(standby.port)
    assert first.reported["in_hot_standby"] == "on"
    client = Followed(first)
    assert not [
        reply.errors for reply in client.run("SET app.usr = 'x'", "SET work_mem = '9MB'") if reply.errors
    ]
    client.run("DO 'BEGIN END'", "PREPARE p AS SELECT 1")
    assert client.ledger.pins == {Pin.PREPARED}
    client.run("DEALLOCATE p")
    client.move(second)
    assert state(second) == state(first)
    first.close()
    second.close()


SCRAPS = [
    "'",
    '"',
    "\\",
    "$$",
    "$a$",
    "$A$",
    "/*",
    "*/",
    "--",
    "\n",
    "\r",
    ";",
    " ",
    "e'",
    "E'",
    'U&"',
    "U&'",
]
SCRAPS += [
    "(",
    ")",
    "SELECT 1",
    "select ",
    "SET work_mem='1MB'",
    "SET LOCAL work_mem='1MB'",
    "; LISTEN x",
    "''",
]
SCRAPS += [
    ";SET work_mem='1MB'",
    "set_config('work_mem','1MB',false)",
    "set_config('work_mem','1MB',true)",
    "\\'",
]
SCRAPS += [
    "x",
    "\u00e9",
    "/",
    "*",
    "-",
    "a",
    "1",
    "create temp table tq()",
    "AS ",
    "||",
    ",",
    "select 'a'",
    "$1",
]


@pytest.mark.parametrize("strings", ["on", "off"])
def test_the_scan_suspects_all_that_a_server_does(connect: Connect, strings: str) -> None:
    """Random text: most is refused, and what the server makes of the rest must have been suspected."""
    connection = connect()
    connection.query(f"SET standard_conforming_strings = {strings}; SET escape_string_warning = off")
    dice = random.Random(f"{strings} 1")
    changed = 0
    for _ in range(2000):
        sql = dice.choice(["", "select 1;"]) + "".join(dice.choices(SCRAPS, k=dice.randint(2, 12)))
        connection.send(messages.query(sql))
        memory, channels, temporary = connection.query(
            "SELECT current_setting('work_mem'), (SELECT count(*) FROM pg_listening_channels()),"
            " (SELECT count(*) FROM pg_class WHERE relname = 'tq')"
        )[0]
        suspicion = scan.suspicion(sql.encode())
        held = (memory != "4MB") * scan.SETTINGS | (channels != "0") * scan.LISTEN
        held |= (temporary != "0") * scan.TEMPORARY
        assert suspicion & held == held or suspicion & scan.UNKNOWN, sql
        if held:
            changed += 1
            connection.query("RESET work_mem; UNLISTEN *; DROP TABLE IF EXISTS tq")
    assert changed > 10
