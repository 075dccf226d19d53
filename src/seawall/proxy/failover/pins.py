"""Sequences that workers have set back, so that a replayed statement draws the values its client has seen.

A worker tells before it does so, and again when it has set the sequence forward. Until then nobody else may
draw from it, whatever becomes of the worker, or of the server: what was set back is replicated. So clients
are not served by a primary on which a sequence is still set back; it is set forward here first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from seawall.kernel.errors import SeawallError

__all__ = ["PINS_MAX", "Pins"]

PINS_MAX: Final = 10_000
RESTORE_S: Final = 10.0
"""Clients wait no longer for one sequence; whoever draws from it then may get a value that is taken."""
RETRY_S: Final = 0.2
STATEMENT_TIMEOUT_S: Final = 2.0

Run = Callable[[str, str, float, str], Awaitable[object]]
"""Runs a statement: server, SQL, time limit, database."""


class Pins:
    """The sequences that are set back.

    Args:
        run: runs a statement.
        log: takes a line about what happened.
    """

    def __init__(self, run: Run, log: Callable[[str], None]) -> None:
        self._run = run
        self._log = log
        self._restores: dict[tuple[str, int], str] = {}
        self.restored = 0
        self.abandoned = 0

    def __len__(self) -> int:
        return len(self._restores)

    def __repr__(self) -> str:
        return f"Pins({len(self)} set back, {self.restored} restored here, {self.abandoned} abandoned)"

    def add(self, database: str, sequence: int, restore: str) -> bool:
        """A sequence is about to be set back; false if that has to be left.

        Args:
            database: where it is.
            sequence: its oid.
            restore: a statement that sets it forward, however far it has come by then.
        """
        if len(self) >= PINS_MAX and (database, sequence) not in self._restores:
            return False
        self._restores.setdefault((database, sequence), restore)
        return True

    def remove(self, database: str, sequence: int) -> None:
        """It has been set forward."""
        self._restores.pop((database, sequence), None)

    async def restore(self, primary: str) -> None:
        """Set all forward that are set back by now; what can't be is told and abandoned."""
        now = asyncio.get_running_loop().time
        for (database, sequence), sql in list(self._restores.items()):
            give_up = now() + RESTORE_S
            while (database, sequence) in self._restores:
                try:
                    await self._run(primary, sql, STATEMENT_TIMEOUT_S, database)
                except SeawallError as error:
                    if now() < give_up:
                        await asyncio.sleep(RETRY_S)
                        continue
                    self.abandoned += 1
                    self._log(f"sequence {sequence} of {database} could not be set forward: {error}: {sql}")
                else:
                    self.restored += 1
                self.remove(database, sequence)
