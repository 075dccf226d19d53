"""``seawall proxy explain-failover`` and ``failovers``: what the loss of a primary would do, and what it did.

Both are questions to the console of a running proxy.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer

from seawall.app.console import Result
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
    print_table,
    talking,
)

__all__ = ["EXPLAIN_HELP", "FAILOVERS_HELP", "explain_failover", "failovers"]

STATE: Final = re.compile(r"\b[0-9][0-9A-Z]{4}\b", re.ASCII)
"""An outcome with a SQLSTATE in it is an error that the client sees."""
SHOWN_MAX: Final = 100
"""Rows for people; who wants all of ten thousand reads JSON."""

EXPLAIN_HELP: Final = (
    "Tell what every client would see if the primary were lost now, and why. Nothing is done. Exits with 1 "
    "if some client would see an error, with 0 if none would."
)
FAILOVERS_HELP: Final = (
    "List what became of each primary that was lost or replaced since the proxy started, the newest first."
)
TOLD: Final[tuple[str, ...]] = (
    "at",
    "kind",
    "old_primary",
    "new_primary",
    "took_ms",
    "replays",
    "outcome",
    "reason",
)
"""Of a failover, to people."""


def explain_failover(
    *,
    every: Annotated[
        bool, typer.Option("--all", help="List also the clients that would notice nothing but a wait.")
    ] = False,
    dsn: DsnOption = None,
    host: HostOption = None,
    port: PortOption = None,
    user: UserOption = None,
    database: DatabaseOption = DATABASE,
    json: JsonOption = False,
) -> None:
    """Ask, print; the exit code says whether anybody would be hurt."""
    result = talking(
        lambda: _asked("EXPLAIN FAILOVER", dsn, host, port, user, database),
        as_json=json,
    )
    hurt = [row for row in result.rows if STATE.search(row.get("outcome") or "")]
    if json:
        as_json({"ok": not hurt, "clients": result.rows})
    else:
        listed = result.rows if every else hurt
        if listed:
            styles = {row["outcome"] or "": "yellow" for row in hurt}
            print_table(Result(result.columns, listed[:SHOWN_MAX]), "", styles=styles)
            if len(listed) > SHOWN_MAX:
                typer.echo(f"and {len(listed) - SHOWN_MAX} more: see --json")
        typer.secho(_summary(len(result.rows), len(hurt)), fg="yellow" if hurt else "green")
    raise typer.Exit(exits.BROKEN if hurt else exits.OK)


def failovers(
    *,
    dsn: DsnOption = None,
    host: HostOption = None,
    port: PortOption = None,
    user: UserOption = None,
    database: DatabaseOption = DATABASE,
    json: JsonOption = False,
) -> None:
    """Ask, print."""
    result = talking(lambda: _asked("SHOW FAILOVERS", dsn, host, port, user, database), as_json=json)
    if json:
        as_json({"failovers": result.rows})
    else:
        told = [name for name in TOLD if name in result.columns]
        print_table(Result(told, result.rows), "the primary has not changed since the proxy started")


def _asked(
    command: str, dsn: str | None, host: str | None, port: int | None, user: str | None, database: str
) -> Result:
    with connect(place(dsn, host, port, user, database)) as session:
        return session.ask(command)


def _summary(clients: int, hurt: int) -> str:
    if not clients:
        return "no clients"
    counted = f"{clients} client{'' if clients == 1 else 's'}"
    if not hurt:
        return f"{counted}, none would see an error"
    return f"{counted}, {hurt} would see an error"
