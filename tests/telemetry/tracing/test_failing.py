"""What may quote a caller's data is not recorded unless it is asked for."""

import pytest
from opentelemetry.trace import StatusCode

from seawall.kernel.errors import BreakerOpen
from seawall.telemetry.tracing.failing import described, message_of, trace_of
from tests.telemetry.tracing.world import World

SECRET = "hunter2-hunter2"


def raised(error):
    try:
        raise error
    except type(error) as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError(SECRET), "<str 15>"),
        (KeyError((SECRET, 1)), "<tuple 2>"),
        (FileNotFoundError(2, "No such file", f"/home/{SECRET}"), "No such file or directory"),
    ],
)
def test_an_exception_is_told_without_what_it_says(error, message):
    caught = raised(error)
    assert message_of(caught, shown=False) == message
    assert described(caught, shown=False) == f"{type(error).__name__}: {message}"
    frames = trace_of(caught, shown=False)
    assert "raised" in frames
    assert SECRET not in frames


def test_what_is_built_from_names_of_the_configuration_is_told():
    error = raised(BreakerOpen("orders", "open", retry_after_s=1.0))
    assert "orders" in message_of(error, shown=False)


@pytest.mark.parametrize("shown", [False, True])
def test_a_span_goes_by_its_provider(shown):
    world = World(exceptions="shown" if shown else "withheld")
    with pytest.raises(ValueError, match="hunter2"):
        with world.root() as span:
            raise ValueError(SECRET)
    (event,) = span.events
    told = [span.status.description]
    told += [event.attributes[f"exception.{part}"] for part in ("message", "stacktrace")]
    assert [SECRET in text for text in told] == [shown] * 3
    assert event.attributes["exception.type"] == "ValueError"
    assert span.status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("shown", [False, True])
def test_so_does_a_block_of_a_span_that_is_current(shown):
    world = World(exceptions="shown" if shown else "withheld")
    with pytest.raises(ValueError, match="hunter2"):
        with world.tracer.start_as_current_span("s") as span:
            raise ValueError(SECRET)
    assert (SECRET in span.status.description) is shown
