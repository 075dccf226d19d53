"""What the verbs share that talk to a running proxy: options, the login, and how a refusal is told.

``proxy_orders`` and ``proxy_views`` use it. The conversation itself is :mod:`seawall.app.console`.
"""

from __future__ import annotations

import dataclasses
import getpass
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import typer

from seawall.app.console import PasswordWanted, Place, Refused, Result, Session, Unreachable
from seawall.cli import exits

T = TypeVar("T")

TIMEOUT_S: Final = 5.0
"""Of the login, and of a question."""
SCHEMES: Final = ("postgresql", "postgres")
TOLERATED: Final = frozenset(
    {
        "application_name",
        "client_encoding",
        "connect_timeout",
        "gssencmode",
        "options",
        "target_session_attrs",
    }
)
"""What a connection string may say besides, and what makes no difference here."""
TLS_WANTED: Final = frozenset({"require", "verify-ca", "verify-full"})
DATABASE: Final = Place().database
PLAIN_WIDTH: Final = 500
"""Of lines that no terminal shows: a file has no right edge."""

DsnOption = Annotated[
    str | None,
    typer.Option(
        "--dsn",
        metavar="DSN",
        help="Where the proxy is, as a URL or KEY=VALUE pairs; its database is ignored.",
    ),
]
HostOption = Annotated[
    str | None,
    typer.Option("--host", metavar="HOST", help="Host, or the directory of a unix socket; else 127.0.0.1."),
]
PortOption = Annotated[
    int | None, typer.Option("--port", metavar="PORT", min=1, max=65_535, help="The proxy's port; else 6432.")
]
UserOption = Annotated[
    str | None,
    typer.Option(
        "--user",
        metavar="NAME",
        help="One of auth.admin_users; else your login name. Its password: $PGPASSWORD.",
    ),
]
DatabaseOption = Annotated[
    str,
    typer.Option("--database", metavar="NAME", help="proxy.admin_database, where it isn't called seawall."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of text.")]


class Misspelt(ValueError):
    """A connection string that is none; the text says why, without a word of what may be secret."""


def place(
    dsn: str | None,
    host: str | None,
    port: int | None,
    user: str | None,
    database: str,
    env: Mapping[str, str] | None = None,
) -> Place:
    """Where the console is; what an option says goes over the connection string.

    Raises:
        Misspelt: the connection string is wrong.
    """
    env = os.environ if env is None else env
    told = parts_of(dsn) if dsn else {}
    port_text = told.get("port", "")
    if port_text and not (port_text.isascii() and port_text.isdigit() and 0 < int(port_text) <= 65_535):
        raise Misspelt("port: a number from 1 to 65535 is expected")
    return Place(
        host=host or told.get("host") or Place().host,
        port=port or int(port_text or Place().port),
        user=user or told.get("user") or login_name(),
        password=told.get("password") or env.get("PGPASSWORD", ""),
        database=database,
    )


def parts_of(dsn: str) -> dict[str, str]:
    """What a connection string says (PostgreSQL documentation, "Connection Strings").

    Raises:
        Misspelt: it is none, it has a part that nobody knows, or it wants encryption.
    """
    told = _of_url(dsn) if "://" in dsn else _of_pairs(dsn)
    told["host"] = told.pop("hostaddr", "") or told.get("host", "")
    if told.pop("sslmode", "") in TLS_WANTED:
        raise Misspelt("sslmode: the proxy doesn't speak TLS yet")
    unknown = told.keys() - TOLERATED - {"host", "port", "user", "password", "dbname"}
    if unknown:
        raise Misspelt(f"{', '.join(sorted(unknown))}: nobody knows what that means here")
    if "," in told["host"]:
        raise Misspelt("host: one proxy at a time")
    return told


def _of_url(dsn: str) -> dict[str, str]:
    try:
        parts = urlsplit(dsn)
        port = parts.port
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise Misspelt("it is no URL that can be read") from None
    if parts.scheme not in SCHEMES:
        raise Misspelt("a URL begins with postgresql://")
    told = {
        "host": unquote(parts.hostname or ""),
        "port": str(port) if port is not None else "",
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
    }
    return {**told, **dict(pairs)}


def _of_pairs(dsn: str) -> dict[str, str]:
    try:
        words = shlex.split(dsn)
    except ValueError:
        raise Misspelt("a quotation is not closed") from None
    pairs = [word.partition("=") for word in words]
    if any(not key or not sign for key, sign, _ in pairs):
        raise Misspelt("KEY=VALUE pairs with blanks between them, or a URL, are expected")
    return {key: value for key, _, value in pairs}


def login_name() -> str:
    """Who is at the keyboard; in a container that may be a number without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return Place().user


def connect(where: Place) -> Session:
    """Log in; a password that is wanted is asked for if somebody is there to type it.

    Raises:
        Unreachable: nobody answers.
        Refused: this user may not.
    """
    try:
        return Session(where, TIMEOUT_S)
    except PasswordWanted:
        if not is_somebody_there():
            raise
        password = typer.prompt(f"Password of {where.user}", hide_input=True, err=True)
        return Session(dataclasses.replace(where, password=password), TIMEOUT_S)


def is_somebody_there() -> bool:
    """Whether a question could be answered."""
    return sys.stdin.isatty()


def talking(talk: Callable[[], T], *, as_json: bool) -> T:
    """What ``talk`` returns; whatever keeps it from that ends the program and is told."""
    try:
        return talk()
    except Misspelt as error:
        code, told = exits.USAGE, {"error": f"--dsn: {error}"}
    except PasswordWanted as error:
        hint = "Set PGPASSWORD, or write it into --dsn."
        code, told = exits.USAGE, {"error": error.message, "sqlstate": error.sqlstate, "hint": hint}
    except Refused as error:
        code = exits.BROKEN
        told = {
            "error": error.message,
            "sqlstate": error.sqlstate,
            "detail": error.detail,
            "hint": error.hint,
        }
    except Unreachable as error:
        code, told = exits.BROKEN, {"error": str(error)}
    if as_json:
        typer.echo(json.dumps({key: text for key, text in told.items() if text}, indent=2))
    else:
        typer.secho(told["error"], fg="red", err=True)
        for line in (told.get("detail"), told.get("hint")):
            if line:
                typer.echo(line, err=True)
    raise typer.Exit(code)


def print_table(result: Result, empty: str) -> None:
    """Print rows as a table for people; ``empty`` if there are none."""
    from rich.console import Console  # noqa: PLC0415 -- slow to load
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    if not result.rows:
        typer.echo(empty)
        return
    shown = [name for name in result.columns if any(row[name] for row in result.rows)]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in shown:
        table.add_column(name, overflow="fold")
    for row in result.rows:
        table.add_row(*(Text(clean(row[name])) for name in shown))
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    Console(highlight=False, width=width).print(table)


def clean(text: str | None) -> str:
    """A text of somebody else's, made fit for a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text or "")


def as_json(table: Mapping[str, Any]) -> None:
    """Print for programs."""
    typer.echo(json.dumps(table, indent=2))
