import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seawall.cli import cluster, exits, main
from seawall.embedded import Cluster, NodeStatus, processes
from seawall.embedded.engines import find_engine
from seawall.kernel.errors import PolicyError, UsageError
from tests.embedded.servers import reachable_place

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def place():
    with reachable_place() as path:
        yield path


@pytest.fixture
def seawall(place):
    def invoke(*arguments: str):
        return CliRunner().invoke(main.app, ["cluster", *arguments, "--dir", str(place)])

    return invoke


def pids(place: Path) -> list[int | None]:
    return [node.pid for node in Cluster.open(place).nodes]


def test_help_lists_the_verbs() -> None:
    answer = CliRunner().invoke(main.app, ["cluster", "--help"])
    assert answer.exit_code == exits.OK
    for verb in ("up", "status", "kill", "pause", "resume", "promote", "rejoin", "down"):
        assert f" {verb} " in answer.stdout


def test_a_cluster_is_made_broken_mended_and_removed(seawall, place) -> None:
    answer = seawall("up", "--replicas", "1")
    assert answer.exit_code == exits.OK, answer.output
    made = Cluster.open(place)
    assert f"postgresql://postgres@127.0.0.1:{made.node('pg1').port}/postgres" in answer.stdout
    assert "target_session_attrs=read-write" in answer.stdout
    assert made.engine.binary("psql").name in answer.stdout
    made.primary.execute("CREATE TABLE kept AS SELECT 1")
    made.wait_caught_up()

    assert seawall("status").exit_code == exits.OK
    assert seawall("pause", "pg2").stdout.startswith("paused pg2: ")
    paused = seawall("status")
    assert (paused.exit_code, " paused " in paused.stdout) == (exits.BROKEN, True)
    assert seawall("resume").stdout == "resumed pg2\n"
    assert seawall("resume").stdout.startswith("resumed nothing")

    assert seawall("kill").stdout.startswith("killed pg1: ")
    dead = seawall("kill")
    assert dead.exit_code == exits.BROKEN
    assert "no node accepts writes" in dead.stderr
    assert seawall("promote").stdout == "pg2 is the primary, on timeline 2\n"
    back = seawall("rejoin")
    assert back.stdout.startswith("pg1 follows the primary again, by pg_rewind")
    assert seawall("rejoin").stdout == "every node follows the primary\n"
    assert seawall("status").exit_code == exits.OK
    assert made.node("pg2").execute("SELECT * FROM kept") == [("1",)]

    assert seawall("down").stdout == f"stopped the cluster in {place}\n"
    assert pids(place) == [None, None]
    assert " down " in seawall("status").stdout
    assert seawall("up").exit_code == exits.OK
    assert seawall("down", "--remove").exit_code == exits.OK
    assert not place.exists()


def test_json_is_alone_on_stdout(seawall) -> None:
    table = json.loads(seawall("up", "--replicas", "1", "--synchronous", "--json").stdout)
    assert (table["healthy"], table["synchronous"], table["engine"]["kind"]) == (True, True, "wheel")
    assert [node["role"] for node in table["nodes"]] == ["primary", "replica"]
    assert table["nodes"][0]["dsn"].startswith("postgresql://")
    assert json.loads(seawall("status", "--json").stdout)["nodes"][1]["sync_state"] == "quorum"
    assert json.loads(seawall("kill", "pg1", "--json").stdout)["killed"] > 3
    assert not json.loads(seawall("status", "--json").stdout)["healthy"]
    assert json.loads(seawall("promote", "pg2", "--json").stdout)["timeline"] == 2
    assert json.loads(seawall("pause", "--json").stdout)["node"] == "pg2"
    assert json.loads(seawall("resume", "pg2", "--json").stdout)["resumed"] == ["pg2"]
    (back,) = json.loads(seawall("rejoin", "pg1", "--json").stdout)
    assert back["method"] == "rewound"
    wrong = seawall("promote", "pg9", "--json")
    assert wrong.exit_code == exits.USAGE
    assert "no node 'pg9'" in json.loads(wrong.stdout)["error"]
    assert json.loads(seawall("down", "--remove", "--json").stdout)["removed"] is True


def test_the_servers_outlive_the_program(place) -> None:
    program = [sys.executable, "-W", "error", "-c", "from seawall.cli.main import main; main()", "cluster"]
    answer = subprocess.run(
        [*program, "up", "--replicas", "0", "--dir", str(place)], capture_output=True, text=True, check=False
    )
    assert answer.returncode == exits.OK, answer.stderr
    assert answer.stderr == ""
    (pid,) = pids(place)
    assert pid is not None
    # A session of its own: Ctrl-C in the terminal where it was started doesn't reach it.
    assert os.getsid(pid) == pid
    answer = subprocess.run([*program, "down", "--dir", str(place)], capture_output=True, check=False)
    assert answer.returncode == exits.OK
    assert not processes.is_alive(pid)


def test_an_existing_cluster_isnt_made_to_order_again(seawall) -> None:
    assert seawall("up", "--replicas", "0", "--engine", "wheel:16").exit_code == exits.OK
    again = seawall("up", "--replicas", "0", "--engine", "wheel:16", "--asynchronous")
    assert again.exit_code == exits.OK
    other = seawall("up", "--replicas", "2", "--synchronous", "--engine", "wheel:18")
    assert other.exit_code == exits.USAGE
    for text in ("3 problems", "--replicas = 2", "--synchronous = True", "wheel:16", "down --remove"):
        assert text in other.stderr


def test_a_switchover_stops_the_old_primary_or_leaves_it(seawall) -> None:
    assert seawall("up", "--replicas", "1").exit_code == exits.OK
    assert "pg1 is stopped: 'seawall cluster rejoin pg1'" in seawall("promote").stdout
    assert "by pg_rewind" in seawall("rejoin").stdout
    assert seawall("promote", "--leave-old").stdout == "pg1 is the primary, on timeline 3\n"
    both = seawall("status")
    assert (both.exit_code, " zombie " in both.stdout) == (exits.BROKEN, True)
    assert "pg2 follows" in seawall("rejoin").stdout


@pytest.mark.parametrize("verb", ["status", "kill", "pause", "resume", "promote", "rejoin", "down"])
def test_without_a_cluster_the_way_to_one_is_told(seawall, verb) -> None:
    answer = seawall(verb)
    assert answer.exit_code == exits.USAGE
    assert "seawall cluster up" in answer.stderr
    assert answer.stdout == ""


def test_a_damaged_state_file_is_a_usage_error(seawall, place) -> None:
    place.mkdir()
    (place / "cluster.json").write_text("{}")
    answer = seawall("status")
    assert answer.exit_code == exits.USAGE
    assert "format" in answer.stderr
    (place / "cluster.json").unlink()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--replicas", "99"], "0 to 15"),
        (["--replicas", "0", "--synchronous"], "at least one replica"),
        (["--engine", "docker"], "wheel or system"),
        (["--engine", "wheel:new"], "KIND:VERSION"),
        (["--engine", "wheel:9"], "at least 13"),
        (["--engine", "wheel:99"], "pip install"),
    ],
)
def test_a_wrong_request_makes_nothing(seawall, place, arguments, message) -> None:
    answer = seawall("up", *arguments)
    assert answer.exit_code == exits.USAGE
    assert message in answer.stderr
    assert not place.exists()


def test_an_engine_is_named_with_or_without_its_version() -> None:
    assert cluster.parse_engine("wheel") == find_engine("wheel")
    assert cluster.parse_engine("wheel:16") == find_engine("wheel", 16)
    for text in ("wheel:", "wheel:-1", "wheel:1.5", "wheel:99999"):
        with pytest.raises(PolicyError, match="--engine"):
            cluster.parse_engine(text)


def node(name: str, **changes: object) -> NodeStatus:
    known = {"role": "replica", "running": True, "paused": False, "pid": 1, "port": 5000}
    return NodeStatus(**{"name": name, **known, **changes})


def test_the_most_advanced_replica_is_chosen() -> None:
    nodes = [
        node("pg1", role="primary", in_recovery=False, lsn="9/0"),
        node("pg2", in_recovery=True, lsn="0/FFFF"),
        node("pg3", in_recovery=True, lsn="1/0"),
        node("pg4", running=False),
    ]
    assert cluster.most_advanced(nodes) == "pg3"
    with pytest.raises(UsageError, match="no replica answers"):
        cluster.most_advanced(nodes[:1])


def test_a_healthy_cluster_has_one_that_writes_and_others_that_follow() -> None:
    primary = node("pg1", role="primary", in_recovery=False)
    replica = node("pg2", in_recovery=True, sync_state="async")
    assert cluster.healthy([primary, replica])
    assert not cluster.healthy([replica])
    assert not cluster.healthy([primary, node("pg2", in_recovery=True)])
    assert not cluster.healthy([primary, node("pg2", role="zombie", in_recovery=False)])
    assert not cluster.healthy([node("pg1", role="primary")])


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"running": False}, "down"),
        ({"paused": True}, "paused"),
        ({}, "silent"),
        ({"in_recovery": True}, "up"),
    ],
)
def test_what_a_node_does_is_one_word(changes, word) -> None:
    assert cluster.state(node("pg1", **changes)) == word


def test_ctrl_c_has_its_exit_code(seawall, monkeypatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cluster, "holds_cluster", interrupt)
    assert seawall("status").exit_code == exits.INTERRUPTED
