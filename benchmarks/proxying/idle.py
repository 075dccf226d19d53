"""Thousands of idle clients in one process of their own: ``python -m benchmarks.proxying.idle``.

It logs them in, says ``ready``, and waits for a line. Then it asks every client's connection one query,
says how many answered, and ends at the next line. The parent measures the proxy in between.
"""

from __future__ import annotations

import argparse
import json
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import harness
from benchmarks.proxying.client import Client, RefusedError
from benchmarks.proxying.endpoints import allow_descriptors

SPARE_DESCRIPTORS = 200


class IdleClientsError(Exception):
    """The clients could not be held; the text says why."""


class Crowd:
    """The parent's view of the process."""

    def __init__(self, process: subprocess.Popen[str], clients: int) -> None:
        self._process = process
        self.clients = clients

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            assert self._process.stderr is not None
            raise IdleClientsError(f"the idle clients ended:\n{self._process.stderr.read()[-1500:]}")
        return line

    def wait_ready(self) -> None:
        """Return when all are logged in.

        Raises:
            IdleClientsError: Some could not.
        """
        self._line()

    def ask(self) -> int:
        """Return how many connections were silent until now and answer a query.

        Raises:
            IdleClientsError: The process ended.
        """
        assert self._process.stdin is not None
        self._process.stdin.write("ask\n")
        self._process.stdin.flush()
        return int(json.loads(self._line()))


@contextmanager
def crowd(port: int, clients: int, database: str) -> Iterator[Crowd]:
    """Run that many idle clients in another process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.proxying.idle", str(port), str(clients), database],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=harness.ROOT,
    )
    try:
        with process:
            yield Crowd(process, clients)
            assert process.stdin is not None
            process.stdin.close()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def main() -> int:
    """Hold the clients."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("port", type=int)
    arguments.add_argument("clients", type=int)
    arguments.add_argument("database")
    told = arguments.parse_args()
    limit = allow_descriptors()
    if limit < told.clients + SPARE_DESCRIPTORS:
        print(f"{told.clients} clients need more than {limit} open files: ulimit -Hn", file=sys.stderr)
        return harness.MISSED
    clients = [Client(told.port, told.database) for _ in range(told.clients)]
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(answering(clients)), flush=True)
    # Closed without Terminate: ten thousand of them would only make the stop slow.
    for client in clients:
        client.socket.close()
    return harness.MET


def answering(clients: list[Client]) -> int:
    """Count the connections on which nothing has happened and that answer a query."""
    poll = select.poll()
    for client in clients:
        poll.register(client.socket, select.POLLIN)
    disturbed = {descriptor for descriptor, _ in poll.poll(0)}
    good = 0
    for client in clients:
        if client.socket.fileno() in disturbed:
            continue
        try:
            good += client.scalar("SELECT 1") == "1"
        except (OSError, IndexError, RefusedError):
            continue
    return good


if __name__ == "__main__":
    sys.exit(main())
