"""No replica is promoted that may lack what clients were told was committed."""

from dataclasses import replace

import pytest

from seawall.proxy.failover.orders import Looked
from seawall.proxy.failover.plan import unheard
from seawall.proxy.failover.question import Answer, Departed
from seawall.proxy.topology import Observation, untracked

SINCE = 10.0


def replica(name, sync_state, *, received=100, answered_at=11.0):
    return Observation(
        name=name,
        reachable=True,
        answered_at=answered_at,
        in_recovery=True,
        receive_lsn=received,
        sync_state=sync_state,
    )


def missed(*replicas, able):
    return unheard(Looked(untracked("a test"), tuple(replicas)), able, SINCE)


@pytest.mark.parametrize("state", ["async", "potential", ""])
def test_who_acknowledges_nothing_is_not_missed(state):
    assert missed(replica("a", "quorum"), replica("b", state, answered_at=1.0), able=["a"]) == ()


def test_one_of_a_quorum_that_does_not_answer_may_have_more():
    assert missed(replica("a", "quorum"), replica("b", "quorum", answered_at=1.0), able=["a"]) == ("b",)


def test_one_of_a_quorum_that_answered_and_has_less_is_not_missed():
    assert missed(replica("a", "quorum"), replica("b", "quorum", received=99), able=["a"]) == ()


def test_one_that_has_more_and_could_not_be_promoted_is_missed():
    assert missed(replica("a", "quorum"), replica("b", "quorum", received=101), able=["a"]) == ("b",)


def test_a_synchronous_one_has_everything_that_was_acknowledged():
    assert missed(replica("a", "sync"), replica("b", "quorum", answered_at=1.0), able=["a"]) == ()


@pytest.mark.parametrize(("left", "expected"), [(100, ()), (101, ("b",))])
def test_one_that_left_may_have_all_up_to_where_its_primary_was_then(left, expected):
    gone = replace(replica("b", "", answered_at=1.0), left_lsn=left)
    assert missed(replica("a", "quorum", received=100), gone, able=["a"]) == expected


def answer(write_lsn, *followers, timeline=1):
    return Answer(
        in_recovery=False,
        timeline=timeline,
        write_lsn=write_lsn,
        receive_lsn=None,
        replay_lsn=None,
        system_identifier=7,
        stats_reset="",
        started="",
        followers=tuple((name, "", state) for name, state in followers),
    )


def test_who_leaves_is_remembered_until_it_is_back_or_another_writes():
    departed = Departed()

    def left(now):
        return dict(departed.left([None, now], lambda name, _: name))

    assert left(answer(10, ("a", "quorum"), ("b", "quorum"), ("c", "async"))) == {}
    assert left(answer(20, ("a", "quorum"))) == {"b": 20}
    assert left(answer(30)) == {"a": 30, "b": 20}
    assert left(answer(40, ("b", "potential"))) == {"a": 30, "b": 20}
    assert left(answer(50, ("c", "quorum"), timeline=2)) == {}
    last = answer(60, timeline=2)
    assert left(last) == left(last) == {"c": 60}
