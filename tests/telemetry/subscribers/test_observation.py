"""The door, and what goes wrong behind it: a guarded call is none the worse, and the counts add up."""

import asyncio
import gc
import threading

import pytest

from seawall import Breaker, guard
from seawall.kernel.errors import UsageError
from seawall.kernel.signals import BreakerForced, BreakerRefused, Hub, PolicyReloaded, Signal
from seawall.telemetry.exposition import Settings, Writer
from seawall.telemetry.exposition.formats import Format
from seawall.telemetry.logs import LogSettings, configure
from seawall.telemetry.metrics import Kind, Metric, Registry
from seawall.telemetry.metrics.registry import READERS_MAX
from seawall.telemetry.subscribers import observation as module
from seawall.telemetry.subscribers import observe
from seawall.telemetry.tracing.current import enter, leave
from seawall.telemetry.tracing.settings import Sampling
from seawall.testing import VirtualClock
from tests.telemetry.subscribers.test_counting import cells
from tests.telemetry.subscribers.watching import (
    PLANTED,
    Broken,
    BrokenSpan,
    Lines,
    Stuck,
    bank,
    outage,
    refuse,
)
from tests.telemetry.tracing.world import World


def order(number):
    """A signal that has a line whenever it comes."""
    return BreakerForced(at=float(number), name="db", mode="open", owner="al", reason="x", until=1.0)


def unobserved():
    clock = VirtualClock()
    one = bank(Hub(), clock)
    return outage(one, clock), one.statistics()


def observed(**how):
    """The same outage with somebody looking on: what calls gave, the guard's counts, and ours."""
    clock, hub, registry = VirtualClock(), Hub(), Registry()
    one = bank(hub, clock)
    with observe(hub, registry=registry, guards=[one], **how) as observation:
        gave = outage(one, clock)
    statistics = observation.statistics()
    assert statistics.signals == hub.statistics().published > 50
    return gave, one.statistics(), registry, statistics


def same(one, other):
    """The windows' copies of totals have no equality of their own."""
    return repr(one) == repr(other)


def adds_up(statistics):
    return (
        statistics.offered == statistics.accepted + statistics.dropped
        and statistics.accepted == statistics.queued + statistics.written + statistics.line_errors
    )


def test_an_outage_is_told_and_the_calls_are_the_same():
    lines = Lines()
    gave, counted, registry, statistics = observed(logger=lines)
    assert gave == unobserved()[0]
    assert same(counted, unobserved()[1])
    assert adds_up(statistics)
    assert statistics.written == len(lines.lines) > 5
    assert statistics.left_out > 5
    refused = cells(registry, "counter")["guard_calls_refused", "bank", "breaker"]
    assert refused == counted.breaker.rejected


def test_a_logger_that_raises():
    with pytest.raises(OSError, match="no space"):
        Broken().log(30, "x")
    broken = Broken()
    gave, counted, registry, statistics = observed(logger=broken)
    assert broken.calls == statistics.line_errors > 5
    assert statistics.written == 0
    assert adds_up(statistics)
    assert gave == unobserved()[0]
    assert same(counted, unobserved()[1])
    assert cells(registry, "counter") == cells(observed(logger=None)[2], "counter")


def test_a_span_that_raises():
    span = BrokenSpan()
    with pytest.raises(RuntimeError):
        span.add_event("x")
    token = enter(span)
    try:
        gave, counted, registry, statistics = observed(logger=Lines())
    finally:
        leave(token)
    assert span.calls - 1 == statistics.event_errors > 50
    assert statistics.events == 0
    assert adds_up(statistics)
    assert gave == unobserved()[0]
    assert same(counted, unobserved()[1])
    assert cells(registry, "counter") == cells(observed(logger=None)[2], "counter")


def test_a_logger_that_hangs(monkeypatch):
    monkeypatch.setattr(module, "JOIN_TIMEOUT_S", 0.0)
    stuck = Stuck()
    clock, hub, registry = VirtualClock(), Hub(), Registry()
    one = bank(hub, clock)
    observation = observe(hub, registry=registry, logger=stuck, guards=[one], capacity=4)
    hub.publish(order(0))
    assert stuck.entered.wait(5)
    assert outage(one, clock) == unobserved()[0]
    statistics = observation.statistics()
    assert (statistics.written, statistics.queued) == (0, 4)
    assert statistics.dropped > 0
    assert statistics.offered == statistics.accepted + statistics.dropped
    counted = cells(registry, "counter")
    assert counted["guard_calls_refused", "bank", "breaker"] == one.statistics().breaker.rejected
    observation.close()
    assert observation.statistics().queued == 4
    thread = observation._thread
    stuck.let_go.set()
    thread.join(5)
    assert adds_up(observation.statistics())
    assert observation.statistics().queued == 0


def test_a_flooded_hub():
    hub, registry, stuck = Hub(), Registry(), Stuck()
    observation = observe(hub, registry=registry, logger=stuck, capacity=8)
    hub.publish(order(0))
    assert stuck.entered.wait(5)

    def flood():
        for number in range(3_000):
            hub.publish(BreakerRefused(at=number / 1_000, name="db"))
            hub.publish(PolicyReloaded(at=0.0, name="db", changes=()))

    threads = [threading.Thread(target=flood) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert observation.statistics().dropped > 8_000
    stuck.let_go.set()
    observation.close()
    statistics = observation.statistics()
    assert adds_up(statistics)
    assert statistics.signals == 18_001
    counted = cells(registry, "counter")
    assert counted["guard_calls_refused", "db", "breaker"] == counted["guard_policy_reloads", "db"] == 9_000


def test_nothing_of_what_is_guarded_is_told(tmp_path):
    path, hub, clock, registry = tmp_path / "log", Hub(), VirtualClock(), Registry()
    world = World(sampling=Sampling(ratio=1.0))
    one = bank(hub, clock, fallback=lambda error: PLANTED)
    keyed = guard("tenants", breaker=Breaker(consecutive=1), hub=hub, clock=clock, keys_max=1)
    settings = LogSettings(service="tests", level="DEBUG", destination=str(path))
    with configure(settings), observe(hub, registry=registry, guards=[one, keyed]):
        with world.tracer.start_as_current_span("request") as span:
            outage(one, clock)
            for key in (PLANTED, "other", PLANTED):
                keyed.at(key).try_call(refuse, PLANTED)
                keyed.at(key).try_call(refuse, PLANTED)
        writer = Writer(registry, Settings(aliases=True))
        metrics = b"".join(writer.write(form) for form in Format)
    told = [path.read_bytes(), metrics, repr([(e.name, dict(e.attributes)) for e in span.events]).encode()]
    for text in told:
        assert b"bank" in text
        assert PLANTED.encode() not in text
    with pytest.raises(ConnectionRefusedError, match=PLANTED):
        refuse()


def test_under_an_event_loop():
    hub, registry, lines = Hub(), Registry(), Lines()

    async def fail():
        await asyncio.sleep(0)
        refuse()

    async def main():
        one = bank(hub, retry=None)
        with observe(hub, registry=registry, logger=lines, guards=[one]) as observation:
            for _ in range(7):
                await one.atry_call(fail)
            observation.read()
        return one.statistics()

    counted = asyncio.run(main())
    assert cells(registry, "counter")["circuit_breaker_failures", "bank"] == counted.breaker.failed == 5
    assert lines.texts[-1] == "calls refused by the breaker"


def test_lines_are_written_in_the_span_they_come_from():
    hub, lines, world = Hub(), Lines(), World()
    with observe(hub, logger=lines):
        with world.tracer.start_as_current_span("request") as span:
            hub.publish(order(1))
        hub.publish(order(2))
    assert lines.spans[0] is span
    assert not lines.spans[1].is_recording()


def test_closing_ends_it_and_twice_does_nothing():
    hub, registry, lines = Hub(), Registry(), Lines()
    observation = observe(hub, registry=registry, logger=lines)
    hub.publish(order(1))
    observation.close()
    observation.close()
    hub.publish(order(2))
    assert not hub.active
    assert len(lines.lines) == 1
    assert not observation._thread.is_alive()
    assert registry._readers == {}
    assert repr(observation) == "<Observation closed signals=1 queued=0>"


def test_a_logger_may_close_it():
    hub = Hub()

    class Closing(Lines):
        def log(self, level, event, **values):
            super().log(level, event, **values)
            observation.close()

    lines = Closing()
    observation = observe(hub, logger=lines)
    hub.publish(order(1))
    observation._thread.join(5)
    assert len(lines.lines) == 1


def test_one_that_nobody_holds_goes_on():
    hub, lines = Hub(), Lines()
    observe(hub, logger=lines)
    gc.collect()
    hub.publish(order(1))
    [subscription] = hub._subscriptions
    assert subscription.offered == 1
    subscription.close()


def test_without_a_registry_nothing_is_watched():
    with observe(Hub(), logger=None) as observation:
        assert not observation.watch(bank(Hub()))
        observation.read()
        assert observation.statistics().watched == 0


def test_a_process_has_no_thread_before_the_first_line():
    hub = Hub()
    with observe(hub, registry=Registry(), logger=Lines()) as observation:
        hub.publish(Signal(at=1.0, name="x"))
        assert observation._thread is None


def test_what_can_not_be_joined_leaves_nothing_behind():
    hub = Hub()
    full = Registry()
    for _ in range(READERS_MAX):
        full.add_reader(lambda: iter(()))
    other = Registry()
    other.declare(Metric(name="guard_retries", kind=Kind.GAUGE, help="Another one."))
    for registry, why in ((full, "readers already"), (other, "guard_retries")):
        with pytest.raises(UsageError, match=why):
            observe(hub, registry=registry)
    with pytest.raises(UsageError, match="capacity"):
        observe(hub, capacity=0)
    assert not hub.active
