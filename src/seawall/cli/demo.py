"""``seawall demo``: plays a scenario in real time and shows what one guard makes of it.

It only puts the parts together: ``demo_scenario`` (what happens), ``demo_stage`` (makes it happen),
``demo_story`` (what is remembered), ``demo_report`` (the judgement), ``demo_view`` and ``demo_print``
(what is seen).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Annotated

import typer

from seawall.cli import exits
from seawall.cli.demo_scenario import FAST, FULL
from seawall.cli.demo_stage import Stage

command = typer.Typer(add_completion=False)


@command.command(
    help="Watch a guard deal with a service that hangs, crawls, fails and comes back with a cold cache. "
    "Exits with 1 if a promise was broken."
)
def run(
    fast: Annotated[
        bool,
        typer.Option(
            "--fast", help=f"{FAST.ends_at_s:.0f} s instead of {FULL.ends_at_s:.0f}, with a fixed ramp."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON on stdout; the log goes to stderr.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Start of the random numbers.")] = 7,
) -> None:
    """Play, report, exit."""
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
        raise typer.Exit(exits.INTERRUPTED) from None
    report = stage.report()
    if as_json:
        typer.echo(json.dumps({**report.as_table(), "seed": seed}, indent=2))
    else:
        demo_print.print_report(report, stage.scenario)
    raise typer.Exit(exits.OK if report.kept else exits.BROKEN)


def live(*, as_json: bool) -> bool:
    """Whether there is a terminal that can be drawn on."""
    terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    return terminal and not as_json and sys.stdout.encoding.lower().startswith("utf")
