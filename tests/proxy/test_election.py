"""Who is what, and who is primary: the election's tables, row by row."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.proxy.election import Memory, Policy, elect
from seawall.proxy.topology import (
    MISSES_MAX,
    REASON_CHARACTERS_MAX,
    NodeRole,
    NodeView,
    Observation,
    Ordered,
    Phase,
    Topology,
)

SYSTEM = 7
SINGLE = Policy(multi_primary=False)
PRIMARY, REPLICA, ZOMBIE, DOWN, UNKNOWN = (
    NodeRole.PRIMARY,
    NodeRole.REPLICA,
    NodeRole.ZOMBIE,
    NodeRole.DOWN,
    NodeRole.UNKNOWN,
)
GONE = {"reachable": False, "refused": True, "text": "Connection refused"}
FULL = {"reachable": False, "refused": True, "sqlstate": "53300", "text": "too many clients already"}


def node(name, **facts):
    usual = {"reachable": True, "answered_at": 10.0, "timeline": 1, "system_identifier": SYSTEM}
    return Observation(name=name, **usual | {"connected_since": 5.0, "stats_reset": "once"} | facts)


def writer(name, **facts):
    return node(name, **{"in_recovery": False, "write_lsn": 1000} | facts)


def standby(name, **facts):
    return node(name, **{"in_recovery": True, "replay_lsn": 900} | facts)


def unseen(name, **facts):
    return Observation(name=name, **facts)


class Election:
    """One after another."""

    def __init__(self, policy=SINGLE):
        self.policy = policy
        self.memory = Memory()

    def __call__(self, *looks, **said):
        self.topology, self.memory = elect(looks, self.memory, policy=self.policy, **said)
        return self.topology

    def verdict(self, *looks, **said):
        topology = self(*looks, **said)
        assert topology.reason
        return topology.phase, topology.primary

    def roles(self, *looks, **said):
        return {one.name: one.role for one in self(*looks, **said).nodes}


@pytest.fixture
def election():
    return Election()


@pytest.fixture
def serving(election):
    """The primary is a, b follows."""
    assert election.verdict(writer("a"), standby("b")) == (Phase.SERVING, "a")
    return election


# --- what a look counts as ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "role"),
    [
        ({}, PRIMARY),
        ({"reachable": False, "misses": MISSES_MAX - 1}, PRIMARY),
        ({"reachable": False, "misses": MISSES_MAX}, DOWN),
        (GONE, DOWN),
        (GONE | {"sqlstate": "57P03"}, DOWN),
        (FULL, PRIMARY),
        (FULL | {"in_recovery": None, "timeline": 0, "system_identifier": 0}, PRIMARY),
        ({"in_recovery": None}, PRIMARY),
        ({"timeline": 0}, PRIMARY),
    ],
)
def test_a_server_is_what_it_was_until_it_is_gone(serving, facts, role):
    phase, primary = (Phase.HOLDING, None) if role is DOWN else (Phase.SERVING, "a")
    assert serving.verdict(writer("a", **facts), standby("b")) == (phase, primary)
    assert serving.topology.node("a").role is role


def test_a_primary_that_is_gone_is_missed_by_name(serving):
    serving(writer("a", **GONE), standby("b"))
    assert serving.topology.reason == "a: Connection refused"
    serving(writer("a", reachable=False, misses=MISSES_MAX), standby("b"))
    assert serving.topology.reason == "a: no answer"


def test_a_reason_is_cut(serving):
    serving(writer("a", **GONE | {"text": "x" * 1000}), standby("b"))
    assert len(serving.topology.reason) == REASON_CHARACTERS_MAX


# --- what a server is ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("look", "role"),
    [
        (standby("b"), REPLICA),
        (standby("b", timeline=0), REPLICA),
        (standby("b", **GONE), DOWN),
        (standby("b", system_identifier=8), ZOMBIE),
        (writer("b", system_identifier=8), ZOMBIE),
        (writer("b", system_identifier=8, timeline=9), ZOMBIE),
        (unseen("b"), UNKNOWN),
        (unseen("b", refused=True, sqlstate="28P01"), UNKNOWN),
    ],
)
def test_what_a_server_is_beside_a_primary(serving, look, role):
    serving.memory = replace(serving.memory, seen={"a": writer("a")})
    assert serving.roles(writer("a"), look) == {"a": PRIMARY, "b": role}
    assert serving.topology.primary == "a"


def test_who_writes_a_lower_timeline_than_any_seen_is_a_zombie(serving):
    assert serving.verdict(writer("a"), writer("b", timeline=2)) == (Phase.SERVING, "b")
    assert serving.topology.node("a").role is ZOMBIE
    assert serving.verdict(writer("a"), writer("b", timeline=2, **GONE)) == (Phase.HOLDING, None)
    assert serving.topology.node("a").role is ZOMBIE


def test_a_replica_has_seen_a_timeline_as_well(serving):
    assert serving.verdict(writer("a"), standby("b", timeline=2)) == (Phase.HOLDING, None)
    assert serving.topology.node("a").role is ZOMBIE
    assert serving.topology.timeline == 2


def test_how_far_a_replica_is_behind(serving):
    assert [one.lag_bytes for one in serving(writer("a"), standby("b")).nodes] == [None, 100]
    assert serving(writer("a"), standby("b", replay_lsn=2000)).node("b").lag_bytes == 0
    assert serving(writer("a", write_lsn=None), standby("b")).node("b").lag_bytes is None
    assert serving(writer("a", **GONE), standby("b")).node("b").lag_bytes is None


def test_what_is_told_of_a_server(serving):
    look = writer("a", end_of_recovery=600, write_lsn=700, replay_lsn=600)
    view = NodeView("a", PRIMARY, 1, SYSTEM, 5.0, 600, 700, 600, None, "once")
    assert serving(look, standby("b")).node("a") == view
    gone = replace(look, connected_since=0.0, **GONE)
    assert serving(gone, standby("b")).node("a") == replace(view, role=DOWN, connected_since=0.0)


# --- who is primary -----------------------------------------------------------------------------------------


def test_nothing_is_known_before_every_server_was_looked_at(election):
    assert election.verdict(unseen("a"), unseen("b")) == (Phase.OBSERVING, None)
    assert election.verdict(writer("a"), unseen("b")) == (Phase.OBSERVING, None)
    assert election.topology.reason == "not looked at yet: b"
    assert election.verdict(writer("a"), unseen("b", refused=True)) == (Phase.SERVING, "a")
    assert election.verdict(writer("a"), unseen("b")) == (Phase.SERVING, "a")


def test_no_server_accepts_writes(election):
    assert election.verdict(standby("a"), unseen("b", refused=True)) == (Phase.HOLDING, None)
    assert election.topology.reason == "no server accepts writes: a is replica, b is down"


def test_there_are_no_servers(election):
    assert election.verdict() == (Phase.HOLDING, None)


def test_two_on_one_timeline_are_a_split(serving):
    assert serving.verdict(writer("a"), writer("b")) == (Phase.HOLDING, None)
    assert serving.topology.reason == "split: a, b accept writes, all on timeline 1"
    assert serving.verdict(writer("a"), standby("b")) == (Phase.SERVING, "a")


def test_nobody_takes_over_a_timeline(serving):
    assert serving.verdict(writer("a", **GONE), writer("b")) == (Phase.HOLDING, None)
    assert "which was a's: it was never promoted" in serving.topology.reason
    assert serving.verdict(writer("a"), standby("b")) == (Phase.SERVING, "a")
    assert serving.verdict(writer("a", **GONE), writer("b", timeline=2)) == (Phase.SERVING, "b")


def test_a_primary_may_come_back(serving):
    serving(writer("a", **GONE), standby("b"))
    assert serving.verdict(writer("a", connected_since=9.0), standby("b")) == (Phase.SERVING, "a")


def test_a_system_is_remembered(serving):
    assert serving.topology.system_identifier == SYSTEM
    assert serving.verdict(writer("a", system_identifier=8), standby("b")) == (Phase.HOLDING, None)


def test_servers_that_cannot_agree_upon_a_system_hold(election):
    assert election.verdict(writer("a"), writer("b", system_identifier=8)) == (Phase.HOLDING, None)
    assert election.topology.reason == "the servers are of different systems: a of 7, b of 8"
    assert election.verdict(writer("a"), writer("b", system_identifier=8, **GONE)) == (Phase.HOLDING, None)
    assert election.verdict(writer("a"), standby("b")) == (Phase.SERVING, "a")


def test_replicas_of_another_system_do_not_count(election):
    assert election.verdict(writer("a"), standby("b", system_identifier=8)) == (Phase.SERVING, "a")
    assert election.topology.node("b").role is ZOMBIE


def test_replicas_alone_have_a_system_if_they_agree(election):
    assert election(standby("a"), standby("b")).system_identifier == SYSTEM
    assert Election()(standby("a"), standby("b", system_identifier=8)).system_identifier == 0


@pytest.mark.parametrize(
    ("looks", "leader", "expected", "reason"),
    [
        ([writer("a"), standby("b")], "a", "a", "a: the authority says so"),
        ([writer("a"), writer("b")], "b", "b", "b: the authority says so"),
        ([writer("a"), writer("b", system_identifier=8)], "b", "b", "b: the authority says so"),
        ([writer("a"), standby("b")], "b", None, "the authority names b, which is replica"),
        ([writer("a"), writer("b", timeline=2)], "a", None, "the authority names a, which is zombie"),
        ([writer("a"), standby("b")], "c", None, "the authority names c, which is none of ours: a, b"),
        ([writer("a"), standby("b")], "", None, "the authority names no leader"),
        ([writer("a"), standby("b")], None, "a", "a accepts writes on timeline 1"),
        ([writer("a"), unseen("b")], "a", "a", "a: the authority says so"),
    ],
)
def test_an_authority_says_who_leads(election, looks, leader, expected, reason):
    phase = Phase.SERVING if expected else Phase.HOLDING
    assert election.verdict(*looks, leader_said=leader) == (phase, expected)
    assert election.topology.reason == reason
    others = [one for one in election.topology.nodes if one.name != expected]
    assert expected is None or all(one.role is not PRIMARY for one in others)


def test_a_leader_that_was_not_looked_at_yet_is_waited_for(election):
    assert election.verdict(unseen("a"), standby("b"), leader_said="a") == (Phase.OBSERVING, None)


def test_an_authority_decides_of_which_system_the_servers_are(election):
    election(writer("a"), writer("b", system_identifier=8), leader_said="b")
    assert election.topology.system_identifier == 8
    assert election.verdict(writer("a"), writer("b", system_identifier=8)) == (Phase.SERVING, "b")


# --- where the watch is not let in --------------------------------------------------------------------------

DENIED = {"refused": True, "sqlstate": "28P01", "text": "password authentication failed"}


def test_without_credentials_nobody_is_tracked(election):
    topology = election(unseen("a", **DENIED), unseen("b", **GONE))
    assert (topology.tracked, topology.phase, topology.primary) == (False, Phase.SERVING, None)
    assert topology.reason == "the watch is not let in: password authentication failed"


def test_one_server_that_lets_the_watch_in_is_enough(election):
    topology = election(unseen("a", **DENIED), standby("b"))
    assert (topology.tracked, topology.phase) == (True, Phase.HOLDING)
    assert election(unseen("a", **DENIED), unseen("b", **DENIED)).tracked


def test_servers_that_are_down_are_tracked(election):
    assert election(unseen("a", **GONE), unseen("b", **GONE)).tracked


# --- several primaries --------------------------------------------------------------------------------------


def test_several_primaries_are_found_when_all_were_looked_at():
    election = Election(Policy())
    looks = [writer("a"), writer("b", system_identifier=8)]
    assert election.verdict(*looks, unseen("c")) == (Phase.OBSERVING, None)
    assert election.verdict(*looks, unseen("c", refused=True)) == (Phase.SERVING, None)
    assert election.topology.multi_primary
    assert election.topology.system_identifier == 0
    assert election.topology.reason == "several primaries: a, b"
    later = [writer("a"), standby("b", system_identifier=7), writer("c", system_identifier=9, timeline=4)]
    assert election.roles(*later) == {"a": PRIMARY, "b": REPLICA, "c": PRIMARY}
    assert election.topology.multi_primary, "it is found once"


@pytest.mark.parametrize(
    "looks",
    [
        [writer("a"), writer("b")],
        [writer("a"), standby("b", system_identifier=8)],
        [writer("a"), writer("b", system_identifier=8), standby("c")],
        [writer("a"), writer("b", system_identifier=8), writer("c", system_identifier=8)],
    ],
)
def test_a_survey_that_shows_anything_else_shows_one_primary(looks):
    election = Election(Policy())
    election(*looks)
    assert election.memory.multi_primary is False


def test_with_one_server_up_nothing_is_decided():
    election = Election(Policy())
    assert election.verdict(writer("a"), unseen("b", refused=True)) == (Phase.SERVING, "a")
    assert election.memory.multi_primary is None
    assert election.verdict(writer("a"), writer("b", system_identifier=8)) == (Phase.SERVING, None)


def test_several_primaries_that_are_all_down_hold():
    election = Election(Policy(multi_primary=True))
    assert election.verdict(writer("a"), writer("b")) == (Phase.SERVING, None)
    assert election.roles(writer("a", **GONE), writer("b")) == {"a": DOWN, "b": PRIMARY}
    assert election.verdict(writer("a", **GONE), writer("b", **GONE)) == (Phase.HOLDING, None)
    assert election.topology.recoveries == ()


# --- what the planner orders, and epochs --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ordered", "looks", "expected"),
    [
        (Ordered(Phase.HOLDING, None, "why"), [writer("a")], (Phase.HOLDING, None, "why")),
        (Ordered(Phase.PAUSED, "a", "why"), [writer("a")], (Phase.PAUSED, "a", "why")),
        (Ordered(Phase.PAUSED, "a", "why"), [writer("a", **GONE)], (Phase.PAUSED, None, "why")),
        (Ordered(Phase.REPLAYING, "a", "why"), [writer("a")], (Phase.REPLAYING, "a", "why")),
        (
            Ordered(Phase.REPLAYING, "a", "why"),
            [writer("a", **GONE)],
            (Phase.HOLDING, None, "a: Connection refused"),
        ),
        (
            Ordered(Phase.REPLAYING, "a", "why"),
            [writer("a"), writer("b", timeline=2)],
            (Phase.SERVING, "b", "b accepts writes on timeline 2"),
        ),
    ],
)
def test_an_order_lies_above_the_table_and_makes_no_primary(election, ordered, looks, expected):
    election(writer("a"), standby("b"))
    topology = election(*looks, ordered=ordered)
    assert (topology.phase, topology.primary, topology.reason) == expected


def test_a_server_that_was_held_back_owns_nothing(election):
    """It was promoted and fenced before anybody was sent there: another one may write that timeline."""
    election(writer("a"), standby("b"), standby("c"))
    held = Ordered(Phase.HOLDING, None, "why")
    election(writer("a", **GONE), writer("b", timeline=2), standby("c"), ordered=held)
    looks = [writer("a", **GONE), writer("b", timeline=2, **GONE), writer("c", timeline=2)]
    assert election.verdict(*looks) == (Phase.SERVING, "c")


def test_an_epoch_is_a_phase_and_a_primary(election):
    epochs = [
        election(*looks).epoch
        for looks in [
            [unseen("a")],
            [unseen("a")],
            [writer("a")],
            [writer("a", write_lsn=2000)],
            [writer("a", **GONE)],
            [writer("a", connected_since=9.0)],
        ]
    ]
    assert epochs == [1, 1, 2, 2, 3, 4]


# --- whatever is seen ---------------------------------------------------------------------------------------

LOOKS = st.builds(
    Observation,
    name=st.sampled_from("abc"),
    reachable=st.booleans(),
    refused=st.booleans(),
    misses=st.integers(0, 4),
    sqlstate=st.sampled_from(["", "57P03", "53300"]),
    in_recovery=st.none() | st.booleans(),
    timeline=st.integers(0, 3),
    system_identifier=st.sampled_from([0, 7, 8]),
    connected_since=st.sampled_from([0.0, 1.0, 2.0]),
    end_of_recovery=st.none() | st.integers(0, 3),
)
SURVEYS = st.lists(st.lists(LOOKS, min_size=3, max_size=3, unique_by=lambda one: one.name), max_size=6)


@given(SURVEYS, st.sampled_from([None, False, True]), st.sampled_from([None, "", "a", "d"]))
def test_whatever_is_seen_nobody_is_served_who_must_not_be(surveys, multi, leader):
    election = Election(Policy(multi_primary=multi))
    before = election.memory
    for looks in surveys:
        topology = election(*looks, leader_said=leader)
        now = election.memory
        assert Topology.from_json(topology.to_json()) == topology
        assert now.timeline >= before.timeline or topology.multi_primary
        assert (topology.epoch > before.epoch) == (
            not before.epoch or (before.phase, before.primary) != (now.phase, now.primary)
        )
        if topology.primary is not None:
            view = topology.node(topology.primary)
            assert topology.phase is Phase.SERVING
            assert view.role is PRIMARY
            assert view.timeline == topology.timeline == now.owner_timeline
            assert view.system_identifier == topology.system_identifier
            assert leader in {None, topology.primary}
            if leader is None and topology.primary != before.owner:
                assert view.timeline > before.owner_timeline or not before.owner
        before = now
