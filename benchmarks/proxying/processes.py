"""What Linux tells about processes: CPU time, memory and sockets, from /proc (proc(5)).

CPU time comes from ``schedstat``, in nanoseconds; ``stat`` counts clock ticks of 10 ms, a tenth of what a
round takes.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

PROC = Path("/proc")
STOP_S = 15.0
"""How long a process may take to end when asked; then it is killed."""
DATA = Path("/var/tmp")
"""Not under a home or a private /tmp, which the unprivileged user of a server could not enter."""


def user() -> dict[str, object]:
    """Return the arguments of ``subprocess.Popen`` that make a server run without privileges.

    PostgreSQL and PgBouncer refuse to run as root; started by anybody else they run as that user.
    """
    if os.geteuid() != 0:
        return {}
    import pwd

    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise RuntimeError("servers don't run as root: add a user named postgres or nobody")


@contextmanager
def owned_folder(prefix: str) -> Iterator[Path]:
    """Make a temporary folder that belongs to the user of ``user()``."""
    with TemporaryDirectory(prefix=prefix, dir=DATA) as name:
        told = user()
        if told:
            os.chown(name, int(str(told["user"])), int(str(told["group"])))
        yield Path(name)


def free_port() -> int:
    """Return a port that was free a moment ago; for servers that can't be told 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_up_when_told() -> None:
    """Let SIGTERM end this program as Ctrl-C does: servers are stopped and folders removed on the way out."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def stop(process: subprocess.Popen[bytes], ask: int = signal.SIGTERM) -> None:
    """End a process, kindly first, and reap it."""
    if process.poll() is None:
        process.send_signal(ask)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait(STOP_S)


def tree(pid: int) -> tuple[int, ...]:
    """Return the process and its descendants that live now."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The command's name stands in parentheses and may hold blanks and parentheses itself.
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        children.setdefault(parent, []).append(int(entry.name))
    found, pending = [], [pid]
    while pending:
        one = pending.pop()
        found.append(one)
        pending += children.get(one, [])
    return tuple(found)


def cpu_s(pids: Iterable[int]) -> float:
    """Return the CPU seconds of all threads of the processes, user and system."""
    total = 0
    for pid in pids:
        for task in (PROC / str(pid) / "task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


@contextmanager
def on_one_core(pids: Iterable[int]) -> Iterator[int]:
    """Keep this thread, these processes and what they start on one core, whose number is yielded."""
    core = min(os.sched_getaffinity(0))
    with _placed({0: core, **dict.fromkeys(_tasks(pids), core)}):
        yield core


@contextmanager
def on_their_core(pids: Iterable[int], others: Iterable[int]) -> Iterator[bool]:
    """Keep processes on one core; this thread, others and what they start on another, if there is one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        yield False
        return
    places = {0: cores[1], **dict.fromkeys(_tasks(others), cores[1]), **dict.fromkeys(_tasks(pids), cores[0])}
    with _placed(places):
        yield True


def _tasks(pids: Iterable[int]) -> list[int]:
    return [int(task.name) for pid in pids for task in (PROC / str(pid) / "task").iterdir()]


@contextmanager
def _placed(places: Mapping[int, int]) -> Iterator[None]:
    before = {task: os.sched_getaffinity(task) for task in places}
    try:
        for task, core in places.items():
            os.sched_setaffinity(task, {core})
        yield
    finally:
        for task, cores in before.items():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(task, cores)


def _kilobytes(path: Path, key: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{path} has no {key}: this kernel can't tell")


def proportional(pids: Iterable[int]) -> int:
    """Return the proportional set size in bytes: shared pages count once over all processes."""
    return sum(_kilobytes(PROC / str(pid) / "smaps_rollup", "Pss") for pid in pids)


def resident(pids: Iterable[int]) -> int:
    """Return the resident bytes, shared pages counted in each process."""
    return sum(_kilobytes(PROC / str(pid) / "status", "VmRSS") for pid in pids)


def peak(pids: Iterable[int]) -> int:
    """Return the sum of the largest resident sizes since ``forget_peak``."""
    return sum(_kilobytes(PROC / str(pid) / "status", "VmHWM") for pid in pids)


def forget_peak(pids: Iterable[int]) -> None:
    """Let the largest resident size begin anew at the present one."""
    for pid in pids:
        (PROC / str(pid) / "clear_refs").write_text("5")


def holders(port: int, pids: Iterable[int]) -> dict[int, int]:
    """Return which process holds the server side of each loopback TCP connection to ``port``.

    The result maps the client's port to the process.
    """
    inodes: dict[str, int] = {}
    for line in (PROC / "net" / "tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].partition(":")[2], 16) == port:
            inodes[fields[9]] = int(fields[2].partition(":")[2], 16)
    found: dict[int, int] = {}
    for pid in pids:
        for descriptor in (PROC / str(pid) / "fd").iterdir():
            try:
                target = os.readlink(descriptor)
            except OSError:
                continue
            client = inodes.get(target.removeprefix("socket:[").removesuffix("]"))
            if client:
                found[client] = pid
    return found
