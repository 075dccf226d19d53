"""The provider: tracers by scope, a bound on them, shutdown, forks."""

import subprocess
import sys
import textwrap

import pytest
from opentelemetry import trace as api
from opentelemetry.trace import StatusCode

from seawall.telemetry.tracing.provider import OTHER_SCOPE, TracerProvider
from seawall.telemetry.tracing.readable import InstrumentationScope, Resource
from seawall.telemetry.tracing.settings import Limits, Sampling
from seawall.telemetry.tracing.span import Span
from tests.telemetry.tracing.world import World


def test_it_and_its_tracers_are_those_of_the_api():
    provider = TracerProvider()
    assert isinstance(provider, api.TracerProvider)
    assert isinstance(provider.get_tracer("x"), api.Tracer)


def test_a_scope_has_one_tracer():
    provider = TracerProvider()
    assert provider.get_tracer("a", "1") is provider.get_tracer("a", "1")
    assert provider.get_tracer("a", "1") is not provider.get_tracer("a", "2")
    assert provider.get_tracer("a", attributes={"x": 1}) is not provider.get_tracer("a", attributes={"x": 2})


def test_a_tracer_tells_its_scope_and_resource():
    resource = Resource({"service.name": "shop"})
    tracer = TracerProvider(resource=resource).get_tracer("lib", "1", "https://schema", {"x": 1})
    assert tracer.resource is resource
    assert tracer._instrumentation_scope == tracer.instrumentation_scope
    assert tracer.instrumentation_scope == InstrumentationScope("lib", "1", "https://schema", {"x": 1})


def test_too_many_scopes_share_a_tracer_and_are_counted():
    provider = TracerProvider(limits=Limits(tracers=2))
    tracers = [provider.get_tracer(f"scope {number}") for number in range(5)]
    assert len(set(map(id, tracers))) == 3
    assert tracers[4].instrumentation_scope.name == OTHER_SCOPE
    now = provider.statistics()
    assert (now.tracers, now.tracers_shared) == (2, 3)


@pytest.mark.parametrize("arguments", [("x", ["1"]), ("x", "1", None, 5)])
def test_arguments_that_make_no_scope_hurt_nobody(arguments):
    provider = TracerProvider()
    tracer = provider.get_tracer(*arguments)
    assert tracer.instrumentation_scope.name == OTHER_SCOPE
    now = provider.statistics()
    assert (now.segments.failed, now.tracers, now.tracers_shared) == (1, 0, 1)


def test_after_shutdown_nothing_is_let_in_and_what_waits_can_be_taken():
    world = World(sampling=Sampling(ratio=1.0))
    world.root("before").end()
    world.provider.shutdown()
    world.root("after").end()
    assert [span.name for span in world.taken()] == ["before"]
    assert world.lane.statistics().dropped["closed"] == 1


def test_its_defaults_are_the_clocks_and_dice_of_the_machine():
    provider = TracerProvider(sampling=Sampling(ratio=1.0))
    tracer = provider.get_tracer("x")
    contexts = []
    for _ in range(50):
        span = tracer.start_span("x")
        span.end()
        assert isinstance(span, Span)
        assert 1_700_000_000 * 10**9 < span.start_time <= span.end_time
        contexts.append(span.context)
    assert (
        len({context.trace_id for context in contexts})
        == len({context.span_id for context in contexts})
        == 50
    )
    assert all(context.is_valid for context in contexts)


def test_its_repr_shows_its_state():
    assert repr(World().provider).startswith("<TracerProvider 1 tracers, <Segments 0 open with 0 of 65536")


def test_in_a_forked_child_what_is_open_or_waits_is_left_to_the_parent():
    world = World(sampling=Sampling(ratio=1.0))
    world.root("waits").end()
    root = world.root()
    open_child = world.child(root, "open")
    world.child(root, "finished").end()
    world.provider.before_fork()
    trace_id = root._segment.trace_id
    assert trace_id != 0, "both processes have to know the trace by one name"

    world.provider.after_fork_in_child()
    assert world.dice.seeded == 1
    open_child.end()
    root.end()
    assert world.taken() == []
    now, lane = world.segments, world.lane.statistics()
    assert (now.abandoned, now.spans_abandoned, now.open) == (1, 3, 0)
    assert lane.forgotten == 1
    assert lane.offered == lane.accepted == lane.forgotten
    assert world.recorded == 4

    below = world.child(root, "in the child")
    below.end()
    assert world.taken() == [below]
    assert (below.trace_id, below.parent) == (trace_id, root.context)


def test_in_a_forked_child_what_stood_alone_is_left_to_the_parent_too():
    world = World()
    ended, mother = world.root("ended"), world.root("mother")
    world.pass_s(0.1)
    world.provider.before_fork()
    world.provider.after_fork_in_child()
    ended.set_status(StatusCode.ERROR)
    ended.end()
    assert world.taken() == []
    child = world.child(mother)
    child.set_status(StatusCode.ERROR)
    child.end()
    assert world.taken() == [child]
    mother.end()
    now = world.segments
    assert (now.abandoned, now.spans_abandoned, now.kept["error"]) == (2, 2, 1)
    assert world.recorded == 3


def test_a_real_fork_gives_other_ids_and_an_empty_lane():
    program = """
        import os
        from opentelemetry import trace
        from seawall.telemetry.tracing import Sampling, TracerProvider

        provider = TracerProvider(sampling=Sampling(ratio=1.0))
        tracer = provider.get_tracer("fork")
        tracer.start_span("waits").end()
        reading, writing = os.pipe()
        with tracer.start_as_current_span("request") as request:
            if os.fork() == 0:
                inner = tracer.start_span("child")
                lane = provider.lane.statistics()
                ids = request.context.span_id, inner.parent.span_id, inner.span_id
                os.write(writing, repr((*ids, lane.waiting, lane.forgotten)).encode())
                os._exit(0)
            os.wait()
            inner = tracer.start_span("parent's")
            seen, parent_seen, childs_id, waiting, forgotten = eval(os.read(reading, 1000))
            assert seen == parent_seen == request.context.span_id, "one name for the span around the fork"
            assert childs_id != inner.span_id, "other ids after it"
            assert (waiting, forgotten) == (0, 1)
            assert provider.lane.waiting == 1, "the parent keeps what it has"
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
