import io

import pytest
from rich.console import Console

from seawall.cli import demo_view
from seawall.cli.demo_scenario import FULL
from seawall.cli.demo_stage import Stage
from seawall.cli.demo_story import Kind, Moment
from seawall.testing import VirtualClock, run

SIZES = [(80, 24), (120, 40), (200, 60), (40, 10)]


def drawn(stage: Stage, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=max(width, demo_view.WIDTH_MIN + 1), highlight=False)
    with console.capture() as captured:
        console.print(demo_view.picture(stage, width, height))
    return captured.get().splitlines()


class Photographer:
    """Takes every frame in every size."""

    def __init__(self) -> None:
        self.frames: dict[tuple[int, int], list[list[str]]] = {size: [] for size in SIZES}
        self.seen = 0

    def see(self, stage: Stage, fresh) -> None:
        self.seen += 1
        if self.seen % 12 == 1:
            for size, frames in self.frames.items():
                frames.append(drawn(stage, *size))


@pytest.fixture(scope="module")
def frames() -> dict[tuple[int, int], list[list[str]]]:
    clock = VirtualClock()
    stage, photographer = Stage(FULL, seed=7, clock=clock), Photographer()
    run(stage.play(photographer), clock)
    return photographer.frames


@pytest.mark.parametrize("size", SIZES[:3])
def test_every_frame_fits_the_terminal(frames, size) -> None:
    width, height = size
    for frame in frames[size]:
        assert len(frame) <= height
        assert max(len(line) for line in frame) < width


@pytest.mark.parametrize("size", SIZES[:3])
def test_nothing_jumps(frames, size) -> None:
    labels = [[line[: demo_view.LABEL_WIDTH] for line in frame[:15]] for frame in frames[size]]
    assert all(frame == labels[0] for frame in labels)


def test_the_picture_tells_state_and_reason_in_words(frames) -> None:
    last = "\n".join(frames[80, 24][-1])
    assert "CLOSED" in last
    assert "opened because" in last
    assert "repaired" in last
    everything = "\n".join(line for frame in frames[80, 24] for line in frame)
    for word in ("OPEN", "HALF OPEN", "RAMPING", "has not opened yet", "half open -> ramping"):
        assert word in everything


def test_a_line_of_the_timeline_is_cut_to_the_width() -> None:
    moment = Moment(4.2, Kind.BREAKER, "closed -> open", "because " * 30, "closed", "open")
    line = demo_view.moment_line(moment, 60)
    assert line.cell_len <= 60
    assert line.plain.endswith("…")


def test_the_log_has_a_line_per_moment(fast) -> None:
    file = io.StringIO()
    with demo_view.Log(file) as log:
        log.see(fast[0], fast[0].story.moments)
    lines = file.getvalue().splitlines()
    assert len(lines) == len(fast[0].story.moments)
    assert lines[0].endswith("service  healthy")
    assert any("breaker  closed -> open: calls were left unanswered" in line for line in lines)


def test_the_screen_is_left_as_it_was(fast) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, height=24, highlight=False, _environ={})
    with demo_view.Screen(console) as screen:
        screen.see(fast[0], [])
    text = file.getvalue()
    assert "\x1b[?1049h" in text
    assert text.rindex("\x1b[?1049l") > text.index("\x1b[?1049h")
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
