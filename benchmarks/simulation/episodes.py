"""Replaying one episode against one rule, and scoring what came of it.

The loop knows four kinds of events: a call arrives, a call ends, the rule asked to be polled, an active
probe ends. An active probe goes to the same backend as a query would, on its own connection: it waits
for a server, it meets the same fault, and it gives up after the rule's probe timeout.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from benchmarks.simulation.backend import Backend, Schedule
from benchmarks.simulation.faults import REFUSED_AFTER_S, SLOW_BOUND_S, TIMEOUT_S
from benchmarks.simulation.rules import Never, Rule
from benchmarks.simulation.traces import Fate, Trace, draw_call


class Pending(NamedTuple):
    """A call or a probe under way, ordered by when it ends."""

    ends: float
    order: int
    started: float
    fate: str
    ticket: object


@dataclass
class Outcome:
    """What one rule did in one episode."""

    openings: list[float] = field(default_factory=list)
    bad: list[bool] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    bad_sent: int = 0
    probes: int = 0


class _Replay:
    """The state of one replay; ``run`` is the loop."""

    def __init__(self, trace: Trace, rule: Rule, *, probing: bool) -> None:
        self.trace = trace
        self.rule = rule
        self.probing = probing
        self.backend = Backend(trace.fault.servers, Schedule(trace.fault.steps(trace.fault_at)), TIMEOUT_S)
        self.pending: list[Pending] = []
        self.order = 0
        self.out = Outcome()
        self.was_open = False
        self.rng = random.Random(f"probes/{trace.seed}")

    def run(self) -> Outcome:
        out, admit = self.out, self.rule.admit
        for index, (now, work, fate) in enumerate(self.trace.calls):
            self.advance(now)
            ticket = admit(now)
            if ticket is None:
                out.refused.append(index)
                out.bad.append(False)
            else:
                ends, result = self.answer(now, work, fate, TIMEOUT_S)
                self.push(ends, now, result, ticket)
                bad = result == "failed" or ends - now > SLOW_BOUND_S
                out.bad.append(bad)
                out.bad_sent += bad
            self.watch(now)
            if self.probing:
                self.probe(now)
        self.advance(self.trace.horizon)
        return out

    def answer(self, now: float, work: float, fate: int, timeout_s: float) -> tuple[float, str]:
        """Return when the client learns the result of a call sent now, and the result."""
        if fate == Fate.REFUSED:
            return now + REFUSED_AFTER_S, "failed"
        ends = math.inf if fate == Fate.HUNG else self.backend.submit(now, work)
        if ends - now > timeout_s:
            return now + timeout_s, "failed"
        return ends, "ok" if fate == Fate.GOOD else "ignored" if fate == Fate.IGNORED else "failed"

    def push(self, ends: float, started: float, fate: str, ticket: object) -> None:
        self.order += 1
        heappush(self.pending, Pending(ends, self.order, started, fate, ticket))

    def advance(self, until: float) -> None:
        """Deliver what ends and what is due up to ``until``, in order."""
        rule, pending = self.rule, self.pending
        while True:
            due = rule.next_due
            ends = pending[0].ends if pending else math.inf
            if min(due, ends) > until:
                return
            if ends <= due:
                done = heappop(pending)
                if done.ticket is self:
                    rule.probed(done.fate == "ok", ends)
                else:
                    rule.settle(done.ticket, done.fate, done.started, ends)
                self.watch(ends)
            else:
                rule.poll(due)
                self.watch(due)
                if rule.next_due <= due:
                    raise RuntimeError(f"{rule!r}: next_due stays at {due}; poll must move it on")

    def watch(self, now: float) -> None:
        """Note an opening."""
        is_open = self.rule.is_open
        if is_open and not self.was_open:
            self.out.openings.append(now)
        self.was_open = is_open

    def probe(self, now: float) -> None:
        """Start an active probe where the rule suspects the backend; asked at each call, as guards do."""
        if not self.rule.suspects(now):
            return
        self.out.probes += 1
        inside = self.trace.fault_at <= now < self.trace.repaired_at
        work, fate = draw_call(self.trace.fault if inside else None, self.rng)
        ends, result = self.answer(now, work, fate, self.rule.probe_timeout_s)
        self.push(ends, now, result, self)


def replay(trace: Trace, rule: Rule, *, probing: bool = False) -> Outcome:
    """Run ``rule`` through ``trace`` and return what it did."""
    return _Replay(trace, rule, probing=probing).run()


@dataclass
class Score:
    """One rule over the episodes of one model. Delays are seconds from harm onset."""

    episodes: int = 0
    delays: list[float] = field(default_factory=list)
    early: int = 0
    opened: int = 0
    healthy_s: float = 0.0
    regret: list[float] = field(default_factory=list)
    reopenings: int = 0
    probes: int = 0

    def missed(self, within_s: float) -> float:
        """Return the share of episodes not detected ``within_s`` of harm onset."""
        judged = self.episodes - self.early
        seen = sum(1 for delay in self.delays if delay <= within_s)
        return 1 - seen / judged if judged else math.nan


def oracle_cost(trace: Trace, bad: list[bool]) -> int:
    """Return the cost of the best all-or-nothing choice per second, known in hindsight."""
    bins: dict[int, list[int]] = {}
    for (now, _, _), is_bad in zip(trace.calls, bad, strict=True):
        cell = bins.setdefault(int(now), [0, 0])
        cell[is_bad] += 1
    return sum(min(good, worse) for good, worse in bins.values())


def score(
    traces: list[Trace], make: Callable[[], Rule], worlds: list[list[bool]], *, probing: bool = False
) -> Score:
    """Replay all ``traces`` with a fresh rule each; ``worlds`` say which calls go bad if all are sent."""
    total = Score()
    for trace, world in zip(traces, worlds, strict=True):
        out = replay(trace, make(), probing=probing)
        total.episodes += 1
        total.healthy_s += trace.fault_at
        total.probes += out.probes
        cost = out.bad_sent + sum(1 for index in out.refused if not world[index])
        total.regret.append(cost - oracle_cost(trace, world))
        early = [at for at in out.openings if at < trace.fault_at]
        total.early += bool(early)
        later = [at for at in out.openings if at >= trace.fault_at]
        total.opened += bool(later)
        if later and not early:
            total.delays.append(later[0] - trace.fault_at - trace.fault.onset_s)
        total.reopenings += max(0, len(later) - 1)
    return total


def worlds_of(traces: list[Trace]) -> list[list[bool]]:
    """Return, per trace, which calls go bad when every call is sent."""
    return [replay(trace, Never()).bad for trace in traces]
