"""A primary is replaced only if others miss it as well."""

import pytest

from seawall.proxy.failover.orders import AskWitnesses, Publish, Tick
from seawall.proxy.failover.plan import RETRY_S
from seawall.proxy.failover.promotion import Step
from seawall.proxy.failover.replacing import WITNESS_TIMEOUT_S
from seawall.proxy.topology import Phase
from tests.proxy.failover.plans import lost, primary, replica, suspecting

SERVING, HOLDING = Phase.SERVING, Phase.HOLDING


def asking(*witnesses):
    run = suspecting(sole_proxy=False, witnesses=witnesses)
    run.look(lost("a"), replica("b"), replica("c"), after=0.5)
    assert (run.step, run.kinds) == (Step.ASKING, [AskWitnesses])
    assert run.ordered(AskWitnesses).node == "a"
    return run


@pytest.mark.parametrize(
    ("witnesses", "unreachable", "agreed"),
    [(1, 0, False), (1, 1, True), (1, 9, True), (2, 0, False), (2, 1, True), (3, 1, False), (3, 2, True)],
)
def test_most_have_to_miss_it(witnesses, unreachable, agreed):
    run = asking(*[f"proxy-{number}:6432" for number in range(witnesses)])
    run.witnessed(run.ordered(AskWitnesses), unreachable)
    assert run.step is (Step.FENCING if agreed else Step.HELD)
    assert run.state.agreed is agreed


def test_why_there_is_no_quorum_is_told():
    run = asking("proxy:6432")
    run.witnessed(run.ordered(AskWitnesses), 0, "proxy:6432 reaches it")
    assert run.topology.reason == "a is gone, but only for 1 of 2 proxies: proxy:6432 reaches it"
    run = asking("proxy:6432")
    run.witnessed(run.ordered(AskWitnesses), 0)
    assert run.topology.reason == "a is gone, but only for 1 of 2 proxies"


def test_witnesses_that_do_not_answer_do_not_agree():
    run = asking("proxy:6432")
    question = run.ordered(AskWitnesses)
    run.now += WITNESS_TIMEOUT_S
    run.tell(Tick())
    assert (run.step, run.topology.reason) == (Step.HELD, "a is gone, but its witnesses don't answer")
    run.witnessed(question, 1)
    assert run.step is Step.HELD


def test_a_primary_that_is_back_needs_no_witness():
    run = asking("proxy:6432")
    question = run.ordered(AskWitnesses)
    run.look(primary("a"), replica("b"), replica("c"))
    assert (run.step, run.serves) == (Step.WATCHING, (SERVING, "a"))
    run.witnessed(question, 1)
    assert (run.step, run.kinds) == (Step.WATCHING, [])


def held():
    run = suspecting(sole_proxy=False)
    run.look(lost("a"), replica("b"), replica("c"), after=0.5)
    assert (run.step, run.kinds) == (Step.HELD, [])
    assert run.serves == (HOLDING, None)
    assert run.topology.reason == "a is gone; there is neither sole_proxy nor a witness"
    return run


def test_without_a_quorum_it_is_said_once_and_tried_again():
    run = held()
    assert run.told
    run.look(lost("a"), replica("b"), replica("c"), after=RETRY_S)
    assert run.step is Step.SUSPECTING
    assert "neither" in run.topology.reason
    run.look(lost("a"), replica("b"), replica("c"))
    assert (run.step, run.fresh) == (Step.HELD, [])


@pytest.mark.parametrize("who", ["a", "b"])
def test_whoever_becomes_primary_ends_the_wait(who):
    run = held()
    looks = {"a": [primary("a"), replica("b")], "b": [lost("a"), primary("b", timeline=2)]}
    run.look(*looks[who])
    assert (run.step, run.serves, run.fresh[0]) == (Step.WATCHING, (SERVING, who), Publish(None))
