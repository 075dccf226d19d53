"""What telemetry costs: instruments, spans, headers, pages, and what an event loop feels of it.

``python -m benchmarks.telemetry [--quick] [--json] [--only PART]``. Beside prometheus_client and the
OpenTelemetry SDK, interleaved, in this interpreter, which is named in the report. CPU time is a median over
rounds of (arm - control); what a loop feels is the 99th percentile of the gaps between a callback's runs,
loaded less idle. All is pure Python here, and the targets are for the distribution's own interpreter.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING

from benchmarks import harness
from benchmarks.harness import Figure, Run, percentile
from benchmarks.quiet import QUIET, SLOWER, recorded_ns

if TYPE_CHECKING:
    from benchmarks.telemetering.delays import Load, Round

DELAY_MS = 1.0
QUICK_S = 15.0
"""For all operations of a quick run."""
RIVALS = ("opentelemetry-api", "opentelemetry-sdk", "prometheus-client", "protobuf", "uvicorn")
PARTS = ("instruments", "spans", "headers", "pages", "delays")


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this benchmark has."""
    parser.add_argument("--only", choices=PARTS, help="one part, whose result isn't recorded")


def wanted(run: Run, part: str) -> bool:
    """Whether this part is to be measured."""
    return run.options.only in {None, part}


def cost_figures(run: Run) -> None:
    """Add what operations cost.

    A quick run on a machine that is slower now than when the result was recorded says nothing about costs in
    nanoseconds, so they are not judged there.
    """
    from benchmarks.telemetering import costs, headers, instruments, pages, spans

    made = {"instruments": instruments.rows, "spans": spans.rows, "headers": headers.rows}
    small = [row for part, rows in made.items() if wanted(run, part) for row in rows()]
    if run.quick:
        found = costs.measure(small, rounds=64, number=1_000, within_s=QUICK_S)
    else:
        found = costs.measure(small, rounds=160, number=2_000)
    large = pages.rows(pages.build()) if wanted(run, "pages") else []
    found |= costs.measure(large, rounds=8 if run.quick else 40)
    recorded = recorded_ns(harness.RESULTS / "telemetry.json")
    strange = run.quick and recorded is not None and QUIET.best_ns > SLOWER * recorded
    if strange and recorded is not None:
        run.say(f"this machine runs at {recorded / QUIET.best_ns:.0%} of the recorded one: costs not judged")
    for row in [*small, *large]:
        figure = costs.figure(row, found[row.name])
        run.say(f"{row.name}: {figure.value} {row.unit}; {dict(figure.rivals)}")
        (run.judged if strange else run.add)(figure)


def delay_figures(run: Run) -> None:
    """Add what an event loop feels."""
    from benchmarks.telemetering import delays, loads, pages
    from benchmarks.telemetering.costs import OTEL, PROMETHEUS

    both = pages.build()
    ours = {"rounds": 24, "loads": 2} if run.quick else {"rounds": 48, "loads": 4}
    theirs = {"rounds": 4, "loads": 1} if run.quick else {"rounds": 20, "loads": 1}

    async def measured(what: AbstractAsyncContextManager[Load], much: Mapping[str, int]) -> list[Round]:
        async with what as load:
            return await delays.measure(load, idle_s=0.02 if run.quick else 0.05, **much)

    def found(what: AbstractAsyncContextManager[Load], much: Mapping[str, int]) -> list[Round]:
        return asyncio.run(measured(what, much))

    def rival(load: Load) -> list[Round]:
        return found(nullcontext(load), theirs)

    delay(
        run,
        f"loop delay added by a scrape of {pages.SERIES:,} series, served",
        found(loads.served(both), ours),
        {
            f"{PROMETHEUS} in the loop": rival(loads.generated(both, threaded=False)),
            f"{PROMETHEUS} in a thread": rival(loads.generated(both, threaded=True)),
        },
    )
    delay(
        run,
        f"loop delay added by an OTLP flush of {loads.SPANS:,} spans",
        found(loads.flush(), ours),
        {f"{OTEL}, encoding in a thread": rival(loads.sdk_encoding())},
    )


def delay(run: Run, name: str, ours: Sequence[Round], rivals: dict[str, list[Round]]) -> None:
    """Add the rows of one load."""
    from benchmarks.telemetering.costs import times
    from benchmarks.telemetering.delays import SHARE, added, by_time

    loaded = [one.loaded.gaps for one in ours]
    disturbed = sum(1 for one in ours if one.disturbed)
    longest = max(map(max, loaded)) / 1e6
    about = f"longest gap {longest:.2f} ms; {len(ours)} rounds, {disturbed} disturbed, of "
    about += f"{statistics.median(map(len, loaded)):g} gaps under load"
    for kind, of, target in (("P99 of gaps", percentile, DELAY_MS), ("P99 by time", by_time, None)):
        estimate = added(ours, of)
        others = {rival: round(added(rounds, of).median, 3) for rival, rounds in rivals.items()}
        idle = statistics.median(of(one.idle.gaps, SHARE) for one in ours) / 1e6
        figure = Figure(
            figure=f"{name}: {kind}, less idle",
            value=round(estimate.median, 3),
            unit="ms",
            op=None if target is None else "<=",
            target=target,
            interval=(round(estimate.low, 3), round(estimate.high, 3)),
            rivals=others,
            note="; ".join([f"idle {idle:.3f} ms", about, *times(estimate.median, others)]),
        )
        run.say(f"{figure.figure}: {figure.value} ms; {others}; {figure.note}")
        # Where other programs have taken the processor in every round, the figure is theirs.
        (run.judged if target and disturbed == len(ours) else run.add)(figure)


def body(run: Run) -> None:
    """Measure everything."""
    from benchmarks.telemetering.delays import first

    run.recorded = run.options.only is not None
    try:
        cost_figures(run)
        if wanted(run, "delays"):
            with first() as going_first:
                delay_figures(run)
            run.details["loop goes before other programs"] = going_first
    except ImportError as error:
        raise harness.CouldNotRunError(f"{error}; run: pip install --group test --group bench") from error
    run.details |= {"rivals": harness.versions(RIVALS), "order_seed": 1}


def main() -> int:
    """Run the benchmark as a command."""
    return harness.main("telemetry", __doc__.split("\n")[0], body, extend=options)


if __name__ == "__main__":
    sys.exit(main())
