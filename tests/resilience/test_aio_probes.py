"""Active probes on asyncio: what they find opens the breaker, what becomes of them does not."""

import asyncio
from collections.abc import Callable

import pytest

from seawall import (
    Breaker,
    State,
    deadline,
)
from seawall.resilience import aio, threads
from seawall.resilience.guard import Guard
from tests.resilience.world import (
    START_S,
    Flaky,
    World,
    cancelled,
    hang,
    runs,
)


async def stalled(db: Guard, until: Callable[[], object]) -> None:
    """Let calls hang until that has led to something."""
    tasks = []
    for _ in range(100):
        if until():
            break
        tasks.append(asyncio.create_task(db.acall(hang)))
        await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


WATCHFUL = Breaker(p95="2s", stall_after="150ms")


@pytest.mark.parametrize("answer", ["False", "raises", "hangs"])
def test_a_stall_is_probed_and_a_failed_probe_opens(answer: str) -> None:
    world = World()
    asked: list[float | None] = []

    async def probe() -> bool:
        asked.append(deadline.remaining(world.clock.monotonic()))
        if answer == "raises":
            raise ConnectionError
        if answer == "hangs":
            await hang()
        return False

    db = world.guard(breaker=WATCHFUL, probe=probe, deadline="1h")

    async def main() -> None:
        with deadline.scope(START_S + 3600.0):
            await stalled(db, lambda: db.state is State.OPEN)

    world.run(main())
    assert asked == [None], "once, and not under the deadline of the call that was suspicious"
    assert db.state is State.OPEN
    assert db.breaker.evidence.rule == "probe"
    assert world.elapsed_s < 0.5


@runs
async def test_a_probe_that_succeeds_refutes_the_suspicion(world: World) -> None:
    asked: list[int] = []

    async def probe() -> None:
        asked.append(1)

    db = world.guard(breaker=WATCHFUL, probe=probe)
    await stalled(db, lambda: asked)
    assert asked
    assert db.state is State.CLOSED


@runs
async def test_a_probe_that_is_cancelled_with_its_loop_has_found_nothing(world: World) -> None:
    db = world.guard(breaker=WATCHFUL, probe=hang)
    await stalled(db, lambda: aio._tasks)
    (task,) = aio._tasks

    await cancelled(task)

    assert db.state is State.CLOSED
    assert not aio._tasks


def test_a_sync_probe_runs_on_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    started: list[object] = []
    monkeypatch.setattr(threads, "start_probe", lambda *args: started.append(args))

    def probe() -> bool:
        return True

    db = world.guard(breaker=WATCHFUL, probe=probe)
    world.run(stalled(db, lambda: started))
    assert started == [(db.breaker, probe, world.clock.monotonic)]


@runs
async def test_a_key_and_a_guard_without_breaker_have_nothing_to_probe(world: World) -> None:
    assert await world.guard(probe=hang).at("a").acall(Flaky(0).later) == "done"
    assert await world.guard(probe=hang, breaker=None).acall(Flaky(0).later) == "done"
    assert not aio._tasks
