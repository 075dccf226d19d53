"""The ledger against real servers: what holds a session is seen, whoever asks and wherever."""

import random
from collections.abc import Callable

import pytest

from seawall.embedded import Cluster
from seawall.proxy.ledger import EMPTY, Pin, Settings, apply_batch, describe_failure, examine_sql, settings_of
from seawall.wire.pgwire import messages, scan
from tests.proxy import ledger_servers
from tests.proxy.followed import Connection, Followed

pytestmark = [pytest.mark.timeout(60)]

Connect = ledger_servers.Connect
node = ledger_servers.node
connect = ledger_servers.connect
state = ledger_servers.state

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
    assert rows == [["I", "none", "postgres"]]


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


def test_a_statement_prepared_by_the_protocol_does_not_pin(connect: Connect) -> None:
    client = Followed(connect())
    assert not client.connection.send(messages.parse("named", "SELECT 1") + messages.sync()).errors
    client.run("PREPARE p AS SELECT 1", "DEALLOCATE p")
    assert client.connection.query("SELECT name FROM pg_prepared_statements") == [["named"]]
    assert client.ledger.portable


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
