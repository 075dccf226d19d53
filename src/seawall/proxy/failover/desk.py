"""Where the supervisor is talked to: orders of operators, news from workers, questions of the console.

A unix socket in the runtime directory, one JSON object per line, as between the workers (``control``); only
the user that runs the proxy may connect.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from seawall.proxy.control import Order
from seawall.proxy.failover.conductor import Conductor
from seawall.proxy.failover.orders import PauseAsked, ResumeAsked
from seawall.proxy.failover.pins import Pin
from seawall.proxy.failover.promotion import Step
from seawall.proxy.topology import Observation, Phase

__all__ = ["Desk"]

LINE_LIMIT: Final = 1024 * 1024
CONNECTIONS_MAX: Final = 1000
"""At a time; all workers that suspect something come to fewer."""
LOOK_TIMEOUT_S: Final = 1.5
"""A look ends by itself, at the latest with a miss."""
SWITCHOVER_MARGIN_S: Final = 75.0
"""For the checkpoint before, and the promotion after, what ``switchover_timeout_s`` is about."""

Row = dict[str, Any]


class Unwatched(Exception):
    """Nobody watches the servers."""


class Desk:
    """Answers on the supervisor's socket.

    Args:
        conductor: who knows and obeys; ``None`` if nobody does.
    """

    def __init__(self, conductor: Conductor | None) -> None:
        self._present = conductor
        self._connections = 0
        self._server: asyncio.Server | None = None

    async def open(self, sock: socket.socket) -> None:
        """Begin to answer on a listening socket, which belongs to the desk from now on."""
        self._server = await asyncio.start_unix_server(self._serve, sock=sock, limit=LINE_LIMIT)

    def close(self) -> None:
        """Answer nobody any more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= CONNECTIONS_MAX:
                answer = await self.obey(json.loads(await reader.readline()))
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError):
            return  # the other side is gone, or it was no line of JSON, or a line that never ends
        except asyncio.CancelledError:
            return  # the process ends, and asyncio would print the traceback of a task that was cancelled
        finally:
            self._connections -= 1
            writer.close()

    async def obey(self, order: Any) -> Order:  # noqa: ANN401 -- whatever JSON says
        """Carry out one order; one that is none is answered as such."""
        try:
            if "show" in order:
                return {"rows": SHOWN[order["show"]](self)}
            return await DONE[order["do"]](self, order)
        except Unwatched:
            return {"error": "nobody watches the servers", "hint": "Write failover.enabled = true."}
        except TimeoutError:
            return {"error": "not in time"}
        except (TypeError, KeyError, ValueError, AttributeError):
            return {"error": "unknown or malformed order"}

    def show(self, what: str) -> list[Row]:
        """Rows of what the console shows under that name; none if nobody watches the servers.

        Raises:
            KeyError: nothing is shown under that name.
        """
        return SHOWN[what](self) if self._present is not None else []

    @property
    def _conductor(self) -> Conductor:
        if self._present is None:
            raise Unwatched
        return self._present

    # --- orders -------------------------------------------------------------------------------------------

    async def pause(self, _order: Order) -> Order:
        """Have no transaction begin; answers when none is open, or after a while all the same."""
        conductor = self._conductor
        said = conductor.ask(PauseAsked())
        if conductor.plan.step is not Step.PAUSED:
            return {"error": said or "not paused"}
        limit_s = conductor.settings.failover.switchover_timeout_s
        drained = await conductor.until(
            lambda: conductor.plan.step is not Step.PAUSED or conductor.plan.awaited is None, limit_s
        )
        return {"done": True, "drained": drained and conductor.topology.phase is Phase.PAUSED}

    async def resume(self, _order: Order) -> Order:
        """Take a pause back, or a switchover that can still be taken back."""
        conductor = self._conductor
        before = conductor.plan.step
        said = conductor.ask(ResumeAsked())
        if conductor.plan.step is before:
            return {"error": said or "nothing is paused"}
        return {"done": True}

    async def switchover(self, order: Order) -> Order:
        """Make another server the primary; answers when clients are served again."""
        conductor = self._conductor
        target = order.get("to") or ""
        if not isinstance(target, str):
            raise TypeError(target)
        said, entry = conductor.switch_over(target)
        if entry is None:
            return {"error": said}
        limit_s = conductor.settings.failover.switchover_timeout_s + SWITCHOVER_MARGIN_S
        if not await conductor.until(lambda: bool(entry.resumed), limit_s):
            return {"error": f"not done yet: {conductor.plan.reason}"}
        if entry.given_up:
            return {"error": entry.reason}
        return {"done": True, "pause_s": round(entry.resumed - entry.held, 4), "primary": entry.new_primary}

    async def suspect(self, order: Order) -> Order:
        """Look at a server now; the answer names a generation of the topology that is younger."""
        conductor = self._conductor
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            await conductor.watch.look(order["backend"])
        conductor.turn()
        return {"done": True, "generation": conductor.generation}

    async def pinned(self, order: Order) -> Order:
        """A worker is about to set a sequence back."""
        database, sequence = _sequence(order)
        restore, backend, pid = order["restore"], order["backend"], order["pid"]
        if not (isinstance(restore, str) and isinstance(backend, str) and isinstance(pid, int)):
            raise TypeError(order)
        if self._conductor.plan.step is not Step.REPLAYING:
            return {"error": "not while clients are served"}
        if not self._conductor.pins.add(database, sequence, Pin(restore, backend, pid)):
            return {"error": "too many sequences are set back"}
        return {"done": True}

    async def unpinned(self, order: Order) -> Order:
        """A worker has set a sequence forward again."""
        self._conductor.pins.remove(*_sequence(order))
        return {"done": True}

    # --- questions ----------------------------------------------------------------------------------------

    def backends(self) -> list[Row]:
        """Every server, as the watch and the election see it."""
        conductor = self._conductor
        now = asyncio.get_running_loop().time()
        places = {backend.name: backend for backend in conductor.settings.backends}
        looks = {one.name: one for one in conductor.observations}
        return [
            {
                "name": view.name,
                "host": places[view.name].host,
                "port": places[view.name].port,
                "role": view.role.value,
                "state": _state(looks[view.name]),
                "timeline": view.timeline or None,
                "system_identifier": view.system_identifier or None,
                "lag_bytes": view.lag_bytes,
                "connected_s": round(now - view.connected_since, 3) if view.connected_since else None,
                "reason": looks[view.name].text or None,
                "sync_state": looks[view.name].sync_state or None,
            }
            for view in conductor.topology.nodes
            if view.name in looks
        ]

    def topology(self) -> list[Row]:
        """What the workers go by, and what the plan is doing."""
        topology = self._conductor.topology
        return [
            {
                "epoch": topology.epoch,
                "phase": topology.phase.value,
                "primary": topology.primary,
                "multi_primary": topology.multi_primary,
                "timeline": topology.timeline or None,
                "system_identifier": topology.system_identifier or None,
                "tracked": topology.tracked,
                "reason": topology.reason,
                "plan": self._conductor.plan.step.value,
            }
        ]

    def failovers(self) -> list[Row]:
        """What became of every primary that was lost or replaced."""
        return self._conductor.history.rows()


def _sequence(order: Order) -> tuple[str, int]:
    database, sequence = order["database"], order["sequence"]
    if not isinstance(database, str) or not isinstance(sequence, int):
        raise TypeError(database, sequence)
    return database, sequence


def _state(look: Observation) -> str:
    """How a server is to the watch, in a word."""
    if look.reachable:
        return "reachable"
    if look.pending:
        return "pending"
    if look.refused:
        return "refused" if look.gone else "not let in"
    return "silent"


DONE: Final[Mapping[str, Callable[[Desk, Order], Awaitable[Order]]]] = {
    "pause": Desk.pause,
    "resume": Desk.resume,
    "switchover": Desk.switchover,
    "suspect": Desk.suspect,
    "pinned": Desk.pinned,
    "unpinned": Desk.unpinned,
}
SHOWN: Final[Mapping[str, Callable[[Desk], list[Row]]]] = {
    "backends": Desk.backends,
    "topology": Desk.topology,
    "failovers": Desk.failovers,
}
