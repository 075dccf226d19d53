"""``seawall proxy switchover``, ``pause`` and ``resume``: orders to a running proxy.

They are given to its console; the proxy's supervisor carries them out. What it is doing meanwhile is read
from the same console and told on standard error.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Annotated, Final

import typer

from seawall.app.console import Place, Refused, Result, Session, Unreachable
from seawall.cli import exits
from seawall.cli.proxy_console import (
    DATABASE,
    DatabaseOption,
    DsnOption,
    HostOption,
    JsonOption,
    PortOption,
    UserOption,
    as_json,
    connect,
    place,
    talking,
)

__all__ = ["PAUSE_HELP", "RESUME_HELP", "SWITCHOVER_HELP", "pause", "resume", "switchover"]

ORDER_TIMEOUT_S: Final = 2 * 3_600.0
"""The proxy gives up by itself long before; this is for one that is gone without a word."""
LOOK_S: Final = 0.1
NAME: Final = re.compile(r"[^'\0]{1,255}")

SWITCHOVER_HELP: Final = (
    "Make another server the primary, without an error for any client: no transaction begins, the open ones "
    "end, the other server is promoted, transactions begin again. Exits with 0 if that is done, with 1 if it "
    "isn't; the text says why, and what goes on."
)
PAUSE_HELP: Final = (
    "Let no transaction begin, and wait until the open ones have ended. Clients wait, up to "
    "pool.queue_timeout. Exits with 1 if some transaction didn't end in time; it is paused all the same."
)
RESUME_HELP: Final = "Let transactions begin again."


def switchover(
    *,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="NAME", help="The backend to promote; else the most advanced replica."),
    ] = None,
    dsn: DsnOption = None,
    host: HostOption = None,
    port: PortOption = None,
    user: UserOption = None,
    database: DatabaseOption = DATABASE,
    json: JsonOption = False,
) -> None:
    """Give the order, tell what happens, tell what came of it."""
    if to is not None and not NAME.fullmatch(to):
        typer.echo("--to: the name of a backend is expected", err=True)
        raise typer.Exit(exits.USAGE)
    command = "SWITCHOVER" if to is None else f"SWITCHOVER TO '{to}'"
    result = _obeyed(command, lambda: place(dsn, host, port, user, database), json=json)
    facts = {row["item"] or "": row["value"] for row in result.rows}
    if json:
        as_json({"done": True, **facts})
        return
    typer.echo("switched over")
    for item, value in facts.items():
        typer.echo(f"  {item}: {value}")


def pause(
    *,
    dsn: DsnOption = None,
    host: HostOption = None,
    port: PortOption = None,
    user: UserOption = None,
    database: DatabaseOption = DATABASE,
    json: JsonOption = False,
) -> None:
    """Give the order."""
    result = _obeyed("PAUSE", lambda: place(dsn, host, port, user, database), json=json)
    drained = {row["item"]: row["value"] for row in result.rows}.get("drained") != "false"
    if json:
        as_json({"done": True, "drained": drained})
    else:
        typer.echo("paused: seawall proxy resume lets clients go on")
        if not drained:
            typer.echo("transactions are open still: SHOW CLIENTS tells whose", err=True)
    raise typer.Exit(exits.OK if drained else exits.BROKEN)


def resume(
    *,
    dsn: DsnOption = None,
    host: HostOption = None,
    port: PortOption = None,
    user: UserOption = None,
    database: DatabaseOption = DATABASE,
    json: JsonOption = False,
) -> None:
    """Give the order."""
    _obeyed("RESUME", lambda: place(dsn, host, port, user, database), json=json)
    if json:
        as_json({"done": True})
    else:
        typer.echo("resumed")


def _obeyed(command: str, where: Callable[[], Place], *, json: bool) -> Result:
    try:
        return talking(lambda: _give(command, where()), as_json=json)
    except KeyboardInterrupt:
        typer.echo(f"{command} goes on without you: SHOW TOPOLOGY and SHOW FAILOVERS tell how", err=True)
        raise typer.Exit(exits.INTERRUPTED) from None


def _give(command: str, where: Place) -> Result:
    """The answer to an order; while it is carried out, every change of the topology is told.

    Raises:
        Refused: the proxy says no.
        Unreachable: nobody answers.
    """
    with connect(where) as session:
        order = _Order(session, command)
        order.start()
        try:
            with Session(session.place, session.timeout_s) as watch:
                _tell_until(order.done, watch)
        except (Refused, Unreachable):
            order.done.wait()  # nothing can be told; the order is what counts
        return order.result()


class _Order(threading.Thread):
    """An order under way."""

    def __init__(self, session: Session, command: str) -> None:
        super().__init__(daemon=True)
        self.done = threading.Event()
        self._session = session
        self._command = command
        self._result: Result | Refused | Unreachable | None = None

    def run(self) -> None:
        """Give it, and wait for the answer."""
        try:
            self._result = self._session.ask(self._command, ORDER_TIMEOUT_S)
        except (Refused, Unreachable) as error:
            self._result = error
        finally:
            self.done.set()

    def result(self) -> Result:
        """The answer, once it is there.

        Raises:
            Refused: the proxy says no.
            Unreachable: the connection was lost.
        """
        if isinstance(self._result, Result):
            return self._result
        raise self._result or Unreachable(f"{self._command}: no answer")


def _tell_until(done: threading.Event, watch: Session) -> None:
    told = ""
    while not done.wait(LOOK_S):
        (row, *_) = watch.ask("SHOW TOPOLOGY").rows or [{}]
        line = f"{row.get('phase') or '':<10} primary {row.get('primary') or 'none'}"
        if row.get("reason"):
            line += f": {row['reason']}"
        if row and line != told:
            typer.echo(line, err=True)
            told = line
