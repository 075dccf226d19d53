"""Asking the other proxies whether they reach a server, before it is replaced.

Each has a console that tells: ``SHOW BACKENDS``. The proxies of one platform share their configuration, so
that whoever may look at our console may look at theirs. Who doesn't answer, or has not looked yet, counts for
neither side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from seawall.kernel.errors import SeawallError
from seawall.proxy.failover.link import Link, Login
from seawall.proxy.failover.question import Row, reason_of
from seawall.proxy.settings import Backend, ProxySettings
from seawall.proxy.topology import NodeRole
from seawall.proxy.worker import server_secret

__all__ = ["Verdict", "ask", "console_login", "verdict_of"]

ASK: Final = "SHOW BACKENDS"
TIMEOUT_S: Final = 0.8
"""Of one witness; somewhat less than the plan waits for all."""

Verdict = bool | None
"""Whether a witness reaches the server; ``None`` if it can't tell."""


def console_login(settings: ProxySettings) -> Login:
    """Whom to log in as: the first of those who may look at a console and have a password we know."""
    auth = settings.auth
    for name in [*sorted(auth.stats_users), *sorted(auth.admin_users)]:
        known = auth.users.get(name)
        secret = server_secret(known.server_secret or known.secret) if known is not None else None
        if secret is not None:
            return Login(user=name, database=settings.admin_database, password=secret)
    watch = Login.of(settings)
    return Login(user=watch.user, database=settings.admin_database, password=watch.password)


def verdict_of(columns: tuple[str, ...], rows: list[Row], node: Backend) -> Verdict:
    """What a console's table says about a server, that it may know by another name."""
    table = [dict(zip(columns, row, strict=False)) for row in rows]
    same_place = [one for one in table if (one.get("host"), one.get("port")) == (node.host, str(node.port))]
    for one in same_place or [one for one in table if one.get("name") == node.name]:
        role = one.get("role")
        if role in {NodeRole.PRIMARY.value, NodeRole.REPLICA.value, NodeRole.ZOMBIE.value}:
            return True
        if role == NodeRole.DOWN.value:
            return False
    return None


async def ask(
    settings: ProxySettings, node: Backend, connect: Callable[[Backend], Awaitable[Link]]
) -> tuple[int, str]:
    """Ask all witnesses; how many don't reach the server either, and what they say, for people.

    Args:
        settings: of the proxy.
        node: the server.
        connect: opens a connection.
    """
    login = console_login(settings)
    witnesses = settings.failover.witnesses

    async def one(witness: str) -> tuple[Verdict, str]:
        host, _, port = witness.rpartition(":")
        place = Backend(name=witness, host=host.strip("[]"), port=int(port))
        try:
            async with asyncio.timeout(TIMEOUT_S):
                link = await connect(place)
                try:
                    await link.log_in(login)
                    link.send(ASK)
                    rows = await link.reply()
                    verdict = verdict_of(link.columns, rows, node)
                finally:
                    link.close()
        except (SeawallError, OSError) as error:
            return None, f"{witness}: {reason_of(error)}"
        meaning = {True: "reaches it", False: "doesn't reach it", None: "can't tell"}
        return verdict, f"{witness} {meaning[verdict]}"

    answers = await asyncio.gather(*(one(witness) for witness in witnesses))
    return sum(verdict is False for verdict, _ in answers), "; ".join(text for _, text in answers)
