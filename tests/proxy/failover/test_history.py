"""What became of every primary, as it is kept."""

import itertools

import pytest

from seawall.proxy.failover.history import FAILOVERS_MAX, History
from seawall.proxy.topology import NodeRole, NodeView, Phase, Topology, untracked

EPOCH = 1_000_000.0


def topology(phase, primary, timeline=1, **changes):
    nodes = (NodeView("one"), NodeView("two", NodeRole.PRIMARY, timeline, 7, 1.0, 4096))
    values = {"multi_primary": False, "reason": f"{phase.value} {primary}", **changes}
    return Topology(1, phase, primary, system_identifier=7, timeline=timeline, nodes=nodes, **values)


SERVING = topology(Phase.SERVING, "one")
HOLDING = topology(Phase.HOLDING, None)
REPLAYING = topology(Phase.REPLAYING, "two", 2)
SERVING_TWO = topology(Phase.SERVING, "two", 2)


def noted(*steps, history=None):
    """Note topologies in a row, one a second from time 10 on; trouble began half a second before."""
    history = history or History()
    for index, (before, after) in enumerate(itertools.pairwise(steps)):
        now = 10.0 + index
        history.note(before, after, at=EPOCH + now, now=now, began=now - 0.5)
    return history


def test_a_failover_of_ours_has_all_its_times():
    history = noted(SERVING, HOLDING)
    assert history.present is not None
    assert history.rows()[0]["outcome"] == "under way"
    assert history.rows()[0]["new_primary"] is None
    history.present.ours = True
    history.present.replays = 3
    noted(HOLDING, REPLAYING, SERVING_TWO, history=history)
    assert history.present is None
    assert history.rows() == [
        {
            "at": "1970-01-12T13:46:50.000+00:00",
            "kind": "unplanned",
            "old_primary": "one",
            "new_primary": "two",
            "timeline": 2,
            "took_ms": 1500,
            "outcome": "done",
            "reason": "serving two",
            "end_lsn": "0/1000",
            "detected_ms": 500,
            "promoted_ms": 500,
            "resumed_ms": 1500,
            "replays": 3,
        }
    ]


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        ((SERVING, HOLDING, SERVING), "restart"),
        ((SERVING, HOLDING, SERVING_TWO), "observed"),
        ((SERVING, SERVING_TWO), "observed"),
    ],
)
def test_what_others_do_is_seen_as_such(steps, kind):
    (entry,) = noted(*steps).entries
    assert (entry.kind, entry.outcome) == (kind, "done")


def test_a_switchover_is_planned_and_may_be_given_up():
    history = History()
    entry = history.begin(at=EPOCH, began=9.0, old_primary="one", planned=True)
    noted(SERVING, topology(Phase.PAUSED, "one"), topology(Phase.PAUSED, None), SERVING_TWO, history=history)
    assert (entry.kind, entry.outcome, entry.held, entry.resumed) == ("planned", "done", 10.0, 12.0)
    assert len(history.entries) == 1
    other = history.begin(at=EPOCH, began=19.0, old_primary="one", planned=True)
    noted(SERVING, topology(Phase.PAUSED, "one"), SERVING, history=history)
    assert (other.kind, other.outcome, other.given_up) == ("planned", "given up", True)


def test_a_switchover_that_nobody_noticed_is_settled():
    history = History()
    entry = history.begin(at=EPOCH, began=9.0, old_primary="one", planned=True)
    history.settle(HOLDING, 10.0)
    assert entry.outcome == "under way"
    history.settle(SERVING, 11.0)
    assert (entry.outcome, entry.resumed) == ("given up", 11.0)
    history.settle(SERVING, 12.0)
    assert entry.resumed == 11.0


def test_what_is_no_loss_of_a_primary_is_not_kept():
    untold = untracked("nobody looks")
    several = topology(Phase.SERVING, None, multi_primary=True)
    for steps in (
        (topology(Phase.OBSERVING, None), SERVING),
        (topology(Phase.OBSERVING, None), HOLDING, SERVING),
        (untold, SERVING),
        (SERVING, untold),
        (several, several),
        (SERVING, topology(Phase.PAUSED, "one"), SERVING),
    ):
        assert len(noted(*steps).entries) == 0


def test_a_second_loss_before_the_end_is_the_same_entry():
    history = noted(SERVING, HOLDING, REPLAYING, HOLDING, SERVING)
    assert [(entry.old_primary, entry.new_primary) for entry in history.entries] == [("one", "one")]


def test_only_the_last_are_kept_the_newest_first():
    history = History()
    for number in range(FAILOVERS_MAX + 5):
        entry = history.begin(at=EPOCH, began=0.0, old_primary=str(number))
        entry.resumed = 1.0
    assert history.total == FAILOVERS_MAX + 5
    assert len(history.rows()) == FAILOVERS_MAX
    assert history.rows()[0]["old_primary"] == str(FAILOVERS_MAX + 4)


def over(history, count):
    """Have a primary lost and come back so many times."""
    for _ in range(count):
        noted(SERVING, HOLDING, SERVING, history=history)


def test_each_that_has_ended_is_told_once():
    history = History()
    assert history.ended() == []
    noted(SERVING, HOLDING, history=history)
    assert history.ended() == []
    noted(HOLDING, SERVING, history=history)
    assert history.ended() == list(history.entries)
    assert history.ended() == []
    over(history, 2)
    noted(SERVING, HOLDING, history=history)
    assert history.ended() == list(history.entries)[1:3]
    noted(HOLDING, SERVING, history=history)
    assert history.ended() == [history.entries[-1]]


def test_one_that_was_given_up_before_anybody_noticed_has_ended_too():
    history = History()
    planned = history.begin(at=EPOCH, began=1.0, old_primary="one", planned=True)
    assert history.ended() == []
    history.settle(SERVING, 2.0)
    assert history.ended() == [planned]
    assert planned.outcome == "given up"


def test_of_more_than_are_kept_the_last_are_told():
    history = History()
    over(history, FAILOVERS_MAX + 5)
    assert history.ended() == list(history.entries)
    assert history.ended() == []
    over(history, 3)
    assert history.ended() == list(history.entries)[-3:]
    assert history.total == FAILOVERS_MAX + 8
    # The one under way takes the place of one that is over.
    over(history, 1)
    noted(SERVING, HOLDING, history=history)
    assert history.ended() == [history.entries[-2]]
