"""The process of one worker, ``started by ``supervisor`` and by nobody else.

It gets what it needs through inherited descriptors: its listening sockets, the shared block, and on standard
input one pickled ``Inheritance`` from its own parent. End of file there means that the supervisor is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import pickle
import resource
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvloop

from seawall.proxy.busy import BusyPolling
from seawall.proxy.control import LINE_LIMIT, ControlServer, Siblings
from seawall.proxy.greeter import Door, Greeter
from seawall.proxy.observing import Attachment, Watcher
from seawall.proxy.settings import ProxySettings
from seawall.proxy.shared import COLUMNS, Block
from seawall.proxy.sweep import Sweeper
from seawall.proxy.worker import Worker

BACKLOG: Final = 4096
LENGTH_BYTES: Final = 8
READY_LINE: Final = b"ready\n"
USERS_FEW: Final = 100
"""With no more, their secrets are derived before anything else is done: a few milliseconds for each."""
DRAIN_STEP_S: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class Inheritance:
    """What a worker is given."""

    settings: ProxySettings
    number: int
    count: int
    listening: tuple[int, ...]
    control: int
    block: int
    directory: str
    mock_key: bytes = field(repr=False)
    attachment: Attachment | None = None


class WorkerProcess:
    """One worker with its sockets.

    Args:
        given: what the supervisor passed on.
    """

    def __init__(self, given: Inheritance) -> None:
        self._given = given
        block = Block(given.block)
        self._row = block.row(given.number)
        self.worker = Worker(given.settings, given.number, given.count, self._row, given.mock_key)
        self.worker.published = block
        self.worker.look_at_topology()
        if given.attachment is not None:
            self.worker.watcher = Watcher(given.attachment.attach(self.worker))
        self._door = Door(given.settings.limits.connections_per_address, given.settings.limits.connections)
        self._stop = asyncio.Event()
        self._now = asyncio.Event()

    async def run(self) -> None:
        """Serve until told to stop, then drain."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._asked)
        for ignored in (signal.SIGINT, signal.SIGHUP):  # the terminal's; the supervisor hears them as well
            loop.add_signal_handler(ignored, lambda: None)
        given = self._given
        self.worker.siblings = Siblings(self.worker, Path(given.directory))
        control = await asyncio.start_unix_server(
            ControlServer(self.worker).serve, sock=socket.socket(fileno=given.control), limit=LINE_LIMIT
        )
        servers = [
            await loop.create_server(
                lambda: Greeter(self.worker, self._door), sock=socket.socket(fileno=number), backlog=BACKLOG
            )
            for number in given.listening
        ]
        if len(given.settings.auth.users) > USERS_FEW:
            await loop.run_in_executor(None, self.worker.derive_secrets)
        else:  # without a second thread the system's calls are cheaper, ever after
            self.worker.derive_secrets()
        busy = BusyPolling(given.settings.busy_poll_s, self._queries, loop)
        sweep = Sweeper(self.worker, busy)
        sweeper = loop.create_task(sweep.run())
        watcher = loop.create_task(self._watch_parent())
        self._row.write(**dict.fromkeys(COLUMNS, 0))
        self._row.write(pid=self.worker.pid)
        self._report_ready()
        await self._stop.wait()
        for server in servers:
            server.close()
        await self._drain()
        sweep.sweep(self.worker.clock())  # for the last time: what has come together is counted
        for task in (sweeper, watcher):
            task.cancel()
        control.close()

    def _queries(self) -> int:
        return sum(pool.queries for pool in self.worker.pools.values())

    def _report_ready(self) -> None:
        try:
            os.write(sys.stdout.fileno(), READY_LINE)
        except BrokenPipeError:  # the supervisor has ended meanwhile
            self._now.set()
            self._stop.set()

    def _asked(self) -> None:
        if self._stop.is_set():
            self._now.set()
        self._stop.set()

    async def _drain(self) -> None:
        self.worker.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._given.settings.timeouts.drain_s or None):
                while self.worker.clients and not self._now.is_set():  # noqa: ASYNC110 -- two ends
                    await asyncio.sleep(DRAIN_STEP_S)
        for client in list(self.worker.clients.values()):
            self.worker.close_client(client, "57P01", "the proxy is shutting down", "", "Connect again.")
        self.worker.close_idle()
        await asyncio.sleep(DRAIN_STEP_S)

    async def _watch_parent(self) -> None:
        """The supervisor holds the other end of standard input for as long as it lives."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        await reader.read()
        self._now.set()
        self._stop.set()


def inherit() -> Inheritance:
    """Read what the supervisor passed on.

    Raises:
        EOFError: the supervisor was gone before it had passed on everything.
        TypeError: it passed on something else.
    """
    length = int.from_bytes(_read(LENGTH_BYTES), "big")
    given = pickle.loads(_read(length))  # noqa: S301 -- from our own parent, through an anonymous pipe
    if not isinstance(given, Inheritance):
        raise TypeError(f"inherited {type(given).__name__}; the supervisor passes an Inheritance")
    return given


def _read(size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(sys.stdin.fileno(), size - len(data))
        if not part:
            raise EOFError("the supervisor ended before this worker had what it needs")
        data += part
    return data


async def serve(given: Inheritance) -> None:
    """Run the worker in the loop that is running."""
    await WorkerProcess(given).run()


def main() -> None:
    """Run the process."""
    try:
        given = inherit()
    except EOFError as error:
        sys.exit(f"seawall: {error}")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.collect()
    gc.freeze()
    uvloop.run(serve(given))
