"""Real PostgreSQL servers for tests, gone afterwards whatever the test did to them.

A run that is itself killed leaves its servers behind; the next cluster that anybody makes removes them.
"""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from seawall.embedded import Cluster, Engine, find_engine

MakeCluster = Callable[..., Cluster]


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The newest PostgreSQL of the wheel."""
    return find_engine("wheel")


@pytest.fixture(scope="session")
def server(engine: Engine) -> Iterator[Cluster]:
    """One running node that all tests share and none may break: trust, 300 connections."""
    with Cluster.create(engine=engine, settings={"max_connections": "300"}) as shared:
        yield shared


@pytest.fixture
def cluster(engine: Engine) -> Iterator[MakeCluster]:
    """Makes clusters that the test may break, with the arguments of ``Cluster.create``."""
    with contextlib.ExitStack() as stack:

        def make(**options: object) -> Cluster:
            made = Cluster.create(**{"engine": engine, **options})
            stack.callback(made.destroy)
            return made

        yield make
