"""``seawall up``: PostgreSQL servers of our own with the proxy in front; one command, nothing to configure.

With ``--config`` it is ``seawall proxy``: the servers are those of the file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import seawall
from seawall.app.environment import config_file
from seawall.cli import exits, proxy
from seawall.kernel.errors import PolicyError, SeawallError

if TYPE_CHECKING:
    from seawall.embedded.cluster import Cluster
    from seawall.proxy.supervisor import Running

command = typer.Typer(add_completion=False)

USER = "postgres"
"""Of the servers' own making, as is the database of that name."""
REPLICAS_MAX = 8


@command.command(
    help="Start PostgreSQL servers and the proxy in front of them, and stop both with Ctrl-C. Whoever "
    "connects from this machine is let in. With --config: run the proxy alone, on the servers of the file."
)
def run(
    *,
    config: proxy.ConfigOption = None,
    replicas: Annotated[
        int, typer.Option("--replicas", min=0, max=REPLICAS_MAX, help="Servers that follow the primary.")
    ] = 1,
    synchronous: Annotated[
        bool, typer.Option("--synchronous", help="A commit waits until one of them has it.")
    ] = False,
    engine: Annotated[
        Literal["wheel", "system"],
        typer.Option("--engine", help="Whose PostgreSQL: the wheel's, or an installed one."),
    ] = "wheel",
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Keep the data here; else it is gone in the end.")
    ] = None,
    trust_loopback: proxy.TrustOption = False,
    listen: proxy.ListenOption = None,
    workers: proxy.WorkersOption = None,
    replay: Annotated[
        bool,
        typer.Option("--replay/--no-replay", help="Say open transactions again when their server is lost."),
    ] = True,
    pin: Annotated[
        bool,
        typer.Option("--pin/--no-pin", help="... and have them draw the same sequence values again."),
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON on stdout when ready.")
    ] = False,
) -> None:
    """Start what is asked for, tell how to connect, stop it."""
    file = config or config_file(os.environ)
    if file is not None:
        loaded = proxy.loading(
            lambda: proxy.load(Path(file), trust_loopback=trust_loopback, listen=listen, workers=workers)
        )
        raise typer.Exit(proxy.serve(loaded, as_json=as_json))
    wanted = {
        "replicas": replicas,
        "synchronous": synchronous,
        "engine": engine,
        "directory": directory,
        "listen": tuple(listen or ()),
        "workers": workers,
        "replay": replay,
        "pin": pin,
    }
    raise typer.Exit(proxy.loading(lambda: together(wanted, as_json=as_json)))


def together(wanted: dict[str, Any], *, as_json: bool) -> int:
    """Run servers and proxy; the exit code.

    Raises:
        PolicyError: an option is wrong.
    """
    from seawall.app import build  # noqa: PLC0415 -- pydantic is slow to load

    def ready(running: Running, cluster: Cluster) -> None:
        announce(running, cluster, as_json=as_json)

    proxy.tell(f"seawall {seawall.__version__}")
    try:
        return build.run_together(build.Together(**wanted), os.environ, ready, proxy.tell)
    except KeyboardInterrupt:
        proxy.tell("stopped")
        return exits.INTERRUPTED
    except PolicyError:
        raise
    except SeawallError as error:
        proxy.give_up(error)


def announce(running: Running, cluster: Cluster, *, as_json: bool) -> None:
    """Say what runs, and how to connect."""
    from seawall.cli import connecting  # noqa: PLC0415 -- not needed before

    primary = cluster.primary.name
    roles = {node.name: "primary" if node.name == primary else "replica" for node in cluster.nodes}
    for listen in running.addresses:
        proxy.tell(f"listening  {connecting.address(listen)}")
    for node in cluster.nodes:
        proxy.tell(f"server     {node.name}  {node.host}:{node.port}  {roles[node.name]}")
    proxy.tell(f"data       {cluster.directory}")
    for line in connecting.lines(running.addresses, USER, USER):
        proxy.tell(line)
    proxy.tell("Ctrl-C stops everything")
    if as_json:
        table = connecting.as_table(running.addresses, running.worker_pids, USER, USER)
        table["directory"] = str(cluster.directory)
        table["nodes"] = [
            {"name": node.name, "host": node.host, "port": node.port, "role": roles[node.name]}
            for node in cluster.nodes
        ]
        typer.echo(json.dumps(table))
