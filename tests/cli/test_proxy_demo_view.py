import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from seawall.cli import proxy_demo_console
from seawall.cli import proxy_demo_view as view
from seawall.cli.proxy_demo_report import report
from seawall.cli.proxy_demo_stage import FAST, FULL, Look, Moment, Stage
from tests.cli.test_proxy_demo_report import facts, loss

SIZES = [(80, 24), (100, 30), (120, 40), (60, 20)]


def look(at_s: float, *, pid: int = 11, busy_us: int = 0, waited_us: int = 0, clients: int = 16) -> Look:
    row = {
        "pid": pid,
        "clients": clients,
        "servers": 4,
        "busy_us": busy_us,
        "waited_us": waited_us,
    }
    return Look(at_s, [row, {**row, "pid": 12}])


def staged(*, script=FULL, elapsed_s: float = 5.0, losses=()) -> Stage:
    """A stage in the middle of its play."""
    stage = Stage(script, SimpleNamespace(), seed=1)
    stage.load = facts(*losses).load
    stage.load.began_at = 100.0 - elapsed_s
    stage.phase = "load"
    stage.moments = [Moment(0.0, f"moment {number} " + "word " * 40) for number in range(60)]
    stage.looks.extend([look(elapsed_s - 1.0), look(elapsed_s, busy_us=2_500_000, waited_us=1_500_000)])
    return stage


def drawn(stage: Stage, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, highlight=False, force_terminal=False)
    console.print(view.picture(stage, width, height))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize(("width", "height"), SIZES[:3])
@pytest.mark.parametrize("elapsed_s", [0.0, 5.0, 22.5, 40.0])
def test_a_frame_fills_the_terminal_and_no_more(width, height, elapsed_s) -> None:
    lines = drawn(staged(elapsed_s=elapsed_s), width, height)
    assert len(lines) == height
    assert max(map(len, lines)) < width
    assert lines[-1].startswith("  0.00 s  moment 59 word")


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_before_the_play_there_is_a_picture_too(width, height) -> None:
    stage = Stage(FAST, SimpleNamespace(), seed=1)
    lines = drawn(stage, width, height)
    assert "starting" in lines[2]
    assert len(lines) <= height


def test_the_workers_use_of_the_pool_is_an_average_of_their_own_counters() -> None:
    lines = drawn(staged(), 80, 24)
    assert lines[7].split()[:5] == ["0", "up", "16", "2.5/4", "1.5"]
    assert lines[9].split()[:4] == ["all", "32", "5.0/8", "3.0"]


def test_a_killed_worker_is_told_by_a_word_and_no_figure_of_its_own() -> None:
    stage = staged()
    stage.killed, stage.down = 1, True
    lines = drawn(stage, 80, 24)
    assert lines[8].split()[:-1] == ["1", "KILLED", "0", "-", "0.0", "0", "-", "-", "-"]
    assert lines[9].split()[:2] == ["all", "16"]


def test_servers_and_the_last_change_of_the_primary_are_told() -> None:
    stage = staged()
    assert drawn(stage, 80, 24)[3:5] == ["servers", "failover  none yet"]
    stage.console = proxy_demo_console.Console("127.0.0.1", 1)
    stage.console.servers = [
        {"name": "pg1", "role": "replica", "state": "down", "timeline": None},
        {"name": "pg2", "role": "primary", "state": "reachable", "timeline": "2"},
        {"name": "pg3", "role": "replica", "state": "reachable", "timeline": "2"},
    ]
    failover = {"kind": "unplanned", "old_primary": "pg1", "new_primary": "pg2", "outcome": "done"}
    stage.console.failovers = [{**failover, "took_ms": "578"}]
    stage.console.replays = [{"way": "replay", "outcome": "done"}]
    assert drawn(stage, 100, 30)[3:5] == [
        "servers   pg1 DOWN   pg2 primary, timeline 2   pg3 replica",
        "failover  unplanned: pg1 to pg2, done after 0.58 s; 1 said again",
    ]


def test_a_new_process_is_measured_from_its_own_beginning() -> None:
    stage = staged()
    stage.looks.append(look(6.0, pid=99, busy_us=7))
    assert drawn(stage, 80, 24)[7].split()[2:4] == ["16", "0.0/4"]
    stage.looks.append(look(7.0, pid=99, busy_us=2_000_007))
    assert drawn(stage, 80, 24)[7].split()[2:4] == ["16", "2.0/4"]


def test_counts_that_a_new_process_has_not_overwritten_yet_are_not_its_own() -> None:
    stage = staged()
    stage.looks.append(look(6.0, pid=99, busy_us=2_500_000, waited_us=1_500_000))
    stage.looks.append(look(6.1, pid=99, busy_us=0))
    stage.looks.append(look(7.1, pid=99, busy_us=1_000_000, waited_us=500_000))
    assert drawn(stage, 80, 24)[7].split()[2:5] == ["16", "1.0/4", "0.5"]


def test_who_is_sent_home_is_no_error() -> None:
    stage = staged(losses=[loss(8.5, 0), loss(2.0, 0)])
    assert drawn(stage, 80, 24)[7].split()[-1] == "3"
    stage.draining, stage.drain_at_s = True, 8.0
    lines = drawn(stage, 80, 24)
    assert lines[7].split()[-1] == "1"
    assert "draining" in lines[7]


def test_a_log_tells_each_moment_once_and_the_rates_now_and_then() -> None:
    stage, file = staged(), io.StringIO()
    stage.moments = [Moment(0.5, "it begins")]
    log = view.Log(file)
    with log:
        with log.waiting("please wait"):
            log.see(stage)
            log.see(stage)
        stage.moments.append(Moment(4.0, "it goes on"))
        log.see(stage)
        log.see(stage)
    lines = file.getvalue().splitlines()
    assert lines[:2] == ["please wait", "  0.50 s  it begins"]
    assert lines.count("  4.00 s  it goes on") == 1
    assert sum("tx/s" in line for line in lines) == 2
    assert "32 clients, 5.0/8 servers in use, 3.0 waiting" in lines[2]


def test_a_screen_draws_on_the_alternate_one_and_gives_it_back() -> None:
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True, highlight=False)
    screen = view.Screen(console)
    screen.say("before")
    with screen.waiting("starting"), console.capture():
        pass
    with screen:
        screen.see(staged())
    text = console.file.getvalue()
    assert text.index("before") < text.index("\x1b[?1049h") < text.rindex("\x1b[?1049l")


def printed(judged) -> str:
    file = io.StringIO()
    view.print_report(judged, Console(file=file, width=80, highlight=False))
    return file.getvalue()


def test_the_report_fits_a_small_terminal() -> None:
    text = printed(report("fast", facts()))
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert len(text.splitlines()) == 29
    assert "12 of 12 promises kept" in text
    assert "BROKEN" not in text


def test_a_broken_promise_is_told_with_what_happened() -> None:
    text = printed(report("fast", facts(loss(1.0, 0), audit=None, ready_s=None)))
    assert "7 of 9 promises kept" in text
    assert "BROKEN" in text
    assert "1 with 08006 else" in text
    assert "never" in text
