"""How workers talk to each other: a unix socket each, one JSON object per line.

Cancel requests reach whichever worker the kernel picks; the process number in the key says whose client is
meant. The admin console collects the others' rows the same way. The sockets live in a directory only this
user may enter.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any, Final

from seawall.proxy.admin import TABLES
from seawall.proxy.worker import Worker

LINE_LIMIT: Final = 64 * 1024 * 1024
ASK_TIMEOUT_S: Final = 2.0

Order = dict[str, Any]


def socket_path(directory: Path, number: int) -> Path:
    """Where a worker listens."""
    return directory / f"worker-{number}.sock"


def supervisor_path(directory: Path) -> Path:
    """Where the supervisor listens."""
    return directory / "supervisor.sock"


class Siblings:
    """The other workers, as one of them sees them, and the supervisor of all.

    Args:
        worker: this one.
        directory: where the sockets are.
    """

    def __init__(self, worker: Worker, directory: Path) -> None:
        self._worker = worker
        self._directory = directory
        self.unanswered = 0

    def cancel(self, pid: int, key: bytes) -> None:
        """Pass a cancel request on; the worker whose client is meant knows it by its key."""
        self.tell({"do": "cancel", "pid": pid, "key": key.hex()})

    def tell(self, order: Order) -> None:
        """Give all others an order."""
        for number in range(self._worker.count):
            if number != self._worker.number:
                self._worker.start(self._send(number, order))

    async def ask(self, order: Order) -> list[Order]:
        """Ask all others; who doesn't answer in time is left out and counted."""
        others = [number for number in range(self._worker.count) if number != self._worker.number]
        answers = await asyncio.gather(*(self._exchange(number, order) for number in others))
        return [answer for answer in answers if answer is not None]

    async def ask_supervisor(self, order: Order, timeout_s: float = ASK_TIMEOUT_S) -> Order | None:
        """Ask the supervisor; ``None`` if it doesn't answer in time, which is counted."""
        return await self._converse(supervisor_path(self._directory), order, timeout_s)

    async def _send(self, number: int, order: Order) -> None:
        await self._exchange(number, order)

    async def _exchange(self, number: int, order: Order) -> Order | None:
        return await self._converse(socket_path(self._directory, number), order, ASK_TIMEOUT_S)

    async def _converse(self, path: Path, order: Order, timeout_s: float) -> Order | None:
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_unix_connection(str(path), limit=LINE_LIMIT)
                try:
                    writer.write(json.dumps(order).encode() + b"\n")
                    line = await reader.readline()
                finally:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
            answer = json.loads(line)
        except (OSError, TimeoutError, ValueError):
            answer = None
        if not isinstance(answer, dict):
            self.unanswered += 1
            return None
        return answer


SUPERVISORS: Final = frozenset({"topology", "cut", "pause", "resume", "busy"})
"""Orders that only the supervisor has reason to give."""


class ControlServer:
    """Answers the other workers and the supervisor.

    Args:
        worker: whose orders these are.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: a line in, a line out."""
        try:
            line = await reader.readline()
            order = json.loads(line)
            if isinstance(order, dict) and order.get("do") == "replay":
                answer = await self._worker.following.replay(pin=order.get("pin") is not False)
            else:
                answer = self.obey(order)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError):
            return  # the other side is gone, or it was no line of JSON, or a line that never ends
        finally:
            writer.close()

    def obey(self, order: Order) -> Order:
        """Carry out one order; one that is none is answered as such."""
        try:
            return self._carry_out(order)
        except (TypeError, KeyError, ValueError, AttributeError):
            return {"error": "malformed order"}

    def _carry_out(self, order: Order) -> Order:
        worker = self._worker
        if "show" in order and order["show"] in TABLES:
            return {"rows": TABLES[order["show"]](worker)}
        if order.get("do") == "cancel":
            return {"done": worker.cancel(int(order["pid"]), bytes.fromhex(order["key"]))}
        if order.get("do") == "close_idle":
            worker.close_idle()
            return {"done": True}
        if order.get("do") in SUPERVISORS:
            return self._follow(order)
        return {"error": "unknown order"}

    def _follow(self, order: Order) -> Order:
        following = self._worker.following
        what = order["do"]
        if what == "topology":
            self._worker.look_at_topology()
        elif what == "cut":
            return {"done": True, "cut": following.cut(str(order["backend"]))}
        elif what == "pause":
            following.pause()
        elif what == "resume":
            following.resume()
        else:
            return {"done": True, "busy": following.busy()}
        return {"done": True}
