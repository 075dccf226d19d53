"""Fixtures for the tests of metrics."""

from collections.abc import Iterator

import pytest

from tests.telemetry.metrics.host import Host


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.block.close()
