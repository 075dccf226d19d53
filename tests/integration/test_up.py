"""``seawall up`` and ``seawall proxy`` as programs: they start, serve, and leave nothing behind."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from seawall.embedded import Cluster
from tests.embedded.servers import place, until

__all__ = ["place"]

pytestmark = pytest.mark.timeout(60)

STOP_S = 20.0


class Program:
    """A running ``seawall``, in a session of its own as a terminal would give it.

    Args:
        arguments: verb and options.
        log: takes what it says on stderr.
    """

    def __init__(self, arguments: tuple[object, ...], log: Path) -> None:
        self.log = log
        program = "from seawall.cli.main import main; main()"
        outside = ("SEAWALL_CONFIG", "HELIOS_CONFIG")
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                env={name: value for name, value in os.environ.items() if name not in outside},
            )

    def ready(self) -> dict[str, Any]:
        """The line that says so."""
        line = self.process.stdout.readline()
        assert line, self.said()
        return json.loads(line)

    def said(self) -> str:
        """What it told the person at the terminal so far."""
        return self.log.read_text(encoding="utf-8")

    def stop(self, number: signal.Signals) -> int:
        """Send a signal to it, and to its whole group if it is what Ctrl-C sends; the exit code."""
        if number is signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        return self.process.wait(STOP_S)


@contextlib.contextmanager
def running(log: Path, *arguments: object) -> Iterator[Program]:
    program = Program(arguments, log)
    try:
        yield program
    finally:
        if program.process.poll() is None:
            program.stop(signal.SIGTERM)
        program.process.stdout.close()


def value(dsn: str, sql: str) -> object:
    with psycopg.connect(dsn, connect_timeout=5) as connection:
        return connection.execute(sql).fetchone()[0]


def processes_of(directory: Path) -> list[str]:
    """The processes that have a directory in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(directory) in text and "seawall.cli" not in text:
                found.append(text)
    return found


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_command_brings_servers_and_proxy_and_takes_them_away(tmp_path: Path, number) -> None:
    with running(tmp_path / "log", "up", "--json", "--listen", "127.0.0.1:0", "--workers", 2) as program:
        told = program.ready()
        assert value(told["dsn"], "SELECT pg_is_in_recovery()") is False
        assert [node["role"] for node in told["nodes"]] == ["primary", "replica"]
        assert value(told["dsn"], "SELECT count(*) FROM pg_stat_replication") == 1
        directory = Path(told["directory"])
        assert processes_of(directory)
        assert all(alive(pid) for pid in told["worker_pids"])
        assert program.stop(number) == 0, program.said()
    assert processes_of(directory) == []
    assert not any(alive(pid) for pid in told["worker_pids"])
    assert not directory.exists()
    assert "psql postgresql://postgres@127.0.0.1:" in program.said()
    assert "Traceback" not in program.said()


def test_the_proxy_is_what_is_talked_to(tmp_path: Path) -> None:
    options = ("--listen", "127.0.0.1:0", "--workers", 1, "--replicas", 0)
    with running(tmp_path / "log", "up", "--json", *options) as program:
        told = program.ready()
        with psycopg.connect(told["dsn"], connect_timeout=5) as connection:
            assert connection.info.port == told["listen"][0]["port"]
            assert connection.info.port != told["nodes"][0]["port"]
            (port,) = connection.execute("SELECT inet_server_port()").fetchone()
            assert port == told["nodes"][0]["port"]


def test_a_directory_keeps_the_data(tmp_path: Path, place: Path) -> None:
    options = ("--listen", "127.0.0.1:0", "--workers", 1, "--replicas", 0, "--dir", place)
    with running(tmp_path / "first", "up", "--json", *options) as program:
        told = program.ready()
        with psycopg.connect(told["dsn"], connect_timeout=5, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        assert program.stop(signal.SIGINT) == 0, program.said()
    assert processes_of(place) == []
    with running(tmp_path / "second", "up", "--json", *options) as program:
        told = program.ready()
        assert value(told["dsn"], "SELECT answer FROM kept") == 42
        assert program.stop(signal.SIGTERM) == 0, program.said()
    assert processes_of(place) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_start_that_is_interrupted_leaves_nothing(tmp_path: Path, place: Path, number) -> None:
    with running(tmp_path / "log", "up", "--listen", "127.0.0.1:0", "--dir", place) as program:
        until(lambda: processes_of(place) != [])
        assert program.stop(number) in {0, 130}, program.said()
    assert processes_of(place) == []
    assert "Traceback" not in program.said()


def test_an_address_that_is_taken_leaves_no_server(tmp_path: Path, place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with running(tmp_path / "log", "up", "--listen", address, "--dir", place) as program:
            assert program.process.wait(STOP_S) == 1
    assert address in program.said()
    assert "Traceback" not in program.said()
    assert processes_of(place) == []


def test_a_configured_proxy_asks_for_passwords_and_drains(tmp_path: Path, server: Cluster) -> None:
    node = server.primary
    file = tmp_path / "seawall.toml"
    (tmp_path / "password").write_text("hunter2\n")
    file.write_text(
        f"""
        [proxy]
        listen_address = "127.0.0.1:0"
        workers = 1
        [[auth.users]]
        name = "postgres"
        password_file = "password"
        [[backends.instances]]
        name = "one"
        host = "{node.host}"
        port = {node.port}
        """
    )
    with running(tmp_path / "log", "proxy", "--config", file, "--json") as program:
        dsn = program.ready()["dsn"]
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            value(dsn.replace("postgres@", "postgres:hunter3@"), "SELECT 1")
        assert value(dsn.replace("postgres@", "postgres:hunter2@"), "SELECT 1") == 1
        assert program.stop(signal.SIGTERM) == 0, program.said()
    assert "hunter" not in program.said()
