"""The processes of a server, seen through ``/proc``: who they are, and signals to all of them at once.

A PostgreSQL server is a postmaster and its children, and a fault that hits only the postmaster is another
fault: children outlive it and go on serving. Every server process works in its data directory, so that
directory names the set, however it came about (started by us, by a process that died, or orphaned). What such
a process has started, an archive command for instance, belongs to the set as well; a shell that somebody
opened in the directory does not. Source: PostgreSQL documentation, "Architectural Fundamentals" and "Shutting
Down the Server"; proc(5).

Signals go through a pidfd whose process was looked at after it was opened: no reused process id is ever hit.
"""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from seawall.embedded.accounts import Account
from seawall.embedded.errors import ClusterError

__all__ = [
    "Process",
    "catches",
    "freeze",
    "is_alive",
    "kill",
    "members",
    "parse_stat",
    "postmaster",
    "reap",
    "send",
    "shared_memory",
    "spawn",
    "start_tick",
    "thaw",
]

SWEEP_TIMEOUT_S: Final = 20.0
"""A process in the middle of a disk write obeys a signal only when the write is done."""

SWEEP_POLL_S: Final = 0.002
"""Between two looks at ``/proc``."""

PROGRAM_NAMES: Final = frozenset({"postgres", "postmaster"})

STOPPED: Final = frozenset("Tt")
DEAD: Final = frozenset("ZXx")
"""A zombie is dead: it runs nothing, and may stay for ever when its parent (or init) never looks after it."""

SEGMENTS: Final = Path("/dev/shm")  # noqa: S108 -- where shm_open(3) puts what PostgreSQL makes
SEGMENT: Final = re.compile(rf"{SEGMENTS}/PostgreSQL\.\d+")

CAUGHT: Final = re.compile(r"^SigCgt:\s*([0-9a-f]+)$", re.MULTILINE)

CONTROL_MAGIC: Final = 0x9A503D32
"""``PG_DYNSHMEM_CONTROL_MAGIC``: the first word of the segment that lists the others (``dsm.c``)."""

CONTROL_BYTES_MAX: Final = 1_048_576
"""A control segment has some 40 bytes for each of 64 segments and 5 per connection."""

_children: set[int] = set()


@dataclass(frozen=True, slots=True)
class Process:
    """One living process.

    Attributes:
        pid: Process id.
        parent: Process id of the parent.
        state: One letter of proc(5), such as ``S`` or ``T``.
        started: Clock ticks since boot; with the pid, an identity that is never used twice.
    """

    pid: int
    parent: int
    state: str
    started: int


def parse_stat(pid: int, text: str) -> Process | None:
    """Read the content of ``/proc/PID/stat``; ``None`` if it isn't one."""
    # The name in parentheses may hold anything, parentheses and newlines included.
    fields = text.rpartition(")")[2].split()
    try:
        return Process(pid, int(fields[1]), fields[0], int(fields[19]))
    except (IndexError, ValueError):
        return None


def _look(pid: int) -> Process | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    process = parse_stat(pid, text)
    return None if process is None or process.state in DEAD else process


def is_alive(pid: int, started: int | None = None) -> bool:
    """Whether a process runs (a zombie does not) and, if told, is the one that started at that tick."""
    process = _look(pid)
    return process is not None and (started is None or process.started == started)


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal (``SigCgt`` of proc(5)); one without mostly dies of it."""
    found = CAUGHT.search(_text(Path(f"/proc/{pid}/status")))
    return found is not None and bool(int(found[1], 16) >> (number - 1) & 1)


def start_tick(pid: int) -> int:
    """When a living process started, in clock ticks since boot; 0 if there is none."""
    process = _look(pid)
    return 0 if process is None else process.started


def _link(pid: int, name: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/{name}").removesuffix(" (deleted)")
    except OSError:
        return ""  # gone, a zombie, or somebody else's


def _serves(pid: int, home: str) -> bool:
    return _link(pid, "cwd") == home and os.path.basename(_link(pid, "exe")) in PROGRAM_NAMES


def members(data_directory: Path) -> list[Process]:
    """Every living process of the server on a data directory, parents before their children."""
    home = os.path.realpath(data_directory)
    everyone = [process for name in os.listdir("/proc") if name.isdigit() and (process := _look(int(name)))]
    found = {process.pid: process for process in everyone if _serves(process.pid, home)}
    if not found:
        return []
    grown = True
    while grown:
        fresh = [item for item in everyone if item.parent in found and item.pid not in found]
        found.update((item.pid, item) for item in fresh)
        grown = bool(fresh)
    # A parent is older than its child; ticks are coarse, and pids nearly always grow within one.
    return sorted(found.values(), key=lambda item: (item.parent in found, item.started, item.pid))


def postmaster(data_directory: Path, noted_pid: int | None) -> Process | None:
    """The server's first process.

    Args:
        data_directory: Where it works.
        noted_pid: What ``postmaster.pid`` says, if anything: looked at first and believed only if it fits.
    """
    home = os.path.realpath(data_directory)
    if noted_pid is not None and noted_pid > 0 and _serves(noted_pid, home) and (found := _look(noted_pid)):
        return found
    present = members(data_directory)
    pids = {process.pid for process in present}
    for process in present:
        if process.parent not in pids and not _is_child_by_title(process.pid):
            return process
    return None


def _is_child_by_title(pid: int) -> bool:
    """Whether it calls itself ``postgres: checkpointer`` or the like: an orphan if its parent is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"postgres: ")
    except OSError:
        return True


def send(process: Process, number: signal.Signals) -> bool:
    """Send a signal to exactly this process; ``False`` if it is gone."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if not is_alive(process.pid, process.started):
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def freeze(data_directory: Path) -> list[Process]:
    """Stop every process of a server where it stands (``SIGSTOP``), also those forked meanwhile.

    Returns:
        The stopped processes; empty when nothing runs there.

    Raises:
        ClusterError: Some process did not stop within ``SWEEP_TIMEOUT_S``.
    """
    before: list[int] = []

    def stopped(present: Sequence[Process]) -> bool:
        nonlocal before
        moving = [process for process in present if process.state not in STOPPED]
        _send_all(moving, signal.SIGSTOP)
        pids = [process.pid for process in present]
        # One clean look may have missed a child forked while it went on; it can't hide from the second.
        done = not moving and pids == before
        before = [] if moving else pids
        return done

    return _sweep(data_directory, stopped, "stop where they stand")


def thaw(data_directory: Path) -> list[Process]:
    """Let every process of a server go on (``SIGCONT``).

    Raises:
        ClusterError: Some process did not go on within ``SWEEP_TIMEOUT_S``.
    """

    def going(present: Sequence[Process]) -> bool:
        stuck = [process for process in present if process.state in STOPPED]
        _send_all(stuck, signal.SIGCONT)
        return not stuck

    return _sweep(data_directory, going, "go on")


def kill(data_directory: Path) -> int:
    """End every process of a server by ``SIGKILL``, as a power failure would, and see that none is left.

    The first process is stopped before anybody dies: it starts the others, and must not see them die.

    Returns:
        How many processes were killed.

    Raises:
        ClusterError: Some process lived on for ``SWEEP_TIMEOUT_S``.
    """
    killed: set[tuple[int, int]] = set()
    memory: set[Path] = set()

    def gone(present: Sequence[Process]) -> bool:
        memory.update(shared_memory(process.pid for process in present))
        _send_all(reversed(present), signal.SIGKILL)
        killed.update((process.pid, process.started) for process in present)
        reap()
        return not present

    _send_all(members(data_directory)[:1], signal.SIGSTOP)
    _sweep(data_directory, gone, "die")
    for path in memory:
        # Only the next start of this server would take its dead shared memory away, and there may be none.
        with suppress(OSError):
            path.unlink()
    return len(killed)


def shared_memory(pids: Iterable[int]) -> set[Path]:
    """The POSIX shared memory of a server: what its processes have mapped, and what it keeps a list of.

    Pinned segments (statistics) may be mapped by nobody at a moment; the control segment, which the
    postmaster has mapped, has the numbers of all.
    """
    mapped = {Path(name) for pid in pids for name in SEGMENT.findall(_text(Path(f"/proc/{pid}/maps")))}
    numbers: set[int] = set()
    for path in mapped:
        with suppress(OSError), path.open("rb") as file:
            content = file.read(CONTROL_BYTES_MAX)
            words = struct.unpack(f"={len(content) // 4}I", content[: len(content) // 4 * 4])
            if words and words[0] == CONTROL_MAGIC:
                numbers.update(words)
    named = {path for path in SEGMENTS.glob("PostgreSQL.*") if path.suffix[1:].isdigit()}
    return mapped | {path for path in named if int(path.suffix[1:]) in numbers}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _send_all(processes: Iterable[Process], number: signal.Signals) -> None:
    for process in processes:
        send(process, number)


def _sweep(data_directory: Path, done: Callable[[Sequence[Process]], bool], what: str) -> list[Process]:
    give_up = time.monotonic() + SWEEP_TIMEOUT_S
    while True:
        present = members(data_directory)
        if done(present):
            return present
        if time.monotonic() >= give_up:
            pids = ", ".join(str(process.pid) for process in present)
            reason = f"processes {pids} did not {what} in {SWEEP_TIMEOUT_S:.0f} s"
            raise ClusterError(str(data_directory), reason)
        time.sleep(SWEEP_POLL_S)


def spawn(
    command: Sequence[str | Path],
    account: Account,
    *,
    data_directory: Path,
    environment: dict[str, str],
    log: IO[bytes],
) -> None:
    """Start a server as a direct child, in a session of its own (Ctrl-C at our terminal isn't meant for it).

    It starts in its data directory, where it would go anyway, to be known there from the first moment.

    Raises:
        ClusterError: The program cannot be run by that account.
    """
    try:
        popen = subprocess.Popen(  # noqa: S603 -- the engine's own binary
            [str(part) for part in command],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **(account.process_options() | {"cwd": data_directory}),
        )
    except OSError as error:
        raise ClusterError(str(command[0]), f"{account.name} cannot run it: {error.strerror}") from error
    # From here on the child is known by its pid alone: it may outlive this object and this process, of which
    # subprocess would complain, and any thread may reap it.
    popen.returncode = 0
    _children.add(popen.pid)


def reap() -> None:
    """Take note of our dead children; a zombie postmaster would block its own restart and ``pg_rewind``."""
    for pid in list(_children):
        try:
            finished = os.waitpid(pid, os.WNOHANG)[0] == pid
        except ChildProcessError:
            finished = True  # somebody who waits for everybody was faster
        if finished:
            _children.discard(pid)
