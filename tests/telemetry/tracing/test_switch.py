"""Which provider an application gets."""

import pytest
from opentelemetry import trace as api
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import TracerProvider as SdkProvider
from opentelemetry.trace import StatusCode

from seawall.kernel.errors import UsageError
from seawall.telemetry.tracing import switch
from seawall.telemetry.tracing.provider import TracerProvider
from seawall.telemetry.tracing.settings import Limits, Sampling, TracingSettings

ALL = Sampling(ratio=1.0)


def test_the_default_is_the_light_one():
    provider, lane = switch.make_provider(TracingSettings(resource={"service.name": "shop"}, sampling=ALL))
    assert isinstance(provider, TracerProvider)
    assert provider.lane is lane
    provider.get_tracer("x").start_span("span").end()
    [span] = lane.take(5)
    assert span.resource.attributes["service.name"] == "shop"


def test_every_process_says_what_opentelemetry_asks_of_it():
    light, _ = switch.make_provider(TracingSettings())
    assert light.resource.attributes == TracerProvider().resource.attributes
    sdk, _ = switch.make_provider(TracingSettings(provider="sdk"))
    for key in ("service.name", "telemetry.sdk.language", "telemetry.sdk.name", "telemetry.sdk.version"):
        assert light.resource.attributes[key]
        assert sdk.resource.attributes[key]
    sdk.shutdown()


def test_the_sdk_s_own_fills_the_same_kind_of_lane():
    settings = TracingSettings(
        provider="sdk",
        resource={"service.name": "shop"},
        sampling=ALL,
        limits=Limits(attributes=1, segment_spans=1, lane_spans=2, lane_reserve=0.5),
    )
    provider, lane = switch.make_provider(settings)
    assert isinstance(provider, SdkProvider)
    tracer = provider.get_tracer("x")
    tracer.start_span("one", attributes={"a": 1, "b": 2}).end()
    tracer.start_span("no room").end()
    failing = tracer.start_span("failing")
    failing.set_status(StatusCode.ERROR)
    failing.end()
    assert provider.force_flush()
    first, second = lane.take(5)
    assert isinstance(first, ReadableSpan)
    assert (first.name, dict(first.attributes), second.name) == ("one", {"b": 2}, "failing")
    assert first.resource.attributes["service.name"] == "shop"
    provider.shutdown()
    tracer.start_span("closed").end()
    assert lane.statistics().dropped == {"full": 1, "closed": 1}


def test_the_sdk_s_own_samples_at_the_head():
    provider, lane = switch.make_provider(TracingSettings(provider="sdk", sampling=Sampling(ratio=0.0)))
    provider.get_tracer("x").start_span("span").end()
    assert lane.statistics().offered == 0
    provider.shutdown()


def test_off_records_nothing():
    provider, lane = switch.make_provider(TracingSettings(provider="off"))
    assert isinstance(provider, api.NoOpTracerProvider)
    provider.get_tracer("x").start_span("span").end()
    assert lane.statistics().offered == 0


def test_without_the_sdk_it_says_what_to_do(monkeypatch):
    def missing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(switch.importlib, "import_module", missing)
    with pytest.raises(UsageError, match="opentelemetry-sdk is not installed"):
        switch.make_provider(TracingSettings(provider="sdk"))
