"""Shows the demo: a live picture on a terminal, a log elsewhere, a report at the end.

It draws what it is shown and decides nothing. Every state is told by a word and a shape besides its colour.
The picture has one time axis for the whole play, and fixed places: nothing scrolls or jumps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Final, Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from seawall.cli import demo_strips as strips
from seawall.cli.demo_scenario import Phase
from seawall.cli.demo_stage import Stage
from seawall.cli.demo_story import Bucket, Kind, Moment

STATE_STYLES: Final = {"closed": "green", "ramping": "cyan", "half_open": "yellow", "open": "red"}
PHASE_STYLES: Final = {
    Phase.HEALTHY: "green",
    Phase.HANGS: "red",
    Phase.SLOW: "red",
    Phase.ERRORS: "red",
    Phase.COLD: "green",
}
STATES: Final = {
    "closed": "all calls go through",
    "open": "no call goes through",
    "half_open": "a few probes go through",
    "ramping": "some calls go through",
}
LEGEND: Final = "x open   ? half open   ▁ to █ a share or a rate"
LABEL_WIDTH: Final = 10
VALUE_WIDTH: Final = 8
BAR_WIDTH: Final = 20
WIDTH_MIN: Final = 60
WIDTH_MAX: Final = 132
FIXED_ROWS: Final = 19
"""Rows of the picture besides the timeline."""


class Log:
    """An audience that gets one line per event, for pipes and files."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def see(self, stage: Stage, fresh: Iterable[Moment]) -> None:  # noqa: ARG002 -- as any audience
        """Print what is new."""
        for moment in fresh:
            why = f": {moment.why}" if moment.why else ""
            line = f"{moment.at_s:7.3f} s  {moment.kind.value:<8} {moment.what}{why}"
            print(line, file=self._file, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.flush()


class Screen:
    """An audience at a terminal. It draws on the alternate screen, so that the shell's own is left alone."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = Console(highlight=False) if console is None else console
        self._live = Live(console=self._console, screen=True, auto_refresh=False)

    def see(self, stage: Stage, fresh: Iterable[Moment]) -> None:  # noqa: ARG002 -- as any audience
        """Draw a frame."""
        width, height = self._console.size
        self._live.update(picture(stage, width, height), refresh=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)


def picture(stage: Stage, width: int, height: int) -> Group:
    """One frame, as large as the terminal allows."""
    width = min(max(width - 1, WIDTH_MIN), WIDTH_MAX)
    elapsed_s = min(stage.elapsed_s(), stage.scenario.ends_at_s)
    lines = [
        _title(stage, elapsed_s, width),
        Text(),
        *_now(stage, elapsed_s, width),
        Text(),
        *charts(stage, elapsed_s, width),
        Text(),
        _counts(stage),
        Text(),
        *_timeline(stage, height - FIXED_ROWS, width),
    ]
    return Group(*lines)


def _title(stage: Stage, elapsed_s: float, width: int) -> Text:
    left = "seawall demo: one guard in front of a flaky service"
    right = f"{elapsed_s:4.1f} of {stage.scenario.ends_at_s:.0f} s"
    return Text(f"{left}{right:>{max(width - len(left), len(right) + 1)}}", style="bold")


def _label(name: str) -> Text:
    # The style is a span's, not the line's: what is appended must not be dimmed with it.
    return Text().append(f"{name:<{LABEL_WIDTH}}", style="dim")


def _now(stage: Stage, elapsed_s: float, width: int) -> Iterator[Text]:
    """The present: how the service is, how the breaker stands, and why."""
    phase = stage.scenario.phase_at(elapsed_s)
    yield _label("service").append(phase.value, style=PHASE_STYLES[phase])
    state, share = stage.guard.state.label, stage.guard.share
    style = STATE_STYLES[state]
    filled = round(share * BAR_WIDTH)
    line = _label("breaker").append(
        f"{f' {strips.words(state).upper()} ':^11}", style=f"bold reverse {style}"
    )
    line.append("  ").append("█" * filled, style=style).append("░" * (BAR_WIDTH - filled), style="dim")
    yield line.append(f" {share:4.0%}  {STATES[state]}")
    reason = stage.story.reason
    told = f"opened because {reason}" if reason else "has not opened yet"
    wrapped = strips.wrap(told, width - LABEL_WIDTH, rows=2)
    yield _label("why").append(wrapped[0], style="bold" if reason else "dim")
    yield _label("").append(wrapped[1], style="bold")


def charts(stage: Stage, elapsed_s: float, width: int) -> Iterator[Text]:
    """The whole play on one time axis, from left to right."""
    columns = width - LABEL_WIDTH - VALUE_WIDTH
    ends_s = stage.scenario.ends_at_s
    groups = strips.columns_of(stage.tally.buckets, columns, elapsed_s)
    last = strips.last_second(stage.tally.buckets, elapsed_s)

    def row(name: str, levels: Callable[[list[Bucket]], float], style: str, value: str) -> Text:
        line = _label(name)
        line.append(f"{''.join(strips.bar(levels(group)) for group in groups):<{columns}}", style=style)
        return line.append(f"{value:>{VALUE_WIDTH}}")

    top = stage.scenario.calls_per_s
    yield _label("phase").append_text(_phases(stage, columns))
    yield _shares(groups, columns).append(f"{stage.guard.share:>{VALUE_WIDTH}.0%}")
    p95_s = strips.p95_s(last)
    yield row(
        "P95",
        lambda g: strips.log_level(strips.p95_s(g)),
        "magenta",
        f"{p95_s * 1000:.0f} ms" if p95_s else "-",
    )
    yield row("answered", lambda g: strips.rate(g, "served") / top, "green", _per_s(last, "served"))
    yield row("fallback", lambda g: strips.rate(g, "rejected") / top, "blue", _per_s(last, "rejected"))
    yield row(
        "failed",
        lambda g: strips.rate(g, "failed", "lost") / top * 4.0,
        "red",
        _per_s(last, "failed", "lost"),
    )
    yield _label("").append(strips.axis(columns, ends_s), style="dim")
    yield _label("").append(LEGEND, style="dim")


def _per_s(group: list[Bucket], *names: str) -> str:
    return f"{strips.rate(group, *names):.0f}/s"


def _phases(stage: Stage, columns: int) -> Text:
    """How the service behaves when, in words along the axis."""
    line = Text()
    phases = stage.scenario.phases()
    ends = [start for start, _ in phases[1:]] + [stage.scenario.ends_at_s]
    for (start_s, phase), end_s in zip(phases, ends, strict=True):
        first, after = (round(at_s / stage.scenario.ends_at_s * columns) for at_s in (start_s, end_s))
        room = after - first
        line.append(f"{phase.short[: room - 1]:─<{room}}", style=PHASE_STYLES[phase])
    return line


def _shares(groups: list[list[Bucket]], columns: int) -> Text:
    """The admitted share over time, coloured by state."""
    line = _label("admitted")
    for group in groups:
        shown = max(
            (bucket for bucket in group if bucket.state), key=lambda b: strips.RANK[b.state], default=None
        )
        if shown is None:
            line.append(" ")
        else:
            glyph = strips.GLYPHS.get(shown.state) or strips.bar(shown.share)
            line.append(glyph, style=STATE_STYLES[shown.state])
    return line.append(" " * (columns - len(groups)))


def _counts(stage: Stage) -> Text:
    tally = stage.tally
    retry = stage.guard.statistics().retry
    line = Text()
    for name, number, room, style in (
        ("answered", tally.total("served"), 7, "green"),
        ("fallback", tally.total("rejected"), 7, "blue"),
        ("failed", tally.total("failed"), 6, "red"),
        ("lost", tally.total("lost"), 3, "red"),
        ("retried", 0 if retry is None else retry.retried, 5, ""),
        ("refused", 0 if retry is None else retry.out_of_budget, 4, ""),
    ):
        line.append(f"{name} ", style="dim").append(f"{number:<{room}}", style=style if number else "")
    return line


def _timeline(stage: Stage, rows: int, width: int) -> Iterator[Text]:
    """The last things that happened, newest at the bottom."""
    for moment in stage.story.moments[-max(rows, 1) :]:
        yield moment_line(moment, width)


def moment_line(moment: Moment, width: int) -> Text:
    """One line of the timeline, cut to the width."""
    style = STATE_STYLES.get(moment.new, "") if moment.kind is not Kind.SERVICE else "bold"
    line = Text(no_wrap=True).append(f"{moment.at_s:7.2f} s  ", style="dim")
    line.append(f"{moment.what:<20}", style=style)
    if moment.why:
        line.append(f"  {moment.why}")
    line.truncate(width, overflow="ellipsis")
    return line
