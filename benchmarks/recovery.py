"""Recovery: from a repaired but cold backend back to full traffic.

``python -m benchmarks.recovery [--quick] [--json]``. Virtual time, fixed seeds. The same scenario
(``benchmarks.simulation.cold_cache``) is met with four ways back: the ramp gated by latency and errors,
the reference document's fixed ramp (120 s in steps of a tenth), a faster fixed ramp (30 s), and closing at
once.

Slow calls are judged strictly where a ramp can make a difference: against the fixed 30 s here, and against
the fixed 120 s with a backend twice as cold, for which 120 s are too fast. In the standard scenario no ramp
can have fewer than the fixed 120 s: it stays so far below what the backend takes that nothing ever waits, and
the few slow calls that are left are slow by their own service time on a cold server. Those any ramp meets
that warms the backend (``unavoidable`` computes how many to expect), so there the gated ramp has to be level:
the mean difference of the runs, paired by common random numbers, within its own 95 % interval of zero. Also
checked: the share of traffic that is really sent against the share the ramp aims at.
"""

from __future__ import annotations

import bisect
import math
import statistics
import sys
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from benchmarks import harness
from benchmarks.harness import Figure, Run
from benchmarks.simulation import GENERATOR
from benchmarks.simulation.cold_cache import Recovery, Scenario, recover
from benchmarks.simulation.faults import SLOW_BOUND_S
from benchmarks.simulation.seawall_rule import SeawallRule
from benchmarks.simulation.traces import work_table
from seawall.resilience.policy import Breaker, Ramp

SEEDS = 20
SEEDS_QUICK = 2
SEEDS_VARIANT = 5
FIXED_S, FIXED_STEP = 120.0, 0.1
SHARE_WINDOW_S = 2.0
SHARE_TOLERANCE = 2.0
FASTER = 2.0
T_95 = 2.093
"""Student's t for 20 runs, two-sided."""
SLOW_CALLS = 24.0
"""What the study behind the gated ramp measured."""

ARMS: dict[str, Ramp] = {
    "gated": Ramp(kind="gated"),
    "fixed 120 s": Ramp(kind="fixed", duration="120s", step="10%"),
    "fixed 30 s": Ramp(kind="fixed", duration="30s", step="10%"),
    "instant close": Ramp(kind="none"),
}

COLDER = "12 x slower when cold"
VARIANTS = {
    "nothing to warm": Scenario(cold_factor=1.0),
    COLDER: Scenario(cold_factor=12.0),
    "100 calls/s": Scenario(rate=100.0, warm_after=1000.0),
    "20 calls/s, 2 servers": Scenario(rate=20.0, servers=2, warm_after=300.0),
    "short outage": Scenario(down_s=5.0),
}


def rule_for(ramp: Ramp) -> SeawallRule:
    """Return an engine with the policy under test and this way back."""
    return SeawallRule(Breaker(errors="5%", p95="500ms", ramp=ramp))


def deviation_points(one: Recovery, aim: Callable[[float, float], float]) -> float:
    """Return the worst gap between sent and aimed share, in points, over windows of two seconds.

    ``aim`` gets the time and the engine's own share and returns the share that should be sent. Only
    calls between the first admitted share and full traffic are looked at.
    """
    worst = 0.0
    index = -1
    aimed = sent = calls = 0.0
    for at, share, admitted in one.shares:
        if not 0.0 < share < 1.0:
            continue
        slot = int(at / SHARE_WINDOW_S)
        if slot != index:
            if calls >= 100:
                worst = max(worst, abs(sent - aimed) / calls)
            index, aimed, sent, calls = slot, 0.0, 0.0, 0.0
        aimed += aim(at, share)
        sent += admitted
        calls += 1
    return 100 * worst


def fixed_aim(one: Recovery) -> Callable[[float, float], float]:
    """Return the share that the fixed ramp owes by the reference, computed from the clock alone."""
    started = next((at for at, share, _ in one.shares if 0.0 < share < 1.0), math.inf)

    def aim(at: float, share: float) -> float:
        del share
        return min(1.0, FIXED_STEP * (1 + int((at - started) / (FIXED_S * FIXED_STEP))))

    return aim


def mean(values: list[float]) -> float | None:
    """Return the mean, rounded for the record; None when it did not happen in every run."""
    value = statistics.fmean(values)
    return round(value, 2) if math.isfinite(value) else None


def summary(runs: list[Recovery]) -> dict[str, float | None]:
    """Return the means over the seeds, as plain data."""
    return {
        "full_s": mean([one.full_s for one in runs]),
        "ramp_s": mean([one.full_s - one.first_traffic_s for one in runs]),
        "runs_to_full": sum(math.isfinite(one.full_s) for one in runs),
        "reopenings": mean([one.reopenings for one in runs]),
        "slow_calls": mean([one.slow for one in runs]),
        "refused_calls": mean([one.refused for one in runs]),
        "refused_or_slow": mean([one.refused + one.slow for one in runs]),
        "sent_calls": mean([one.sent for one in runs]),
    }


def ratio(slower: float | None, faster: float | None) -> float | None:
    """Return how many times faster one is, None when one of them never arrived."""
    return round(slower / faster, 2) if slower and faster else None


def unavoidable(scenario: Scenario) -> float:
    """Return how many calls of a run are slow without any waiting: expected, from cold to warm."""
    work = sorted(work_table(1 << 14))
    expected = 0.0
    for served in range(int(10 * scenario.warm_after)):
        factor = 1 + (scenario.cold_factor - 1) * math.exp(-served / scenario.warm_after)
        expected += (len(work) - bisect.bisect_right(work, SLOW_BOUND_S / factor)) / len(work)
    return round(expected, 2)


def paired(gated: list[Recovery], fixed: list[Recovery]) -> Figure:
    """Return the difference in slow calls, judged against the half-width of its own 95 % interval."""
    gaps = [one.slow - other.slow for one, other in zip(gated, fixed, strict=True)]
    return Figure(
        figure="gated ramp: slow calls more than with the fixed 120 s, paired",
        value=round(statistics.fmean(gaps), 3),
        unit="calls",
        op="<=",
        target=round(T_95 * statistics.stdev(gaps) / math.sqrt(len(gaps)), 3),
        generator=GENERATOR,
        note=f"expected without any waiting: {unavoidable(Scenario())} a run, whatever the ramp",
    )


def traffic_figures(run: Run, sums: dict[str, dict[str, float | None]]) -> None:
    """Add how soon traffic is back, and at whose cost."""
    gated, fixed, like = sums["gated"], sums["fixed 120 s"], sums["fixed 30 s"]

    def add(name: str, key: str, unit: str, target: float | None) -> None:
        run.add(
            Figure(
                figure=f"gated ramp: {name}",
                value=gated[key],
                unit=unit,
                op=None if target is None else "<=",
                target=target,
                rivals={arm: values[key] for arm, values in sums.items() if arm != "gated"},
                generator=GENERATOR,
            )
        )

    add("repair to full traffic", "full_s", "s", None)
    run.add(
        Figure(
            figure="gated ramp: times faster to full than the fixed 120 s",
            value=round(fixed["full_s"] / gated["full_s"], 2)
            if fixed["full_s"] and gated["full_s"]
            else None,
            unit="x",
            op=">=",
            target=FASTER,
            generator=GENERATOR,
        )
    )
    add("reopenings", "reopenings", "per run", 0.0)
    add("slow or timed-out calls", "slow_calls", "calls", SLOW_CALLS)
    add("slow calls, against the fixed 30 s", "slow_calls", "calls", like["slow_calls"])
    add("refused or slow, against the fixed 120 s", "refused_or_slow", "calls", fixed["refused_or_slow"])


def share_figures(run: Run, runs: dict[str, list[Recovery]]) -> None:
    """Add how exactly the share that is sent follows the share that is meant."""
    shares = {
        "gated": max(deviation_points(one, lambda _, share: share) for one in runs["gated"]),
        "fixed 120 s": max(deviation_points(one, fixed_aim(one)) for one in runs["fixed 120 s"]),
    }
    for name, points in shares.items():
        run.add(
            Figure(
                figure=f"{name}: worst gap between sent and target share",
                value=round(points, 3),
                unit="points",
                op="<=",
                target=SHARE_TOLERANCE,
                generator=GENERATOR,
            )
        )


def variant_figures(run: Run) -> None:
    """Add the gated ramp in other scenarios, without targets: tuning to one scenario would show here."""
    found = {}
    for name, scenario in VARIANTS.items():
        runs = [recover(rule_for(ARMS["gated"]), scenario, seed) for seed in range(SEEDS_VARIANT)]
        found[name] = summary(runs)
        run.say(f"gated, {name}: {found[name]}")
        run.add(
            Figure(
                figure=f"gated ramp, {name}: repair to full traffic",
                value=found[name]["full_s"],
                unit="s",
                generator=GENERATOR,
                note="per run: {reopenings} reopenings, {slow_calls} slow calls".format(**found[name]),
            )
        )
    run.details["variants"] = found
    colder, scenario = found[COLDER], VARIANTS[COLDER]
    fixed = summary([recover(rule_for(ARMS["fixed 120 s"]), scenario, seed) for seed in range(SEEDS_VARIANT)])
    run.say(f"fixed 120 s, {COLDER}: {fixed}")
    for key, unit in (("slow_calls", "calls"), ("reopenings", "per run")):
        run.add(
            Figure(
                figure=f"gated ramp, {COLDER}: {key.replace('_', ' ')}, against the fixed 120 s",
                value=colder[key],
                unit=unit,
                op="<=",
                target=fixed[key],
                rivals={"fixed 120 s": fixed[key]},
                generator=GENERATOR,
            )
        )


def body(run: Run) -> None:
    """Run all arms over all seeds and collect the figures."""
    scenario = Scenario()
    seeds = range(SEEDS_QUICK if run.quick else SEEDS)
    runs: dict[str, list[Recovery]] = {}
    for name, ramp in ARMS.items():
        runs[name] = [recover(rule_for(ramp), scenario, seed) for seed in seeds]
        run.say(f"{name}: {summary(runs[name])}")
    sums = {name: summary(one) for name, one in runs.items()}
    run.details = {"scenario": repr(scenario), "seeds": list(seeds), "generator": GENERATOR, "arms": sums}
    traffic_figures(run, sums)
    run.add(paired(runs["gated"], runs["fixed 120 s"]))
    share_figures(run, runs)
    if not run.quick:
        variant_figures(run)


def show(run: Run, console: Console) -> None:
    """Print the three ways back beside each other."""
    table = Table(title=f"cold cache, {Scenario()} · generator {GENERATOR}", title_justify="left")
    arms = run.details["arms"]
    if not isinstance(arms, dict):
        raise TypeError(f"details.arms: {type(arms).__name__}; body() stores a dict")
    table.add_column("way back")
    for key in next(iter(arms.values())):
        table.add_column(key.replace("_", " "), justify="right")
    for name, values in arms.items():
        table.add_row(name, *(harness.short(value) for value in values.values()))
    console.print(table)


def main() -> int:
    """Run the benchmark as a command."""
    return harness.main("recovery", __doc__.split("\n")[0], body, show=show)


if __name__ == "__main__":
    sys.exit(main())
