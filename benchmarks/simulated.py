"""Simulated: the proxy loses servers at every byte and at any time, and no client is told what isn't so.

``python -m benchmarks.simulated [--schedules N] [--seed S] [--quick] [--json]``. In one process, without
sockets and on virtual time: the proxy's own worker between model clients and a model of a primary with its
replica (``benchmarks.failing.world``). One set of transactions is played as it is, then cut at many bytes of
what each server connection carries in either direction, and struck by crashes, promotions, clean restarts
and terminated backends. ``benchmarks.failing.world_oracle`` says what must be true afterwards. A full run
adds to ``benchmarks/results/simulated.json``; what fails is recorded, made small, and makes the run fail.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import seawall
from benchmarks import harness
from benchmarks.failing import world_oracle
from benchmarks.failing.world_oracle import Schedule
from benchmarks.harness import Figure, Run, source_hash

SCHEDULES = 20_000
SCHEDULES_QUICK = 2_000
FAILURES_LIMIT = 20
_HERE = Path(__file__).parent / "failing"
GENERATOR = source_hash(*sorted(_HERE.glob("model*.py")), *sorted(_HERE.glob("world*.py")))
"""Hash of everything that shapes schedules and verdicts."""
_PACKAGE = Path(seawall.__file__).parent
SUBJECT = source_hash(_PACKAGE / "proxy", _PACKAGE / "wire")


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this benchmark takes."""
    parser.add_argument("--schedules", type=int, default=0, help="how many (default 20,000; quick 2,000)")
    parser.add_argument("--seed", type=int, default=0, help="of all schedules (default: a new one)")


def complaints(schedule: Schedule) -> tuple[list[str], world_oracle.Result | None]:
    """Play a schedule; an exception is a complaint like any other."""
    try:
        result = world_oracle.play(schedule)
    except Exception as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"
        return [f"{type(error).__name__} at {place}: {error}"], None
    return result.complaints, result


def minimised(schedule: Schedule) -> Schedule:
    """Return the least of a schedule that still fails: fewer faults, clients, transactions."""
    small = schedule
    while True:
        less = [
            replace(small, faults=small.faults[:n] + small.faults[n + 1 :]) for n in range(len(small.faults))
        ]
        if small.clients > 1:
            less.append(replace(small, clients=small.clients - 1))
        if small.txns > 1:
            less.append(replace(small, txns=small.txns - 1))
        found = next((one for one in less if complaints(one)[0]), None)
        if found is None:
            return small
        small = found


class Tally:
    """What came of all schedules of a run."""

    def __init__(self) -> None:
        self.schedules = 0
        self.failed = 0
        self.outcomes: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.failures: list[dict[str, Any]] = []

    def play(self, schedule: Schedule) -> world_oracle.Result | None:
        """Play one more."""
        self.schedules += 1
        found, result = complaints(schedule)
        self.kinds.update({one.kind for one in schedule.faults} or {"none"})
        if result is not None:
            self.outcomes.update(result.outcomes)
        if found:
            self.failed += 1
            if len(self.failures) < FAILURES_LIMIT:
                small = minimised(schedule)
                self.failures.append({"complaints": complaints(small)[0][:5], "schedule": asdict(small)})
        return result


def earlier(run: Run) -> list[dict[str, Any]]:
    """Return the runs recorded so far."""
    path = harness.RESULTS / f"{run.name}.json"
    if not path.exists():
        return []
    found: list[dict[str, Any]] = json.loads(path.read_text())["details"]["runs"]
    return found


def body(run: Run) -> None:
    """Play, then judge."""
    runs = earlier(run)
    seed = run.options.seed or 1 + max((int(one["seed"]) for one in runs), default=0)
    wanted = run.options.schedules or (SCHEDULES_QUICK if run.quick else SCHEDULES)
    tally, number = Tally(), 0
    started = time.process_time()
    while tally.schedules < wanted:
        plain = world_oracle.base(seed * 1_000_000 + number)
        number += 1
        result = tally.play(plain)
        if result is not None:
            for one in world_oracle.variations(plain, result.carried):
                tally.play(one)
        if number % 100 == 0:
            run.say(f"{tally.schedules:,} schedules, {tally.failed} failed")
    cpu_s = time.process_time() - started
    this = {
        "seed": seed,
        "schedules": tally.schedules,
        "failed": tally.failed,
        "cpu_s": round(cpu_s, 1),
        "commit": harness.commit(),
        "subject": SUBJECT,
        "generator": GENERATOR,
        "faults": dict(tally.kinds.most_common()),
        "outcomes": dict(tally.outcomes.most_common()),
        "failures": tally.failures,
    }
    run.details = {"runs": [*runs, this]}
    run.add(
        Figure(
            figure=f"schedules after which a client was told what isn't so, seed {seed}",
            value=tally.failed,
            unit=f"of {tally.schedules:,}",
            op="<=",
            target=0,
            generator=GENERATOR,
        )
    )
    same = sum(
        int(one["schedules"])
        for one in [*runs, this]
        if one["generator"] == GENERATOR and one["subject"] == SUBJECT
    )
    run.judged(
        Figure(figure="schedules against the present source of proxy and wire", value=same, unit="schedules")
    )


def show(run: Run, console: Console) -> None:
    """Print what became of transactions and cases."""
    runs = run.details.get("runs")
    if not isinstance(runs, list) or not runs:
        return
    table = Table(title=f"{runs[-1]['schedules']:,} schedules", title_justify="left")
    table.add_column("outcome")
    table.add_column("transactions, cases", justify="right")
    for outcome, count in runs[-1]["outcomes"].items():
        table.add_row(outcome, f"{count:,}")
    console.print(table)
    for failure in runs[-1]["failures"]:
        console.print(json.dumps(failure), highlight=False)


if __name__ == "__main__":
    sys.exit(harness.main("simulated", __doc__.split("\n")[0], body, extend=options, show=show))
