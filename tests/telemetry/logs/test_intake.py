"""From a call to a record: messages, processors, repetitions, and nothing that raises."""

import pytest
from structlog.exceptions import DropEvent

from seawall.telemetry.logs.failures import Failures
from seawall.telemetry.logs.intake import ARGUMENTS_MAX, Intake
from seawall.telemetry.logs.redaction import MARGIN, Cut, Redaction
from seawall.telemetry.logs.repeats import Repeats


class World:
    def __init__(self, *processors, burst=0, window_ns=1_000, shown=("open",)):
        self.records = []
        self.intake = Intake(
            self.offer,
            redaction=Redaction(frozenset({"n"}), value_chars=50, keys_max=9),
            failures=Failures(frozenset(), 64),
            repeats=Repeats(burst, window_ns),
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


def test_a_processor_that_logs_does_not_go_round_in_circles():
    world = World()

    def logs(_, __, event):
        world.intake.take(20, "a", "inside", (), {}, None)
        return event

    world.intake._processors = (logs,)
    world.intake.take(20, "a", "outside", (), {}, None)
    assert [record[3] for record in world.records] == ["inside", "outside"]


def test_nothing_raises_out_of_a_call():
    world = World()

    def refuses(*_):
        raise MemoryError

    world.intake._offer = refuses
    world.intake.take(20, "a", "x", (), {}, None)
    assert world.intake.errors.value == 1


def test_repetitions_are_suppressed_and_reported():
    world = World(burst=2, window_ns=10**15)
    for _ in range(10):
        world.intake.take(20, "shop", "again", (), {}, None)
    assert len(world.records) == 2
    world.intake.report_repeats(1 << 62)
    _, level, logger, message, context, *_ = world.records[2]
    assert (level, logger, message) == (20, "seawall.telemetry.logs", "repeated: again")
    assert context == {"repeated_logger": "shop", "repeated_level": "INFO", "suppressed": 8}


def test_a_long_repeated_text_is_not_repeated_again():
    world = World(burst=1, window_ns=10**15)
    for _ in range(2):
        world.intake.take(20, "shop", "x" * 1_000, (), {}, None)
    world.intake.report_repeats(1 << 62)
    assert world.records[-1][3] == "repeated"
