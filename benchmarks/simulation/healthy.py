"""Key-hours of a healthy backend, in a loop cheap enough for two hundred of them.

The model is that of ``episodes`` without a fault (same arrivals, service times, errors and pool), with
everything that cannot matter left out of the loop. Blocks have their own seeds, so hours add up over runs
and over processes; a block counts only for the generator and the engine that it was run with.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from heapq import heapify, heappop, heappush, heapreplace

from benchmarks.simulation.faults import SERVERS, TIMEOUT_S
from benchmarks.simulation.rules import Rule
from benchmarks.simulation.traces import work_table

QUIET_RPS = 20.0
"""Below this rate the rule is also polled between calls; above it its calls come often enough."""


@dataclass(frozen=True)
class Block:
    """One stretch of healthy traffic on one key."""

    rate: float
    errors: float
    seed: int
    hours: float
    calls: int
    failed: int
    opens: int

    def as_json(self) -> dict[str, float | int]:
        """Return the block as plain data."""
        return asdict(self)


def poll_until(rule: Rule, now: float) -> None:
    """Poll ``rule`` whenever it asked for it before ``now``."""
    while (due := rule.next_due) <= now:
        rule.poll(due)


def run_block(make: Callable[[], Rule], *, rate: float, errors: float, hours: float, seed: int) -> Block:
    """Run one key for ``hours`` at ``rate`` calls/s with a share ``errors`` of failures."""
    rule = make()
    rng = random.Random(f"healthy/{rate}/{errors}/{seed}").random
    work = work_table()
    size = len(work)
    free = [-math.inf] * SERVERS
    heapify(free)
    pending: list[tuple[float, float, str, object]] = []
    admit, settle, log = rule.admit, rule.settle, math.log
    horizon = hours * 3600.0
    scale = -1.0 / rate
    quiet = rate <= QUIET_RPS
    calls = failed = opens = 0
    was_open = False
    now = 0.0
    while True:
        now += scale * log(1.0 - rng())
        while pending and pending[0][0] <= now:
            ended, started, fate, ticket = heappop(pending)
            if quiet:
                poll_until(rule, ended)
            settle(ticket, fate, started, ended)
        if now >= horizon:
            break
        if quiet:
            poll_until(rule, now)
        calls += 1
        ticket = admit(now)
        if ticket is None or was_open:
            is_open = rule.is_open
            opens += is_open and not was_open
            was_open = is_open
            if ticket is None:
                continue
        idle = free[0]
        start = max(idle, now)
        ended = start + work[int(rng() * size)]
        heapreplace(free, ended)
        if rng() < errors:
            failed += 1
            fate = "failed"
        else:
            fate = "ok"
        if ended - now > TIMEOUT_S:
            ended, fate = now + TIMEOUT_S, "failed"
        heappush(pending, (ended, now, fate, ticket))
    return Block(rate, errors, seed, hours, calls, failed, opens)
