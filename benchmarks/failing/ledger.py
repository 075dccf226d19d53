"""Runs that add up: what is kept of each in ``results/history.json``, and the figures of all together."""

from __future__ import annotations

import fcntl
import json
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.failing import GENERATOR, SUBJECT
from benchmarks.failing.run import Tally
from benchmarks.harness import Figure, Run, percentile

KILLS = 2_000
PROMOTED = 500
AT_COMMIT = 200
VIOLATIONS_KEPT = 10
HISTORY_CHARACTERS = 20_000

Record = dict[str, Any]


def earlier(name: str) -> list[Record]:
    """The runs recorded so far."""
    path = harness.RESULTS / f"{name}.json"
    if not path.exists():
        return []
    found: list[Record] = json.loads(path.read_text())["details"]["runs"]
    return found


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Keep other runs from adding theirs meanwhile."""
    with (Path(tempfile.gettempdir()) / f"seawall-{name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def record_of(tally: Tally, *, seed: int, server: str, duration_s: float, only: Iterable[str]) -> Record:
    """What is kept of a run."""
    return {
        "seed": seed,
        "only": sorted(only),
        "commit": harness.commit(),
        "subject": SUBJECT,
        "generator": GENERATOR,
        "python": platform.python_version(),
        "server": server,
        "duration_s": round(duration_s, 1),
        "ended_at": round(time.time(), 1),
        "kills": dict(tally.kills),
        "missed": dict(tally.missed),
        "promoted": tally.promoted,
        "at_commit": tally.at_commit,
        "commits_held": tally.commits_held,
        "outcomes": {name: dict(counted) for name, counted in tally.outcomes.items()},
        "hit": {name: dict(counted) for name, counted in tally.hit.items()},
        "returning": {name: dict(counted) for name, counted in tally.returning.items()},
        "without_detail": tally.without_detail,
        "cut": tally.cut,
        "reads": tally.reads,
        "bystanders": dict(tally.bystanders),
        "connects_refused": dict(tally.connects_refused),
        "rejoined_here": tally.rejoined_here,
        "seconds": {kind: spread(seconds) for kind, seconds in tally.took.items()},
        "resumed_s": {kind: spread(seconds) for kind, seconds in tally.resumed.items()},
        "slowest_read_s": {kind: spread(seconds) for kind, seconds in tally.slowest_read.items()},
        "violations": [
            {"what": one.what, "history": one.history[:HISTORY_CHARACTERS]}
            for one in tally.violations[:VIOLATIONS_KEPT]
        ],
    }


def spread(seconds: list[float]) -> dict[str, float | int]:
    """How long something took."""
    return {
        "number": len(seconds),
        "median": percentile(seconds, 0.5),
        "p95": percentile(seconds, 0.95),
        "longest": max(seconds, default=0.0),
    }


def clean(runs: list[Record]) -> list[Record]:
    """The runs that began behind the last violation: what is mended has to be shown again from the start.

    Runs may go side by side; one that doesn't tell when it ended counts for none.
    """
    timed = [one for one in runs if "ended_at" in one]
    broken = max((one["ended_at"] for one in timed if one["violations"]), default=0.0)
    return [one for one in timed if one["ended_at"] - one["duration_s"] > broken]


def added(runs: Iterable[Record], key: str) -> Counter[str]:
    """The sum of a count over runs."""
    found: Counter[str] = Counter()
    for one in runs:
        found.update(one[key])
    return found


def nested(runs: Iterable[Record], key: str) -> dict[str, Counter[str]]:
    """The sum of a count of counts over runs."""
    found: dict[str, Counter[str]] = {}
    for one in runs:
        for name, counted in one[key].items():
            found.setdefault(name, Counter()).update(counted)
    return found


def judge(run: Run, this: Record, runs: list[Record]) -> None:
    """Add the figures of this run, and of all runs together."""
    kills = sum(this["kills"].values())
    run.add(
        Figure(
            figure=f"violations in {kills:,} kills, seed {this['seed']}",
            value=len(this["violations"]),
            unit="violations",
            op="<=",
            target=0,
            generator=GENERATOR,
            note=f"{sum(sum(each.values()) for each in this['outcomes'].values()):,} transactions checked",
        )
    )
    run.add(
        Figure(
            figure="reads and idle sessions that noticed a kill",
            value=sum(this["bystanders"].values()),
            unit="errors",
            op="<=",
            target=0,
            note=f"{this['reads']:,} reads",
        )
    )
    good = clean(runs)
    same = sum(sum(one["kills"].values()) for one in good if one["subject"] == SUBJECT)
    for figure, value, target, note in (
        (
            "kills since the last violation, all recorded runs",
            added(good, "kills").total(),
            KILLS,
            f"{same:,} on today's code",
        ),
        ("of them with another primary afterwards", sum(one["promoted"] for one in good), PROMOTED, None),
        ("of them while COMMIT was held", sum(one["at_commit"] for one in good), AT_COMMIT, None),
    ):
        run.judged(Figure(figure=figure, value=value, unit="kills", op=">=", target=target, note=note))
    for pinning, counted in nested(good, "returning").items():
        run.judged(returned(pinning, counted))
    without = sum(one["without_detail"] for one in good)
    run.judged(Figure(figure="40001 without a DETAIL", value=without, unit="transactions", op="<=", target=0))


def returned(pinning: str, counted: Mapping[str, int]) -> Figure:
    """The share of transactions that had seen a key, were hit, and went on as if nothing had been."""
    total = sum(counted.values())
    share = 100.0 * counted.get("acknowledged", 0) / total if total else float("nan")
    text = ", ".join(f"{number} {name}" for name, number in Counter(counted).most_common())
    return Figure(
        figure=f"INSERT ... RETURNING that survives the loss of its server, sequences {pinning}",
        value=round(share, 1),
        unit="%",
        note=f"{total} hit: {text}",
    )
