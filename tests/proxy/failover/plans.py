"""A plan with the election beside it, driven by hand: what is seen, what is answered, what was ordered."""

from dataclasses import replace

from seawall.proxy.election import Memory, Policy, elect
from seawall.proxy.failover.orders import Done, Looked, Numbered, Publish, Tell, Witnessed
from seawall.proxy.failover.promotion import Step, begin, step
from seawall.proxy.settings import Authority, Failover
from seawall.proxy.topology import Observation, Phase

SYSTEM = 7


class Run:
    """One plan."""

    def __init__(self, *, priorities=None, policy=None, can_fence=True, **rules):
        self.rules = Failover(**{"authority": Authority.SELF, "down_after_s": 0.5} | rules)
        self.state = begin(self.rules, priorities, can_fence=can_fence)
        self.policy = policy or Policy()
        self.memory = Memory()
        self.now = 100.0
        self.actions = []
        self.fresh = []
        """What the last event led to."""
        self.topology = None
        self.last = ()

    @property
    def step(self):
        return self.state.step

    @property
    def kinds(self):
        return [type(one) for one in self.fresh if not isinstance(one, (Tell, Publish))]

    @property
    def told(self):
        return "; ".join(one.text for one in self.fresh if isinstance(one, Tell))

    def tell(self, event):
        self.state, self.fresh = step(self.state, event, self.now)
        self.actions += self.fresh
        if any(isinstance(one, Publish) for one in self.fresh):
            self.elect()
        return self.fresh

    def elect(self):
        self.topology, self.memory = elect(
            self.last, self.memory, policy=self.policy, ordered=self.state.published
        )

    def look(self, *observations, after=0.1):
        """Time passes, and the servers are looked at."""
        self.now += after
        self.last = tuple(
            replace(one, answered_at=one.answered_at or self.now) if one.reachable else one
            for one in observations
        )
        self.elect()
        return self.tell(Looked(self.topology, self.last))

    def ordered(self, kind):
        """The last order of a kind."""
        return next(one for one in reversed(self.actions) if isinstance(one, kind))

    def done(self, kind, ok=True, detail=""):
        action = self.ordered(kind)
        assert isinstance(action, Numbered)
        self.tell(Done(action, ok, detail))
        return action

    def witnessed(self, action, unreachable, detail=""):
        return self.tell(Witnessed(action, unreachable, detail))

    @property
    def serves(self):
        return self.topology.phase, self.topology.primary


def node(name, **facts):
    usual = {"reachable": True, "timeline": 1, "system_identifier": SYSTEM, "connected_since": 1.0}
    return Observation(name=name, **usual | facts)


def primary(name, **facts):
    return node(name, **{"in_recovery": False, "write_lsn": 100} | facts)


def replica(name, **facts):
    return node(name, **{"in_recovery": True, "receive_lsn": 100, "replay_lsn": 100} | facts)


def lost(name, **facts):
    return primary(name, **{"reachable": False, "refused": True, "text": "reset"} | facts)


def serving(**rules):
    """The primary is a, b and c follow."""
    run = Run(**{"sole_proxy": True} | rules)
    run.look(primary("a"), replica("b"), replica("c"))
    assert (run.step, run.serves) == (Step.WATCHING, (Phase.SERVING, "a"))
    return run


def suspecting(**rules):
    run = serving(**rules)
    run.look(lost("a"), replica("b"), replica("c"))
    assert (run.step, run.serves, run.kinds) == (Step.SUSPECTING, (Phase.HOLDING, None), [])
    return run
