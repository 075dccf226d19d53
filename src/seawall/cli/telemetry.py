"""``seawall telemetry``: what there is to scrape, what it costs, and the files of other programs about it.

It reads options and prints. The catalogue is ``seawall.telemetry.catalogue``; the arithmetic and the texts
are ``seawall.app.telemetry_files``. None of it needs the extra "telemetry".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from seawall.cli import exits
from seawall.kernel.errors import PolicyError, Problem

if TYPE_CHECKING:
    from seawall.app.telemetry_files import Naming

T = TypeVar("T")

command = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Metrics, what they cost, and files about them."
)

NamespaceOption = Annotated[
    str, typer.Option("--namespace", metavar="NAME", help="Prefix of every metric; empty for none.")
]
NumberingOption = Annotated[
    str,
    typer.Option(
        "--state-numbering", metavar="KIND", help="How a breaker's state is a number: seawall or helios."
    ),
]
OutOption = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Where the files are: deploy, if left out.")
]
CheckOption = Annotated[
    bool, typer.Option("--check", help="Write nothing; exit with 1 if a file is missing or another one.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@command.command("metrics", help="List every metric that there is to scrape.")
def metrics(*, namespace: NamespaceOption = "seawall", as_json: JsonOption = False) -> None:
    """Print the catalogue."""
    from seawall.telemetry.catalogue import EXPOSED  # noqa: PLC0415 -- help needs none of it

    naming = _naming(namespace, "seawall", as_json=as_json)
    rows = sorted((naming.exposed(metric) for metric in EXPOSED), key=lambda row: row.name)
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        from seawall.cli import telemetry_report  # noqa: PLC0415 -- Rich is slow to load

        telemetry_report.print_metrics(rows)


@command.command(
    "estimate", help="Reckon what the telemetry of a load costs: traces, metrics, logs, a share of a core."
)
def estimate(
    *,
    requests_per_second: Annotated[float, typer.Option(metavar="N", help="Requests.")] = 5_000.0,
    spans_per_request: Annotated[float, typer.Option(metavar="N", help="Spans of each.")] = 6.0,
    span_bytes: Annotated[float, typer.Option(metavar="N", help="Size of a span.")] = 1_000.0,
    ratio: Annotated[float, typer.Option(metavar="SHARE", help="Share of traces kept anyway.")] = 0.10,
    error_ratio: Annotated[float, typer.Option(metavar="SHARE", help="Share of requests that fail.")] = 0.001,
    slow_ratio: Annotated[float, typer.Option(metavar="SHARE", help="Share that is slow.")] = 0.001,
    series: Annotated[float, typer.Option(metavar="N", help="Series of metrics.")] = 1_000.0,
    scrape_interval: Annotated[float, typer.Option(metavar="SECONDS", help="Between two scrapes.")] = 15.0,
    log_lines_per_request: Annotated[float, typer.Option(metavar="N", help="Log lines of each.")] = 0.1,
    log_line_bytes: Annotated[float, typer.Option(metavar="N", help="Size of a log line.")] = 500.0,
    span_us: Annotated[
        float, typer.Option(metavar="N", help="Microseconds of a core per span; take your own measurement.")
    ] = 1.0,
    export_us: Annotated[
        float, typer.Option(metavar="N", help="Microseconds of a core per span that is exported.")
    ] = 3.0,
    results: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A benchmark's record, for the microseconds per span."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Reckon, print."""
    from seawall.app.telemetry_files.estimate import Load  # noqa: PLC0415 -- help needs none of it
    from seawall.app.telemetry_files.estimate import estimate as reckon  # noqa: PLC0415

    if results is not None:
        span_us = _made(lambda: _measured(results), as_json=as_json)
    load = _made(
        lambda: Load(
            requests_per_second=requests_per_second,
            spans_per_request=spans_per_request,
            span_bytes=span_bytes,
            ratio=ratio,
            error_ratio=error_ratio,
            slow_ratio=slow_ratio,
            series=series,
            scrape_interval_s=scrape_interval,
            log_lines_per_request=log_lines_per_request,
            log_line_bytes=log_line_bytes,
            span_us=span_us,
            export_us=export_us,
        ),
        as_json=as_json,
    )
    found = reckon(load)
    if as_json:
        typer.echo(json.dumps({"load": asdict(load), "estimate": asdict(found)}, indent=2))
    else:
        from seawall.cli import telemetry_report  # noqa: PLC0415 -- Rich is slow to load

        telemetry_report.print_estimate(load, found)


@command.command("dashboards", help="Write Grafana's dashboards, made from the metrics that there are.")
def dashboards(
    *,
    namespace: NamespaceOption = "seawall",
    state_numbering: NumberingOption = "seawall",
    out: OutOption = Path("deploy"),
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make, then write or compare."""
    from seawall.app.telemetry_files import dashboard_files  # noqa: PLC0415 -- help needs none of it

    naming = _naming(namespace, state_numbering, as_json=as_json)
    _deliver(dashboard_files(naming), out, check=check, as_json=as_json)


@command.command("rules", help="Write Prometheus' alert rules, and the tests that promtool runs of them.")
def rules(
    *,
    namespace: NamespaceOption = "seawall",
    state_numbering: NumberingOption = "seawall",
    out: OutOption = Path("deploy"),
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make, then write or compare."""
    from seawall.app.telemetry_files import rule_files  # noqa: PLC0415 -- help needs none of it

    naming = _naming(namespace, state_numbering, as_json=as_json)
    _deliver(rule_files(naming), out, check=check, as_json=as_json)


def _measured(results: Path) -> float:
    from seawall.app.telemetry_files.estimate import measured_span_us  # noqa: PLC0415 -- as above

    try:
        record = json.loads(results.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problem = Problem("results", str(results), "a file of JSON that can be read", str(error))
        raise PolicyError([problem], "estimate") from None
    return measured_span_us(record if isinstance(record, dict) else {})


def _naming(namespace: str, state_numbering: Any, *, as_json: bool) -> Naming:  # noqa: ANN401 -- checked there
    from seawall.app.telemetry_files import Naming  # noqa: PLC0415 -- as above

    return _made(lambda: Naming(namespace=namespace, state_numbering=state_numbering), as_json=as_json)


def _made(make: Callable[[], T], *, as_json: bool) -> T:
    try:
        return make()
    except PolicyError as error:
        from seawall.cli.explain import problems  # noqa: PLC0415 -- loads the library

        typer.echo(json.dumps(problems(error), indent=2) if as_json else str(error), err=not as_json)
        raise typer.Exit(exits.USAGE) from None


def _deliver(files: Mapping[str, str], out: Path, *, check: bool, as_json: bool) -> None:
    states = {}
    try:
        for name, text in files.items():
            states[name] = _compared(out / name, text)
            if not check and states[name] != "same":
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                (out / name).write_text(text, encoding="utf-8")
                states[name] = "written"
    except OSError as error:
        typer.secho(f"{error.filename}: {error.strerror}", fg="red", err=True)
        raise typer.Exit(exits.BROKEN) from None
    if as_json:
        rows = [{"path": str(out / name), "state": state} for name, state in states.items()]
        typer.echo(json.dumps(rows, indent=2))
    else:
        for name, state in states.items():
            typer.echo(f"{state:10}{out / name}")
    wrong = check and any(state != "same" for state in states.values())
    raise typer.Exit(exits.BROKEN if wrong else exits.OK)


def _compared(path: Path, text: str) -> str:
    try:
        return "same" if path.read_bytes() == text.encode() else "different"
    except FileNotFoundError:
        return "missing"
