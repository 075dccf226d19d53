"""Schedules: what clients do and what befalls them, drawn by chance; what must be true afterwards."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.failing.model import Xact
from benchmarks.failing.world import Fault, World
from benchmarks.failing.world_clients import STYLES, SYNTHETIC, Talker, Txn, draw_txn

LIMIT_S = 90.0
"""Virtual seconds that a schedule may take."""
CUTS_PER_BASE = 24
"""Places at which one set of transactions is cut; all, if there are no more."""
OTHERS_PER_BASE = 16


@dataclass(frozen=True)
class Schedule:
    """All of it."""

    seed: int
    faults: tuple[Fault, ...] = ()
    clients: int = 1
    """Of those that the seed draws, the first so many."""
    txns: int = 3


@dataclass
class Result:
    """What came of a schedule."""

    complaints: list[str]
    outcomes: Counter[str]
    carried: list[dict[str, int]]
    lasted_s: float


def play(schedule: Schedule) -> Result:
    """Play one."""
    rng = random.Random(schedule.seed)
    drawn = rng.random
    world = World(
        random.Random(schedule.seed + 1),
        schedule.faults,
        size=rng.choice((1, 2, 3)),
        synchronous=drawn() < 0.6,
        lazy=drawn() < 0.15,
        lag_s=rng.choice((0.0, 0.05, 0.7)),
        chopped=drawn() < 0.5,
        replay=drawn() < 0.9,
        max_statements=rng.choice((1, 200)),
    )
    with world.patched():
        talkers = []
        for number in range(schedule.clients):
            own = random.Random(f"{schedule.seed} {number}")
            styles = (own.choice(STYLES),) if own.random() < 0.5 else STYLES
            txns = [draw_txn(own, f"c{number}t{count}", styles) for count in range(schedule.txns)]
            leaves = own.random() if own.random() < 0.05 else 0.0
            talkers.append(Talker(world, own, txns, leaves))
        began = world.clock.now
        done = world.run(lambda: all(one.over for one in talkers), LIMIT_S)
        lasted_s = world.clock.now - began
    complaints = [] if done else [one.waits() for one in talkers if not one.over]
    for one in talkers:
        complaints += one.complaints + _closed(world, one)
        for txn in one.txns:
            if txn.begun:
                complaints += judge(world, txn)
    complaints += left_behind(world) if done else []
    outcomes = Counter(_outcome(txn) for one in talkers for txn in one.txns if txn.begun)
    outcomes.update({f"case {name}": count for name, count in world.worker.rescue.counts.items()})
    return Result(complaints, outcomes, [one.carried for one in world.wires], lasted_s)


def _outcome(txn: Txn) -> str:
    if txn.acknowledged:
        return "acknowledged"
    for code in ("40001", "08007"):
        if code in txn.codes:
            return code
    return "not known to its client" if txn.unknown else "rolled back"


def _closed(world: World, talker: Talker) -> list[str]:
    """A connection may be closed only if half a message was under way, or because of what was said."""
    if not talker.closed or talker.client in world.split:
        return []
    return [f"a client was closed: {talker.fatal.get('C')} {talker.fatal.get('M')} {talker.fatal.get('D')}"]


def judge(world: World, txn: Txn) -> list[str]:
    """What is wrong with what a client was told of a transaction."""
    there = [one for one in world.cluster.primary.history() if txn.token in one.tokens and one.effects]
    runs = [one for one in world.cluster.runs if txn.token in one.tokens]
    if len(there) > 1:
        return [f"{txn.token}: it is in the history {len(there)} times; its client saw {txn.view}"]
    if txn.acknowledged:
        return _acknowledged(world, txn, there, runs)
    seen = _before_errors(txn)
    if seen and not any(one.log[: len(seen)] == seen for one in world.cluster.runs):
        return [f"{txn.token}: no run answered {seen}"]
    if there and not txn.unknown:
        return [f"{txn.token}: it is in the history, and its client saw {txn.view}"]
    if there and len(there[0].log) != len(txn.texts):
        return [f"{txn.token}: part of it is in the history: {there[0].log}"]
    return []


def _before_errors(txn: Txn) -> list[Any]:
    found: list[Any] = []
    for one in txn.view:
        if one[0] in SYNTHETIC:
            break
        found.append(one)
    if found and found[-1] == ("ROLLBACK", ()):
        found.pop()  # also answered where there is nothing to be rolled back any more
    return found


def _acknowledged(world: World, txn: Txn, there: list[Xact], runs: list[Xact]) -> list[str]:
    if not txn.writes or not any(one.effects for one in runs):
        # One that wrote nothing may be told so without its COMMIT: there is nothing that it could lose.
        if any([*one.log, ("COMMIT", ())][: len(txn.view)] == txn.view for one in world.cluster.runs):
            return []
        return [f"{txn.token}: no run answered {txn.view}"]
    if any(not one.effects and [*one.log, ("COMMIT", ())][: len(txn.view)] == txn.view for one in runs):
        return []  # what it wrote was rolled back to a savepoint, in the run that its client saw
    if there:
        if there[0].log != txn.view:
            return [f"{txn.token}: its client saw {txn.view}, the history has {there[0].log}"]
        return []
    cluster = world.cluster
    lossy = not cluster.synchronous or cluster.lazy
    if lossy and any(id(one) in cluster.delivered and one.log == txn.view for one in runs):
        return []  # a server told so, and lost it afterwards
    return [f"{txn.token}: acknowledged, and not in the history; its client saw {txn.view}"]


def left_behind(world: World) -> list[str]:
    """What is left when everybody has gone."""
    found = []
    pool, worker = world.pool, world.worker
    if worker.clients or pool.waiting or worker.rescue.turns.waiting:
        found.append(f"{len(worker.clients)} clients are left, {len(pool.waiting)} wait")
    if pool.opening or set(pool.idle) != set(pool.servers):
        found.append(f"{pool.opening} being opened, {len(pool.idle)} idle of {len(pool.servers)}")
    for server in pool.idle:
        if not server.free or server.busy or server.notes or server.sink is not pool.idle_sink:
            found.append("an idle server is not")
    if sum(worker.backends.connections.values()) != len(pool.servers):
        found.append(f"{worker.backends.connections} places are taken by {len(pool.servers)} servers")
    return found


# --- drawing ------------------------------------------------------------------------------------------------


def base(seed: int) -> Schedule:
    """What clients do, with nothing befalling them."""
    rng = random.Random(f"base {seed}")
    return Schedule(seed, clients=rng.choice((1, 1, 2, 3, 4)), txns=rng.choice((1, 1, 2, 3)))


def variations(given: Schedule, carried: list[dict[str, int]]) -> list[Schedule]:
    """The same with faults: cut at many places, and struck at many times."""
    rng = random.Random(f"faults {given.seed}")
    places = [
        Fault(way, at, which, rng.choice((0.0, 0.001, 0.05)))
        for which, one in enumerate(carried)
        for way in ("said", "heard")
        for at in range(one[way] + 1)
    ]
    if len(places) > CUTS_PER_BASE:
        places = rng.sample(places, CUTS_PER_BASE)
    found = [replace(given, faults=(one, *_second(rng, one))) for one in places]
    for _ in range(OTHERS_PER_BASE):
        found.append(replace(given, faults=_struck(rng)))
    return found


def _second(rng: random.Random, first: Fault) -> tuple[Fault, ...]:
    """What else befalls whoever was cut: a loss during the replay, a backend that commits late."""
    luck = rng.random()
    if luck < 0.5:
        return ()
    if luck < 0.7:
        way = rng.choice(("said", "heard"))
        return tuple(Fault(way, rng.randrange(400), first.which + n) for n in range(1, rng.choice((2, 3, 4))))
    if luck < 0.85:
        return (Fault("stall", rng.random() * 0.35, lasts_s=rng.choice((0.02, 0.2))),)
    return _struck(rng)[:1]


def _struck(rng: random.Random) -> tuple[Fault, ...]:
    at = rng.random() * 0.4
    kind = rng.choice(("fatal", "crash", "crash", "clean", "promote", "promote"))
    first = Fault(kind, at, lasts_s=rng.choice((0.05, 0.4, 1.5)), back=rng.random() < 0.4)
    found = [first]
    if rng.random() < 0.3:
        found.append(Fault("stall", max(0.0, at - 0.01), lasts_s=rng.choice((0.02, 0.2))))
    if rng.random() < 0.3:
        again = rng.choice(("fatal", "crash", "clean"))
        found.append(Fault(again, at + first.lasts_s + rng.random() * 0.6, lasts_s=rng.choice((0.05, 0.4))))
    return tuple(found)
