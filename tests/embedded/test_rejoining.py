"""Which way back is taken, and when none is left; how they end on real data is told in test_cluster."""

import pytest

from seawall.embedded import ClusterError, building, rejoining

pytestmark = pytest.mark.timeout(60)


class FakeNode:
    """A node as far as ``rejoin`` looks at it."""

    def __init__(self, *, standby: bool, log: str = "") -> None:
        self.name = "pg2"
        self.is_standby = standby
        self.is_running = True
        self.is_paused = False
        self.log = log
        self.done: list[str] = []

        self.receives = [("1",)]

    def execute(self, sql: str) -> list[tuple[str]]:
        return self.receives

    def log_tail(self) -> str:
        return self.log

    def stop(self, mode: str) -> None:
        self.done.append(f"stop {mode}")

    def kill(self) -> None:
        self.done.append("kill")


class FakeLeader:
    name = "pg1"

    def __init__(self, *followers: str) -> None:
        self.followers = [(name, "1") for name in followers]

    def execute(self, sql: str) -> list[tuple[str, str]]:
        return self.followers


@pytest.fixture(autouse=True)
def attempts(monkeypatch):
    """Every way back, doing nothing but fail until it is allowed."""
    allowed: set[str] = set()

    def attempt(name: str):
        def run(node: FakeNode, leader: FakeLeader) -> None:
            node.done.append(name)
            if name not in allowed:
                raise ClusterError(node.name, f"{name} fails")

        return run

    monkeypatch.setattr(rejoining, "_rewind", attempt("rewind"))
    monkeypatch.setattr(building, "back_up", attempt("copy"))
    monkeypatch.setattr(building, "make_standby", lambda node: node.done.append("standby"))
    return allowed


def launch(node: FakeNode) -> None:
    node.done.append("start")


def test_a_replica_that_streams_already_is_left_alone() -> None:
    node = FakeNode(standby=True)
    assert rejoining.rejoin(node, FakeLeader("pg2"), launch).method == "started"
    assert "stop fast" not in node.done


def test_a_replica_that_is_sent_the_old_timeline_does_not_follow() -> None:
    node = FakeNode(standby=True)
    node.receives = [("0",)]
    assert not rejoining.follows(node, FakeLeader("pg2"))
    node.receives = []
    assert not rejoining.follows(node, FakeLeader("pg2"))


def test_a_former_primary_is_never_started_as_it_is(attempts) -> None:
    attempts.add("rewind")
    node = FakeNode(standby=False)
    back = rejoining.rejoin(node, FakeLeader("pg2"), launch)
    assert (back.method, back.reason) == ("rewound", "it was a primary")
    assert node.done == ["stop fast", "rewind", "standby", "start"]


def test_a_paused_former_primary_is_killed_and_not_let_go_on(attempts) -> None:
    attempts.add("rewind")
    node = FakeNode(standby=False)
    node.is_paused = True
    rejoining.rejoin(node, FakeLeader("pg2"), launch)
    assert node.done[0] == "kill"


def test_every_reason_is_told_when_it_had_to_be_copied(attempts) -> None:
    attempts.add("copy")
    back = rejoining.rejoin(FakeNode(standby=False), FakeLeader("pg2"), launch)
    assert (back.method, back.reason) == ("copied", "it was a primary; rewind fails")


def test_when_nothing_helps_the_last_failure_is_raised() -> None:
    with pytest.raises(ClusterError, match="copy fails"):
        rejoining.rejoin(FakeNode(standby=False), FakeLeader("pg2"), launch)


@pytest.mark.parametrize("text", rejoining.HOPELESS)
def test_what_can_never_stream_is_known_by_its_log(text) -> None:
    node = FakeNode(
        standby=True, log=f"... LOG:  fine\n2026-01-01 UTC [1] FATAL:  it {text} here\n... LOG:  more"
    )
    with pytest.raises(ClusterError, match=rf"cannot follow pg1: it {text} here$"):
        rejoining.wait_streaming(node, FakeLeader(), timeout_s=1000)


def test_patience_has_an_end() -> None:
    with pytest.raises(ClusterError, match="doesn't follow pg1 after 0 s"):
        rejoining.wait_streaming(FakeNode(standby=True, log="LOG:  hm"), FakeLeader("pg3"), timeout_s=0)
