"""Judges a played proxy demo: which promises were kept, and by what figures.

Pure. A promise that could not be tested, because the play was cut short or the fault hit nobody, counts as
broken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from seawall.cli.demo_report import Promise
from seawall.cli.proxy_demo_bank import Audit
from seawall.cli.proxy_demo_load import NOBODY, Load, Loss, percentile_s

__all__ = ["Facts", "Figures", "Report", "report"]

BACK_MAX_S: Final = 2.0
"""From the SIGKILL to the first transfer through the new worker; on an idle machine it is half a second."""
SHUTDOWN: Final = "57P01"


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
    drain_at_s: float | None = None
    drain_s: float | None = None
    drained: bool = False
    audit: Audit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured; latencies are as clients saw them, and ``None`` stands for what never happened.

    Attributes:
        clients: How many there were.
        transactions: Acknowledged to a client.
        per_s: Of them, per second of load.
        p50_ms: Half of them took no longer.
        p95_ms: 95 of a hundred took no longer.
        p99_ms: 99 of a hundred took no longer.
        longest_ms: The longest.
        killed_worker: Which worker was killed.
        clients_hit: Clients that lost their connection by that.
        unknown: Transactions whose COMMIT was under way then.
        unknown_done: Those of them that the servers had committed.
        ready_ms: From the kill until the new process was ready.
        back_ms: From the kill to the first transaction through the new worker.
        all_back_ms: From the kill until every client had made a transaction again.
        survivor_errors: Errors of clients of the other workers.
        survivor_p99_ms: P99 of their transactions while the killed worker was away.
        other_errors: Errors besides those of the kill and of the end.
        unexpected: How often which SQLSTATE was among the survivors' and the other errors.
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
    hit, drained, survivors, others = _sorted(facts)
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
        clients_hit=len(hit),
        unknown=0 if audit is None else audit.unknown,
        unknown_done=0 if audit is None else audit.unknown_done,
        ready_ms=None if facts.ready_s is None else _ms(facts.ready_s),
        back_ms=None if back_s is None else _ms(back_s),
        all_back_ms=_all_back_ms(facts),
        survivor_errors=len(survivors),
        survivor_p99_ms=_ms(percentile_s(_meanwhile(facts), 0.99)),
        other_errors=len(others),
        unexpected=dict(Counter(loss.sqlstate for loss in [*survivors, *others])),
        drain_ms=None if facts.drain_s is None else _ms(facts.drain_s),
        cut=sum(1 for loss in drained if loss.in_transaction),
    )


def _sorted(facts: Facts) -> tuple[list[Loss], list[Loss], list[Loss], list[Loss]]:
    """Losses of the kill, of the end, of clients of other workers meanwhile, and all others."""
    hit: list[Loss] = []
    drained: list[Loss] = []
    survivors: list[Loss] = []
    others: list[Loss] = []
    for loss in [] if facts.load is None else facts.load.tally.losses:
        if facts.drain_at_s is not None and loss.at_s >= facts.drain_at_s:
            drained.append(loss)
        elif facts.killed_at_s is None or loss.at_s < facts.killed_at_s:
            others.append(loss)
        elif loss.worker == facts.killed and loss.connected_s <= facts.killed_at_s:
            hit.append(loss)
        elif loss.worker in {facts.killed, NOBODY}:
            others.append(loss)
        else:
            survivors.append(loss)
    return hit, drained, survivors, others


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
    yield Promise(
        "the end cuts no transaction",
        f"{figures.cut} cut"
        if figures.drain_ms is None
        else f"{figures.cut} cut in {figures.drain_ms:.0f} ms",
        facts.drained and not figures.cut,
    )
    audit = facts.audit
    if audit is None:
        yield Promise("nothing acknowledged is lost or doubled", "not audited", kept=False)
        return
    yield Promise(
        "nothing acknowledged is lost or doubled",
        f"{audit.lost} lost, {audit.doubled + audit.uninvited} doubled",
        audit.acknowledged > 0 and not (audit.lost or audit.doubled or audit.uninvited),
    )
    yield Promise(
        "all balances agree, on the replica too",
        _sums(audit),
        audit.balanced and audit.replica_same,
    )


def _sums(audit: Audit) -> str:
    if not audit.balanced:
        sums = audit.accounts, audit.tellers, audit.branches, audit.history, audit.expected
        names = ("accounts", "tellers", "branches", "history", "clients")
        return ", ".join(f"{name} {value:,}" for name, value in zip(names, sums, strict=True))
    return f"{audit.accounts:,} everywhere" if audit.replica_same else "the replica differs"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _ms(seconds: float) -> float:
    return round(seconds * 1000.0, 1)
