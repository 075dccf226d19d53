"""One run: chapters of faults under load, checked after each fault and audited at the end of each chapter."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.failing import audit
from benchmarks.failing.bystanders import CALM_S, REST_S, Bystanders
from benchmarks.failing.faults import Struck, strike
from benchmarks.failing.field import Field, UnhealthyError
from benchmarks.failing.field import field as opened
from benchmarks.failing.front import Options
from benchmarks.failing.load import CALM_MAX_S, REST_MAX_S, Load
from benchmarks.failing.plan import Chapter, Kind
from benchmarks.failing.records import ACKNOWLEDGED, RETRY, Operation, Ticket, Violation, told
from benchmarks.failing.workloads import AUTOCOMMIT, MAKE
from seawall.embedded import Cluster

FLOW_S = 30.0
"""Every client has to get somewhere again within this time after a fault."""
WARM_S = 0.15
"""Undisturbed traffic before each fault, at least."""
POLL_S = 0.01
LATE_S = 0.3
"""Before the audit: for what a server that was replaced might still do."""
SWITCH_S = 0.0005
"""Between threads: the one that strikes must not wait for a dozen that talk."""


@dataclass
class Tally:
    """What one run comes to.

    Attributes:
        kills: That found a victim, by kind.
        missed: Faults that found none, by kind.
        promoted: Kills after which another server was the primary.
        at_commit: Kills while a COMMIT was held by missing standbys.
        commits_held: How many of them were held.
        outcomes: Of all transactions, by workload and outcome.
        hit: The same of those that were open when a server or all connections were lost.
        returning: Hit transactions that had seen a key, by pinning and outcome.
        took: Seconds from a fault to the next, by kind.
        resumed: Seconds until every client got somewhere again, by kind.
    """

    kills: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    promoted: int = 0
    at_commit: int = 0
    commits_held: int = 0
    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    hit: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    returning: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    without_detail: int = 0
    """40001 after a hit that didn't say why."""
    cut: int = 0
    """Transactions whose connection ended."""
    reads: int = 0
    bystanders: Counter[str] = field(default_factory=Counter)
    """Reads and idle sessions that noticed something, by SQLSTATE."""
    connects_refused: Counter[str] = field(default_factory=Counter)
    rejoined_here: int = 0
    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    resumed: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    slowest_read: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    violations: list[Violation] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All kills."""
        return self.kills.total()


@dataclass
class Play:
    """Plays chapters on one cluster.

    Args:
        cluster: which.
        seed: of everything that is drawn.
        say: takes progress.
        options: of the proxy; a chapter decides about pinning and fencing.
        tolerant: go on in spite of violations; for a proxy that is known not to do it.
        log: a folder for what the proxies say, and the histories of transactions that were hit.
    """

    cluster: Cluster
    seed: int
    say: Callable[[str], None]
    options: Options = field(default_factory=Options)
    tolerant: bool = False
    log: Path | None = None
    tally: Tally = field(default_factory=Tally)

    def chapter(self, chapter: Chapter) -> bool:
        """Play one chapter; whether nothing was wrong."""
        options = replace(self.options, pin=self.options.pin and chapter.pin, fences=chapter.fences)
        primary = self.cluster.primary
        primary.execute(MAKE)
        with opened(
            self.cluster, options, relayed=chapter.relayed, log=self.log and self.log / "proxy.txt"
        ) as place:
            scene = Scene(place, chapter, f"{self.seed} chapter {chapter.number}", self.tally, self.say)
            scene.histories = self.log and self.log / "transactions.txt"
            clean = scene.play(tolerant=self.tolerant)
            self.tally.rejoined_here += place.rejoined_here
            if self.tally.violations:
                self.say(f"the proxy said last:\n{place.front.said()}")
        return clean


class Scene:
    """One chapter under way."""

    def __init__(
        self, place: Field, chapter: Chapter, seed: str, tally: Tally, say: Callable[[str], None]
    ) -> None:
        self.place = place
        self.chapter = chapter
        self.tally = tally
        self.say = say
        self.dice = random.Random(f"{seed} faults")
        self.load = Load(place.front.port, seed)
        self.bystanders = Bystanders(place.front.port, self.load.logbook)
        self.operations: list[Operation] = []
        self.at = 0
        self.histories: Path | None = None

    def play(self, *, tolerant: bool) -> bool:
        """Play it; whether nothing was wrong."""
        before = len(self.tally.violations)
        switch_s = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        try:
            self.load.start()
            self.bystanders.start()
            self._flow(time.monotonic(), "the beginning")
            for kind in self.chapter.kinds:
                self.at += 1
                self._fault(kind)
                if len(self.tally.violations) > before and not tolerant:
                    break
        finally:
            stuck = self.bystanders.stop() + self.load.stop()
            sys.setswitchinterval(switch_s)
        if stuck:
            self._wrong([Violation(f"did not come to an end: {', '.join(stuck)}")])
        self._end()
        return len(self.tally.violations) == before

    # --- one fault ------------------------------------------------------------------------------------------

    def _fault(self, kind: Kind) -> None:
        started = time.monotonic()
        time.sleep(WARM_S + self.dice.random() * WARM_S)
        self.bystanders.slowest()
        struck = strike(self.place, self.dice, kind)
        hit = self.load.logbook.strike(before=struck.before, after=struck.after)
        resumed = self._flow(max(struck.before, struck.after), kind.name)
        self.place.front.check()
        self.bystanders.poke()
        slowest = self.bystanders.slowest()
        waited = self._heal()
        promoted = self.place.primary().name != struck.old
        if not struck.kills:
            self.tally.missed[kind.name] += 1
        self.tally.kills[kind.name] += struck.kills
        self.tally.promoted += promoted and struck.kills
        self.tally.at_commit += kind.at_commit and struck.kills
        self.tally.commits_held += struck.held
        if kind.bundle == 1:
            self._count_hit(hit)
        self._check()
        took = time.monotonic() - started
        self.tally.took[kind.name].append(round(took, 3))
        self.tally.resumed[kind.name].append(round(resumed, 3))
        self.tally.slowest_read[kind.name].append(round(slowest, 3))
        self._report(
            kind, struck, hit, f"resumed after {resumed:.2f}, whole after {waited:.2f}, {took:.2f} s"
        )

    def _heal(self) -> float:
        """Wait until all servers are back, with less traffic meanwhile; returns for how long."""
        self.load.rest_s, self.bystanders.rest_s = CALM_MAX_S, CALM_S
        try:
            return self.place.wait_healthy()
        except UnhealthyError as error:
            self._wrong([Violation(str(error))])
            return 0.0
        finally:
            self.load.rest_s, self.bystanders.rest_s = REST_MAX_S, REST_S

    def _flow(self, since: float, what: str) -> float:
        """Wait until every client has got somewhere since a moment; returns after how long."""
        give_up = time.monotonic() + FLOW_S
        suspicious = give_up - FLOW_S / 2
        while True:
            clients = [client.name for client in self.load.stuck(since)]
            missing = clients + self.bystanders.stuck(since)
            if not missing:
                return time.monotonic() - since
            if time.monotonic() > suspicious and self.histories is not None:
                suspicious = give_up
                with self.histories.with_name("evidence.txt").open("a") as file:
                    file.write(f"--- {self.chapter.number}.{self.at}\n{self.place.evidence()}\n")
            if time.monotonic() > give_up:
                open_ones = told(self.load.logbook.open_since(since + 1.0))
                text = f"{FLOW_S:g} s after {what} these are stuck: {', '.join(missing)}"
                self._wrong([Violation(text, open_ones)])
                return FLOW_S
            time.sleep(POLL_S)

    def _count_hit(self, hit: Sequence[Operation]) -> None:
        """Count what became of transactions that were open; they have ended by now."""
        for one in hit:
            self.tally.hit[one.workload][outcome(one)] += 1
            self.tally.without_detail += one.unexplained
            effect = one.effect
            if isinstance(effect, Ticket) and effect.key is not None and effect.at is None:
                pinned = "pinned" if self.place.front.options.pin else "not pinned"
                self.tally.returning[pinned][outcome(one)] += 1

    def _report(self, kind: Kind, struck: Struck, hit: Sequence[Operation], times: str) -> None:
        became = Counter(outcome(one) for one in hit)
        text = ", ".join(f"{number} {name}" for name, number in became.most_common())
        note = f" ({struck.note})" if struck.note else ""
        held = f", {struck.held} held at COMMIT" if kind.at_commit else ""
        self.say(
            f"{self.chapter.number}.{self.at} {kind.name}{note}: {struck.kills} kills{held}; "
            f"open: {text or 'none'}; {times}"
        )

    # --- checks ---------------------------------------------------------------------------------------------

    def _check(self) -> None:
        """Compare what has ended since the last check."""
        ended = self.load.logbook.take()
        self._wrong(self.load.logbook.violations)
        self.load.logbook.violations.clear()
        self._wrong(Violation(f"a bystander noticed: {text}") for text in self.bystanders.noticed)
        self.bystanders.noticed.clear()
        if ended:
            found = audit.fetch(self.place.primary(), [one.number for one in ended])
            self._wrong(audit.check(ended, found))
        if self.histories is not None:
            hurt = [one for one in ended if one.hit and one.outcome != ACKNOWLEDGED]
            with self.histories.open("a") as file:
                file.write(f"--- {self.chapter.number}.{self.at}\n{told(hurt)}\n")
        for one in ended:
            self.tally.outcomes[one.workload][outcome(one)] += 1
            self.tally.cut += one.cut
            if not one.hit and one.outcome == ACKNOWLEDGED:
                one.trace.clear()
        self.operations += ended

    def _end(self) -> None:
        """Audit the chapter; nobody is there any more."""
        time.sleep(LATE_S)
        self._check()
        try:
            self.place.wait_healthy()
        except UnhealthyError as error:
            self._wrong([Violation(str(error))])
            return
        primary = self.place.primary()
        found = audit.fetch(primary, None)
        self._wrong(audit.audit(self.operations, found, audit.following(primary)))
        if not self.place.until(lambda: audit.left_open(primary) == 0, 5.0):
            self._wrong([Violation("a transaction of a client that is gone is still open")])
        self.place.cluster.wait_caught_up()
        for node in self.place.cluster.nodes:
            if node.name != primary.name and not audit.same(found, audit.fetch(node, None)):
                self._wrong([Violation(f"{node.name} has other rows than its primary {primary.name}")])
        stumbles = Counter(self.place.front.stumbles())
        if stumbles:
            self._wrong([Violation(f"tracebacks in the proxy's log: {dict(stumbles)}")])
        self.tally.reads += self.bystanders.reads
        self.tally.bystanders += self.bystanders.errors
        self.tally.connects_refused += self.load.connects_refused
        audited = f"audited {len(self.operations):,} transactions, {self.bystanders.reads:,} reads"
        self.say(f"chapter {self.chapter.number}: {audited}")

    def _wrong(self, violations: Iterable[Violation]) -> None:
        for one in tuple(violations):
            self.tally.violations.append(one)
            where = f"chapter {self.chapter.number}, fault {self.at}"
            self.say(f"VIOLATION in {where}: {one.what}\n{one.history}".rstrip())


def outcome(operation: Operation) -> str:
    """How a transaction ended, for counting."""
    if operation.outcome in {ACKNOWLEDGED, RETRY, "08007"}:
        return operation.outcome + (", then cut" if operation.cut else "")
    phase = "COMMIT" if operation.committing and operation.workload != AUTOCOMMIT else "statement"
    return f"{operation.outcome or 'open'} at {phase}{', cut' if operation.cut else ''}"
