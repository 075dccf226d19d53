"""``seawall demo``: servers, the proxy in front of them, load; a worker and the primary that are killed.

It only puts the parts together: ``proxy_demo_stage`` (makes it happen), ``proxy_demo_load``,
``proxy_demo_shop`` and ``proxy_demo_client`` (the clients), ``proxy_demo_console`` (what the proxy says of
its servers), ``proxy_demo_report`` (the judgement), ``proxy_demo_view`` (what is seen).
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any, Protocol, Self

import typer

from seawall.cli import exits, proxy_demo_view
from seawall.cli.proxy_demo_stage import FAST, FULL, Audience, Stage
from seawall.embedded.cluster import Cluster
from seawall.embedded.engines import find_engine

__all__ = ["Interrupt", "play"]

REPLICAS = 2


class Host(Audience, AbstractContextManager[object], Protocol):
    """An audience that is also told what happens before and after the play."""

    def say(self, line: str) -> None:
        """Show a line."""
        ...

    def waiting(self, line: str) -> AbstractContextManager[object]:
        """Show a line for the time of the block."""
        ...


class Interrupt:
    """Ctrl-C and SIGTERM: the first one ends the play, further ones don't disturb the cleaning up.

    While a play is on it is cancelled; at other times ``KeyboardInterrupt`` is raised.
    """

    def __init__(self) -> None:
        self.asked = False
        self.cancel: Callable[[], object] | None = None
        self._cleaning = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_failure: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def clean_up(self) -> None:
        """From now on nothing disturbs."""
        self._cleaning = True

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked or self._cleaning:
            return
        self.asked = True
        if self.cancel is None:
            raise KeyboardInterrupt
        self.cancel()


def play(*, fast: bool, as_json: bool, live: bool, seed: int) -> int:
    """Play, report; the exit code.

    Raises:
        SeawallError: There is no PostgreSQL, or servers or proxy don't do what they have to.
    """
    host: Host = (
        proxy_demo_view.Screen() if live else proxy_demo_view.Log(sys.stderr if as_json else sys.stdout)
    )
    with Interrupt() as interrupt:
        try:
            stage = _played(host, interrupt, fast=fast, seed=seed)
        except KeyboardInterrupt:
            typer.echo("stopped", err=True)
            return exits.INTERRUPTED
    report = stage.report()
    if as_json:
        typer.echo(json.dumps({**report.as_table(), "seed": seed}, indent=2))
    else:
        proxy_demo_view.print_report(report)
    return exits.OK if report.kept else exits.BROKEN


def _played(host: Host, interrupt: Interrupt, *, fast: bool, seed: int) -> Stage:
    """A stage whose play is over, and whose servers are gone.

    Raises:
        KeyboardInterrupt: Somebody wanted it to end.
    """
    engine = find_engine()
    cluster: Cluster | None = None
    try:
        with host.waiting(f"starting PostgreSQL {engine.release}: a primary and 2 synchronous replicas"):
            cluster = Cluster.create(replicas=REPLICAS, synchronous=True, engine=engine)
        stage = Stage(FAST if fast else FULL, cluster, seed=seed)
        with host:
            asyncio.run(_performed(stage, host, interrupt))
    finally:
        interrupt.clean_up()
        if cluster is not None:
            with host.waiting("stopping the PostgreSQL servers"):
                cluster.destroy()
    if interrupt.asked:
        raise KeyboardInterrupt
    return stage


async def _performed(stage: Stage, audience: Audience, interrupt: Interrupt) -> None:
    """Play; a play that was interrupted ends as if it were over."""
    task = asyncio.ensure_future(stage.play(audience))
    loop = asyncio.get_running_loop()
    interrupt.cancel = lambda: loop.call_soon_threadsafe(task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        if not interrupt.asked:
            raise
    finally:
        interrupt.cancel = None
