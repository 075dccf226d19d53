"""Detection: how soon a fault opens the breaker, and how often health does.

``python -m benchmarks.detection [--quick] [--json] [--hours N] [--jobs N]``. Virtual time and fixed
seeds, so the figures repeat to the digit. Every fault and benign model of ``benchmarks.simulation`` is
replayed, call for call the same, against Seawall's engine and the rivals' rules. Delays run from harm
onset; regret is bad calls sent plus good calls refused, above the best all-or-nothing choice per second
known in hindsight. Healthy key-hours are kept in ``results/detection-healthy.json`` and add up.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import harness
from benchmarks.harness import Figure, Run, bootstrap_interval, percentile, poisson_interval
from benchmarks.simulation import GENERATOR
from benchmarks.simulation.episodes import Score, score, worlds_of
from benchmarks.simulation.faults import BENIGN, FAULTS, Fault
from benchmarks.simulation.healthy import Block, run_block
from benchmarks.simulation.rules import RIVALS, Rule
from benchmarks.simulation.seawall_rule import seawall, seawall_probing
from benchmarks.simulation.traces import draw_trace

RATE = 100.0
EPISODES = 80
EPISODES_QUICK = 12
EPISODES_JUDGED_STALL = 400
"""A share of a few percent needs more episodes than a mean delay."""
HOURS = 200.0
BLOCK_HOURS = 5.0
HEALTHY_FILE = harness.RESULTS / "detection-healthy.json"
ENGINE = harness.ROOT / "src" / "seawall" / "resilience"
ENGINE_FILES = ("windows.py", "detector.py", "breaker.py", "walk.py", "policy.py", "recovery.py", "states.py")

MEAN_DELAY_MS = {"hard failure": 150.0, "hang": 620.0, "x40 slow": 700.0, "20 % errors": 750.0}
PROBED_HANG_MS = 450.0
JUDGED_STALL = "300 ms stall"
STALL_OPENS = 0.05

HEALTHY_ROWS = ((100.0, 0.005, HOURS), (20.0, 0.005, HOURS), (10.0, 0.01, HOURS), (2.0, 0.01, HOURS))
"""(calls/s, baseline errors, key-hours wanted); the first row is the one with a target."""


@dataclass(frozen=True)
class Contender:
    """One column of the comparison."""

    name: str
    make: Callable[[], Rule]
    probing: bool = False


CONTENDERS = (
    Contender("Seawall", seawall),
    Contender("Seawall, probe=", seawall_probing, probing=True),
    *(Contender(name, make) for name, make in RIVALS.items()),
)

Scores = dict[str, dict[str, Score]]


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this benchmark has."""
    parser.add_argument(
        "--hours", type=float, default=HOURS, help="healthy key-hours at 100 calls/s to reach"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes for the healthy key-hours")
    parser.add_argument("--episodes", type=int, default=0, help="episodes per model (default 80, quick 12)")


def compare(fault: Fault, episodes: int) -> dict[str, Score]:
    """Replay the same episodes of one model against every contender."""
    traces = [draw_trace(fault, rate=RATE, seed=seed) for seed in range(episodes)]
    worlds = worlds_of(traces)
    return {one.name: score(traces, one.make, worlds, probing=one.probing) for one in CONTENDERS}


def mean_ms(values: list[float]) -> float:
    """Return the mean in milliseconds, NaN when nothing was detected."""
    return 1000 * statistics.fmean(values) if values else math.nan


def number(value: float, digits: int = 1) -> float | None:
    """Round for the record; JSON has no NaN."""
    return None if math.isnan(value) else round(value, digits)


def row(one: Score) -> dict[str, object]:
    """Return everything that was scored, as plain data."""
    return {
        "mean_ms": number(mean_ms(one.delays)),
        **{f"p{share}_ms": number(1000 * percentile(one.delays, share / 100)) for share in (50, 95, 99)},
        "missed_10s": number(one.missed(10.0), 4),
        "missed_20s": number(one.missed(20.0), 4),
        "opened": number(one.opened / one.episodes, 4),
        "opened_while_healthy": one.early,
        "healthy_key_hours": round(one.healthy_s / 3600, 3),
        "regret_calls": number(statistics.fmean(one.regret)),
        "reopenings": number(one.reopenings / one.episodes, 3),
        "probes": number(one.probes / one.episodes, 2),
    }


# --- healthy key-hours ------------------------------------------------------------------------------


@functools.cache
def measured() -> str:
    """Return the hash of the generator and the engine together: what a block was run with.

    Taken once, when the engine has just been imported: a file that is edited during a long run is not what
    runs.
    """
    loop = Path(__file__).parent / "simulation" / "healthy.py"
    return harness.source_hash(*(ENGINE / name for name in ENGINE_FILES), loop, salt=GENERATOR)


def load_blocks() -> list[Block]:
    """Return the blocks of earlier runs with this generator and this engine."""
    if not HEALTHY_FILE.exists():
        return []
    document = json.loads(HEALTHY_FILE.read_text())
    return [Block(**block) for block in document["blocks"]] if document["measured"] == measured() else []


def save_blocks(blocks: list[Block]) -> None:
    """Write the blocks, so that a long run can be stopped at any time."""
    harness.RESULTS.mkdir(exist_ok=True)
    ordered = sorted(blocks, key=lambda block: (-block.rate, block.errors, block.seed))
    document = {
        "measured": measured(),
        "generator": GENERATOR,
        "environment": harness.environment(),
        "blocks": [block.as_json() for block in ordered],
    }
    HEALTHY_FILE.write_text(json.dumps(document, indent=1) + "\n")


def seawall_block(rate: float, errors: float, hours: float, seed: int) -> Block:
    """Run one block with Seawall's engine; a function of its own so that a process can run it."""
    return run_block(seawall, rate=rate, errors=errors, hours=hours, seed=seed)


def wanted_blocks(blocks: list[Block], hours_at_100: float) -> Iterator[tuple[float, float, float, int]]:
    """Yield the blocks that are still missing."""
    for rate, errors, hours in HEALTHY_ROWS:
        have = {block.seed for block in blocks if (block.rate, block.errors) == (rate, errors)}
        wanted = max(hours, hours_at_100) if rate == HEALTHY_ROWS[0][0] else hours
        for seed in range(math.ceil(wanted / BLOCK_HOURS)):
            if seed not in have:
                yield rate, errors, BLOCK_HOURS, seed


def healthy_hours(run: Run) -> list[Block]:
    """Run the missing key-hours (a short sample in a quick run) and return all blocks."""
    if run.quick:
        return [seawall_block(RATE, 0.005, 0.25, 10_000), seawall_block(10.0, 0.01, 1.0, 10_000)]
    blocks = load_blocks()
    jobs = list(wanted_blocks(blocks, run.options.hours))
    run.say(f"healthy: {len(blocks)} blocks on file, {len(jobs)} to run ({run.options.jobs} processes)")
    if run.options.jobs == 1:
        for job in jobs:
            blocks.append(seawall_block(*job))
            save_blocks(blocks)
            run.say(f"healthy: {blocks[-1]}")
        return blocks
    with ProcessPoolExecutor(run.options.jobs) as pool:
        for done in as_completed([pool.submit(seawall_block, *job) for job in jobs]):
            blocks.append(done.result())
            save_blocks(blocks)
            run.say(f"healthy: {blocks[-1]}")
    return blocks


def healthy_figures(run: Run, blocks: list[Block]) -> None:
    """Add one row per rate: key-hours, false opens and the exact interval."""
    for rate, errors in dict.fromkeys((block.rate, block.errors) for block in blocks):
        mine = [block for block in blocks if (block.rate, block.errors) == (rate, errors)]
        hours = sum(block.hours for block in mine)
        opens = sum(block.opens for block in mine)
        low, high = poisson_interval(opens, hours)
        label = f"healthy, {rate:g}/s, {errors:.1%} errors"
        note = f"{opens} in {hours:g} key-hours, {sum(block.calls for block in mine):,} calls"
        judged = rate == RATE
        run.judged(
            Figure(
                figure=f"{label}: false opens per key-hour",
                value=opens / hours,
                unit="/h",
                op="<=" if judged else None,
                target=0.0 if judged else None,
                interval=(round(low, 5), round(high, 5)),
                generator=GENERATOR,
                note=note,
            )
        )
        if judged:
            run.judged(
                Figure(
                    figure=f"{label}: key-hours",
                    value=hours,
                    unit="h",
                    op=">=",
                    target=HOURS,
                    generator=GENERATOR,
                )
            )


# --- figures -----------------------------------------------------------------------------------------


def rivals_of(scores: dict[str, Score], pick: Callable[[Score], float | None]) -> dict[str, harness.Number]:
    """Return one number per rival."""
    return {name: pick(scores[name]) for name in RIVALS}


def delay_figures(run: Run, fault: Fault, scores: dict[str, Score]) -> None:
    """Add the mean delay of one fault, judged where it has a target, and what was missed."""
    ours, probed = scores["Seawall"], scores["Seawall, probe="]

    def figure(label: str, one: Score, target: float | None) -> Figure:
        interval = bootstrap_interval(one.delays) if one.delays else None
        return Figure(
            figure=label,
            value=number(mean_ms(one.delays)),
            unit="ms",
            op="<=" if target is not None else None,
            target=target,
            interval=tuple(round(1000 * edge, 1) for edge in interval) if interval else None,  # type: ignore[arg-type]
            rivals=rivals_of(scores, lambda rival: number(mean_ms(rival.delays))),
            generator=GENERATOR,
            note=f"harm begins {fault.onset_s:.1f} s into the ramp" if fault.onset_s else None,
        )

    run.add(figure(f"{fault.name}: mean delay", ours, MEAN_DELAY_MS.get(fault.name)))
    if fault.name == "hang":
        run.add(figure(f"{fault.name}: mean delay, probe=", probed, PROBED_HANG_MS))
    run.add(
        Figure(
            figure=f"{fault.name}: missed within 20 s",
            value=round(ours.missed(20.0), 4),
            unit="share",
            op="<=" if fault.name in MEAN_DELAY_MS else None,
            target=0.0 if fault.name in MEAN_DELAY_MS else None,
            rivals=rivals_of(scores, lambda rival: round(rival.missed(20.0), 4)),
            generator=GENERATOR,
        )
    )


def benign_figures(run: Run, fault: Fault, scores: dict[str, Score]) -> None:
    """Add the share of episodes that opened, and the regret where opening is a matter of cost."""
    if fault.name == "800 ms stall":
        run.add(
            Figure(
                figure=f"{fault.name}: regret per episode",
                value=number(statistics.fmean(scores["Seawall"].regret)),
                unit="calls",
                rivals=rivals_of(scores, lambda one: number(statistics.fmean(one.regret))),
                generator=GENERATOR,
                note="whether to open on it is a question of cost: bad calls sent plus good calls refused",
            )
        )
    for name in ("Seawall", "Seawall, probe="):
        judged = fault.name == JUDGED_STALL
        run.judged(
            Figure(
                figure=f"{fault.name}: episodes that open" + (", probe=" if "probe" in name else ""),
                value=round(scores[name].opened / scores[name].episodes, 4),
                unit="share",
                op="<=" if judged else None,
                target=STALL_OPENS if judged else None,
                rivals=rivals_of(scores, lambda one: round(one.opened / one.episodes, 4)),
                generator=GENERATOR,
            )
        )


def body(run: Run) -> None:
    """Run all models and the healthy hours, and collect the figures."""
    run.say(f"generator {GENERATOR}, with the engine {measured()}")
    episodes = run.options.episodes or (EPISODES_QUICK if run.quick else EPISODES)
    details: dict[str, dict[str, dict[str, object]]] = {}
    for fault in (*FAULTS, *BENIGN):
        many = fault.name == JUDGED_STALL and not run.quick
        scores = compare(fault, max(episodes, EPISODES_JUDGED_STALL) if many else episodes)
        details[fault.name] = {name: row(one) for name, one in scores.items()}
        run.say(f"{fault.name}: Seawall {details[fault.name]['Seawall']}")
        if fault.harmful:
            delay_figures(run, fault, scores)
        else:
            benign_figures(run, fault, scores)
    run.details = {
        "generator": GENERATOR,
        "rate_rps": RATE,
        "episodes": episodes,
        "seeds": f"0..{episodes - 1}, per model",
        "policy": 'Breaker(errors="5%", p95="500ms")',
        "models": details,
    }
    healthy_figures(run, healthy_hours(run))


def show(run: Run, console: Console) -> None:
    """Print one table per model: every contender with all its scores."""
    columns = {
        "mean_ms": "mean ms", "p50_ms": "P50", "p95_ms": "P95", "p99_ms": "P99", "missed_10s": "missed 10 s",
        "missed_20s": "missed 20 s", "opened": "opened", "opened_while_healthy": "early opens",
        "regret_calls": "regret, calls", "reopenings": "reopenings", "probes": "probes",
    }  # fmt: skip
    models = run.details["models"]
    if not isinstance(models, dict):
        raise TypeError(f"details.models: {type(models).__name__}; body() stores a dict")
    for model, rows in models.items():
        table = Table(title=f"{model} · generator {GENERATOR}", title_justify="left")
        table.add_column("rule")
        for title in columns.values():
            table.add_column(title, justify="right")
        for name, values in rows.items():
            table.add_row(name, *(harness.short(values[key]) for key in columns))
        console.print(table)


def main() -> int:
    """Run the benchmark as a command."""
    return harness.main("detection", __doc__.split("\n")[0], body, extend=options, show=show)


if __name__ == "__main__":
    sys.exit(main())
