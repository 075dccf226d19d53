"""The parent of the workers: binds the sockets, starts and replaces the workers, has the primary followed.

Every worker has listening sockets of its own on the same addresses (``SO_REUSEPORT``), made here and kept
open here: while a worker is being replaced, whoever connects to its sockets waits in their queues and is not
refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from seawall.kernel.errors import InfrastructureError
from seawall.kernel.proxy_signals import WorkerEnded
from seawall.kernel.signals import Hub
from seawall.proxy.control import socket_path, supervisor_path
from seawall.proxy.failover.conductor import Conductor
from seawall.proxy.failover.crew import Crew
from seawall.proxy.failover.desk import Desk
from seawall.proxy.failover.hooks import Hooks
from seawall.proxy.observing import Companion
from seawall.proxy.process import BACKLOG, LENGTH_BYTES, READY_LINE, Inheritance
from seawall.proxy.settings import Listen, ProxySettings
from seawall.proxy.shared import WORKERS_MAX, Block
from seawall.proxy.topology import Topology, untracked

START: Final = "from seawall.proxy.process import main; main()"
START_TIMEOUT_S: Final = 20.0
RESTART_FIRST_S: Final = 0.05
RESTART_LAST_S: Final = 5.0
MOCK_KEY_BYTES: Final = 32
STABLE_S: Final = 10.0
"""A worker that lived this long is replaced at once; one that dies sooner ever more slowly."""


def _quietly(fact: object) -> None:
    """Tell nobody."""
    del fact


class AddressInUse(InfrastructureError):
    """An address to listen on is taken, or not ours."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class Running:
    """A proxy that is up."""

    addresses: tuple[Listen, ...]
    worker_pids: tuple[int, ...]


def bind(listen: Listen, *, shared: bool, exclusive: bool = True) -> socket.socket:
    """A listening socket.

    Args:
        listen: where.
        shared: whether more sockets of ours will listen there.
        exclusive: whether this is the first of them, before which nobody may listen there.

    Raises:
        AddressInUse: with the address and the system's reason.
    """
    try:
        if listen.unix_directory:
            path = Path(listen.unix_directory) / f".s.PGSQL.{listen.port}"
            return bind_unix(path, mode=0o777)
        family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
        if exclusive and listen.port:
            # With SO_REUSEPORT a second proxy of the same user would share the port without a word.
            with socket.socket(family, socket.SOCK_STREAM) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind((listen.host, listen.port))
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind((listen.host, listen.port))
            sock.listen(BACKLOG)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        where = listen.unix_directory or f"{listen.host}:{listen.port}"
        raise AddressInUse(f"cannot listen on {where}", error.strerror or str(error)) from error
    return sock


def bind_unix(path: Path, mode: int) -> socket.socket:
    """A listening unix socket; one that nobody listens on any more is replaced."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
                if trial.connect_ex(str(path)) != 0:
                    path.unlink()
        sock.bind(str(path))
        path.chmod(mode)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


class Supervisor:
    """A proxy: sockets, shared block, workers.

    Args:
        settings: what the proxy has been told.
        log: takes a line about what happened.
        hooks: do something to the servers when the primary changes; ``None``: the configured commands.
        companion: looks on.
    """

    def __init__(
        self,
        settings: ProxySettings,
        log: Callable[[str], None] = _quietly,
        hooks: Hooks | None = None,
        companion: Companion | None = None,
    ) -> None:
        self._count = min(settings.workers or os.cpu_count() or 1, WORKERS_MAX)
        self._settings = settings
        self._log = log
        self._hooks = hooks
        self._companion = companion
        self.hub = Hub()
        """Where what happens is published."""
        self._conductor: Conductor | None = None
        self._desk: Desk | None = None
        self._block = Block()
        self._sockets: list[list[socket.socket]] = []
        self._controls: list[socket.socket] = []
        self._directory = Path(settings.runtime_directory or tempfile.mkdtemp(prefix="seawall-"))
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._mock_key = secrets.token_bytes(MOCK_KEY_BYTES)
        self._stopping = False
        self.addresses: tuple[Listen, ...] = ()
        self.restarts = 0

    async def start(self) -> Running:
        """Bind, and start all workers.

        Raises:
            AddressInUse: an address can't be listened on.
            InfrastructureError: a worker doesn't start.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._bind()
            await self._follow()
            if self._companion is not None:
                await self._companion.start(self)
            await asyncio.gather(*(self._launch(number) for number in range(self._count)))
        except BaseException:
            await self.stop(now=True)
            raise
        self._keepers = [asyncio.create_task(self._keep(number)) for number in range(self._count)]
        return Running(
            addresses=self.addresses,
            worker_pids=tuple(self._processes[number].pid for number in range(self._count)),
        )

    def _bind(self) -> None:
        addresses: list[Listen] = []
        per_worker: list[list[socket.socket]] = [[] for _ in range(self._count)]
        for listen in self._settings.listen:
            first = bind(listen, shared=self._count > 1)
            resolved = listen if listen.unix_directory else replace(listen, port=first.getsockname()[1])
            addresses.append(resolved)
            for number in range(self._count):
                if number == 0 or listen.unix_directory:
                    per_worker[number].append(first)
                else:
                    per_worker[number].append(bind(resolved, shared=True, exclusive=False))
        self._sockets = per_worker
        self.addresses = tuple(addresses)
        self._controls = [
            bind_unix(socket_path(self._directory, number), 0o600) for number in range(self._count)
        ]

    async def _follow(self) -> None:
        """Begin to follow the primary, so that it is known when the first client comes."""
        if self._settings.failover.enabled:
            crew = Crew(self._directory, self._count)
            self._conductor = Conductor(self._settings, self._block, crew, self._log, self._hooks, self.hub)
            self._conductor.start()
        else:
            self._block.publish(untracked("failover.enabled is false").to_json())
        self._desk = Desk(self._conductor)
        await self._desk.open(bind_unix(supervisor_path(self._directory), 0o600))

    async def _launch(self, number: int) -> None:
        listening = [sock.fileno() for sock in self._sockets[number]]
        control = self._controls[number].fileno()
        attachment = self._companion.attachment if self._companion is not None else None
        given = Inheritance(
            settings=self._settings,
            number=number,
            count=self._count,
            listening=tuple(listening),
            control=control,
            block=self._block.descriptor,
            directory=str(self._directory),
            mock_key=self._mock_key,
            attachment=attachment,
        )
        watched = attachment.descriptors if attachment is not None else ()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            START,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=[*listening, control, self._block.descriptor, *watched],
            start_new_session=True,  # Ctrl-C is for the supervisor, which drains
        )
        self._processes[number] = process
        data = pickle.dumps(given)
        if process.stdin is None or process.stdout is None:
            raise InfrastructureError(f"worker {number}", "was started without pipes")
        process.stdin.write(len(data).to_bytes(LENGTH_BYTES, "big") + data)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await process.stdout.readline()
        except TimeoutError:
            line = b""
        if line != READY_LINE:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise InfrastructureError(f"worker {number}", "did not start; what it printed above says why")

    async def _keep(self, number: int) -> None:
        """Replace a worker whenever it dies."""
        loop = asyncio.get_running_loop()
        wait_s = RESTART_FIRST_S
        while True:
            born_at = loop.time()
            status = await self._processes[number].wait()
            if self._stopping:
                return
            self.restarts += 1
            if self._companion is not None:
                self._companion.worker_ended(number)
            name = f"worker {number}"
            self.hub.publish(WorkerEnded(at=loop.time(), name=name, number=number, status=status))
            self._log(f"worker {number} ended with status {status}; starting another")
            wait_s = RESTART_FIRST_S if loop.time() - born_at > STABLE_S else min(wait_s * 2, RESTART_LAST_S)
            while not self._stopping:
                await asyncio.sleep(wait_s)
                try:
                    await self._launch(number)
                    break
                except InfrastructureError as error:
                    self._log(str(error))
                    wait_s = min(wait_s * 2, RESTART_LAST_S)

    async def stop(self, *, now: bool = False) -> None:
        """Drain all workers and end; ``now`` cuts what is open."""
        self._stopping = True
        for sockets in self._sockets:
            for sock in sockets:
                sock.close()
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL if now else signal.SIGTERM)
        await asyncio.gather(*(process.wait() for process in self._processes.values()))
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        if self._desk is not None:
            self._desk.close()
            supervisor_path(self._directory).unlink(missing_ok=True)
        if self._conductor is not None:
            await self._conductor.stop()
        if self._companion is not None:
            await self._companion.stop()
        for control in self._controls:
            control.close()
        for listen in self.addresses:
            if listen.unix_directory:
                (Path(listen.unix_directory) / f".s.PGSQL.{listen.port}").unlink(missing_ok=True)
        if not self._settings.runtime_directory:
            shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def count(self) -> int:
        """How many workers there are to be."""
        return self._count

    @property
    def alive(self) -> int:
        """How many of them run."""
        return sum(process.returncode is None for process in self._processes.values())

    @property
    def stopping(self) -> bool:
        """Whether it lets nobody in any more."""
        return self._stopping

    @property
    def topology(self) -> Topology | None:
        """What the workers go by; ``None`` if nobody watches the servers."""
        return self._conductor.topology if self._conductor is not None else None

    def show(self, what: str) -> list[dict[str, Any]]:
        """Rows of ``backends``, ``topology`` or ``failovers``, as the console has them; none if unwatched."""
        return self._desk.show(what) if self._desk is not None else []

    def rows(self) -> list[dict[str, int]]:
        """Every worker's counters as it wrote them last; those of a dead one stand until it is replaced."""
        return [self._block.row(number).read() for number in range(self._count)]

    def hurry(self) -> None:
        """Tell draining workers not to wait any longer."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)


async def serve(
    settings: ProxySettings,
    on_ready: Callable[[Running], None] = _quietly,
    log: Callable[[str], None] = _quietly,
    hooks: Hooks | None = None,
    companion: Companion | None = None,
) -> int:
    """Run a proxy until SIGTERM, SIGINT or SIGHUP, then drain; a second signal ends it at once."""
    supervisor = Supervisor(settings, log, hooks, companion)
    stop = asyncio.Event()

    def asked() -> None:
        if stop.is_set():
            supervisor.hurry()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, asked)
    try:
        on_ready(await supervisor.start())
        await stop.wait()
        await supervisor.stop()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)
    return 0


def run(
    settings: ProxySettings,
    on_ready: Callable[[Running], None] = _quietly,
    log: Callable[[str], None] = _quietly,
    hooks: Hooks | None = None,
    companion: Companion | None = None,
) -> int:
    """Run a proxy in the foreground; returns the exit code.

    Raises:
        AddressInUse: an address can't be listened on.
        InfrastructureError: a worker doesn't start.
    """
    return asyncio.run(serve(settings, on_ready, log, hooks, companion))
