"""Active probes on threads: what they find opens the breaker, and a hanging one costs one thread."""

import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from seawall import (
    Breaker,
    BreakerOpen,
    State,
)
from seawall.resilience import threads
from seawall.resilience.guard import Guard
from tests.resilience.world import World

JOIN_S = 10.0


class Timers:
    """In place of real timers: they ring when the test says so."""

    def __init__(self) -> None:
        self.made: list[Timers.Timer] = []

    class Timer:
        daemon = False

        def __init__(self, seconds: float, ring: Callable[[], None]) -> None:
            self.seconds, self.ring, self.cancelled, self.started = seconds, ring, False, False

        def start(self) -> None:
            self.started = True

        def cancel(self) -> None:
            self.cancelled = True

    def __call__(self, seconds: float, ring: Callable[[], None]) -> Timer:
        self.made.append(self.Timer(seconds, ring))
        return self.made[-1]


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    timers = Timers()
    monkeypatch.setattr(threads.threading, "Timer", timers)
    return timers


def stalled(world: World, probe: Callable[[], object], until: Callable[[], object]) -> Guard:
    """A guard whose calls hang, until that has led to something."""
    db = world.guard(breaker=Breaker(p95="2s", stall_after="150ms"), probe=probe)
    hanging = []
    for _ in range(100):
        if until():
            return db
        with suppress(BreakerOpen):  # the probe on its thread may be quicker than we are
            hanging.append(db.acquire())
        world.clock.advance(0.01)
    raise AssertionError("a second of hanging calls aroused no suspicion")


def probe_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "seawall-probe-db"]


def until_probed(db: Guard) -> None:
    for thread in probe_threads():
        thread.join(JOIN_S)
    assert not probe_threads()


@pytest.mark.parametrize("answer", [False, ConnectionError()])
def test_a_stall_is_probed_and_a_failed_probe_opens(answer: object, timers: Timers) -> None:
    world = World()
    asked: list[str] = []

    def probe() -> object:
        asked.append(threading.current_thread().name)
        if isinstance(answer, Exception):
            raise answer
        return answer

    db = stalled(world, probe, lambda: timers.made)
    until_probed(db)

    assert asked == ["seawall-probe-db"]
    assert db.state is State.OPEN
    assert db.breaker.evidence.rule == "probe"
    assert world.elapsed_s < 0.5


def test_a_probe_that_succeeds_refutes_the_suspicion(timers: Timers) -> None:
    world = World()
    db = stalled(world, lambda: None, lambda: timers.made)
    until_probed(db)

    assert db.state is State.CLOSED
    assert [timer.cancelled for timer in timers.made] == [True]
    timers.made[0].ring()
    assert db.state is State.CLOSED, "whoever answers second is not heard"


def test_a_probe_that_hangs_is_an_answer_and_costs_one_thread(timers: Timers) -> None:
    world = World()
    go_on = threading.Event()
    db = stalled(world, lambda: go_on.wait(JOIN_S), lambda: timers.made)
    assert db.state is State.CLOSED

    timers.made[0].ring()
    assert db.state is State.OPEN

    for _ in range(5):
        db.reset()
        threads.start_probe(db.breaker, lambda: True, world.clock.monotonic)
        assert db.state is State.OPEN, "the last probe hangs still"
    assert len(probe_threads()) == 1
    go_on.set()
    until_probed(db)


def test_without_a_thread_to_be_had_nothing_is_believed(
    timers: Timers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads.threading.Thread, "start", refuse)
    db = stalled(World(), lambda: False, lambda: timers.made)

    assert db.state is State.CLOSED
    assert timers.made[0].cancelled
    assert id(db.breaker) not in threads._probes


def test_an_async_probe_is_left_to_async_calls(timers: Timers) -> None:
    world = World()

    async def probe() -> bool:
        return False

    with pytest.raises(AssertionError, match="aroused no suspicion"):
        stalled(world, probe, lambda: timers.made)


def test_a_key_and_a_guard_without_breaker_have_nothing_to_probe(timers: Timers) -> None:
    world = World()

    assert world.guard(probe=lambda: False).at("a").call(int) == 0
    assert world.guard(probe=lambda: False, breaker=None).call(int) == 0
    assert timers.made == []
