"""One PostgreSQL server: a data directory, a port, and whatever processes work on them at the moment.

A node doesn't remember whether it runs; it looks. So it makes no difference who started the server, and a
node found after a crash is as good as one just made. Calls block; nothing here takes the cluster's lock,
because a server that is paused must be resumable while a command waits for it.

Source: PostgreSQL documentation, "Server Setup and Operation"; "System Administration Functions" for
``pg_promote``.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

from seawall.embedded import pidfile, ports, processes
from seawall.embedded.accounts import Account
from seawall.embedded.client import Connection, Row
from seawall.embedded.configuration import SUPERUSER
from seawall.embedded.engines import Engine
from seawall.embedded.errors import ClusterError, PortTaken, StatementFailed
from seawall.kernel.errors import DatabaseUnavailable, PolicyError, Problem

__all__ = ["STOP_SIGNALS", "Node"]

STOP_SIGNALS: Final = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
"""How PostgreSQL names its ways to stop: wait for clients; end them; end at once and recover later."""

START_TIMEOUT_S: Final = 60.0
"""Recovery after a crash replays all since the last checkpoint, on a machine that may be busy."""

STOP_TIMEOUT_S: Final = 30.0
"""For each harder way of stopping."""

PROMOTE_TIMEOUT_S: Final = 60
"""What ``pg_promote`` waits at most."""

LISTEN_TIMEOUT_S: Final = 10.0
"""From the first moment of a server until it has its signal handlers; milliseconds where nothing is wrong."""

POLL_S: Final = 0.01
PROBE_TIMEOUT_S: Final = 2.0
"""One question while waiting for a server to be ready."""

LOG_BYTES_MAX: Final = 16 * 1024 * 1024
"""A larger log is put aside (one is kept) when its server starts."""

LOG_LINES_SHOWN: Final = 15
"""The end of the log, in an error."""

LOG_BYTES_SHOWN: Final = 8_192


class Node:
    """One server of a cluster.

    Args:
        name: Unique in its cluster; its replication goes by this name.
        directory: Holds its data, configuration and log.
        engine: Whose programs run.
        account: Who they run as.
        port: TCP port on ``host``.
        socket_directory: Of its unix socket.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        *,
        engine: Engine,
        account: Account,
        port: int,
        socket_directory: Path,
    ) -> None:
        self.name: Final = name
        self.host: Final = ports.HOST
        self.port = port
        self.directory: Final = directory
        self.data_directory: Final = directory / "data"
        self.configuration_file: Final = directory / "postgresql.conf"
        self.log_file: Final = directory / "server.log"
        self.socket_directory: Final = socket_directory
        self.engine: Final = engine
        self.account: Final = account
        self._log_offset = 0

    def __repr__(self) -> str:
        state = "paused" if self.is_paused else "running" if self.is_running else "down"
        return f"Node({self.name!r}, port={self.port}, {state})"

    # --- looking ------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """The postmaster's process id; ``None`` when the server is down, whatever ``postmaster.pid`` says."""
        found = self._postmaster()
        return None if found is None else found.pid

    @property
    def is_running(self) -> bool:
        """Whether there is a living postmaster (it may be paused, or not ready yet)."""
        return self._postmaster() is not None

    @property
    def is_paused(self) -> bool:
        """Whether the postmaster stands still by ``SIGSTOP``."""
        found = self._postmaster()
        return found is not None and found.state in processes.STOPPED

    @property
    def is_standby(self) -> bool:
        """Whether the data directory asks for standby mode: true of a replica, running or not."""
        return (self.data_directory / "standby.signal").exists()

    def pids(self) -> list[int]:
        """Every process of the server, its first one first."""
        return [process.pid for process in processes.members(self.data_directory)]

    def _postmaster(self) -> processes.Process | None:
        processes.reap()
        noted = pidfile.read(self.data_directory)
        return processes.postmaster(self.data_directory, None if noted is None else noted.pid)

    def dsn(self, database: str = "postgres", user: str = SUPERUSER, password: str = "") -> str:
        """A URL for any PostgreSQL driver, over TCP.

        Args:
            database: Which database.
            user: Which database user.
            password: Part of the URL if given; a node doesn't know any.
        """
        login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
        return f"postgresql://{login}@{self.host}:{self.port}/{quote(database, safe='')}"

    def execute(
        self, sql: str, *, database: str = "postgres", user: str = SUPERUSER, timeout_s: float = 30.0
    ) -> list[Row]:
        """Run statements over the unix socket, in a session of their own; values are text, NULL is ``None``.

        Args:
            sql: One or more statements; several are one transaction, as in every simple query.
            database: Which database.
            user: Which database user; no password is asked for on the socket.
            timeout_s: In seconds, for the login and again for the statements.

        Raises:
            DatabaseUnavailable: The server is down, paused or too slow.
            StatementFailed: It refuses the statement or the login.
        """
        address = self.socket_directory / f".s.PGSQL.{self.port}"
        who = {"user": user, "database": database}
        with Connection(address, name=self.name, timeout_s=timeout_s, **who) as session:
            return session.query(sql)

    def log_tail(self) -> str:
        """The last lines that the server has logged since we started it."""
        try:
            with self.log_file.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(min(self._log_offset, end), end - LOG_BYTES_SHOWN))
                text = file.read(LOG_BYTES_SHOWN).decode("utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(deque(text.splitlines(), maxlen=LOG_LINES_SHOWN))

    def log_size(self) -> int:
        """Bytes in the server's log."""
        try:
            return self.log_file.stat().st_size
        except OSError:
            return 0

    # --- starting and stopping ----------------------------------------------------------------------------

    def start(self, *, wait: bool = True, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start the server, unless it runs already.

        What a crash has left is cleared first: children without a postmaster are killed, a ``postmaster.pid``
        that names nobody, a zombie or a stranger is removed.

        Args:
            wait: Return only when it answers queries.
            timeout_s: How long to wait, in seconds.

        Raises:
            PortTaken: Another program listens on the port.
            ClusterError: It doesn't start; the message ends with its log.
        """
        if self.is_running:
            if wait:
                self.wait_ready(timeout_s)
            return
        self.clear_remains()
        if not ports.hold(self.port):
            raise PortTaken(self.name, f"port {self.port} is taken by another program")
        command: list[str | Path] = [
            self.engine.binary("postgres"),
            "-D",
            self.data_directory,
            "-c",
            f"config_file={self.configuration_file}",
            "-c",
            f"hba_file={self.directory / 'pg_hba.conf'}",
        ]
        with self._open_log() as log:
            self._log_offset = self.log_size()
            processes.spawn(
                command,
                self.account,
                data_directory=self.data_directory,
                environment=self.engine.environment(),
                log=log,
            )
        if wait:
            self.wait_ready(timeout_s)

    def clear_remains(self) -> None:
        """Kill orphaned children and remove stale lock files, so that the directories are free.

        Raises:
            ClusterError: The server runs, or an orphan can't be killed.
        """
        if self.is_running:
            raise ClusterError(self.name, "it runs: stop it first")
        processes.kill(self.data_directory)
        pidfile.forget(self.data_directory)
        # The socket has a lock file of its own with the same pid: a zombie's would block the next start, too.
        for path in self.socket_directory.glob(".s.PGSQL.*"):
            path.unlink(missing_ok=True)

    def _open_log(self) -> IO[bytes]:
        if self.log_size() > LOG_BYTES_MAX:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(self.log_file, flags, 0o640), "ab")

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until the server answers a query.

        Args:
            timeout_s: How long, in seconds.

        Raises:
            PortTaken: It ended because another program listens on its port.
            ClusterError: It ended, or isn't ready in time; the message ends with its log.
        """
        give_up = time.monotonic() + timeout_s
        while True:
            noted = pidfile.read(self.data_directory)
            # Asked earlier, it would fill its log with refusals, and an error with nothing else.
            if noted is None or noted.status == "ready":
                with suppress(DatabaseUnavailable, StatementFailed):
                    self.execute("SELECT 1", timeout_s=min(PROBE_TIMEOUT_S, timeout_s))
                    return
            running = self.is_running
            log = self.log_tail()  # after that look, so that a dead server's last words are in it
            if not running:
                kind = PortTaken if "Address already in use" in log else ClusterError
                raise kind(self.name, f"the server is not running\n{log}")
            if time.monotonic() >= give_up:
                raise ClusterError(self.name, f"not ready after {timeout_s:g} s\n{log}")
            time.sleep(POLL_S)

    def stop(self, mode: str = "fast", *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Stop the server, harder if the way asked for takes too long; a paused one is let go on for it.

        Args:
            mode: A key of ``STOP_SIGNALS``.
            timeout_s: For each way that is tried, in seconds.

        Raises:
            PolicyError: There is no such mode.
            ClusterError: Processes of it can't even be killed.
        """
        if mode not in STOP_SIGNALS:
            raise PolicyError([Problem("mode", mode, ", ".join(STOP_SIGNALS), "write one of them")], "stop")
        ways = list(STOP_SIGNALS)
        for way in ways[ways.index(mode) :]:
            if self._stopped_by(STOP_SIGNALS[way], timeout_s):
                break
        # The hardest way for whoever is left, children without a postmaster included.
        processes.kill(self.data_directory)
        processes.reap()
        ports.hold(self.port)

    def _stopped_by(self, number: signal.Signals, timeout_s: float) -> bool:
        give_up = time.monotonic() + timeout_s
        found = self._postmaster()
        if found is None:
            return True
        processes.send(found, number)
        processes.thaw(self.data_directory)
        while self.is_running:
            if time.monotonic() >= give_up:
                return False
            time.sleep(POLL_S)
        return True

    def restart(self, mode: str = "fast") -> None:
        """Stop and start; raises what they raise."""
        self.stop(mode)
        self.start()

    def reload(self) -> None:
        """Have the server read its configuration again (``SIGHUP``); one that is just starting is waited for.

        Raises:
            ClusterError: It doesn't get as far as to listen for that signal, which would end it.
        """
        give_up = time.monotonic() + LISTEN_TIMEOUT_S
        while (found := self._postmaster()) is not None:
            if processes.catches(found.pid, signal.SIGHUP):
                processes.send(found, signal.SIGHUP)
                return
            if time.monotonic() >= give_up:
                raise ClusterError(self.name, f"it takes no signals {LISTEN_TIMEOUT_S:g} s after its start")
            time.sleep(POLL_S)

    # --- faults -------------------------------------------------------------------------------------------

    def kill(self) -> int:
        """End all processes of the server at once by ``SIGKILL``; none survives.

        Returns:
            How many were killed; 0 if it was down.

        Raises:
            ClusterError: One lived on (it hangs in the kernel).
        """
        killed = processes.kill(self.data_directory)
        processes.reap()
        ports.hold(self.port)
        return killed

    def pause(self) -> list[int]:
        """Stop all processes of the server where they stand, also those forked meanwhile.

        Clients stay connected and hear nothing, new ones get no answer, which no closed socket gives away.

        Returns:
            The process ids that stand still.

        Raises:
            ClusterError: One didn't stop (it hangs in the kernel).
        """
        return [process.pid for process in processes.freeze(self.data_directory)]

    def resume(self) -> list[int]:
        """Let all processes of the server go on; returns their process ids, raises as :meth:`pause`."""
        return [process.pid for process in processes.thaw(self.data_directory)]

    def promote(self, *, timeout_s: int = PROMOTE_TIMEOUT_S) -> None:
        """Make this replica a primary, and wait until it accepts writes.

        Others are not told: ``Cluster.promote`` does.

        Args:
            timeout_s: In seconds.

        Raises:
            DatabaseUnavailable: It doesn't answer.
            StatementFailed: It is no replica.
            ClusterError: It is no primary after that time.
        """
        done = self.execute(f"SELECT pg_promote(true, {int(timeout_s)})", timeout_s=timeout_s + 5)
        if done != [("t",)]:
            raise ClusterError(self.name, f"not promoted after {timeout_s} s\n{self.log_tail()}")
