"""The hub against a model: nothing is lost uncounted, and no subscriber can hurt a publisher."""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from seawall.kernel.signals import (
    BreakerRefused,
    CallRefused,
    Hub,
    RampMoved,
    RateRefused,
    Signal,
    Subscription,
)

KINDS = {
    "ramp": lambda at: RampMoved(at=at, name="db", old=0.0, share=0.1),
    "breaker": lambda at: BreakerRefused(at=at, name="db"),
    "rate": lambda at: RateRefused(at=at, name="db"),
}


class Listener:
    """What a subscription should hold."""

    def __init__(self, types, capacity, raises):
        self.types = types
        self.raises = raises
        self.queue = deque(maxlen=capacity)
        self.offered = 0
        self.delivered = 0
        self.rings = 0
        self.armed = True
        self.subscription: Subscription | None = None

    def on_ready(self):
        self.rings += 1
        if self.raises:
            raise RuntimeError("a broken subscriber")

    def expect(self, signal):
        if isinstance(signal, self.types or (Signal,)):
            self.offered += 1
            self.queue.append(signal)


class HubMachine(RuleBasedStateMachine):
    listeners = Bundle("listeners")

    def __init__(self):
        super().__init__()
        self.hub = Hub()
        self.open = []
        self.everybody = []
        self.clock = 0.0

    @rule(
        target=listeners,
        types=st.sampled_from([(), (Signal,), (CallRefused,), (RampMoved, RateRefused), (BreakerRefused,)]),
        capacity=st.integers(1, 4),
        raises=st.booleans(),
    )
    def subscribe(self, types, capacity, raises):
        listener = Listener(types, capacity, raises)
        listener.subscription = self.hub.subscribe(*types, capacity=capacity, on_ready=listener.on_ready)
        self.open.append(listener)
        self.everybody.append(listener)
        return listener

    @rule(kind=st.sampled_from(sorted(KINDS)))
    def publish(self, kind):
        self.clock += 1.0
        signal = KINDS[kind](self.clock)
        rings_before = {listener: listener.rings for listener in self.open}
        offered_before = {listener: listener.offered for listener in self.open}
        for listener in self.open:
            listener.expect(signal)
        self.hub.publish(signal)
        for listener in self.open:
            offered = listener.offered > offered_before[listener]
            rung = listener.rings > rings_before[listener]
            # Whoever was offered something and has been told of nothing since its last take is told now.
            assert rung == (offered and listener.armed)
            if rung and not listener.raises:
                listener.armed = False

    @rule(listener=listeners, limit=st.none() | st.integers(0, 3))
    def take(self, listener, limit):
        expected = [
            listener.queue.popleft() for _ in range(min(len(listener.queue), 99 if limit is None else limit))
        ]
        assert listener.subscription.take(limit) == expected
        listener.delivered += len(expected)
        listener.armed = True

    @rule(listener=consumes(listeners))
    def close(self, listener):
        listener.subscription.close()
        self.open.remove(listener)

    @invariant()
    def everything_is_accounted_for(self):
        for listener in self.everybody:
            subscription = listener.subscription
            assert subscription.offered == subscription.delivered + subscription.dropped + subscription.queued
            assert subscription.offered == listener.offered
            assert subscription.delivered == listener.delivered
            assert subscription.queued == len(listener.queue) <= subscription.capacity
            assert subscription.errors == (listener.rings if listener.raises else 0)

    @invariant()
    def active_means_that_somebody_listens(self):
        assert self.hub.active is bool(self.open)
        assert self.hub.statistics().subscribers == len(self.open)


HubMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestHub = HubMachine.TestCase
