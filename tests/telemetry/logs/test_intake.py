"""From a call to a record: messages, processors, the current span, and nothing that raises."""

import asyncio

import pytest
from opentelemetry import trace
from structlog.exceptions import DropEvent

from seawall.telemetry.logs import get_logger
from seawall.telemetry.logs.intake import ARGUMENTS_MAX, Intake, current_ids
from seawall.telemetry.redaction.failures import Failures
from seawall.telemetry.redaction.withholding import MARGIN, Cut, Redaction
from tests.telemetry.logs.lines import logging_to


class World:
    def __init__(self, *processors, shown=("open",)):
        self.records = []
        self.intake = Intake(
            self.offer,
            redaction=Redaction(frozenset({"n"}), value_chars=50, keys_max=9),
            failures=Failures(frozenset(), 64),
            processors=processors,
            argument_loggers=shown,
            message_chars=64,
        )

    def offer(self, record, size):
        self.records.append(record)
        return True

    def message(self, event, *args, logger="closed"):
        self.records.clear()
        self.intake.take(20, logger, event, args[0] if args and isinstance(args[0], dict) else args, {}, None)
        ((_, _, _, message, *_),) = self.records
        return message


@pytest.mark.parametrize(
    ("template", "args", "withheld", "shown"),
    [
        ("%s is %d", ("x", 5), "<str 1> is <int>", "x is 5"),
        ("%5.1f%%", (2.25,), "<float>%", "  2.2%"),
        ("%(a)s %(b)s", ({"a": 1},), "<int> <missing>", "1 <missing>"),
        ("%s", (), "%s", "%s"),
        ("%s %s", ("x",), "<str 1> <missing>", "x <missing>"),
        ("none", ("x",), "none", "none"),
        ("%d", ("x",), "<str 1>", "x"),
        ("%x %c", (255, 65), "<int> <int>", "ff A"),
        ("%*d", (3, 5), "<int>", "5"),
        ("%s", (b"x",), "<bytes 1>", "<bytes 1>"),
        ("%c", (-1,), "<int>", "<int>"),
        ("100% of %s", ("x",), "100<str 1>f <missing>", "100xf <missing>"),
        ("%d", (10**5_000,), "<int>", "<int>"),
        ("%(a)s", ({"a": 10**5_000},), "<int>", "<int>"),
    ],
)
def test_arguments_are_put_in_as_what_may_be_shown(template, args, withheld, shown):
    world = World()
    assert world.message(template, *args) == withheld
    assert world.message(template, *args, logger="open.below") == shown


def test_more_arguments_than_anybody_reads_are_missing():
    message = World().message("%s" * 40, *range(40))
    assert message.count("<int>") <= ARGUMENTS_MAX


def test_a_message_that_is_no_text_is_its_type():
    world = World()
    assert world.message({"a": 1}) == "<dict 1>"
    assert world.message(None) == "<None>"
    assert world.message(ValueError("x")) == "<ValueError>"
    assert world.records[0][5]["type"] == "ValueError"


@pytest.mark.parametrize("args", [(), ("y" * 1_000,)])
def test_a_long_message_is_cut_with_its_margin(args):
    message = World().message("x" * 1_000 + "%s", *args)
    assert type(message) is Cut
    assert len(message) == 64 + MARGIN
    assert type(World().message("%s", "y" * 1_000, logger="open")) is Cut


def test_processors_add_change_and_drop():
    def add(_, name, event):
        return {**event, "n": name}

    def drop(_, __, event):
        if event["event"] == "drop":
            raise DropEvent
        return event

    world = World(add, drop)
    world.intake.take(30, "a", "keep", (), {}, None)
    world.intake.take(30, "a", "drop", (), {}, None)
    assert [(record[3], record[4]) for record in world.records] == [("keep", {"n": "warning"})]
    assert world.intake.errors.value == 0


def test_a_broken_processor_costs_its_part_only():
    def broken(*_):
        raise RuntimeError

    world = World(broken, lambda *_: "a renderer's line", lambda _, __, event: {**event, "n": 1})
    world.intake.take(20, "a", "said", (), {}, None)
    assert [(record[3], record[4]) for record in world.records] == [("said", {"n": 1})]
    assert world.intake.errors.value == 2


def test_what_a_call_runs_may_log_without_going_round_in_circles():
    world = World()

    def logs(_, __, event):
        world.intake.take(20, "a", "inside", (), {}, None)
        return event

    world.intake._processors = (logs,)
    world.intake.take(20, "a", "outside", (), {}, None)
    assert [record[3] for record in world.records] == ["inside", "outside"]


def test_calls_inside_of_calls_end():
    world = World()

    class Endless(Exception):
        def __str__(self):
            world.intake.take(20, "a", "inside", (), {}, self)
            return "told"

    world.intake._failures = Failures(frozenset({f"{Endless.__module__}.Endless"}), 64)
    world.intake.take(20, "a", "outside", (), {}, Endless())
    assert [record[3] for record in world.records] == ["inside", "outside"]
    assert world.intake.errors.value == 1
    world.records.clear()
    world.intake.take(20, "a", "after", (), {}, None)
    assert len(world.records) == 1


class Proxy:
    """Says that it is something else, and has an opinion about everything."""

    def _never(self, *_):
        raise AssertionError("a method of a value was called")

    __class__ = property(_never)
    __bool__ = __eq__ = __len__ = __str__ = __repr__ = _never
    __hash__ = None


def test_no_method_of_what_was_said_or_given_is_called():
    world = World()
    world.intake.take(20, "a", Proxy(), (Proxy(),), {"n": Proxy(), "user": Proxy()}, Proxy())
    assert world.intake.errors.value == 0
    assert world.records[0][3:6] == ("<Proxy>", {"n": "<Proxy>", "user": "<Proxy>"}, None)


def test_an_exception_that_is_false_is_described_all_the_same():
    class Empty(Exception):
        def __len__(self):
            return 0

    world = World()
    world.intake.take(40, "a", "failed", (), {}, Empty())
    assert world.records[0][5]["type"].endswith("Empty")


def test_nothing_raises_out_of_a_call():
    world = World()

    def refuses(*_):
        raise MemoryError

    world.intake._offer = refuses
    world.intake.take(20, "a", "x", (), {}, None)
    assert world.intake.errors.value == 1


def span(trace_id, span_id):
    return trace.NonRecordingSpan(trace.SpanContext(trace_id, span_id, is_remote=False))


class Broken(trace.NonRecordingSpan):
    def get_span_context(self):
        raise RuntimeError("no context today")


def test_the_current_span_is_named_and_without_one_there_is_none():
    assert current_ids() == (0, 0)
    with trace.use_span(span(0xA, 0xB)):
        assert current_ids() == (0xA, 0xB)
    assert current_ids() == (0, 0)


@pytest.mark.parametrize(
    "other", [span(0, 5), span(5, 0), span(1 << 128, 5), span(5, 1 << 64), Broken(trace.INVALID_SPAN_CONTEXT)]
)
def test_an_invalid_span_is_none(other):
    with trace.use_span(other):
        assert current_ids() == (0, 0)


def test_each_task_has_its_own_span(tmp_path):
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
