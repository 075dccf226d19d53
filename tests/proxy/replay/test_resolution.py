"""A lost COMMIT is resolved by the table, row by row."""

from dataclasses import replace

import pytest

from seawall.proxy.replay.resolution import Outcome, Sample, resolve, status_outcome
from seawall.proxy.topology import (
    RECOVERIES_MAX,
    NodeRole,
    NodeView,
    Phase,
    Recovery,
    Topology,
    untracked,
)

SYSTEM = 7
ASK, UNKNOWN = Outcome.ASK, Outcome.UNKNOWN
COMMITTED, NOT_COMMITTED = Outcome.COMMITTED, Outcome.NOT_COMMITTED

SAMPLE = Sample("a", 10.0, 1000, 500, None, 1, SYSTEM)
VIEW = NodeView("a", NodeRole.PRIMARY, 1, SYSTEM, 5.0, stats_reset="once")
OTHER = NodeView("b", NodeRole.PRIMARY, 2, SYSTEM, 5.0, 400, stats_reset="once")


def crash(node="a", seen_at=20.0, timeline=1, end_lsn=600, watched=True, **more):
    return Recovery(node, seen_at, timeline, SYSTEM, end_lsn, watched=watched, **more)


def clean(node="a", seen_at=20.0):
    return Recovery(node, seen_at, 1, SYSTEM, clean=True, watched=True)


def promotion(node="b", seen_at=20.0, timeline=2, end_lsn=600, parent=1, **more):
    return crash(node, seen_at, timeline, end_lsn, parent=parent, **more)


def topology(*recoveries, primary=VIEW, **more):
    facts = {"phase": Phase.SERVING, "multi_primary": False, "system_identifier": SYSTEM} | more
    name = primary.name if primary is not None else None
    nodes = (primary,) if primary is not None else ()
    return Topology(1, primary=name, timeline=2, nodes=nodes, recoveries=recoveries, **facts)


def outcome(sample, *recoveries, primary=VIEW, **more):
    finding = resolve(sample, notifies=False, topology=topology(*recoveries, primary=primary), **more)
    assert finding.reason
    return finding.outcome


# --- the table, row by row ----------------------------------------------------------------------------------


def test_without_a_sample_nothing_is_known():
    assert outcome(None) is UNKNOWN


def test_a_prepared_transaction_is_left_alone():
    assert outcome(SAMPLE, two_phase=True) is UNKNOWN


def test_a_transaction_that_wrote_nothing_has_committed():
    idle = replace(SAMPLE, xid=None)
    for state in (topology(), untracked("no"), topology(primary=None), topology(multi_primary=True)):
        assert resolve(idle, notifies=False, topology=state).outcome is COMMITTED
        assert resolve(idle, notifies=True, topology=state).outcome is UNKNOWN
        assert resolve(idle, notifies=False, topology=state, serializable=True).outcome is NOT_COMMITTED


@pytest.mark.parametrize(
    "state",
    [
        untracked("no credentials"),
        topology(multi_primary=True),
        topology(primary=None, phase=Phase.HOLDING),
        replace(topology(), nodes=()),
        topology(primary=replace(VIEW, system_identifier=8)),
    ],
)
def test_without_a_history_to_look_into_nothing_is_known(state):
    assert resolve(SAMPLE, notifies=False, topology=state).outcome is UNKNOWN


@pytest.mark.parametrize(
    ("sample", "recoveries", "primary", "expected"),
    [
        # the same server, watched since before the sample
        (SAMPLE, [], VIEW, ASK),
        (SAMPLE, [clean(seen_at=5.0)], VIEW, ASK),
        (SAMPLE, [crash(seen_at=5.0, end_lsn=1, watched=False)], VIEW, ASK),
        # the watch began later, or has no connection
        (SAMPLE, [], replace(VIEW, connected_since=15.0), UNKNOWN),
        (SAMPLE, [], replace(VIEW, connected_since=0.0), UNKNOWN),
        # ... but its recovery is the one that the sample knows
        (
            replace(SAMPLE, end_of_recovery=300),
            [],
            replace(VIEW, connected_since=15.0, end_of_recovery=300),
            ASK,
        ),
        (replace(SAMPLE, end_of_recovery=300), [], replace(VIEW, connected_since=15.0), UNKNOWN),
        # a clean restart
        (SAMPLE, [clean()], VIEW, ASK),
        (SAMPLE, [clean(), clean(seen_at=30.0)], VIEW, ASK),
        # a crash
        (SAMPLE, [crash(end_lsn=500)], VIEW, NOT_COMMITTED),
        (SAMPLE, [crash(end_lsn=501)], VIEW, ASK),
        (SAMPLE, [crash(end_lsn=501, watched=False)], VIEW, UNKNOWN),
        (SAMPLE, [crash(end_lsn=500, watched=False)], VIEW, NOT_COMMITTED),
        (SAMPLE, [crash(end_lsn=None)], VIEW, UNKNOWN),
        # several
        (SAMPLE, [crash(end_lsn=500), crash(seen_at=30.0, end_lsn=900)], VIEW, NOT_COMMITTED),
        (SAMPLE, [crash(end_lsn=600), crash(seen_at=30.0, end_lsn=900)], VIEW, ASK),
        (SAMPLE, [crash(end_lsn=600), clean(seen_at=30.0)], VIEW, ASK),
        (SAMPLE, [crash(end_lsn=600), crash(seen_at=30.0, end_lsn=None)], VIEW, UNKNOWN),
        # seen after the sample, but before it: the sample is of the life that began with it
        (replace(SAMPLE, end_of_recovery=400), [crash(end_lsn=400)], VIEW, ASK),
        (
            replace(SAMPLE, end_of_recovery=400),
            [crash(end_lsn=400), crash(seen_at=30.0, end_lsn=450)],
            VIEW,
            NOT_COMMITTED,
        ),
        # of other servers, timelines and systems
        (SAMPLE, [crash("c", end_lsn=100)], VIEW, ASK),
        (SAMPLE, [crash(timeline=9, end_lsn=100)], VIEW, ASK),
        (SAMPLE, [replace(crash(end_lsn=100), system_identifier=8)], VIEW, ASK),
        # a promotion
        (SAMPLE, [promotion(end_lsn=500)], OTHER, NOT_COMMITTED),
        (SAMPLE, [promotion(end_lsn=501)], OTHER, ASK),
        (SAMPLE, [promotion(end_lsn=501, watched=False)], OTHER, UNKNOWN),
        (SAMPLE, [promotion(end_lsn=500, parent=0)], OTHER, NOT_COMMITTED),
        (SAMPLE, [promotion(end_lsn=501, parent=0)], OTHER, UNKNOWN),
        (SAMPLE, [promotion(end_lsn=501, parent=2)], OTHER, UNKNOWN),
        (SAMPLE, [promotion(end_lsn=None)], OTHER, UNKNOWN),
        (SAMPLE, [], OTHER, UNKNOWN),
        # a crash of the old primary before, and of the new one after it
        (SAMPLE, [crash(end_lsn=500), promotion(seen_at=30.0)], OTHER, NOT_COMMITTED),
        (SAMPLE, [crash(end_lsn=550), promotion(seen_at=30.0)], OTHER, ASK),
        (SAMPLE, [promotion(), crash("b", 30.0, 2, 700)], OTHER, ASK),
        (SAMPLE, [promotion(), crash("b", 30.0, 2, 700, watched=False)], OTHER, UNKNOWN),
        # a crash of the old primary when it had been replaced
        (SAMPLE, [promotion(), crash(seen_at=30.0, end_lsn=700)], OTHER, ASK),
        (SAMPLE, [promotion(), crash(seen_at=30.0, end_lsn=700, watched=False)], OTHER, ASK),
        (SAMPLE, [promotion(), crash(seen_at=30.0, end_lsn=500)], OTHER, UNKNOWN),
        (SAMPLE, [promotion(end_lsn=500), crash(seen_at=30.0, end_lsn=500)], OTHER, NOT_COMMITTED),
        # two promotions
        (SAMPLE, [promotion("c"), promotion(timeline=3, parent=2)], replace(OTHER, timeline=3), ASK),
        (
            SAMPLE,
            [promotion("c", end_lsn=500), promotion(timeline=3, parent=2)],
            replace(OTHER, timeline=3),
            NOT_COMMITTED,
        ),
        (SAMPLE, [promotion(timeline=3, parent=2)], replace(OTHER, timeline=3), UNKNOWN),
        (SAMPLE, [promotion(timeline=3, parent=2, end_lsn=500)], replace(OTHER, timeline=3), NOT_COMMITTED),
        (
            SAMPLE,
            [promotion("c"), promotion("d"), promotion(timeline=3, parent=2)],
            replace(OTHER, timeline=3),
            UNKNOWN,
        ),
        # back on the first server
        (SAMPLE, [promotion(), promotion("a", 30.0, 3, 800, 2)], replace(VIEW, timeline=3), ASK),
        # two servers wrote timeline 1, and two wrote timeline 2
        (SAMPLE, [crash("c", seen_at=1.0), promotion()], OTHER, UNKNOWN),
        (replace(SAMPLE, timeline=2), [promotion(end_lsn=100)], OTHER, UNKNOWN),
        (replace(SAMPLE, timeline=3), [promotion(end_lsn=100)], OTHER, UNKNOWN),
    ],
)
def test_what_the_cuts_say(sample, recoveries, primary, expected):
    assert outcome(sample, *recoveries, primary=primary) is expected


def test_a_sample_older_than_the_memory_is_not_resolved():
    recoveries = [crash("c", seen_at=50.0 + number) for number in range(RECOVERIES_MAX)]
    assert outcome(SAMPLE, *recoveries[1:]) is ASK
    assert outcome(SAMPLE, *recoveries) is UNKNOWN


@pytest.mark.parametrize(
    ("recoveries", "primary", "terminate"),
    [([], VIEW, True), ([clean()], VIEW, True), ([crash()], VIEW, False), ([promotion()], OTHER, False)],
)
def test_a_backend_that_may_be_alive_is_terminated_first(recoveries, primary, terminate):
    finding = resolve(SAMPLE, notifies=True, topology=topology(*recoveries, primary=primary))
    assert (finding.outcome, finding.terminate) == (ASK, terminate)
    asked = (finding.node, finding.timeline, finding.end_of_recovery, finding.stats_reset)
    assert asked == (primary.name, primary.timeline, primary.end_of_recovery, "once")


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"in_recovery": True}, False),
        ({"timeline": 3}, False),
        ({"end_of_recovery": None}, False),
        ({"stats_reset": "again"}, False),
    ],
)
def test_an_answer_counts_only_from_the_server_that_was_meant(change, holds):
    finding = resolve(SAMPLE, notifies=False, topology=topology(promotion(), primary=OTHER))
    facts = {"in_recovery": False, "timeline": 2, "end_of_recovery": 400, "stats_reset": "once"}
    assert finding.holds(**facts | change) is holds


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("committed", COMMITTED),
        ("aborted", NOT_COMMITTED),
        ("in progress", ASK),
        (None, UNKNOWN),
        ("", UNKNOWN),
        ("asleep", UNKNOWN),
    ],
)
def test_what_a_status_means(status, expected):
    assert status_outcome(status) is expected
