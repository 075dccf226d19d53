"""What telemetry costs the data path: absent, healthy, blocked, crashing, flooded.

``python -m benchmarks.observer [--quick] [--json]``. CPU of the worker per transaction of a proxy that is
looked on, over that of the same proxy that isn't, pgbench before both. Both run at the same time on one core,
the server, both pgbench, the collector and both supervisors on another; the ratio is taken within a round.

- *healthy*: spans are enabled, slow and failed queries are looked for, metrics are scraped each second;
- *blocked*: the same while the supervisor is stopped, so that nobody reads what the worker passes on;
- *crashing*: the same with an observer that fails whenever it is called;
- *flooded*: every query belongs to a sampled trace, which is many times what there is room for.

``--traced N`` has N of a hundred queries belong to sampled traces in the first three, too.
"""

from __future__ import annotations

import argparse
import http.server
import os
import signal
import statistics
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import harness, interpreter, journal
from benchmarks.failing import onlooker
from benchmarks.failing.front import Front, NoFrontError, Options, front
from benchmarks.harness import Figure, Run, median_interval
from benchmarks.proxying import load, processes
from benchmarks.proxying.cluster import Cluster, NoServerError, cluster
from benchmarks.proxying.endpoints import Build, Endpoint

DATABASE = "bench"
CLIENTS = 8
POOL = 20
LIMIT = 1.03
ABSENT, WATCHED = "absent", "watched"
SCRAPE_S = 1.0
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
QUERY = "SELECT abalance FROM pgbench_accounts WHERE aid = :aid"
LOAD = f"""\\set aid random(1, 100000 * :scale)
\\set traced random(1, 100)
\\if :traced <= :share
{QUERY} /*traceparent='{PARENT}'*/;
\\else
{QUERY};
\\endif
"""


@dataclass(frozen=True)
class State:
    """One way in which telemetry may be.

    Attributes:
        name: What it is called.
        share: Of a hundred queries, so many belong to sampled traces.
        how: What ``onlooker`` is told.
        stopped: The supervisor is stopped while it is measured.
    """

    name: str
    share: int = 0
    how: str = onlooker.WELL
    stopped: bool = False


STATES = (
    State("healthy"),
    State("blocked", stopped=True),
    State("crashing", how=onlooker.CRASHING),
    State("flooded", share=100),
)
PROTOCOLS = ("simple", "extended")


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    rounds: int
    transactions: int
    scale: int


FULL = Sizes(11, 10_000, 10)
QUICK = Sizes(5, 1_500, 1)


class Workers(Endpoint):
    """A proxy of which the workers alone are counted: they are the data path."""

    def pids(self) -> tuple[int, ...]:
        """The workers' processes."""
        roots = {one.pid for one in self.running}
        return tuple(pid for pid in super().pids() if pid not in roots)


class Sink(http.server.BaseHTTPRequestHandler):
    """A collector that takes everything."""

    spans_bytes = 0

    def do_POST(self) -> None:
        """Take a request."""
        Sink.spans_bytes += len(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def collector() -> Iterator[str]:
    """Run a collector; where it is."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
        finally:
            server.shutdown()


@contextmanager
def scraping(port: int) -> Iterator[None]:
    """Scrape metrics all the time."""
    done = threading.Event()

    def scrape() -> None:
        while not done.wait(SCRAPE_S):
            with (
                suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=1) as page,
            ):
                page.read()

    thread = threading.Thread(target=scrape, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def pair(server: Cluster, build: Build, state: State, where: str) -> Iterator[dict[str, Front]]:
    """Run two proxies that differ in nothing but that one is looked on."""
    plain = Options(
        replay=False,
        promotes=True,
        workers=1,
        pool=POOL,
        topology="single-primary",
        ports={"server": server.port},
    )
    watched = replace(plain, telemetry=state.how, collector=where, metrics_port=processes.free_port())
    with ExitStack() as stack:
        found = {
            ABSENT: stack.enter_context(front(None, plain, build=build.path)),
            WATCHED: stack.enter_context(front(None, watched, build=build.path)),
        }
        stack.enter_context(scraping(watched.metrics_port))
        yield found


@contextmanager
def stopped(process: int, *, really: bool) -> Iterator[None]:
    """Keep a process from running."""
    if really:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        if really:
            os.kill(process, signal.SIGCONT)


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this benchmark has."""
    journal.options(parser)
    parser.add_argument("--traced", type=int, default=0, metavar="N", help="of a hundred queries, see above")


def measure(
    run: Run, sizes: Sizes, build: Build, state: State, found: dict[str, Front], script: Path
) -> None:
    """Add the figures of one state of one build."""
    script.write_text(
        LOAD.replace(":scale", str(sizes.scale)).replace(":share", str(max(state.share, run.options.traced)))
    )
    for protocol in PROTOCOLS:
        kind = load.Kind(state.name, protocol, several=True)
        arms = {
            name: load.Arm(Workers(name, one.port, (one.process,)), kind, CLIENTS, DATABASE, script)
            for name, one in found.items()
        }
        with stopped(found[WATCHED].process.pid, really=state.stopped):
            taken = harness.side_by_side(arms, rounds=sizes.rounds, number=sizes.transactions)
        over = median_interval([on / off for on, off in zip(taken[WATCHED], taken[ABSENT], strict=True)])
        each = {name: statistics.median(rounds) * 1e6 for name, rounds in taken.items()}
        run.say(f"{build.name}, {state.name}, {protocol}: {over.median:.3f} [{over.low:.3f} {over.high:.3f}]")
        run.judged(
            Figure(
                figure=f"CPU of a worker per query, {state.name} / absent, {protocol}, {build.name}",
                value=round(over.median, 4),
                unit="ratio",
                op="<=",
                target=LIMIT,
                interval=(round(over.low, 4), round(over.high, 4)),
                note=f"{each[ABSENT]:.2f} us absent, {each[WATCHED]:.2f} us {state.name}",
            )
        )


def body(run: Run) -> None:
    """Measure everything."""
    sizes = QUICK if run.quick else FULL
    try:
        with tempfile.TemporaryDirectory() as folder, cluster() as server, collector() as where:
            server.load(DATABASE, sizes.scale)
            run.details |= {
                "server": f"PostgreSQL {server.version}",
                "clients": CLIENTS,
                "sizes": vars(sizes),
                "interpreter": interpreter.described(),
                **harness.versions(["uvloop", "opentelemetry-api"]),
            }
            for build in journal.builds(run, Path(folder) / "compiled"):
                for state in STATES:
                    with pair(server, build, state, where) as found:
                        workers = [
                            pid for one in found.values() for pid in one.pids() if pid != one.process.pid
                        ]
                        others = [
                            *processes.tree(server.process.pid),
                            *(one.process.pid for one in found.values()),
                        ]
                        with processes.on_their_core(workers, others) as placed:
                            run.details["on cores of their own"] = placed
                            measure(run, sizes, build, state, found, Path(folder) / "script.sql")
            run.details["bytes of spans taken by the collector"] = Sink.spans_bytes
    except (NoServerError, NoFrontError, load.LoadFailedError) as error:
        raise harness.CouldNotRunError(str(error)) from error


def main() -> int:
    """Run the benchmark as a command."""
    processes.clean_up_when_told()
    return harness.main("observer", __doc__.split("\n")[0], body, extend=options)


if __name__ == "__main__":
    sys.exit(main())
