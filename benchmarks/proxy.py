"""What the proxy costs: CPU per transaction, waiting, memory, beside PgBouncer and the bare server.

``python -m benchmarks.proxy [--quick] [--json] [--only SECTION]... [--a-a]``. One PostgreSQL and all proxies
run on this machine, TCP on loopback, the same pool on each; rounds are interleaved and a ratio is taken
within a round. ``--only`` measures some sections and keeps the recorded figures of the others; ``--a-a`` puts
a second PgBouncer in Seawall's place, which shows how far from 1 a ratio of equals comes out here.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks import harness, interpreter
from benchmarks.guard import newest_wheel
from benchmarks.harness import Figure, Run, median_interval, percentile
from benchmarks.proxying import bulk, endpoints, idle, latency, load, processes, shares
from benchmarks.proxying.client import RefusedError
from benchmarks.proxying.cluster import Cluster, NoServerError, cluster, pgbench
from benchmarks.proxying.endpoints import SESSION, TRANSACTION, Endpoint, NoProxyError

DATABASE = "bench"
SCALE = 10
POOL = 20
SESSION_POOL = 70
"""In session mode each of 64 clients keeps a server connection."""
RIVAL = "PgBouncer"
DIRECT = "direct"
MB = 1e6

FEW, MANY = 8, 64
RATIOS = {("compiled", FEW): 1.35, ("pure", FEW): 1.8, ("compiled", MANY): 1.2, ("pure", MANY): 1.5}
"""Times PgBouncer's CPU per transaction; the goals at 8 clients are 1.0 and 1.3."""
ADDED_US = 60.0
"""Of a worker that polls; the goal is 30."""
BUSY_POLL = "10ms"
TWO_WORKERS = 1.10
LARGER_SHARE = 65.0
IDLE_BYTES = 10_000
IDLE_CLIENTS = 10_000
IDLE_HOLD_S = 20.0
BULK_GROWTH_MB = 64.0


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    rounds: int
    rounds_many: int
    """With ``MANY`` clients, more and longer ones: a round differs by a fifth from the next one, and in
    the first half second, while the servers' caches are cold, every proxy needs more."""
    transactions: int
    transactions_many: int
    waits: int
    share_runs: int
    share_s: float
    idle_clients: int
    hold_s: float
    row_bytes: int
    copy_bytes: int
    stall_s: float


FULL = Sizes(9, 11, 16_000, 24_000, 20_000, 7, 2.0, IDLE_CLIENTS, IDLE_HOLD_S, 10**9, 2 * 10**9, 3.0)
QUICK = Sizes(2, 2, 3_000, 3_000, 2_000, 2, 0.5, 500, 0.5, 100_000_000, 200_000_000, 0.5)


@dataclass(frozen=True)
class Ours:
    """One way to run Seawall."""

    build: str
    start: Callable[..., AbstractContextManager[Endpoint]]
    prepares: bool = True
    """It knows prepared statements outside of session mode."""
    polls: bool = True
    """Its workers can be told not to sleep between queries."""


@dataclass(frozen=True)
class Stage:
    """What every section works with."""

    run: Run
    server: Cluster
    ours: tuple[Ours, ...]
    script: Path
    sizes: Sizes

    def direct(self) -> Endpoint:
        """Return the server itself as the control."""
        return Endpoint(DIRECT, self.server.port)

    @contextmanager
    def contestants(self, mode: str, size: int) -> Iterator[dict[str, Endpoint]]:
        """Run all proxies at once, the rival and the control first."""
        with ExitStack() as stack:
            found = {DIRECT: self.direct()}
            found[RIVAL] = stack.enter_context(
                endpoints.pgbouncer(self.server.port, mode=mode, size=size, database=DATABASE)
            )
            for one in self.ours:
                found[one.build] = stack.enter_context(one.start(mode=mode, size=size))
            yield found

    def arms(self, found: Mapping[str, Endpoint], kind: load.Kind, clients: int) -> dict[str, load.Arm]:
        """Return one arm per endpoint."""
        return {
            name: load.Arm(endpoint, kind, clients, DATABASE, self.script) for name, endpoint in found.items()
        }

    def measure(self, arms: Mapping[str, load.Arm]) -> dict[str, list[float]]:
        """Return CPU microseconds per transaction, arm and round."""
        many = any(arm.clients == MANY for arm in arms.values())
        rounds = self.sizes.rounds_many if many else self.sizes.rounds
        number = self.sizes.transactions_many if many else self.sizes.transactions
        taken = harness.interleave(arms, rounds=rounds, number=number)
        return {name: [seconds * 1e6 for seconds in rounds] for name, rounds in taken.items()}


# --- CPU per transaction -------------------------------------------------------------------------------


def cpu(stage: Stage) -> None:
    """Add CPU per transaction of every protocol at 8 and at 64 clients."""
    shared = (load.SIMPLE, load.EXTENDED, load.SEVERAL_STATEMENTS)
    for mode, size, kinds in ((TRANSACTION, POOL, shared), (SESSION, SESSION_POOL, (load.PREPARED,))):
        with stage.contestants(mode, size) as found:
            for clients in (FEW, MANY):
                if stage.run.quick and clients == MANY and mode == SESSION:
                    continue
                for kind in kinds[:1] if stage.run.quick and clients == MANY else kinds:
                    label = f"{clients} clients, {kind.name}, {mode} mode"
                    cpu_row(stage, label, stage.arms(found, kind, clients))
                if mode == TRANSACTION and not stage.run.quick:
                    # No rival: PgBouncer before 1.21 knows prepared statements in session mode only.
                    alone = {one.build: found[one.build] for one in stage.ours if one.prepares}
                    label = f"{clients} clients, prepared, {mode} mode"
                    if alone:
                        cpu_row(stage, label, stage.arms(alone, load.PREPARED, clients))


def cpu_row(stage: Stage, label: str, arms: Mapping[str, load.Arm]) -> None:
    """Measure one row and add its figures: microseconds, and the ratio to the rival where there is one."""
    taken = stage.measure(arms)
    medians = {name: statistics.median(rounds) for name, rounds in taken.items()}
    rates = ", ".join(f"{name} {statistics.median(arm.rates):,.0f}/s" for name, arm in arms.items())
    rounded = {name: round(value, 1) for name, value in medians.items()}
    stage.run.say(f"{label}: {rounded} us; {rates}")
    for one in stage.ours:
        if one.build not in taken:
            continue
        estimate = median_interval(taken[one.build])
        rivals = {RIVAL: round(medians[RIVAL], 2)} if RIVAL in medians else {}
        stage.run.add(
            Figure(
                figure=f"CPU per transaction, {one.build}, {label}",
                value=round(estimate.median, 2),
                unit="us",
                interval=(round(estimate.low, 2), round(estimate.high, 2)),
                rivals=rivals,
                note=rates,
            )
        )
        if RIVAL not in taken:
            continue
        ratio = median_interval([a / b for a, b in zip(taken[one.build], taken[RIVAL], strict=True)])
        clients = arms[one.build].clients
        stage.run.judged(
            Figure(
                figure=f"times PgBouncer's CPU, {one.build}, {label}",
                value=round(ratio.median, 3),
                unit="x",
                op="<=",
                target=RATIOS.get((one.build, clients), RATIOS["pure", clients]),
                interval=(round(ratio.low, 3), round(ratio.high, 3)),
            )
        )


# --- waiting -------------------------------------------------------------------------------------------


def waiting(stage: Stage) -> None:
    """Add what one client waits more than on the bare server.

    Three processes take turns, and where each has a core of its own to sleep on, a proxy's share is mostly
    what it takes to wake up two of those (in a virtual machine, by way of its host). So it is measured in
    three ways: as everything is by default, with workers that poll (``proxy.busy_poll``) instead of going to
    sleep, and with all on one core, where what is added is the proxy's own work and the switches.
    """
    builds = [one.build for one in stage.ours]
    with stage.contestants(TRANSACTION, POOL) as found:
        with ExitStack() as stack:
            polling = {
                f"{one.build}, polling": stack.enter_context(
                    one.start(mode=TRANSACTION, size=POOL, busy_poll=BUSY_POLL)
                )
                for one in stage.ours
                if one.polls
            }
            waits_added(stage, found | polling, "one client", [*builds, *polling], judged=[*polling])
        pids = [pid for endpoint in found.values() for pid in endpoint.pids()]
        with processes.on_one_core([*processes.tree(stage.server.process.pid), *pids]):
            waits_added(stage, found, "one client, all on one core", builds, judged=builds)


def waits_added(
    stage: Stage, found: Mapping[str, Endpoint], whose: str, names: Sequence[str], *, judged: Sequence[str]
) -> None:
    """Measure in one way, and add its figures."""
    taken = latency.waits(found, database=DATABASE, number=stage.sizes.waits)
    added = {
        name: {share: over_direct(taken[DIRECT], waits, share) for share in (0.5, 0.99)}
        for name, waits in taken.items()
        if name != DIRECT
    }
    direct_us = percentile(taken[DIRECT], 0.5) / 1e3
    for each in names:
        for share, name in ((0.5, "p50"), (0.99, "p99")):
            estimate = median_interval(added[each][share])
            counts = share == 0.5 and each in judged
            stage.run.judged(
                Figure(
                    figure=f"{name} added for {whose}, {each}",
                    value=round(estimate.median, 1),
                    unit="us",
                    op="<=" if counts else None,
                    target=ADDED_US if counts else None,
                    interval=(round(estimate.low, 1), round(estimate.high, 1)),
                    rivals={RIVAL: round(statistics.median(added[RIVAL][share]), 1)},
                    note=f"direct p50 {direct_us:.1f} us",
                )
            )
            stage.run.say(f"{name} added for {whose}, {each}: {estimate.median:.1f} us")


def over_direct(direct: list[int], waits: list[int], share: float) -> list[float]:
    """Return, block by block, by how many microseconds the percentile is above the control's."""
    return [
        (
            percentile(waits[at : at + latency.BLOCK], share)
            - percentile(direct[at : at + latency.BLOCK], share)
        )
        / 1e3
        for at in range(0, len(waits), latency.BLOCK)
    ]


# --- several workers -----------------------------------------------------------------------------------


def workers(stage: Stage) -> None:
    """Add what a second worker costs, and how evenly the two share the clients."""
    rival = Ours(RIVAL, partial(endpoints.pgbouncer, stage.server.port, database=DATABASE))
    ratios, larger = {}, {}
    for one in (rival, *stage.ours):
        with (
            one.start(mode=TRANSACTION, size=POOL) as alone,
            one.start(mode=TRANSACTION, size=POOL, workers=2) as pair,
        ):
            taken = stage.measure(stage.arms({"1": alone, "2": pair}, load.SIMPLE, MANY))
            ratios[one.build] = median_interval([b / a for a, b in zip(taken["1"], taken["2"], strict=True)])
            found = [
                shares.served(pair, clients=MANY, seconds=stage.sizes.share_s, database=DATABASE)
                for _ in range(stage.sizes.share_runs)
            ]
            larger[one.build] = [100.0 * max(each.values()) / sum(each.values()) for each in found]
        stage.run.say(f"two workers, {one.build}: {ratios[one.build].median:.3f} x, {larger[one.build]} %")
    for one in stage.ours:
        stage.run.judged(
            Figure(
                figure=f"two workers' CPU per transaction, times one worker's, {one.build}, {MANY} clients",
                value=round(ratios[one.build].median, 3),
                unit="x",
                op="<=",
                target=TWO_WORKERS,
                interval=(round(ratios[one.build].low, 3), round(ratios[one.build].high, 3)),
                rivals={RIVAL: round(ratios[RIVAL].median, 3)},
            )
        )
        stage.run.judged(
            Figure(
                figure=f"larger worker's share of the transactions, {one.build}, {MANY} clients",
                value=round(statistics.median(larger[one.build]), 1),
                unit="%",
                op="<=",
                target=LARGER_SHARE,
                rivals={RIVAL: round(statistics.median(larger[RIVAL]), 1)},
                note=f"largest of {len(larger[one.build])} runs {max(larger[one.build]):.1f} %",
            )
        )


# --- memory --------------------------------------------------------------------------------------------


def idle_clients(stage: Stage) -> None:
    """Add the memory of clients that are logged in and do nothing, and whether they are still served."""
    number = stage.sizes.idle_clients
    bytes_each, alive = {}, {}
    with stage.contestants(TRANSACTION, POOL) as found:
        for name, endpoint in found.items():
            if name == DIRECT:
                continue
            pids = endpoint.pids()
            before = processes.proportional(pids)
            with idle.crowd(endpoint.port, number, DATABASE) as crowd:
                crowd.wait_ready()
                time.sleep(stage.sizes.hold_s)
                bytes_each[name] = (processes.proportional(pids) - before) / number
                alive[name] = crowd.ask()
            stage.run.say(
                f"idle, {name}: {bytes_each[name]:,.0f} B each, {alive[name]:,} of {number:,} alive"
            )
    for one in stage.ours:
        stage.run.judged(
            Figure(
                figure=f"memory of an idle client, {number:,} of them, {one.build}",
                value=round(bytes_each[one.build]),
                unit="B",
                op="<=",
                target=IDLE_BYTES,
                rivals={RIVAL: round(bytes_each[RIVAL])},
            )
        )
        stage.run.add(
            Figure(
                figure=f"clients idle for {stage.sizes.hold_s:g} s that still answer, {one.build}",
                value=alive[one.build],
                unit="clients",
                op=">=",
                target=number,
                rivals={RIVAL: alive[RIVAL]},
            )
        )


def large_data(stage: Stage) -> None:
    """Add how much a huge row and long COPYs make the proxy grow."""
    sizes = stage.sizes
    with stage.contestants(TRANSACTION, POOL) as found:
        transfers: dict[str, Callable[[Endpoint], tuple[int, int]]] = {
            f"a row of {sizes.row_bytes / MB:,.0f} MB": lambda endpoint: bulk.read(
                endpoint, DATABASE, bulk.row_of(sizes.row_bytes), sizes.stall_s
            ),
            f"COPY out of {sizes.copy_bytes / MB:,.0f} MB": lambda endpoint: bulk.read(
                endpoint, DATABASE, bulk.copy_out_of(sizes.copy_bytes), sizes.stall_s
            ),
            f"COPY in of {sizes.copy_bytes / MB:,.0f} MB": lambda endpoint: bulk.copy_in(
                endpoint, stage.server, DATABASE, sizes.copy_bytes, sizes.stall_s
            ),
        }
        for label, transfer in transfers.items():
            grown = {
                name: bulk.measure(endpoint, partial(transfer, endpoint))
                for name, endpoint in found.items()
                if name != DIRECT
            }
            for one in stage.ours:
                ours = grown[one.build]
                stage.run.say(f"{label}, {one.build}: {ours}")
                stage.run.add(
                    Figure(
                        figure=f"peak memory growth, {label}, slow peer, {one.build}",
                        value=round(ours.growth / MB, 2),
                        unit="MB",
                        op="<=",
                        target=BULK_GROWTH_MB,
                        rivals={RIVAL: round(grown[RIVAL].growth / MB, 2)},
                        note=f"{ours.moved:,} B in {ours.seconds:.1f} s, rival {grown[RIVAL].seconds:.1f} s; "
                        f"{ours.moved_in_stall:,} B taken in while the server stood still",
                    )
                )


# --- the command ---------------------------------------------------------------------------------------

SECTIONS: dict[str, Callable[[Stage], None]] = {
    "cpu": cpu,
    "waiting": waiting,
    "workers": workers,
    "idle": idle_clients,
    "bulk": large_data,
}
LAST_BUILD_ONLY = {"workers", "idle", "bulk"}
"""In a quick run these sections measure one build: the compiled one if there is one."""


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this benchmark has."""
    parser.add_argument("--only", action="append", choices=tuple(SECTIONS), help="measure this section only")
    parser.add_argument(
        "--a-a", action="store_true", help="a second PgBouncer in Seawall's place (quick only)"
    )
    parser.add_argument("--compiled-wheel", type=Path, help="compiled wheel to measure (make wheel)")


def contenders(run: Run, server: Cluster, folder: Path) -> tuple[Ours, ...]:
    """Return the builds of Seawall that can be measured."""
    if run.options.a_a:
        again = partial(endpoints.pgbouncer, server.port, database=DATABASE)
        return (Ours("PgBouncer again", again, prepares=False, polls=False),)
    start = partial(endpoints.seawall, server.port, database=DATABASE)
    found = [Ours("pure", partial(start, build=endpoints.pure()))]
    fast = endpoints.compiled(folder, run.options.compiled_wheel or newest_wheel())
    if isinstance(fast, str):
        run.say(f"compiled build not measured: {fast}")
        run.details["compiled"] = fast
    else:
        run.details["compiled"] = fast.note
        found.append(Ours(fast.name, partial(start, build=fast)))
    return tuple(found)


def recorded() -> dict[str, list[dict[str, object]]]:
    """Return the figures of the committed result by section."""
    try:
        document = json.loads((harness.RESULTS / "proxy.json").read_text())
        return dict(document["details"]["sections"])
    except (OSError, ValueError, KeyError):
        return {}


def measure_sections(stage: Stage) -> None:
    """Run the chosen sections; the others keep what was recorded."""
    run = stage.run
    chosen = run.options.only or list(SECTIONS)
    kept = {} if run.quick else recorded()
    done: dict[str, object] = {}
    smaller = replace(stage, ours=stage.ours[-1:]) if run.quick else stage
    for name, section in SECTIONS.items():
        first = len(run.figures)
        if name in chosen:
            started = time.perf_counter()
            section(smaller if name in LAST_BUILD_ONLY else stage)
            run.say(f"section {name}: {time.perf_counter() - started:.0f} s")
            done[name] = [{**one.as_json(), "commit": harness.commit()} for one in run.figures[first:]]
        elif name in kept:
            done[name] = kept[name]
            for row in kept[name]:
                told = {key: value for key, value in row.items() if key not in {"ok", "commit"}}
                run.add(Figure(**told))  # type: ignore[arg-type]  # as as_json wrote it
    run.details["sections"] = done


def body(run: Run) -> None:
    """Measure everything."""
    if run.options.a_a and not run.quick:
        raise harness.CouldNotRunError("--a-a is no result to be recorded: add --quick")
    sizes = QUICK if run.quick else FULL
    endpoints.allow_descriptors()
    version = subprocess.run([pgbench(), "--version"], capture_output=True, text=True, check=False).stdout
    try:
        with tempfile.TemporaryDirectory() as folder, cluster() as server:
            server.load(DATABASE, 1 if run.quick else SCALE)
            script = Path(folder) / "several.sql"
            script.write_text(load.SEVERAL.replace(":scale", str(1 if run.quick else SCALE)))
            run.details |= {
                "server": f"PostgreSQL {server.version}",
                "rival": endpoints.pgbouncer_version(),
                "load": version.strip(),
                "pool": {TRANSACTION: POOL, SESSION: SESSION_POOL},
                "scale": 1 if run.quick else SCALE,
                "sizes": vars(sizes),
                "order_seed": 1,
                "interpreter": interpreter.described(),
                **harness.versions(["uvloop"]),
            }
            run.say(f"{run.details['server']}, {run.details['rival']}, {run.details['load']}")
            run.say(f"Seawall on {run.details['interpreter']}")
            ours = contenders(run, server, Path(folder) / "compiled")
            measure_sections(Stage(run, server, ours, script, sizes))
    except (NoServerError, NoProxyError, load.LoadFailedError, idle.IdleClientsError, RefusedError) as error:
        raise harness.CouldNotRunError(str(error)) from error


def main() -> int:
    """Run the benchmark as a command."""
    processes.clean_up_when_told()
    return harness.main("proxy", __doc__.split("\n")[0], body, extend=options)


if __name__ == "__main__":
    sys.exit(main())
