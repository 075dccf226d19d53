"""Plans that replace a lost primary, step by step."""

import pytest

from seawall.proxy.election import Policy
from seawall.proxy.failover.orders import (
    AskWitnesses,
    CutConnections,
    Done,
    Fence,
    Looked,
    Promote,
    Rank,
    Rejoin,
    ReplayTurns,
    Repoint,
    Tick,
    WaitWritable,
    Witnessed,
)
from seawall.proxy.failover.plan import RETRY_S
from seawall.proxy.failover.promotion import Step
from seawall.proxy.failover.replacing import (
    HOOK_TIMEOUT_S,
    LOOK_TIMEOUT_S,
    REJOIN_ATTEMPTS_MAX,
    REJOIN_RETRY_S,
    STARTING_GRACE_S,
    WRITABLE_TIMEOUT_S,
)
from seawall.proxy.settings import Authority
from seawall.proxy.topology import Phase
from tests.proxy.failover.plans import Run, lost, node, primary, replica, serving, suspecting

SERVING, HOLDING, REPLAYING = Phase.SERVING, Phase.HOLDING, Phase.REPLAYING


def fencing(**rules):
    run = suspecting(**rules)
    run.look(lost("a"), replica("b"), replica("c"), after=0.5)
    assert (run.step, run.kinds) == (Step.FENCING, [CutConnections, Fence])
    return run


def promoting(**rules):
    run = fencing(**rules)
    run.done(Fence)
    assert (run.step, run.kinds) == (Step.RANKING, [Rank])
    run.look(lost("a"), replica("b", receive_lsn=200), replica("c"))
    assert (run.step, run.kinds, run.state.target) == (Step.PROMOTING, [Promote], "b")
    return run


def waiting(**rules):
    run = promoting(**rules)
    run.done(Promote)
    assert (run.step, run.kinds) == (Step.WAITING, [WaitWritable])
    return run


def discarding(**rules):
    run = waiting(**rules)
    run.look(lost("a"), lost("b", in_recovery=True), replica("c"))
    assert (run.step, run.kinds) == (Step.DISCARDING, [CutConnections, Fence])
    assert run.ordered(Fence).node == "b"
    return run


def replaying(**rules):
    run = waiting(**rules)
    run.look(lost("a"), primary("b", timeline=2), replica("c"))
    assert (run.step, run.kinds) == (Step.REPLAYING, [Repoint, ReplayTurns])
    return run


# --- the way through ----------------------------------------------------------------------------------------


def test_a_lost_primary_is_replaced():
    run = replaying()
    assert run.serves == (REPLAYING, "b")
    assert run.ordered(Repoint).replicas == ("c",)
    run.done(ReplayTurns)
    assert (run.step, run.serves, run.told) == (Step.WATCHING, (SERVING, "b"), "b serves")
    run.look(lost("a"), primary("b", timeline=2), replica("c", timeline=2))
    assert run.done(Rejoin) == run.ordered(Rejoin)
    assert (run.ordered(Rejoin).node, run.ordered(Rejoin).primary) == ("a", "b")
    assert [one.node for one in run.actions if isinstance(one, Fence)] == ["a"]


def test_nobody_is_served_between_the_two():
    run = fencing()
    assert run.serves == (HOLDING, None)
    assert run.topology.reason == "a is being replaced"
    run.done(Fence)
    run.look(primary("a"), replica("b"), replica("c"), after=0.0)
    assert run.told == "a accepts writes: nothing is promoted"
    assert run.serves == (SERVING, "a")


def test_a_primary_that_comes_back_too_late_is_a_zombie():
    run = waiting()
    run.look(primary("a"), replica("b"), replica("c"))
    assert (run.step, run.serves) == (Step.WAITING, (HOLDING, None))
    run.look(primary("a"), primary("b", timeline=2), replica("c"))
    assert run.serves == (REPLAYING, "b")
    assert run.topology.node("a").role.value == "zombie"


def test_a_new_primary_that_is_lost_is_replaced_as_well():
    run = replaying()
    run.look(lost("a"), lost("b", timeline=2), replica("c", timeline=2))
    assert (run.step, run.serves) == (Step.WATCHING, (HOLDING, None))
    run.look(lost("a"), lost("b", timeline=2), replica("c", timeline=2))
    run.look(lost("a"), lost("b", timeline=2), replica("c", timeline=2), after=0.5)
    assert (run.step, run.ordered(Fence).node) == (Step.FENCING, "b")
    run.done(Fence)
    run.look(lost("a"), lost("b", timeline=2), replica("c", timeline=2))
    assert run.ordered(Promote).node == "c"


def test_after_a_restart_of_the_proxy_the_one_that_is_missing_is_replaced():
    run = Run(sole_proxy=True)
    run.look(lost("a"), replica("b"))
    run.look(lost("a"), replica("b"), after=1.0)
    assert (run.step, run.ordered(Fence).node) == (Step.FENCING, "a")


@pytest.mark.parametrize(
    "looks",
    [
        [lost("a"), lost("b"), replica("c")],
        [replica("a"), replica("b")],
        [primary("a"), primary("b")],
        [lost("a"), primary("b", system_identifier=8)],
    ],
)
def test_who_was_primary_is_not_guessed(looks):
    run = Run(sole_proxy=True, policy=Policy(multi_primary=False))
    for _ in range(3):
        run.look(*looks, after=10.0)
    assert run.step is Step.WATCHING
    assert run.topology.phase in {SERVING, HOLDING}


# --- is it gone? --------------------------------------------------------------------------------------------


def test_a_primary_has_time_to_come_back():
    run = suspecting()
    run.look(lost("a"), replica("b"), replica("c"), after=0.4)
    assert run.step is Step.SUSPECTING
    run.look(primary("a"), replica("b"), replica("c"))
    assert (run.step, run.serves) == (Step.WATCHING, (SERVING, "a"))


def test_one_that_answers_and_is_no_primary_is_not_replaced():
    run = suspecting()
    run.look(replica("a"), replica("b"), replica("c"), after=1.0)
    assert (run.step, run.told) == (Step.WATCHING, "a answers again: nothing is promoted")
    run.look(replica("a"), replica("b"), replica("c"), after=1.0)
    assert (run.step, run.serves) == (Step.WATCHING, (HOLDING, None))


@pytest.mark.parametrize(
    ("facts", "patience_s"),
    [
        ({}, 0.5),
        ({"refused": False, "misses": 3}, 0.5),
        ({"sqlstate": "57P03", "text": "the database system is starting up"}, STARTING_GRACE_S),
        ({"sqlstate": "57P03", "text": "the database system is shutting down"}, 0.5),
    ],
)
def test_one_that_starts_has_more_time(facts, patience_s):
    run = suspecting()
    run.look(lost("a", **facts), replica("b"), after=patience_s - 0.01)
    assert run.step is Step.SUSPECTING
    run.look(lost("a", **facts), replica("b"), after=0.02)
    assert run.step is Step.FENCING


@pytest.mark.parametrize(
    ("rules", "policy"),
    [({"authority": Authority.EXTERNAL}, None), ({}, Policy(multi_primary=True))],
)
def test_where_the_proxy_makes_no_primary_it_replaces_none(rules, policy):
    run = Run(sole_proxy=True, policy=policy, **rules)
    for _ in range(3):
        run.look(primary("a"), replica("b"))
        run.look(lost("a"), replica("b"), after=5.0)
    assert (run.step, run.actions) == (Step.WATCHING, [])


def test_where_nobody_is_tracked_nobody_is_replaced():
    run = Run(sole_proxy=True)
    denied = {"reachable": False, "refused": True, "sqlstate": "28P01", "in_recovery": None}
    for _ in range(3):
        run.look(node("a", **denied), lost("b"), after=5.0)
    assert (run.step, run.topology.tracked) == (Step.WATCHING, False)


# --- fencing ------------------------------------------------------------------------------------------------


def test_nothing_is_promoted_unless_the_old_primary_is_fenced():
    run = fencing()
    run.done(Fence, ok=False, detail="no route to host")
    assert run.step is Step.HELD
    assert run.topology.reason == "a could not be fenced: no route to host"
    run.look(lost("a"), replica("b"), after=RETRY_S)
    run.look(lost("a"), replica("b"))
    assert (run.step, run.ordered(Fence).serial) == (Step.FENCING, 2)


def test_fencing_that_takes_too_long_has_failed():
    run = fencing()
    late = run.ordered(Fence)
    run.now += HOOK_TIMEOUT_S
    run.tell(Tick())
    assert run.topology.reason == "a could not be fenced: it takes too long"
    run.tell(Done(late))
    assert run.step is Step.HELD
    run.look(lost("a"), replica("b"), after=RETRY_S)
    run.look(lost("a"), replica("b"))
    run.tell(Done(late))
    assert run.step is Step.FENCING, "that was the answer to the first order"


# --- which is the best? -------------------------------------------------------------------------------------


def test_every_replica_is_looked_at_again_first():
    run = fencing()
    run.done(Fence)
    stale = replica("c", receive_lsn=900, answered_at=run.now - 1.0)
    run.look(lost("a"), replica("b"), stale)
    assert run.step is Step.RANKING
    run.look(lost("a"), replica("b"), replica("c", receive_lsn=900))
    assert run.state.candidates == ("c", "b")


def test_a_replica_that_does_not_answer_in_time_is_no_candidate():
    run = fencing()
    run.done(Fence)
    run.look(lost("a"), replica("b"), replica("c", answered_at=1.0), after=LOOK_TIMEOUT_S / 2)
    assert run.step is Step.RANKING
    run.now += LOOK_TIMEOUT_S
    run.tell(Tick())
    assert (run.step, run.state.candidates) == (Step.PROMOTING, ("b",))


def test_without_a_candidate_it_holds():
    run = fencing()
    run.done(Fence)
    run.look(lost("a"), lost("b", in_recovery=True), lost("c", in_recovery=True))
    text = "a is gone, and no replica answers that has followed timeline 1"
    assert (run.step, run.topology.reason) == (Step.HELD, text)


# --- promoting ----------------------------------------------------------------------------------------------


def test_a_candidate_that_refuses_is_passed_over():
    run = promoting()
    run.done(Promote, ok=False, detail="permission denied")
    assert run.told == "b could not be promoted: permission denied"
    assert (run.step, run.ordered(Promote).node) == (Step.PROMOTING, "c")
    run.done(Promote, ok=False, detail="permission denied")
    text = "a is gone, and no replica could be promoted"
    assert (run.step, run.topology.reason) == (Step.HELD, text)


def test_a_candidate_that_is_gone_by_then_is_passed_over():
    run = promoting()
    run.last = (lost("a"), replica("b"), lost("c", in_recovery=True))
    run.tell(Looked(run.topology, run.last))
    run.done(Promote, ok=False, detail="permission denied")
    assert (run.step, run.state.candidates) == (Step.HELD, ())


@pytest.mark.parametrize("allow_loss", [False, True])
def test_a_candidate_that_may_lack_what_was_acknowledged_is_not_promoted(allow_loss):
    run = fencing(allow_loss=allow_loss)
    run.done(Fence)
    run.look(lost("a"), replica("b", sync_state="quorum"), lost("c", in_recovery=True, sync_state="quorum"))
    assert run.step is (Step.PROMOTING if allow_loss else Step.HELD)


def test_a_candidate_may_be_there_before_the_answer():
    run = promoting()
    run.look(lost("a"), primary("b", timeline=2), replica("c"))
    assert run.step is Step.REPLAYING
    run.done(Promote)
    assert run.step is Step.REPLAYING


def test_a_primary_on_no_timeline_of_its_own_is_none():
    run = waiting()
    run.look(lost("a"), primary("b", timeline=1), replica("c"))
    assert run.step is Step.WAITING


def test_somebody_else_may_promote_one():
    run = waiting()
    run.look(lost("a"), replica("b"), primary("c", timeline=2))
    assert (run.step, run.serves) == (Step.WATCHING, (SERVING, "c"))
    assert run.told == "c was promoted by somebody else"


@pytest.mark.parametrize(
    ("begin", "patience_s"), [(promoting, HOOK_TIMEOUT_S), (waiting, WRITABLE_TIMEOUT_S)]
)
def test_one_that_takes_too_long_is_discarded(begin, patience_s):
    run = begin()
    run.now += patience_s
    run.tell(Tick())
    assert (run.step, run.kinds) == (Step.DISCARDING, [CutConnections, Fence])
    assert (run.ordered(Fence).node, run.ordered(Fence).clean) == ("b", False)
    run.done(Fence)
    assert (run.step, run.ordered(Promote).node) == (Step.PROMOTING, "c")
    run.look(lost("a"), lost("b", timeline=2), primary("c", timeline=2))
    run.done(ReplayTurns)
    assert run.serves == (SERVING, "c")
    assert [name for name, _ in run.state.outside] == ["b", "a"]


def test_one_that_may_yet_become_a_primary_stays_the_only_candidate():
    run = discarding()
    run.done(Fence, ok=False, detail="no route to host")
    assert run.step is Step.HELD
    text = "b may yet become a primary and could not be fenced: no route to host"
    assert run.topology.reason == text
    run.look(primary("a"), lost("b", in_recovery=True), replica("c"))
    assert (run.step, run.serves) == (Step.HELD, (HOLDING, None)), "the old primary is past"
    run.look(lost("a"), lost("b", in_recovery=True), replica("c"), after=RETRY_S)
    run.look(lost("a"), lost("b", in_recovery=True), replica("c"))
    assert run.done(Fence).node == "a"
    run.look(lost("a"), lost("b", in_recovery=True), replica("c"))
    assert (run.step, run.ordered(Fence).node) == (Step.DISCARDING, "b")
    run.done(Fence)
    assert (run.ordered(Promote).node, run.state.doubtful) == ("c", "")


def test_one_that_may_yet_become_a_primary_is_told_again_if_it_is_back():
    run = discarding()
    run.done(Fence, ok=False)
    run.look(lost("a"), replica("b"), replica("c"), after=RETRY_S)
    run.look(lost("a"), replica("b"), replica("c", receive_lsn=900))
    run.done(Fence)
    run.look(lost("a"), replica("b"), replica("c", receive_lsn=900))
    assert run.state.candidates == ("b",)


def test_where_nothing_can_be_fenced_it_is_waited_for():
    run = waiting(can_fence=False)
    run.look(lost("a"), lost("b", in_recovery=True), replica("c"))
    assert (run.step, run.kinds) == (Step.HELD, [])
    text = "b was promoted and is no primary; it may yet become one, and there is no way to fence it"
    assert run.topology.reason == text
    run.look(lost("a"), primary("b", timeline=2), replica("c"))
    assert run.serves == (SERVING, "b")


def test_one_that_became_a_primary_after_all_serves():
    run = discarding()
    run.now += HOOK_TIMEOUT_S
    run.tell(Tick())
    assert run.step is Step.HELD
    run.look(lost("a"), primary("b", timeline=2), replica("c"))
    assert (run.step, run.serves, run.state.doubtful) == (Step.WATCHING, (SERVING, "b"), "")


# --- serving ------------------------------------------------------------------------------------------------


def test_replays_have_their_time():
    run = replaying(replay_window_s=2.0)
    run.look(lost("a"), primary("b", timeline=2), replica("c"), after=1.9)
    assert run.serves == (REPLAYING, "b")
    run.look(lost("a"), primary("b", timeline=2), replica("c"))
    assert (run.serves, run.told) == ((SERVING, "b"), "b serves; not all was replayed in time")


def test_without_a_window_it_serves_at_once():
    run = waiting(replay_window_s=0.0)
    run.look(lost("a"), primary("b", timeline=2), replica("c"))
    assert (run.step, run.serves) == (Step.WATCHING, (SERVING, "b"))


def test_what_becomes_of_the_replicas_is_told():
    run = replaying()
    run.done(Repoint)
    assert run.told == "c to follow b: done"
    run.done(Repoint, ok=False, detail="exit status 1")
    assert run.told == "c to follow b: failed: exit status 1"
    assert run.step is Step.REPLAYING


def served():
    run = replaying()
    run.done(ReplayTurns)
    run.look(lost("a"), primary("b", timeline=2), replica("c", timeline=2))
    assert run.kinds == [Rejoin]
    return run


def test_a_former_primary_is_rejoined_until_it_follows():
    run = served()
    looks = [lost("a"), primary("b", timeline=2), replica("c", timeline=2)]
    for attempt in range(1, REJOIN_ATTEMPTS_MAX + 1):
        run.done(Rejoin, ok=False, detail="exit status 1")
        assert run.told == "a to follow b: failed: exit status 1"
        run.look(*looks)
        assert run.kinds == []
        run.look(*looks, after=REJOIN_RETRY_S)
        assert run.kinds == ([Rejoin] if attempt < REJOIN_ATTEMPTS_MAX else [])
    assert run.state.outside == ()


def test_a_former_primary_that_follows_needs_no_help():
    run = served()
    first = run.ordered(Rejoin)
    run.look(replica("a", timeline=2), primary("b", timeline=2), replica("c", timeline=2))
    assert run.state.outside == ()
    run.tell(Done(first, ok=False, detail="it follows already"))
    assert (run.state.outside, run.state.rejoining) == ((), None)


def test_answers_that_nobody_waits_for_are_passed_over():
    run = serving()
    before = run.state
    run.tell(Done(Rejoin(99, "a", "b")))
    assert (run.state, run.told) == (before, "a to follow b: done")
    run.tell(Done(Promote(98, "b")))
    run.tell(Witnessed(AskWitnesses(97, "a"), 1))
    run.tell(Done(Repoint(96, "b", ())))
    assert (run.state, run.told) == (before, "nobody to follow b: done")
    run.tell(Tick())
    assert (run.state, run.fresh) == (before, [])
