"""Memory: one hundred thousand keyed breakers.

``python -m benchmarks.memory [--quick] [--json]``. Every key is used through its guard, as a proxy does with
tenants or query patterns, and has seen ten good calls. Resident memory and traced allocations are taken in
subprocesses of their own, each relative to the same process before the first key; the keys themselves are
counted too, because somebody has to hold them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tracemalloc

from benchmarks import harness
from benchmarks.harness import Figure, Run

KEYS = 100_000
KEYS_QUICK = 20_000
CALLS = 10
TARGET_MB = 45.0
MB = 1e6


def options(parser: argparse.ArgumentParser) -> None:
    """Add what the subprocess is told."""
    parser.add_argument(
        "--measure", choices=("rss", "traced"), help="measure in this process and print bytes"
    )
    parser.add_argument("--keys", type=int, default=0, help="how many keys (default 100,000; quick 20,000)")


def resident() -> int:
    """Return this process's resident bytes."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def fill(keys: int) -> object:
    """Make ten good calls for each of ``keys`` keys through one guard."""
    from benchmarks.contestants import nothing
    from benchmarks.own import POLICY
    from seawall.resilience.guard import guard

    shared = guard("tenants", breaker=POLICY, keys_max=keys)
    for index in range(keys):
        view = shared.at(f"tenant-{index:06d}")
        for _ in range(CALLS):
            view.call(nothing)
    return shared


def measure(how: str, keys: int) -> int:
    """Return the bytes that ``keys`` keyed breakers take in this process."""
    warm = fill(10)
    if how == "rss":
        before = resident()
        kept = fill(keys)
        taken = resident() - before
    else:
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        kept = fill(keys)
        taken = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    del warm, kept
    return taken


def in_subprocess(how: str, keys: int) -> int:
    """Measure in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", "--measure", how, "--keys", str(keys)],
        capture_output=True,
        text=True,
        check=False,
        cwd=harness.ROOT,
    )
    if done.returncode:
        raise harness.CouldNotRunError(f"the run in a subprocess failed:\n{done.stderr[-2000:]}")
    return int(json.loads(done.stdout))


def body(run: Run) -> None:
    """Measure both ways."""
    keys = run.options.keys or (KEYS_QUICK if run.quick else KEYS)
    target = TARGET_MB * keys / KEYS
    for how, label in (("rss", "resident"), ("traced", "traced allocations")):
        taken = in_subprocess(how, keys)
        run.say(f"{label}: {taken / MB:.1f} MB for {keys:,} keys, {taken / keys:.0f} B each")
        run.add(
            Figure(
                figure=f"{keys:,} keyed breakers, {CALLS} calls each: {label}",
                value=round(taken / MB, 2),
                unit="MB",
                op="<=",
                target=target,
                note=f"{taken / keys:.0f} B per key",
            )
        )
    run.details = {"keys": keys, "calls_per_key": CALLS}


def main() -> int:
    """Run the benchmark as a command."""
    if "--measure" in sys.argv:
        arguments = argparse.ArgumentParser()
        options(arguments)
        told = arguments.parse_args()
        print(json.dumps(measure(told.measure, told.keys or KEYS)))
        return harness.MET
    return harness.main("memory", __doc__.split("\n")[0], body, extend=options)


if __name__ == "__main__":
    sys.exit(main())
