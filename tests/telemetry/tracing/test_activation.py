"""A span around a block or a function, sync and async; contexts that are left elsewhere."""

import asyncio
import contextvars
import inspect
import logging

import pytest
from opentelemetry import baggage
from opentelemetry import context as otel_context
from opentelemetry import trace as api
from opentelemetry.trace import StatusCode

from seawall.telemetry.tracing.settings import Sampling
from tests.telemetry.tracing.world import World


@pytest.fixture
def world() -> World:
    return World(sampling=Sampling(ratio=1.0))


def test_inside_the_block_the_span_is_current_for_everybody(world):
    before = otel_context.get_current()
    with world.tracer.start_as_current_span("outer") as outer:
        assert api.get_current_span() is outer
        with world.tracer.start_as_current_span("inner") as inner:
            assert api.get_current_span() is inner
            assert inner.parent == outer.context
        assert api.get_current_span() is outer
        assert inner.end_time is not None
    assert api.get_current_span() is api.INVALID_SPAN
    assert otel_context.get_current() is before


def test_the_rest_of_the_context_stays(world):
    token = otel_context.attach(baggage.set_baggage("user", "7"))
    with world.tracer.start_as_current_span("span"):
        assert baggage.get_baggage("user") == "7"
    otel_context.detach(token)


def test_the_api_s_own_way_makes_children_too(world):
    span = world.tracer.start_span("outer")
    with api.use_span(span, end_on_exit=True):
        with world.tracer.start_as_current_span("inner") as inner:
            assert inner.parent == span.context
    assert span.end_time is not None


def test_an_exception_becomes_event_and_status_and_goes_on(world):
    with pytest.raises(ValueError, match="no"):
        with world.tracer.start_as_current_span("span") as span:
            raise ValueError("no")
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ValueError: no")
    assert [event.name for event in span.events] == ["exception"]
    assert span.end_time is not None


@pytest.mark.parametrize("leaving", [KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_what_is_no_exception_is_no_error(world, leaving):
    with pytest.raises(leaving):
        with world.tracer.start_as_current_span("span") as span:
            raise leaving
    assert (span.events, span.status_code) == ((), StatusCode.UNSET)
    assert span.end_time is not None


def test_it_does_as_it_was_told(world):
    with pytest.raises(ValueError, match="no"):
        with world.tracer.start_as_current_span(
            "span", record_exception=False, set_status_on_exception=False, end_on_exit=False
        ) as span:
            raise ValueError("no")
    assert (span.events, span.status_code) == ((), StatusCode.UNSET)
    assert span.is_recording()


def test_a_status_that_was_set_to_ok_stays(world):
    with pytest.raises(ValueError, match="no"):
        with world.tracer.start_as_current_span("span") as span:
            span.set_status(StatusCode.OK)
            raise ValueError("no")
    assert span.status_code is StatusCode.OK


def test_it_decorates_a_function(world):
    @world.tracer.start_as_current_span("call", attributes={"a": 1})
    def add(left: int, *, right: int) -> int:
        """Add."""
        assert api.get_current_span().name == "call"
        return left + right

    assert [add(1, right=2), add(3, right=4)] == [3, 7]
    assert (add.__name__, add.__doc__) == ("add", "Add.")
    first, second = world.taken()
    assert first is not second
    assert first.trace_id != second.trace_id


def test_it_decorates_a_coroutine_function_and_lasts_as_long_as_it_runs(world):
    @world.tracer.start_as_current_span("call")
    async def fetch() -> str:
        await asyncio.sleep(0)
        world.pass_s(3)
        return api.get_current_span().name

    async def twice() -> list[str]:
        return await asyncio.gather(fetch(), fetch())

    assert inspect.iscoroutinefunction(fetch)
    assert asyncio.run(twice()) == ["call", "call"]
    assert all(span.end_time - span.start_time >= 3 * 10**9 for span in world.taken())


def test_a_coroutine_that_fails_fails_its_span(world):
    @world.tracer.start_as_current_span("call")
    async def fetch() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError):
        asyncio.run(fetch())
    [span] = world.taken()
    assert span.status_description == "LookupError: gone"


def test_tasks_keep_their_spans_apart(world):
    async def work(name: str) -> tuple[str, str]:
        with world.tracer.start_as_current_span(name):
            await asyncio.sleep(0)
            with world.tracer.start_as_current_span("inner") as inner:
                await asyncio.sleep(0)
                return inner._parent.name, api.get_current_span().name

    async def both() -> list[tuple[str, str]]:
        return await asyncio.gather(work("a"), work("b"))

    assert asyncio.run(both()) == [("a", "inner"), ("b", "inner")]


def test_leaving_in_another_context_is_counted_and_not_logged(world, caplog):
    def numbers():
        with world.tracer.start_as_current_span("generator"):
            yield 1

    generator = numbers()
    contextvars.copy_context().run(next, generator)
    generator.close()
    assert world.segments.detached_elsewhere == 1
    assert not caplog.records
    [span] = world.taken()
    assert (span.name, span.status_code) == ("generator", StatusCode.UNSET)


def test_the_api_s_own_way_does_log_it(world, caplog):
    """So that the test above tests something."""

    def numbers():
        with api.use_span(world.tracer.start_span("generator")):
            yield 1

    generator = numbers()
    contextvars.copy_context().run(next, generator)
    with caplog.at_level(logging.ERROR):
        generator.close()
    assert "Failed to detach context" in caplog.text


def test_an_explicit_context_is_the_parent_and_the_current_one_is_not(world):
    other = world.root("other")
    with world.tracer.start_as_current_span("current"):
        with world.tracer.start_as_current_span("span", api.set_span_in_context(other)) as span:
            assert span.parent == other.context


def test_its_repr_names_the_span(world):
    assert repr(world.tracer.start_as_current_span("name")) == "<Activation of 'name'>"
