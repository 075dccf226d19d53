import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from seawall.cli import exits, proxy_demo
from seawall.cli.proxy_demo import Interrupt
from seawall.cli.proxy_demo_report import report
from seawall.cli.proxy_demo_stage import Moment, undisturbed
from seawall.embedded.errors import ClusterError
from tests.cli.test_proxy_demo_report import facts


class PlayedStage:
    """A stage whose play takes no time."""

    ending = None

    def __init__(self, script, cluster, *, seed) -> None:
        self.script, self.cluster = script, cluster
        self.moments = [Moment(0.0, "played")]
        self.phase = "end"

    def elapsed_s(self) -> float:
        return 0.0

    async def play(self, audience) -> None:
        audience.see(self)
        if self.ending is not None:
            await self.ending()

    def report(self):
        return report(self.script.name, facts())


@pytest.fixture
def servers(monkeypatch):
    """Servers that start at once; what became of them."""
    found = SimpleNamespace(destroyed=0)

    def destroy() -> None:
        found.destroyed += 1

    cluster = SimpleNamespace(destroy=destroy)
    monkeypatch.setattr(proxy_demo, "find_engine", lambda: SimpleNamespace(release="18.0"))
    monkeypatch.setattr(proxy_demo, "Cluster", SimpleNamespace(create=lambda **options: cluster))
    monkeypatch.setattr(proxy_demo, "Stage", PlayedStage)
    return found


def play(**options) -> int:
    return proxy_demo.play(**{"fast": True, "as_json": False, "live": False, "seed": 7, **options})


def test_a_play_ends_with_a_report_and_without_servers(servers, capsys) -> None:
    assert play() == exits.OK
    told = capsys.readouterr().out
    assert told.startswith("starting PostgreSQL 18.0: a primary and 2 synchronous replicas\n")
    assert "  0.00 s  played\nstopping the PostgreSQL servers" in told
    assert "12 of 12 promises kept" in told
    assert servers.destroyed == 1


def test_json_is_alone_on_stdout(servers, capsys) -> None:
    assert play(as_json=True, fast=False, seed=5) == exits.OK
    told = capsys.readouterr()
    table = json.loads(told.out)
    assert (table["script"], table["seed"], table["kept"]) == ("full", 5, True)
    assert "played" in told.err


def test_a_broken_promise_is_exit_code_1(servers, monkeypatch) -> None:
    monkeypatch.setattr(PlayedStage, "report", lambda self: report("fast", facts(drained=False)))
    assert play() == exits.BROKEN


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_play_that_is_interrupted_leaves_no_servers(servers, monkeypatch, capsys, number) -> None:
    async def interrupted(self) -> None:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        await proxy_demo.asyncio.Event().wait()

    before = signal.getsignal(number)
    monkeypatch.setattr(PlayedStage, "ending", interrupted)
    assert play() == exits.INTERRUPTED
    assert servers.destroyed == 1
    assert "stopped" in capsys.readouterr().err
    assert signal.getsignal(number) is before


def test_an_interrupt_while_the_servers_start_is_one_too(servers, monkeypatch) -> None:
    def create(**options):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(proxy_demo, "Cluster", SimpleNamespace(create=create))
    assert play() == exits.INTERRUPTED
    assert servers.destroyed == 0


def test_servers_that_fail_in_the_middle_are_removed(servers, monkeypatch) -> None:
    async def failing(self) -> None:
        raise ClusterError("pg1", "gone")

    monkeypatch.setattr(PlayedStage, "ending", failing)
    with pytest.raises(ClusterError, match="pg1"):
        play()
    assert servers.destroyed == 1


def test_nothing_disturbs_the_cleaning_up() -> None:
    with Interrupt() as interrupt:
        interrupt.clean_up()
        os.kill(os.getpid(), signal.SIGINT)
        assert not interrupt.asked


def test_ctrl_c_waits_for_the_end_of_what_must_not_be_disturbed() -> None:
    with Interrupt() as interrupt:
        seen = []
        interrupt.cancel = lambda: seen.append("cancelled")
        with undisturbed():
            os.kill(os.getpid(), signal.SIGINT)
            seen.append("worked")
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        assert seen == ["worked", "cancelled"]


def test_ctrl_c_that_another_thread_takes_waits_as_well() -> None:
    with ThreadPoolExecutor() as pool, Interrupt() as interrupt:
        pool.submit(int).result()  # a thread that was there before the mask
        seen = []
        interrupt.cancel = lambda: seen.append("cancelled")
        with undisturbed():
            os.kill(os.getpid(), signal.SIGINT)
            pool.submit(int).result()
            seen.append("worked")
        assert seen == ["worked", "cancelled"]
