"""The block of memory that all workers of a proxy share: their counters, and what the supervisor tells them.

One row of eight-byte words per worker, each written by that worker alone and read by anybody, in an
anonymous file that the supervisor makes and the workers inherit (memfd_create(2)). A word is written in one
store, so a reader sees an old value or a new one, never half of one. Nothing is locked, and a worker that
dies leaves its last counts.

Behind the rows is one text, the topology, written by the supervisor alone. Its generation is odd while it is
being written; a reader that finds an odd one, or another one after reading than before, reads again. The
checksum is for a reader on a machine that shows stores in another order than they were made.
"""

from __future__ import annotations

import mmap
import os
import weakref
import zlib
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
TOPOLOGY_BYTES: Final = 64 * 1024
"""The longest topology: a thousand servers that have just been seen, or a hundred with all their past."""
READS_MAX: Final = 100
"""A reader stays with what it read last then: the supervisor was stopped while it was writing."""

_HEADER: Final = WORKERS_MAX * ROW_WORDS
"""First word behind the rows: generation, length, checksum."""
_TEXT: Final = (_HEADER + 3) * WORD_BYTES
SIZE_BYTES: Final = _TEXT + TOPOLOGY_BYTES


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
            weakref.finalize(self, os.close, descriptor)
            os.ftruncate(descriptor, SIZE_BYTES)
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, SIZE_BYTES)
        self._bytes = memoryview(self._map)
        self._words = self._bytes.cast("Q")
        self._last = (0, b"")

    def row(self, number: int) -> Row:
        """One worker's row.

        Raises:
            IndexError: there is no such row.
        """
        if not 0 <= number < WORKERS_MAX:
            raise IndexError(f"worker {number}; there are rows 0 to {WORKERS_MAX - 1}")
        return Row(self._words, number)

    @property
    def generation(self) -> int:
        """Of the topology; it differs from a reader's when there is something new to read."""
        return self._words[_HEADER]

    def publish(self, text: bytes) -> int:
        """Replace the topology, which nobody but the supervisor may do; returns its generation.

        Raises:
            ValueError: it is too long.
        """
        if len(text) > TOPOLOGY_BYTES:
            raise ValueError(f"a topology of {len(text)} bytes; there is room for {TOPOLOGY_BYTES}")
        words = self._words
        generation = words[_HEADER] | 1
        words[_HEADER] = generation
        self._bytes[_TEXT : _TEXT + len(text)] = text
        words[_HEADER + 1] = len(text)
        words[_HEADER + 2] = zlib.crc32(text)
        words[_HEADER] = generation + 1
        return generation + 1

    def topology(self) -> tuple[int, bytes]:
        """The generation and the text published last; generation 0 if there was none yet."""
        words = self._words
        for _ in range(READS_MAX):
            generation, length, checksum = words[_HEADER : _HEADER + 3]
            text = bytes(self._bytes[_TEXT : _TEXT + min(length, TOPOLOGY_BYTES)])
            settled = not generation & 1 and words[_HEADER] == generation
            if settled and (generation == 0 or zlib.crc32(text) == checksum):
                self._last = (generation, text if generation else b"")
                break
        return self._last
