"""The order of candidates."""

import pytest

from seawall.proxy.election import Policy
from seawall.proxy.failover.orders import Looked
from seawall.proxy.failover.plan import rank
from tests.proxy.failover.plans import Run, lost, primary, replica


@pytest.mark.parametrize(
    ("replicas", "best"),
    [
        ([replica("b"), replica("c")], "bc"),
        ([replica("b"), replica("c", receive_lsn=200)], "cb"),
        ([replica("b"), replica("c", receive_lsn=None, replay_lsn=200)], "cb"),
        ([replica("b", receive_lsn=None, replay_lsn=None), replica("c")], "cb"),
        ([replica("b"), replica("c", sync_state="sync")], "cb"),
        ([replica("b"), replica("c", sync_state="quorum")], "cb"),
        ([replica("b"), replica("c", sync_state="potential")], "bc"),
        ([replica("b", receive_lsn=200), replica("c", sync_state="sync")], "bc"),
        ([replica("b"), replica("d"), replica("c")], "dbc"),
        ([replica("b", sync_state="sync"), replica("d")], "bd"),
        ([replica("b", receive_lsn=900), replica("c", timeline=2)], "cb"),
        ([replica("b", timeline=0), replica("c")], "c"),
        ([replica("b", system_identifier=8), replica("c")], "c"),
        ([replica("b", answered_at=1.0), replica("c")], "c"),
        ([lost("b", in_recovery=True), replica("c")], "c"),
        ([primary("b"), replica("c")], "c"),
    ],
)
def test_the_best_replica_is_first(replicas, best):
    run = Run(policy=Policy(multi_primary=False))
    run.look(primary("a"), *replicas)
    looked = Looked(run.topology, run.last)
    assert rank(looked, timeline=1, priorities={"d": 200}, since=50.0) == tuple(best)


def test_replicas_on_a_lower_timeline_have_left():
    run = Run()
    run.look(primary("a", timeline=2), replica("b"), replica("c", timeline=2))
    assert rank(Looked(run.topology, run.last), timeline=2, priorities={}) == ("c",)
