"""Whatever fails, and whenever: a plan promotes nobody it must not, and comes to an end."""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seawall.proxy.election import Policy
from seawall.proxy.failover.orders import (
    AskWitnesses,
    CutConnections,
    Done,
    Fence,
    Numbered,
    PauseAsked,
    Promote,
    Rejoin,
    ResumeAsked,
    ResumeWorkers,
    SwitchoverAsked,
    Tick,
    WaitReplayed,
    Witnessed,
)
from seawall.proxy.failover.promotion import Step
from seawall.proxy.topology import NodeRole, Observation, Phase
from tests.proxy.failover.plans import SYSTEM, Run

NAMES = st.sampled_from("abc")
LOOKS_MAX = 150
"""After the last fault, half a second apart: enough for every limit, one after another."""

BETWEEN = {Step.FENCING, Step.RANKING, Step.PROMOTING, Step.WAITING, Step.DISCARDING, Step.VERIFYING}
"""Of two primaries."""


@dataclass
class Server:
    """One server, as it really is."""

    name: str
    up: bool = True
    silent: bool = False
    starting: bool = False
    fenced: bool = False
    in_recovery: bool = True
    promoting: bool = False
    slow: bool = False
    """It was told to become a primary, and takes its time."""
    timeline: int = 1
    lsn: int = 100
    system: int = SYSTEM
    misses: int = 0
    answered_at: float = 0.0

    @property
    def writes(self):
        return self.up and not self.in_recovery

    def observe(self, now):
        facts = {
            "in_recovery": self.in_recovery,
            "timeline": self.timeline,
            "system_identifier": self.system,
            "write_lsn": None if self.in_recovery else self.lsn,
            "receive_lsn": self.lsn if self.in_recovery else None,
            "replay_lsn": self.lsn,
            "connected_since": 1.0,
        }
        if self.up and not self.silent:
            self.answered_at = now
        facts["answered_at"] = self.answered_at
        self.misses = self.misses + 1 if self.up and self.silent else 0
        if not self.up:
            sqlstate = "57P03" if self.starting else ""
            return Observation(name=self.name, refused=True, text="refused", sqlstate=sqlstate, **facts)
        if self.silent:
            return Observation(name=self.name, misses=self.misses, text="no answer", **facts)
        return Observation(name=self.name, reachable=True, **facts)


class Plans(RuleBasedStateMachine):
    """Three servers, a stray one, and a plan whose orders are carried out, or not, sooner or later."""

    @initialize(
        sole_proxy=st.booleans(),
        witnesses=st.integers(0, 3),
        hooks=st.booleans(),
        stray=st.booleans(),
        answers=st.integers(0, 5),
    )
    def begin(self, sole_proxy, witnesses, hooks, stray, answers):
        self.servers = {name: Server(name) for name in "abc"}
        self.servers["a"].in_recovery = False
        if stray:
            self.servers["d"] = Server("d", system=8, lsn=10_000)
        self.hooks = hooks
        self.run = Run(
            policy=Policy(multi_primary=False),
            sole_proxy=sole_proxy,
            can_fence=hooks,
            witnesses=tuple(f"proxy-{number}:6432" for number in range(witnesses)),
        )
        self.pending = []
        """Orders that have not been answered."""
        self.forget()
        self.served = [("a", 1)]
        self.look()
        assert self.run.serves == (Phase.SERVING, "a")
        if answers:
            self.the_primary_dies()
        for _ in range(answers - 1):
            self.servers["b"].slow = True
            while self.pending:
                self.carry_out(self.pending.pop(0), ok=True)
            self.look()

    def forget(self):
        """A plan is over."""
        self.agreed = False
        self.fenced = {}
        self.promoted = set()

    # --- what is ordered ------------------------------------------------------------------------------

    def heed(self):
        """Look into what was just ordered, before anything is carried out."""
        run, cut = self.run, None
        for action in run.fresh:
            if isinstance(action, CutConnections):
                cut = action.node
            if isinstance(action, Fence):
                assert cut == action.node
            if isinstance(action, Promote):
                self.check_promotion(action.node)
                self.promoted.add(action.node)
            if isinstance(action, Numbered):
                self.pending.append(action)
        if run.step is Step.WATCHING:
            self.forget()
            assert not run.state.drained
        if run.step is Step.HELD:
            assert ResumeWorkers not in run.kinds or not run.state.drained
            self.agreed = False

    def check_promotion(self, name):
        server, state = self.servers[name], self.run.state
        seen = next(one for one in self.run.last if one.name == name)
        assert self.agreed or self.run.rules.sole_proxy
        assert state.primary in self.fenced
        assert server.system == SYSTEM
        assert seen.in_recovery
        assert seen.timeline >= state.timeline
        assert not seen.gone
        assert seen.answered_at >= self.fenced[state.primary]
        assert self.promoted - {name} <= set(self.fenced), "another one may yet become a primary"

    def tell(self, event):
        self.run.tell(event)
        self.heed()

    def look(self, after=0.1):
        self.happen()
        now = self.run.now + after
        self.run.look(*[one.observe(now) for one in self.servers.values()], after=after)
        self.heed()
        phase, primary = self.run.serves
        if phase is Phase.SERVING:
            timeline = self.run.topology.timeline
            if (primary, timeline) != self.served[-1]:
                assert timeline > self.served[-1][1], "a new primary writes a new timeline"
                self.served.append((primary, timeline))

    def happen(self):
        """Replicas follow, and those that were told become primaries."""
        top = max((one for one in self.servers.values() if one.writes), key=_timeline, default=None)
        for one in self.servers.values():
            if one.up and one.in_recovery and one.promoting and not one.slow:
                one.timeline, one.in_recovery, one.promoting = one.timeline + 1, False, False
            elif one.up and one.in_recovery and top is not None and one.system == SYSTEM:
                one.timeline = max(one.timeline, top.timeline)

    def carry_out(self, action, ok):
        """What an order does, and its answer."""
        if isinstance(action, AskWitnesses):
            unreachable = len(self.run.rules.witnesses) if ok else 0
            if action == self.run.state.awaited and 2 * (1 + unreachable) > 1 + len(self.run.rules.witnesses):
                self.agreed = True
            return self.tell(Witnessed(action, unreachable))
        if ok and isinstance(action, Fence):
            if self.hooks:
                self.stop(self.servers[action.node], clean=action.clean)
            if action == self.run.state.awaited:
                self.fenced[action.node] = self.run.now
        if isinstance(action, Promote) and not ok:
            self.promoted.discard(action.node)
        if isinstance(action, Promote) and ok:
            self.servers[action.node].promoting = not self.servers[action.node].fenced
        if isinstance(action, WaitReplayed) and self.servers[action.node].lsn < action.lsn:
            ok = False
        if isinstance(action, Rejoin) and ok:
            server, leader = self.servers[action.node], self.servers[action.primary]
            server.up, server.fenced, server.in_recovery, server.promoting = True, False, True, False
            server.silent, server.timeline, server.lsn = False, leader.timeline, leader.lsn
        return self.tell(Done(action, ok, "" if ok else "no way"))

    def stop(self, server, *, clean):
        if clean and server.writes:
            for one in self.servers.values():
                if one.up and one.in_recovery and one.timeline == server.timeline:
                    one.lsn = max(one.lsn, server.lsn)
        server.up, server.fenced, server.promoting = False, True, False
        self.pending = [
            one for one in self.pending if not (isinstance(one, Promote) and one.node == server.name)
        ]

    # --- what happens ---------------------------------------------------------------------------------

    @rule(after=st.sampled_from([0.1, 0.1, 0.3, 1.0, 5.0]))
    def time_passes(self, after):
        self.look(after)

    @rule(after=st.sampled_from([0.1, 1.0, 40.0]))
    def nobody_looks(self, after):
        self.run.now += after
        self.tell(Tick())

    @rule(name=NAMES, starting=st.booleans())
    def die(self, name, starting):
        self.servers[name].up, self.servers[name].starting = False, starting
        self.servers[name].promoting = False

    @rule()
    def the_primary_dies(self):
        server = self.servers[self.run.state.primary]
        server.up = server.promoting = False
        self.look()
        self.look(0.6)

    @rule(name=NAMES)
    def come_back(self, name):
        if not self.servers[name].fenced:
            self.servers[name].up, self.servers[name].silent = True, False

    @rule(name=NAMES, slow=st.booleans())
    def take_time(self, name, slow):
        self.servers[name].slow = slow

    @precondition(lambda self: self.run.step in {Step.PROMOTING, Step.WAITING})
    @rule(dies=st.booleans(), fenced=st.booleans(), back=st.booleans())
    def the_candidate_fails(self, dies, fenced, back):
        """It dies, or is slow; and perhaps it can't be fenced either, and is back, and behind the other."""
        target = self.servers[self.run.state.target]
        if dies:
            target.up = target.silent = False
            self.look()
        else:
            target.slow = True
            self.nobody_looks(40.0)
        if self.run.step is Step.DISCARDING:
            self.carry_out(self.pending.pop(), fenced)
        if back:
            self.come_back(target.name)
            self.servers["c" if target.name == "b" else "b"].lsn += 50

    @rule(name=NAMES, silent=st.booleans())
    def hang(self, name, silent):
        self.servers[name].silent = silent

    @rule(name=NAMES)
    def write(self, name):
        if self.servers[name].writes:
            self.servers[name].lsn += 10

    @rule(name=NAMES)
    def receive(self, name):
        server = self.servers[name]
        for one in self.servers.values():
            if one.writes and server.up and server.in_recovery and server.timeline == one.timeline:
                server.lsn = max(server.lsn, one.lsn)

    @precondition(lambda self: self.pending)
    @rule(pick=st.integers(0, 3), ok=st.sampled_from([True, True, True, False]))
    def answer(self, pick, ok):
        self.carry_out(self.pending.pop(-1 - pick % len(self.pending)), ok)

    @precondition(lambda self: self.pending)
    @rule()
    def all_goes_well(self):
        for _ in range(6):
            while self.pending:
                self.carry_out(self.pending.pop(0), ok=True)
            self.look()

    @rule(to=st.sampled_from(["", "b", "c"]))
    def switch_over(self, to):
        before = self.run.step
        self.tell(SwitchoverAsked(to))
        if before is Step.WATCHING and self.run.step is Step.CHECKPOINTING:
            self.agreed = True

    @rule(pause=st.booleans())
    def pause(self, pause):
        self.tell(PauseAsked() if pause else ResumeAsked())

    # --- what must always hold ------------------------------------------------------------------------

    @invariant()
    def nobody_is_served_who_is_no_primary(self):
        topology = self.run.topology
        assert topology.reason
        if topology.phase not in {Phase.SERVING, Phase.REPLAYING}:
            return
        writers = [
            one.name
            for one in self.run.last
            if not one.gone and not one.in_recovery and one.system_identifier == SYSTEM
        ]
        highest = [
            name
            for name in writers
            if topology.node(name).timeline >= topology.node(topology.primary).timeline
        ]
        assert highest == [topology.primary]
        assert topology.node(topology.primary).role is NodeRole.PRIMARY

    @invariant()
    def nobody_is_served_while_another_one_may_become_primary(self):
        if self.run.step in BETWEEN:
            assert self.run.topology.phase in {Phase.HOLDING, Phase.PAUSED}
        if self.run.topology.phase is Phase.SERVING:
            told = {one.node for one in self.pending if isinstance(one, Promote)}
            told |= {one.name for one in self.servers.values() if one.promoting}
            assert told <= {self.run.topology.primary}

    @invariant()
    def no_two_write_one_timeline(self):
        timelines = [one.timeline for one in self.servers.values() if one.writes and one.system == SYSTEM]
        assert len(set(timelines)) == len(timelines)

    def teardown(self):
        """No more faults, and every order is carried out: within so many steps it serves or says why not."""
        if not hasattr(self, "run"):
            return
        for server in self.servers.values():
            server.silent = server.slow = False
        for _ in range(LOOKS_MAX):
            while self.pending:
                self.carry_out(self.pending.pop(0), ok=True)
            self.look(0.5)
            if self.run.step is Step.WATCHING and self.run.serves[0] is Phase.SERVING and not self.pending:
                break
        phase, _ = self.run.serves
        if self.run.step is Step.PAUSED:
            assert phase is Phase.PAUSED
            return
        if self.could_serve():
            assert (phase, self.run.step) == (Phase.SERVING, Step.WATCHING), self.run.topology.reason
        assert phase in {Phase.SERVING, Phase.HOLDING}
        assert self.run.topology.reason

    def could_serve(self):
        """Whether there is a primary, or a way to one."""
        state, rules = self.run.state, self.run.rules
        if state.doubtful and not self.hooks and not self.servers[state.doubtful].up:
            return False
        ours = [one for one in self.servers.values() if one.system == SYSTEM]
        writers = sorted((one.timeline for one in ours if one.writes), reverse=True)
        if writers:
            return writers[:2].count(writers[0]) == 1 and writers[0] >= self.run.topology.timeline
        able = any(one.up and one.timeline >= state.timeline for one in ours)
        return able and (rules.sole_proxy or rules.witnesses) and not self.servers[state.primary].up


def _timeline(server):
    return server.timeline


TestPlans = Plans.TestCase
TestPlans.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
