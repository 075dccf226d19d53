"""What the conductor publishes says what its own records say."""

import asyncio

import pytest

from seawall.kernel.proxy_signals import FailoverEnded, TopologyChanged
from seawall.proxy.failover import news
from seawall.proxy.failover.history import Failover
from seawall.proxy.topology import Phase
from tests.proxy.failover.conducting import conducted
from tests.proxy.failover.test_history import HOLDING, SERVING, SERVING_TWO


def test_a_change_has_both_sides():
    assert news.changed(SERVING, HOLDING, 12.5) == TopologyChanged(
        at=12.5,
        name="cluster",
        old_phase="serving",
        phase="holding",
        old_primary="one",
        primary=None,
        epoch=1,
        reason="holding None",
    )
    assert news.changed(HOLDING, SERVING_TWO, 13.0).primary == "two"


def entry(**changes):
    told = {
        "at": 1e6,
        "began": 10.0,
        "old_primary": "one",
        "held": 10.5,
        "resumed": 12.0,
        "new_primary": "two",
    }
    return Failover(**{**told, **changes})


def test_an_end_has_its_times():
    found = news.ended(entry(ours=True, replays=4, reason="one is down"))
    assert found == FailoverEnded(
        at=12.0,
        name="cluster",
        kind="unplanned",
        outcome="done",
        old_primary="one",
        new_primary="two",
        took_s=2.0,
        held_s=1.5,
        replays=4,
        reason="one is down",
    )


@pytest.mark.parametrize(
    ("changes", "took_s", "held_s"),
    [({"held": 0.0}, 2.0, 0.0), ({"began": 12.5}, 0.0, 1.5), ({"held": 12.5}, 2.0, 0.0)],
)
def test_no_time_is_negative(changes, took_s, held_s):
    found = news.ended(entry(**changes))
    assert (found.took_s, found.held_s) == (took_s, held_s)


@pytest.mark.parametrize(
    ("changes", "kind", "outcome"),
    [
        ({"planned": True}, "planned", "done"),
        ({"planned": True, "given_up": True, "new_primary": "one"}, "planned", "given up"),
        ({"new_primary": "one"}, "restart", "done"),
        ({}, "observed", "done"),
    ],
)
def test_an_end_says_what_it_was(changes, kind, outcome):
    found = news.ended(entry(**changes))
    assert (found.kind, found.outcome) == (kind, outcome)


def test_a_conductor_tells_each_failover_once(monkeypatch):
    async def scenario(it):
        heard = it.conductor._hub.subscribe()
        for old in ("one", "two"):
            it.servers.kill(old)
            await it.until(lambda one: one.phase is Phase.SERVING and one.primary != old)  # noqa: B023
            await asyncio.sleep(5)
        told = heard.take()
        ends = [one for one in told if isinstance(one, FailoverEnded)]
        assert [(one.kind, one.outcome, one.old_primary) for one in ends] == [
            ("unplanned", "done", "one"),
            ("unplanned", "done", ends[0].new_primary),
        ]
        assert all(one.took_s >= one.held_s > 0 for one in ends)
        changes = [one for one in told if isinstance(one, TopologyChanged)]
        assert [one.epoch for one in changes] == sorted(one.epoch for one in changes)
        assert {one.phase for one in changes} >= {"holding", "serving"}

    conducted(monkeypatch, scenario)
