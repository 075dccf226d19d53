"""Proxies in front of one server: how each is configured, started, found and stopped.

Every proxy gets the same pool size and mode, TCP on loopback towards both sides, no TLS, no passwords.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import interpreter
from benchmarks.harness import ROOT
from benchmarks.proxying import processes
from benchmarks.proxying.client import Client, RefusedError

START_S = 30.0
POLL_S = 0.05
MAX_CLIENTS = 12_000
SESSION, TRANSACTION = "session", "transaction"


class NoProxyError(Exception):
    """A proxy is missing or doesn't start; the text says why."""


@dataclass(frozen=True)
class Endpoint:
    """Something that clients connect to: a proxy or, as the control, the server itself."""

    name: str
    port: int
    running: tuple[subprocess.Popen[bytes], ...] = field(default=(), repr=False)

    def pids(self) -> tuple[int, ...]:
        """Return all processes of the proxy that live now."""
        return tuple(pid for one in self.running for pid in processes.tree(one.pid))


@dataclass(frozen=True)
class Build:
    """One build of Seawall: a folder to put in front of the path."""

    name: str
    path: Path
    note: str = ""


def allow_descriptors() -> int:
    """Raise the soft limit of open files to the hard one, for children too, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def pure() -> Build:
    """Return the build that runs straight from the sources."""
    return Build("pure", ROOT / "src")


def compiled(folder: Path, wheel: Path | None) -> Build | str:
    """Unpack a compiled wheel into ``folder``, or say why it can't stand for the sources."""
    if wheel is None:
        return "no compiled wheel in dist/: run `make wheel`"
    zipfile.ZipFile(wheel).extractall(folder)
    for source in (ROOT / "src" / "seawall").rglob("*.py"):
        twin = folder / source.relative_to(ROOT / "src")
        if not twin.exists() or twin.read_bytes() != source.read_bytes():
            return f"{wheel.name} is older than {source.relative_to(ROOT)}: run `make wheel`"
    return Build("compiled", folder, wheel.name)


# --- starting ------------------------------------------------------------------------------------------


@contextmanager
def pgbouncer(
    server_port: int,
    *,
    mode: str,
    size: int,
    database: str,
    workers: int = 1,
    program: str | None = None,
) -> Iterator[Endpoint]:
    """Run PgBouncer; several processes share the port and the pool's size.

    Raises:
        NoProxyError: It is not installed or doesn't start.
    """
    binary = program or shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if binary is None:
        raise NoProxyError("PgBouncer is missing; on Debian: apt-get install pgbouncer")
    with processes.owned_folder("bouncer-") as folder:
        port = processes.free_port()
        (folder / "users").write_text('"postgres" ""\n')
        settings = folder / "bouncer.ini"
        settings.write_text(
            "\n".join(
                [
                    "[databases]",
                    f"* = host=127.0.0.1 port={server_port}",
                    "[pgbouncer]",
                    "listen_addr = 127.0.0.1",
                    f"listen_port = {port}",
                    "unix_socket_dir =",
                    "auth_type = trust",
                    f"auth_file = {folder / 'users'}",
                    f"pool_mode = {mode}",
                    f"default_pool_size = {max(1, size // workers)}",
                    f"max_client_conn = {MAX_CLIENTS}",
                    f"so_reuseport = {int(workers > 1)}",
                    "ignore_startup_parameters = extra_float_digits,options",
                    "log_connections = 0",
                    "log_disconnections = 0",
                    "admin_users = postgres",
                    "",
                ]
            )
        )
        command = [binary, str(settings)]
        yield from _running("PgBouncer", port, [command] * workers, folder, database, processes.user())


def pgbouncer_version() -> str:
    """Return the name and version of the PgBouncer that is found."""
    binary = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if binary is None:
        return "none"
    return subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )[0]


@contextmanager
def seawall(
    server_port: int,
    *,
    mode: str,
    size: int,
    database: str,
    build: Build | None = None,
    workers: int = 1,
    busy_poll: str = "0s",
) -> Iterator[Endpoint]:
    """Run ``seawall proxy`` on the sources or on another build.

    Raises:
        NoProxyError: It doesn't start; the text is what it printed.
    """
    used = build or pure()
    port = processes.free_port()
    with processes.owned_folder("seawall-") as folder:
        settings = folder / "seawall.toml"
        settings.write_text(
            f'[proxy]\nlisten_address = "127.0.0.1:{port}"\nworkers = {workers}\n'
            f'busy_poll = "{busy_poll}"\n\n'
            f'[pool]\nmode = "{mode}"\nsize = {size}\nmax_client_connections = {MAX_CLIENTS}\n\n'
            f'[[backends.instances]]\nname = "pg1"\nhost = "127.0.0.1"\nport = {server_port}\n'
        )
        command = [interpreter.python(), "-c", "from seawall.cli.main import main; main()", "proxy"]
        command += ["--config", str(settings), "--trust-loopback"]
        path = interpreter.environment(used.path)
        yield from _running(f"Seawall, {used.name}", port, [command], folder, database, {}, path)


def _running(
    name: str,
    port: int,
    commands: list[list[str]],
    folder: Path,
    database: str,
    who: dict[str, Any],
    environment: dict[str, str] | None = None,
) -> Iterator[Endpoint]:
    running: list[subprocess.Popen[bytes]] = []
    log = folder / "log"
    try:
        for command in commands:
            with log.open("ab") as output:
                running.append(
                    subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        cwd=folder,
                        env={**os.environ, **(environment or {})},
                        **who,
                    )
                )
        _wait(name, running, port, database, log)
        yield Endpoint(name, port, tuple(running))
        ended = [one for one in running if one.poll() is not None]
        if ended:
            raise NoProxyError(f"{name} ended by itself ({ended[0].returncode}):\n{_tail(log)}")
    finally:
        for one in running:
            processes.stop(one)


def _wait(name: str, running: list[subprocess.Popen[bytes]], port: int, database: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    problem: Exception | None = None
    while all(one.poll() is None for one in running) and time.monotonic() < deadline:
        try:
            Client(port, database).close()
        except (OSError, RefusedError) as error:
            problem = error
            time.sleep(POLL_S)
        else:
            return
    raise NoProxyError(f"{name} does not take clients ({problem}):\n{_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]
