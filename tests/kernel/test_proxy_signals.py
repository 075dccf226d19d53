import dataclasses

import pytest

from seawall.kernel import proxy_signals
from seawall.kernel.proxy_signals import FailoverEnded, TopologyChanged, WorkerEnded
from seawall.kernel.signals import Hub, Signal

FACTS = [getattr(proxy_signals, name) for name in proxy_signals.__all__]
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


@pytest.mark.parametrize("kind", FACTS, ids=lambda kind: kind.__name__)
def test_facts_are_frozen_slotted_and_described(kind):
    assert issubclass(kind, Signal)
    assert kind.__doc__ is not None
    assert kind.__dataclass_params__.frozen
    assert "__slots__" in vars(kind)
    for field in dataclasses.fields(kind):
        own = field.name not in {"at", "name", "key"}
        assert (f"{field.name}: " in kind.__doc__) is own


def test_all_facts_are_promised():
    found = [value for value in vars(proxy_signals).values() if isinstance(value, type)]
    assert {one.__name__ for one in found if one.__module__ == proxy_signals.__name__} == set(
        proxy_signals.__all__
    )


def test_a_fact_can_not_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        OVER.took_s = 0.0


def test_whoever_asks_for_one_kind_gets_that_kind():
    hub = Hub()
    failovers, everything = hub.subscribe(FailoverEnded), hub.subscribe()
    ended = WorkerEnded(at=1.0, name="worker 3", number=3, status=-9)
    changed = TopologyChanged(
        at=3.0,
        name="cluster",
        old_phase="serving",
        phase="holding",
        old_primary="one",
        primary=None,
        epoch=4,
        reason="one is down",
    )
    for fact in (ended, OVER, changed):
        hub.publish(fact)
    assert failovers.take() == [OVER]
    assert everything.take() == [ended, OVER, changed]
