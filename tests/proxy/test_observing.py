"""An observer that fails is forgiven a few times and then left alone; the sweeper goes on."""

from seawall.proxy.observing import ERRORS_MAX, Watcher
from seawall.proxy.sweep import Sweeper
from seawall.proxy.watching import Watch
from seawall.wire.pgwire import messages
from tests.proxy.test_client_relay import World


class Failing:
    """Fails when told to."""

    def __init__(self) -> None:
        self.fails = True
        self.seen: list[float] = []

    def swept(self, now: float) -> None:
        self.seen.append(now)
        if self.fails:
            raise RuntimeError("hunter2")


def test_nobody_looks_on_at_first() -> None:
    assert Watcher().sweep(1.0) is False


def test_one_that_works_is_called_at_every_sweep() -> None:
    observer = Failing()
    observer.fails = False
    watcher = Watcher(observer)
    assert [watcher.sweep(now) for now in (1.0, 2.0)] == [True, True]
    assert (observer.seen, watcher.errors) == ([1.0, 2.0], 0)


def test_one_that_fails_is_left_alone_and_queries_go_on() -> None:
    world = World(servers=1, clients=1)
    observer = Failing()
    world.worker.watcher, world.worker.watch = Watcher(observer), Watch(slow_s=0.0, limit=8)
    sweeper = Sweeper(world.worker)
    server = world.ends[0].server
    server.born_at = server.used_at = world.worker.clock()
    for _ in range(ERRORS_MAX + 5):
        sweeper.sweep(world.worker.clock())
        world.say(0, messages.query("bad"))
    assert len(observer.seen) == ERRORS_MAX
    assert world.worker.watcher.observer is None
    assert (world.worker.watch.facts, world.worker.watch.limit) == ([], 0)
    (note,) = world.worker.notes
    assert "RuntimeError" in note
    assert "hunter2" not in note
    assert len(world.heard(0)) == 2 * (ERRORS_MAX + 5)
