"""One throw-away PostgreSQL from the system's packages: the server behind every proxy that is compared."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.proxying import processes
from benchmarks.proxying.client import Client, RefusedError

INSTALLED = Path("/usr/lib/postgresql")
START_S = 30.0
POLL_S = 0.02
SETTINGS: Mapping[str, str] = {
    "autovacuum": "off",  # its bursts would land in one arm or the other
    "full_page_writes": "off",
    "fsync": "off",
    "jit": "off",
    "listen_addresses": "127.0.0.1",
    "max_connections": "300",
    "shared_buffers": "512MB",
    "synchronous_commit": "off",
}


class NoServerError(Exception):
    """There is no PostgreSQL that could be started; the text says why."""


@dataclass(frozen=True)
class Cluster:
    """A running server."""

    port: int
    folder: Path
    binaries: Path
    process: subprocess.Popen[bytes]

    def client(self, database: str = "postgres") -> Client:
        """Return a connection to it."""
        return Client(self.port, database)

    @property
    def version(self) -> str:
        """The server's own name of its version."""
        with self.client() as client:
            return client.scalar("SHOW server_version")

    def load(self, database: str, scale: int) -> None:
        """Create a database with pgbench's tables: 100,000 accounts per unit of scale."""
        with self.client() as client:
            client.simple(f"CREATE DATABASE {database}")
        told = ["-i", "-q", "-s", str(scale), "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        done = subprocess.run([pgbench(), *told, database], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoServerError(f"pgbench -i failed:\n{done.stderr[-2000:]}")


def pgbench() -> str:
    """Return the path of pgbench."""
    found = shutil.which("pgbench") or str(binaries() / "pgbench")
    if not Path(found).exists():
        raise NoServerError("pgbench is missing; on Debian: apt-get install postgresql-contrib")
    return found


def binaries() -> Path:
    """Return the folder of the newest installed server's programs."""
    found = [path for path in INSTALLED.glob("*/bin") if (path / "initdb").exists()]
    if not found:
        raise NoServerError(f"no PostgreSQL below {INSTALLED}; on Debian: apt-get install postgresql")
    return max(found, key=lambda path: float(re.sub(r"[^0-9.]", "", path.parent.name) or 0))


@contextmanager
def cluster(settings: Mapping[str, str] | None = None, *, locale: str = "C.UTF-8") -> Iterator[Cluster]:
    """Make, start and finally destroy a server; user ``postgres`` comes in without a password.

    Args:
        settings: server parameters beside and above ``SETTINGS``.
        locale: the databases' locale; encoding is always UTF-8.

    Raises:
        NoServerError: It is not installed or doesn't start.
    """
    programs = binaries()
    who: dict[str, Any] = processes.user()
    with processes.owned_folder("proxying-") as folder:
        data = folder / "data"
        command = [str(programs / "initdb"), "-A", "trust", "-U", "postgres", "-E", "UTF8", "-D", str(data)]
        command += ["--locale", locale, "--no-sync"]
        made = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            **who,
        )
        if made.returncode:
            raise NoServerError(f"initdb failed:\n{made.stderr[-2000:]}")
        port = processes.free_port()
        options = {**SETTINGS, "port": str(port), "unix_socket_directories": str(folder), **(settings or {})}
        command = [str(programs / "postgres"), "-D", str(data)]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **who)
        try:
            _wait(process, port, folder / "log")
            yield Cluster(port, folder, programs, process)
        finally:
            # "fast": clients that are still there are cut.
            processes.stop(process, signal.SIGINT)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            Client(port, "postgres").close()
        except (OSError, RefusedError):
            time.sleep(POLL_S)
        else:
            return
    raise NoServerError(f"the server does not start:\n{log.read_text(errors='replace')[-2000:]}")
