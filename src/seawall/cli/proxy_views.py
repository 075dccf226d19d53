"""``seawall proxy explain-failover`` and ``failovers``: what the loss of a primary would do, and what it did.

Both are questions to the console of a running proxy.
"""

from __future__ import annotations

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

__all__ = ["EXPLAIN_HELP", "FAILOVERS_HELP", "HURTS", "SEES", "explain_failover", "failovers"]

SEES: Final = {
    "migrate": "nothing",
    "resend": "a wait",
    "replay": "a wait",
    "resolve": "a wait",
    "rolled back": "nothing",
    "lost": "40001",
    "unknown": "08007",
    "end": "57P01",
}
"""What a client sees of each way in which it may be treated; ``proxy.replay.ladder`` has the ways."""
HURTS: Final = frozenset({"lost", "unknown", "end"})
HINTS: Final = (
    ("replaying is off", 'write replay = "on" for its database or its user'),
    ("it does what must not be done twice", "keep that out of transactions that write"),
    ("it has been open for", "commit earlier, or raise replay.age"),
    ("it is longer than is kept", "commit earlier, or raise replay.journal_bytes"),
    ("it has ", "commit earlier, or raise replay.statements_max"),
    ("a statement outside of a transaction block", "put BEGIN and COMMIT around what writes"),
    ("the server was lost while it committed", "write replay.resolve_commits = true"),
    ("COMMIT was sent together", "send COMMIT as a statement of its own"),
    ("its session can't move", "see pinned_by in SHOW CLIENTS"),
)
"""How a reason begins, and what would have to be different."""
EXPLAINED: Final = ["pid", "user", "database", "would", "sees", "because", "hint"]
"""Of a client, to people."""
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
    clients = [{**row, "sees": sees(row), "hint": hint(row)} for row in result.rows]
    hurt = [row for row in clients if row["would"] not in SEES or row["would"] in HURTS]
    if json:
        as_json({"ok": not hurt, "clients": clients})
    else:
        listed = clients if every else hurt
        if listed:
            print_table(Result(EXPLAINED, listed[:SHOWN_MAX]), "")
            if len(listed) > SHOWN_MAX:
                typer.echo(f"and {len(listed) - SHOWN_MAX} more: see --json")
        typer.secho(_summary(len(clients), len(hurt)), fg="yellow" if hurt else "green")
    raise typer.Exit(exits.BROKEN if hurt else exits.OK)


def sees(row: dict[str, str | None]) -> str:
    """What a client would see."""
    would = row.get("would") or ""
    return SEES.get(would, would)


def hint(row: dict[str, str | None]) -> str:
    """What would have to be different for a client to see nothing but a wait; empty if nothing has to."""
    if row.get("would") not in HURTS:
        return ""
    because = row.get("because") or ""
    return next((text for start, text in HINTS if because.startswith(start)), "")


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
