"""How the plan's orders are carried out: each a coroutine that ends when the thing is done, or can't be.

``conductor`` starts them and feeds back what becomes of them. Their time limits are the plan's; those here
are only for what the plan doesn't wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from seawall.kernel.errors import SeawallError
from seawall.proxy.connect import Addresses, LoginFailed
from seawall.proxy.failover import orders, witness
from seawall.proxy.failover.crew import Crew
from seawall.proxy.failover.hooks import Hooks
from seawall.proxy.failover.link import Link, open_link
from seawall.proxy.failover.pins import Pins
from seawall.proxy.failover.watch import Watch
from seawall.proxy.settings import Backend, ProxySettings

__all__ = ["WAITING", "Deeds"]

POLL_S: Final = 0.005
"""Between two questions while clients wait for what they are about."""
CHECKPOINT_TIMEOUT_S: Final = 60.0
REPLAY_MARGIN_S: Final = 1.0
"""A worker may take so much longer for its replays than the window for all of them is."""
WAITING: Final = (orders.PauseWorkers, orders.WaitReplayed, orders.ReplayTurns, orders.AskWitnesses)
"""Orders that change nothing on a server: they are given up when the plan goes on without them."""


class Deeds:
    """Carries out what is answered by ``Done`` or ``Witnessed``.

    Args:
        settings: of the proxy.
        watch: of the servers.
        hooks: do something to the servers.
        crew: the workers.
        pins: the sequences that they set back.
    """

    def __init__(self, settings: ProxySettings, watch: Watch, hooks: Hooks, crew: Crew, pins: Pins) -> None:
        self.replayed = 0
        self._settings = settings
        self._backends = {backend.name: backend for backend in settings.backends}
        self._watch = watch
        self._hooks = hooks
        self._crew = crew
        self._pins = pins
        self._addresses = Addresses(settings.timeouts.dns_refresh_s)

    async def carry_out(self, action: orders.Numbered) -> orders.Done | orders.Witnessed:
        """Carry out one order; what prevents it is in the answer."""
        if isinstance(action, orders.AskWitnesses):
            node = self._backends[action.node]
            unreachable, detail = await witness.ask(self._settings, node, self._open)
            return orders.Witnessed(action, unreachable, detail)
        try:
            said = await DEEDS[type(action)](self, action)
        except SeawallError as error:
            return orders.Done(action, ok=False, detail=str(error))
        return orders.Done(action, detail=said or "")

    async def look_until_writable(self, node: str, wanted: Callable[[], bool]) -> None:
        """Look at a server as often as possible, for as long as that is wanted."""
        while wanted():
            await self._watch.look(node)
            await asyncio.sleep(POLL_S)

    async def _open(self, backend: Backend) -> Link:
        return await open_link(self._addresses, backend, self._settings.timeouts.user_timeout_s)

    # --- on servers ---------------------------------------------------------------------------------------

    async def fence(self, action: orders.Fence) -> str:
        """Keep a server from taking writes; where nobody can, that is said and counts as done."""
        await self._hooks.fence(action.node, clean=action.clean)
        return "" if self._hooks.can_fence else "nothing could be done but to send nothing to it any more"

    async def promote(self, action: orders.Promote) -> None:
        """Tell a replica to become a primary."""
        await self._hooks.promote(action.node)

    async def repoint(self, action: orders.Repoint) -> None:
        """Have replicas follow the new primary."""
        await self._hooks.repoint(action.primary, action.replicas)

    async def rejoin(self, action: orders.Rejoin) -> None:
        """Make a former primary a replica."""
        await self._hooks.rejoin(action.node, action.primary)

    async def checkpoint(self, action: orders.Checkpoint) -> str:
        """Have a server write down what it would have to write down when it is stopped."""
        try:
            await self._watch.run(action.node, "CHECKPOINT", CHECKPOINT_TIMEOUT_S)
        except SeawallError as error:
            if isinstance(error.__cause__, LoginFailed):
                return str(error)  # it may not be allowed to; stopping the server takes longer then
            raise
        return ""

    async def wait_replayed(self, action: orders.WaitReplayed) -> None:
        """Look until a replica has replayed enough."""
        while True:
            await self._watch.look(action.node)
            look = self._watch.observation(action.node)
            if look.reachable and (look.replay_lsn or 0) >= action.lsn:
                return
            await asyncio.sleep(POLL_S)

    # --- by the workers -----------------------------------------------------------------------------------

    async def pause(self, _: orders.PauseWorkers) -> None:
        """Have no transaction begin, and wait for the open ones.

        A worker that doesn't answer counts as one that has some: it is hung, or comes back.
        """
        await self._crew.tell_all({"do": "pause"})
        while True:
            answers = await self._crew.tell_all({"do": "busy"})
            if all(answer is not None and answer.get("busy") == 0 for answer in answers):
                return
            await asyncio.sleep(POLL_S)

    async def replay(self, action: orders.ReplayTurns) -> str:
        """Let one worker after another replay, since they may set sequences back.

        One that is dead has nothing to replay; what it left set back is set forward before the next one's.
        """
        await self._crew.tell_all({"do": "topology"})
        pin = self._settings.replay.pin_sequences
        timeout_s = self._settings.failover.replay_window_s + REPLAY_MARGIN_S
        replayed = refused = 0
        for number in range(self._crew.count):
            answer = await self._crew.tell(number, {"do": "replay", "pin": pin}, timeout_s) or {}
            await self._pins.restore(action.primary)
            pin = pin and answer.get("pin") is not False
            replayed += _count(answer.get("replayed"))
            refused += _count(answer.get("refused"))
            self.replayed += _count(answer.get("replayed"))
        return f"{replayed} replayed, {refused} refused"


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


DEEDS: Final[dict[type[orders.Numbered], Callable[[Deeds, Any], Awaitable[str | None]]]] = {
    orders.Checkpoint: Deeds.checkpoint,
    orders.Fence: Deeds.fence,
    orders.PauseWorkers: Deeds.pause,
    orders.Promote: Deeds.promote,
    orders.Rejoin: Deeds.rejoin,
    orders.ReplayTurns: Deeds.replay,
    orders.Repoint: Deeds.repoint,
    orders.WaitReplayed: Deeds.wait_replayed,
}
