"""Judges a played proxy demo: which promises were kept, and by what figures.

Pure. A promise that could not be tested, because the play was cut short or the fault hit nobody, counts as
broken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from seawall.cli.demo_report import Promise
from seawall.cli.proxy_demo_load import NOBODY, Load, Loss, percentile_s
from seawall.cli.proxy_demo_shop import Audit

__all__ = ["Facts", "Figures", "Replacement", "Report", "report"]

BACK_MAX_S: Final = 2.0
"""From the SIGKILL to the first transfer through the new worker; on an idle machine it is one second."""
PAUSE_MAX_S: Final = 10.0
"""From the primary's SIGKILL to the next checkout; on an idle machine it is a second."""
REPLAYED: Final = frozenset({"replay", "replayed"})


@dataclass(slots=True, kw_only=True)
class Replacement:
    """What became of a primary that was killed or replaced.

    Attributes:
        old: Its name.
        killed_at_s: When that began, since the start of the load; ``None`` if it never did.
        replaced: Another server took over.
        rejoined_s: From there until the old one followed as a replica.
    """

    old: str = ""
    killed_at_s: float | None = None
    replaced: bool = False
    rejoined_s: float | None = None


@dataclass(slots=True)
class Sorted:
    """Losses by what they are due to.

    Attributes:
        hit: The killed worker.
        drained: The end.
        failover: The primary's death, or what came behind it.
        switchover: The switchover, or what came behind it.
        survivors: Nothing that other workers' clients should notice.
        others: Nothing at all.
    """

    hit: list[Loss] = field(default_factory=list)
    drained: list[Loss] = field(default_factory=list)
    failover: list[Loss] = field(default_factory=list)
    switchover: list[Loss] = field(default_factory=list)
    survivors: list[Loss] = field(default_factory=list)
    others: list[Loss] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the stage has seen; ``None`` for what didn't happen.

    Attributes:
        load: The clients with their tally.
        workers: How many the proxy has.
        killed: Which worker was killed.
        clients_hit: How many clients it had.
        killed_at_s: When, since the start of the load.
        ready_s: From there until the new process was ready.
        failover: What became of the primary that was killed.
        switchover: What became of the one that was replaced on purpose.
        replays: What the proxy says of clients that had lost their server.
        drain_at_s: When the end began.
        drain_s: How long it took.
        drained: Whether every client had ended by itself.
        audit: What the servers have, against what the clients were told.
    """

    load: Load | None
    workers: int
    killed: int | None = None
    clients_hit: int = 0
    killed_at_s: float | None = None
    ready_s: float | None = None
    failover: Replacement = field(default_factory=Replacement)
    switchover: Replacement = field(default_factory=Replacement)
    replays: tuple[Mapping[str, str | None], ...] = ()
    drain_at_s: float | None = None
    drain_s: float | None = None
    drained: bool = False
    audit: Audit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured; latencies are as clients saw them, and ``None`` stands for what never happened.

    Attributes:
        clients: How many there were.
        transactions: Checkouts that were acknowledged to a client.
        per_s: Of them, per second of load.
        p50_ms: Half of them took no longer.
        p95_ms: 95 of a hundred took no longer.
        p99_ms: 99 of a hundred took no longer.
        longest_ms: The longest.
        killed_worker: Which worker was killed.
        clients_hit: Clients that lost their connection by that.
        unknown: Transactions whose COMMIT was under way when the client lost its connection.
        unknown_done: Those of them that the servers had committed.
        ready_ms: From the kill until the new process was ready.
        back_ms: From the kill to the first transaction through the new worker.
        all_back_ms: From the kill until every client had made a transaction again.
        survivor_errors: Errors of clients of the other workers.
        survivor_p99_ms: P99 of their transactions while the killed worker was away.
        other_errors: Errors besides those that are told apart.
        killed_primary: Which server was killed.
        failover_pause_ms: The longest time without a checkout after that.
        failover_errors: Errors of clients from there to the switchover.
        replayed: Transactions that were said again to the new primary, as the proxy tells.
        rejoined_ms: From the kill until it followed as a replica.
        replaced_primary: Which server was replaced on purpose.
        switchover_pause_ms: The longest time without a checkout after that.
        switchover_errors: Errors of clients from there to the end.
        unexpected: How often which SQLSTATE was among all of them.
        drain_ms: From the order to end until the last client was gone.
        cut: Transactions that the end cut.
    """

    clients: int
    transactions: int
    per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    longest_ms: float
    killed_worker: int | None
    clients_hit: int
    unknown: int
    unknown_done: int
    ready_ms: float | None
    back_ms: float | None
    all_back_ms: float | None
    survivor_errors: int
    survivor_p99_ms: float
    other_errors: int
    killed_primary: str
    failover_pause_ms: float | None
    failover_errors: int
    replayed: int
    rejoined_ms: float | None
    replaced_primary: str
    switchover_pause_ms: float | None
    switchover_errors: int
    unexpected: dict[str, int]
    drain_ms: float | None
    cut: int


@dataclass(frozen=True, slots=True)
class Report:
    """The demo's result."""

    script: str
    figures: Figures
    audit: Audit | None
    promises: tuple[Promise, ...]

    @property
    def kept(self) -> bool:
        """Whether all promises were kept."""
        return all(promise.kept for promise in self.promises)

    def as_table(self) -> dict[str, Any]:
        """For a program."""
        return {
            "script": self.script,
            "kept": self.kept,
            "promises": [asdict(promise) for promise in self.promises],
            "figures": asdict(self.figures),
            "audit": None if self.audit is None else asdict(self.audit),
        }


def report(script: str, facts: Facts) -> Report:
    """Work out the figures, and from them the promises."""
    figures = _figures(facts)
    return Report(script, figures, facts.audit, tuple(_promises(figures, facts)))


def _figures(facts: Facts) -> Figures:
    load = facts.load
    buckets = [] if load is None else load.tally.buckets
    samples = [one for bucket in buckets for worker in bucket.latencies_s for one in worker]
    due = _sorted(facts)
    audit, back_s = facts.audit, None if load is None else load.back_s
    transactions = 0 if load is None else sum(book.acknowledged for book in load.books)
    lasted_s = facts.drain_at_s or (0.0 if load is None else load.elapsed_s())
    return Figures(
        clients=0 if load is None else len(load.books),
        transactions=transactions,
        per_s=round(transactions / lasted_s, 1) if lasted_s else 0.0,
        p50_ms=_ms(percentile_s(samples, 0.5)),
        p95_ms=_ms(percentile_s(samples, 0.95)),
        p99_ms=_ms(percentile_s(samples, 0.99)),
        longest_ms=_ms(max(samples, default=0.0)),
        killed_worker=facts.killed,
        clients_hit=len(due.hit),
        unknown=0 if audit is None else audit.unknown,
        unknown_done=0 if audit is None else audit.unknown_done,
        ready_ms=None if facts.ready_s is None else _ms(facts.ready_s),
        back_ms=None if back_s is None else _ms(back_s),
        all_back_ms=_all_back_ms(facts),
        survivor_errors=len(due.survivors),
        survivor_p99_ms=_ms(percentile_s(_meanwhile(facts), 0.99)),
        other_errors=len(due.others),
        killed_primary=facts.failover.old,
        failover_pause_ms=_pause_ms(facts, facts.failover, facts.switchover.killed_at_s or facts.drain_at_s),
        failover_errors=len(due.failover),
        replayed=sum(1 for one in facts.replays if one.get("way") in REPLAYED),
        rejoined_ms=None if facts.failover.rejoined_s is None else _ms(facts.failover.rejoined_s),
        replaced_primary=facts.switchover.old,
        switchover_pause_ms=_pause_ms(facts, facts.switchover, facts.drain_at_s),
        switchover_errors=len(due.switchover),
        unexpected=dict(
            Counter(loss.sqlstate for loss in (*due.survivors, *due.others, *due.failover, *due.switchover))
        ),
        drain_ms=None if facts.drain_s is None else _ms(facts.drain_s),
        cut=sum(1 for loss in due.drained if loss.in_transaction),
    )


def _sorted(facts: Facts) -> Sorted:
    """Losses by what they are due to."""
    found = Sorted()
    for loss in [] if facts.load is None else facts.load.tally.losses:
        if facts.drain_at_s is not None and loss.at_s >= facts.drain_at_s:
            found.drained.append(loss)
        elif _behind(facts.switchover, loss):
            found.switchover.append(loss)
        elif _behind(facts.failover, loss):
            found.failover.append(loss)
        elif facts.killed_at_s is None or loss.at_s < facts.killed_at_s:
            found.others.append(loss)
        elif loss.worker == facts.killed and loss.connected_s <= facts.killed_at_s:
            found.hit.append(loss)
        elif loss.worker in {facts.killed, NOBODY}:
            found.others.append(loss)
        else:
            found.survivors.append(loss)
    return found


def _behind(replacement: Replacement, loss: Loss) -> bool:
    return replacement.killed_at_s is not None and loss.at_s >= replacement.killed_at_s


def _pause_ms(facts: Facts, replacement: Replacement, until_s: float | None) -> float | None:
    """The longest time without a checkout since a primary was lost or given up."""
    if facts.load is None or replacement.killed_at_s is None:
        return None
    pause_s = facts.load.tally.pause_s(replacement.killed_at_s, until_s or facts.load.elapsed_s())
    return None if pause_s is None else _ms(pause_s)


def _meanwhile(facts: Facts) -> Iterator[float]:
    """Latencies through the other workers while the killed one was away."""
    load, at_s = facts.load, facts.killed_at_s
    if load is None or at_s is None:
        return
    until_s = at_s + (load.back_s if load.back_s is not None else BACK_MAX_S)
    for bucket in load.tally.between(at_s, until_s):
        for worker, samples in enumerate(bucket.latencies_s):
            if worker != facts.killed:
                yield from samples


def _all_back_ms(facts: Facts) -> float | None:
    if facts.load is None or facts.killed_at_s is None:
        return None
    first = facts.load.first_done_s
    if None in first:
        return None
    return _ms(max(at_s for at_s in first if at_s is not None) - facts.killed_at_s)


def _promises(figures: Figures, facts: Facts) -> Iterator[Promise]:
    """What was promised, and whether it was kept."""
    hit, back, everybody = figures.clients_hit, figures.back_ms, figures.all_back_ms
    yield Promise(
        "other workers' clients notice nothing",
        f"{_count(figures.survivor_errors + figures.other_errors, 'error')}, {_count(hit, 'other')} cut",
        hit > 0 and not figures.survivor_errors and not figures.other_errors,
    )
    yield Promise(
        f"the killed worker is back within {BACK_MAX_S:.0f} s",
        "it did not come back" if back is None else f"used after {back / 1000.0:.2f} s",
        back is not None and back <= BACK_MAX_S * 1000.0,
    )
    yield Promise(
        "every client goes on",
        "not all did" if everybody is None else f"the last after {everybody / 1000.0:.2f} s",
        everybody is not None,
    )
    yield from _of_servers(figures, facts)
    yield Promise(
        "the end cuts no transaction",
        f"{figures.cut} cut"
        if figures.drain_ms is None
        else f"{figures.cut} cut in {figures.drain_ms:.0f} ms",
        facts.drained and not figures.cut,
    )
    yield from _of_books(facts.audit)


def _of_servers(figures: Figures, facts: Facts) -> Iterator[Promise]:
    """What was promised about primaries that go."""
    pause, switched, rejoined = figures.failover_pause_ms, figures.switchover_pause_ms, figures.rejoined_ms
    yield Promise(
        f"a dead primary is replaced within {PAUSE_MAX_S:.0f} s",
        "nobody took over" if pause is None else f"no checkout for {pause / 1000.0:.2f} s",
        facts.failover.replaced and pause is not None and pause <= PAUSE_MAX_S * 1000.0,
    )
    yield Promise(
        "its death fails no checkout",
        f"{_count(figures.failover_errors, 'error')}, {figures.replayed} said again",
        facts.failover.replaced and figures.replayed > 0 and not figures.failover_errors,
    )
    yield Promise(
        "the dead primary is back as a replica",
        "it did not" if rejoined is None else f"after {rejoined / 1000.0:.1f} s",
        rejoined is not None,
    )
    yield Promise(
        "a switchover fails no checkout",
        _count(figures.switchover_errors, "error")
        + (", nobody took over" if switched is None else f", a pause of {switched / 1000.0:.2f} s"),
        facts.switchover.replaced and switched is not None and not figures.switchover_errors,
    )


def _of_books(audit: Audit | None) -> Iterator[Promise]:
    """What was promised about what the servers have."""
    if audit is None:
        yield Promise("acknowledged orders are there, once", "not audited", kept=False)
        return
    yield Promise(
        "acknowledged orders are there, once",
        f"{audit.lost} lost, {audit.doubled} doubled of {audit.acknowledged:,}",
        audit.acknowledged > 0 and not (audit.lost or audit.doubled),
    )
    yield Promise(
        "no refused order is there",
        f"{audit.uninvited} found",
        not audit.uninvited,
    )
    yield Promise(
        "orders are as clients were told",
        f"{_count(audit.misnumbered, 'other number')}, {audit.incomplete} incomplete",
        not (audit.misnumbered or audit.incomplete),
    )
    yield Promise(
        "the stock agrees, on replicas too",
        _sums(audit),
        audit.balanced and audit.replicas_same,
    )


def _sums(audit: Audit) -> str:
    if not audit.balanced:
        return f"{audit.sold:,} sold, {audit.taken:,} left the stock"
    return f"{audit.sold:,} everywhere" if audit.replicas_same else "a replica differs"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _ms(seconds: float) -> float:
    return round(seconds * 1000.0, 1)
