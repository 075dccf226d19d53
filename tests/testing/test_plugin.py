"""The fixtures, as pytest gives them to a test of a project that has Seawall installed."""

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from seawall import Breaker, guard, signals
from seawall.testing import DeterministicRandom, VirtualClock, run

pytest_plugins = ["pytester"]


def test_the_clock_stands_at_zero(seawall_clock: VirtualClock) -> None:
    run(asyncio.sleep(2.0), seawall_clock)

    assert seawall_clock.monotonic() == 2.0


def test_random_numbers_are_the_same_every_time(seawall_rng: DeterministicRandom) -> None:
    assert seawall_rng() == DeterministicRandom()()


def test_signals_are_recorded_and_a_guard_stays_forced(seawall_signals: Any, seawall_force: Any) -> None:
    db = guard("db")
    seawall_force(db)

    assert db.try_call(int, "7").rejected
    assert [signal.owner for signal in seawall_signals.of(signals.BreakerForced)] == ["seawall.testing"]


def test_what_was_forced_ends_with_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from seawall import guard

        db = guard("db")

        def test_one(seawall_force):
            seawall_force(db, "open")
            assert db.try_call(int, "7").rejected

        def test_two():
            assert db.call(int, "7") == 7
        """
    )

    pytester.runpytest_inprocess("-p", "no:randomly", "-p", "no:timeout").assert_outcomes(passed=2)


def test_a_retry_takes_no_time(seawall_clock: VirtualClock, seawall_rng: DeterministicRandom) -> None:
    db = guard("db", breaker=Breaker(), clock=seawall_clock, rng=seawall_rng)

    assert db.call(int, "7") == 7


def test_loading_the_plugin_costs_nothing() -> None:
    program = (
        "import json, sys, pytest; before = set(sys.modules); import seawall.testing.plugin;"
        " print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert set(json.loads(answer.stdout)) <= {
        "seawall",
        "seawall._version",
        "seawall.testing",
        "seawall.testing.plugin",
    }
