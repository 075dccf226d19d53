"""What is done to servers when the primary changes: by nobody, by commands, or by an object of the app's.

``conductor`` says when; here is only how. Every hook may fail, and says why in a :class:`HookFailed`; whether
that stops a promotion is the plan's affair. Nothing goes through a shell.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, Protocol

from seawall.kernel.errors import InfrastructureError
from seawall.proxy.settings import Backend, Failover

__all__ = ["CommandHooks", "HookFailed", "Hooks", "NoHooks", "RunSql"]

PROMOTE: Final = "SELECT pg_catalog.pg_promote(false)"
"""Returns at once; the watch sees when it is done."""
COMMAND_TIMEOUT_S: Final = 30.0
"""Of a command that clients wait for; it is killed then, with all that it started."""
REJOIN_TIMEOUT_S: Final = 3600.0
"""Of one that nobody waits for: it may copy all data."""
OUTPUT_BYTES_MAX: Final = 2_000
"""The end of what a command says, kept for the error."""
OUTPUT_GRACE_S: Final = 0.2
"""What a command has started and left behind may hold its output open; nobody waits for that."""
CHUNK_BYTES: Final = 4_096
PLACEHOLDER: Final = re.compile(r"\{(node|host|port|primary)\}")

RunSql = Callable[[str, str], Awaitable[None]]
"""Runs a statement on a backend, given by name."""


class HookFailed(InfrastructureError):
    """What was to be done to a server was not done."""

    __slots__ = ()


class Hooks(Protocol):
    """What somebody can do to the servers."""

    @property
    def can_fence(self) -> bool:
        """Whether a server can be kept from taking writes."""

    @property
    def can_rejoin(self) -> bool:
        """Whether a former primary can be made a replica."""

    async def fence(self, node: str, *, clean: bool) -> None:
        """Keep a server from taking another write until it is rejoined; returns when that is certain.

        Args:
            node: which; it may be dead already, which is as good.
            clean: it lives and its replicas shall get all it has: stop it properly.

        Raises:
            HookFailed: it may go on.
        """

    async def promote(self, node: str) -> None:
        """Have a replica become a primary; returns as soon as it has been told.

        Raises:
            HookFailed: it was not.
        """

    async def repoint(self, primary: str, replicas: Sequence[str]) -> None:
        """Have replicas follow a server that is primary or about to be.

        Raises:
            HookFailed: some don't.
        """

    async def rejoin(self, node: str, primary: str) -> None:
        """Make a former primary a replica, whatever its state; takes as long as it takes.

        Raises:
            HookFailed: it is none.
        """


class NoHooks:
    """Nobody can do anything but promote a server by SQL.

    Args:
        run: runs the statement.
    """

    can_fence = False
    can_rejoin = False

    def __init__(self, run: RunSql) -> None:
        self._run = run

    async def fence(self, node: str, *, clean: bool) -> None:
        """Nothing can be done; the proxy itself sends nothing to a server that has been replaced."""
        del node, clean

    async def promote(self, node: str) -> None:
        """Call ``pg_promote``."""
        await self._run(node, PROMOTE)

    async def repoint(self, primary: str, replicas: Sequence[str]) -> None:
        """Nothing can be done; replicas that follow a name or a virtual address need nothing."""
        del primary, replicas

    async def rejoin(self, node: str, primary: str) -> None:
        """Nothing can be done."""
        raise HookFailed(node, f"it is no replica of {primary}, and no rejoin_command is configured")


class CommandHooks:
    """Commands of the configuration; those that are empty are what :class:`NoHooks` does.

    Args:
        settings: the commands.
        backends: all servers.
        run: runs a statement.
        timeout_s: of a command that clients wait for.
    """

    def __init__(
        self,
        settings: Failover,
        backends: Iterable[Backend],
        run: RunSql,
        *,
        timeout_s: float = COMMAND_TIMEOUT_S,
    ) -> None:
        self._settings = settings
        self._backends = {backend.name: backend for backend in backends}
        self._otherwise = NoHooks(run)
        self._timeout_s = timeout_s

    @property
    def can_fence(self) -> bool:
        """Whether there is a command for it."""
        return bool(self._settings.fence_command)

    @property
    def can_rejoin(self) -> bool:
        """Whether there is a command for it."""
        return bool(self._settings.rejoin_command)

    async def fence(self, node: str, *, clean: bool) -> None:
        """Run ``fence_command``."""
        if not self._settings.fence_command:
            await self._otherwise.fence(node, clean=clean)
            return
        await self._command("fence_command", self._settings.fence_command, node, node)

    async def promote(self, node: str) -> None:
        """Run ``promote_command``."""
        if not self._settings.promote_command:
            await self._otherwise.promote(node)
            return
        await self._command("promote_command", self._settings.promote_command, node, node)

    async def repoint(self, primary: str, replicas: Sequence[str]) -> None:
        """Run ``repoint_command`` for every replica, side by side."""
        argv = self._settings.repoint_command
        if not argv:
            await self._otherwise.repoint(primary, replicas)
            return
        ran = await asyncio.gather(
            *(self._command("repoint_command", argv, node, primary) for node in replicas),
            return_exceptions=True,
        )
        failures = [one for one in ran if isinstance(one, BaseException)]
        if failures:
            raise failures[0]

    async def rejoin(self, node: str, primary: str) -> None:
        """Run ``rejoin_command``."""
        argv = self._settings.rejoin_command
        if not argv:
            await self._otherwise.rejoin(node, primary)
            return
        await self._command("rejoin_command", argv, node, primary, REJOIN_TIMEOUT_S)

    async def _command(
        self, key: str, argv: Sequence[str], node: str, primary: str, timeout_s: float | None = None
    ) -> None:
        backend = self._backends[node]
        values = {"node": node, "host": backend.host, "port": str(backend.port), "primary": primary}
        command = [PLACEHOLDER.sub(lambda found: values[found[1]], word) for word in argv]
        await run_command(node, key, command, timeout_s or self._timeout_s)


async def run_command(node: str, key: str, command: Sequence[str], timeout_s: float) -> None:
    """Run a command to its end.

    Raises:
        HookFailed: it can't be run, ends with another status than 0, or takes too long.
    """
    output, theirs = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        os.close(output)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise HookFailed(node, f"{key}: cannot run {command[0]}: {reason}") from error
    finally:
        os.close(theirs)
    tail = bytearray()
    reading = asyncio.create_task(_keep_tail(output, tail))
    try:
        async with asyncio.timeout(timeout_s):
            status = await process.wait()
        problem = "" if status == 0 else f"{command[0]} ended with status {status}"
    except TimeoutError:
        problem = f"{command[0]} took longer than {timeout_s:g} s"
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        await asyncio.wait({reading}, timeout=OUTPUT_GRACE_S)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    if problem:
        said = tail.decode(errors="replace").strip()
        raise HookFailed(node, f"{key}: {problem}{f': {said}' if said else ''}")


async def _keep_tail(output: int, tail: bytearray) -> None:
    """Read to the end and keep the last of it; a pipe of our own, because asyncio's waits for its end."""
    stream = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(output, "rb")
    )
    try:
        while part := await stream.read(CHUNK_BYTES):
            tail += part
            del tail[:-OUTPUT_BYTES_MAX]
    finally:
        transport.close()
