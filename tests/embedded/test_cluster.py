"""Several real servers: making, promoting, adding, starting over."""

import socket
import threading

import pytest

from seawall.embedded import Cluster, ClusterError, EngineNotFound, Node, StatementFailed, find_engine, ports
from seawall.embedded.client import Connection
from seawall.embedded.rejoining import follows
from seawall.kernel.errors import DatabaseUnavailable, PolicyError, ServiceUnavailable, UsageError
from tests.embedded.servers import until

pytestmark = pytest.mark.timeout(120)


def names(cluster: Cluster, **wanted: object) -> list[str]:
    """The nodes whose status has these values."""
    return [
        one.name
        for one in cluster.status()
        if all(getattr(one, key) == value for key, value in wanted.items())
    ]


def count(node: Node) -> int:
    return int(node.execute("SELECT count(*) FROM kept")[0][0] or 0)


def log_in(node: Node, password: str) -> str:
    """Connect over TCP with a real client; what it says."""
    psql = [node.engine.binary("psql"), "-XAt", "-w", node.dsn(password=password), "-c", "SELECT 'in'"]
    try:
        return node.account.run(psql, node.engine.environment())
    except ClusterError as error:
        return str(error)


@pytest.mark.parametrize("kind", ["wheel", "wheel:16", "system"])
def test_a_cluster_survives_its_primary_on_every_engine(kind, cluster) -> None:
    name, _, version = kind.partition(":")
    try:
        engine = find_engine(name, int(version or 0))
    except EngineNotFound:
        if name == "wheel":
            raise
        pytest.skip("no PostgreSQL of the system is installed")
    made = cluster(engine=engine, replicas=2)
    print(f"PostgreSQL {made.engine.release} ({made.engine.kind})")
    assert names(made, role="primary", timeline=1, in_recovery=False) == ["pg1"]
    assert names(made, role="replica", sync_state="async", in_recovery=True) == ["pg2", "pg3"]
    first = made.primary
    first.execute("CREATE TABLE kept AS SELECT generate_series(1, 100)")
    made.wait_caught_up()
    first.kill()
    with pytest.raises(ClusterError, match="no node accepts writes"):
        _ = made.primary
    done = made.promote("pg2")
    assert (done.name, done.timeline, done.following, done.stranded) == ("pg2", 2, ("pg3",), ())
    made.primary.execute("INSERT INTO kept SELECT generate_series(101, 200)")
    back = made.rejoin("pg1")
    assert back.method == "rewound"
    assert names(made, role="replica", sync_state="async", timeline=2) == ["pg1", "pg3"]
    made.wait_caught_up()
    assert [count(node) for node in made.nodes] == [200, 200, 200]
    with pytest.raises(StatementFailed, match="25006"):
        first.execute("INSERT INTO kept VALUES (0)")


def test_a_commit_waits_for_a_replica_only_when_synchronous(cluster) -> None:
    made = cluster(replicas=1, synchronous=True)
    primary, replica = made.nodes
    assert made.synchronous
    assert names(made, sync_state="quorum") == ["pg2"]
    primary.execute("CREATE TABLE kept (n int)")
    replica.pause()
    with pytest.raises(DatabaseUnavailable, match="no answer"):
        primary.execute("INSERT INTO kept VALUES (1)", timeout_s=0.3)
    primary.execute("SET synchronous_commit = local; INSERT INTO kept VALUES (2)", timeout_s=10)
    replica.resume()
    primary.execute("INSERT INTO kept VALUES (3)", timeout_s=10)
    made.wait_caught_up()
    assert count(replica) == 3


def test_a_switchover_loses_nothing(cluster) -> None:
    made = cluster(replicas=2)
    made.primary.execute("CREATE TABLE kept AS SELECT generate_series(1, 20000)")
    done = made.promote("pg3")  # at once, while the replicas may not have it all
    assert (done.stopped, done.following) == (("pg1",), ("pg2",))
    assert count(made.primary) == 20000
    assert made.rejoin("pg1").name == "pg1"
    with pytest.raises(UsageError, match="pg3 is the primary"):
        made.rejoin("pg3")
    with pytest.raises(UsageError, match="not a running replica"):
        made.promote("pg3")
    with pytest.raises(UsageError, match="no node 'pg9'"):
        made.promote("pg9")


def test_replicas_follow_whom_they_are_told_to(cluster) -> None:
    made = cluster(replicas=2)
    made.node("pg1").kill()
    made.node("pg2").execute("SELECT pg_promote(false)")
    made.follow("pg2")
    until(lambda: made.node("pg2").execute("SELECT pg_is_in_recovery()") == [("f",)])
    until(lambda: follows(made.node("pg3"), made.node("pg2")))
    assert not made.node("pg1").is_running
    assert Cluster.open(made.directory).primary.name == "pg2"
    with pytest.raises(UsageError, match="there is no node 'pg9'"):
        made.follow("pg9")


def test_a_paused_primary_comes_back_as_a_zombie_and_is_rewound(cluster) -> None:
    made = cluster(replicas=2)
    old = made.primary
    old.execute("CREATE TABLE kept (n int)")
    made.wait_caught_up()
    address = old.socket_directory / f".s.PGSQL.{old.port}"
    with Connection(address, name="pg1", timeout_s=20, user="postgres", database="postgres") as client:
        client.query("SELECT 1")
        old.pause()
        assert names(made, paused=True, running=True) == ["pg1"]
        made.promote("pg2", stop_old=False)
        made.primary.execute("INSERT INTO kept VALUES (1)")
        old.resume()
        client.query("INSERT INTO kept VALUES (2)")  # an acknowledged write that nobody will ever see
    assert names(made, role="zombie", timeline=1) == ["pg1"]
    assert made.primary.name == "pg2"
    assert made.rejoin("pg1").method == "rewound"
    made.wait_caught_up()
    assert [node.execute("SELECT n FROM kept") for node in made.nodes] == [[("1",)]] * 3


def test_a_paused_primary_is_killed_when_another_takes_over(cluster) -> None:
    made = cluster(replicas=1)
    made.primary.pause()
    assert made.promote("pg2").stopped == ("pg1",)
    assert names(made, running=False) == ["pg1"]
    assert made.primary.name == "pg2"


def test_nobody_goes_on_writing_beside_the_new_primary(cluster) -> None:
    made = cluster(replicas=2)
    made.wait_caught_up()
    made.node("pg2").promote()  # as somebody else may do: now two accept writes
    assert names(made, in_recovery=False) == ["pg1", "pg2"]
    assert made.promote("pg3").stopped == ("pg1", "pg2")
    assert names(made, in_recovery=False) == ["pg3"]


def test_a_replica_ahead_of_the_new_primary_is_stranded_until_rejoined(cluster) -> None:
    made = cluster(replicas=2)
    primary, behind, ahead = made.nodes
    primary.execute("CREATE TABLE kept (n int)")
    made.wait_caught_up()
    behind.stop()
    primary.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
    until(lambda: count(ahead) == 1000)
    primary.kill()
    behind.start()
    done = made.promote("pg2")
    behind.execute("CREATE TABLE other AS SELECT generate_series(1, 2000)")
    assert done.stranded == ("pg3",)
    back = made.rejoin("pg3")
    assert back.method in {"rewound", "copied"}
    made.wait_caught_up()
    assert count(ahead) == 0


def test_a_node_whose_data_is_beyond_repair_is_copied(cluster) -> None:
    made = cluster(replicas=1)
    made.primary.execute("CREATE TABLE kept AS SELECT generate_series(1, 10)")
    victim = made.node("pg2")
    victim.stop()
    (victim.data_directory / "global" / "pg_control").write_bytes(b"\0" * 8192)
    back = made.rejoin("pg2")
    assert back.method == "copied"
    assert back.reason
    made.wait_caught_up()
    assert count(victim) == 10


def test_a_replica_that_was_away_is_merely_started(cluster) -> None:
    made = cluster(replicas=1)
    made.node("pg2").kill()
    made.primary.execute("CREATE TABLE kept AS SELECT generate_series(1, 10)")
    back = made.rejoin("pg2")
    assert (back.method, back.reason) == ("started", "")
    assert made.rejoin("pg2").method == "started"
    made.wait_caught_up()
    assert count(made.node("pg2")) == 10


def test_a_replica_is_added_with_all_the_data(cluster) -> None:
    made = cluster()
    made.primary.execute("CREATE TABLE kept AS SELECT generate_series(1, 10)")
    node = made.add_replica()
    assert node.name == "pg2"
    assert names(made, role="replica", sync_state="async") == ["pg2"]
    made.wait_caught_up()
    assert count(node) == 10
    assert [one.name for one in Cluster.open(made.directory).nodes] == ["pg1", "pg2"]


def test_a_replica_that_cannot_be_added_leaves_nothing(cluster, monkeypatch) -> None:
    made = cluster()

    def fail(*_: object) -> None:
        raise ClusterError("pg2", "on purpose")

    monkeypatch.setattr("seawall.embedded.building.back_up", fail)
    with pytest.raises(ClusterError, match="on purpose"):
        made.add_replica()
    assert [node.name for node in made.nodes] == ["pg1"]
    assert not (made.directory / "pg2").exists()
    assert made.primary.execute("SELECT 1") == [("1",)]


def test_a_replica_that_stays_behind_is_told(cluster) -> None:
    made = cluster(replicas=1)
    made.node("pg2").execute("SELECT pg_wal_replay_pause()")
    made.primary.execute("CREATE TABLE kept AS SELECT 1")
    with pytest.raises(ClusterError, match=r"pg2: has not replayed 0/\w+ after 0.1 s"):
        made.wait_caught_up(0.1)
    made.node("pg2").execute("SELECT pg_wal_replay_resume()")
    made.wait_caught_up()


def test_a_leader_that_is_gone_is_told(cluster) -> None:
    made = cluster()
    (node,) = made.nodes
    node.kill()
    with pytest.raises(DatabaseUnavailable):
        follows(node, node)


# --- starting over ------------------------------------------------------------------------------------------


def test_start_mends_whatever_is_broken(cluster) -> None:
    made = cluster(replicas=2)
    made.primary.execute("CREATE TABLE kept AS SELECT generate_series(1, 10)")
    made.node("pg3").kill()
    made.node("pg2").pause()
    assert made.start() == []
    assert names(made, running=True, paused=False) == ["pg1", "pg2", "pg3"]
    made.stop()
    assert names(made, running=False) == ["pg1", "pg2", "pg3"]
    made.start()
    made.wait_caught_up()
    assert [count(node) for node in made.nodes] == [10, 10, 10]


@pytest.mark.parametrize("running", [True, False])
def test_start_finds_the_primary_that_somebody_else_promoted(cluster, running) -> None:
    made = cluster(replicas=1)
    made.primary.execute("CREATE TABLE kept AS SELECT generate_series(1, 10)")
    made.wait_caught_up()
    made.node("pg1").kill()
    made.node("pg2").promote()  # as the proxy does: the state file hears nothing of it
    made.node("pg2").execute("INSERT INTO kept VALUES (11)")
    if not running:
        made.node("pg2").kill()
    (back,) = made.start()
    assert (back.name, back.method) == ("pg1", "rewound")
    assert made.primary.name == "pg2"
    made.wait_caught_up()
    assert [count(node) for node in made.nodes] == [11, 11]


def test_who_is_promoted_while_the_cluster_starts_is_left_alone(cluster, monkeypatch) -> None:
    made = cluster(replicas=2)
    made.primary.execute("CREATE TABLE kept AS SELECT generate_series(1, 10)")
    made.wait_caught_up()
    made.node("pg1").kill()
    launch_all = made._launch_all

    def launch(nodes: list[Node]) -> None:
        launch_all(nodes)
        if made.node("pg2").is_standby:  # a proxy had given pg1 up in the moment in which it came back
            made.node("pg2").promote()
            made.node("pg2").execute("INSERT INTO kept VALUES (11)")

    monkeypatch.setattr(made, "_launch_all", launch)
    assert "pg1" in [back.name for back in made.start()]
    assert made.primary.name == "pg2"
    assert names(made, role="replica", timeline=2) == ["pg1", "pg3"]
    made.wait_caught_up()
    assert [count(node) for node in made.nodes] == [11, 11, 11]


def test_without_any_former_primary_nothing_is_started(cluster) -> None:
    made = cluster(replicas=1)
    made.stop()
    (made.node("pg1").data_directory / "standby.signal").touch()
    with pytest.raises(ClusterError, match="every node is a replica"):
        made.start()


def test_a_port_that_was_lost_is_replaced_and_everybody_told(cluster) -> None:
    made = cluster(replicas=1)
    primary = made.node("pg1")
    old = primary.port
    made.stop()
    ports.release(old)
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind((primary.host, old))
        stranger.listen()
        made.start()
        assert primary.port != old
        primary.execute("CREATE TABLE kept AS SELECT 1")
        made.wait_caught_up()
        assert Cluster.open(made.directory).node("pg1").port == primary.port
        assert names(made, sync_state="async") == ["pg2"]


# --- making -------------------------------------------------------------------------------------------------


def test_settings_reach_every_node(cluster) -> None:
    odd = "it's \\ od\"d"
    made = cluster(replicas=1, settings={"max_connections": "77", "seawall.odd": odd}, name_prefix="db-")
    for node in made.nodes:
        assert node.execute("SHOW max_connections") == [("77",)]
        assert node.execute("SELECT current_setting('seawall.odd')") == [(odd,)]
    assert [node.name for node in made.nodes] == ["db-1", "db-2"]


@pytest.mark.parametrize("auth", ["scram-sha-256", "md5", "password"])
def test_a_password_is_asked_for_over_tcp(cluster, auth) -> None:
    password = "it's \\ secret"
    made = cluster(auth=auth, password=password, replicas=1, synchronous=True)
    for node in made.nodes:
        until(lambda node=node: "in" in log_in(node, password))
        assert "password authentication failed" in log_in(node, "guess")
        assert "no password supplied" in log_in(node, "")
    kept = (made.directory / "cluster.json").read_text() + "".join(n.log_file.read_text() for n in made.nodes)
    assert "secret" not in kept + repr(made)


def test_clusters_are_strangers_to_each_other(cluster) -> None:
    question = "SELECT system_identifier FROM pg_control_system()"
    one, other = (cluster(replicas=1) for _ in range(2))
    assert one.nodes[0].execute(question) == one.nodes[1].execute(question)
    assert one.nodes[0].execute(question) != other.nodes[0].execute(question)


def test_every_wrong_value_is_named_at_once() -> None:
    with pytest.raises(PolicyError) as caught:
        Cluster.create(replicas=99, name_prefix="A", settings={"port": "1"}, auth="md5")
    assert [problem.key for problem in caught.value.problems] == [
        "settings.port",
        "replicas",
        "name_prefix",
        "password",
    ]
    with pytest.raises(PolicyError, match="at least one replica"):
        Cluster.create(synchronous=True)
    with pytest.raises(PolicyError, match="scram-sha-256"):
        Cluster.create(auth="ldap")


def test_a_cluster_that_cannot_be_made_leaves_nothing(place) -> None:
    with pytest.raises(ClusterError, match="work_mem"):
        Cluster.create(place, settings={"work_mem": "lots"})
    assert not place.exists()


def test_a_cluster_with_a_directory_is_stopped_and_one_without_is_gone(place, engine) -> None:
    with Cluster.create(place, engine=engine) as kept:
        kept.primary.execute("CREATE TABLE kept AS SELECT 1")
    assert not kept.nodes[0].is_running
    with Cluster.open(place) as opened:
        assert opened.start() == []
        assert count(opened.primary) == 1
    with Cluster.create(engine=engine) as passing:
        directory = passing.directory
        assert directory.exists()
    assert not directory.exists()
    passing.destroy()
    with Cluster.open(place) as opened:
        opened.destroy()
    assert not place.exists()


def test_threads_take_turns(cluster) -> None:
    made = cluster()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            made.stop()
            made.start()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert names(made, role="primary", running=True) == ["pg1"]


def test_commands_take_turns_and_faults_do_not(cluster, monkeypatch) -> None:
    made = cluster()
    monkeypatch.setattr("seawall.embedded.directories.LOCK_TIMEOUT_S", 0.0)
    other = Cluster.open(made.directory)
    with made._command():
        with pytest.raises(ServiceUnavailable, match="another command"):
            other.stop()
        other.nodes[0].pause()
        assert made.nodes[0].is_paused
        other.nodes[0].resume()
