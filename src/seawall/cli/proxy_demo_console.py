"""What the demo knows of the servers: what the proxy's own console says of them.

It connects anew for every look, because the worker that serves the console may be killed, too. The stage asks
it, the view shows what it saw last.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from seawall.cli.proxy_demo_client import SessionLost, connect
from seawall.embedded.configuration import SUPERUSER
from seawall.embedded.errors import StatementFailed

__all__ = ["Console", "Shown"]

DATABASE: Final = "seawall"
LOOK_S: Final = 0.1
ANSWER_S: Final = 30.0
"""An order may wait for a switchover."""

WORDS: Final = {
    ("replay", "done"): "said again",
    ("resolve", "commit"): "found to be committed",
    ("replay", "lost"): "lost",
}
"""What ``SHOW REPLAYS`` tells, for people."""

Shown = dict[str, str | None]


class Console:
    """The console, and what it showed last.

    Args:
        host: Where the proxy listens.
        port: Its port.

    Attributes:
        servers: ``SHOW BACKENDS``.
        failovers: ``SHOW FAILOVERS``, the last first.
        replays: ``SHOW REPLAYS``: what became of each client that had lost its server.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self.servers: list[Shown] = []
        self.failovers: list[Shown] = []
        self.replays: list[Shown] = []

    def __repr__(self) -> str:
        return f"Console({self._host}:{self._port}, primary {self.primary or 'unknown'})"

    @property
    def primary(self) -> str:
        """Who accepts writes; empty if nobody does."""
        return next((one["name"] or "" for one in self.servers if one["role"] == "primary"), "")

    def follows(self, name: str) -> bool:
        """Whether a server is a replica that can be reached."""
        return any(
            one["name"] == name and one["role"] == "replica" and one["state"] == "reachable"
            for one in self.servers
        )

    def replaced(self, name: str) -> bool:
        """Whether another server is the primary, and that is over."""
        last = self.failovers[0] if self.failovers else {}
        return self.primary not in {"", name} and last.get("old_primary") == name and self.settled

    @property
    def settled(self) -> bool:
        """Whether no primary is being replaced."""
        return not self.failovers or self.failovers[0]["outcome"] != "under way"

    def last_failover(self) -> str:
        """How long the last one took, in words."""
        took = self.failovers[0]["took_ms"] if self.failovers else None
        return "after an unknown time" if took is None else f"after {float(took) / 1000.0:.2f} s"

    def replays_told(self) -> str:
        """What became of those that had lost their server, in words."""
        if not self.replays:
            return "nobody was in a transaction"
        endings = ((one["way"] or "", one["outcome"] or "") for one in self.replays)
        counts = Counter(WORDS.get(ending, ": ".join(ending)) for ending in endings)
        return ", ".join(f"{number} {what}" for what, number in counts.most_common())

    async def look(self) -> None:
        """See what there is to see; what can't be seen now stays as it was."""
        try:
            async with asyncio.timeout(ANSWER_S):
                session = await connect(
                    self._host, self._port, user=SUPERUSER, database=DATABASE, now=time.monotonic()
                )
                try:
                    self.servers = await session.show("SHOW BACKENDS")
                    self.failovers = await session.show("SHOW FAILOVERS")
                    self.replays = await session.show("SHOW REPLAYS")
                finally:
                    session.close()
        except (SessionLost, StatementFailed, TimeoutError):
            return

    async def until(self, happened: Callable[[], bool], timeout_s: float) -> bool:
        """Look again and again; whether it happened in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.look()
                while not happened():
                    await asyncio.sleep(LOOK_S)
                    await self.look()
        except TimeoutError:
            return False
        return True

    async def order(self, sql: str) -> Shown:
        """Give an order; what is answered, by item.

        Raises:
            SessionLost: The connection ended.
            StatementFailed: It could not be done.
        """
        session = await connect(
            self._host, self._port, user=SUPERUSER, database=DATABASE, now=time.monotonic()
        )
        try:
            async with asyncio.timeout(ANSWER_S):
                rows = await session.show(sql)
        except TimeoutError as error:
            raise SessionLost("timeout", f"{sql} was not answered within {ANSWER_S:.0f} s") from error
        finally:
            session.close()
        return {row["item"] or "": row["value"] for row in rows}
