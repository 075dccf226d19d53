"""Guards' own counters at a scrape: as the guards say, growing only, and gone with the guard."""

import gc
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall import Breaker, Bulkhead, Retry, guard
from seawall.kernel.errors import UsageError
from seawall.kernel.signals import Hub, Signal
from seawall.telemetry.catalogue import CATALOGUE
from seawall.telemetry.catalogue.resilience import OUTCOMES
from seawall.telemetry.exposition import Settings, Writer
from seawall.telemetry.metrics import Block, Collector, Layout, Registry, Sheet
from seawall.telemetry.subscribers import observe
from seawall.telemetry.subscribers import reading as module
from seawall.telemetry.subscribers.reading import Readings
from seawall.testing import VirtualClock
from tests.telemetry.subscribers.test_counting import cells
from tests.telemetry.subscribers.watching import bank, outage, refuse


def scraped(registry):
    """What a scrape says, by sample."""
    lines = Writer(registry).write().decode().splitlines()
    return {sample: float(value) for sample, value in (x.rsplit(" ", 1) for x in lines if x[0] != "#")}


def test_a_scrape_says_what_the_guard_says():
    registry, hub, clock = Registry(), Hub(), VirtualClock()
    one = bank(hub, clock)
    with observe(hub, registry=registry, logger=None, guards=[one]):
        outage(one, clock)
        told = scraped(registry)
    statistics = one.statistics()
    breaker = statistics.breaker
    assert told['seawall_circuit_breaker_calls_total{name="bank"}'] == breaker.calls > 0
    assert told['seawall_circuit_breaker_failures_total{name="bank"}'] == breaker.failed > 0
    for outcome in OUTCOMES:
        sample = f'seawall_circuit_breaker_outcomes_total{{name="bank",outcome="{outcome}"}}'
        assert told[sample] == getattr(breaker, outcome)
    refused = told['seawall_guard_calls_refused_total{name="bank",by="breaker"}']
    assert refused == breaker.rejected > 0
    assert told['seawall_guard_retries_total{name="bank"}'] == statistics.retry.retried > 0
    assert told['seawall_circuit_breaker_transitions_total{name="bank",to="open"}'] == 2
    assert told['seawall_bulkhead_limit{name="bank"}'] == 4
    assert told['seawall_retry_budget_tokens{name="bank"}'] == pytest.approx(statistics.budget.balance)
    assert told['seawall_circuit_breaker_state{name="bank"}'] == 0
    assert told['seawall_circuit_breaker_ramp_share_ratio{name="bank"}'] == 1.0
    assert told['seawall_circuit_breaker_in_state{name="bank",state="closed"}'] == 1
    assert told['seawall_circuit_breaker_open_duration_seconds_count{name="bank"}'] == 1
    assert told["seawall_signals_published_total"] == hub.statistics().published


def test_levels_are_those_of_the_moment():
    registry, hub = Registry(), Hub()
    one = guard("db", bulkhead=Bulkhead(limit=3), hub=hub)
    tenants = guard("tenants", hub=hub)
    with observe(hub, registry=registry, logger=None, guards=[one, tenants]):
        with one, one:
            for key in "abc":
                tenants.at(key).call(int)
            told = scraped(registry)
        assert told['seawall_bulkhead_in_flight{name="db"}'] == 2
        assert told['seawall_guard_keys{name="tenants"}'] == 3
        assert scraped(registry)['seawall_bulkhead_in_flight{name="db"}'] == 0


def test_a_state_that_was_there_before_is_read():
    registry, hub = Registry(), Hub()
    one = bank(hub)
    one.force("open", owner="al", reason="x", for_="1h")
    with observe(hub, registry=registry, logger=None, guards=[one]):
        told = scraped(registry)
        assert told['seawall_circuit_breaker_forced{name="bank"}'] == 1
        one.reset()
        one.breaker.probed(False, 0.0)
        told = scraped(registry)
    assert told['seawall_circuit_breaker_forced{name="bank"}'] == 0
    assert told['seawall_circuit_breaker_state{name="bank"}'] == 2


def test_guards_of_one_name_are_put_together():
    registry, hub = Registry(), Hub()
    well, ill = bank(hub), bank(hub, breaker=Breaker(consecutive=1), retry=None)
    with observe(hub, registry=registry, logger=None, guards=[well, ill, well]) as observation:
        ill.try_call(refuse)
        well.try_call(int)
        assert observation.statistics().watched == 2
        told = scraped(registry)
    assert told['seawall_bulkhead_limit{name="bank"}'] == 8
    assert told['seawall_circuit_breaker_state{name="bank"}'] == 2
    assert told['seawall_circuit_breaker_ramp_share_ratio{name="bank"}'] == 0.0
    assert told['seawall_circuit_breaker_calls_total{name="bank"}'] == 2


def test_a_guard_that_is_gone_leaves_the_gauges_and_not_the_counters():
    registry, hub = Registry(), Hub()
    one = bank(hub)
    with observe(hub, registry=registry, logger=None, guards=[one]) as observation:
        one.try_call(int)
        assert 'seawall_circuit_breaker_state{name="bank"}' in scraped(registry)
        del one
        gc.collect()
        told = scraped(registry)
        assert observation.statistics().watched == 0
    assert {sample.split("{")[0].rsplit("_", 1)[1] for sample in told if "bank" in sample} == {"total"}
    assert told['seawall_circuit_breaker_calls_total{name="bank"}'] == 1


def test_only_what_happens_while_it_is_watched_counts():
    registry, hub = Registry(), Hub()
    one = bank(hub)
    for _ in range(3):
        one.call(int)
        with observe(hub, registry=registry, logger=None, guards=[one]) as observation:
            one.call(int)
            observation.read()
    assert cells(registry, "counter")["circuit_breaker_calls", "bank"] == 3


@dataclass
class Told:
    """A guard whose totals are what a test says."""

    calls: int = 0
    name: str = "told"
    broken: bool = False

    def statistics(self):
        if self.broken:
            raise RuntimeError("no")
        breaker = SimpleNamespace(
            state="closed",
            share=1.0,
            enforcement="enforce",
            calls=self.calls,
            **dict.fromkeys(OUTCOMES, self.calls),
        )
        return SimpleNamespace(breaker=breaker, bulkhead=None, budget=None, keys=None)


@given(st.lists(st.integers(0, 50), max_size=20))
def test_counters_only_grow_whatever_the_totals_do(totals):
    registry, one = Registry(), Told()
    readings = Readings(registry, Hub())
    readings.watch(one)
    counted, last, expected = [], 0, 0
    for total in totals:
        one.calls = total
        list(readings.reading())
        expected += total - last if total >= last else total
        last = total
        counted.append(registry.declare(module.BREAKER_CALLS).cell("told").value)
    assert counted == sorted(counted)
    assert counted[-1:] == ([expected] if totals else [])


def test_a_guard_that_fails_keeps_its_gauges_and_the_others_are_read():
    registry = Registry()
    readings = Readings(registry, Hub())
    bad, good = Told(name="bad"), Told(name="good")
    assert [readings.watch(bad), readings.watch(good)] == [True, True]
    list(readings.reading())
    bad.broken, good.calls = True, 7
    with pytest.raises(RuntimeError):
        bad.statistics()
    list(readings.reading())
    counts = cells(registry, "counter", "gauge")
    assert (counts["circuit_breaker_calls", "good"], readings.failed) == (7, 1)
    assert ("circuit_breaker_state", "bad") in counts


def test_a_guard_that_fails_at_first_counts_from_its_first_reading():
    readings = Readings(Registry(), Hub())
    assert readings.watch(Told(broken=True))
    assert readings.failed == 1


def test_watched_guards_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "WATCHED_MAX", 2)
    guards = [Told(name=str(number)) for number in range(3)]
    with observe(Hub(), registry=Registry(), logger=None) as observation:
        assert [observation.watch(one) for one in guards] == [True, True, False]
        statistics = observation.statistics()
        assert (statistics.watched, statistics.watch_refused) == (2, 1)


def test_what_can_not_be_referred_to_weakly_is_told_so():
    class Slotted:
        __slots__ = ("name",)

    hub, registry = Hub(), Registry()
    with pytest.raises(UsageError, match="'__weakref__'"):
        observe(hub, registry=registry, logger=None, guards=[Slotted()])
    assert hub.statistics().subscribers == 0


def test_a_reading_goes_in_slices_and_one_at_a_time():
    readings = Readings(Registry(), Hub())
    guards = [Told(name=str(number)) for number in range(25)]
    for one in guards:
        readings.watch(one)
    first = readings.reading()
    assert next(first) is None
    assert list(readings.reading()) == []
    assert len(list(first)) == 1
    abandoned = readings.reading()
    next(abandoned)
    abandoned.close()
    assert len(list(readings.reading())) == 2


def test_a_guard_without_a_breaker_has_no_breaker_in_the_metrics():
    registry, hub = Registry(), Hub()
    one = guard("plain", breaker=None, retry=Retry(), hub=hub)
    with observe(hub, registry=registry, logger=None, guards=[one]):
        told = scraped(registry)
    assert not [sample for sample in told if "breaker" in sample]
    assert told['seawall_retry_budget_tokens{name="plain"}'] == 10


def test_the_state_has_the_numbers_and_names_that_dashboards_ask_for():
    registry, hub = Registry(), Hub()
    one = bank(hub, breaker=Breaker(consecutive=1), retry=None)
    settings = Settings(state_numbering="helios", aliases=True)
    with observe(hub, registry=registry, logger=None, guards=[one]):
        one.try_call(refuse)
        told = Writer(registry, settings).write().decode().splitlines()
    for name in (
        "seawall_circuit_breaker_state",
        "helios_circuit_breaker_state",
        "heliosdb_circuit_breaker_state",
        "helios_circuit_breaker_failures_total",
    ):
        assert any(line.startswith(f'{name}{{name="bank"}} 1') for line in told)
    assert 'mpc_circuit_breaker_state{name="bank",state="open"} 1' in told


def test_workers_that_share_a_block_are_summed_and_the_worst_state_stands():
    block = Block(Layout(CATALOGUE, rows=2))
    guards = []
    for row in range(2):
        registry, hub = Registry(cells=Sheet(block, row)), Hub()
        one = bank(hub, breaker=Breaker(consecutive=1), retry=None)
        guards.append(one)
        with observe(hub, registry=registry, logger=None, guards=[one]) as observation:
            one.try_call(refuse if row else int)
            one.try_call(int)
            observation.read()
    told = scraped(Collector(block))
    assert told['seawall_circuit_breaker_calls_total{name="bank"}'] == 3
    assert told['seawall_guard_calls_refused_total{name="bank",by="breaker"}'] == 1
    assert told['seawall_circuit_breaker_state{name="bank"}'] == 2
    assert told['seawall_circuit_breaker_in_state{name="bank",state="open"}'] == 1
    assert told['seawall_circuit_breaker_ramp_share_ratio{name="bank"}'] == 0.0
    assert told['seawall_bulkhead_limit{name="bank"}'] == 8


def test_signals_dropped_do_not_shrink_with_a_subscription():
    registry, hub = Registry(), Hub()
    with observe(hub, registry=registry, logger=None):
        slow = hub.subscribe(capacity=1)
        for number in range(4):
            hub.publish(Signal(at=float(number), name="x"))
        assert scraped(registry)["seawall_signals_dropped_total"] == 3
        slow.close()
        assert scraped(registry)["seawall_signals_dropped_total"] == 3
