"""Shows the proxy demo: a live picture on a terminal, lines elsewhere, a report at the end.

It draws what it is shown and decides nothing. Every state is told by a word besides its colour; the picture
has one time axis for the whole play, and fixed places: nothing scrolls or jumps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import TracebackType
from typing import Final, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from seawall.cli import demo_print
from seawall.cli import demo_strips as strips
from seawall.cli.proxy_demo_load import BUCKET_S, Bucket, percentile_s
from seawall.cli.proxy_demo_report import Figures, Report
from seawall.cli.proxy_demo_stage import Look, Moment, Stage

LABEL_WIDTH: Final = 10
VALUE_WIDTH: Final = 9
WIDTH_MIN: Final = 60
WIDTH_MAX: Final = 132
FIXED_ROWS: Final = 16
"""Rows of the picture besides the workers' and the timeline."""
TAIL_S: Final = 2.0
"""The time axis goes on for so long after the drain has begun."""
LATENCY_LOW_S: Final = 0.02
RECENT_S: Final = 2.0
"""What the workers' figures cover."""
LOG_EVERY_S: Final = 2.0
LEGEND: Final = "▁ to █: a rate, 20 ms to 1 s, or the share of clients cut"
SERVER_STYLES: Final = {
    "primary": "bold green",
    "replica": "cyan",
    "down": "bold reverse red",
    "zombie": "bold red",
    "unknown": "dim",
}
STATE_STYLES: Final = {"up": "green", "KILLED": "bold reverse red", "draining": "cyan", "-": "dim"}
COLUMNS: Final = (
    ("worker", 7),
    ("state", 8),
    ("clients", 7),
    ("pool", 8),
    ("waiting", 7),
    ("tx/s", 6),
    ("P50 ms", 7),
    ("P95 ms", 7),
    ("P99 ms", 7),
    ("errors", 6),
)
"""Names and widths; ``pool`` is how many server connections are in use, ``waiting`` how many clients wait."""


class Log:
    """An audience that gets lines, for pipes and files."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._told = 0
        self._next_s = LOG_EVERY_S

    def say(self, line: str) -> None:
        """A line outside of the play."""
        print(line, file=self._file, flush=True)

    def waiting(self, line: str) -> AbstractContextManager[object]:
        """A line about something that takes a moment."""
        self.say(line)
        return nullcontext()

    def see(self, stage: Stage) -> None:
        """Print what is new, and the rates now and then."""
        fresh, self._told = stage.moments[self._told :], len(stage.moments)
        for moment in fresh:
            self.say(f"{moment.at_s:6.2f} s  {moment.what}")
        elapsed_s = stage.elapsed_s()
        if stage.phase in {"load", "kill", "failover", "switchover"} and elapsed_s >= self._next_s:
            self._next_s += LOG_EVERY_S
            self.say(f"{elapsed_s:6.2f} s  {summary(stage)}")

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

    def say(self, line: str) -> None:
        """A line outside of the play."""
        self._console.print(Text(line, style="dim"))

    def waiting(self, line: str) -> AbstractContextManager[object]:
        """A line with a sign of life, while something takes a moment."""
        return self._console.status(line)

    def see(self, stage: Stage) -> None:
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


# --- one frame ----------------------------------------------------------------------------------------------


def picture(stage: Stage, width: int, height: int) -> Group:
    """One frame, as large as the terminal allows."""
    width = min(max(width - 1, WIDTH_MIN), WIDTH_MAX)
    elapsed_s = min(stage.elapsed_s(), ends_s(stage))
    lines: list[RenderableType] = [
        _title(stage, elapsed_s, width),
        Text(),
        _now(stage, width),
        _servers(stage, width),
        _failover(stage, width),
        Text(),
        workers(stage),
        Text(),
        *charts(stage, elapsed_s, width),
        Text(),
        *_timeline(stage, height - FIXED_ROWS - 2 * stage.script.workers, width),
    ]
    return Group(*lines)


def ends_s(stage: Stage) -> float:
    """Where the time axis ends."""
    return stage.script.drain_at_s + TAIL_S


def _title(stage: Stage, elapsed_s: float, width: int) -> Text:
    script = stage.script
    left = f"seawall demo: {script.clients} clients, {script.pool_size} server connections"
    right = f"{elapsed_s:4.1f} of {ends_s(stage):.0f} s"
    return Text(f"{left}{right:>{max(width - len(left), len(right) + 1)}}", style="bold")


def _label(name: str) -> Text:
    # The style is a span's, not the line's: what is appended must not be dimmed with it.
    return Text(no_wrap=True).append(f"{name:<{LABEL_WIDTH}}", style="dim")


def _now(stage: Stage, width: int) -> Text:
    what = stage.moments[-1].what if stage.moments else "starting"
    line = _label("now").append(what, style="bold red" if stage.down else "bold")
    line.truncate(width, overflow="ellipsis")
    return line


def _servers(stage: Stage, width: int) -> Text:
    """The servers, as the proxy's console shows them."""
    line = _label("servers")
    shown = [] if stage.console is None else stage.console.servers
    for number, one in enumerate(shown):
        role, state = one["role"] or "unknown", one["state"] or ""
        gone = state != "reachable"
        line.append("   " if number else "").append(f"{one['name']} ")
        line.append("DOWN" if gone else role, style=SERVER_STYLES["down" if gone else role])
        line.append(f", timeline {one['timeline']}" if role == "primary" and not gone else "", style="dim")
    return _cut(line, width)


def _failover(stage: Stage, width: int) -> Text:
    """The last change of the primary, and what became of those who had lost their server."""
    line, console = _label("failover"), stage.console
    if console is None or not console.failovers:
        return line.append("none yet", style="dim")
    last = console.failovers[0]
    line.append(f"{last['kind']}: {last['old_primary']} to {last['new_primary'] or '?'}, {last['outcome']}")
    line.append(f" {console.last_failover()}" if last["took_ms"] else "")
    if console.replays:
        line.append(f"; {console.replays_told()}", style="dim")
    return _cut(line, width)


def workers(stage: Stage) -> Table:
    """One row per worker, and one for all."""
    table = Table(box=None, header_style="dim", padding=(0, 1, 0, 0), pad_edge=False)
    for name, room in COLUMNS:
        left = name in {"worker", "state"}
        table.add_column(
            name, justify="left" if left else "right", min_width=room, max_width=room, no_wrap=True
        )
    running = bool(stage.looks)
    alive = [number for number in range(stage.script.workers) if not (stage.down and number == stage.killed)]
    for number in range(stage.script.workers):
        state = _state(stage, number, running=running)
        counts = _counts(stage, [number] if number in alive else [])
        table.add_row(str(number), Text(state, style=STATE_STYLES[state]), *counts, *_speed(stage, number))
    table.add_row("all", "", *_counts(stage, alive), *_speed(stage, None), style="bold")
    return table


def _state(stage: Stage, number: int, *, running: bool) -> str:
    if not running:
        return "-"
    if stage.draining:
        return "draining"
    return "KILLED" if stage.down and number == stage.killed else "up"


def _counts(stage: Stage, numbers: Iterable[int]) -> list[str]:
    """Clients; the use of the pool and who waits, on average of late, as the workers count them."""
    if not stage.looks:
        return ["0", "-", "0.0"]
    last = stage.looks[-1]
    clients = servers = 0
    busy = waiting = 0.0
    for number in numbers:
        now = last.rows[number]
        first = _first_of_process(stage.looks, number)
        before, lasted_us = first.rows[number], (last.at_s - first.at_s) * 1e6
        clients, servers = clients + now["clients"], servers + now["servers"]
        if lasted_us > 0.0:
            busy += (now["busy_us"] - before["busy_us"]) / lasted_us
            waiting += (now["waited_us"] - before["waited_us"]) / lasted_us
    # What a transaction took is counted when it ends, so a moment can seem to hold more than there is.
    use = f"{min(busy, servers):.1f}/{servers}" if servers else "-"
    return [str(clients), use, f"{waiting:.1f}"]


def _first_of_process(looks: Iterable[Look], number: int) -> Look:
    """The earliest look at the counters of the process that is this worker now.

    A new process names itself before it counts: for a moment its row has the counts of the one before.
    """
    backwards = iter(reversed(list(looks)))
    found = next(backwards)
    for look in backwards:
        row, later = look.rows[number], found.rows[number]
        if row["pid"] != later["pid"] or row["busy_us"] > later["busy_us"]:
            break
        found = look
    return found


def _speed(stage: Stage, worker: int | None) -> list[str]:
    """Checkouts per second and latencies of late, errors so far."""
    if stage.load is None:
        return ["-", "-", "-", "-", "0"]
    dead = stage.down and worker == stage.killed
    recent = [] if dead else _recent(stage)
    samples = [
        one
        for bucket in recent
        for number, latencies in enumerate(bucket.latencies_s)
        if worker in {None, number}
        for one in latencies
    ]
    last_second = recent[-round(1.0 / BUCKET_S) :]
    per_s = sum(bucket.done(worker) for bucket in last_second) / (max(len(last_second), 1) * BUCKET_S)
    shares = [f"{percentile_s(samples, p) * 1000:.1f}" if samples else "-" for p in (0.5, 0.95, 0.99)]
    errors = sum(
        1
        for loss in stage.load.tally.losses
        if worker in {None, loss.worker} and not _sent_home(stage, loss.at_s)
    )
    return [f"{per_s:.0f}", *shares, str(errors)]


def _sent_home(stage: Stage, at_s: float) -> bool:
    """Whether a connection ended because the proxy did."""
    return stage.drain_at_s is not None and at_s >= stage.drain_at_s


def _recent(stage: Stage) -> list[Bucket]:
    """The buckets of the last two seconds, as far as they are over."""
    if stage.load is None:
        return []
    elapsed_s = stage.elapsed_s()
    done = int(elapsed_s / BUCKET_S)
    return stage.load.tally.buckets[max(0, done - round(RECENT_S / BUCKET_S)) : done]


def charts(stage: Stage, elapsed_s: float, width: int) -> Iterator[Text]:
    """The whole play on one time axis, from left to right."""
    columns = width - LABEL_WIDTH - VALUE_WIDTH
    whole = round(ends_s(stage) / BUCKET_S)
    count = stage.script.workers
    buckets = [] if stage.load is None else stage.load.tally.buckets[:whole]
    empty = Bucket([[] for _ in range(count)], [0] * count)
    padded = buckets + [empty] * (whole - len(buckets))
    groups = strips.columns_of(padded, columns, elapsed_s, BUCKET_S)
    top = max((_rate(group, None) for group in groups), default=0.0) or 1.0
    now = _recent(stage)[-round(1.0 / BUCKET_S) :]

    def row(name: str, level: Callable[[Sequence[Bucket]], float], style: str, value: str) -> Text:
        line = _label(name)
        line.append(f"{''.join(strips.bar(level(group)) for group in groups):<{columns}}", style=style)
        return line.append(f"{value:>{VALUE_WIDTH}}")

    yield _label("phase").append_text(_phases(stage, columns))
    yield row("tx/s", partial(_share, None, top), "green", f"{_rate(now, None):.0f}/s")
    for number in range(count):
        share = partial(_share, number, top)
        yield row(f"worker {number}", share, "cyan", f"{_rate(now, number):.0f}/s")
    p95_s = max((bucket.p95_s() for bucket in now), default=0.0)
    yield row(
        "P95",
        lambda g: strips.log_level(max(bucket.p95_s() for bucket in g), LATENCY_LOW_S),
        "magenta",
        f"{p95_s * 1000:.0f} ms" if p95_s else "-",
    )
    yield row(
        "cut",
        lambda g: sum(sum(bucket.losses) for bucket in g) / stage.script.clients,
        "red",
        str(sum(sum(bucket.losses) for bucket in now)),
    )
    yield _label("").append(strips.axis(columns, ends_s(stage)), style="dim")
    yield _cut(_label("").append(LEGEND, style="dim"), width)


def _share(worker: int | None, top: float, group: Sequence[Bucket]) -> float:
    return _rate(group, worker) / top


def _rate(group: Sequence[Bucket], worker: int | None) -> float:
    """Transactions per second."""
    return sum(bucket.done(worker) for bucket in group) / (len(group) * BUCKET_S) if group else 0.0


def _phases(stage: Stage, columns: int) -> Text:
    """What happens when, in words along the axis."""
    script, line = stage.script, Text()
    marks = (
        (0.0, "load", "green"),
        (script.kill_at_s, "worker killed", "red"),
        (script.lose_at_s, "primary killed", "bold red"),
        (script.switch_at_s, "switchover", "yellow"),
        (script.drain_at_s, "drain", "cyan"),
    )
    ends = [*(at_s for at_s, _, _ in marks[1:]), ends_s(stage)]
    for (start_s, name, style), end_s in zip(marks, ends, strict=True):
        first, after = (round(at_s / ends_s(stage) * columns) for at_s in (start_s, end_s))
        line.append(f"{name[: after - first]:─<{after - first}}", style=style)
    return line


def _timeline(stage: Stage, rows: int, width: int) -> Iterator[Text]:
    """The last things that happened, newest at the bottom."""
    for moment in stage.moments[-max(rows, 1) :]:
        yield moment_line(moment, width)


def moment_line(moment: Moment, width: int) -> Text:
    """One line of the timeline, cut to the width."""
    return _cut(Text(no_wrap=True).append(f"{moment.at_s:6.2f} s  ", style="dim").append(moment.what), width)


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line


def summary(stage: Stage) -> str:
    """The present in one line."""
    per_s, p50, p95, p99, errors = _speed(stage, None)
    clients, pool, waiting = _counts(stage, range(stage.script.workers))
    return (
        f"{per_s} tx/s, P50 {p50} P95 {p95} P99 {p99} ms, {clients} clients, {pool} servers in use, "
        f"{waiting} waiting, {errors} errors"
    )


# --- the report ---------------------------------------------------------------------------------------------


def print_report(report: Report, console: Console | None = None) -> None:
    """Print figures, promises and the verdict."""
    console = Console(highlight=False) if console is None else console
    console.print(Text("What happened", style="bold"))
    console.print(demo_print.table(figure_rows(report.figures)))
    console.print()
    kept = sum(promise.kept for promise in report.promises)
    style = "bold green" if report.kept else "bold red"
    console.print(Text(f"{kept} of {len(report.promises)} promises kept", style=style))
    console.print(demo_print.promises(report.promises))


def figure_rows(figures: Figures) -> Iterable[tuple[str, str]]:
    """The figures as sentences."""
    yield (
        "checkouts",
        f"{figures.transactions:,} of {figures.clients} clients, {figures.per_s:,.0f} per second",
    )
    shares = f"P50 {figures.p50_ms:.1f}, P95 {figures.p95_ms:.1f}, P99 {figures.p99_ms:.1f}"
    yield "latency", f"{shares}, longest {figures.longest_ms:.0f} ms"
    yield "worker killed", "none" if figures.killed_worker is None else f"worker {figures.killed_worker}"
    yield "clients cut", f"{figures.clients_hit} by the kill, {_unexpected(figures)} else"
    yield "COMMIT under way", f"{figures.unknown} when a client was cut; {figures.unknown_done} had been done"
    yield "new process ready", _after(figures.ready_ms)
    yield "worker back", f"{_after(figures.back_ms)} (first checkout through it)"
    yield "all clients back", _after(figures.all_back_ms)
    yield "others meanwhile", f"P99 {figures.survivor_p99_ms:.1f} ms"
    yield "primary killed", f"{figures.killed_primary or 'none'}, {_pause(figures.failover_pause_ms)}"
    yield "said again", f"{figures.replayed} open transactions, to the new primary"
    yield "back as a replica", _after(figures.rejoined_ms)
    yield "switchover", f"from {figures.replaced_primary or 'none'}, {_pause(figures.switchover_pause_ms)}"
    yield "graceful end", _after(figures.drain_ms)


def _unexpected(figures: Figures) -> str:
    told = ", ".join(f"{number} with {sqlstate}" for sqlstate, number in sorted(figures.unexpected.items()))
    return told or "nobody"


def _pause(pause_ms: float | None) -> str:
    return "nothing went on" if pause_ms is None else f"no checkout for {pause_ms / 1000.0:.2f} s"


def _after(after_ms: float | None) -> str:
    return "never" if after_ms is None else f"after {after_ms / 1000.0:.2f} s"
