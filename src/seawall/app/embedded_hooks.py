"""An embedded cluster's servers, done to as the proxy wants when their primary changes.

Its calls block, so they are made in threads. Servers are fenced by killing them, or by stopping them properly
where they are fine, and brought back by ``pg_rewind``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from seawall.embedded.cluster import Cluster
from seawall.kernel.errors import SeawallError
from seawall.proxy.failover.hooks import PROMOTE, HookFailed

__all__ = ["EmbeddedHooks"]

STATEMENT_TIMEOUT_S: Final = 5.0
STOP_TIMEOUT_S: Final = 10.0
"""For a proper stop, before a harder one is tried."""


class EmbeddedHooks:
    """What can be done to an embedded cluster; :class:`seawall.proxy.failover.hooks.Hooks` says when.

    Args:
        cluster: the servers.
    """

    can_fence = True
    can_rejoin = True

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def __repr__(self) -> str:
        return f"EmbeddedHooks({self._cluster!r})"

    async def fence(self, node: str, *, clean: bool) -> None:
        """Stop or kill a server."""
        if clean:
            await _in_thread(node, lambda: self._cluster.node(node).stop("fast", timeout_s=STOP_TIMEOUT_S))
        else:
            await _in_thread(node, lambda: self._cluster.node(node).kill())

    async def promote(self, node: str) -> None:
        """Call ``pg_promote`` over the server's own socket, where no password is asked for."""
        await _in_thread(
            node, lambda: self._cluster.node(node).execute(PROMOTE, timeout_s=STATEMENT_TIMEOUT_S)
        )

    async def repoint(self, primary: str, replicas: Sequence[str]) -> None:
        """Write down whom to follow, and have all running servers read it."""
        del replicas  # those that are down will read it when they start
        await _in_thread(primary, lambda: self._cluster.follow(primary))

    async def rejoin(self, node: str, primary: str) -> None:
        """Rewind a server, or copy all data if that doesn't help."""
        del primary  # the cluster asks its servers
        await _in_thread(node, lambda: self._cluster.rejoin(node))


async def _in_thread(node: str, call: Callable[[], object]) -> None:
    try:
        await asyncio.to_thread(call)
    except (SeawallError, OSError) as error:
        raise HookFailed(node, str(error).removeprefix(f"{node}: ")) from error
