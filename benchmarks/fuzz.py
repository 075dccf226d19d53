"""Fuzz: whatever strangers, clients and servers say, the proxy answers or hangs up, and nobody else notices.

``python -m benchmarks.fuzz [--inputs N] [--seed S] [--quick] [--json]``. In one process, without sockets:
``benchmarks.fuzzing`` has the inputs and the verdicts. A full run adds to the inputs counted in
``benchmarks/results/fuzz.json``, so runs with different seeds add up. Every input that fails is recorded with
its seed and number, made small; ``--play FILE`` plays one that was recorded again.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import harness
from benchmarks.fuzzing import GENERATOR, SUBJECT
from benchmarks.fuzzing.minimise import minimised, verdict
from benchmarks.fuzzing.strata import STRATA, Input, Play, Wrong, draw, new_world
from benchmarks.fuzzing.world import World
from benchmarks.harness import Figure, Run

INPUTS = 200_000
INPUTS_QUICK = 20_000
INPUTS_WANTED = 1_000_000
INPUTS_PER_S = 5_000
WORLD_INPUTS = 500
"""Inputs played in one world, one after the other: what one leaves behind, the next may trip over."""
FAILURES_LIMIT = 20
"""Failures recorded of one run; the rest is counted."""
OUTCOMES_LIMIT = 400
STEP = 2_000
"""Inputs of one stratum before it is the next one's turn."""


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this benchmark takes."""
    parser.add_argument("--inputs", type=int, default=0, help="how many (default 200,000; quick 20,000)")
    parser.add_argument("--seed", type=int, default=0, help="of all inputs (default: a new one)")
    parser.add_argument(
        "--play", type=Path, help="play a recorded failure (JSON) again and print its verdict"
    )


class Stratum:
    """The inputs of one stratum in one run.

    Args:
        name: of the stratum.
        seed: of the run.
    """

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.seed = seed
        self.inputs = 0
        self.outcomes: Counter[str] = Counter()
        self.failures: list[dict[str, object]] = []
        self.failed = 0
        self._worlds: dict[int, tuple[World, list[Input]]] = {}

    def play(self, count: int) -> None:
        """Draw and play so many more."""
        for _ in range(count):
            given = draw(self.name, random.Random(f"{self.seed} {self.name} {self.inputs}"))
            self.inputs += 1
            known = self._worlds.get(given.variant)
            if known is None or len(known[1]) >= WORLD_INPUTS:
                known = self._worlds[given.variant] = (new_world(self.name, given.variant), [])
            world, before = known
            before.append(given)
            try:
                with world.patched():
                    self.outcomes[Play(world, given).run()] += 1
            except Wrong as wrong:
                del self._worlds[given.variant]
                self._record(before, str(wrong))

    def _record(self, inputs: list[Input], why: str) -> None:
        self.failed += 1
        if len(self.failures) >= FAILURES_LIMIT:
            return
        small = minimised(inputs[-1])
        alone = verdict([small])
        self.failures.append(
            {
                "seed": self.seed,
                "input": self.inputs - 1,
                "verdict": why[:400],
                "alone": bool(alone),
                "world_inputs_before": len(inputs) - 1,
                **small.as_json(),
            }
        )


def earlier(run: Run) -> list[dict[str, object]]:
    """Return the runs recorded so far."""
    path = harness.RESULTS / f"{run.name}.json"
    if not path.exists():
        return []
    found: list[dict[str, object]] = json.loads(path.read_text())["details"]["runs"]
    return found


def body(run: Run) -> None:
    """Play, then judge this run and all runs together."""
    runs = earlier(run)
    seed = run.options.seed or 1 + max((int(str(one["seed"])) for one in runs), default=0)
    if any(one["seed"] == seed and one["generator"] == GENERATOR for one in runs) and not run.quick:
        raise harness.CouldNotRunError(f"seed {seed} is recorded already; give another, or none")
    wanted = run.options.inputs or (INPUTS_QUICK if run.quick else INPUTS)
    strata = [Stratum(name, seed) for name in STRATA]
    started = time.process_time()
    while (played := sum(one.inputs for one in strata)) < wanted:
        for one in strata:
            one.play(min(STEP, max(1, (wanted - played) // len(strata))))
        run.say(f"{sum(one.inputs for one in strata):,} inputs, {sum(one.failed for one in strata)} failed")
    cpu_s = time.process_time() - started
    this = record_of(strata, seed, cpu_s)
    run.details = {"runs": [*runs, this]}
    judge(run, this, [*runs, this])


def record_of(strata: list[Stratum], seed: int, cpu_s: float) -> dict[str, object]:
    """Return what is kept of a run."""
    return {
        "seed": seed,
        "inputs": sum(one.inputs for one in strata),
        "failed": sum(one.failed for one in strata),
        "cpu_s": round(cpu_s, 1),
        "commit": harness.commit(),
        "subject": SUBJECT,
        "generator": GENERATOR,
        "python": sys.version.split()[0],
        "strata": {
            one.name: {
                "inputs": one.inputs,
                "failed": one.failed,
                "outcomes": dict(one.outcomes.most_common(OUTCOMES_LIMIT)),
            }
            for one in strata
        },
        "failures": [failure for one in strata for failure in one.failures],
    }


def judge(run: Run, this: dict[str, object], runs: list[dict[str, object]]) -> None:
    """Add the figures of this run, and of all runs together."""
    inputs, cpu_s = int(str(this["inputs"])), float(str(this["cpu_s"]))
    rate = inputs / cpu_s if cpu_s else 0.0
    run.add(
        Figure(
            figure=f"failures among {inputs:,} inputs, seed {this['seed']}",
            value=int(str(this["failed"])),
            unit="inputs",
            op="<=",
            target=0,
            generator=GENERATOR,
        )
    )
    run.judged(
        Figure(
            figure="inputs played",
            value=round(rate),
            unit="inputs/s of CPU",
            note=f"aimed at {INPUTS_PER_S:,}",
        )
    )
    clean = sum(int(str(one["inputs"])) for one in runs if one["generator"] == GENERATOR)
    same = sum(
        int(str(one["inputs"])) for one in runs if one["generator"] == GENERATOR and one["subject"] == SUBJECT
    )
    run.judged(
        Figure(
            figure="inputs of all recorded runs with these generators",
            value=clean,
            unit="inputs",
            op=">=",
            target=INPUTS_WANTED,
            generator=GENERATOR,
            note=f"{same:,} of them against the present source of proxy and wire",
        )
    )


def show(run: Run, console: Console) -> None:
    """Print what became of the inputs, by stratum."""
    runs = run.details.get("runs")
    if not isinstance(runs, list) or not runs:
        return
    for name, seen in runs[-1]["strata"].items():
        table = Table(
            title=f"{name}: {seen['inputs']:,} inputs, {seen['failed']} failed", title_justify="left"
        )
        table.add_column("outcome")
        table.add_column("inputs", justify="right")
        shown = list(seen["outcomes"].items())[:12]
        for outcome, count in shown:
            table.add_row(outcome, f"{count:,}")
        rest = list(seen["outcomes"].values())[12:]
        if rest:
            table.add_row(f"{len(rest)} others", f"{sum(rest):,}")
        console.print(table)
    for failure in runs[-1]["failures"]:
        console.print(json.dumps(failure), highlight=False)


def main() -> int:
    """Run the benchmark as a command."""
    if "--play" in sys.argv:
        arguments = argparse.ArgumentParser()
        options(arguments)
        given = Input.from_json(json.loads(arguments.parse_args().play.read_text()))
        found = verdict([given])
        print(found or "nothing is wrong with it")
        return harness.MISSED if found else harness.MET
    return harness.main("fuzz", __doc__.split("\n")[0], body, extend=options, show=show)


if __name__ == "__main__":
    sys.exit(main())
