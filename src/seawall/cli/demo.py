"""``seawall demo``: a cluster under load behind the proxy; with ``--library``, one guard and a flaky service.

The proxy's is in ``proxy_demo``. Of the library's, this only puts the parts together: ``demo_scenario`` (what
happens), ``demo_stage`` (makes it happen), ``demo_story`` (what is remembered), ``demo_report`` (the
judgement), ``demo_view`` and ``demo_print`` (what is seen).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Annotated

import typer

from seawall.cli import exits, proxy
from seawall.cli.demo_scenario import FAST, FULL
from seawall.cli.demo_stage import Stage
from seawall.kernel.errors import PolicyError, SeawallError

command = typer.Typer(add_completion=False)


@command.command(
    help="Watch the proxy under load, in front of real PostgreSQL servers, while one of its workers and "
    "the primary are killed; with --library, a guard that deals with a failing service. Exits with 1 if a "
    "promise was broken."
)
def run(
    library: Annotated[
        bool,
        typer.Option("--library", help="One guard, and a service that hangs, crawls, fails and comes back."),
    ] = False,
    fast: Annotated[bool, typer.Option("--fast", help="A shorter play: over in less than 40 s.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON on stdout; the log goes to stderr.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Start of the random numbers.")] = 7,
) -> None:
    """Play, report, exit."""
    if library:
        raise typer.Exit(play_library(fast=fast, as_json=as_json, seed=seed))
    raise typer.Exit(proxy.loading(lambda: play_proxy(fast=fast, as_json=as_json, seed=seed)))


def play_proxy(*, fast: bool, as_json: bool, seed: int) -> int:
    """The proxy's demo; the exit code. What keeps it from starting is told."""
    from seawall.cli import proxy_demo  # noqa: PLC0415 -- brings the proxy, the servers and Rich

    try:
        return proxy_demo.play(fast=fast, as_json=as_json, live=live(as_json=as_json), seed=seed)
    except PolicyError:
        raise
    except SeawallError as error:
        proxy.give_up(error)


def play_library(*, fast: bool, as_json: bool, seed: int) -> int:
    """The library's demo; the exit code."""
    # Rich is slow to load, and --help does without it.
    from seawall.cli import demo_print, demo_view  # noqa: PLC0415

    stage = Stage(FAST if fast else FULL, seed=seed)
    log_to = sys.stderr if as_json else sys.stdout
    audience = demo_view.Screen() if live(as_json=as_json) else demo_view.Log(log_to)
    try:
        with audience:
            asyncio.run(stage.play(audience))
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        return exits.INTERRUPTED
    report = stage.report()
    if as_json:
        typer.echo(json.dumps({**report.as_table(), "seed": seed}, indent=2))
    else:
        demo_print.print_report(report, stage.scenario)
    return exits.OK if report.kept else exits.BROKEN


def live(*, as_json: bool) -> bool:
    """Whether there is a terminal that can be drawn on."""
    terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    return terminal and not as_json and sys.stdout.encoding.lower().startswith("utf")
