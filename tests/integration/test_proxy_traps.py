"""What proxies get wrong on the wire, one test each, against a real server in transaction mode."""

import socket
import struct
import time

import psycopg
import pytest

from seawall.wire.pgwire import messages
from tests.proxy.raw import RawClient, letters, result
from tests.proxy.running import RunningProxy, settings_for

pytestmark = pytest.mark.timeout(60)

FAILING = (
    messages.parse("", "SELECT 1 / (random() * 0)::int") + messages.bind("", "", []) + messages.execute()
)


@pytest.fixture(scope="module")
def proxy(server):
    """One worker and one server connection: whatever leaks, leaks to the next client."""
    with RunningProxy(settings_for(server.nodes[0], size=1)) as running:
        yield running


@pytest.fixture
def client(proxy):
    with RawClient(proxy.port) as raw:
        yield raw


@pytest.fixture
def other(proxy):
    with RawClient(proxy.port) as raw:
        yield raw


@pytest.fixture
def table(client):
    client.query("DROP TABLE IF EXISTS traps")
    client.query("CREATE TABLE traps (n int)")
    return "traps"


def statement(sql, name=""):
    return messages.parse(name, sql) + messages.bind("", name, []) + messages.execute()


# --- errors and pipelines -----------------------------------------------------------------------------------


def test_an_error_is_told_at_once_and_everything_up_to_sync_is_discarded(client, table):
    client.send(FAILING)
    assert letters(client.until("E")) == "12E"
    client.send(statement(f"INSERT INTO {table} VALUES (1)"), messages.close_statement("x"), messages.flush())
    assert client.silent()
    client.send(messages.sync())
    assert client.until("Z") == [("Z", b"I")]
    assert client.query(f"SELECT count(*) FROM {table}") == [("0",)]


def test_a_pipeline_without_sync_is_one_transaction(client, table):
    client.send(statement(f"INSERT INTO {table} VALUES (1)"), statement(f"INSERT INTO {table} VALUES (2)"))
    client.send(FAILING, messages.sync())
    assert letters(client.until("Z")) == "12C12C12EZ"
    assert client.query(f"SELECT count(*) FROM {table}") == [("0",)]


def test_several_syncs_in_one_write_are_several_transactions(client, table):
    client.send(statement(f"INSERT INTO {table} VALUES (1)"), messages.sync(), FAILING, messages.sync())
    client.send(statement(f"INSERT INTO {table} VALUES (2)"), messages.sync())
    assert letters(client.until("Z", 3)) == "12CZ12EZ12CZ"
    assert client.query(f"SELECT n FROM {table} ORDER BY n") == [("1",), ("2",)]


def test_a_flush_without_sync_keeps_the_server(client, other):
    client.send(messages.parse("s", "SELECT 7"), messages.describe_statement("s"), messages.flush())
    assert letters(client.until("T")) == "1tT"
    other.send(messages.query("SELECT 1"))
    assert other.silent()
    client.send(messages.bind("", "s", []), messages.execute(), messages.sync())
    assert result(client.until("Z")) == [("7",)]
    assert result(other.until("Z")) == [("1",)]


# --- prepared statements ------------------------------------------------------------------------------------


def test_a_name_means_each_clients_own_statement(client, other):
    for raw, number in ((client, 1), (other, 2)):
        raw.send(messages.parse("s", f"SELECT {number}"), messages.sync())
        assert letters(raw.until("Z")) == "1Z"
    for raw, number in ((client, 1), (other, 2)):
        raw.send(messages.bind("", "s", []), messages.execute(), messages.sync())
        assert result(raw.until("Z")) == [(str(number),)]


def test_a_lone_describe_finds_the_statement_on_any_server(client, other):
    client.send(messages.parse("s", "SELECT 1 AS one"), messages.sync())
    client.until("Z")
    other.query("DISCARD ALL")
    client.send(messages.describe_statement("s"), messages.sync())
    found = client.until("Z")
    assert letters(found) == "tTZ"
    assert messages.parse_row_description(found[1][1])[0].name == "one"


def test_a_parse_is_answered_once_whether_or_not_it_was_sent(client, other):
    for raw in (client, other, client):
        raw.send(
            messages.close_statement("s"), messages.parse("s", "SELECT 3"), messages.describe_statement("s")
        )
        raw.send(messages.bind("", "s", []), messages.execute(), messages.sync())
        assert letters(raw.until("Z")) == "31tT2DCZ"


def test_a_name_in_use_is_refused_by_the_server(client):
    client.send(
        messages.parse("s", "SELECT 1"), messages.sync(), messages.parse("s", "SELECT 2"), messages.sync()
    )
    found = client.until("Z", 2)
    assert letters(found) == "1ZEZ"
    assert result(found) == "42P05"


def test_a_closed_or_unknown_name_is_unknown(client):
    client.send(messages.parse("s", "SELECT 1"), messages.close_statement("s"), messages.sync())
    assert letters(client.until("Z")) == "13Z"
    client.send(messages.bind("", "s", []), messages.sync())
    assert result(client.until("Z")) == "26000"


def test_deallocate_all_and_discard_all_forget_them(client, other):
    for command in ("DEALLOCATE ALL", "DISCARD ALL"):
        other.send(messages.parse("kept", "SELECT 5"), messages.sync())
        other.until("Z")
        client.send(messages.parse("s", "SELECT 1"), messages.sync())
        client.until("Z")
        client.query(command)
        client.send(messages.bind("", "s", []), messages.sync())
        assert result(client.until("Z")) == "26000"
        other.send(
            messages.bind("", "kept", []),
            messages.execute(),
            messages.close_statement("kept"),
            messages.sync(),
        )
        assert result(other.until("Z")) == [("5",)]


def test_sql_prepare_pins_until_deallocate(client, other):
    client.query("PREPARE p AS SELECT 42")
    other.send(messages.query("SELECT 1"))
    assert other.silent()
    assert client.query("EXECUTE p") == [("42",)]
    client.query("DEALLOCATE p")
    assert result(other.until("Z")) == [("1",)]


def test_a_plan_that_a_schema_change_spoilt_is_prepared_anew(client, other, table):
    ask = messages.bind("", "s", []) + messages.execute() + messages.sync()
    client.send(messages.parse("s", f"SELECT * FROM {table}"), ask)
    assert result(client.until("Z")) == []
    other.query(f"ALTER TABLE {table} ADD COLUMN m int")
    client.send(ask)
    assert result(client.until("Z")) == "0A000"
    client.send(ask)
    assert result(client.until("Z")) == []


def test_the_unnamed_statement_follows_its_client(client, other):
    client.send(messages.parse("", "SELECT 11"), messages.sync())
    client.until("Z")
    other.send(statement("SELECT 12"), messages.sync())
    assert result(other.until("Z")) == [("12",)]
    client.send(messages.bind("", "", []), messages.execute(), messages.sync())
    found = client.until("Z")
    assert letters(found) == "2DCZ"
    assert result(found) == [("11",)]


def test_copy_does_not_break_the_count(client, other, table):
    client.send(statement(f"COPY {table} FROM STDIN"), messages.sync())
    assert letters(client.until("G")) == "12G"
    client.send(b"d\0\0\0\6" + b"1\n", b"d\0\0\0\6" + b"2\n", b"c\0\0\0\4", messages.sync())
    assert letters(client.until("Z")) == "CZ"
    client.send(messages.query(f"COPY {table} FROM STDIN"), b"f\0\0\0\x08bad\0")
    assert letters(client.until("Z")) == "GEZ"
    client.send(b"d\0\0\0\6" + b"9\n", b"c\0\0\0\4")  # late: the server ignores it, and so does the proxy
    assert other.query(f"SELECT sum(n) FROM {table}") == [("3",)]
    assert client.query("SELECT 1") == [("1",)]


def test_function_calls(client):
    oid = int(client.query("SELECT 'pg_catalog.int4pl(int4,int4)'::regprocedure::oid")[0][0])
    body = struct.pack(">IhhhiIiIh", oid, 1, 1, 2, 4, 20, 4, 22, 1)
    client.send(b"F" + struct.pack(">I", 4 + len(body)) + body)
    found = client.until("Z")
    assert letters(found) == "VZ"
    assert struct.unpack(">iI", found[0][1]) == (4, 42)


# --- cancelling ---------------------------------------------------------------------------------------------


def test_cancel_hits_what_the_client_runs_and_nothing_else(client, other):
    client.send(messages.query("SELECT pg_sleep(30)"))
    time.sleep(0.2)
    other.cancel()  # idle: to be ignored
    assert client.silent()
    client.cancel()
    assert result(client.until("Z")) == "57014"
    client.cancel()  # idle now
    assert other.query("SELECT 1") == [("1",)]
    assert client.query("SELECT 2") == [("2",)]


def test_a_wrong_key_cancels_nothing(client):
    client.send(messages.query("SELECT pg_sleep(0.6), 1"))
    right, client.key = client.key, b"\0\0\0\0"
    client.cancel()
    client.key = right
    assert len(result(client.until("Z"))) == 1


def test_keys_are_the_proxys_own_and_long_in_protocol_3_2(proxy, client):
    assert client.query("SELECT pg_backend_pid()")[0][0] != str(client.pid)
    with RawClient(proxy.port, connect=False) as modern:
        modern.send(messages.startup_message({"user": "postgres", "database": "postgres"}, minor=2))
        found = dict(modern.until("Z"))
        assert "v" not in found
        assert len(messages.parse_backend_key_data(found["K"])[1]) == 32


# --- starting up --------------------------------------------------------------------------------------------


def test_encryption_requests_are_answered_and_the_startup_goes_on(proxy):
    with RawClient(proxy.port, connect=False) as raw:
        raw.send(struct.pack(">II", 8, 80877104))
        assert raw.socket.recv(1) == b"N"
        raw.send(messages.ssl_request())
        assert raw.socket.recv(1) == b"N"
        raw.send(messages.startup_message({"user": "postgres", "database": "postgres"}))
        assert letters(raw.until("Z"))[0] == "R"


def test_bytes_behind_an_encryption_request_are_refused(proxy):
    with RawClient(proxy.port, connect=False) as raw:
        raw.send(messages.ssl_request(), messages.startup_message({"user": "postgres"}))
        answer = raw.socket.recv(1000)
        assert answer[:1] in (b"E", b"N")
        assert b"R\0\0\0\x08" not in answer + raw.socket.recv(1000)


@pytest.mark.parametrize("length", [0, 3, 7, 10_001 + 8, 0x7FFFFFFF, 0xFFFFFFFF])
def test_startup_packets_of_impossible_length_are_refused(proxy, length):
    with RawClient(proxy.port, connect=False) as raw:
        raw.send(struct.pack(">II", length, 196608) + b"user\0x\0\0")
        found = b""
        while data := raw.socket.recv(1000):
            found += data
        assert found == b"" or found[:1] == b"E"


def test_unknown_minor_versions_and_options_are_negotiated(proxy):
    with RawClient(proxy.port, connect=False) as raw:
        parameters = {"user": "postgres", "database": "postgres", "_pq_.test_protocol_negotiation": "1"}
        raw.send(messages.startup_message(parameters, minor=9999))
        found = raw.until("Z")
        assert letters(found)[0] == "v"
        assert b"_pq_.test_protocol_negotiation" in found[0][1]


def test_startup_in_single_bytes(proxy):
    with RawClient(proxy.port, connect=False) as raw:
        raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in messages.startup_message({"user": "postgres", "database": "postgres"}):
            raw.send(bytes([byte]))
        assert letters(raw.until("Z"))[-1] == "Z"


# --- session state ------------------------------------------------------------------------------------------


def test_startup_settings_hold_and_do_not_leak(proxy, other):
    with RawClient(proxy.port, application_name="mine", options="-c statement_timeout=12345") as mine:
        assert mine.parameters["application_name"] == "mine"
        for _ in range(2):
            assert mine.query("SHOW statement_timeout") == [("12345ms",)]
            assert other.query("SHOW statement_timeout") == [("0",)]
            assert mine.query("SHOW application_name") == [("mine",)]
            assert other.query("SHOW application_name") == [("",)]


def test_set_follows_the_client_and_its_report_does_not_go_to_others(client, other):
    client.send(messages.query("SET TimeZone TO 'Asia/Tokyo'"))
    assert ("S", b"TimeZone\0Asia/Tokyo\0") in client.until("Z")
    other.send(messages.query("SHOW TimeZone"))
    found = other.until("Z")
    assert "S" not in letters(found)
    assert result(found) != [("Asia/Tokyo",)]
    assert client.query("SHOW TimeZone") == [("Asia/Tokyo",)]


def test_set_in_a_transaction_that_rolls_back_is_undone(client, other):
    client.query("SET work_mem TO '5MB'")
    client.query("BEGIN")
    client.query("SET work_mem TO '7MB'")
    client.query("SAVEPOINT a")
    client.query("SET work_mem TO '8MB'")
    client.query("ROLLBACK TO a")
    assert client.query("SHOW work_mem") == [("7MB",)]
    client.query("ROLLBACK")
    other.query("SELECT 1")
    assert client.query("SHOW work_mem") == [("5MB",)]
    client.query("BEGIN; SET LOCAL work_mem TO '9MB'; COMMIT")
    other.query("SELECT 1")
    assert client.query("SHOW work_mem") == [("5MB",)]


def test_discard_all_goes_back_to_the_startup_values(proxy, other):
    with RawClient(proxy.port, options="-c work_mem=6MB") as mine:
        mine.query("SET work_mem TO '9MB'")
        mine.query("DISCARD ALL")
        other.query("SELECT 1")
        assert mine.query("SHOW work_mem") == [("6MB",)]
        mine.query("SET work_mem TO '9MB'")
        mine.query("RESET work_mem")
        assert mine.query("SHOW work_mem") == [("6MB",)]


def test_a_setting_that_poisons_reaches_nobody_else(client, other):
    client.query("SET default_transaction_read_only TO on")
    assert other.query("SHOW default_transaction_read_only") == [("off",)]
    assert client.query("SHOW default_transaction_read_only") == [("on",)]


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("SELECT pg_advisory_lock(4711)", "SELECT pg_advisory_unlock(4711)"),
        ("CREATE TEMP TABLE only_mine (n int)", "DROP TABLE only_mine"),
        ("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT", "CLOSE c"),
        ("LISTEN news", "UNLISTEN news"),
        ("LISTEN news", "DISCARD ALL"),
    ],
)
def test_what_cannot_move_pins_until_it_is_gone(client, other, begin, end):
    client.query(begin)
    other.send(messages.query("SELECT 1"))
    assert other.silent()
    client.query(end)
    assert result(other.until("Z")) == [("1",)]


def test_a_role_follows_the_client(client, other):
    client.query("DROP ROLE IF EXISTS somebody")
    client.query("CREATE ROLE somebody")
    client.query("SET ROLE somebody")
    assert other.query("SELECT current_user") == [("postgres",)]
    assert client.query("SELECT current_user") == [("somebody",)]
    client.query("RESET ROLE")
    assert client.query("SELECT current_user") == [("postgres",)]
    client.query("DROP ROLE somebody")


# --- what comes unasked -------------------------------------------------------------------------------------


def test_notifications_reach_an_idle_listener_at_once(server, client):
    client.query("LISTEN news")
    with psycopg.connect(server.nodes[0].dsn(), autocommit=True) as direct:
        direct.execute("NOTIFY news, 'hello'")
    letter, body = client.next()
    assert (letter, body[4:]) == ("A", b"news\0hello\0")


def test_notices_are_relayed(client):
    client.send(messages.query("DO $$ BEGIN RAISE NOTICE 'psst'; END $$"))
    assert letters(client.until("Z")) == "NCZ"


def test_a_pooled_connection_that_the_server_ended_is_not_handed_out(server, client):
    pid = client.query("SELECT pg_backend_pid()")[0][0]
    with psycopg.connect(server.nodes[0].dsn(), autocommit=True) as direct:
        direct.execute("SELECT pg_terminate_backend(%s)", [int(pid)])
        while direct.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [int(pid)]).fetchone()[
            0
        ]:
            time.sleep(0.01)
    assert client.query("SELECT 1") == [("1",)]


def test_a_server_that_dies_under_a_query_leaves_the_client_its_connection(server, client):
    pid = int(client.query("SELECT pg_backend_pid()")[0][0])
    client.send(messages.query("SELECT pg_sleep(30), set_config('app.x', '1', false)"))
    with psycopg.connect(server.nodes[0].dsn(), autocommit=True) as direct:
        direct.execute("SELECT pg_terminate_backend(%s)", [pid])
    assert result(client.until("Z")) == "08007"
    assert client.query("SELECT 1") == [("1",)]


def test_a_query_that_changes_nothing_is_said_again_when_its_server_dies(server, client):
    pid = int(client.query("SELECT pg_backend_pid()")[0][0])
    client.send(messages.query("SELECT pg_backend_pid(), pg_sleep(0.5)"))
    with psycopg.connect(server.nodes[0].dsn(), autocommit=True) as direct:
        direct.execute("SELECT pg_terminate_backend(%s)", [pid])
    ((other, _),) = result(client.until("Z"))
    assert int(other) != pid


# --- size ---------------------------------------------------------------------------------------------------


def test_large_rows_and_large_texts_pass(client):
    assert len(client.query("SELECT repeat('x', 30000000)")[0][0]) == 30_000_000
    big = "y" * 3_000_000
    assert client.query(f"SELECT length('{big}')") == [("3000000",)]
    client.send(messages.parse("", "SELECT length($1)", [25]), messages.bind("", "", [big.encode()]))
    client.send(messages.execute(), messages.sync())
    assert result(client.until("Z")) == [("3000000",)]
    client.send(messages.parse("large", f"SELECT length('{big}')"), messages.sync())
    client.send(messages.bind("", "large", []), messages.execute(), messages.sync())
    assert result(client.until("Z", 2)) == [("3000000",)]


@pytest.mark.parametrize(
    "garbage", [b"\0\0\0\0\0", b"Q\0\0\0\1", b"Q\xff\xff\xff\xff", b"?\0\0\0\4", b"P\0\0\0\x08abcd"]
)
def test_nonsense_ends_the_connection_with_a_protocol_error(proxy, client, garbage):
    client.send(garbage)
    found = client.until("E")
    assert messages.parse_fields(found[0][1])["C"] == "08P01"
    with pytest.raises(EOFError):
        client.next()
    with RawClient(proxy.port) as again:
        assert again.query("SELECT 1") == [("1",)]


def test_a_notification_that_comes_with_the_answer_to_listen_is_not_lost(client):
    for number in range(20):
        client.send(messages.query(f"LISTEN news{number}; NOTIFY news{number}"))
        found = client.until("Z")
        if "A" not in letters(found):
            assert client.next()[0] == "A"
        client.query("UNLISTEN *")


@pytest.mark.parametrize("command", ["DEALLOCATE s", 'deallocate prepare "s" ;', " Deallocate S"])
def test_deallocate_by_name_frees_the_clients_name_and_nobody_elses(client, other, command):
    for raw in (client, other):
        raw.send(messages.parse("s", "SELECT 8"), messages.sync())
        raw.until("Z")
    client.send(messages.query(command))
    assert client.until("Z") == [("C", b"DEALLOCATE\0"), ("Z", b"I")]
    client.send(messages.bind("", "s", []), messages.sync())
    assert result(client.until("Z")) == "26000"
    other.send(messages.bind("", "s", []), messages.execute(), messages.sync())
    assert result(other.until("Z")) == [("8",)]
    assert client.query("DEALLOCATE s") == "26000"
