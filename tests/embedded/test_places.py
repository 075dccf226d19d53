"""Directories as a crash leaves them: of a process that started servers, made a cluster, or removed one."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.embedded import Cluster, places, processes
from seawall.embedded.accounts import server_account
from seawall.embedded.engines import find_engine
from seawall.embedded.state import ClusterState, dump, parse
from seawall.kernel.errors import PolicyError, UsageError

pytestmark = pytest.mark.timeout(60)

SOURCE = Path(__file__).parents[2] / "src"


def dying(program: str) -> str:
    """Run a program that ends itself by SIGKILL; what it said before."""
    answer = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import os, signal\nfrom seawall.embedded import Cluster, building\n{program}",
        ],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == -signal.SIGKILL, answer.stderr
    return answer.stdout.strip()


DIE = "os.kill(os.getpid(), signal.SIGKILL)"


# --- a process that died ------------------------------------------------------------------------------------


def test_servers_whose_parent_was_killed_are_adopted(place) -> None:
    said = dying(
        f"cluster = Cluster.create({str(place)!r}, replicas=1)\n"
        "cluster.primary.execute('CREATE TABLE kept AS SELECT 1')\n"
        "cluster.wait_caught_up()\n"
        f"print(*[node.pid for node in cluster.nodes], flush=True)\n{DIE}"
    )
    pids = [int(word) for word in said.split()]
    assert all(processes.is_alive(pid) for pid in pids)
    with Cluster.open(place) as found:
        assert [node.pid for node in found.nodes] == pids
        assert found.start() == []
        assert [node.pid for node in found.nodes] == pids
        assert [node.execute("SELECT count(*) FROM kept") for node in found.nodes] == [[("1",)]] * 2
        with pytest.raises(UsageError, match="there is a cluster"):
            Cluster.create(place)
        found.primary.kill()
        assert found.promote("pg2").timeline == 2
        assert found.rejoin("pg1").method == "rewound"
    assert not any(processes.is_alive(pid) for pid in pids)


def test_an_anonymous_cluster_of_a_dead_process_is_swept(engine) -> None:
    said = dying(
        f"cluster = Cluster.create()\nprint(cluster.directory, cluster.nodes[0].pid, flush=True)\n{DIE}"
    )
    directory, pid = Path(said.split()[0]), int(said.split()[1])
    assert processes.is_alive(pid)
    with Cluster.create(engine=engine) as other:
        assert not processes.is_alive(pid)
        assert not directory.exists()
        assert other.primary.execute("SELECT 1") == [("1",)]


def test_what_was_never_finished_is_made_anew(place, engine) -> None:
    dying(
        f"def crash(node): {DIE}\n"
        "Cluster._launch_all = lambda self, nodes: (nodes[0].start(), crash(None))\n"
        f"Cluster.create({str(place)!r})"
    )
    state = parse((place / "cluster.json").read_text())
    assert not state.complete
    left = processes.members(place / "pg1" / "data")
    assert left
    with pytest.raises(UsageError, match="never finished"):
        Cluster.open(place)
    assert not places.holds_cluster(place)
    with Cluster.create(place, engine=engine) as made:
        assert not any(processes.is_alive(process.pid, process.started) for process in left)
        assert made.primary.execute("SELECT 1") == [("1",)]


def test_a_cluster_of_a_living_process_is_nobody_elses(server) -> None:
    assert server.directory not in places.sweep(server.account)
    assert server.nodes[0].execute("SELECT 1") == [("1",)]


def test_who_cannot_be_known_to_be_dead_is_left_alone() -> None:
    mine = places.this_process()
    boot = mine.world.partition(" ")[0]
    assert not places._abandoned(mine)
    assert places._abandoned(replace(mine, started=mine.started + 1))
    assert places._abandoned(replace(mine, pid=2**22 + 1))
    assert places._abandoned(replace(mine, world="another-boot pid:[1]"))
    # The same machine, another container: its processes can't be seen from here.
    assert not places._abandoned(replace(mine, pid=2**22 + 1, world=f"{boot} pid:[1]"))


def test_sweeping_passes_over_what_it_cannot_read(engine) -> None:
    scratch = places.default_directory().parent
    odd = [scratch / f"{places.ANONYMOUS}test-{name}" for name in ("damaged", "young", "old")]
    for path in odd:
        path.mkdir()
    (odd[0] / "cluster.json").write_text("{")
    os.utime(odd[2], (0, 0))
    try:
        assert not set(odd) & set(places.sweep(server_account()))
        assert [path.exists() for path in odd] == [True, True, False]
    finally:
        (odd[0] / "cluster.json").unlink()
        for path in odd[:2]:
            path.rmdir()


# --- claiming and opening -----------------------------------------------------------------------------------


def test_a_directory_with_other_things_is_refused_and_kept(place) -> None:
    place.mkdir()
    (place / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match=r"not empty.*thesis"):
        Cluster.create(place)
    assert (place / "thesis.txt").read_text() == "years of work"


def test_an_empty_directory_is_taken(place, engine) -> None:
    place.mkdir()
    with Cluster.create(place, engine=engine) as made:
        assert made.primary.execute("SELECT 1") == [("1",)]
        assert places.holds_cluster(place)


def test_no_cluster_is_told(place) -> None:
    with pytest.raises(UsageError, match="there is no cluster"):
        Cluster.open(place)
    place.write_text("a file")
    with pytest.raises(UsageError, match="not a directory"):
        Cluster.open(place)
    with pytest.raises(UsageError, match="not a directory"):
        Cluster.create(place)
    assert not places.holds_cluster(place)
    place.unlink()
    with pytest.raises(UsageError, match="No such file"):
        Cluster.create(place / "deep" / "er")


def test_a_damaged_state_file_is_told(place) -> None:
    place.mkdir()
    (place / "cluster.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(PolicyError, match="nodes"):
        Cluster.open(place)
    (place / "cluster.json").unlink()


def test_a_place_out_of_reach_is_told(tmp_path) -> None:
    account = server_account()
    if not account.borrowed:
        pytest.skip("servers run as ourselves, who can reach everything here")
    tmp_path.chmod(0o700)
    with pytest.raises(UsageError, match=rf"{account.name}, who may not pass .*chmod"):
        Cluster.create(tmp_path / "cluster")


def test_somebody_elses_cluster_is_refused(place) -> None:
    account = server_account()
    if not account.borrowed:
        pytest.skip("only root can give a directory away")
    place.mkdir()
    os.chown(place, account.uid, account.gid)
    with pytest.raises(UsageError, match=f"belongs to user {account.uid}"):
        Cluster.open(place)


def test_the_engine_is_found_again_when_it_has_moved(engine) -> None:
    state = ClusterState("wheel", engine.version, engine_directory="/nowhere/bin")
    assert places.engine_of(state) == engine
    assert places.engine_of(replace(state, engine_directory=str(engine.bin_directory))) == engine
    other = find_engine("wheel", 16)
    assert places.engine_of(replace(state, engine_directory=str(other.bin_directory))) == engine


def test_the_last_timeline_is_told_by_history_files(tmp_path) -> None:
    (tmp_path / "pg_wal").mkdir()
    assert places.last_timeline(tmp_path) == 1
    for name in ("00000002.history", "0000000A.history", "junk.history", "000000010000000000000001"):
        (tmp_path / "pg_wal" / name).touch()
    assert places.last_timeline(tmp_path) == 10


def test_a_long_path_gets_a_short_socket(place, engine) -> None:
    deep = place.with_name(place.name + "-" + "x" * 100)
    try:
        with Cluster.create(deep, engine=engine, replicas=1) as made:
            outside = made.nodes[0].socket_directory
            assert outside.parent == places.default_directory().parent
            assert made.nodes[1].execute("SELECT 1") == [("1",)]
            made.destroy()
        assert not outside.exists()
    finally:
        if deep.exists():
            places.remove(deep, parse((deep / "cluster.json").read_text()))


def test_a_state_file_names_the_key_that_somebody_broke(place, engine) -> None:
    with Cluster.create(place, engine=engine) as made:
        good = (place / "cluster.json").read_text()
        (place / "cluster.json").write_text(good.replace('"complete": true', '"complete": "maybe"'))
        with pytest.raises(PolicyError, match=r"complete = 'maybe': allowed is true or false"):
            made.stop()
        assert made.nodes[0].is_running
        (place / "cluster.json").write_text(dump(parse(good)))
