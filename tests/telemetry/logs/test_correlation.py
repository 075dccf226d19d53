"""Ids come from OpenTelemetry's current context, whoever made the span."""

import asyncio

import pytest
from opentelemetry import trace

from seawall.telemetry.logs import get_logger
from seawall.telemetry.logs.correlation import current_ids
from tests.telemetry.logs.lines import logging_to


def span(trace_id, span_id):
    return trace.NonRecordingSpan(trace.SpanContext(trace_id, span_id, is_remote=False))


class Broken(trace.NonRecordingSpan):
    def get_span_context(self):
        raise RuntimeError("no context today")


def test_without_a_span_there_are_none():
    assert current_ids() == (0, 0)


def test_the_current_span_is_named():
    with trace.use_span(span(0xA, 0xB)):
        assert current_ids() == (0xA, 0xB)
    assert current_ids() == (0, 0)


@pytest.mark.parametrize(
    "other", [span(0, 5), span(5, 0), span(1 << 128, 5), span(5, 1 << 64), Broken(trace.INVALID_SPAN_CONTEXT)]
)
def test_an_invalid_span_is_none(other):
    with trace.use_span(other):
        assert current_ids() == (0, 0)


def test_each_task_has_its_own(tmp_path):
    async def work(number):
        with trace.use_span(span(number, number)):
            await asyncio.sleep(0)
            get_logger("tasks").info("at work", count=number)

    async def main():
        await asyncio.gather(*(work(number) for number in range(1, 6)))

    with logging_to(tmp_path / "log") as (_, lines):
        asyncio.run(main())
        found = lines()
    assert len(found) == 5
    for line in found:
        number = line["context"]["count"]
        assert (line["traceId"], line["spanId"]) == (f"{number:032x}", f"{number:016x}")
