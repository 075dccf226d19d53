"""``seawall proxy check`` against real servers: what it finds is what is so."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from seawall.app import build, config
from seawall.embedded import Cluster, find_engine
from seawall.embedded.errors import EngineNotFound
from seawall.embedded.node import Node
from seawall.proxy.check import Facts, Report, Verdict
from seawall.proxy.settings import Backend, ProxySettings

pytestmark = pytest.mark.timeout(60)

MakeCluster = Callable[..., Cluster]


def backend(node: Node, role: str = "auto") -> str:
    return (
        f'[[backends.instances]]\nname = "{node.name}"\nhost = "{node.host}"\nport = {node.port}\n'
        f'role = "{role}"\n'
    )


def user(name: str, password: str = "hunter2") -> str:
    return f'[[auth.users]]\nname = "{name}"\npassword = "{password}"\n'


def database(name: str) -> str:
    return f'[[databases]]\nname = "{name}"\n'


def settings(*parts: str) -> ProxySettings:
    return config.loads("\n".join(parts), {}).settings


def findings(report: Report, check: str) -> dict[str, list[tuple[Verdict, str]]]:
    """What was found about one thing, by server."""
    return {
        judged.backend.name: [(item.verdict, item.text) for item in judged.findings if item.check == check]
        for judged in report.backends
    }


def seawall(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = "from seawall.cli.main import main; main()"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_a_primary_and_its_replica_are_all_right(cluster: MakeCluster, tmp_path: Path) -> None:
    made = cluster(replicas=1)
    primary, replica = made.nodes
    primary.execute("CREATE ROLE shop LOGIN")
    file = tmp_path / "seawall.toml"
    file.write_text(
        backend(primary, "primary") + backend(replica, "replica") + user("shop") + database("postgres")
    )
    made.wait_caught_up()
    answer = seawall("proxy", "check", "--config", file, "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    table = json.loads(answer.stdout)
    assert table["ok"]
    rows = {
        server["name"]: {row["check"]: row["text"] for row in server["findings"]}
        for server in table["backends"]
    }
    assert rows[primary.name]["login"] == "shop to postgres"
    assert rows[primary.name]["role"] == "primary"
    assert rows[replica.name]["role"] == "replica"
    assert rows[replica.name]["replication"] == "it streams"
    assert rows[primary.name]["version"].startswith(f"{made.engine.version}.")
    assert rows[primary.name]["encoding"] == "UTF8"
    shown = seawall("proxy", "check", "--config", file)
    assert shown.returncode == 0
    assert "2 servers, all right" in shown.stdout


def test_what_is_configured_wrongly_is_found(cluster: MakeCluster) -> None:
    made = cluster(replicas=1, settings={"max_connections": "30"})
    primary, replica = made.nodes
    primary.execute("CREATE ROLE shop LOGIN")
    made.wait_caught_up()
    report = build.check_servers(
        settings(
            backend(primary, "replica"),
            backend(replica, "primary"),
            user("shop"),
            user("nobody_knows_me"),
            database("postgres"),
            database("missing"),
            "[pool]\nsize = 20",
        )
    )
    assert not report.ok
    assert findings(report, "role") == {
        primary.name: [(Verdict.FAILED, 'is a primary, configured as "replica"')],
        replica.name: [(Verdict.FAILED, 'is a replica, configured as "primary"')],
    }
    for found in findings(report, "login").values():
        verdicts = [verdict for verdict, _ in found]
        assert verdicts == [Verdict.OK, Verdict.FAILED, Verdict.FAILED, Verdict.FAILED]
        assert '"nobody_knows_me"' in found[1][1]
        assert 'database "missing" does not exist (3D000)' in found[2][1]
    for found in findings(report, "connections").values():
        ((verdict, text),) = found
        assert verdict is Verdict.WARNING
        assert "may open 80, the server takes 27" in text


def test_a_wrong_password_is_found(cluster: MakeCluster) -> None:
    made = cluster(auth="scram-sha-256", password="hunter2")
    node = made.primary
    right = build.check_servers(settings(backend(node), user("postgres", "hunter2"), database("postgres")))
    assert right.ok, right
    wrong = build.check_servers(settings(backend(node), user("postgres", "hunter3"), database("postgres")))
    ((verdict, text),) = findings(wrong, "login")[node.name]
    assert verdict is Verdict.FAILED
    assert "password authentication failed" in text
    assert "(28P01)" in text
    assert "hunter" not in text


def test_a_database_that_is_closed_to_the_user_is_told(cluster: MakeCluster) -> None:
    node = cluster().primary
    node.execute("CREATE ROLE shop LOGIN; REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")
    named = build.check_servers(settings(backend(node), user("shop"), database("postgres")))
    assert not named.ok
    guessed = build.check_servers(settings(backend(node), user("shop")))
    ((verdict, text),) = findings(guessed, "login")[node.name]
    assert verdict is Verdict.WARNING
    assert "the password is right" in text


def test_servers_that_are_down_or_stand_still_are_found(cluster: MakeCluster) -> None:
    made = cluster(replicas=1)
    primary, replica = made.nodes
    plan = settings(
        backend(primary),
        backend(replica),
        user("postgres"),
        database("postgres"),
        '[timeouts]\nconnect = "1s"',
    )
    assert build.check_servers(plan).ok
    primary.kill()
    replica.pause()
    report = build.check_servers(plan)
    replica.resume()
    assert findings(report, "connect")[primary.name] == [(Verdict.FAILED, "Connection refused")]
    ((verdict, text),) = findings(report, "login")[replica.name]
    assert (verdict, text) == (Verdict.FAILED, "postgres to postgres: no answer in time")


def test_a_clock_that_is_off_is_found(server: Cluster, monkeypatch) -> None:
    from seawall.proxy import check_socket

    plan = settings(backend(server.primary), user("postgres"), database("postgres"))
    assert findings(build.check_servers(plan), "clock")[server.primary.name][0][0] is Verdict.OK
    ours = check_socket.time.time
    monkeypatch.setattr(check_socket.time, "time", lambda: ours() + 3600.0)
    ((verdict, text),) = findings(build.check_servers(plan), "clock")[server.primary.name]
    assert verdict is Verdict.WARNING
    assert "1h behind" in text


def test_a_unix_socket_is_checked_as_well(server: Cluster) -> None:
    node = server.primary
    plan = ProxySettings(
        backends=(Backend(name="here", host=str(node.socket_directory), port=node.port),),
        auth=settings(backend(node), user("postgres")).auth,
    )
    report = build.check_servers(plan)
    assert report.ok, report
    assert findings(report, "dns") == {"here": []}


def test_an_older_server_says_the_same(cluster: MakeCluster) -> None:
    try:
        engine = find_engine("system")
    except EngineNotFound:
        pytest.skip("no PostgreSQL is installed besides the wheel's")
    made = cluster(engine=engine, replicas=1)
    primary, replica = made.nodes
    made.wait_caught_up()
    report = build.check_servers(
        settings(
            backend(primary, "primary"), backend(replica, "replica"), user("postgres"), database("postgres")
        )
    )
    assert report.ok, report
    ((_, version),) = findings(report, "version")[primary.name]
    assert version.startswith(f"{engine.version}.")
    assert findings(report, "replication")[replica.name] == [(Verdict.OK, "it streams")]


def test_two_primaries_of_one_cluster_are_found(cluster: MakeCluster) -> None:
    made = cluster(replicas=1)
    primary, replica = made.nodes
    replica.promote()
    plan = settings(backend(primary), backend(replica), user("postgres"), database("postgres"))
    report = build.check_servers(plan)
    assert [finding.check for finding in report.together if finding.verdict is Verdict.FAILED] == ["primary"]


def test_a_plain_role_may_ask_everything_that_is_asked(server: Cluster) -> None:
    from seawall.proxy import check_socket
    from seawall.proxy.check import plan

    node = server.primary
    node.execute("DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN")
    (seen,) = check_socket.look(plan(settings(backend(node), user("plain"), database("postgres"))), 5.0)
    facts = seen.facts
    assert isinstance(facts, Facts)
    assert facts.system_identifier == node.execute("SELECT system_identifier FROM pg_control_system()")[0][0]
    assert facts.replicas == 0
    assert facts.timeline == 1
