"""``seawall cluster``: a real PostgreSQL cluster to try things on, and to break.

Each verb is one call of ``seawall.embedded``; here is only what people type and see. The servers go on when
a verb is done, until ``seawall cluster down``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from seawall.cli import exits
from seawall.embedded import Cluster, Engine, Node, NodeStatus, Rejoin, find_engine
from seawall.embedded.places import default_directory, holds_cluster
from seawall.embedded.status import lsn_bytes
from seawall.kernel.errors import PolicyError, Problem, SeawallError, UnitError, UsageError

PRIMARY: Final = "primary"
"""Stands for the node that accepts writes, wherever a node's name is asked for."""

REPLICAS: Final = 2

command = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Start a real PostgreSQL cluster on this machine, look at it, break it, mend it.",
)

Directory = Annotated[
    Path | None,
    typer.Option("--dir", help="Where the cluster lives; seawall-UID/cluster in /var/tmp if left out."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
NodeName = Annotated[str, typer.Argument(metavar="NODE", help="A node's name, or 'primary'.")]
MaybeNodeName = Annotated[str | None, typer.Argument(metavar="NODE", help="A node's name.")]


@command.command(
    help="Make the cluster if there is none, and have every node run. It stays up afterwards. "
    "Whoever can log in to this machine can use it: there are no passwords."
)
def up(
    replicas: Annotated[
        int | None, typer.Option("--replicas", help=f"How many follow the primary; {REPLICAS} if left out.")
    ] = None,
    synchronous: Annotated[
        bool | None,
        typer.Option("--synchronous/--asynchronous", help="Whether a commit waits until one replica has it."),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option("--engine", help="wheel or system, with a version if it matters: wheel:16, system:15."),
    ] = None,
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Create or start, then show."""
    with _told(as_json=as_json):
        home = directory or default_directory()
        chosen = None if engine is None else parse_engine(engine)
        returned: list[Rejoin] = []
        if holds_cluster(home):
            cluster = Cluster.open(home)
            _agree(cluster, replicas, synchronous, chosen)
            returned = cluster.start()
        else:
            cluster = Cluster.create(
                home,
                replicas=REPLICAS if replicas is None else replicas,
                synchronous=bool(synchronous),
                engine=chosen,
            )
        _show(cluster, as_json=as_json, returned=returned)


def parse_engine(text: str) -> Engine:
    """The engine that ``KIND`` or ``KIND:VERSION`` names.

    Raises:
        PolicyError: It names none.
        EngineNotFound: It isn't installed.
    """
    kind, colon, version = text.partition(":")
    if colon and not (version.isascii() and version.isdigit() and len(version) <= 4):
        raise PolicyError(
            [Problem("--engine", text, "KIND or KIND:VERSION", "write wheel:18")], "command line"
        )
    return find_engine(kind, int(version) if colon else 0)


def _agree(cluster: Cluster, replicas: int | None, synchronous: bool | None, engine: Engine | None) -> None:
    """What is asked for must be what is there: only a new cluster can be made to order."""
    have = len(cluster.nodes) - 1
    fix = "leave the option out, or remove the cluster with 'seawall cluster down --remove' first"
    problems = []
    if replicas is not None and replicas != have:
        problems.append(Problem("--replicas", replicas, f"{have}, as in {cluster.directory}", fix))
    if synchronous is not None and synchronous != cluster.synchronous:
        problems.append(Problem("--synchronous", synchronous, f"{cluster.synchronous}, as it was made", fix))
    if engine is not None and (engine.kind, engine.version) != (cluster.engine.kind, cluster.engine.version):
        there = f"{cluster.engine.kind}:{cluster.engine.version}, as it was made"
        problems.append(Problem("--engine", f"{engine.kind}:{engine.version}", there, fix))
    if problems:
        raise PolicyError(problems, str(cluster.directory))


@command.command(
    help="Show every node, and how to connect. Exits with 1 unless all run and one accepts writes."
)
def status(directory: Directory = None, as_json: AsJson = False) -> None:
    """Look and print."""
    with _told(as_json=as_json):
        _show(_open(directory), as_json=as_json)


@command.command(help="Kill all processes of a node at once, with SIGKILL.")
def kill(node: NodeName = PRIMARY, directory: Directory = None, as_json: AsJson = False) -> None:
    """One ``Node.kill``."""
    with _told(as_json=as_json):
        victim = _pick(_open(directory), node)
        count = victim.kill()
        _say(as_json, {"node": victim.name, "killed": count}, f"killed {victim.name}: {count} processes")


@command.command(help="Have all processes of a node stand still (SIGSTOP): it hangs, and no socket closes.")
def pause(node: NodeName = PRIMARY, directory: Directory = None, as_json: AsJson = False) -> None:
    """One ``Node.pause``."""
    with _told(as_json=as_json):
        victim = _pick(_open(directory), node)
        count = len(victim.pause())
        _say(as_json, {"node": victim.name, "paused": count}, f"paused {victim.name}: {count} processes")


@command.command(help="Let a paused node go on; every paused one if none is named.")
def resume(node: MaybeNodeName = None, directory: Directory = None, as_json: AsJson = False) -> None:
    """``Node.resume`` of one or all."""
    with _told(as_json=as_json):
        cluster = _open(directory)
        chosen = [one for one in cluster.nodes if one.is_paused] if node is None else [cluster.node(node)]
        names = [one.name for one in chosen if one.resume()]
        _say(as_json, {"resumed": names}, f"resumed {', '.join(names) or 'nothing: no node is paused'}")


@command.command(
    help="Make a replica the primary: the most advanced one if none is named. "
    "A primary that still runs is stopped first."
)
def promote(
    node: MaybeNodeName = None,
    leave_old: Annotated[
        bool,
        typer.Option("--leave-old", help="Don't stop the present primary: two nodes will accept writes."),
    ] = False,
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """One ``Cluster.promote``."""
    with _told(as_json=as_json):
        cluster = _open(directory)
        done = cluster.promote(node or most_advanced(cluster.status()), stop_old=not leave_old)
        lines = [f"{done.name} is the primary, on timeline {done.timeline}"]
        lines += [f"{old} is stopped: 'seawall cluster rejoin {old}' brings it back" for old in done.stopped]
        if done.stranded:
            lines.append(f"ahead of it, to be rejoined: {', '.join(done.stranded)}")
        _say(as_json, asdict(done), "\n".join(lines))


def most_advanced(nodes: list[NodeStatus]) -> str:
    """The replica that has replayed most.

    Raises:
        UsageError: None answers.
    """
    replicas = [one for one in nodes if one.in_recovery and one.lsn]
    if not replicas:
        raise UsageError("no replica answers that could be promoted: see 'seawall cluster status'")
    return max(replicas, key=lambda one: lsn_bytes(one.lsn or "0/0")).name


@command.command(
    help="Bring a node back as a replica of the present primary; every node that doesn't follow it "
    "if none is named. What only that node has is undone."
)
def rejoin(node: MaybeNodeName = None, directory: Directory = None, as_json: AsJson = False) -> None:
    """``Cluster.rejoin`` of one or all."""
    with _told(as_json=as_json):
        cluster = _open(directory)
        names = [node] if node is not None else outsiders(cluster.status())
        done = [cluster.rejoin(name) for name in names]
        text = "\n".join(_came_back(one) for one in done) or "every node follows the primary"
        _say(as_json, [asdict(one) for one in done], text)


def outsiders(nodes: list[NodeStatus]) -> list[str]:
    """Nodes that are neither the primary nor streamed to."""
    return [one.name for one in nodes if not (one.sync_state or leads(one))]


def leads(one: NodeStatus) -> bool:
    """Whether a node is the one that accepts writes."""
    return one.role == PRIMARY and one.in_recovery is False


def _came_back(done: Rejoin) -> str:
    how = {"started": "by a start", "rewound": "by pg_rewind", "copied": "by a fresh base backup"}[
        done.method
    ]
    return f"{done.name} follows the primary again, {how} ({done.duration_s:.1f} s)"


@command.command(help="Stop the cluster; its data stays unless --remove is given.")
def down(
    remove: Annotated[bool, typer.Option("--remove", help="Remove the data as well.")] = False,
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Stop or destroy."""
    with _told(as_json=as_json):
        cluster = _open(directory)
        if remove:
            cluster.destroy()
        else:
            cluster.stop()
        table = {"directory": str(cluster.directory), "removed": remove}
        _say(as_json, table, f"{'removed' if remove else 'stopped'} the cluster in {cluster.directory}")


# --- what they share ----------------------------------------------------------------------------------------


def _open(directory: Path | None) -> Cluster:
    home = directory or default_directory()
    if not holds_cluster(home):
        raise UsageError(f"there is no cluster in {home}: make one with 'seawall cluster up'")
    return Cluster.open(home)


def _pick(cluster: Cluster, name: str) -> Node:
    return cluster.primary if name == PRIMARY else cluster.node(name)


@contextmanager
def _told(*, as_json: bool) -> Iterator[None]:
    """Turn what is raised inside into a message and an exit code."""
    try:
        yield
    except SeawallError as error:
        typer.echo(json.dumps({"error": str(error)}) if as_json else str(error), err=not as_json)
        usage = isinstance(error, PolicyError | UnitError | UsageError)
        raise typer.Exit(exits.USAGE if usage else exits.BROKEN) from None
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        raise typer.Exit(exits.INTERRUPTED) from None


def _say(as_json: bool, table: object, text: str) -> None:
    typer.echo(json.dumps(table, indent=2) if as_json else text)


def _show(cluster: Cluster, *, as_json: bool, returned: list[Rejoin] | None = None) -> None:
    nodes = cluster.status()
    if as_json:
        typer.echo(json.dumps(as_table(cluster, nodes), indent=2))
    else:
        for one in returned or []:
            typer.echo(_came_back(one))
        _print(cluster, nodes)
    raise typer.Exit(exits.OK if healthy(nodes) else exits.BROKEN)


def healthy(nodes: list[NodeStatus]) -> bool:
    """Whether one node accepts writes and all others follow it."""
    writable = [one for one in nodes if one.in_recovery is False]
    return len(writable) == 1 and not outsiders(nodes)


def as_table(cluster: Cluster, nodes: list[NodeStatus]) -> dict[str, Any]:
    """The cluster for a program."""
    return {
        "directory": str(cluster.directory),
        "engine": {"kind": cluster.engine.kind, "release": cluster.engine.release},
        "synchronous": cluster.synchronous,
        "healthy": healthy(nodes),
        "dsn": cluster.dsn(),
        "nodes": [{**asdict(one), "dsn": cluster.node(one.name).dsn()} for one in nodes],
    }


def _shown(value: object) -> str:
    return "" if value is None else str(value)


def state(one: NodeStatus) -> str:
    """What a node is doing, in a word."""
    if not one.running:
        return "down"
    if one.paused:
        return "paused"
    return "silent" if one.in_recovery is None else "up"


COLUMNS: Final[dict[str, Callable[[NodeStatus], str]]] = {
    "node": lambda one: one.name,
    "role": lambda one: one.role,
    "state": state,
    "port": lambda one: str(one.port),
    "pid": lambda one: _shown(one.pid),
    "timeline": lambda one: _shown(one.timeline),
    "lsn": lambda one: _shown(one.lsn),
    "lag": lambda one: "" if one.lag_bytes is None else f"{one.lag_bytes} B",
    "sync": lambda one: _shown(one.sync_state),
}


def _print(cluster: Cluster, nodes: list[NodeStatus]) -> None:
    # Rich is slow to load, and everything else here does without it.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=f"PostgreSQL {cluster.engine.release} in {cluster.directory}", title_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in {"port", "pid", "timeline", "lag"} else "left")
    for one in nodes:
        alarming = one.role == "zombie" or state(one) != "up"
        table.add_row(*(show(one) for show in COLUMNS.values()), style="red" if alarming else None)
    Console().print(table)
    for one in nodes:
        if leads(one):
            typer.echo(f"psql: {cluster.engine.binary('psql')} '{cluster.node(one.name).dsn()}'")
    typer.echo(f"DSN:  '{cluster.dsn()}'")
