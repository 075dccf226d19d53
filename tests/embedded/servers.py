"""Real PostgreSQL servers for tests, gone afterwards whatever the test did to them.

A run that is itself killed leaves its servers behind; the next cluster that anybody makes removes them.
"""

import contextlib
import inspect
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seawall.embedded import Cluster, Engine, find_engine
from seawall.embedded.accounts import server_account
from seawall.embedded.directories import scratch_directory
from seawall.embedded.places import remove
from seawall.embedded.state import parse

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


@contextlib.contextmanager
def reachable_place() -> Iterator[Path]:
    """A directory name that the servers' account can reach (a temporary directory of pytest's it can't)."""
    place = scratch_directory(server_account()) / f"test-{secrets.token_hex(6)}"
    try:
        yield place
    finally:
        state = place / "cluster.json"
        if state.exists():
            remove(place, parse(state.read_text()))
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def place() -> Iterator[Path]:
    """A place for a cluster; whatever is there afterwards is stopped and removed."""
    with reachable_place() as path:
        yield path


def until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    """Wait for something that another process does; ends the test if it doesn't."""
    give_up = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up, f"not within {timeout_s} s: {inspect.getsource(condition)}"
        threading.Event().wait(0.01)
