"""Signals and spans: the span of whoever was refused is marked, and kept."""

import asyncio

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from seawall import Breaker, Bulkhead, RateLimit, Retry, guard
from seawall.kernel.signals import CallRefused, EvictedKey, Hub
from seawall.telemetry.subscribers import observe
from seawall.telemetry.subscribers.events import current_span
from seawall.telemetry.tracing.current import enter, leave
from seawall.telemetry.tracing.settings import Sampling
from seawall.testing import VirtualClock
from tests.telemetry.subscribers.watching import PLANTED, bank, refuse
from tests.telemetry.tracing.world import World


@pytest.fixture
def world():
    """Nothing is kept by the ratio."""
    return World(sampling=Sampling(ratio=0.0))


@pytest.fixture
def hub():
    hub = Hub()
    with observe(hub, logger=None):
        yield hub


def events(span):
    return [(event.name, dict(event.attributes)) for event in span.events]


def names(span):
    return [event.name for event in span.events]


def test_the_call_that_opens_and_the_one_that_is_refused_are_kept(world, hub):
    one = bank(hub, retry=None)
    tracer = world.tracer
    for number in range(7):
        with tracer.start_as_current_span(f"request {number}"):
            one.try_call(refuse)
    kept = world.taken()
    assert [span.name for span in kept] == ["request 4", "request 5", "request 6"]
    [(name, attributes)] = events(kept[0])
    assert name == "circuit_breaker.changed"
    assert (attributes["seawall.guard"], attributes["seawall.to"]) == ("bank", "open")
    assert "5 of 5 calls failed" in attributes["seawall.reason"]
    assert events(kept[1]) == [
        ("circuit_breaker.refused", {"seawall.guard": "bank", "seawall.retry_after_s": 10.0})
    ]


def test_without_an_observation_none_is_kept(world):
    one = bank(Hub(), retry=None)
    for number in range(7):
        with world.tracer.start_as_current_span(f"request {number}"):
            one.try_call(refuse)
    assert world.taken() == []


def test_retries_fallbacks_limits_and_deadlines_have_events(world, hub):
    clock = VirtualClock()
    tired = guard(
        "tired",
        breaker=None,
        retry=Retry(attempts=2, base="1s", jitter="none"),
        rate=RateLimit(rate="1/s", burst=1),
        bulkhead=Bulkhead(limit=1),
        fallback=lambda error: "instead",
        clock=clock,
        hub=hub,
        rng=lambda: 0.0,
    )
    with world.tracer.start_as_current_span("request") as span:
        assert tired.call(refuse, PLANTED) == "instead"
        clock.advance(5.0)
        assert tired.call(lambda: tired.call(int)) == "instead"
        clock.advance(5.0)
        tight = guard("tight", deadline="1s", clock=clock, hub=hub)
        tight.try_call(lambda: (clock.advance(3.0), tight.call(int)))
    told = events(span)
    assert [name for name, _ in told] == [
        "retry.scheduled",
        "retry.refused",
        "fallback.used",
        "rate_limit.refused",
        "fallback.used",
        "deadline.expired",
    ]
    assert told[0][1] == {"seawall.guard": "tired", "seawall.attempt": 2, "seawall.delay_s": 1.0}
    assert told[2][1] == {"seawall.guard": "tired", "seawall.error": "ConnectionRefusedError"}
    assert told[-1][1]["seawall.stage"] == "before the call"
    assert PLANTED not in str(told)


def test_an_order_is_an_event(world, hub):
    one = bank(hub)
    with world.tracer.start_as_current_span("console") as span:
        one.force("open", owner="alice", reason="holiday", for_="1h")
        one.release(owner="alice")
    assert names(span) == ["circuit_breaker.forced", "circuit_breaker.released", "circuit_breaker.changed"]
    assert [kept.name for kept in world.taken()] == ["console"]


def test_a_full_bulkhead_says_how_full(world, hub):
    one = guard("db", bulkhead=Bulkhead(limit=1), hub=hub)
    with world.tracer.start_as_current_span("request") as span, one:
        one.try_call(int)
    assert events(span) == [
        ("bulkhead.refused", {"seawall.guard": "db", "seawall.in_flight": 1, "seawall.waiting": 0})
    ]


def test_tasks_have_each_their_own_span(world, hub):
    opened = bank(hub, retry=None, breaker=Breaker(consecutive=1))
    opened.try_call(refuse)
    healthy = guard("healthy", hub=hub)
    started = asyncio.Event()

    async def answer():
        started.set()
        await asyncio.sleep(0)
        return "well"

    async def request(one, name):
        with world.tracer.start_as_current_span(name) as span:
            await started.wait()
            await one.atry_call(answer)
        return span

    async def both():
        started.set()
        return await asyncio.gather(request(opened, "refused"), request(healthy, "well"))

    refused, well = asyncio.run(both())
    assert (names(refused), names(well)) == (["circuit_breaker.refused"], [])


def test_kinds_without_an_event_leave_none(world, hub):
    with world.tracer.start_as_current_span("request") as span:
        hub.publish(EvictedKey(at=1.0, name="bank", key="k", limit=1))
        hub.publish(type("Late", (CallRefused,), {})(at=1.0, name="bank"))
    assert names(span) == ["guard.refused"]


def test_a_span_that_does_not_record_is_none():
    assert current_span() is None
    token = enter(NonRecordingSpan(SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(0))))
    try:
        assert current_span() is None
    finally:
        leave(token)


def test_tracing_can_be_left_out(world):
    hub = Hub()
    with observe(hub, logger=None, tracing=False) as observation:
        with world.tracer.start_as_current_span("request") as span:
            hub.publish(CallRefused(at=1.0, name="bank"))
        assert (names(span), observation.statistics().events) == ([], 0)
