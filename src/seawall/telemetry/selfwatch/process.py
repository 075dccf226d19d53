"""What the system knows of this process: time, memory, file descriptors. Linux; elsewhere what there is.

It holds nothing but the time of the system's start. Every read opens two small files and takes some tens of
microseconds; descriptors are counted by the size of their directory, which Linux tells since 6.2, and one by
one before.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Final

from seawall.telemetry.catalogue import own
from seawall.telemetry.selfwatch.readings import Reading

__all__ = ["FDS_SLICE", "of_process"]

FDS_SLICE: Final = 500
"""Descriptors counted one by one before an event loop gets its turn: some tenths of a millisecond."""

_PROC: Final = Path("/proc")
# Fields of /proc/PID/stat behind the name, which may hold blanks; proc(5) counts from 1, the name is second.
_START, _VIRTUAL, _RESIDENT = 22 - 3, 23 - 3, 24 - 3


def of_process(add: Callable[[Reading], None], proc: Path = _PROC) -> Iterator[None]:
    """Read everything.

    Args:
        add: Given each reading.
        proc: Where the system tells.

    Yields:
        Nothing, now and then: an event loop may have its turn.
    """
    times = os.times()
    add(Reading(own.PROCESS_CPU, (), times.user + times.system))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    add(Reading(own.PROCESS_MAX_FDS, (), float("inf") if limit == resource.RLIM_INFINITY else limit))
    for reading in _of_stat(proc):
        add(reading)
    count = yield from _descriptors(proc / "self" / "fd")
    if count is not None:
        add(Reading(own.PROCESS_OPEN_FDS, (), count))


def _of_stat(proc: Path) -> list[Reading]:
    try:
        fields = (proc / "self" / "stat").read_bytes().rpartition(b")")[2].split()
        started = int(fields[_START]) / os.sysconf("SC_CLK_TCK")
        memory = int(fields[_RESIDENT]) * os.sysconf("SC_PAGE_SIZE")
        found = [
            Reading(own.PROCESS_RESIDENT, (), memory),
            Reading(own.PROCESS_VIRTUAL, (), int(fields[_VIRTUAL])),
        ]
        boot = _boot_time(proc)
    except (OSError, ValueError, IndexError):
        return []
    return found if boot is None else [*found, Reading(own.PROCESS_START_TIME, (), boot + started)]


@cache
def _boot_time(proc: Path) -> int | None:
    for line in (proc / "stat").read_bytes().splitlines():
        if line.startswith(b"btime "):
            return int(line[6:])
    return None


def _descriptors(directory: Path) -> Generator[None, None, int | None]:
    try:
        size = directory.stat().st_size
        if size:
            return size
        count = 0
        with os.scandir(directory) as entries:
            for _ in entries:
                count += 1
                if count % FDS_SLICE == 0:
                    yield
    except OSError:
        return None
    # The directory was open meanwhile.
    return count - 1
