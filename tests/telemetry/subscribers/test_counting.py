"""Signals and counts: whatever comes, the cells say what a model says."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.kernel.signals import (
    BreakerChanged,
    BreakerForced,
    BreakerRefused,
    BreakerReleased,
    BulkheadRefused,
    CallRefused,
    DeadlineExpired,
    EvictedKey,
    FallbackUsed,
    Hub,
    PolicyReloaded,
    RampMoved,
    RateRefused,
    RetryRefused,
    RetryScheduled,
    Signal,
)
from seawall.telemetry.catalogue.resilience import BREAKER_STATES, RESILIENCE
from seawall.telemetry.metrics import Registry
from seawall.telemetry.subscribers import counting as module
from seawall.telemetry.subscribers import observe
from seawall.telemetry.subscribers.counting import Counting
from seawall.telemetry.subscribers.standing import NUMBERS
from tests.telemetry.subscribers.watching import Lines


class Flooded(CallRefused):
    """A kind of refusal that Seawall doesn't know."""

    __slots__ = ()


def kinds(**more):
    common = {
        "at": st.integers(0, 100).map(float),
        "name": st.sampled_from(["a", "b"]),
        "key": st.sampled_from(["", "", "k", "l"]),
        **more,
    }
    return lambda kind, **own: st.builds(kind, **common, **own)


of = kinds()
states = st.sampled_from(BREAKER_STATES)
SIGNALS = st.one_of(
    of(BreakerChanged, old=states, new=states, reason=st.just("errors")),
    of(BreakerForced, mode=st.just("open"), owner=st.just("al"), reason=st.just("x"), until=st.just(9.0)),
    of(BreakerReleased, mode=st.just("open")),
    of(BreakerRefused),
    of(BulkheadRefused, in_flight=st.just(1), waiting=st.just(2)),
    of(RateRefused),
    of(CallRefused),
    of(Flooded),
    of(RampMoved, old=st.just(0.0), share=st.sampled_from([0.1, 0.5])),
    of(RetryScheduled, attempt=st.just(2), delay_s=st.just(0.1)),
    of(RetryRefused, attempt=st.just(2), reason=st.sampled_from(["budget", "attempts"])),
    of(DeadlineExpired, timeout_s=st.just(1.0), stage=st.sampled_from(["attempt", "in the queue"])),
    of(FallbackUsed, error=st.sampled_from(["OSError", "ValueError"])),
    of(PolicyReloaded, changes=st.just(())),
    of(EvictedKey, limit=st.just(5)),
    of(Signal),
)

BY = {
    BreakerRefused: "breaker",
    BulkheadRefused: "bulkhead",
    RateRefused: "rate",
    CallRefused: "other",
    Flooded: "other",
}


class Model:
    """What the cells have to say, by plain means."""

    def __init__(self):
        self.counts = Counter()
        self.durations = Counter()
        self.lengths = Counter()
        self.gauges = {}
        self.opened = {}

    def take(self, signal):
        self.take_breakers(signal, signal.name, not signal.key)
        self.take_calls(signal, signal.name)

    def take_breakers(self, signal, name, whole):
        match signal:
            case BreakerChanged(new=new):
                self.counts["circuit_breaker_transitions", name, new] += 1
                place = (name, signal.key)
                if new == "open":
                    self.opened.setdefault(place, signal.at)
                elif new == "closed" and place in self.opened:
                    self.durations[name] += 1
                    self.lengths[name] += max(signal.at - self.opened.pop(place), 0.0)
                if whole:
                    self.gauges["circuit_breaker_state", name] = NUMBERS[new]
                    if new != "ramping":
                        self.gauges["circuit_breaker_ramp_share", name] = float(new == "closed")
            case BreakerForced() if whole:
                self.gauges["circuit_breaker_forced", name] = 1
            case BreakerReleased() if whole:
                self.gauges["circuit_breaker_forced", name] = 0
            case RampMoved(share=share) if whole:
                self.gauges["circuit_breaker_ramp_share", name] = share
            case EvictedKey():
                self.opened.pop((name, signal.key), None)

    def take_calls(self, signal, name):
        match signal:
            case CallRefused():
                self.counts["guard_calls_refused", name, BY[type(signal)]] += 1
            case RetryScheduled():
                self.counts["guard_retries", name] += 1
            case RetryRefused(reason=reason):
                self.counts["guard_retries_refused", name, reason] += 1
            case DeadlineExpired(stage=stage):
                self.counts["guard_deadlines_expired", name, stage] += 1
            case FallbackUsed(error=error):
                self.counts["guard_fallbacks", name, error] += 1
            case PolicyReloaded():
                self.counts["guard_policy_reloads", name] += 1
            case EvictedKey():
                self.counts["guard_keys_evicted", name] += 1


def cells(registry, *names):
    """Values by metric and labels, of counters or gauges."""
    return {
        (family.metric.name, *values): cell.value
        for family in registry.families()
        if family.metric.kind.value in names
        for values, cell in family.cells.items()
    }


@given(st.lists(SIGNALS, max_size=60))
def test_any_sequence_of_signals_is_counted_as_by_a_model(signals):
    registry, hub, model = Registry(), Hub(), Model()
    with observe(hub, registry=registry, logger=None):
        for signal in signals:
            hub.publish(signal)
            model.take(signal)
    counted = cells(registry, "counter")
    for own in ("signals_published", "signals_dropped"):
        counted.pop((own,), None)
    assert counted == model.counts
    assert cells(registry, "gauge") == model.gauges
    histogram = registry.declare(next(row for row in RESILIENCE if row.kind.value == "histogram"))
    assert {name: (cell.count, cell.sum) for (name,), cell in histogram.cells.items()} == {
        name: (count, model.lengths[name]) for name, count in model.durations.items()
    }


def test_the_state_is_a_number_and_a_name():
    registry = Registry()
    counting = Counting(registry)
    state = registry.declare(next(row for row in RESILIENCE if row.name == "circuit_breaker_state"))
    named = registry.declare(next(row for row in RESILIENCE if row.name == "circuit_breaker_in_state"))
    for new, number in (("open", 2), ("half_open", 1), ("ramping", 1), ("closed", 0)):
        counting.count(BreakerChanged(at=1.0, name="a", old="x", new=new, reason=""))
        assert state.cell("a").value == number
        assert named.cell("a").states[named.cell("a").state] == new


def test_a_state_that_is_none_changes_no_gauge():
    registry = Registry()
    Counting(registry).count(BreakerChanged(at=1.0, name="a", old="x", new="ajar", reason=""))
    assert ("circuit_breaker_state", "a") not in cells(registry, "gauge")


def test_openings_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "OPENINGS_MAX", 3)
    registry = Registry()
    counting = Counting(registry)
    for key in "abcde":
        counting.count(BreakerChanged(at=0.0, name="n", key=key, old="closed", new="open", reason=""))
    for key in "abcde":
        counting.count(BreakerChanged(at=1.0, name="n", key=key, old="open", new="closed", reason=""))
    assert counting.forgotten == 2
    assert registry.declare(_row("circuit_breaker_open_duration")).cell("n").count == 3


def test_a_key_is_in_no_label():
    registry, hub = Registry(), Hub()
    with observe(hub, registry=registry, logger=None):
        for number in range(50):
            for kind in (BreakerRefused, EvictedKey, BreakerChanged):
                more = {EvictedKey: {"limit": 1}, BreakerChanged: {"old": "a", "new": "open", "reason": ""}}
                hub.publish(kind(at=1.0, name="a", key=f"tenant-{number}", **more.get(kind, {})))
    series = [values for family in registry.families() for values in family.cells]
    assert not [values for values in series if "tenant" in str(values)]


@pytest.mark.parametrize("bad", [[], {}, object()])
def test_a_signal_with_nonsense_in_it_does_not_reach_the_publisher(bad):
    registry, hub = Registry(), Hub()
    with observe(hub, registry=registry, logger=Lines()) as observation:
        hub.publish(BreakerChanged(at="then", name=bad, old=bad, new=bad, reason=bad))
        hub.publish(BreakerRefused(at="then", name=bad))
        hub.publish(BreakerRefused(at=1.0, name="a"))
    statistics = observation.statistics()
    assert (statistics.signals, statistics.line_errors, statistics.written) == (3, 1, 1)
    assert statistics.signal_errors >= 1
    assert cells(registry, "counter")["guard_calls_refused", "a", "breaker"] == 1
    assert hub.statistics().errors == 0


def _row(name):
    return next(row for row in RESILIENCE if row.name == name)
