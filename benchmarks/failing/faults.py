"""What is done to the servers. Each fault strikes the primary, and puts right what nobody else will.

A crash of a server process is SIGKILL, of a server SIGKILL to all its processes at once. What stands
still gets SIGSTOP. A reset is the kernel's own (``ss -K``), or the relay's. A COMMIT is held by taking
the standbys away.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.failing.field import Field, reset
from benchmarks.failing.plan import Kind
from seawall.embedded import Node
from seawall.embedded.errors import ClusterError
from seawall.kernel.errors import SeawallError

VICTIMS = (
    "SELECT pid, client_port, backend_xid IS NOT NULL FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND xact_start IS NOT NULL AND client_port > 0"
    " AND pid <> pg_backend_pid()"
)
HELD = (
    "SELECT pid, client_port, true FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND wait_event = 'SyncRep' AND client_port > 0"
)
WRITER_SHARE = 0.8
"""How often a transaction that has written is preferred."""
VICTIM_S = 5.0
HELD_S = 10.0
PROMOTION_S = 20.0
APART_S = (0.03, 0.12)
LINGER_S = (0.0, 0.15)
SHORT_CUT_S = (0.05, 0.3)
OUTLIVED_S = (0.05, 0.4)
"""How long a server that was replaced stays away before it is let go on."""
UNTOUCHED_S = 1.0
"""How long a server stands still, or is cut off, if nobody replaces it."""


@dataclass(slots=True)
class Struck:
    """What a fault did.

    Attributes:
        before: When it was about to strike.
        after: When it had.
        kills: How many victims it found.
        held: COMMITs that were waiting for a standby.
        old: Who was the primary.
    """

    before: float
    after: float
    kills: int
    old: str
    held: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Victim:
    """A server process of a client."""

    pid: int
    client_port: int


Strike = Callable[[Field, random.Random, Kind], Struck]


def strike(place: Field, dice: random.Random, kind: Kind) -> Struck:
    """Do it."""
    return STRIKES[kind.name](place, dice, kind)


# --- who is hit ----------------------------------------------------------------------------------------


def victims(place: Field, node: Node, sql: str, within_s: float) -> list[Victim]:
    """The server processes that a question finds, writers first; empty after some time without any."""
    give_up = time.monotonic() + within_s
    while True:
        rows = place.ask(node, sql) or []
        if rows or time.monotonic() > give_up:
            ordered = sorted(rows, key=lambda row: row[2] != "t")
            return [Victim(int(pid or 0), int(port or 0)) for pid, port, _ in ordered]
        time.sleep(0.005)


def victim(place: Field, node: Node, dice: random.Random) -> Victim | None:
    """One of them."""
    rows: list[tuple[str | None, ...]] = []
    give_up = time.monotonic() + VICTIM_S
    while not rows and time.monotonic() < give_up:
        rows = place.ask(node, VICTIMS) or []
    writers = [row for row in rows if row[2] == "t"]
    chosen = writers if writers and dice.random() < WRITER_SHARE else rows
    if not chosen:
        return None
    pid, port, _ = dice.choice(chosen)
    return Victim(int(pid or 0), int(port or 0))


def signalled(pid: int, number: signal.Signals = signal.SIGKILL) -> bool:
    """A signal to one server process; whether it was there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def all_at_once(node: Node, number: signal.Signals) -> tuple[float, float]:
    """A signal to all processes of a server within a millisecond; between which moments.

    To find them takes longer than that: it is done first, and again for those that were born meanwhile.
    """
    first, *others = node.pids()
    before = time.monotonic()
    signalled(first, signal.SIGSTOP)  # it must not see its children die, nor they it
    for pid in (*others, first):
        signalled(pid, number)
    after = time.monotonic()
    if number is signal.SIGKILL:
        node.kill()
    else:
        node.pause()
    return before, after


def terminate(place: Field, node: Node, pid: int) -> bool:
    """``pg_terminate_backend``."""
    return place.ask(node, f"SELECT pg_terminate_backend({pid})") == [("t",)]


def cut_off(place: Field, node: Node, one: Victim | None) -> int:
    """Reset one connection, or all."""
    if place.relay is not None:
        place.relay.order(node.port, "reset")
        return 1
    return reset(port=node.port, client_port=one.client_port if one else 0)


# --- one connection after the other --------------------------------------------------------------------


def bundle(place: Field, dice: random.Random, kind: Kind) -> Struck:
    """End some connections that are in a transaction, one after the other."""
    node = place.primary()
    started = time.monotonic()
    kills = 0
    for _ in range(kind.bundle):
        one = victim(place, node, dice)
        if one is None:
            break
        done = terminate(place, node, one.pid) if kind.name == "terminate" else cut_off(place, node, one)
        kills += bool(done)
        time.sleep(dice.uniform(*APART_S))
    # All that were open at any time in between may have been hit.
    return Struck(time.monotonic(), started, kills, node.name)


def reset_all(place: Field, dice: random.Random, kind: Kind) -> Struck:
    """Reset all connections of the primary at once; it lives on."""
    del dice, kind
    node = place.primary()
    found = bool(victims(place, node, VICTIMS, VICTIM_S))
    before = time.monotonic()
    number = cut_off(place, node, None)
    return Struck(before, time.monotonic(), int(found and number > 0), node.name, note=f"{number} reset")


# --- the whole primary ---------------------------------------------------------------------------------


def crash_of_one(place: Field, dice: random.Random, kind: Kind) -> Struck:
    """SIGKILL to the server process of one client: the server ends all others and recovers."""
    del kind
    node = place.primary()
    one = victim(place, node, dice)
    before = time.monotonic()
    kills = int(one is not None and signalled(one.pid))
    return Struck(before, time.monotonic(), kills, node.name)


def restart(place: Field, dice: random.Random, kind: Kind) -> Struck:
    """Shut the primary down, and start it again."""
    del dice
    node = place.primary()
    found = bool(victims(place, node, VICTIMS, VICTIM_S))
    before = time.monotonic()
    node.stop(kind.name)
    struck = Struck(before, time.monotonic(), int(found), node.name)
    start_again(node, struck)
    return struck


def crash(place: Field, dice: random.Random, kind: Kind) -> Struck:
    """SIGKILL to the primary."""
    del dice, kind
    node = place.primary()
    found = bool(victims(place, node, VICTIMS, VICTIM_S))
    struck = Struck(*all_at_once(node, signal.SIGKILL), int(found), node.name)
    replaced(place, struck, lambda: start_again(node, struck))
    return struck


def stand_still(place: Field, dice: random.Random, kind: Kind) -> Struck:
    """SIGSTOP to the primary, and SIGCONT when it has been replaced, unless it was killed for that."""
    del kind
    node = place.primary()
    found = bool(victims(place, node, VICTIMS, VICTIM_S))
    struck = Struck(*all_at_once(node, signal.SIGSTOP), int(found), node.name)
    try:
        replaced(place, struck, lambda: time.sleep(UNTOUCHED_S))
        time.sleep(dice.uniform(*OUTLIVED_S))
    finally:
        outlived = node.is_paused
        node.resume()
    struck.note = "let go on" if outlived else "was killed"
    return struck


def cut(place: Field, dice: random.Random, kind: Kind) -> Struck:
    """Cut the network between the proxy and the primary, for a moment or until it is replaced."""
    assert place.relay is not None
    node = place.primary()
    found = bool(victims(place, node, VICTIMS, VICTIM_S))
    before = time.monotonic()
    place.relay.order(node.port, "cut" if kind.name == "cut-short" else kind.name)
    struck = Struck(before, time.monotonic(), int(found), node.name)
    try:
        if kind.name == "cut-short":
            time.sleep(dice.uniform(*SHORT_CUT_S))
        else:
            replaced(place, struck, lambda: time.sleep(UNTOUCHED_S))
            time.sleep(dice.uniform(*OUTLIVED_S))
    finally:
        place.relay.order(node.port, "pass")
    return struck


def start_again(node: Node, struck: Struck) -> None:
    """Start that server and no other: who follows whom is the proxy's business, and may be in the making.

    One that is too slow to come back the proxy may stop for good; that is noted.
    """
    try:
        node.start()
    except ClusterError as error:
        struck.note = f"not started: {str(error).splitlines()[0]}"


def replaced(place: Field, struck: Struck, otherwise: Callable[[], object]) -> None:
    """Wait until the proxy has made another server the primary, or do what an operator would do."""
    if not place.promotes:
        otherwise()
        return

    def another() -> bool:
        with contextlib.suppress(SeawallError):
            return place.cluster.primary.name != struck.old
        return False

    if not place.until(another, PROMOTION_S):
        struck.note = f"nobody was promoted within {PROMOTION_S:g} s"
        otherwise()


# --- while COMMIT is held ------------------------------------------------------------------------------


def at_commit(place: Field, dice: random.Random, kind: Kind) -> Struck:
    """Take the standbys away, wait until COMMITs hang, strike, give the standbys back."""
    node = place.primary()
    standbys = [one for one in place.cluster.nodes if one is not node]
    lost = kind.name == "commit-lost"
    for one in standbys:
        if lost:
            one.stop("immediate")
        else:
            one.pause()
    try:
        waiting = victims(place, node, HELD, HELD_S)
        time.sleep(dice.uniform(*LINGER_S))
        waiting = victims(place, node, HELD, 0.0) or waiting
        before = time.monotonic()
        struck = Struck(before, before, 0, node.name, held=len(waiting))
        if waiting:
            struck.kills = _at_commit(place, dice, kind, node, waiting)
            struck.after = time.monotonic()
    finally:
        give_back(standbys, stopped=lost)
    if kind.promotes and struck.kills:
        replaced(place, struck, lambda: start_again(node, struck))
    elif kind.name == "commit-immediate":
        start_again(node, struck)
    return struck


def _at_commit(place: Field, dice: random.Random, kind: Kind, node: Node, waiting: Sequence[Victim]) -> int:
    one = dice.choice(waiting)
    if kind.name == "commit-backend":
        return int(signalled(one.pid))
    if kind.name == "commit-terminate":
        done = int(terminate(place, node, one.pid))
        time.sleep(dice.uniform(*APART_S))
        return done
    if kind.name == "commit-reset":
        done = int(bool(cut_off(place, node, one)))
        time.sleep(dice.uniform(*APART_S))
        return done
    if kind.name == "commit-immediate":
        node.stop("immediate")
    else:
        node.kill()
    return 1


def give_back(standbys: Sequence[Node], *, stopped: bool) -> None:
    """Let the standbys go on."""
    for one in standbys:
        if stopped:
            one.start(wait=False)
        else:
            one.resume()


STRIKES: dict[str, Strike] = {
    "terminate": bundle,
    "reset": bundle,
    "reset-all": reset_all,
    "backend": crash_of_one,
    "fast": restart,
    "immediate": restart,
    "primary": crash,
    "zombie": stand_still,
    "stop": stand_still,
    "cut-short": cut,
    "cut": cut,
    "cut-there": cut,
    "cut-back": cut,
    "commit-primary": at_commit,
    "commit-lost": at_commit,
    "commit-backend": at_commit,
    "commit-terminate": at_commit,
    "commit-immediate": at_commit,
    "commit-reset": at_commit,
}
