"""What the proxy publishes is counted, written down and passed on, each whatever becomes of the others."""

import asyncio
import logging

import pytest

from seawall.app.observation.news import News
from seawall.kernel.proxy_signals import FailoverEnded, WorkerEnded
from seawall.kernel.signals import Hub

ENDED = WorkerEnded(at=1.0, name="worker 0", number=0, status=-9)
OVER = FailoverEnded(
    at=2.0,
    name="cluster",
    kind="unplanned",
    outcome="done",
    old_primary="one",
    new_primary="two",
    took_s=1.25,
    held_s=1.0,
    replays=3,
    reason="one is down",
)
LINE = "unplanned failover of one to two: done in 1.250 s, clients waited 1.000 s"


class Counted:
    """In the place of gauges."""

    def __init__(self, *, broken=False):
        self.seen = []
        self.broken = broken

    def note(self, signal):
        self.seen.append(signal)
        if self.broken:
            raise RuntimeError


def listening(*published, gauges, also):
    """Have signals published in a loop; the news that heard them, and whether before it was closed."""

    async def run():
        hub = Hub()
        news = News(hub, gauges, also)
        for signal in published:
            hub.publish(signal)
        assert gauges.seen == []  # not in the publisher's step
        await asyncio.sleep(0)
        heard = len(gauges.seen)
        hub.publish(ENDED)
        news.close()
        assert len(gauges.seen) == heard + 1  # at once: there may be no later turn
        hub.publish(ENDED)
        await asyncio.sleep(0)
        return news, heard

    return asyncio.run(run())


def test_what_is_published_is_told_a_turn_later_and_the_rest_in_the_end(caplog):
    gauges, also = Counted(), []
    with caplog.at_level(logging.INFO, "seawall.proxy"):
        news, heard = listening(ENDED, OVER, gauges=gauges, also=also.append)
    assert heard == 2
    assert gauges.seen == also == [ENDED, OVER, ENDED]
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [("WARNING", LINE)]
    assert news.errors == 0


@pytest.mark.parametrize("broken", [True, False])
def test_one_that_raises_is_counted_and_the_others_are_told(caplog, broken):
    gauges, also = Counted(broken=broken), []

    def raising(signal):
        also.append(signal)
        raise ValueError

    with caplog.at_level(logging.INFO, "seawall.proxy"):
        news, _ = listening(OVER, gauges=gauges, also=raising)
    assert gauges.seen == also == [OVER, ENDED]
    assert [one.getMessage() for one in caplog.records] == [LINE]
    assert news.errors == (4 if broken else 2)
