"""Which restarts and promotions the election remembers, and which of them are watched."""

from dataclasses import replace

import pytest

from seawall.proxy.election import UNWATCHED_MAX_S
from seawall.proxy.topology import RECOVERIES_MAX, Recovery
from tests.proxy.test_election import GONE, SYSTEM, Election, standby, writer

FIRST = Recovery("a", 5.0, 1, SYSTEM)


def remembered(*steps):
    """What a sequence of looks leaves, but for the first."""
    election = Election()
    for looks in steps:
        election(*looks)
    return list(election.topology.recoveries)


def test_before_the_first_look_anything_may_have_been():
    assert remembered([writer("a")]) == [FIRST]
    assert remembered([writer("a", end_of_recovery=400)]) == [replace(FIRST, end_lsn=400)]
    assert remembered([standby("a")]) == []


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        # the same connection
        ({}, {}, None),
        ({}, {"write_lsn": 2000, "stats_reset": "by hand"}, None),
        # another one, and no restart
        ({"end_of_recovery": 400}, {"connected_since": 9.0, "end_of_recovery": 400}, None),
        # a clean restart, or none
        ({}, {"connected_since": 9.0}, {"clean": True, "watched": True}),
        ({"end_of_recovery": 400}, {"connected_since": 9.0}, {"clean": True, "watched": True}),
        ({}, {"connected_since": 9.0, "unwatched_s": 60.0}, {"clean": True, "watched": True}),
        # a crash
        ({}, {"connected_since": 9.0, "end_of_recovery": 400}, {"end_lsn": 400, "watched": True}),
        (
            {"end_of_recovery": 300},
            {"connected_since": 9.0, "end_of_recovery": 400, "unwatched_s": UNWATCHED_MAX_S},
            {"end_lsn": 400, "watched": True},
        ),
        ({}, {"connected_since": 9.0, "end_of_recovery": 400, "unwatched_s": 1.1}, {"end_lsn": 400}),
        # a crash that wasn't seen, and a clean restart
        ({}, {"connected_since": 9.0, "stats_reset": "again"}, {"watched": True}),
        ({"stats_reset": ""}, {"connected_since": 9.0, "stats_reset": ""}, {"watched": True}),
    ],
)
def test_a_restart_of_a_primary(before, after, expected):
    found = remembered([writer("a", **before)], [writer("a", **after)])[1:]
    assert found == ([] if expected is None else [replace(FIRST, seen_at=9.0, **expected)])


def test_a_restart_is_found_also_if_the_server_was_seen_down_meanwhile():
    again = writer("a", connected_since=9.0, end_of_recovery=400)
    found = remembered([writer("a")], [writer("a", connected_since=0.0, **GONE)], [again], [again])
    assert found[1:] == [replace(FIRST, seen_at=9.0, end_lsn=400, watched=True)]


PROMOTED = {"timeline": 2, "end_of_recovery": 400, "answered_at": 12.0}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (standby("b"), PROMOTED, {"watched": True, "parent": 1}),
        (standby("b"), PROMOTED | {"connected_since": 9.0}, {}),
        (standby("b"), PROMOTED | {"timeline": 3}, {"timeline": 3}),
        (standby("b", timeline=0), PROMOTED | {"timeline": 1}, {"timeline": 1}),
        (standby("b"), PROMOTED | {"end_of_recovery": None}, {"end_lsn": None}),
        (writer("b"), PROMOTED, {}),
    ],
)
def test_a_promotion(before, after, expected):
    found = remembered([before], [writer("b", **after)])
    assert found[-1] == replace(Recovery("b", 12.0, 2, SYSTEM, 400), **expected)


@pytest.mark.parametrize(
    ("old", "watched"),
    [
        (writer("a", connected_since=0.0, **GONE), True),
        (writer("a", connected_since=0.0, unwatched_s=60.0, **GONE), False),
        (writer("a", connected_since=9.0, unwatched_s=60.0), False),
        (writer("a", unwatched_s=60.0), True),
        (standby("a", connected_since=9.0, unwatched_s=60.0), False),
    ],
)
def test_a_promotion_is_watched_if_the_one_that_is_replaced_was(old, watched):
    found = remembered([writer("a"), standby("b")], [old, writer("b", **PROMOTED)])
    (promotion,) = [one for one in found if one.node == "b"]
    assert (promotion.watched, promotion.parent) == (watched, 1)


def test_a_server_that_was_replaced_long_ago_does_not_matter():
    old = writer("a", connected_since=0.0, unwatched_s=60.0, **GONE)
    later = {"timeline": 3, "end_of_recovery": 500}
    found = remembered(
        [writer("a"), standby("b"), standby("c")],
        [writer("a", connected_since=0.0, **GONE), writer("b", **PROMOTED), standby("c")],
        [old, writer("b", **PROMOTED), standby("c", timeline=2)],
        [old, writer("b", connected_since=0.0, **PROMOTED | GONE), writer("c", **later)],
    )
    assert [(one.node, one.watched) for one in found] == [("a", False), ("b", True), ("c", True)]


def test_replicas_that_nobody_watched_do_not_matter():
    gone = standby("c", connected_since=0.0, unwatched_s=60.0, **GONE)
    looks = [writer("a", **GONE), writer("b", **PROMOTED), gone]
    assert remembered([writer("a"), standby("b"), standby("c")], looks)[-1].watched


def test_restarts_are_remembered_up_to_a_limit():
    election = Election()
    for number in range(RECOVERIES_MAX + 5):
        election(writer("a", connected_since=5.0 + number))
    recoveries = election.topology.recoveries
    assert (len(recoveries), recoveries[-1].seen_at) == (RECOVERIES_MAX, 4.0 + RECOVERIES_MAX + 5)
