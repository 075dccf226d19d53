"""The proxy as a service: workers that die, drains, timeouts, limits, logins, the admin console."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import psycopg
import pytest

from seawall.proxy.settings import AuthMethod, Backend, Database, Listen, PreAuthentication, User
from seawall.proxy.supervisor import AddressInUse
from seawall.wire.pgwire import messages
from tests.proxy.raw import RawClient, letters, result
from tests.proxy.running import RunningProxy, settings_for

pytestmark = pytest.mark.timeout(60)


def until(condition, within_s=10):
    """Wait for something that is on its way."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def show(proxy, what, user="postgres"):
    """Rows of the admin console by column name."""
    with psycopg.connect(
        proxy.dsn("seawall", user), autocommit=True, row_factory=psycopg.rows.dict_row
    ) as conn:
        return conn.execute(f"SHOW {what}").fetchall()


def sql(node, text, *values):
    """Ask a server directly."""
    with psycopg.connect(node.dsn(), autocommit=True) as conn:
        cursor = conn.execute(text, values)
        return cursor.fetchall() if cursor.description else []


# --- workers ------------------------------------------------------------------------------------------------


def test_a_worker_that_is_killed_takes_only_its_own_clients_along(server):
    with RunningProxy(settings_for(server.nodes[0], workers=2)) as proxy:
        clients = [RawClient(proxy.port) for _ in range(24)]
        victim = proxy.running.worker_pids[0]
        owners = {row["pid"]: int(row["worker"]) for row in show(proxy, "clients")}
        assert set(owners.values()) == {0, 1}
        os.kill(victim, signal.SIGKILL)
        until(lambda: proxy.lines)
        for client in clients:
            if owners[str(client.pid)] == 1:
                assert client.query("SELECT 1") == [("1",)]
            else:
                with pytest.raises((EOFError, ConnectionError)):
                    client.query("SELECT 1")
        for _ in range(24):
            with RawClient(proxy.port) as again:
                assert again.query("SELECT 2") == [("2",)]
        until(lambda: len({row["worker"] for row in show(proxy, "workers")}) == 2)
        assert victim not in {int(row["pid"]) for row in show(proxy, "workers")}
        for client in clients:
            client.socket.close()


def sleeps(pid):
    """How often a process has given up its core to wait for something."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt_switches"))


@pytest.mark.parametrize("busy_poll_s", [0.0, 5.0])
def test_a_worker_that_polls_does_not_sleep_between_queries(server, busy_poll_s):
    settings = settings_for(server.nodes[0], busy_poll_s=busy_poll_s)
    with RunningProxy(settings) as proxy, RawClient(proxy.port) as client:
        (pid,) = proxy.running.worker_pids
        began = time.monotonic()
        while time.monotonic() < began + 0.5:  # it looks for queries ten times a second
            client.query("SELECT 1")
        before = sleeps(pid)
        for _ in range(300):
            assert client.query("SELECT 1") == [("1",)]
        slept = sleeps(pid) - before
        assert slept < 50 if busy_poll_s else slept > 250


def test_cancel_reaches_the_worker_that_has_the_client(server):
    with RunningProxy(settings_for(server.nodes[0], workers=2)) as proxy, RawClient(proxy.port) as client:
        for _ in range(8):  # the kernel spreads the requests over both workers
            client.send(messages.query("SELECT pg_sleep(30)"))
            time.sleep(0.05)
            client.cancel()
            assert result(client.until("Z")) == "57014"


def test_a_drain_ends_what_is_idle_and_waits_for_transactions(server):
    with RunningProxy(settings_for(server.nodes[0])) as proxy:
        idle, busy = RawClient(proxy.port), RawClient(proxy.port)
        busy.query("BEGIN")
        stopping = threading.Thread(target=proxy.stop)
        stopping.start()
        found = idle.until("E")
        assert messages.parse_fields(found[0][1])["C"] == "57P01"
        with pytest.raises(OSError):
            RawClient(proxy.port)
        assert busy.query("SELECT 1") == [("1",)]
        busy.send(messages.query("COMMIT"))
        assert letters(busy.until("E")) == "CZE"
        stopping.join(20)
        assert not stopping.is_alive()
        idle.socket.close()
        busy.socket.close()


def test_workers_end_when_their_supervisor_is_killed(server, tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from tests.proxy.running import settings_for\n"
        "from seawall.proxy.supervisor import run\n"
        "class N: name='a'; host='127.0.0.1'; port=int(sys.argv[2])\n"
        "run(settings_for(N, workers=2), lambda r: print(r.addresses[0].port, *r.worker_pids, flush=True))\n"
    )
    root = str(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    with subprocess.Popen(
        [sys.executable, "-c", code, root, str(server.nodes[0].port)], stdout=subprocess.PIPE, text=True
    ) as process:
        port, *pids = map(int, process.stdout.readline().split())
        with RawClient(port) as client:
            assert client.query("SELECT 1") == [("1",)]
            process.kill()
            process.wait()
            until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))


# --- limits and timeouts ------------------------------------------------------------------------------------


def test_a_query_that_takes_too_long_is_cancelled(server):
    with RunningProxy(settings_for(server.nodes[0], timeouts={"query_s": 0.3})) as proxy:
        with RawClient(proxy.port) as client:
            assert client.query("SELECT pg_sleep(30)") == "57014"
            assert client.query("SELECT 1") == [("1",)]


def test_a_transaction_that_idles_too_long_is_ended(server):
    with RunningProxy(settings_for(server.nodes[0], timeouts={"idle_in_transaction_s": 0.3})) as proxy:
        with RawClient(proxy.port) as client:
            client.query("BEGIN")
            assert messages.parse_fields(client.until("E")[0][1])["C"] == "25P03"
        with RawClient(proxy.port) as client:
            assert client.query("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'") == [
                ("0",)
            ]


def test_a_transaction_that_takes_too_long_is_ended(server):
    with RunningProxy(settings_for(server.nodes[0], timeouts={"transaction_s": 0.4})) as proxy:
        with RawClient(proxy.port) as client:
            client.query("BEGIN")
            for _ in range(3):
                client.query("SELECT 1")
            assert messages.parse_fields(client.until("E")[0][1])["C"] == "25P04"


def test_a_backend_gets_no_more_connections_than_it_may(server):
    told = settings_for(server.nodes[0], size=5)
    told = replace(told, backends=(replace(told.backends[0], max_connections=2),))
    with RunningProxy(told) as proxy:
        clients = [RawClient(proxy.port) for _ in range(3)]
        for client in clients[:2]:
            client.query("BEGIN")
        clients[2].send(messages.query("SELECT 1"))
        assert clients[2].silent()
        clients[0].query("COMMIT")
        assert result(clients[2].until("Z")) == [("1",)]
        for client in clients:
            client.socket.close()


def test_a_user_gets_no_more_connections_than_it_may(server):
    users = {"postgres": User(name="postgres", secret="s", max_client_connections=1)}
    with RunningProxy(settings_for(server.nodes[0], users=users)) as proxy:
        with psycopg.connect(proxy.dsn(password="s")):
            with pytest.raises(psycopg.OperationalError, match="too many clients"):
                psycopg.connect(proxy.dsn(password="s"))
        with psycopg.connect(proxy.dsn(password="s")) as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)


def test_who_waits_too_long_for_a_connection_is_told(server):
    told = settings_for(server.nodes[0], size=1, pooling={"queue_timeout_s": 0.3})
    with RunningProxy(told) as proxy, RawClient(proxy.port) as first, RawClient(proxy.port) as second:
        first.query("BEGIN")
        second.send(messages.query("SELECT 1"))
        fields = messages.parse_fields(second.until("E")[0][1])
        assert fields["C"] == "53300"
        assert "in use" in fields["D"]


def test_the_queue_is_bounded(server):
    told = settings_for(server.nodes[0], size=1, pooling={"queue_limit": 1})
    with RunningProxy(told) as proxy:
        holder, waiter, surplus = (RawClient(proxy.port) for _ in range(3))
        holder.query("BEGIN")
        waiter.send(messages.query("SELECT 1"))
        until(lambda: show(proxy, "pools")[0]["cl_waiting"] == "1")
        surplus.send(messages.query("SELECT 1"))
        assert messages.parse_fields(surplus.until("E")[0][1])["C"] == "53300"
        holder.query("COMMIT")
        assert result(waiter.until("Z")) == [("1",)]
        for client in (holder, waiter, surplus):
            client.socket.close()


def test_pools_that_share_a_limit_take_turns(server):
    sql(server.nodes[0], "DROP ROLE IF EXISTS second_user")
    sql(server.nodes[0], "CREATE ROLE second_user LOGIN")
    told = settings_for(server.nodes[0], size=5, pooling={"max_db_connections": 1})
    with RunningProxy(told) as proxy:
        one = RawClient(proxy.port)
        two = RawClient(proxy.port, user="second_user")
        for _ in range(3):
            assert one.query("SELECT current_user") == [("postgres",)]
            assert two.query("SELECT current_user") == [("second_user",)]
        one.query("BEGIN")
        two.send(messages.query("SELECT current_user"))
        assert two.silent()
        one.query("COMMIT")
        assert result(two.until("Z")) == [("second_user",)]
        one.socket.close()
        two.socket.close()


def test_connections_that_do_not_log_in_are_limited_in_number_and_time(server):
    told = settings_for(
        server.nodes[0], timeouts={"login_s": 0.5}, limits=PreAuthentication(connections_per_address=3)
    )
    with RunningProxy(told) as proxy:
        strangers = [RawClient(proxy.port, connect=False) for _ in range(3)]
        with RawClient(proxy.port, connect=False) as fourth:
            assert messages.parse_fields(fourth.until("E")[0][1])["C"] == "53300"
        for stranger in strangers:
            assert messages.parse_fields(stranger.until("E")[0][1])["C"] == "08006"
            stranger.socket.close()
        with RawClient(proxy.port) as client:
            assert client.query("SELECT 1") == [("1",)]


def test_clients_wait_for_a_server_that_restarts(cluster):
    made = cluster()
    made.start()
    node = made.nodes[0]
    with RunningProxy(settings_for(node)) as proxy, RawClient(proxy.port) as client:
        assert client.query("SELECT 1") == [("1",)]
        node.stop()
        client.send(messages.query("SELECT 2"))
        assert client.silent(0.5)
        node.start()
        assert result(client.until("Z")) == [("2",)]


def test_a_server_that_stays_away_is_told(server):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))

        class Gone:
            name, host, port = "gone", "127.0.0.1", nobody.getsockname()[1]

        told = settings_for(Gone, timeouts={"unavailable_s": 0.5})
        with RunningProxy(told) as proxy, RawClient(proxy.port, connect=False) as client:
            client.send(messages.startup_message({"user": "postgres", "database": "postgres"}))
            fields = messages.parse_fields(client.until("E")[-1][1])
            assert fields["C"] == "57P03"
            assert "gone" in fields["D"]


# --- logins -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [AuthMethod.SCRAM, AuthMethod.MD5, AuthMethod.CLEARTEXT])
def test_clients_log_in_with_a_password(server, method):
    users = {"postgres": User(name="postgres", secret="geheim")}
    with RunningProxy(settings_for(server.nodes[0], users=users, method=method)) as proxy:
        with psycopg.connect(proxy.dsn(password="geheim")) as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
        for user, password in (("postgres", "wrong"), ("nobody", "geheim")):
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                psycopg.connect(proxy.dsn(user=user, password=password))


def test_the_servers_reason_reaches_a_client_that_cannot_be_served(server):
    with RunningProxy(settings_for(server.nodes[0])) as proxy:
        with pytest.raises(psycopg.OperationalError, match='database "nowhere" does not exist'):
            psycopg.connect(proxy.dsn("nowhere"))
        with pytest.raises(psycopg.OperationalError, match='role "no_such_role" does not exist'):
            psycopg.connect(proxy.dsn(user="no_such_role"))
        with pytest.raises(psycopg.OperationalError, match="no_such_setting"):
            psycopg.connect(proxy.dsn(options="'-c no_such_setting=1'"))


def test_databases_have_other_names_and_users_on_the_server(server):
    databases = {"shop": Database(name="shop", server_name="postgres", server_user="postgres")}
    with RunningProxy(settings_for(server.nodes[0], databases=databases)) as proxy:
        with psycopg.connect(proxy.dsn("shop", user="anybody")) as conn:
            assert conn.execute("SELECT current_database(), current_user").fetchone() == (
                "postgres",
                "postgres",
            )
        with pytest.raises(psycopg.OperationalError, match='database "postgres" does not exist'):
            psycopg.connect(proxy.dsn("postgres"))


def test_unix_sockets(server, tmp_path):
    told = replace(settings_for(server.nodes[0]), listen=(Listen(unix_directory=str(tmp_path), port=5555),))
    with RunningProxy(told):
        with psycopg.connect(f"host={tmp_path} port=5555 user=postgres dbname=postgres") as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
    assert not list(tmp_path.iterdir())


def test_servers_over_a_unix_socket(server):
    node = server.nodes[0]
    told = replace(
        settings_for(node), backends=(Backend(name="u", host=str(node.socket_directory), port=node.port),)
    )
    with RunningProxy(told) as proxy, RawClient(proxy.port) as client:
        assert client.query("SELECT 1") == [("1",)]


# --- session mode -------------------------------------------------------------------------------------------


def test_session_mode_keeps_the_server_and_cleans_it(server):
    with RunningProxy(settings_for(server.nodes[0], mode="session", size=1)) as proxy:
        with RawClient(proxy.port) as client:
            pid = client.query("SELECT pg_backend_pid()")
            client.query("CREATE TEMP TABLE mine (n int)")
            client.query("SET work_mem TO '9MB'")
            client.send(messages.parse("s", "SELECT 1"), messages.sync())
            client.until("Z")
            client.query("BEGIN")
        with RawClient(proxy.port) as client:
            assert client.query("SELECT pg_backend_pid()") == pid
            assert client.query("SELECT * FROM mine") == "42P01"
            assert client.query("SHOW work_mem") == [("4MB",)]
            client.send(messages.bind("", "s", []), messages.sync())
            assert result(client.until("Z")) == "26000"


def test_statement_mode_refuses_transactions(server):
    with RunningProxy(settings_for(server.nodes[0], mode="statement", size=1)) as proxy:
        with RawClient(proxy.port) as client:
            assert client.query("SELECT 1") == [("1",)]
            client.send(messages.query("BEGIN"))
            found = client.until("E")
            assert messages.parse_fields(found[-1][1])["C"] == "25001"


# --- the admin console --------------------------------------------------------------------------------------


def test_the_console_shows_what_is_there(server):
    with RunningProxy(settings_for(server.nodes[0], workers=2)) as proxy:
        clients = [RawClient(proxy.port, application_name=f"app{number}") for number in range(12)]
        for client in clients:
            client.query("SELECT 1")
        clients[0].query("LISTEN x")
        assert {row["application_name"] for row in show(proxy, "clients")} == {f"app{n}" for n in range(12)}
        until(lambda: [row["pinned_by"] for row in show(proxy, "clients") if row["pinned_by"]] == ["LISTEN"])
        assert sum(int(row["total_query_count"]) for row in show(proxy, "stats")) >= 13
        assert {row["database"] for row in show(proxy, "pools")} == {"postgres"}
        assert all(row["backend"] == server.nodes[0].name for row in show(proxy, "servers"))
        with pytest.raises(psycopg.errors.SyntaxError, match="unknown command"):
            show(proxy, "nonsense")
        for client in clients:
            client.socket.close()


def test_the_console_is_for_those_who_are_named(server):
    users = {name: User(name=name, secret="s") for name in ("boss", "postgres")}
    with RunningProxy(settings_for(server.nodes[0], users=users)) as proxy:
        with psycopg.connect(proxy.dsn("seawall", "boss", password="s"), autocommit=True) as conn:
            assert conn.execute("SHOW VERSION").fetchone()[0].startswith("Seawall")
            assert conn.execute("SHOW POOLS", prepare=True).fetchall() is not None
        with pytest.raises(psycopg.OperationalError, match="may not use the admin console"):
            psycopg.connect(proxy.dsn("seawall", "postgres", password="s"))


def test_create_and_drop_database_are_not_blocked_by_idle_connections(server):
    with RunningProxy(settings_for(server.nodes[0], workers=2)) as proxy:
        with RawClient(proxy.port) as client:
            client.query("DROP DATABASE IF EXISTS fleeting")
            assert client.query("CREATE DATABASE fleeting") == []
            for _ in range(4):
                with RawClient(proxy.port, database="fleeting") as guest:
                    assert guest.query("SELECT 1") == [("1",)]
            assert client.query("DROP DATABASE fleeting") == []


def test_a_user_known_by_a_verifier_logs_in_to_the_server_with_the_keys_of_its_own_login(cluster):
    made = cluster(auth="scram-sha-256", password="geheim")
    node = made.nodes[0]
    verifier = node.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'")[0][0]
    assert verifier.startswith("SCRAM-SHA-256$")
    users = {"postgres": User(name="postgres", secret=verifier)}
    with RunningProxy(settings_for(node, users=users)) as proxy:
        with psycopg.connect(proxy.dsn(password="geheim")) as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(proxy.dsn(password="falsch"))


def test_in_session_mode_a_client_goes_by_its_servers_process_number(server):
    with RunningProxy(settings_for(server.nodes[0], mode="session", workers=2)) as proxy:
        with RawClient(proxy.port) as client:
            assert client.query("SELECT pg_backend_pid()") == [(str(client.pid),)]
            for _ in range(6):  # the kernel spreads the requests over both workers
                client.send(messages.query("SELECT pg_sleep(30)"))
                time.sleep(0.05)
                client.cancel()
                assert result(client.until("Z")) == "57014"
            sql(server.nodes[0], "SELECT pg_terminate_backend(%s)", client.pid)
            assert messages.parse_fields(client.until("E")[-1][1])["C"] == "57P01"
            with pytest.raises(EOFError):
                client.next()


def test_a_second_proxy_does_not_share_the_port_unseen(server):
    with RunningProxy(settings_for(server.nodes[0], workers=2)) as proxy:
        told = replace(settings_for(server.nodes[0], workers=2), listen=(Listen(port=proxy.port),))
        with pytest.raises(AddressInUse, match=str(proxy.port)), RunningProxy(told):
            raise AssertionError("it listens")


def test_without_room_for_prepared_statements_they_still_work(server):
    told = settings_for(server.nodes[0], pooling={"max_prepared_statements": 0})
    with RunningProxy(told) as proxy, RawClient(proxy.port) as client:
        for number in range(3):
            client.send(messages.parse(f"s{number}", f"SELECT {number}"), messages.sync())
            assert letters(client.until("Z")) == "1Z"
        client.send(messages.bind("", "s0", []), messages.execute(), messages.sync())
        assert result(client.until("Z")) == [("0",)]
