"""A recording holds what was published within its block."""

import pytest

from seawall import guard, signals
from seawall.testing import force, record_signals, recording
from seawall.testing.recording import RecordedSignals


def changed(name: str = "db") -> signals.BreakerChanged:
    return signals.BreakerChanged(at=1.0, name=name, old="closed", new="open", reason="errors")


def test_signals_are_there_as_soon_as_they_were_published() -> None:
    hub = signals.Hub()

    with record_signals(hub=hub) as recorded:
        hub.publish(changed("a"))
        assert [signal.name for signal in recorded] == ["a"]
        hub.publish(changed("b"))

    hub.publish(changed("c"))
    assert [signal.name for signal in recorded] == ["a", "b"]
    assert not hub.active


def test_only_the_named_types_are_recorded() -> None:
    hub = signals.Hub()

    with record_signals(signals.RampMoved, hub=hub) as recorded:
        hub.publish(changed())
        hub.publish(signals.RampMoved(at=1.0, name="db", old=0.1, share=0.2))

    assert [type(signal) for signal in recorded] == [signals.RampMoved]


def test_one_kind_can_be_picked() -> None:
    hub = signals.Hub()

    with record_signals(hub=hub) as recorded:
        hub.publish(changed())
        hub.publish(signals.RateRefused(at=1.0, name="db"))

    assert [signal.new for signal in recorded.of(signals.BreakerChanged)] == ["open"]
    assert len(recorded.of(signals.CallRefused)) == 1, "subclasses count"


def test_the_default_is_the_hub_of_guards() -> None:
    with record_signals() as recorded, force(guard("db"), "open"):
        assert len(recorded.of(signals.BreakerForced)) == 1


def test_what_does_not_fit_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "SIGNALS_MAX", 2)
    hub = signals.Hub()

    with record_signals(hub=hub) as recorded:
        for name in "abcde":
            hub.publish(changed(name))

    assert [signal.name for signal in recorded] == ["a", "b"]
    assert recorded.dropped == 3
    assert RecordedSignals().dropped == 0
