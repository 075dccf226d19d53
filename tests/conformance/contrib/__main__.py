"""``python -m tests.conformance.contrib``: instrumentations' own tests over the SDK and over Seawall.

Exit code 0: none fails over ours alone, but those in ``reasons.toml``; 1: some do; 2: could not run. A run of
all packages is recorded in ``tests/conformance/results/contrib-seawall.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

from benchmarks import COULD_NOT_RUN, harness
from tests.conformance.contrib.suites import PACKAGES, VERSION, Runner
from tests.conformance.peers import reasons
from tests.conformance.peers.material import NoMaterialError
from tests.conformance.peers.outcomes import FAILED, SKIPPED, Comparison, SuiteFailedError

REASONS = Path(__file__).with_name("reasons.toml")
RESULT = Path(__file__).parents[1] / "results" / "contrib-seawall.json"
WITHIN, BEYOND = 0, 1
UNSTEADY = 2
"""Tests that may fail over ours at first and pass when run again; more are no accident."""


def explained(found: Comparison) -> dict[str, str | None]:
    """Each new failure with the reason that somebody wrote down, None without one."""
    known = reasons.load(REASONS)
    return {
        name: reasons.why(known, suite="contrib", mode="light", test=name) for name in found.new_failures()
    }


def judge(found: Comparison, unseen: int) -> bool:
    """Whether nothing fails over ours without a reason, not even where no test looks, nor is left out."""
    left_out = [
        name
        for name, outcome in found.through.items()
        if outcome == SKIPPED and found.direct.get(name) != SKIPPED
    ]
    without = None in explained(found).values()
    return not (without or left_out or unseen) and len(found.unsteady()) <= UNSTEADY


def document(found: Comparison, runner: Runner, *, seconds: float) -> dict[str, object]:
    """What is recorded."""
    sides = {"sdk": found.direct, "seawall": found.through}
    return {
        "suite": "opentelemetry-instrumentation-{" + ",".join(PACKAGES) + "}",
        "version": VERSION,
        "commit": harness.commit(),
        "duration_s": round(seconds, 1),
        "counts": {
            side: dict(sorted(Counter(outcomes.values()).items())) for side, outcomes in sides.items()
        },
        "spans_by_seawall": runner.spans,
        "failures_unseen": runner.unseen,
        "limit": sum(len(reason.tests) for reason in reasons.load(REASONS)),
        "new_failures": explained(found),
        "unsteady": found.unsteady(),
        "failed_with_sdk": sorted(name for name, outcome in found.direct.items() if outcome == FAILED),
        "ok": judge(found, runner.unseen),
    }


def options() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="python -m tests.conformance.contrib", description=__doc__)
    made.add_argument("package", nargs="*", help="some of: " + ", ".join(PACKAGES) + "; all if left out")
    made.add_argument(
        "--folder", type=Path, default=harness.ROOT / "build" / "peers", help="for what is fetched"
    )
    made.add_argument("--no-record", action="store_true", help="leave the results folder as it is")
    return made


def compare(runner: Runner, packages: list[str]) -> Comparison:
    """Run packages with both providers."""
    direct: dict[str, str] = {}
    through: dict[str, str] = {}
    for package in packages:
        for light, found in ((False, direct), (True, through)):
            started = time.monotonic()
            outcomes = runner.run(package, light=light)
            found.update(outcomes)
            side = "seawall" if light else "sdk"
            print(
                f"{package}, {side}: {len(outcomes)} tests in {time.monotonic() - started:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    return Comparison(direct, through)


def main() -> int:
    """Run the command."""
    parser = options()
    told = parser.parse_args()
    if unknown := sorted(set(told.package) - set(PACKAGES)):
        parser.error(f"unknown packages {unknown}; there are {list(PACKAGES)}")
    told.folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        runner = Runner(told.folder)
        found = compare(runner, told.package or list(PACKAGES))
    except (NoMaterialError, SuiteFailedError) as error:
        print(f"could not run: {error}", file=sys.stderr)
        return COULD_NOT_RUN
    result = document(found, runner, seconds=time.monotonic() - started)
    text = json.dumps(result, indent=1) + "\n"
    print(text, end="")
    if not told.no_record and not told.package:
        RESULT.write_text(text)
    return WITHIN if result["ok"] else BEYOND


if __name__ == "__main__":
    sys.exit(main())
