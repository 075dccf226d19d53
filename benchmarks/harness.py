"""The shared harness: arms measured interleaved, figures judged, results recorded.

It owns what every benchmark must do alike: the command line (``--quick``, ``--json``), the clock,
medians with an interval, the record of the machine, the table, the JSON list and the exit code
(0 all targets met, 1 one missed, 2 could not run). It knows nothing of breakers. Called by the
modules next to it, never by the library.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from rich.console import Console
from rich.table import Table

from benchmarks import COULD_NOT_RUN
from benchmarks.quiet import AGAIN, QUIET

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parent.parent
RIVALS = ("aiobreaker", "circuitbreaker", "interlock-cb", "purgatory", "pybreaker")

MET, MISSED = 0, 1

Operator = Literal["<=", ">="]
Number = float | int | bool | str | None


class CouldNotRunError(Exception):
    """The benchmark cannot be run here; the text says what is missing. Exit code 2."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One published number and, where it has one, its target.

    ``judged_by`` names the committed file that judges a row which is too small in a quick run;
    such a row has no target of its own. ``generator`` is the hash of what produced the load.
    """

    figure: str
    value: Number
    unit: str
    op: Operator | None = None
    target: float | None = None
    rivals: Mapping[str, Number] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    judged_by: str | None = None
    generator: str | None = None
    note: str | None = None

    @property
    def ok(self) -> bool:
        """True when the target is met or the row has none."""
        if self.target is None or self.op is None:
            return True
        if not isinstance(self.value, int | float) or math.isnan(self.value):
            return False
        return self.value <= self.target if self.op == "<=" else self.value >= self.target

    def as_json(self) -> dict[str, object]:
        """Return the shape of the project's conventions, extras only where they say something."""
        row: dict[str, object] = {
            "figure": self.figure,
            "value": finite(self.value),
            "unit": self.unit,
            "op": self.op,
            "target": self.target,
            "rivals": {name: finite(value) for name, value in self.rivals.items()},
            "ok": self.ok,
        }
        for key in ("interval", "judged_by", "generator", "note"):
            extra = getattr(self, key)
            if extra is not None:
                row[key] = extra
        return row


def finite(value: Number) -> Number:
    """Return the value, None for what JSON has no number for (never happened, nothing measured)."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True)
class Estimate:
    """A median with a distribution-free interval, in the unit of the samples."""

    median: float
    low: float
    high: float
    samples: int


def median_interval(samples: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Return the median and its order-statistic interval (binomial, no normality assumed).

    The ranks are the widest symmetric pair whose two binomial(n, 1/2) tails stay within
    1 - confidence; with fewer than six samples that is the whole range.
    """
    ordered = sorted(samples)
    count = len(ordered)
    if not count:
        raise ValueError("median_interval: no samples; measure at least one round")
    tail, rank = 0.0, 0
    while rank < count // 2:
        tail += math.comb(count, rank) * 0.5**count
        if 2 * tail > 1 - confidence:
            break
        rank += 1
    low = max(rank - 1, 0)
    return Estimate(statistics.median(ordered), ordered[low], ordered[count - 1 - low], count)


def bootstrap_interval(
    samples: Sequence[float],
    statistic: Callable[[Sequence[float]], float] = statistics.fmean,
    *,
    rounds: int = 1000,
    confidence: float = 0.95,
    seed: int = 1,
) -> tuple[float, float]:
    """Return a percentile bootstrap interval of ``statistic``; fixed seed, so it repeats."""
    rng = random.Random(seed)
    values = list(samples)
    drawn = sorted(statistic(rng.choices(values, k=len(values))) for _ in range(rounds))
    edge = (1 - confidence) / 2
    return drawn[int(edge * rounds)], drawn[min(rounds - 1, int((1 - edge) * rounds))]


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile; NaN without samples."""
    ordered = sorted(samples)
    if not ordered:
        return math.nan
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


def poisson_interval(events: int, exposure: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact (Garwood 1936) interval of a rate: ``events`` seen in ``exposure``."""
    if exposure <= 0:
        return 0.0, math.inf
    edge = (1 - confidence) / 2

    def below(mean: float, upto: int) -> float:
        term = total = math.exp(-mean)
        for step in range(1, upto + 1):
            term *= mean / step
            total += term
        return total

    def solve(upto: int, wanted: float) -> float:
        low, high = 0.0, 10.0 + 4.0 * (upto + 1)
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if below(middle, upto) > wanted else (low, middle)
        return (low + high) / 2

    lower = 0.0 if events == 0 else solve(events - 1, 1 - edge)
    return lower / exposure, solve(events, edge) / exposure


# --- cost per operation ---------------------------------------------------------------------------

Arm = Callable[[int], float]
"""Runs the operation n times and returns the CPU seconds it took."""


def interleave(arms: Mapping[str, Arm], *, rounds: int, number: int, seed: int = 1) -> dict[str, list[float]]:
    """Measure every arm once per round, in a fresh random order, and return seconds per operation.

    Interleaving spreads the noise of a shared machine over all arms alike; a difference is then
    taken within a round, never between two moments of the day. Rounds in a disturbed moment (``quiet``)
    are taken again; what is still missing after that is filled up with the disturbed ones.
    """
    rng = random.Random(seed)
    names = list(arms)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        arms[name](max(1, number // 10))
    spare: list[dict[str, float]] = []
    before = min(QUIET.yardstick_ns() for _ in range(3))
    for _ in range(rounds * AGAIN):
        rng.shuffle(names)
        round_ = {name: arms[name](number) / number for name in names}
        after = QUIET.yardstick_ns()
        if QUIET.disturbed_by(max(before, after)):
            QUIET.disturbed += 1
            spare.append(round_)
        else:
            for name in names:
                taken[name].append(round_[name])
            if len(taken[names[0]]) == rounds:
                break
        before = after
    for round_ in spare[: rounds - len(taken[names[0]])]:
        for name in names:
            taken[name].append(round_[name])
    return taken


def side_by_side(arms: Mapping[str, Arm], *, rounds: int, number: int) -> dict[str, list[float]]:
    """Measure all arms at the same time, round after round, and return seconds per operation.

    For arms that are processes of their own: whatever disturbs the machine, disturbs them alike. Two runs
    one after the other differ by a tenth and more on a virtual machine, two at one time by a fiftieth.
    """
    taken: dict[str, list[float]] = {name: [] for name in arms}
    with ThreadPoolExecutor(len(arms)) as pool:
        list(pool.map(lambda arm: arm(max(1, number // 10)), arms.values()))
        for _ in range(rounds):
            spent = list(pool.map(lambda arm: arm(number), arms.values()))
            for name, seconds in zip(arms, spent, strict=True):
                taken[name].append(seconds / number)
    return taken


def over(control: Sequence[float], arm: Sequence[float]) -> Estimate:
    """Return what ``arm`` costs above ``control``, paired by round, in nanoseconds."""
    return median_interval([(a - c) * 1e9 for a, c in zip(arm, control, strict=True)])


cpu_clock = time.thread_time


# --- the environment --------------------------------------------------------------------------------


def compiled_modules(package: str = "seawall") -> list[str]:
    """Return the loaded modules of ``package`` that are compiled extensions."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX") or ".so"
    return sorted(
        name
        for name, module in sys.modules.items()
        if name.split(".")[0] == package and str(getattr(module, "__file__", "")).endswith(suffix)
    )


def versions(names: Iterable[str]) -> dict[str, str | None]:
    """Return the installed version of each distribution, None where it is missing."""
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def commit() -> str:
    """Return the commit that is measured, marked when the tree differs from it."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run(
        [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
    )
    if head.returncode:
        return "none"
    dirty = subprocess.run(
        [*git, "status", "--porcelain", "--", "src"], capture_output=True, text=True, check=False
    )
    return head.stdout.strip() + ("+changes" if dirty.stdout.strip() else "")


def source_hash(*paths: Path, salt: str = "") -> str:
    """Return 12 hex digits over the text of the files (folders: their .py files) and ``salt``."""
    digest = hashlib.sha256(salt.encode())
    for path in paths:
        for part in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(part.name.encode() + b"\0" + part.read_bytes())
    return digest.hexdigest()[:12]


def environment() -> dict[str, object]:
    """Return what a reader needs to judge a figure: interpreter, build, machine, versions."""
    return {
        "python": platform.python_version(),
        "build": " ".join(platform.python_build()),
        "compiler": platform.python_compiler(),
        "executable": os.path.realpath(sys.executable),
        "seawall": versions(["seawall"])["seawall"],
        "seawall_compiled": compiled_modules(),
        "rivals": versions(RIVALS),
        "commit": commit(),
        "cores": os.cpu_count(),
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_1m": round(os.getloadavg()[0], 2),
        "yardstick_ns": round(QUIET.best_ns, 2) if math.isfinite(QUIET.best_ns) else None,
        "disturbed_rounds": QUIET.disturbed,
    }


# --- the command -------------------------------------------------------------------------------------


@dataclass
class Run:
    """One run of a benchmark: its options, its progress on stderr, its report."""

    name: str
    options: argparse.Namespace
    figures: list[Figure] = field(default_factory=list)
    details: dict[str, object] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)
    recorded: bool = False
    """The benchmark has recorded it itself, or it is not to be."""

    @property
    def quick(self) -> bool:
        """True when the run must end within 45 seconds."""
        return bool(self.options.quick)

    @property
    def results_file(self) -> str:
        """The committed file of this benchmark, relative to the repository."""
        return f"benchmarks/results/{self.name}.json"

    def say(self, text: str) -> None:
        """Report progress on stderr."""
        print(f"[{time.perf_counter() - self.started:6.1f} s] {text}", file=sys.stderr, flush=True)

    def add(self, figure: Figure) -> None:
        """Add a figure to the report."""
        self.figures.append(figure)

    def judged(self, figure: Figure) -> None:
        """Add a figure whose quick run is too small to be judged: it then names the full result."""
        if self.quick:
            figure = Figure(
                figure=figure.figure,
                value=figure.value,
                unit=figure.unit,
                rivals=figure.rivals,
                interval=figure.interval,
                generator=figure.generator,
                note=figure.note,
                judged_by=self.results_file,
            )
        self.figures.append(figure)


def parser(name: str, purpose: str) -> argparse.ArgumentParser:
    """Return the argument parser with the options that every benchmark has."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=purpose)
    made.add_argument("--quick", action="store_true", help="a smaller run, under 45 seconds")
    made.add_argument("--json", action="store_true", help="JSON alone on stdout, progress on stderr")
    return made


def main(
    name: str,
    purpose: str,
    body: Callable[[Run], None],
    *,
    extend: Callable[[argparse.ArgumentParser], None] | None = None,
    show: Callable[[Run, Console], None] | None = None,
) -> int:
    """Run ``body`` as a command; report, record and return the exit code."""
    arguments = parser(name, purpose)
    if extend is not None:
        extend(arguments)
    run = Run(name, arguments.parse_args())
    try:
        body(run)
    except (CouldNotRunError, ImportError) as error:
        print(f"benchmarks.{name} could not run: {error}", file=sys.stderr)
        if run.options.json:
            print("[]")
        return COULD_NOT_RUN
    except Exception:
        # An exit code of 1 would say "a target was missed", which nobody knows after a crash.
        traceback.print_exc()
        return COULD_NOT_RUN
    duration = time.perf_counter() - run.started
    if not (run.quick or run.recorded):
        record(run, duration)
    if run.options.json:
        print(json.dumps([figure.as_json() for figure in run.figures], indent=1, allow_nan=False))
    else:
        report(run, duration, sys.stdout, show)
    return MET if all(figure.ok for figure in run.figures) else MISSED


def record(run: Run, duration_s: float) -> Path:
    """Write the full result of a run to ``benchmarks/results/NAME.json``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{run.name}.json"
    document = {
        "benchmark": run.name,
        "duration_s": round(duration_s, 1),
        "environment": environment(),
        "figures": [figure.as_json() for figure in run.figures],
        "details": run.details,
    }
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
    run.say(f"written: {path}")
    return path


def short(value: object) -> str:
    """Format a value for a table: few digits, no noise."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if not math.isfinite(value):
            return "-" if math.isnan(value) else "never"
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def figures_table(run: Run) -> Table:
    """Return the table of figures, rivals as columns."""
    table = Table(title=f"benchmarks.{run.name}{' --quick' if run.quick else ''}", title_justify="left")
    table.add_column("figure", overflow="fold")
    table.add_column("value", justify="right")
    table.add_column("interval", justify="right")
    table.add_column("unit")
    table.add_column("target", justify="right")
    table.add_column("ok")
    rivals = list(dict.fromkeys(name for figure in run.figures for name in figure.rivals))
    for rival in rivals:
        table.add_column(rival, justify="right", overflow="fold")
    for figure in run.figures:
        interval = f"{short(figure.interval[0])}..{short(figure.interval[1])}" if figure.interval else ""
        target = f"{figure.op} {short(figure.target)}" if figure.target is not None else ""
        verdict = "" if figure.target is None else "[green]met[/]" if figure.ok else "[red]missed[/]"
        if figure.judged_by:
            verdict = "see results"
        table.add_row(
            figure.figure,
            short(figure.value),
            interval,
            figure.unit,
            target,
            verdict,
            *(short(figure.rivals.get(rival)) if rival in figure.rivals else "" for rival in rivals),
        )
    return table


def report(
    run: Run, duration_s: float, stream: IO[str], show: Callable[[Run, Console], None] | None = None
) -> None:
    """Print the table for people: figures, then what the benchmark itself wants to show."""
    console = Console(file=stream, width=None if stream.isatty() else 180)
    if show is not None:
        show(run, console)
    console.print(figures_table(run))
    about = environment()
    compiled = f"{len(compiled_modules())} compiled modules" if compiled_modules() else "pure Python"
    console.print(
        f"{about['executable']} · Python {about['python']} ({about['build']}) · {compiled} · "
        f"commit {about['commit']} · {about['cores']} cores, load {about['load_1m']} · {duration_s:.0f} s",
        style="dim",
        highlight=False,
    )
