"""A backend that comes back cold: slow at first, faster with every request that it has served.

Twenty servers, 600 calls/s, 51 % busy when warm. While it is down every call is refused at once. After
the repair a call takes up to six times as long, and the extra decays with the number of requests served
since then, not with time: a breaker that sends nothing warms nothing, one that sends everything drowns
it. Unlike ``backend`` the speed depends on what was served, so this is a loop over single events.
"""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush

from benchmarks.simulation.faults import BASE_ERRORS, REFUSED_AFTER_S, SLOW_BOUND_S, TIMEOUT_S
from benchmarks.simulation.rules import Rule
from benchmarks.simulation.traces import work_table


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """The numbers of the scenario; ``warm_after`` is how many requests take the extra down to 1/e."""

    rate: float = 600.0
    servers: int = 20
    cold_factor: float = 6.0
    warm_after: float = 6000.0
    down_at: float = 30.0
    down_s: float = 30.0
    watch_s: float = 200.0

    @property
    def repaired_at(self) -> float:
        """When the backend answers again."""
        return self.down_at + self.down_s

    @property
    def horizon(self) -> float:
        """When counting ends."""
        return self.repaired_at + self.watch_s


@dataclass
class Recovery:
    """What happened after the repair. Times are seconds after it; ``inf`` if it never happened."""

    first_traffic_s: float = math.inf
    full_s: float = math.inf
    reopenings: int = 0
    slow: int = 0
    refused: int = 0
    sent: int = 0
    shares: list[tuple[float, float, bool]] = field(default_factory=list)


_ARRIVAL, _SERVED, _TIMEOUT, _REFUSED = 0, 1, 2, 3


@dataclass(slots=True)
class _Call:
    """One admitted call."""

    came: float
    ticket: object
    answered: bool = False


class _Simulation:
    """One run of the scenario."""

    def __init__(self, rule: Rule, scenario: Scenario, seed: int) -> None:
        self.rule = rule
        self.scenario = scenario
        # A stream each, so that two ways back meet the same arrivals and the n-th request served is the same
        # piece of work in both: what differs is then the ramp's doing (common random numbers: A. Law,
        # Simulation Modeling and Analysis, chapter 11).
        self.gap = random.Random(f"cold-cache/{seed}/arrivals").random
        self.piece = random.Random(f"cold-cache/{seed}/work").random
        self.luck = random.Random(f"cold-cache/{seed}/errors").random
        self.work = work_table(1 << 14)
        self.events: list[tuple[float, int, int, _Call | None]] = []
        self.order = 0
        self.queue: deque[_Call] = deque()
        self.busy = 0
        self.served = 0
        self.out = Recovery()
        self.was_open = False

    def push(self, at: float, kind: int, call: _Call | None) -> None:
        self.order += 1
        heappush(self.events, (at, kind, self.order, call))

    def service_s(self) -> float:
        extra = (self.scenario.cold_factor - 1) * math.exp(-self.served / self.scenario.warm_after)
        return self.work[int(self.piece() * len(self.work))] * (1 + extra)

    def run(self) -> Recovery:
        self.served = 10**9
        self.push(0.0, _ARRIVAL, None)
        rule, horizon = self.rule, self.scenario.horizon
        while True:
            due = rule.next_due
            if due < self.events[0][0]:
                if due > horizon:
                    break
                rule.poll(due)
                self.watch(due)
                continue
            now, kind, _, call = heappop(self.events)
            if now > horizon:
                break
            if call is None:
                self.arrive(now)
            elif kind == _SERVED:
                self.leave(now, call)
            else:
                self.answer(now, call, ok=False)
            self.watch(now)
        return self.out

    def arrive(self, now: float) -> None:
        self.push(now - math.log(1.0 - self.gap()) / self.scenario.rate, _ARRIVAL, None)
        scenario, out = self.scenario, self.out
        after = now >= scenario.repaired_at
        ticket = self.rule.admit(now)
        if after:
            out.shares.append((now, getattr(self.rule, "share", math.nan), ticket is not None))
        if ticket is None:
            out.refused += after
            return
        out.sent += after
        call = _Call(now, ticket)
        if scenario.down_at <= now < scenario.repaired_at:
            self.served = 0
            self.push(now + REFUSED_AFTER_S, _REFUSED, call)
            return
        self.push(now + TIMEOUT_S, _TIMEOUT, call)
        if self.busy < scenario.servers:
            self.serve(now, call)
        else:
            self.queue.append(call)

    def serve(self, now: float, call: _Call) -> None:
        self.busy += 1
        self.push(now + self.service_s(), _SERVED, call)

    def leave(self, now: float, call: _Call) -> None:
        self.busy -= 1
        self.served += 1
        self.answer(now, call, ok=self.luck() >= BASE_ERRORS)
        while self.queue:
            waiting = self.queue.popleft()
            if now - waiting.came < TIMEOUT_S:
                self.serve(now, waiting)
                return

    def answer(self, now: float, call: _Call, *, ok: bool) -> None:
        if call.answered:
            return
        call.answered = True
        self.rule.settle(call.ticket, "ok" if ok else "failed", call.came, now)
        if call.came >= self.scenario.repaired_at:
            self.out.slow += now - call.came > SLOW_BOUND_S

    def watch(self, now: float) -> None:
        out, after = self.out, now - self.scenario.repaired_at
        is_open = self.rule.is_open
        if after >= 0:
            if is_open and not self.was_open:
                out.reopenings += 1
            if not is_open and out.first_traffic_s == math.inf:
                out.first_traffic_s = after
            full = not is_open and getattr(self.rule, "share", 1.0) >= 1.0
            if not full:
                out.full_s = math.inf
            elif out.full_s == math.inf:
                out.full_s = after
        self.was_open = is_open


def recover(rule: Rule, scenario: Scenario, seed: int) -> Recovery:
    """Run the scenario once."""
    return _Simulation(rule, scenario, seed).run()
