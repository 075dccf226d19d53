"""Which transactions are recorded and asked, and which acknowledged commits are counted as lost."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from seawall.proxy.replay.journal import Journal
from seawall.proxy.sampling import Sampling
from seawall.proxy.settings import Auth, Backend, Database, ProxySettings, Replay, ReplayMode, User
from seawall.proxy.topology import NodeRole, NodeView, Phase, Recovery, Topology, untracked
from seawall.wire.pgwire import framing, messages

SYSTEM = 7
TOPOLOGY = Topology(
    1, Phase.SERVING, "a", False, SYSTEM, 1, (NodeView("a", NodeRole.PRIMARY, 1, SYSTEM, 5.0),)
)


def sampling(topology=TOPOLOGY, **changes):
    settings = ProxySettings(backends=(Backend(name="a", host="h"),), **changes)
    return Sampling(SimpleNamespace(settings=settings, topology=topology))


def client(*said, replays=True):
    journal = Journal(1000, 100)
    journal.replays = journal.resolves = replays
    for one in said:
        journal.say(messages.query(one))
    return SimpleNamespace(journal=journal, replays=replays, statements=None)


def server(status=framing.IN_TRANSACTION, pending=()):
    return SimpleNamespace(status=status, pending=pending, backend=SimpleNamespace(name="a"))


@pytest.mark.parametrize(
    ("databases", "users", "expected"),
    [
        ({}, {}, ReplayMode.ON),
        ({"*": ReplayMode.OFF}, {}, ReplayMode.OFF),
        ({"*": ReplayMode.OFF, "d": ReplayMode.SHADOW}, {}, ReplayMode.SHADOW),
        ({"d": None}, {"u": ReplayMode.OFF}, ReplayMode.OFF),
        ({"d": ReplayMode.ON}, {"u": ReplayMode.OFF}, ReplayMode.ON),
        ({"other": ReplayMode.OFF}, {"other": ReplayMode.OFF}, ReplayMode.ON),
    ],
)
def test_the_closest_setting_counts(databases, users, expected):
    made = sampling(
        replay=Replay(mode=ReplayMode.ON),
        databases={name: Database(name=name, replay=mode) for name, mode in databases.items()},
        auth=Auth(users={name: User(name=name, replay=mode) for name, mode in users.items()}),
    )
    assert made.mode_for("u", "d") is expected


@pytest.mark.parametrize(("told", "expected"), [(None, True), (True, True), (False, False)])
def test_commits_are_resolved_where_transactions_are_replayed_or_as_told(told, expected):
    made = sampling(replay=Replay(resolve_commits=told))
    assert made.resolves(client()) is expected
    assert made.resolves(client(replays=False)) is bool(told)


@pytest.mark.parametrize(
    ("said", "sql", "at", "expected"),
    [
        (["BEGIN", "INSERT INTO t VALUES (1)"], b"COMMIT", server(), True),
        (["BEGIN", "SELECT f()"], b"COMMIT", server(), True),
        (["BEGIN", "SELECT 1"], b"COMMIT", server(), False),
        (["BEGIN", "INSERT INTO t VALUES (1)"], b"COMMIT; SELECT 1", server(), False),
        (["BEGIN", "INSERT INTO t VALUES (1)"], b"COMMIT", server(framing.IN_FAILED_TRANSACTION), False),
        (["INSERT INTO t VALUES (1)"], b"COMMIT", server(framing.IDLE), False),
        (["BEGIN", "INSERT INTO t VALUES (1)"], b"COMMIT", server(framing.IDLE, (1, 1)), True),
    ],
)
def test_what_is_asked_ahead_of_a_commit(said, sql, at, expected):
    made, asking = sampling(), client(*said)
    assert made.samples(asking, at, sql) is expected
    assert asking.journal.topology is (TOPOLOGY if expected else None)


def test_nothing_is_asked_where_it_would_tell_nothing():
    asking = client("BEGIN", "INSERT INTO t VALUES (1)")
    several = sampling(replace(TOPOLOGY, multi_primary=True))
    assert not several.samples(asking, server(), b"COMMIT")
    assert not several.samples_changes(asking)
    assert not sampling(untracked("nobody watches")).samples_changes(asking)
    nobody = SimpleNamespace(journal=None)
    assert not sampling().samples(nobody, server(), b"COMMIT")
    assert not sampling().samples_changes(nobody)
    assert sampling().samples_changes(asking)
    asking.journal.sampled_at, asking.journal.sampled_early = 1.0, True
    assert not sampling().samples(asking, server(), b"COMMIT")


def test_session_pools_keep_no_journal():
    made = sampling()
    for session in (True, False):
        at = SimpleNamespace(journal=None, pool=SimpleNamespace(session=session))
        made.equip(at)
        assert (at.journal is None) is session


@pytest.mark.parametrize(
    ("cut", "lost"),
    [
        (Recovery("b", 20.0, 2, SYSTEM, 0x400, watched=True, parent=1), 2),
        (Recovery("b", 20.0, 2, SYSTEM, 0x550, watched=True, parent=1), 1),
        (Recovery("b", 20.0, 2, SYSTEM, 0x900, watched=True, parent=1), 0),
        (Recovery("a", 20.0, 1, SYSTEM, 0x400, watched=True), 2),
        (Recovery("a", 5.0, 1, SYSTEM, 0x400, watched=True), 0),
        (Recovery("a", 20.0, 1, SYSTEM, 0x400, clean=True), 0),
        (Recovery("a", 20.0, 1, SYSTEM, None), 0),
        (Recovery("b", 20.0, 3, SYSTEM, 0x400, parent=2), 0),
    ],
)
def test_commits_behind_a_cut_are_lost(cut, lost):
    made = sampling()
    for xid, lsn in ((b"700", b"0/500"), (b"701", b"0/600"), (None, b"0/700")):
        asked = client()
        asked.journal.sampled_at, asked.journal.topology = 10.0, TOPOLOGY
        asked.journal.sample = messages.data_row([xid, lsn, None])[5:]
        made.committed(server(), asked.journal)
    after = replace(TOPOLOGY, recoveries=(cut,))
    made.count_lost(TOPOLOGY, after)
    assert made.lost_acknowledged == lost
    made.count_lost(after, after)
    assert made.lost_acknowledged == lost
