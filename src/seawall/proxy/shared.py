"""The block of memory that all workers of a proxy share: counters now, and room for verdicts.

One row of eight-byte words per worker, each written by that worker alone and read by anybody, in an
anonymous file that the supervisor makes and the workers inherit (memfd_create(2)). A word is written in one
store, so a reader sees an old value or a new one, never half of one. Nothing is locked, and a worker that
dies leaves its last counts.
"""

from __future__ import annotations

import mmap
import os
from typing import Final

COLUMNS: Final = (
    "pid",
    "beat",
    "clients",
    "clients_total",
    "clients_waiting",
    "servers",
    "servers_idle",
    "servers_total",
    "queries",
    "transactions",
    "errors",
    "busy_us",
    "waited_us",
    "cancels",
    "connect_errors",
    "queue_overflows",
    "refused_at_door",
    "statements_evicted",
)
WORD_BYTES: Final = 8
ROW_WORDS: Final = 64
"""A row has whole cache lines of its own, so that workers don't take them from each other."""
WORKERS_MAX: Final = 128
SIZE_BYTES: Final = WORKERS_MAX * ROW_WORDS * WORD_BYTES


class Row:
    """One worker's counters.

    Args:
        words: the whole block as words.
        number: which worker.
    """

    def __init__(self, words: memoryview, number: int) -> None:
        self._words = words[number * ROW_WORDS : (number + 1) * ROW_WORDS]

    def write(self, **values: int) -> None:
        """Set counters by name."""
        for name, value in values.items():
            self._words[COLUMNS.index(name)] = value

    def read(self) -> dict[str, int]:
        """All counters by name."""
        return {name: self._words[index] for index, name in enumerate(COLUMNS)}


class Block:
    """The whole block; closing it is the process's end.

    Args:
        descriptor: of the anonymous file; ``None`` makes a new one.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        if descriptor is None:
            descriptor = os.memfd_create("seawall", 0)
            os.ftruncate(descriptor, SIZE_BYTES)
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, SIZE_BYTES)
        self._words = memoryview(self._map).cast("Q")

    def row(self, number: int) -> Row:
        """One worker's row.

        Raises:
            IndexError: there is no such row.
        """
        if not 0 <= number < WORKERS_MAX:
            raise IndexError(f"worker {number}; there are rows 0 to {WORKERS_MAX - 1}")
        return Row(self._words, number)
