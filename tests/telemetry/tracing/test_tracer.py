"""The tracer: which parent a span gets, and what hurts nobody."""

import pytest
from opentelemetry import trace as api
from opentelemetry.trace import NonRecordingSpan, SpanContext

from seawall.telemetry.tracing.current import SPAN_KEY
from seawall.telemetry.tracing.span import Span
from tests.telemetry.tracing.world import World, remote


class Stranger(NonRecordingSpan):
    """A span of somebody else's making that is out of order."""

    def get_span_context(self) -> SpanContext:
        raise RuntimeError("no context")


@pytest.fixture
def world() -> World:
    return World()


def test_without_a_current_span_a_trace_begins(world):
    span = world.tracer.start_span("span")
    assert isinstance(span, Span)
    assert span.parent is None
    span.end()
    assert world.opened == 1


def test_the_current_span_is_the_parent(world):
    root = world.root()
    with api.use_span(root):
        child = world.tracer.start_span("child")
    assert child.parent == root.context
    assert world.opened == 1


def test_a_remote_parent_begins_a_segment_in_its_trace(world):
    span = world.child(remote(0xABC, span_id=5))
    assert (span.trace_id, span.parent.span_id) == (0xABC, 5)
    assert world.opened == 1


@pytest.mark.parametrize("parent", [api.INVALID_SPAN, Stranger(api.INVALID_SPAN_CONTEXT)])
def test_a_parent_without_a_valid_context_is_none(world, parent):
    assert world.child(parent).parent is None


@pytest.mark.parametrize("context", ["text", 5, {}, {"current": "nothing"}, {SPAN_KEY: "text"}])
def test_what_is_no_context_hurts_nobody(world, context):

    assert world.tracer.start_span("span", context).parent is None


def test_its_repr_names_its_scope(world):
    assert repr(world.tracer) == "<Tracer 'tests'>"
