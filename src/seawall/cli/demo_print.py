"""The demo's report on a terminal or in a file: what happened when, and which promises were kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from seawall.cli.demo_report import Figures, Promise, Report
from seawall.cli.demo_scenario import Scenario

LAG_WORTH_TELLING_MS = 50.0


def print_report(report: Report, scenario: Scenario, console: Console | None = None) -> None:
    """Print figures, promises and the verdict."""
    console = Console(highlight=False) if console is None else console
    console.print(Text("What happened", style="bold"))
    console.print(table(rows(report.figures, scenario)))
    console.print()
    kept = sum(promise.kept for promise in report.promises)
    style = "bold green" if report.kept else "bold red"
    console.print(Text(f"{kept} of {len(report.promises)} promises kept", style=style))
    console.print(promises(report.promises))


def table(lines: Iterable[tuple[str, str]]) -> Table:
    """Names and sentences in two columns."""
    shown = Table(box=None, show_header=False, padding=(0, 1, 0, 2))
    shown.add_column(style="dim", no_wrap=True)
    shown.add_column()
    for name, text in lines:
        shown.add_row(name, text)
    return shown


def rows(figures: Figures, scenario: Scenario) -> Iterator[tuple[str, str]]:
    """The figures as sentences."""
    yield (
        "the hang was seen",
        "never" if figures.detected_ms is None else f"after {figures.detected_ms:.0f} ms",
    )
    yield "because", figures.reason or "-"
    yield "felt the fault", f"{figures.felt:,} of {figures.felt_of:,} calls made meanwhile, probes included"
    yield "protected", f"{figures.protected:,} calls, answered by the fallback at once"
    yield "failed", f"{figures.failed:,} calls, answered by the fallback after waiting in vain"
    attempts = scenario.retry.attempts
    yield (
        "longest wait",
        f"{figures.longest_wait_ms:,.0f} ms, with {attempts} attempts of up to {scenario.timeout}",
    )
    yield "retries", f"{figures.retries:,} made, {figures.retries_refused:,} refused by the budget"
    yield "some traffic again", _since_repair(figures.ramp_ms)
    yield "all traffic again", _since_repair(figures.closed_ms) + _ramp(figures, scenario)
    if figures.loop_lag_ms >= LAG_WORTH_TELLING_MS:
        yield "this machine", f"was up to {figures.loop_lag_ms:.0f} ms late, which adds to these times"


def _since_repair(after_ms: float | None) -> str:
    return "never" if after_ms is None else f"{after_ms / 1000.0:.1f} s after the repair"


def _ramp(figures: Figures, scenario: Scenario) -> str:
    ramp = scenario.breaker.ramp
    if ramp.kind == "fixed":
        return f", on a fixed ramp of {ramp.duration}"
    steps = figures.step_backs
    return f", on a gated ramp ({steps} step{'' if steps == 1 else 's'} back)"


def promises(judged: Iterable[Promise]) -> Table:
    """Each promise with the verdict and what was measured."""
    shown = Table(box=None, show_header=False, padding=(0, 1, 0, 2))
    shown.add_column(no_wrap=True)
    shown.add_column(no_wrap=True)
    shown.add_column()
    for promise in judged:
        kept = Text("kept", style="green") if promise.kept else Text("BROKEN", style="bold red")
        shown.add_row(kept, promise.promise, promise.measured)
    return shown
