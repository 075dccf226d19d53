"""Semantics: the known traps of circuit breaking as executable cases, Seawall beside the rivals.

``python -m benchmarks.semantics [--quick] [--json]``. The cases are defined in ``benchmarks.conformance``;
the same ones run against Seawall in ``tests/conformance``. Every cell is a run, not an opinion: pass, fail,
or not applicable because the library has no such feature, each with one line of evidence.
"""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from benchmarks import harness
from benchmarks.conformance.cases import CASES
from benchmarks.conformance.seawall_subject import Seawall
from benchmarks.conformance.subject import Subject, Verdict
from benchmarks.harness import Figure, Run

MARKS = {"pass": "[green]pass[/]", "fail": "[red]FAIL[/]", "n/a": "[dim]n/a[/]"}

Matrix = dict[str, dict[str, Verdict]]


def run_all(kinds: tuple[type[Subject], ...], run: Run) -> Matrix:
    """Run every case against every library."""
    matrix: Matrix = {}
    for case in CASES:
        matrix[case.key] = {}
        for kind in kinds:
            try:
                found = case.run(kind)
            except Exception as error:
                found = Verdict("fail", f"{type(error).__name__}: {error}")
            matrix[case.key][kind.name] = found
        run.say(f"{case.key}: " + ", ".join(f"{name} {one.status}" for name, one in matrix[case.key].items()))
    return matrix


def body(run: Run) -> None:
    """Fill the matrix and turn it into one figure per case and a count."""
    try:
        from benchmarks.conformance.rivals import RIVALS
    except ImportError as error:
        raise harness.CouldNotRunError(
            f"a rival is missing ({error}); run: pip install --group bench"
        ) from error
    kinds: tuple[type[Subject], ...] = (Seawall, *RIVALS)
    matrix = run_all(kinds, run)
    for key, row in matrix.items():
        ours = row[Seawall.name]
        run.add(
            Figure(
                figure=key,
                value=int(ours.status == "pass"),
                unit="passed",
                op=">=",
                target=1,
                rivals={name: one.status for name, one in row.items() if name != Seawall.name},
                note=ours.evidence,
            )
        )
    passed = {kind.name: sum(row[kind.name].status == "pass" for row in matrix.values()) for kind in kinds}
    run.add(
        Figure(
            figure="cases passed",
            value=passed[Seawall.name],
            unit=f"of {len(matrix)}",
            op=">=",
            target=len(matrix),
            rivals={name: number for name, number in passed.items() if name != Seawall.name},
        )
    )
    run.details = {
        "matrix": {
            key: {name: {"status": one.status, "evidence": one.evidence} for name, one in row.items()}
            for key, row in matrix.items()
        }
    }


def show(run: Run, console: Console) -> None:
    """Print the matrix, then every failure and omission with its evidence."""
    matrix = run.details["matrix"]
    if not isinstance(matrix, dict):
        raise TypeError(f"details.matrix: {type(matrix).__name__}; body() stores a dict")
    names = list(next(iter(matrix.values())))
    table = Table(title="semantics: what must hold", title_justify="left")
    table.add_column("case")
    table.add_column("what must hold")
    for name in names:
        table.add_column(name, justify="center")
    for case in CASES:
        row = matrix[case.key]
        table.add_row(case.key, case.must, *(MARKS[row[name]["status"]] for name in names))
    console.print(table)
    evidence = Table(title="evidence", title_justify="left")
    for title in ("case", "library", "result", "seen"):
        evidence.add_column(title, overflow="fold")
    for key, row in matrix.items():
        for name in names:
            one = row[name]
            evidence.add_row(key, name, MARKS[one["status"]], one["evidence"])
        evidence.add_section()
    console.print(evidence)


def main() -> int:
    """Run the benchmark as a command."""
    return harness.main("semantics", __doc__.split("\n")[0], body, show=show)


if __name__ == "__main__":
    sys.exit(main())
