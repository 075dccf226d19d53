"""Breakers in every state, driven on virtual time; shared by the tests of the breaker and its parts."""

from typing import Any

from seawall.kernel.errors import Outcome
from seawall.kernel.signals import BreakerChanged, Hub, Signal, Subscription
from seawall.resilience.breaker import CircuitBreaker
from seawall.resilience.policy import Breaker, Ramp
from seawall.resilience.states import Enforcement, Override, State
from seawall.resilience.windows import Ticket

CALL_S = 0.01
FIXED = Ramp(kind="fixed", duration="10s", step="10%")
AT_ONCE = Ramp(kind="none")


class Driven:
    """A breaker, its clock and what it announces."""

    def __init__(self, *, probing: bool = False, rng: Any = None, **policy: Any) -> None:
        self.now = 100.0
        self.hub = Hub()
        self.heard: Subscription = self.hub.subscribe()
        self.policy = {"open_for": "5s", "open_for_max": "60s", "p95": "500ms"} | policy
        self.breaker = CircuitBreaker(
            Breaker(**self.policy).rules(),
            name="db",
            key="k",
            now=self.now,
            rng=rng,
            hub=self.hub,
            probing=probing,
        )

    def signals(self, *types: type[Signal]) -> list[Any]:
        return [signal for signal in self.heard.take() if isinstance(signal, types or Signal)]

    def moves(self) -> list[tuple[str, str]]:
        return [(signal.old, signal.new) for signal in self.signals(BreakerChanged)]

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.breaker.poll(self.now)

    def admit(self) -> Ticket:
        ticket = self.breaker.admit(self.now)
        assert ticket is not None
        return ticket

    def call(self, outcome: Outcome = Outcome.OK, lasts_s: float = CALL_S) -> bool:
        """One call after another; false if it was rejected."""
        started = self.now
        ticket = self.breaker.admit(started)
        self.now += lasts_s
        if ticket is None:
            return False
        self.breaker.settle(ticket, outcome, started, self.now)
        return True

    def calls(self, number: int, outcome: Outcome = Outcome.OK, lasts_s: float = CALL_S) -> int:
        return sum(self.call(outcome, lasts_s) for _ in range(number))

    def open(self) -> "Driven":
        while self.breaker.state is not State.OPEN:
            self.call(Outcome.FAILED)
        return self

    def half_open(self) -> "Driven":
        self.open()
        self.now = self.breaker.next_due
        self.breaker.poll(self.now)
        assert self.breaker.state is State.HALF_OPEN
        return self

    def ramping(self) -> "Driven":
        self.half_open()
        while self.breaker.state is State.HALF_OPEN:
            self.call()
        assert self.breaker.state is State.RAMPING
        return self

    def put(self, state: State) -> "Driven":
        steps = {State.OPEN: self.open, State.HALF_OPEN: self.half_open, State.RAMPING: self.ramping}
        return steps[state]() if state in steps else self

    def force(self, mode: Enforcement, for_s: float = 60.0) -> None:
        self.breaker.force(Override(mode, "ada", "maintenance", self.now + for_s), self.now)
