"""What clients feel of a lost server: idle sessions, restarts, promotions, switchovers, a shop's checkouts.

``python -m benchmarks.failover [--quick] [--json] [--only SECTION]...``. PostgreSQL, Seawall and
PgBouncer run on this machine, PgBouncer before the same servers in the same run, where it can do what is
measured. ``--only`` measures some sections and keeps the recorded figures of the others.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks import harness
from benchmarks.failing import checkout, field, pulse
from benchmarks.failing.checkout import Outcome, Scenario
from benchmarks.failing.faults import all_at_once
from benchmarks.failing.front import Front, NoFrontError, Options, front
from benchmarks.failing.idlers import First, idlers
from benchmarks.failing.pulse import PREPARED_READER, PROBE, READER, WRITER, Pulse
from benchmarks.failing.sections import measure_sections
from benchmarks.harness import Figure, Run, percentile
from benchmarks.proxying import endpoints, processes
from benchmarks.proxying.endpoints import Endpoint, NoProxyError
from seawall.embedded import Cluster
from seawall.embedded.errors import ClusterError, EngineNotFound

RIVAL = "PgBouncer"
IDLE_S = 0.2
RECOVERED_S = 0.3
LOSS_S, LOSS_GOAL_S = 3.0, 1.5
DEAD_S = 0.05
"""Nobody is promoted sooner."""
PAUSE_S, PAUSE_GOAL_S = 1.0, 0.4
IDLERS = 20
POOL = 40
SHOP_POOL = 90
RETURNED_S = 40.0
"""How long a client may take to be back before it counts as lost; PgBouncer waits 15 s between logins."""
FAST_S = 0.5
WITHOUT_RETRY = 0.998
"""Of all checkouts, without any retry; the goal is all."""
REFERENCE_MS = {"mean": 89.0, "P95": 147.0, "P99": 203.0}


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    idle_runs: int
    outages_s: tuple[float, ...]
    outage_runs: int
    losses: int
    switchovers: int
    checkouts_each: int
    shop_runs: int


FULL = Sizes(10, (0.0, 2.0, 8.0), 4, 20, 10, 100, 2)
QUICK = Sizes(1, (0.5,), 1, 2, 1, 10, 1)


@dataclass(frozen=True)
class Stage:
    """What every section works with."""

    run: Run
    sizes: Sizes

    @contextmanager
    def replicated(self, options: Options) -> Iterator[field.Field]:
        """Run a primary with two synchronous replicas, and the proxy."""
        with field.cluster() as made, field.field(made, options) as place:
            yield place


def millisecond(seconds: float) -> float:
    """Rounded, for figures."""
    return round(seconds * 1e3, 1)


# --- idle sessions -------------------------------------------------------------------------------------


def idle(stage: Stage) -> None:
    """Add how long the first statement of idle sessions takes whose server died while another is there."""
    with stage.replicated(Options(pool=POOL)) as place:
        asked = [_after_promotion(place) for _ in range(stage.sizes.idle_runs)]
    _idle_figures(stage, "their primary was replaced", asked)
    with ExitStack() as stack:
        servers = [stack.enter_context(field.cluster(replicas=0)) for _ in range(2)]
        ports = {f"server{at}": one.primary.port for at, one in enumerate(servers, start=1)}
        options = Options(promotes=False, pool=POOL, topology="multi-primary", ports=ports)
        running = stack.enter_context(front(None, options))
        asked = [_of_two(running, servers, run % 2) for run in range(stage.sizes.idle_runs)]
    _idle_figures(stage, "one of two primaries died", asked)


def _after_promotion(place: field.Field) -> tuple[First, int]:
    with idlers(place.front.port, IDLERS, settings=True) as sessions:
        old = place.primary()
        all_at_once(old, signal.SIGKILL)
        until_served(place.front.port)
        asked = sessions.ask(), sessions.kept()
    place.wait_healthy()
    return asked


def _of_two(running: Front, servers: Sequence[Cluster], which: int) -> tuple[First, int]:
    with idlers(running.port, IDLERS, settings=True) as sessions:
        victim = servers[which].primary
        all_at_once(victim, signal.SIGKILL)
        asked = sessions.ask(), sessions.kept()
    servers[which].start()
    until_served(running.port)
    time.sleep(FAST_S)  # the proxy shall use both again
    return asked


def until_served(port: int) -> None:
    """Wait until a new client is served."""
    with Pulse(port, [PROBE]) as probe:
        probe.wait_back(time.monotonic(), RETURNED_S)


def _idle_figures(stage: Stage, what: str, asked: Sequence[tuple[First, int]]) -> None:
    seconds = [each for first, _ in asked for each in first.seconds]
    sessions = IDLERS * len(asked)
    stage.run.add(
        Figure(
            figure=f"first statement of idle sessions, {what}, P95",
            value=millisecond(percentile(seconds, 0.95)),
            unit="ms",
            op="<=",
            target=IDLE_S * 1e3,
            note=f"median {millisecond(percentile(seconds, 0.5))} ms, {len(seconds)} sessions",
        )
    )
    for label, value in (
        ("that got an error", sum(first.failed for first, _ in asked)),
        ("whose settings were gone", sessions - sum(kept for _, kept in asked)),
    ):
        stage.run.add(
            Figure(figure=f"idle sessions {label}, {what}", value=value, unit="sessions", op="<=", target=0)
        )


# --- a server that restarts ------------------------------------------------------------------------------


def restart(stage: Stage) -> None:
    """Add what readers and idle sessions feel of a server that is away for a while, beside PgBouncer."""
    kinds = (READER, READER, PREPARED_READER, PREPARED_READER)
    with field.cluster(replicas=0) as made:
        made.primary.execute(pulse.MAKE)
        options = Options(promotes=False, replay=False, pool=POOL)
        with (
            field.field(made, options) as place,
            endpoints.pgbouncer(
                made.primary.port, mode="transaction", size=POOL, database="postgres"
            ) as bouncer,
        ):
            for away_s in stage.sizes.outages_s:
                seen = [_outage(place, bouncer, kinds, away_s) for _ in range(stage.sizes.outage_runs)]
                _outage_figures(stage, away_s, seen)


@dataclass(frozen=True, slots=True)
class Outage:
    """What the clients of one proxy felt."""

    back: tuple[float, ...]
    """Seconds from the server's return to each client's first success."""
    errors: Counter[str]
    first: First


def _outage(
    place: field.Field, bouncer: Endpoint, kinds: Sequence[pulse.Kind], away_s: float
) -> tuple[Outage, Outage]:
    server = place.primary()
    with ExitStack() as stack:
        # PgBouncer prepares nothing in transaction mode before 1.21, so its readers don't either.
        ours = stack.enter_context(Pulse(place.front.port, kinds))
        theirs = stack.enter_context(Pulse(bouncer.port, [READER] * len(kinds)))
        idle_ours = stack.enter_context(idlers(place.front.port, IDLERS, settings=True))
        idle_theirs = stack.enter_context(idlers(bouncer.port, IDLERS, settings=False))
        for each in (ours, theirs):
            each.wait_back(time.monotonic(), RETURNED_S)
        down = time.monotonic()
        server.stop("fast")
        time.sleep(away_s)
        server.start()
        up = time.monotonic()
        found = []
        for proxied, sessions in ((ours, idle_ours), (theirs, idle_theirs)):
            back = tuple(proxied.wait_back(up, RETURNED_S))
            found.append(Outage(back, proxied.errors(down), sessions.ask()))
    return found[0], found[1]


def _outage_figures(stage: Stage, away_s: float, seen: Sequence[tuple[Outage, Outage]]) -> None:
    label = f"server away for {away_s:g} s and a restart"
    ours = [each for mine, _ in seen for each in mine.back]
    theirs = [each for _, other in seen for each in other.back]
    errors = sum((mine.errors for mine, _ in seen), Counter[str]())
    errors_theirs = sum((other.errors for _, other in seen), Counter[str]())
    stage.run.say(f"{label}: ours {errors or 'no errors'}, {RIVAL} {errors_theirs or 'no errors'}")
    stage.run.add(
        Figure(
            figure=f"{label}: errors of readers",
            value=errors.total(),
            unit="errors",
            op="<=",
            target=0,
            rivals={RIVAL: errors_theirs.total()},
        )
    )
    stage.run.add(
        Figure(
            figure=f"{label}: idle sessions that got an error",
            value=sum(mine.first.failed for mine, _ in seen),
            unit="sessions",
            op="<=",
            target=0,
            rivals={RIVAL: sum(other.first.failed for _, other in seen)},
        )
    )
    stage.run.add(
        Figure(
            figure=f"{label}: from its return to a reader's first answer, P95",
            value=millisecond(percentile(ours, 0.95)),
            unit="ms",
            op="<=",
            target=RECOVERED_S * 1e3,
            rivals={RIVAL: millisecond(percentile(theirs, 0.95))},
            note=f"longest {millisecond(max(ours))} ms",
        )
    )


# --- a primary that is lost, one that is moved -----------------------------------------------------------


def loss(stage: Stage) -> None:
    """Add how long clients stand still when the primary is killed and the proxy promotes."""
    kinds = (READER, PREPARED_READER, *[WRITER] * 6)
    resumed: list[float] = []
    errors: Counter[str] = Counter()
    with stage.replicated(Options(pool=POOL)) as place:
        place.primary().execute(pulse.MAKE)
        for _ in range(stage.sizes.losses):
            with Pulse(place.front.port, kinds) as clients:
                clients.wait_back(time.monotonic(), RETURNED_S)
                _, killed = all_at_once(place.primary(), signal.SIGKILL)
                resumed += clients.wait_back(killed, RETURNED_S, DEAD_S)
                errors += clients.errors(killed)
            place.wait_healthy()
    stage.run.add(
        Figure(
            figure="primary killed: from there to each client's next success, P95",
            value=round(percentile(resumed, 0.95), 3),
            unit="s",
            op="<=",
            target=LOSS_S,
            note=f"goal {LOSS_GOAL_S} s; median {statistics.median(resumed):.3f} s, longest"
            f" {max(resumed):.3f} s, {stage.sizes.losses} kills",
        )
    )
    stage.run.add(
        Figure(
            figure="primary killed: errors, all clients",
            value=errors.total(),
            unit="errors",
            note=f"{dict(errors)}",
        )
    )


def switchover(stage: Stage) -> None:
    """Add what clients feel of a planned switchover."""
    kinds = (READER, PREPARED_READER, *[WRITER] * 6)
    longest: list[float] = []
    errors: Counter[str] = Counter()
    with stage.replicated(Options(pool=POOL)) as place:
        place.primary().execute(pulse.MAKE)
        for _ in range(stage.sizes.switchovers):
            with Pulse(place.front.port, kinds) as clients:
                clients.wait_back(time.monotonic(), RETURNED_S)
                old = place.primary().name
                began = time.monotonic()
                order_switchover(place.front.port)
                clients.wait_back(time.monotonic(), RETURNED_S)
                longest.append(clients.longest(began))
                errors += clients.errors(began)
            if place.primary().name == old:
                raise NoFrontError(f"the switchover left {old} the primary\n{place.front.said()}")
            place.wait_healthy()
    stage.run.add(
        Figure(
            figure="planned switchover: longest wait of a client",
            value=round(max(longest), 3),
            unit="s",
            op="<=",
            target=PAUSE_S,
            note=f"goal {PAUSE_GOAL_S} s; median of {len(longest)}: {statistics.median(longest):.3f} s",
        )
    )
    stage.run.add(
        Figure(
            figure="planned switchover: errors, all clients",
            value=errors.total(),
            unit="errors",
            op="<=",
            target=0,
            note=f"{dict(errors)}" if errors else None,
        )
    )


def order_switchover(port: int) -> None:
    """Run ``seawall proxy switchover``.

    Raises:
        NoFrontError: It did not do it.
    """
    program = "from seawall.cli.main import main; main()"
    done = subprocess.run(
        [
            *(sys.executable, "-c", program, "proxy", "switchover"),
            *("--host", "127.0.0.1", "--port", str(port), "--user", "postgres", "--json"),
        ],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PGPASSWORD": ""},
        timeout=60.0,
    )
    if done.returncode:
        raise NoFrontError(f"seawall proxy switchover: {done.stdout}{done.stderr}")


# --- the shop ------------------------------------------------------------------------------------------


def shop(stage: Stage) -> None:
    """Add the checkout scenario: with one retry, without any, with and without pinned sequences."""
    for label, pin, retry in (
        ("one retry of 40001", True, True),
        ("no retry", True, False),
        ("no retry, sequences not pinned", False, False),
    ):
        outcomes = []
        with stage.replicated(Options(pool=SHOP_POOL, pin=pin)) as place:
            for _ in range(stage.sizes.shop_runs):
                outcomes.append(_shopping(place, stage.sizes.checkouts_each, retry=retry))
                place.wait_healthy()
        _shop_figures(stage, label, outcomes, pin=pin, retry=retry)


def _shopping(place: field.Field, each: int, *, retry: bool) -> Outcome:
    scenario = Scenario(place.front.port, each, retry=retry)
    scenario.prepare(place.primary())
    outcome = scenario.run(lambda: all_at_once(place.primary(), signal.SIGKILL)[1])
    scenario.audit(place.primary())
    return outcome


def _shop_figures(stage: Stage, label: str, outcomes: Sequence[Outcome], *, pin: bool, retry: bool) -> None:
    wanted = checkout.WORKERS * stage.sizes.checkouts_each
    fewest = min(one.successes for one in outcomes)
    failures = [each for one in outcomes for each in one.failures]
    codes = Counter(each.sqlstate for each in failures)
    hit = sum(one.hit for one in outcomes)
    survived = 100.0 * (1 - len(failures) / hit) if hit else float("nan")
    reading = sum((one.reading for one in outcomes), Counter[str]())
    wrong = [text for one in outcomes for text in one.wrong]
    for text in wrong[:20]:
        stage.run.say(f"{label}: {text}")
    floor = wanted if retry else int(wanted * WITHOUT_RETRY)
    name = f"checkouts, primary killed, {label}"
    stage.run.add(
        Figure(
            figure=f"{name}: done of {wanted:,}",
            value=fewest,
            unit="checkouts",
            op=">=" if pin else None,
            target=floor if pin else None,
            note=f"{len(outcomes)} runs; {hit} open at the kill, failures {dict(codes) or 'none'}",
        )
    )
    stage.run.add(
        Figure(
            figure=f"{name}: open ones that went on as if nothing had been",
            value=round(survived, 1),
            unit="%",
            note=f"{hit - len(failures)} of {hit}",
        )
    )
    strange = [one for one in failures if one.sqlstate != checkout.RETRY or not one.detail or one.lost]
    for text, value in (
        ("failures that are no 40001 with a DETAIL", len(strange)),
        ("errors of catalogue readers", reading.total()),
        ("found by the audit", len(wrong)),
    ):
        stage.run.add(Figure(figure=f"{name}: {text}", value=value, unit="times", op="<=", target=0))
    _latencies(stage, name, outcomes)


def _latencies(stage: Stage, name: str, outcomes: Sequence[Outcome]) -> None:
    waits = [one.ended - one.began for outcome in outcomes for one in outcome.done if one.success]
    for statistic, seconds in (
        ("mean", statistics.fmean(waits) if waits else float("nan")),
        ("P95", percentile(waits, 0.95)),
        ("P99", percentile(waits, 0.99)),
    ):
        stage.run.add(
            Figure(
                figure=f"{name}: {statistic} of a checkout",
                value=millisecond(seconds),
                unit="ms",
                rivals={"reference": REFERENCE_MS[statistic]},
                note=f"{checkout.PAYMENT_S * 1e3:.0f} ms of it are the payment",
            )
        )


# --- the command -----------------------------------------------------------------------------------------

SECTIONS: dict[str, Callable[[Stage], None]] = {
    "idle": idle,
    "restart": restart,
    "loss": loss,
    "switchover": switchover,
    "shop": shop,
}


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this benchmark has."""
    parser.add_argument("--only", action="append", choices=tuple(SECTIONS), help="measure this section only")


def body(run: Run) -> None:
    """Measure everything."""
    endpoints.allow_descriptors()
    stage = Stage(run, QUICK if run.quick else FULL)
    run.details |= {"rival": endpoints.pgbouncer_version(), "sizes": vars(stage.sizes)}
    try:
        measure_sections(run, SECTIONS, stage)
    except (NoFrontError, NoProxyError, ClusterError, EngineNotFound, field.UnhealthyError) as error:
        raise harness.CouldNotRunError(str(error)) from error


def main() -> int:
    """Run the benchmark as a command."""
    processes.clean_up_when_told()
    return harness.main("failover", __doc__.split("\n")[0], body, extend=options)


if __name__ == "__main__":
    sys.exit(main())
