"""Tables of ``seawall telemetry``, for people; JSON is made elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from seawall.app.telemetry_files.estimate import Estimate, Load
from seawall.app.telemetry_files.naming import Exposed

PLAIN_WIDTH = 500
"""Of lines that no terminal shows: a file has no right edge."""

_POWERS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def print_metrics(rows: Iterable[Exposed], console: Console | None = None) -> None:
    """Print the catalogue."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("metric", "type", "labels", "meaning"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "meaning")
    for row in rows:
        table.add_row(Text(row.name), row.type, Text(", ".join(row.labels)), Text(row.help))
    _console(console).print(table)


def print_estimate(load: Load, found: Estimate, console: Console | None = None) -> None:
    """Print what a load costs."""
    console = _console(console)
    console.print(
        Text(
            f"{load.requests_per_second:,.10g} requests/s, {load.spans_per_request:,.10g} spans each, "
            f"{size(load.span_bytes)} per span",
            style="bold",
        )
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("")
    for heading in ("per second", "bytes/s", "bytes/day"):
        table.add_column(heading, justify="right")
    for name, count, rate, day in (
        (
            "traces, all of them",
            f"{found.spans_per_second:,.10g} spans",
            found.trace_bytes_per_second,
            found.trace_bytes_per_day,
        ),
        (
            f"traces, {found.kept_share:.3%} kept",
            f"{found.kept_spans_per_second:,.6g} spans",
            found.kept_bytes_per_second,
            found.kept_bytes_per_day,
        ),
        (
            f"metrics, {load.series:,.10g} series",
            f"{found.samples_per_second:,.6g} samples",
            found.scrape_bytes / load.scrape_interval_s,
            found.metric_bytes_per_day,
        ),
        (
            "logs",
            f"{found.log_lines_per_second:,.6g} lines",
            found.log_bytes_per_second,
            found.log_bytes_per_day,
        ),
    ):
        table.add_row(name, count, size(rate), size(day))
    console.print(table)
    console.print(
        Text(
            f"Tracing takes {found.cpu_share:.2%} of a core, at {load.span_us:g} us per span"
            f" and {load.export_us:g} us more per span that is kept."
        )
    )


def size(count: float) -> str:
    """Bytes as people write them, with three digits: ``2.59 TB``."""
    for power, letter in _POWERS:
        # What would be rounded up to 1000 of a unit is 1 of the next.
        if count >= power * 0.9995:
            return f"{count / power:.3g} {letter}B"
    return f"{count:.3g} B"


def _console(console: Console | None) -> Console:
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    return Console(highlight=False, width=width) if console is None else console
