"""The ``seawall`` program: finds the verb, loads its file, passes the exit code on.

It does no work of its own but ``--version``. A verb's file is imported when the verb is called or listed, so
that ``seawall --version`` loads neither Rich nor asyncio.
"""

from __future__ import annotations

import importlib
import platform
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

import seawall
from seawall.cli import exits

VERBS: Final = {
    "cluster": "seawall.cli.cluster",
    "demo": "seawall.cli.demo",
    "explain": "seawall.cli.explain",
    "proxy": "seawall.cli.proxy",
    "telemetry": "seawall.cli.telemetry",
    "up": "seawall.cli.up",
}
"""Where each verb lives; its module has a ``command``, which is a Typer application of one command."""

COMPILED_SUFFIXES: Final = (".so", ".pyd")

EXIT_CODES: Final = (
    "Exit codes: 0 all is well; 1 a promise is broken (the demo's, or settings contradict each other, or "
    "files differ); 2 the command line or a configuration file is wrong; 130 stopped with Ctrl-C."
)


class Verbs(TyperGroup):
    """The verbs as a group that imports each on demand."""

    # Typer carried click inside from some release on: the types of these two methods have no stable home.

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 -- click's context
        """All verbs, in reading order."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002 -- click's command
        """The verb, or ``None`` if there is no such verb."""
        home = VERBS.get(cmd_name)
        if home is None:
            return None
        command = typer.main.get_command(importlib.import_module(home).command)
        command.name = cmd_name
        return command


app = typer.Typer(
    name="seawall",
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def build() -> str:
    """``compiled`` if the breaker is machine code, else ``pure``."""
    # Looked up as a file, because importing the package around it would load the event loop.
    spec = PathFinder.find_spec("breaker", [str(Path(seawall.__file__).parent / "resilience")])
    origin = "" if spec is None or spec.origin is None else spec.origin
    return "compiled" if origin.endswith(COMPILED_SUFFIXES) else "pure"


def version() -> str:
    """Version, build and interpreter, on one line."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"seawall {seawall.__version__} ({build()}, {python}, {platform.system()} {platform.machine()})"


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version())
        raise typer.Exit(exits.OK)


@app.callback(help=f"Keep a Python platform up while its parts fail.\n\n{EXIT_CODES}")
def options(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Print version, build (compiled or pure) and interpreter.",
        ),
    ] = False,
) -> None:
    """Options that stand before the verb; ``--version`` has done its work by now."""
    assert not show_version


def main() -> None:
    """Run the program; ends the process."""
    app(prog_name="seawall")
