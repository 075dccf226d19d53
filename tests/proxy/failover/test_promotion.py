"""Plans of promotions and switchovers, step by step."""

from seawall.proxy.election import Memory, Policy, elect
from seawall.proxy.failover.orders import Done, Fence, Looked, Promote, Rejoin, ReplayTurns
from seawall.proxy.failover.promotion import Step, begin, step
from seawall.proxy.settings import Authority, Failover
from seawall.proxy.topology import Observation, Phase

SYSTEM = 7


class Run:
    """A plan, the election beside it, and what was ordered."""

    def __init__(self, **rules):
        self.state = begin(Failover(authority=Authority.SELF, **rules))
        self.memory = Memory()
        self.now = 0.0
        self.actions = []

    def tell(self, event):
        self.state, actions = step(self.state, event, self.now)
        self.actions += actions

    def look(self, *observations, after=0.1):
        self.now += after
        fresh = [one if not one.reachable else self._fresh(one) for one in observations]
        self.topology, self.memory = elect(fresh, self.memory, policy=Policy(), ordered=self.state.published)
        self.tell(Looked(self.topology, tuple(fresh)))

    def _fresh(self, one):
        from dataclasses import replace

        return replace(one, answered_at=self.now)

    def done(self, kind, ok=True, detail=""):
        action = next(one for one in reversed(self.actions) if isinstance(one, kind))
        self.tell(Done(action, ok, detail))
        return action


def node(name, **facts):
    facts = {"reachable": True, "timeline": 1, "system_identifier": SYSTEM, "connected_since": 1.0} | facts
    return Observation(name=name, **facts)


def primary(name, **facts):
    return node(name, **{"in_recovery": False, "write_lsn": 100} | facts)


def replica(name, **facts):
    return node(name, **{"in_recovery": True, "receive_lsn": 100, "replay_lsn": 100} | facts)


def lost(name, **facts):
    return primary(name, **{"reachable": False, "refused": True, "text": "reset"} | facts)


def test_a_lost_primary_is_replaced():
    run = Run(sole_proxy=True)
    run.look(primary("a"), replica("b"))
    run.look(lost("a"), replica("b"))
    assert (run.topology.phase, run.topology.reason) == (Phase.HOLDING, "a: reset")
    run.look(lost("a"), replica("b"), after=1.0)
    assert run.state.step is Step.FENCING
    assert run.done(Fence).node == "a"
    run.look(lost("a"), replica("b"))
    assert run.done(Promote).node == "b"
    run.look(lost("a"), primary("b", timeline=2))
    run.look(lost("a"), primary("b", timeline=2))
    assert (run.topology.phase, run.topology.primary) == (Phase.REPLAYING, "b")
    run.done(ReplayTurns)
    run.look(lost("a"), primary("b", timeline=2))
    assert (run.topology.phase, run.topology.primary) == (Phase.SERVING, "b")
    assert run.done(Rejoin).node == "a"
    assert run.state.step is Step.WATCHING
