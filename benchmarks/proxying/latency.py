"""What one client waits for one small query: blocks of queries on each endpoint in turn.

A raw socket and a message that was built before: the client's own microseconds are the same on every arm
and fall out of the difference.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from contextlib import ExitStack

from benchmarks.proxying.client import READY, Client, query
from benchmarks.proxying.endpoints import Endpoint

BLOCK = 200
"""Queries in a row on one connection; short, so that a disturbed moment hits all arms alike."""
WARM_S = 0.15
"""Queries that don't count before each block: longer than a worker takes to notice that it may poll."""
PAUSE_S = 0.03
"""Before that nobody asks anything: whoever polls has ended by then."""


def block(client: Client, request: bytes, number: int) -> list[int]:
    """Return the nanoseconds of each of ``number`` queries.

    Raises:
        ConnectionResetError: The answer ended early.
    """
    connection = client.socket
    taken = []
    clock = time.perf_counter_ns
    for _ in range(number):
        started = clock()
        connection.sendall(request)
        answer = connection.recv(65536)
        while answer[-6:-1] != READY:
            more = connection.recv(65536)
            if not more:
                raise ConnectionResetError("the connection ended before ReadyForQuery")
            answer += more
        taken.append(clock() - started)
        if answer[:1] != b"T":
            raise ConnectionResetError(f"the query failed: {answer[:200]!r}")
    return taken


def warm(client: Client, request: bytes) -> None:
    """Ask for ``WARM_S``, after a pause.

    Raises:
        ConnectionResetError: The answer ended early.
    """
    time.sleep(PAUSE_S)
    until = time.monotonic() + WARM_S
    while time.monotonic() < until:
        block(client, request, 10)


def waits(
    endpoints: Mapping[str, Endpoint], *, database: str, number: int, seed: int = 1
) -> dict[str, list[int]]:
    """Return nanoseconds per query and endpoint, ``number`` of each, blocks in random turns."""
    rng = random.Random(seed)
    request = query("SELECT abalance FROM pgbench_accounts WHERE aid = 1;")
    taken: dict[str, list[int]] = {name: [] for name in endpoints}
    with ExitStack() as stack:
        clients = {
            name: stack.enter_context(Client(endpoint.port, database)) for name, endpoint in endpoints.items()
        }
        names = list(clients)
        for _ in range(max(1, number // BLOCK)):
            rng.shuffle(names)
            for name in names:
                warm(clients[name], request)
                taken[name] += block(clients[name], request, BLOCK)
    return taken
