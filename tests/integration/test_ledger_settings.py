"""Settings against real servers: what a session has set is seen, and follows its client elsewhere."""

import pytest

from seawall.proxy.ledger import EMPTY, settings_of
from seawall.wire.pgwire import messages
from tests.proxy import ledger_servers
from tests.proxy.followed import Followed

pytestmark = [pytest.mark.timeout(60)]

Connect = ledger_servers.Connect
node = ledger_servers.node
connect = ledger_servers.connect
state = ledger_servers.state

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
    ["DO 'BEGIN END'", "SET plpgsql.extra_warnings = 'all'", "RESET plpgsql.extra_warnings"],
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
