"""No replica is promoted that may lack what clients were told was committed."""

import pytest

from seawall.proxy.failover.orders import Looked
from seawall.proxy.failover.plan import unheard
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
