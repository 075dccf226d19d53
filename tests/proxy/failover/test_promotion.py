"""Plans that an operator asks for, step by step; and what holds for the table of all."""

import pytest

from seawall.proxy.failover.orders import (
    Checkpoint,
    CutConnections,
    Done,
    Fence,
    PauseAsked,
    PauseWorkers,
    Promote,
    Publish,
    Rank,
    Rejoin,
    ReplayTurns,
    Repoint,
    ResumeAsked,
    ResumeWorkers,
    SwitchoverAsked,
    Tick,
    WaitReplayed,
    WaitWritable,
)
from seawall.proxy.failover.promotion import CHECKPOINT_TIMEOUT_S, HANDLERS, TIMEOUTS, Step
from seawall.proxy.failover.replacing import HOOK_TIMEOUT_S, LOOK_TIMEOUT_S
from seawall.proxy.settings import Authority
from seawall.proxy.topology import Phase
from tests.proxy.failover.plans import Run, lost, primary, replica, serving

SERVING, HOLDING, PAUSED = Phase.SERVING, Phase.HOLDING, Phase.PAUSED
WELL = (primary("a"), replica("b"), replica("c"))


# --- a switchover -------------------------------------------------------------------------------------------


def checkpointing():
    run = serving(switchover_timeout_s=10.0)
    run.tell(SwitchoverAsked("c"))
    assert (run.step, run.kinds, run.told) == (Step.CHECKPOINTING, [Checkpoint], "switchover from a to c")
    assert run.serves == (SERVING, "a")
    return run


def draining():
    run = checkpointing()
    run.done(Checkpoint)
    assert (run.step, run.kinds, run.serves) == (Step.DRAINING, [PauseWorkers], (PAUSED, "a"))
    return run


def measuring():
    run = draining()
    run.done(PauseWorkers)
    assert (run.step, run.kinds) == (Step.MEASURING, [Rank])
    return run


def catching_up():
    run = measuring()
    run.look(primary("a", write_lsn=150), replica("b"), replica("c"))
    assert (run.step, run.kinds) == (Step.CATCHING_UP, [WaitReplayed])
    assert (run.ordered(WaitReplayed).node, run.ordered(WaitReplayed).lsn) == ("c", 150)
    return run


def fencing():
    run = catching_up()
    run.done(WaitReplayed)
    assert (run.step, run.kinds) == (Step.FENCING, [CutConnections, Fence])
    assert (run.ordered(Fence).node, run.ordered(Fence).clean) == ("a", True)
    return run


def verifying():
    run = fencing()
    run.done(Fence)
    assert (run.step, run.kinds, run.topology.phase) == (Step.VERIFYING, [Rank], PAUSED)
    return run


def test_a_switchover_goes_all_the_way():
    run = verifying()
    run.look(lost("a"), replica("b"), replica("c", replay_lsn=150))
    assert (run.step, run.kinds, run.state.candidates) == (Step.PROMOTING, [Promote], ("c", "b"))
    run.done(Promote)
    assert run.kinds == [WaitWritable]
    run.look(lost("a"), replica("b"), primary("c", timeline=2))
    assert [type(one) for one in run.fresh if not hasattr(one, "text")] == [Repoint, Publish, ResumeWorkers]
    assert (run.step, run.serves, run.told) == (
        Step.WATCHING,
        (SERVING, "c"),
        "c replaces a, on timeline 2; c serves",
    )
    run.look(lost("a"), replica("b"), primary("c", timeline=2))
    assert (run.kinds, run.ordered(Rejoin).node) == ([Rejoin], "a")
    assert not any(isinstance(one, ReplayTurns) for one in run.actions), "nothing was lost"


@pytest.mark.parametrize(
    ("looks", "target", "rules", "told"),
    [
        (WELL, "d", {}, "no switchover to d: able are b, c"),
        (WELL, "a", {}, "no switchover to a: able are b, c"),
        ([primary("a"), lost("b")], "", {}, "no switchover to anybody: able are none"),
        ([lost("a"), lost("b"), replica("c")], "", {}, "no switchover: there is no primary"),
        (WELL, "b", {"authority": Authority.EXTERNAL}, "no switchover: the authority is external"),
        ([], "", {}, "no switchover: there is no primary"),
    ],
)
def test_a_switchover_that_cannot_be_is_refused(looks, target, rules, told):
    run = Run(sole_proxy=True, **rules)
    if looks:
        run.look(*looks)
    run.tell(SwitchoverAsked(target))
    assert (run.step, run.kinds) == (Step.WATCHING, [])
    assert run.told.startswith(told)


def test_the_best_replica_is_taken_if_none_is_named():
    run = Run(priorities={"c": 200})
    run.look(*WELL)
    run.tell(SwitchoverAsked())
    assert run.state.candidates == ("c", "b")


@pytest.mark.parametrize(
    ("begin", "order", "patience_s"),
    [
        (checkpointing, Checkpoint, CHECKPOINT_TIMEOUT_S),
        (draining, PauseWorkers, 10.0),
        (measuring, None, LOOK_TIMEOUT_S),
        (catching_up, WaitReplayed, 10.0),
    ],
)
@pytest.mark.parametrize(
    "why", ["failed or resumed", "too late", "resumed", "target gone", "primary demoted"]
)
def test_what_fails_before_the_fence_leads_back(begin, order, patience_s, why):
    run = begin()
    paused = run.topology.phase is PAUSED
    if why == "failed or resumed" and order is not None:
        run.done(order, ok=False, detail="no way")
        assert run.told.endswith(f"{begin.__name__.replace('_', ' ')}: no way")
    elif why == "too late":
        run.now += patience_s
        run.tell(Tick())
        assert run.told.endswith("it takes too long")
    elif why == "target gone":
        run.look(primary("a"), replica("b"), lost("c", in_recovery=True))
        assert run.told.endswith("c is gone")
    elif why == "primary demoted":
        run.look(replica("a"), replica("b"), replica("c"))
        assert run.told.endswith("a is no primary any more")
    else:
        run.tell(ResumeAsked())
        assert run.told.endswith("an operator resumed")
    assert run.told.startswith("no switchover, a serves on: ")
    assert (run.step, ResumeWorkers in run.kinds) == (Step.WATCHING, paused)
    assert not run.state.drained
    run.look(*WELL)
    assert (run.step, run.serves) == (Step.WATCHING, (SERVING, "a"))
    assert not any(isinstance(one, (Fence, Promote)) for one in run.actions)


@pytest.mark.parametrize("begin", [checkpointing, draining, measuring, catching_up])
def test_a_primary_that_is_lost_meanwhile_is_a_lost_primary(begin):
    run = begin()
    run.look(lost("a"), replica("b"), replica("c"))
    assert run.told == "a is lost during the switchover"
    assert (run.step, run.serves) == (Step.WATCHING, (HOLDING, None))
    run.look(lost("a"), replica("b"), replica("c"))
    run.look(lost("a"), replica("b"), replica("c"), after=0.5)
    assert (run.step, run.ordered(Fence).clean) == (Step.FENCING, False)


def test_nothing_is_measured_before_everything_is_drained():
    run = measuring()
    run.look(primary("a", answered_at=run.now - 0.1), replica("b"), replica("c"))
    assert run.step is Step.MEASURING


@pytest.mark.parametrize("late", [False, True])
def test_an_old_primary_that_cannot_be_fenced_serves_on(late):
    run = fencing()
    if late:
        run.now += HOOK_TIMEOUT_S
        run.tell(Tick())
    else:
        run.done(Fence, ok=False, detail="no way")
    assert (run.step, run.kinds) == (Step.HELD, [ResumeWorkers])
    assert run.topology.reason.startswith("a could not be fenced: ")
    run.look(*WELL)
    assert (run.step, run.serves) == (Step.WATCHING, (SERVING, "a"))


def test_a_target_has_to_have_everything():
    run = verifying()
    run.look(lost("a"), replica("b"), replica("c", replay_lsn=149))
    run.look(lost("a"), replica("b"), replica("c", replay_lsn=150, answered_at=run.now - 1.0))
    assert run.step is Step.VERIFYING
    run.look(lost("a"), replica("b"), replica("c", replay_lsn=150))
    assert run.step is Step.PROMOTING


def test_where_fencing_stops_nobody_the_target_follows_to_the_end():
    run = verifying()
    run.look(primary("a", write_lsn=180), replica("b"), replica("c", replay_lsn=150))
    assert (run.step, run.state.lsn) == (Step.VERIFYING, 180)
    run.look(primary("a", write_lsn=180), replica("b"), replica("c", replay_lsn=180))
    assert run.step is Step.PROMOTING
    run.look(primary("a", write_lsn=180), replica("b"), primary("c", timeline=2))
    assert (run.step, run.serves) == (Step.WATCHING, (SERVING, "c"))


def test_where_something_is_missing_the_best_is_promoted_instead():
    run = verifying()
    run.look(lost("a"), replica("b"), replica("c", replay_lsn=140), after=10.0)
    assert run.told == "c lacks what a wrote last: the best one is promoted instead"
    assert (run.step, run.kinds) == (Step.RANKING, [Rank])
    run.look(lost("a"), replica("b", receive_lsn=150), replica("c", replay_lsn=140))
    assert run.ordered(Promote).node == "b"
    run.look(lost("a"), primary("b", timeline=2), replica("c"))
    assert run.serves == (Phase.REPLAYING, "b")
    run.done(ReplayTurns)
    assert (run.serves, run.kinds) == ((SERVING, "b"), [ResumeWorkers])


@pytest.mark.parametrize("begin", [fencing, verifying])
def test_behind_the_fence_there_is_no_way_back(begin):
    run = begin()
    for event in (ResumeAsked(), PauseAsked(), SwitchoverAsked("b")):
        run.tell(event)
        assert (run.step, run.kinds) == ({fencing: Step.FENCING, verifying: Step.VERIFYING}[begin], [])
        assert run.told.startswith("not while ")


# --- a pause ------------------------------------------------------------------------------------------------


def paused():
    run = serving()
    run.tell(PauseAsked())
    assert (run.step, run.kinds, run.serves) == (Step.PAUSED, [PauseWorkers], (PAUSED, "a"))
    return run


def test_a_pause_lasts_until_it_is_taken_back():
    run = paused()
    run.done(PauseWorkers)
    assert (run.step, run.told) == (Step.PAUSED, "paused: no transaction is open")
    run.look(*WELL, after=1000.0)
    run.tell(SwitchoverAsked("b"))
    assert (run.step, run.told) == (Step.PAUSED, "not while paused: paused by an operator")
    run.tell(ResumeAsked())
    assert (run.step, run.kinds, run.serves) == (Step.WATCHING, [ResumeWorkers], (SERVING, "a"))


def test_a_pause_without_an_end_of_the_open_transactions_is_one_all_the_same():
    run = paused()
    run.done(PauseWorkers, ok=False, detail="2 of them")
    assert (run.step, run.told) == (Step.PAUSED, "paused: transactions are open still: 2 of them")


def test_who_dies_during_a_pause_is_replaced_after_it():
    run = paused()
    for _ in range(3):
        run.look(lost("a"), replica("b"), replica("c"), after=10.0)
    assert (run.step, run.topology.phase) == (Step.PAUSED, PAUSED)
    run.tell(ResumeAsked())
    run.look(lost("a"), replica("b"), replica("c"))
    run.look(lost("a"), replica("b"), replica("c"), after=0.5)
    assert run.step is Step.FENCING


def test_who_is_made_primary_during_a_pause_is_remembered():
    run = paused()
    run.look(lost("a"), primary("b", timeline=2), replica("c"))
    assert (run.state.primary, run.state.timeline) == ("b", 2)


def test_an_order_is_refused_where_there_is_nothing_to_take_back():
    run = serving()
    run.tell(ResumeAsked())
    assert (run.step, run.told) == (Step.WATCHING, "not while watching: nothing is under way")


# --- the table ----------------------------------------------------------------------------------------------


def test_every_step_can_be_left():
    for one in Step:
        assert one in TIMEOUTS or any(step is one for step, _ in HANDLERS)


def test_every_step_that_waits_for_an_answer_has_a_limit_or_an_operator():
    waiting = {step for step, event in HANDLERS if event is Done}
    assert waiting - set(TIMEOUTS) == {Step.PAUSED}
