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
        for client in clients.values():
            block(client, request, BLOCK)
        names = list(clients)
        for _ in range(max(1, number // BLOCK)):
            rng.shuffle(names)
            for name in names:
                taken[name] += block(clients[name], request, BLOCK)
    return taken
