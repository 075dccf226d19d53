"""What holds for every test: no verdict depends on how busy the machine is, and a unit test is quick."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

HERE = Path(__file__).parent

UNIT_FOLDERS = frozenset({"kernel", "resilience", "telemetry", "testing", "wire"})
"""Tests here run on virtual time and touch nothing outside the process."""

UNIT_TIMEOUT_S = 10
"""A unit test needs milliseconds, a property test a second; one that runs into this hangs."""

# Hypothesis judges an example's duration by the wall clock: on a shared machine, a verdict on the others.
settings.register_profile("seawall", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("seawall")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each unit test its limit, unless it says why it needs another."""
    for item in items:
        folder = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
        if folder in UNIT_FOLDERS and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(UNIT_TIMEOUT_S))
