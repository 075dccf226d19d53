"""The workers, as their supervisor talks to them: one order, one answer, over each one's control socket.

``control`` is the other end. Whoever doesn't answer in time is left out: it is hung or being replaced, and
reads the topology by itself when it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Final

from seawall.proxy.control import LINE_LIMIT, Order, socket_path

__all__ = ["ORDER_TIMEOUT_S", "Crew"]

ORDER_TIMEOUT_S: Final = 1.0
"""For what a worker does at once."""


class Crew:
    """All workers of a proxy.

    Args:
        directory: where their sockets are.
        count: how many there are.
    """

    def __init__(self, directory: Path, count: int) -> None:
        self.count = count
        self.unanswered = 0
        self._directory = directory
        self._due: set[int] = set()
        self._kicked: set[int] = set()

    async def tell(self, number: int, order: Order, timeout_s: float = ORDER_TIMEOUT_S) -> Order | None:
        """Give one worker an order; ``None`` if it doesn't answer in time."""
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(timeout_s):
                path = str(socket_path(self._directory, number))
                reader, writer = await asyncio.open_unix_connection(path, limit=LINE_LIMIT)
                writer.write(json.dumps(order).encode() + b"\n")
                answer = json.loads(await reader.readline())
        except (OSError, ValueError):
            answer = None
        finally:
            if writer is not None:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
        if isinstance(answer, dict):
            return answer
        self.unanswered += 1
        return None

    async def tell_all(self, order: Order, timeout_s: float = ORDER_TIMEOUT_S) -> list[Order | None]:
        """Give all workers an order; their answers in their order."""
        return list(
            await asyncio.gather(*(self.tell(number, order, timeout_s) for number in range(self.count)))
        )

    async def kick(self) -> None:
        """Have all workers read the topology; who is still at it does so once more afterwards."""
        await asyncio.gather(*(self._kick(number) for number in range(self.count)))

    async def _kick(self, number: int) -> None:
        self._due.add(number)
        if number in self._kicked:
            return
        self._kicked.add(number)
        try:
            while number in self._due:
                self._due.discard(number)
                await self.tell(number, {"do": "topology"})
        finally:
            self._kicked.discard(number)
