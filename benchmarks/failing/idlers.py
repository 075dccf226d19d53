"""Sessions that have nothing open when their server dies: how long their first statement afterwards takes.

One thread on blocking sockets, protocol by hand: what is measured is the proxy, not a driver.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.proxying.client import Client, RefusedError, query

ANSWER_S = 30.0
FIRST = query("SELECT 1 / (NOT pg_is_in_recovery())::int")
"""A replica answers this with an error."""


@dataclass(frozen=True, slots=True)
class First:
    """How the first statements went.

    Attributes:
        seconds: Of those that were answered.
        failed: Sessions that got an error, or whose connection had ended.
    """

    seconds: tuple[float, ...]
    failed: int


class Idlers:
    """So many sessions, each of which has done something before."""

    def __init__(self, port: int, number: int, *, settings: bool) -> None:
        self.clients: list[Client] = []
        for each in range(number):
            client = Client(port, "postgres")
            self.clients.append(client)
            if settings:
                client.simple(f"SET work_mem TO '{1000 + each}kB'")
            client.simple("SELECT 1")
        self._settings = settings

    def close(self) -> None:
        """End them."""
        for client in self.clients:
            client.close()

    def ask(self) -> First:
        """Have all of them say something at the same moment."""
        began: dict[Client, float] = {}
        seconds: list[float] = []
        failed = 0
        with selectors.DefaultSelector() as selector:
            for client in self.clients:
                now = time.monotonic()
                try:
                    client.socket.sendall(FIRST)
                except OSError:
                    failed += 1
                    continue
                began[client] = now
                selector.register(client.socket, selectors.EVENT_READ, client)
            give_up = time.monotonic() + ANSWER_S
            while began and time.monotonic() < give_up:
                for key, _ in selector.select(0.1):
                    client = key.data
                    selector.unregister(client.socket)
                    started = began.pop(client)
                    try:
                        client.finish()
                    except (RefusedError, OSError):
                        failed += 1
                    else:
                        seconds.append(time.monotonic() - started)
        return First(tuple(seconds), failed + len(began))

    def kept(self) -> int:
        """How many sessions are as they were."""
        found = 0
        for each, client in enumerate(self.clients):
            try:
                found += not self._settings or client.scalar("SHOW work_mem") == f"{1000 + each}kB"
            except (RefusedError, OSError, IndexError):
                continue
        return found


@contextmanager
def idlers(port: int, number: int, *, settings: bool) -> Iterator[Idlers]:
    """Hold sessions."""
    made = Idlers(port, number, settings=settings)
    try:
        yield made
    finally:
        made.close()
