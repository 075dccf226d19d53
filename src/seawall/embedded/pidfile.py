"""``postmaster.pid``: what a running server notes in its data directory, and what a dead one leaves there.

Source: PostgreSQL's ``src/include/utils/pidfile.h``, unchanged since version 10. The file is a hint, never
proof: after a crash it names a process that is gone, a zombie, or somebody else's. ``processes.postmaster``
decides.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["NAME", "PidFile", "forget", "parse", "read"]

NAME: Final = "postmaster.pid"

PID_FILE_BYTES_MAX: Final = 16_384
"""A real one has eight lines, two of them paths."""

IPC_RMID: Final = 0
"""``shmctl``: remove the segment (shmctl(2))."""


@dataclass(frozen=True, slots=True)
class PidFile:
    """What the file tells; a starting server has not written all of it yet.

    Attributes:
        pid: Of the postmaster; negative for a single-user server.
        port: TCP port, 0 if not noted yet.
        shared_memory_id: System V identifier of the segment that guards the directory, ``None`` if not noted
            yet.
        status: ``starting``, ``stopping``, ``ready`` or ``standby`` (not open to queries); empty if not noted
            yet.
    """

    pid: int
    port: int = 0
    shared_memory_id: int | None = None
    status: str = ""


def parse(text: str) -> PidFile | None:
    """Read the file's content; ``None`` if it doesn't start with a process id."""
    lines = text.split("\n")
    pid = _number(lines[0])
    if not pid:
        return None
    lines += [""] * 8
    segment = lines[6].split()
    return PidFile(
        pid=pid,
        port=_number(lines[3]) or 0,
        shared_memory_id=_number(segment[1]) if len(segment) == 2 else None,
        status=lines[7].strip(),
    )


def _number(text: str) -> int | None:
    stripped = text.strip()
    digits = stripped.removeprefix("-")
    # No number in the file has more digits than a 64-bit one.
    return int(stripped) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None


def read(data_directory: Path) -> PidFile | None:
    """The file of a data directory; ``None`` if there is none or it is damaged."""
    try:
        handle = os.open(data_directory / NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        return parse(file.read(PID_FILE_BYTES_MAX).decode("utf-8", errors="replace"))


def forget(data_directory: Path) -> bool:
    """Remove a dead server's file and the shared memory it names; ``True`` if there was one.

    Only for a directory on which ``processes.members`` finds nobody: the file is what keeps two servers
    apart.
    """
    noted = read(data_directory)
    if noted is not None and noted.shared_memory_id is not None:
        _remove_segment(noted.shared_memory_id, data_directory)
    try:
        (data_directory / NAME).unlink()
    except FileNotFoundError:
        return False
    return True


def _remove_segment(identifier: int, data_directory: Path) -> None:
    """Remove a System V segment, if nobody uses it and it is of the owner of the data directory."""
    owner = data_directory.stat().st_uid
    try:
        table = Path("/proc/sysvipc/shm").read_text(encoding="utf-8").splitlines()[1:]
    except OSError:
        return
    for fields in (line.split() for line in table):
        # key shmid perms size cpid lpid nattch uid …: proc(5)
        if len(fields) > 7 and fields[1] == str(identifier) and fields[6] == "0" and fields[7] == str(owner):
            ctypes.CDLL(None, use_errno=True).shmctl(identifier, IPC_RMID, None)
