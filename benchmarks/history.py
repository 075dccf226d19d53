"""History checker: what clients were told, against what the servers have, while servers die.

``python -m benchmarks.history --kills N [--seed S] [--only KIND]... [--quick] [--json]``. Clients of
psycopg and asyncpg move money, append to lists and draw keys through the proxy; faults strike one after
the other. After each, every acknowledged transaction has to be there, once, every one told 40001 not at
all, and one told 08007 whole or not at all; no read and no idle session may notice anything. The first
violation ends the run, with its seed and the transaction's history. A full run adds to the kills counted
in ``benchmarks/results/history.json``.

``--control`` takes the proxy without promotion and replay, records nothing and stops at nothing: it shows
that the faults bite.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import harness
from benchmarks.failing import field, ledger
from benchmarks.failing.front import NoFrontError, Options
from benchmarks.failing.plan import KINDS, Chapter, by_kind, plan
from benchmarks.failing.run import Play
from benchmarks.harness import Figure, Run
from benchmarks.proxying import processes
from seawall.embedded.errors import ClusterError, EngineNotFound

KILLS = 200
KILLS_QUICK = 12


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this benchmark takes."""
    parser.add_argument(
        "--kills", type=int, default=0, help=f"how many (default {KILLS}; quick {KILLS_QUICK})"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: a new one)")
    parser.add_argument(
        "--only", action="append", choices=tuple(KINDS), help="faults of this kind (may be repeated)"
    )
    parser.add_argument("--control", action="store_true", help="without promotion and replay: faults bite")
    parser.add_argument("--unpinned", action="store_true", help="never pin sequences")
    parser.add_argument("--log", type=Path, help="folder for the proxies' words and transactions' histories")


def body(run: Run) -> None:
    """Play, then judge this run and all runs together."""
    told = run.options
    run.recorded = True
    seed = told.seed or 1 + max((int(one["seed"]) for one in ledger.earlier(run.name)), default=0)
    kills = told.kills or (KILLS_QUICK if run.quick else KILLS)
    only = tuple(told.only or ())
    chapters = plan(kills, random.Random(f"{seed} plan"), only, resets=field.can_reset())
    run.say(f"seed {seed}: {dict(by_kind(chapters))} in {len(chapters)} chapters")
    if told.log is not None:
        told.log.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        with field.cluster() as cluster:
            server = f"PostgreSQL {cluster.engine.release}"
            run.say(f"{server}, a primary and {field.REPLICAS} synchronous replicas")
            play = Play(cluster, seed, run.say, setup(told), tolerant=told.control, log=told.log)

            def keep() -> None:
                this = ledger.record_of(
                    play.tally, seed=seed, server=server, duration_s=time.monotonic() - started, only=only
                )
                with ledger.alone(run.name):  # runs with other seeds may be under way
                    runs = [*(one for one in ledger.earlier(run.name) if one["seed"] != seed), this]
                    run.figures.clear()
                    run.details = {"runs": runs}
                    ledger.judge(run, this, runs)
                    if not run.quick and not told.control:
                        harness.record(run, time.perf_counter() - run.started)

            _play(run, play, chapters, keep)
    except (NoFrontError, ClusterError, EngineNotFound) as error:
        raise harness.CouldNotRunError(str(error)) from error
    if told.control:
        bites(run, play)


def setup(told: argparse.Namespace) -> Options:
    """What the command line says about the proxy."""
    if told.control:
        return Options(watches=False, replay=False, promotes=False)
    return Options(pin=not told.unpinned)


def _play(run: Run, play: Play, chapters: list[Chapter], keep: Callable[[], None]) -> None:
    """Play chapter after chapter; what is done is kept, whatever happens to the next one."""
    for chapter in chapters:
        clean = play.chapter(chapter)
        keep()
        if not clean and not run.options.control:
            run.say(f"stopped: seed {play.seed}, chapter {chapter.number}")
            return


def bites(run: Run, play: Play) -> None:
    """Judge a control run: without protection, clients have to be hurt."""
    run.figures.clear()
    for figure, value in (
        ("transactions whose connection was lost", play.tally.cut),
        ("reads and idle sessions that noticed", play.tally.bystanders.total()),
    ):
        run.add(Figure(figure=f"control: {figure}", value=value, unit="times", op=">=", target=1))


def show(run: Run, console: Console) -> None:
    """Print what became of transactions that were open when a server was lost, and how long kills took."""
    runs = run.details.get("runs")
    if not isinstance(runs, list) or not runs:
        return
    this = runs[-1]
    table = Table(title=f"kills, seed {this['seed']}", title_justify="left")
    for column in ("kind", "kills", "missed", "s each (median)", "resumed (median)", "p95", "slowest read"):
        table.add_column(column, justify="left" if column == "kind" else "right")
    for kind, number in sorted(this["kills"].items()):
        took, resumed = this["seconds"][kind], this["resumed_s"][kind]
        table.add_row(
            kind,
            str(number),
            str(this["missed"].get(kind, 0)),
            f"{took['median'] / KINDS[kind].bundle:.2f}",
            f"{resumed['median']:.2f}",
            f"{resumed['p95']:.2f}",
            f"{this['slowest_read_s'][kind]['longest']:.2f}",
        )
    console.print(table)
    table = Table(title="transactions that were open when a server was lost", title_justify="left")
    table.add_column("workload")
    table.add_column("outcome")
    table.add_column("number", justify="right")
    for workload, counted in sorted(this["hit"].items()):
        for outcome, number in sorted(counted.items(), key=lambda one: -one[1]):
            table.add_row(workload, outcome, f"{number:,}")
    console.print(table)


def main() -> int:
    """Run the benchmark as a command."""
    processes.clean_up_when_told()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return harness.main("history", __doc__.split("\n")[0], body, extend=options, show=show)


if __name__ == "__main__":
    sys.exit(main())
