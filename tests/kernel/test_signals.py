import dataclasses

import pytest

from seawall.kernel import hub, signals
from seawall.kernel.signals import Signal

FACTS = [value for value in vars(signals).values() if isinstance(value, type) and issubclass(value, Signal)]


@pytest.mark.parametrize("kind", FACTS, ids=lambda kind: kind.__name__)
def test_facts_are_frozen_slotted_and_described(kind):
    assert kind.__doc__ is not None
    assert kind.__dataclass_params__.frozen
    assert "__slots__" in vars(kind)
    # A dataclass without a docstring gets its signature as one.
    assert not kind.__doc__.startswith(f"{kind.__name__}(")


def test_a_fact_can_not_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Signal(at=1.0, name="db").at = 2.0


def test_who_uses_signals_finds_the_hub_with_them():
    assert set(hub.__all__) < set(signals.__all__)
