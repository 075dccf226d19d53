"""``python -m tests.conformance.peers SUITE...``: foreign suites, directly and through a proxy, compared.

Exit code 0: within the limits; 1: beyond them; 2: could not run. Results: ``tests/conformance/results/``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import COULD_NOT_RUN, harness
from benchmarks.proxying import endpoints, processes
from benchmarks.proxying.client import RefusedError
from benchmarks.proxying.cluster import NoServerError
from tests.conformance.peers import arena, pipelines, programs, reasons, suites
from tests.conformance.peers.arena import DIRECT_DATABASE, THROUGH_DATABASE, Arena
from tests.conformance.peers.material import NoMaterialError
from tests.conformance.peers.outcomes import Comparison, SuiteFailedError

RESULTS = Path(__file__).parents[1] / "results"
WITHIN, BEYOND = 0, 1
SESSION_SIZE = 100
"""In session mode every client keeps a server connection, and suites leave some open."""

UNSTEADY = 5
"""Tests without a reason that may fail at first and pass when run again; more are no accident."""
TRAFFIC_S = 0.002
"""CPU seconds that the smallest suite costs any proxy; less means that it connected to something else."""
SMALL = 4
"""Server connections for the programs, which open 20 connections at once."""


@dataclass(frozen=True)
class Suite:
    """A foreign suite and what it may come to."""

    run: Callable[[suites.Visit], dict[str, str]]
    version: str
    same_counts: bool = True
    limits: dict[str, int] | None = None
    """New failures allowed per pool mode, each of which needs a reason; none where there is no entry."""
    size: int = 20
    """Server connections in transaction mode."""
    plain: bool = False
    """The database needs no extensions."""

    def limit(self, mode: str) -> int:
        """Return how many new failures are allowed in a pool mode."""
        return (self.limits or {}).get(mode, 0)


def catalogue(psycopg_source: str) -> dict[str, Suite]:
    """Return all suites by name."""
    return {
        "sqlalchemy": Suite(suites.sqlalchemy, suites.SQLALCHEMY),
        "django": Suite(suites.django, suites.DJANGO, plain=True),
        "psycopg": Suite(
            suites.psycopg(psycopg_source),
            suites.PSYCOPG,
            same_counts=False,
            limits={"session": 5, "transaction": 34},
            size=60,
        ),
        "pipelines": Suite(pipelines.run, "of ours", size=SMALL, plain=True),
        "node": Suite(programs.node, "package.json", size=SMALL, plain=True),
        "jdbc": Suite(programs.jdbc, programs.JDBC, size=SMALL, plain=True),
        "go": Suite(programs.go, "go.mod", size=SMALL, plain=True),
    }


@dataclass(frozen=True)
class Verdict:
    """What came out of one suite in one mode."""

    suite: str
    mode: str
    comparison: Comparison
    explained: dict[str, str | None]
    """Each new failure with the reason that somebody wrote down, None without one."""
    ok: bool


def judge(
    name: str, suite: Suite, mode: str, found: Comparison, known: tuple[reasons.Reason, ...]
) -> Verdict:
    """Hold a comparison against the suite's limits."""
    failures = found.new_failures()
    explained = {test: reasons.why(known, suite=name, mode=mode, test=test) for test in failures}
    odd = [test for test in found.unsteady() if reasons.why(known, suite=name, mode=mode, test=test) is None]
    ok = len(failures) <= suite.limit(mode) and all(explained.values()) and len(odd) <= UNSTEADY
    return Verdict(name, mode, found, explained, ok and (not suite.same_counts or found.same_counts()))


def visit(name: str, suite: Suite, place: Arena, mode: str, folder: Path) -> Comparison:
    """Run a suite directly, then through the proxy."""
    found = []
    turns = (("direct", place.server, DIRECT_DATABASE), (place.through, place.proxy, THROUGH_DATABASE))
    for label, address, database in turns:
        place.fresh(database, plain=suite.plain)
        if name == "django":
            place.fresh(f"{database}_other", plain=True)
        started, before = time.monotonic(), spent(place)
        # The mode is told in both runs: what it rules out for clients is left out of both.
        outcomes = suite.run(
            suites.Visit(address, database, folder, f"{name}-{label}-{mode}-{database}", mode)
        )
        say(f"{name}, {label}: {len(outcomes)} tests in {time.monotonic() - started:.0f} s")
        found.append(outcomes)
        if label != "direct" and place.pids() and spent(place) - before < TRAFFIC_S:
            raise SuiteFailedError(f"{name} did not go through {label}, which was idle all the time")
    return Comparison(*found)


def spent(place: Arena) -> float:
    """Return the CPU seconds that the proxy has used so far."""
    return processes.cpu_s(place.pids())


def say(text: str) -> None:
    """Report progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def show(verdict: Verdict, suite: Suite) -> None:
    """Print counts, new failures and whether they are within the limits."""
    counts = verdict.comparison.counts()
    word = "within" if verdict.ok else "BEYOND"
    print(f"\n{verdict.suite} {suite.version}, {verdict.mode} mode: {word} the limits")
    for run, found in counts.items():
        print(f"  {run:8} " + ", ".join(f"{number} {word}" for word, number in found.items()))
    print(f"  {len(verdict.explained)} new failures, {suite.limit(verdict.mode)} allowed")
    for test, because in verdict.explained.items():
        print(f"    {test}\n      {because or 'NO REASON GIVEN'}")
    for test in verdict.comparison.unsteady():
        print(f"    {test}\n      failed, passed when run again")


def record(verdict: Verdict, suite: Suite, place: Arena, seconds: float) -> Path:
    """Write the verdict to the results folder."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{verdict.suite}-{verdict.mode}-{place.through}.json"
    rival = endpoints.pgbouncer_version() if place.through == arena.PGBOUNCER else None
    document = {
        "suite": verdict.suite,
        "version": suite.version,
        "through": rival or place.through,
        "mode": verdict.mode,
        "server": f"PostgreSQL {place.version}",
        "commit": harness.commit(),
        "duration_s": round(seconds, 1),
        "counts": verdict.comparison.counts(),
        "limit": suite.limit(verdict.mode),
        "new_failures": verdict.explained,
        "unsteady": verdict.comparison.unsteady(),
        "failed_directly": sorted(
            test for test, outcome in verdict.comparison.direct.items() if outcome == "failed"
        ),
        "ok": verdict.ok,
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


def options() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="python -m tests.conformance.peers", description=__doc__)
    made.add_argument("suite", nargs="+", help="all, or some of: " + ", ".join(catalogue("")))
    made.add_argument("--mode", choices=("session", "transaction"), action="append", help="default: both")
    made.add_argument(
        "--through", choices=(arena.SEAWALL, arena.PGBOUNCER, arena.DIRECT), default=arena.SEAWALL
    )
    made.add_argument("--proxy-dsn", metavar="HOST:PORT", help="a running proxy; needs --server-dsn")
    made.add_argument("--server-dsn", metavar="HOST:PORT", help="the server behind it")
    made.add_argument("--pgbouncer", metavar="PATH", help="another PgBouncer than the one on the path")
    made.add_argument("--psycopg-source", default=suites.PSYCOPG_SOURCE, help="URL or path of a mirror")
    made.add_argument(
        "--folder", type=Path, default=harness.ROOT / "build" / "peers", help="for what is fetched"
    )
    made.add_argument("--no-record", action="store_true", help="leave the results folder as it is")
    return made


def one(name: str, suite: Suite, mode: str, told: argparse.Namespace) -> bool:
    """Run, judge, print and record one suite in one mode."""
    size = SESSION_SIZE if mode == "session" else suite.size
    given = (told.proxy_dsn, told.server_dsn) if told.proxy_dsn else None
    started = time.monotonic()
    with arena.arena(told.through, mode=mode, size=size, program=told.pgbouncer, given=given) as place:
        say(f"{name}, {mode} mode, through {told.through}, PostgreSQL {place.version}")
        found = visit(name, suite, place, mode, told.folder)
        verdict = judge(name, suite, mode, found, reasons.load())
        show(verdict, suite)
        if not told.no_record:
            say(f"written: {record(verdict, suite, place, time.monotonic() - started)}")
    return verdict.ok


def main() -> int:
    """Run the command."""
    processes.clean_up_when_told()
    parser = options()
    told = parser.parse_args()
    known = catalogue(told.psycopg_source)
    wanted = list(known) if "all" in told.suite else told.suite
    if unknown := sorted(set(wanted) - set(known)):
        parser.error(f"unknown suites {unknown}; there are {sorted(known)}")
    if bool(told.proxy_dsn) != bool(told.server_dsn):
        parser.error("--proxy-dsn and --server-dsn go together: one says where the other's data is")
    told.folder.mkdir(parents=True, exist_ok=True)
    good = True
    try:
        for name in wanted:
            for mode in told.mode or ("session", "transaction"):
                good = one(name, known[name], mode, told) and good
    except (NoMaterialError, NoServerError, endpoints.NoProxyError, SuiteFailedError, RefusedError) as error:
        say(f"could not run: {error}")
        return COULD_NOT_RUN
    return WITHIN if good else BEYOND


if __name__ == "__main__":
    sys.exit(main())
