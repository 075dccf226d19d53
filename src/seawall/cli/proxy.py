"""``seawall proxy``: runs the PostgreSQL proxy; ``seawall proxy check`` tries a configuration on its servers.

It reads options and prints; the configuration is read by ``seawall.app.config``, the proxy is run by
``seawall.app.build``. The verbs that talk to a proxy that runs are in ``proxy_orders`` and ``proxy_views``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

import seawall
from seawall.cli import exits, proxy_orders, proxy_views
from seawall.kernel.errors import InfrastructureError, PolicyError, UsageError

if TYPE_CHECKING:
    from seawall.app.config import Loaded
    from seawall.proxy.supervisor import Running

T = TypeVar("T")

command = typer.Typer(add_completion=False)

EXTRA = frozenset({"pydantic", "pydantic_core", "uvloop"})
"""What the extra "proxy" brings."""

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="The TOML file; else $SEAWALL_CONFIG, $HELIOS_CONFIG."
    ),
]
TrustOption = Annotated[
    bool,
    typer.Option("--trust-loopback", help="Let in whoever connects from this machine, without a password."),
]
BackendOption = Annotated[
    list[str] | None,
    typer.Option(
        "--backend", metavar="HOST:PORT", help="A server, instead of those of the file; repeatable."
    ),
]
ListenOption = Annotated[
    list[str] | None,
    typer.Option("--listen", metavar="HOST:PORT", help="Where to listen, instead of the file; repeatable."),
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", help="Processes, instead of the file; 0 is one per core."),
]


@command.callback(
    invoke_without_command=True,
    help="Run the PostgreSQL proxy until Ctrl-C or SIGTERM. Then it drains; a second signal ends it at once.",
)
def run(
    context: typer.Context,
    *,
    config: ConfigOption = None,
    trust_loopback: TrustOption = False,
    listen: ListenOption = None,
    workers: WorkersOption = None,
    backend: BackendOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON on stdout when ready.")
    ] = False,
) -> None:
    """Load, run, tell how to connect."""
    if context.invoked_subcommand is not None:
        return
    loaded = loading(
        lambda: load(config, trust_loopback=trust_loopback, listen=listen, workers=workers, backend=backend)
    )
    raise typer.Exit(serve(loaded, as_json=as_json))


@command.command(
    "check",
    help="Check the file, then every server in it: name, connection, logins, version, role, encoding, "
    "max_connections, clock, replication. Exits with 1 if a server fails, with 2 if the file is wrong.",
)
def check(
    context: typer.Context,
    *,
    config: ConfigOption = None,
    trust_loopback: TrustOption = False,
    backend: BackendOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Load, try, print; the exit code says whether the proxy could work."""
    # Options may stand on either side of "check".
    before = {} if context.parent is None else context.parent.params
    loaded = loading(
        lambda: load(
            config or before.get("config"),
            trust_loopback=trust_loopback or bool(before.get("trust_loopback")),
            listen=before.get("listen"),
            workers=before.get("workers"),
            backend=backend or before.get("backend"),
        ),
        as_json=as_json,
    )
    from seawall.app import build  # noqa: PLC0415 -- a wrong file is told without it
    from seawall.cli import proxy_report  # noqa: PLC0415 -- Rich is slow to load

    report = build.check_servers(loaded.settings)
    if as_json:
        typer.echo(json.dumps(proxy_report.as_table(report, loaded), indent=2))
    else:
        proxy_report.print_report(report, loaded)
    raise typer.Exit(exits.OK if report.ok else exits.BROKEN)


command.command("switchover", help=proxy_orders.SWITCHOVER_HELP)(proxy_orders.switchover)
command.command("pause", help=proxy_orders.PAUSE_HELP)(proxy_orders.pause)
command.command("resume", help=proxy_orders.RESUME_HELP)(proxy_orders.resume)
command.command("explain-failover", help=proxy_views.EXPLAIN_HELP)(proxy_views.explain_failover)
command.command("failovers", help=proxy_views.FAILOVERS_HELP)(proxy_views.failovers)


def load(
    config: Path | None,
    *,
    trust_loopback: bool,
    listen: list[str] | None = None,
    workers: int | None = None,
    backend: list[str] | None = None,
) -> Loaded:
    """The configuration with the options over it.

    Raises:
        PolicyError: naming every mistake.
    """
    from seawall.app import config as configuration  # noqa: PLC0415 -- pydantic is slow to load

    overrides = configuration.Overrides(
        listen=tuple(listen or ()), workers=workers, backends=tuple(backend or ())
    )
    return configuration.load(config, os.environ, trust_loopback=trust_loopback, overrides=overrides)


def loading(make: Callable[[], T], *, as_json: bool = False) -> T:
    """What ``make`` returns; its mistakes, and a missing package, end the program and say so."""
    try:
        return make()
    except PolicyError as error:
        from seawall.cli.explain import problems  # noqa: PLC0415 -- loads the library

        typer.echo(json.dumps(problems(error), indent=2) if as_json else str(error), err=not as_json)
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        typer.echo(f'{error.name} is not installed: pip install "seawall[proxy]"', err=True)
    raise typer.Exit(exits.USAGE)


def serve(loaded: Loaded, *, as_json: bool) -> int:
    """Run the proxy, with a banner on stderr; the exit code."""
    from seawall.app import build  # noqa: PLC0415 -- a wrong file is told without it

    def ready(running: Running) -> None:
        announce(loaded, running, as_json=as_json)

    tell(f"seawall {seawall.__version__}, configured by {loaded.source}")
    for notice in loaded.notices:
        tell(f"note       {notice}")
    for warning in loaded.warnings:
        tell(f"warning    {warning}")
    try:
        return build.run_proxy(loaded, ready)
    except (PolicyError, UsageError) as error:
        typer.echo(str(error), err=True)
        return exits.USAGE
    except InfrastructureError as error:
        give_up(error)


def announce(loaded: Loaded, running: Running, *, as_json: bool) -> None:
    """Say that clients can connect, and how."""
    from seawall.app import build  # noqa: PLC0415 -- as above
    from seawall.cli import connecting  # noqa: PLC0415

    settings = loaded.settings
    user, database = connecting.names(settings)
    count = len(running.worker_pids)
    for listen in running.addresses:
        tell(f"listening  {connecting.address(listen)}")
    tell(f"workers    {count}, {settings.pooling.mode.value} pooling, {settings.pooling.size} per pool")
    for backend in settings.backends:
        tell(f"backend    {backend.name}  {backend.host}:{backend.port}  {backend.role.value}")
    served = list(connecting.telemetry(loaded.observation))
    if served and build.is_observable():
        for line in served:
            tell(line)
    for line in connecting.lines(running.addresses, user, database):
        tell(line)
    tell("Ctrl-C drains and stops; a second one stops at once")
    if as_json:
        table = connecting.as_table(running.addresses, running.worker_pids, user, database)
        typer.echo(json.dumps(table))


def tell(line: str) -> None:
    """A line for the person at the terminal; stdout is for programs."""
    typer.echo(line, err=True)


def give_up(error: Exception) -> NoReturn:
    """End the program because something in the world is not as it has to be."""
    typer.secho(str(error), fg="red", err=True)
    raise typer.Exit(exits.BROKEN) from None
