"""``seawall explain FILE``: what a policy file's guards do, and where their settings contradict each other.

It only reads the file; no guard is built and nothing is called.
"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from seawall import Explanation, Policy, PolicyError, load_policies
from seawall.cli import exits
from seawall.kernel.errors import Problem
from seawall.resilience.explain import explain

command = typer.Typer(add_completion=False)


@command.command(help="Explain the guards of a TOML file and name settings that contradict each other.")
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A TOML file with \\[guards.NAME] tables.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Load, explain, print; the exit code says whether anything is wrong."""
    try:
        policies = load(file)
    except PolicyError as error:
        typer.echo(json.dumps(problems(error), indent=2) if as_json else str(error), err=not as_json)
        raise typer.Exit(exits.USAGE) from None
    explanations = [explain(policy, name=name) for name, policy in policies.items()]
    found = sum(len(item.contradictions) for item in explanations)
    if as_json:
        typer.echo(json.dumps([as_table(item) for item in explanations], indent=2))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        typer.echo("\n\n".join(text(item, width) for item in explanations))
        typer.secho(f"\n{summary(len(explanations), found)}", fg="red" if found else "green")
    raise typer.Exit(exits.BROKEN if found else exits.OK)


def load(file: Path) -> dict[str, Policy]:
    """The policies of a file that has some.

    Raises:
        PolicyError: the file or a value is wrong, or there is no guard: a misspelt table must not look fine.
    """
    policies = load_policies(file)
    if not policies:
        problem = Problem("guards", "nothing", "at least one table", "write [guards.NAME]")
        raise PolicyError([problem], str(file))
    return policies


def text(explanation: Explanation, width: int | None = None) -> str:
    """One guard for a person: the parts it has, then what contradicts; wrapped if there is a ``width``."""
    lines = [explanation.name, *(_wrapped(line, 2, width) for line in explanation.lines)]
    for item in explanation.contradictions:
        lines.append(_wrapped(f"! {' and '.join(item.keys)}", 2, width))
        lines.append(_wrapped(f"{item.problem};", 4, width))
        lines.append(_wrapped(item.fix, 4, width))
    return "\n".join(lines)


def _wrapped(line: str, indent: int, width: int | None) -> str:
    margin = " " * indent
    if width is None:
        return margin + line
    return textwrap.fill(line, max(width, 40), initial_indent=margin, subsequent_indent=margin + "  ")


def summary(guards: int, contradictions: int) -> str:
    """The last line."""
    return f"{_count(guards, 'guard')}, {_count(contradictions, 'contradiction')}"


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def as_table(explanation: Explanation) -> dict[str, Any]:
    """One guard for a program."""
    return {
        "guard": explanation.name,
        "order": explanation.order,
        "lines": list(explanation.lines),
        "contradictions": [
            {"keys": list(item.keys), "problem": item.problem, "fix": item.fix}
            for item in explanation.contradictions
        ],
    }


def problems(error: PolicyError) -> dict[str, Any]:
    """Every wrong key and value of a file, for a program."""
    return {
        "source": error.source,
        "problems": [
            {"key": item.key, "value": repr(item.value), "allowed": item.allowed, "fix": item.fix}
            for item in error.problems
        ],
    }
