"""Who serves how many: closed loops on raw connections, counted per connection.

A connection's local port tells which worker of the proxy holds its other end (``processes.holders``).
"""

from __future__ import annotations

import selectors
import time
from dataclasses import dataclass

from benchmarks.proxying import processes
from benchmarks.proxying.client import READY, Client, query
from benchmarks.proxying.endpoints import Endpoint

SELECT_S = 1.0


@dataclass
class _Loop:
    client: Client
    answered: int = 0
    tail: bytes = b""


def served(endpoint: Endpoint, *, clients: int, seconds: float, database: str) -> dict[int, int]:
    """Return the transactions that each worker process answered.

    Raises:
        ConnectionResetError: A connection ended.
    """
    request = query("SELECT abalance FROM pgbench_accounts WHERE aid = 1;")
    loops: list[_Loop] = []
    try:
        for _ in range(clients):
            loops.append(_Loop(Client(endpoint.port, database)))
        _turn(loops, request, seconds)
        owner = processes.holders(endpoint.port, endpoint.pids())
        found: dict[int, int] = {}
        for loop in loops:
            pid = owner[loop.client.socket.getsockname()[1]]
            found[pid] = found.get(pid, 0) + loop.answered
        return found
    finally:
        for loop in loops:
            loop.client.close()


def _turn(loops: list[_Loop], request: bytes, seconds: float) -> None:
    with selectors.DefaultSelector() as selector:
        for loop in loops:
            selector.register(loop.client.socket, selectors.EVENT_READ, loop)
            loop.client.socket.sendall(request)
        waiting = len(loops)
        deadline = time.monotonic() + seconds
        while waiting:
            more = time.monotonic() < deadline
            for key, _ in selector.select(SELECT_S):
                loop = key.data
                got = loop.client.socket.recv(65536)
                if not got:
                    raise ConnectionResetError("a client was cut in the middle of the load")
                loop.tail = (loop.tail + got)[-6:]
                if loop.tail[:5] != READY:
                    continue
                loop.answered += 1
                loop.tail = b""
                if more:
                    loop.client.socket.sendall(request)
                else:
                    waiting -= 1
