import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from seawall.app import build
from seawall.app.config import ConfigError
from seawall.cli import exits, main
from seawall.kernel.errors import DatabaseUnavailable, Problem
from seawall.proxy.settings import Listen
from seawall.proxy.supervisor import Running

RUNNING = Running(addresses=(Listen(host="127.0.0.1", port=4711),), worker_pids=(41,))
NODES = [SimpleNamespace(name=name, host="127.0.0.1", port=port) for name, port in (("pg1", 5), ("pg2", 6))]
CLUSTER = SimpleNamespace(nodes=NODES, primary=NODES[0], directory=Path("/var/tmp/there"))


@pytest.fixture(autouse=True)
def _no_configuration_from_outside(monkeypatch):
    for name in ("SEAWALL_CONFIG", "HELIOS_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def started(monkeypatch):
    """What was started: servers and a proxy that are ready at once and stopped at once."""
    found = []

    def run(wanted, env, on_ready, say):
        found.append(wanted)
        say("starting PostgreSQL")
        on_ready(RUNNING, CLUSTER)
        return 0

    monkeypatch.setattr(build, "run_together", run)
    return found


def failing(monkeypatch, error: BaseException) -> None:
    def run(*arguments):
        raise error

    monkeypatch.setattr(build, "run_together", run)


def invoke(*arguments: object):
    return CliRunner().invoke(main.app, ["up", *map(str, arguments)])


def test_without_options_a_primary_and_a_replica_are_started(started) -> None:
    answer = invoke()
    assert answer.exit_code == exits.OK
    assert started == [build.Together()]
    assert started[0].replicas == 1
    assert answer.stdout == ""
    for line in (
        "starting PostgreSQL",
        "listening  127.0.0.1:4711",
        "server     pg1  127.0.0.1:5  primary",
        "server     pg2  127.0.0.1:6  replica",
        "data       /var/tmp/there",
        "connect    psql postgresql://postgres@127.0.0.1:4711/postgres",
        "import psycopg",
        "Ctrl-C stops everything",
    ):
        assert line in answer.stderr


def test_options_are_passed_on(started) -> None:
    options = ["--replicas", "2", "--synchronous", "--engine", "system", "--dir", "/var/tmp/x"]
    assert invoke(*options, "--listen", "127.0.0.1:0", "--workers", "3").exit_code == exits.OK
    assert started == [
        build.Together(
            replicas=2,
            synchronous=True,
            engine="system",
            directory=Path("/var/tmp/x"),
            listen=("127.0.0.1:0",),
            workers=3,
        )
    ]


def test_json_is_one_line_on_stdout(started) -> None:
    answer = invoke("--json")
    assert json.loads(answer.stdout) == {
        "ready": True,
        "listen": [{"host": "127.0.0.1", "port": 4711, "unix_directory": ""}],
        "dsn": "postgresql://postgres@127.0.0.1:4711/postgres",
        "worker_pids": [41],
        "directory": "/var/tmp/there",
        "nodes": [
            {"name": "pg1", "host": "127.0.0.1", "port": 5, "role": "primary"},
            {"name": "pg2", "host": "127.0.0.1", "port": 6, "role": "replica"},
        ],
    }


@pytest.mark.parametrize(
    "arguments", [["--replicas", "-1"], ["--replicas", "99"], ["--engine", "mine"], ["x"]]
)
def test_a_wrong_option_exits_with_2(started, arguments) -> None:
    assert invoke(*arguments).exit_code == exits.USAGE
    assert started == []


def test_a_wrong_address_is_told(monkeypatch) -> None:
    failing(monkeypatch, ConfigError([Problem("--listen", "x", "an address")], "the command line"))
    answer = invoke("--listen", "x")
    assert answer.exit_code == exits.USAGE
    assert "--listen = 'x': allowed is an address" in answer.stderr


def test_servers_that_do_not_start_are_told(monkeypatch) -> None:
    failing(monkeypatch, DatabaseUnavailable("pg1", "no space left"))
    answer = invoke()
    assert answer.exit_code == exits.BROKEN
    assert "pg1: no space left" in answer.stderr


def test_ctrl_c_while_starting_ends_with_130(monkeypatch) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    answer = invoke()
    assert answer.exit_code == exits.INTERRUPTED
    assert "stopped" in answer.stderr


@pytest.mark.parametrize("by", ["option", "SEAWALL_CONFIG", "HELIOS_CONFIG"])
def test_with_a_file_it_is_the_proxy_alone(tmp_path, monkeypatch, started, by) -> None:
    file = tmp_path / "seawall.toml"
    file.write_text('[[backends.instances]]\nname = "one"\nhost = "db.internal"\n')
    loaded = []
    monkeypatch.setattr(build, "run_proxy", lambda found, on_ready: loaded.append(found) or 0)
    arguments = ["--config", file] if by == "option" else []
    if by != "option":
        monkeypatch.setenv(by, str(file))
    assert invoke(*arguments).exit_code == exits.USAGE
    answer = invoke(*arguments, "--trust-loopback", "--workers", "2")
    assert answer.exit_code == exits.OK
    assert started == []
    assert loaded[0].settings.backends[0].host == "db.internal"
    assert loaded[0].settings.workers == 2
