"""One real server: every way to stop it, and every mess it can be found in."""

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from seawall.embedded import (
    Cluster,
    ClusterError,
    Node,
    PortTaken,
    StatementFailed,
    pidfile,
    ports,
    processes,
)
from seawall.embedded.client import Connection
from seawall.kernel.errors import DatabaseUnavailable, PolicyError
from tests.embedded.servers import until

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def victim(engine) -> Iterator[Cluster]:
    """One cluster for all tests here: each is left with a mess, and the next one starts by mending it."""
    with Cluster.create(engine=engine) as made:
        yield made


@pytest.fixture
def node(victim) -> Node:
    (mended,) = victim.nodes
    victim.start()
    mended.execute("DROP TABLE IF EXISTS kept; CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)")
    return mended


def rows(node: Node) -> int:
    return len(node.execute("SELECT n FROM kept"))


def session(node: Node, timeout_s: float = 15.0) -> Connection:
    address = node.socket_directory / f".s.PGSQL.{node.port}"
    return Connection(address, name=node.name, timeout_s=timeout_s, user="postgres", database="postgres")


def state(pid: int) -> str:
    found = processes.parse_stat(pid, Path(f"/proc/{pid}/stat").read_text())
    return "" if found is None else found.state


def lying_lock_files(node: Node, pid: int) -> None:
    """What a crash leaves, naming a process that exists."""
    lines = [str(pid), str(node.data_directory), "1700000000", str(node.port), "", "", ""]
    for path in (node.data_directory / pidfile.NAME, node.socket_directory / f".s.PGSQL.{node.port}.lock"):
        path.write_text("\n".join(lines))
        os.chown(path, node.account.uid, node.account.gid)


def plain_start(node: Node) -> str:
    """Start the server as anybody would, without clearing what a crash has left, and see it end."""
    with node._open_log() as log:
        processes.spawn(
            [
                node.engine.binary("postgres"),
                "-D",
                node.data_directory,
                "-c",
                f"config_file={node.configuration_file}",
            ],
            node.account,
            data_directory=node.data_directory,
            environment=node.engine.environment(),
            log=log,
        )
    until(lambda: not node.is_running)
    return node.log_tail()


# --- looking ------------------------------------------------------------------------------------------------


def test_a_running_node_tells_who_it_is(server) -> None:
    (node,) = server.nodes
    assert node.is_running
    assert not node.is_paused
    assert node.pid in node.pids()
    assert repr(node) == f"Node('pg1', port={node.port}, running)"
    assert node.dsn() == f"postgresql://postgres@127.0.0.1:{node.port}/postgres"
    assert node.dsn("a b", "m/e", "p@ss") == f"postgresql://m%2Fe:p%40ss@127.0.0.1:{node.port}/a%20b"


def test_values_are_text_and_errors_have_a_sqlstate(server) -> None:
    (node,) = server.nodes
    assert node.execute("SELECT 1, NULL, 'ä'; SELECT 2, 'x', ''") == [("1", None, "ä"), ("2", "x", "")]
    assert node.execute("") == []
    with pytest.raises(StatementFailed) as caught:
        node.execute("SELECT * FROM nowhere")
    assert caught.value.sqlstate == "42P01"
    with pytest.raises(StatementFailed, match="3D000"):
        node.execute("SELECT 1", database="nowhere")


def test_a_tcp_client_gets_in(server) -> None:
    (node,) = server.nodes
    answer = subprocess.run(
        [node.engine.binary("psql"), "-XAt", node.dsn(), "-c", "SELECT inet_server_port()"],
        env=node.engine.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout.strip() == str(node.port), answer.stderr


def test_nobody_but_the_account_reaches_the_socket(server) -> None:
    (node,) = server.nodes
    for directory in (node.socket_directory, node.data_directory):
        assert directory.stat().st_mode & 0o077 == 0
        assert directory.stat().st_uid == node.account.uid


# --- starting and stopping ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["smart", "fast", "immediate"])
def test_it_stops_and_starts_again(node, mode) -> None:
    port, pid = node.port, node.pid
    node.stop(mode)
    assert (node.is_running, node.pid, node.pids()) == (False, None, [])
    with pytest.raises(DatabaseUnavailable):
        node.execute("SELECT 1")
    node.start()
    assert node.pid not in {None, pid}
    assert node.port == port
    assert rows(node) == 1


def test_starting_and_stopping_twice_is_harmless(node) -> None:
    pid = node.pid
    node.start()
    assert node.pid == pid
    node.stop()
    node.stop()
    assert not node.is_running
    node.restart()
    assert rows(node) == 1


def stopped_before_it_listens(node: Node, monkeypatch) -> int:
    """Start a server and stop it where it stands, before it has a handler for anything; its process id."""
    popen = subprocess.Popen

    def stopped(*args, **options):
        process = popen(*args, **options)
        os.kill(process.pid, signal.SIGSTOP)
        return process

    monkeypatch.setattr("seawall.embedded.processes.subprocess.Popen", stopped)
    for _ in range(20):
        node.kill()
        node.start(wait=False)
        pid = node.pid
        until(lambda pid=pid: state(pid) == "T")
        if not processes.catches(pid, signal.SIGHUP):
            return pid
    pytest.fail("it was faster every time")


def test_a_hangup_ends_a_server_that_is_just_starting(node, monkeypatch) -> None:
    pid = stopped_before_it_listens(node, monkeypatch)
    os.kill(pid, signal.SIGHUP)
    os.kill(pid, signal.SIGCONT)
    until(lambda: not processes.is_alive(pid))
    assert node.log_tail() == ""


def test_a_server_that_is_just_starting_lives_through_a_reload(node, monkeypatch) -> None:
    pid = stopped_before_it_listens(node, monkeypatch)
    reloading = threading.Thread(target=node.reload)
    reloading.start()
    os.kill(pid, signal.SIGCONT)
    reloading.join(30)
    assert not reloading.is_alive()
    node.wait_ready()
    assert node.pid == pid
    until(lambda: "received SIGHUP, reloading configuration files" in node.log_file.read_text())


def test_a_server_that_never_listens_is_not_reloaded(node, monkeypatch) -> None:
    monkeypatch.setattr("seawall.embedded.node.LISTEN_TIMEOUT_S", 0.05)
    stopped_before_it_listens(node, monkeypatch)
    with pytest.raises(ClusterError, match="takes no signals"):
        node.reload()
    node.resume()
    node.wait_ready()


def test_an_unknown_way_to_stop_is_refused(server) -> None:
    with pytest.raises(PolicyError, match="smart, fast, immediate"):
        server.nodes[0].stop("gently")


def test_a_way_that_takes_too_long_gives_way_to_a_harder_one(node) -> None:
    with session(node) as client:
        assert client.query("SELECT 1") == [("1",)]
        node.stop("smart", timeout_s=0.2)  # which waits for clients, and there is one
        assert not node.is_running


def test_a_server_that_cannot_start_says_why(node) -> None:
    node.stop()
    text = node.configuration_file.read_text()
    node.configuration_file.write_text(text + "no_such_setting = 1\n")
    with pytest.raises(ClusterError, match="no_such_setting"):
        node.start()
    node.configuration_file.write_text(text)
    node.start()
    assert rows(node) == 1


def test_a_port_that_was_taken_meanwhile_is_told(node) -> None:
    node.stop()
    ports.release(node.port)
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind((node.host, node.port))
        stranger.listen()
        with pytest.raises(PortTaken, match=f"port {node.port} is taken"):
            node.start()
    node.start()
    assert rows(node) == 1


def test_a_large_log_is_put_aside(node, monkeypatch) -> None:
    node.stop()
    monkeypatch.setattr("seawall.embedded.node.LOG_BYTES_MAX", 10)
    assert node.log_size() > 10
    node.start()
    assert "shut down" in (node.directory / "server.log.1").read_text()
    assert "ready to accept connections" in node.log_tail()
    assert "shut down" not in node.log_file.read_text().partition("ready")[0].replace("was shut down", "")


# --- kill ---------------------------------------------------------------------------------------------------


def test_kill_leaves_nobody_and_the_next_start_recovers(node) -> None:
    clients = [session(node) for _ in range(10)]
    try:
        node.execute("INSERT INTO kept VALUES (2)")
        before = node.pids()
        shared = processes.shared_memory(before)
        assert all(path.exists() for path in shared)
        assert node.kill() > len(clients)
    finally:
        for client in clients:
            client.__exit__(None, None, None)
    assert [pid for pid in before if processes.is_alive(pid)] == []
    assert (node.pids(), node.is_running) == ([], False)
    assert (node.data_directory / pidfile.NAME).exists()  # a crash leaves it
    assert shared
    assert [path for path in shared if path.exists()] == []
    node.start()
    assert "was not properly shut down" in node.log_file.read_text()
    assert rows(node) == 2


def test_killing_a_dead_node_kills_nobody(node) -> None:
    node.stop()
    assert node.kill() == 0


def test_a_port_is_kept_while_its_server_is_dead(node) -> None:
    node.kill()
    with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind((node.host, node.port))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((node.host, node.port), timeout=1)


def test_orphans_are_no_running_node_and_no_obstacle(node) -> None:
    assert node.pid is not None
    node.pause()
    # A frozen child doesn't see its postmaster die: the server that a badly aimed kill leaves behind.
    os.kill(node.pid, signal.SIGKILL)
    until(lambda: not node.is_running)
    orphans = node.pids()
    assert orphans
    assert "is still in use" in plain_start(node) or "already exists" in node.log_tail()
    node.start()
    assert not set(orphans) & set(node.pids())
    assert [pid for pid in orphans if processes.is_alive(pid)] == []
    assert rows(node) == 1


# --- pause --------------------------------------------------------------------------------------------------


def test_queries_hang_while_paused_and_go_on_after(node) -> None:
    answers: list[int] = []
    with session(node) as client:
        client.query("BEGIN; INSERT INTO kept VALUES (2)")
        pids = node.pause()
        assert {state(pid) for pid in pids} == {"T"}
        assert (node.is_running, node.is_paused) == (True, True)
        assert repr(node).endswith("paused)")
        with pytest.raises(DatabaseUnavailable, match="no answer"):
            node.execute("SELECT 1", timeout_s=0.2)
        # The kernel still takes connections, which is what makes a hang so hard to see.
        socket.create_connection((node.host, node.port), timeout=1).close()

        def work() -> None:
            client.query("COMMIT")
            answers.append(rows(node))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        assert answers == []
        assert set(node.resume()) >= {node.pid}
        thread.join(10)
    assert answers == [2]
    assert not node.is_paused


def test_children_forked_meanwhile_stand_still_too(node) -> None:
    over = threading.Event()

    def storm() -> None:
        while not over.is_set():
            try:
                with session(node, timeout_s=0.5):
                    continue
            except (DatabaseUnavailable, StatementFailed):
                continue

    threads = [threading.Thread(target=storm) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            stopped = node.pause()
            assert {state(pid) for pid in node.pids()} == {"T"}
            assert set(node.pids()) == set(stopped)
            node.resume()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert rows(node) == 1


def test_a_paused_node_can_be_stopped_and_killed(node) -> None:
    node.pause()
    node.stop()
    assert not node.is_running
    assert "was shut down" in restarted_log(node)
    node.pause()
    node.kill()
    assert node.pids() == []
    node.start()
    assert rows(node) == 1


def restarted_log(node: Node) -> str:
    node.start()
    return node.log_tail()


def test_pausing_a_dead_node_pauses_nobody(node) -> None:
    node.stop()
    assert node.pause() == []
    assert node.resume() == []


# --- a stale pid file ---------------------------------------------------------------------------------------


def test_a_pid_that_is_gone_is_cleared(node) -> None:
    node.kill()
    assert pidfile.read(node.data_directory) is not None
    assert node.pid is None
    node.start()
    assert rows(node) == 1


def test_a_zombie_is_cleared(node) -> None:
    node.stop()
    with subprocess.Popen(["true"], **node.account.process_options()) as zombie:
        until(lambda: state(zombie.pid) == "Z")
        lying_lock_files(node, zombie.pid)
        assert 'postmaster.pid" already exists' in plain_start(node)
        (node.data_directory / pidfile.NAME).unlink()
        assert '.lock" already exists' in plain_start(node)
        lying_lock_files(node, zombie.pid)
        assert node.pid is None
        node.start()
        assert rows(node) == 1


def test_a_stranger_is_left_alone_and_its_pid_cleared(node) -> None:
    node.stop()
    with subprocess.Popen(["sleep", "60"], **node.account.process_options()) as stranger:
        try:
            lying_lock_files(node, stranger.pid)
            assert "already exists" in plain_start(node)
            assert node.pid is None
            node.start()
            assert rows(node) == 1
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_another_server_is_a_stranger_too(node, server) -> None:
    other = server.nodes[0]
    node.stop()
    assert other.pid is not None
    lying_lock_files(node, other.pid)
    assert node.pid is None
    assert node.kill() == 0
    node.start()
    assert rows(node) == 1
    assert other.execute("SELECT 1") == [("1",)]


@pytest.mark.parametrize("text", ["", "nonsense\n", "1\n"])
def test_a_damaged_pid_file_is_cleared(node, text) -> None:
    node.kill()
    (node.data_directory / pidfile.NAME).write_text(text)
    assert node.pid is None
    node.start()
    assert rows(node) == 1


def test_a_running_node_is_found_without_its_pid_file(node) -> None:
    pid = node.pid
    (node.data_directory / pidfile.NAME).unlink()
    assert node.pid == pid
    with pytest.raises(ClusterError, match="stop it first"):
        node.clear_remains()
    node.stop()
    assert not node.is_running
