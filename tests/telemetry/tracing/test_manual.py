"""Spans by hand, through whatever provider is installed."""

import asyncio
import contextvars

import pytest
from opentelemetry import trace as api
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import TracerProvider as SdkProvider
from opentelemetry.trace import StatusCode

from seawall.telemetry.tracing import manual
from seawall.telemetry.tracing.manual import SCOPE, span
from seawall.telemetry.tracing.settings import Sampling
from seawall.telemetry.tracing.span import Span
from tests.telemetry.tracing.world import World


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    """A process installs one provider and keeps it, and so does the API's stand-in; tests install many."""
    monkeypatch.setattr(manual, "_last", (None, api.NoOpTracer()))


@pytest.fixture
def world(monkeypatch) -> World:
    world = World(sampling=Sampling(ratio=1.0))
    monkeypatch.setattr(api, "_TRACER_PROVIDER", world.provider)
    return world


def test_around_a_block(world):
    with span("parse", size=12, **{"event.id": 7}) as current:
        assert api.get_current_span() is current
    [kept] = world.taken()
    assert (kept.name, dict(kept.attributes)) == ("parse", {"size": 12, "event.id": 7})
    assert kept.instrumentation_scope.name == SCOPE


def test_an_attribute_may_be_called_name(world):
    with span("parse", name="x", context="y"):
        assert world.lane.waiting == 0
    assert dict(world.taken()[0].attributes) == {"name": "x", "context": "y"}


def test_around_functions(world):
    @span("sync")
    def double(number: int) -> int:
        return number * 2

    @span("async")
    async def triple(number: int) -> int:
        return number * 3

    assert (double(2), asyncio.run(triple(2))) == (4, 6)
    assert [kept.name for kept in world.taken()] == ["sync", "async"]


def test_an_error_is_recorded(world):
    with pytest.raises(ValueError, match="no"), span("parse"):
        raise ValueError("no")
    [kept] = world.taken()
    assert kept.status_code is StatusCode.ERROR
    assert kept.events[0].name == "exception"


def test_it_follows_the_provider_that_is_installed(world, monkeypatch):
    with span("ours") as ours:
        assert isinstance(ours, Span)
    sdk = SdkProvider(shutdown_on_exit=False)
    monkeypatch.setattr(api, "_TRACER_PROVIDER", sdk)
    with pytest.raises(ValueError, match="no"), span("theirs") as theirs:
        raise ValueError("no")
    assert isinstance(theirs, ReadableSpan)
    assert theirs.status.description == "ValueError: no"
    assert [event.name for event in theirs.events] == ["exception"]
    assert [kept.name for kept in world.taken()] == ["ours"]


def test_without_a_provider_it_does_nothing(monkeypatch):
    monkeypatch.setattr(api, "_TRACER_PROVIDER", None)
    with span("nowhere") as nothing:
        assert not nothing.is_recording()


def test_a_function_that_was_decorated_before_a_provider_was_installed_uses_it(monkeypatch):
    monkeypatch.setattr(api, "_TRACER_PROVIDER", None)

    @span("early")
    def answer() -> int:
        return 42

    assert answer() == 42
    world = World(sampling=Sampling(ratio=1.0))
    monkeypatch.setattr(api, "_TRACER_PROVIDER", world.provider)
    assert answer() == 42
    assert [kept.name for kept in world.taken()] == ["early"]


def test_it_is_counted_even_then_if_its_block_is_left_elsewhere(monkeypatch):
    monkeypatch.setattr(api, "_TRACER_PROVIDER", None)
    early = span("early")
    world = World()
    monkeypatch.setattr(api, "_TRACER_PROVIDER", world.provider)
    contextvars.copy_context().run(early.__enter__)
    early.__exit__(None, None, None)
    assert world.segments.detached_elsewhere == 1
