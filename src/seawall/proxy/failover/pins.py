"""Sequences that workers have set back, so that a replayed statement draws the values its client has seen.

A worker tells before it does so, and again when it has set the sequence forward. Until then nobody else may
draw from it, whatever becomes of the worker, or of the server: what was set back is replicated. So clients
are not served by a primary on which a sequence is still set back; it is set forward here first. The worker's
connection is ended before that, since its order to set the sequence back may be on its way still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from seawall.kernel.errors import SeawallError
from seawall.proxy.replay.pinning import fencing_sql

__all__ = ["PINS_MAX", "Pin", "Pins"]

PINS_MAX: Final = 10_000
RESTORE_S: Final = 10.0
"""Clients wait no longer for one sequence; whoever draws from it then may get a value that is taken."""
RETRY_S: Final = 0.2
STATEMENT_TIMEOUT_S: Final = 2.0

UNFENCED_AFTER_S: Final = 3.0
"""Then a sequence is set forward whether or not the connection can be ended."""

Run = Callable[[str, str, float, str], Awaitable[object]]
"""Runs a statement: server, SQL, time limit, database."""


@dataclass(frozen=True, slots=True)
class Pin:
    """How to undo that a sequence is set back.

    Attributes:
        restore: a statement that sets it forward, however far it has come by then.
        backend: the server on which it is set back.
        pid: the process there that does.
    """

    restore: str
    backend: str
    pid: int


class Pins:
    """The sequences that are set back.

    Args:
        run: runs a statement.
        log: takes a line about what happened.
    """

    def __init__(self, run: Run, log: Callable[[str], None]) -> None:
        self._run = run
        self._log = log
        self._pins: dict[tuple[str, int], Pin] = {}
        self.restored = 0
        self.abandoned = 0

    def __len__(self) -> int:
        return len(self._pins)

    def __repr__(self) -> str:
        return f"Pins({len(self)} set back, {self.restored} restored here, {self.abandoned} abandoned)"

    def add(self, database: str, sequence: int, pin: Pin) -> bool:
        """A sequence is about to be set back; false if that has to be left.

        Args:
            database: where it is.
            sequence: its oid.
            pin: how to set it forward.
        """
        if len(self) >= PINS_MAX and (database, sequence) not in self._pins:
            return False
        self._pins.setdefault((database, sequence), pin)
        return True

    def remove(self, database: str, sequence: int) -> None:
        """It has been set forward."""
        self._pins.pop((database, sequence), None)

    async def restore(self, primary: str) -> None:
        """Set all forward that are set back by now; what can't be is told and abandoned."""
        now = asyncio.get_running_loop().time
        for (database, sequence), pin in list(self._pins.items()):
            began = now()
            while (database, sequence) in self._pins:
                fenced = pin.backend == primary and now() < began + UNFENCED_AFTER_S
                sql = fencing_sql(pin.pid).decode() + pin.restore if fenced else pin.restore
                try:
                    await self._run(primary, sql, STATEMENT_TIMEOUT_S, database)
                except SeawallError as error:
                    if now() < began + RESTORE_S:
                        await asyncio.sleep(RETRY_S)
                        continue
                    self.abandoned += 1
                    self._log(
                        f"sequence {sequence} of {database} could not be set forward: {error}: {pin.restore}"
                    )
                else:
                    self.restored += 1
                self.remove(database, sequence)
