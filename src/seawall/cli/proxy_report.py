"""The report of ``seawall proxy check``: a table for people, JSON for programs."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from seawall.app.config import Loaded
from seawall.proxy.check import Finding, Judged, Report, Verdict

STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILED: "bold red"}
PLAIN_WIDTH = 500
"""Of lines that no terminal shows: a file has no right edge."""


def print_report(report: Report, loaded: Loaded, console: Console | None = None) -> None:
    """Print what was found, server by server, and the verdict."""
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    console = Console(highlight=False, width=width) if console is None else console
    console.print(Text(f"{loaded.source}: the file is right", style="bold"))
    for line in loaded.notices:
        console.print(Text(f"  note: {line}", style="dim"))
    for line in loaded.warnings:
        console.print(Text(f"  warning: {line}", style=STYLES[Verdict.WARNING]))
    for judged in report.backends:
        console.print()
        console.print(Text(f"{judged.backend.name}  {_where(judged)}", style="bold"))
        console.print(_table(judged.findings))
    if report.together:
        console.print()
        console.print(Text("all together", style="bold"))
        console.print(_table(report.together))
    console.print()
    style = STYLES[Verdict.OK if report.ok else Verdict.FAILED]
    console.print(Text(summary(report), style=style))


def summary(report: Report) -> str:
    """The last line."""
    failed = [judged.backend.name for judged in report.backends if judged.verdict is Verdict.FAILED]
    count = len(report.backends)
    servers = f"{count} server{'' if count == 1 else 's'}"
    if failed:
        return f"{servers}, {len(failed)} failed: {', '.join(failed)}"
    return f"{servers}, all right" if report.ok else f"{servers}, each right, but not together"


def as_table(report: Report, loaded: Loaded) -> dict[str, Any]:
    """The report for a program."""
    return {
        "source": loaded.source,
        "ok": report.ok,
        "notices": list(loaded.notices),
        "warnings": list(loaded.warnings),
        "backends": [
            {
                "name": judged.backend.name,
                "host": judged.backend.host,
                "port": judged.backend.port,
                "role": judged.backend.role.value,
                "verdict": judged.verdict.value,
                "findings": [_row(finding) for finding in judged.findings],
            }
            for judged in report.backends
        ],
        "together": [_row(finding) for finding in report.together],
    }


def _row(finding: Finding) -> dict[str, str]:
    return {"check": finding.check, "verdict": finding.verdict.value, "text": finding.text}


def _where(judged: Judged) -> str:
    return f"{judged.backend.host}:{judged.backend.port}"


def _table(findings: tuple[Finding, ...]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for finding in findings:
        verdict = Text(finding.verdict.value, style=STYLES[finding.verdict])
        table.add_row(verdict, finding.check, Text(finding.text))
    return table
