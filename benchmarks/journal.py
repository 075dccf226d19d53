"""What replay costs while nothing fails: the journal, the hashes, what is asked ahead of COMMIT.

``python -m benchmarks.journal [--quick] [--json]``. CPU per transaction of the proxy that keeps all it
needs to say transactions again, over the same proxy that doesn't, pgbench before both. Both run at the same
time on one core, the server and both pgbench on another; the difference is taken within a round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import harness, interpreter
from benchmarks.failing.front import NoFrontError, Options, front
from benchmarks.guard import newest_wheel
from benchmarks.harness import Figure, Run, median_interval
from benchmarks.proxying import endpoints, load, processes
from benchmarks.proxying.cluster import Cluster, NoServerError, cluster
from benchmarks.proxying.endpoints import Build, Endpoint

DATABASE = "bench"
CLIENTS = 8
POOL = 20
WRITES, READS = 15.0, 3.0
"""Per cent more CPU per transaction."""
ON, OFF = "replay on", "replay off"

WRITE = """\\set aid random(1, 100000 * :scale)
\\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, :aid, :delta, CURRENT_TIMESTAMP);
COMMIT;
"""
READ = """\\set aid random(1, 100000 * :scale)
BEGIN;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
COMMIT;
"""


@dataclass(frozen=True)
class Case:
    """One sort of transaction."""

    name: str
    target: float
    script: str = ""
    """Empty: one SELECT without BEGIN."""
    share: float = 1.0


CASES = (
    Case("BEGIN; UPDATE; SELECT; INSERT; COMMIT", WRITES, WRITE, 0.25),
    Case("SELECT", READS),
    Case("BEGIN; SELECT; COMMIT", READS, READ, 0.5),
)
PROTOCOLS = ("simple", "extended")


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    rounds: int
    transactions: int
    scale: int


FULL = Sizes(24, 3_000, 10)
QUICK = Sizes(5, 2_000, 1)


@contextmanager
def pair(server: Cluster, build: Build) -> Iterator[dict[str, Endpoint]]:
    """Run two proxies that differ in nothing but replay."""
    with ExitStack() as stack:
        found = {}
        for name, replay in ((OFF, False), (ON, True)):
            options = Options(
                replay=replay,
                pin=True,
                promotes=True,
                workers=1,
                pool=POOL,
                topology="single-primary",
                ports={"server": server.port},
            )
            running = stack.enter_context(front(None, options, build=build.path))
            found[name] = Endpoint(f"{build.name}, {name}", running.port, (running.process,))
        yield found


def measure(run: Run, sizes: Sizes, build: Build, found: Mapping[str, Endpoint], folder: Path) -> None:
    """Add the figures of one build."""
    for case in CASES:
        script = folder / "script.sql"
        script.write_text(case.script.replace(":scale", str(sizes.scale)))
        for protocol in PROTOCOLS:
            kind = load.Kind(case.name, protocol, several=bool(case.script), share=case.share)
            arms = {
                name: load.Arm(endpoint, kind, CLIENTS, DATABASE, script) for name, endpoint in found.items()
            }
            taken = harness.side_by_side(arms, rounds=sizes.rounds, number=sizes.transactions)
            over = median_interval(
                [100.0 * (on / off - 1.0) for on, off in zip(taken[ON], taken[OFF], strict=True)]
            )
            each = {name: statistics.median(rounds) * 1e6 for name, rounds in taken.items()}
            run.say(f"{build.name}, {case.name}, {protocol}: {over.median:+.1f} %, {each}")
            run.judged(
                Figure(
                    figure=f"CPU of replay per transaction, {case.name}, {protocol}, {build.name}",
                    value=round(over.median, 2),
                    unit="%",
                    op="<=",
                    target=case.target,
                    interval=(round(over.low, 2), round(over.high, 2)),
                    note=f"{each[OFF]:.1f} us without, {each[ON]:.1f} us with",
                )
            )


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this benchmark has."""
    parser.add_argument("--compiled-wheel", type=Path, help="compiled wheel to measure (make wheel)")


def builds(run: Run, folder: Path) -> list[Build]:
    """The builds that can be measured; the last of them alone in a quick run."""
    found = [endpoints.pure()]
    fast = endpoints.compiled(folder, run.options.compiled_wheel or newest_wheel())
    if isinstance(fast, str):
        run.say(f"compiled build not measured: {fast}")
        run.details["compiled"] = fast
    else:
        found.append(fast)
    return found[-1:] if run.quick else found


def body(run: Run) -> None:
    """Measure everything."""
    sizes = QUICK if run.quick else FULL
    try:
        with tempfile.TemporaryDirectory() as folder, cluster() as server:
            server.load(DATABASE, sizes.scale)
            run.details |= {
                "server": f"PostgreSQL {server.version}",
                "clients": CLIENTS,
                "sizes": vars(sizes),
                "interpreter": interpreter.described(),
                **harness.versions(["uvloop"]),
            }
            for build in builds(run, Path(folder) / "compiled"):
                with pair(server, build) as found:
                    proxies = [pid for one in found.values() for pid in one.pids()]
                    with processes.on_their_core(proxies, processes.tree(server.process.pid)) as placed:
                        run.details["on cores of their own"] = placed
                        measure(run, sizes, build, found, Path(folder))
    except (NoServerError, NoFrontError, load.LoadFailedError) as error:
        raise harness.CouldNotRunError(str(error)) from error


def main() -> int:
    """Run the benchmark as a command."""
    processes.clean_up_when_told()
    return harness.main("journal", __doc__.split("\n")[0], body, extend=options)


if __name__ == "__main__":
    sys.exit(main())
