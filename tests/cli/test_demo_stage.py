import asyncio

import pytest

from seawall import BreakerOpen
from seawall.cli import demo_stage
from seawall.cli.demo_scenario import FAST, FULL
from seawall.cli.demo_stage import Stage, last_known
from seawall.cli.demo_story import Answer, Kind
from seawall.kernel.errors import ValidationError
from seawall.testing import VirtualClock, run
from tests.cli.conftest import Witness, played


@pytest.mark.parametrize("play", ["full", "fast"])
def test_every_promise_is_kept_on_virtual_time(play, request) -> None:
    stage, witness = request.getfixturevalue(play)
    result = stage.report()
    assert result.kept, result.promises
    assert witness.moments == stage.story.moments
    assert stage.skipped == 0


@pytest.mark.parametrize("seed", range(1, 9))
def test_they_are_kept_with_other_random_numbers(seed) -> None:
    result = played(FAST, seed)[0].report()
    assert result.kept, result.promises


def test_the_same_seed_gives_the_same_play(fast) -> None:
    assert played(FAST)[0].report() == fast[0].report()


def test_the_fault_bites_and_the_guard_keeps_it_from_most_callers(full) -> None:
    figures = full[0].report().figures
    assert figures.failed > 0
    assert figures.longest_wait_ms >= 1000.0
    assert 0 < figures.felt < 0.1 * figures.felt_of


def test_the_gated_ramp_takes_its_time(full, fast) -> None:
    slow, quick = full[0].report().figures, fast[0].report().figures
    assert slow.closed_ms > quick.closed_ms
    states = [moment.new for moment in full[0].story.moments if moment.kind is Kind.BREAKER]
    assert states[0] == "open"
    assert states[-2:] == ["ramping", "closed"]


def test_a_play_that_is_stopped_leaves_no_task_behind() -> None:
    clock = VirtualClock()
    stage = Stage(FULL, seed=1, clock=clock)

    async def stopped() -> set[asyncio.Task]:
        play = asyncio.create_task(stage.play(Witness()))
        await asyncio.sleep(5.0)
        play.cancel()
        with pytest.raises(asyncio.CancelledError):
            await play
        await asyncio.sleep(0.2)  # the guard's own probe ends by itself
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert run(stopped(), clock) == set()
    assert not stage.report().kept


def test_more_clients_than_allowed_are_counted_and_not_served(monkeypatch) -> None:
    monkeypatch.setattr(demo_stage, "CLIENTS_MAX", 1)
    stage, _ = played(FAST)
    assert stage.skipped > 0


def test_an_error_that_no_fallback_may_hide_is_a_lost_call() -> None:
    clock = VirtualClock()
    stage = Stage(FAST, seed=1, clock=clock)

    async def refuse() -> object:
        raise ValidationError("no such item")

    stage._attempt = refuse
    run(stage._client(), clock)
    assert stage.tally.total("lost") == 1
    assert not stage.report().promises[3].kept


def test_the_fallback_tells_a_rejection_from_a_failure() -> None:
    assert last_known(BreakerOpen("prices")) is Answer.REJECTED
    assert last_known(TimeoutError()) is Answer.FAILED
