"""Signals and log lines: one for what an operator has to know, few for what comes with every call."""

import json
import logging
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.kernel.signals import (
    BreakerChanged,
    BreakerForced,
    BreakerRefused,
    BreakerReleased,
    BulkheadRefused,
    CallRefused,
    DeadlineExpired,
    EvictedKey,
    FallbackUsed,
    Hub,
    PolicyChange,
    PolicyReloaded,
    RampMoved,
    RateRefused,
    RetryRefused,
    RetryScheduled,
    Signal,
)
from seawall.telemetry.logs import LogSettings, configure
from seawall.telemetry.subscribers import lines as module
from seawall.telemetry.subscribers import observe
from seawall.telemetry.subscribers.lines import EVERY_S, Notes
from seawall.testing import VirtualClock
from tests.repo import tree
from tests.telemetry.logs.lines import read
from tests.telemetry.subscribers.watching import Lines, bank, outage
from tests.telemetry.tracing.world import World


def said(*signals):
    """What is logged of these."""
    hub, logger = Hub(), Lines()
    with observe(hub, logger=logger) as observation:
        for signal in signals:
            hub.publish(signal)
    assert observation.statistics().written == len(logger.lines)
    return logger.lines


CASES = [
    (
        BreakerChanged(at=1.0, name="db", old="closed", new="open", reason="5 of 5 failed"),
        (logging.WARNING, "breaker is open: 5 of 5 failed", {"state": "open", "guard": "db"}),
    ),
    (
        BreakerChanged(at=1.0, name="db", old="open", new="half_open", reason="time"),
        (logging.INFO, "breaker is half-open: time", {"state": "half_open", "guard": "db"}),
    ),
    (
        BreakerForced(at=1.0, name="db", mode="open", owner="al", reason="why", until=2.0),
        (logging.WARNING, "breaker forced open by al: why", {"state": "open", "guard": "db"}),
    ),
    (
        BreakerReleased(at=1.0, name="db", mode="open"),
        (logging.INFO, "breaker no longer forced open: its time was over", {"guard": "db"}),
    ),
    (
        BreakerReleased(at=1.0, name="db", key="k", mode="open", owner="al"),
        (logging.INFO, "breaker no longer forced open: released by al", {"guard": "db", "key": "k"}),
    ),
    (
        BreakerRefused(at=1.0, name="db"),
        (logging.WARNING, "calls refused by the breaker", {"guard": "db", "count": 1}),
    ),
    (
        BulkheadRefused(at=1.0, name="db", in_flight=1, waiting=2),
        (logging.WARNING, "calls refused by the bulkhead", {"guard": "db", "count": 1}),
    ),
    (
        RateRefused(at=1.0, name="db"),
        (logging.WARNING, "calls refused by the rate limit", {"guard": "db", "count": 1}),
    ),
    (
        CallRefused(at=1.0, name="db"),
        (logging.WARNING, "calls refused by the guard", {"guard": "db", "count": 1}),
    ),
    (
        RetryScheduled(at=1.0, name="db", attempt=2, delay_s=0.1),
        (logging.DEBUG, "calls retried", {"attempt": 2, "duration_s": 0.1, "guard": "db", "count": 1}),
    ),
    (
        RetryRefused(at=1.0, name="db", attempt=2, reason="budget"),
        (logging.INFO, "failed calls not retried: budget", {"attempt": 2, "guard": "db", "count": 1}),
    ),
    (
        DeadlineExpired(at=1.0, name="db", timeout_s=2.0, stage="in the queue"),
        (logging.WARNING, "out of time: in the queue", {"timeout_s": 2.0, "guard": "db", "count": 1}),
    ),
    (
        FallbackUsed(at=1.0, name="db", error="OSError"),
        (logging.INFO, "fallback used for OSError", {"guard": "db", "count": 1}),
    ),
    (
        PolicyReloaded(at=1.0, name="db", changes=(PolicyChange("breaker.errors", 1, 2),)),
        (logging.INFO, "policy changed: breaker.errors", {"guard": "db"}),
    ),
    (
        PolicyReloaded(at=1.0, name="db", changes=()),
        (logging.INFO, "policy changed: nothing", {"guard": "db"}),
    ),
    (
        EvictedKey(at=1.0, name="db", key="k", limit=9),
        (logging.INFO, "keys forgotten, since there may be 9", {"guard": "db", "count": 1}),
    ),
]


@pytest.mark.parametrize(("signal", "line"), CASES, ids=lambda case: type(case).__name__)
def test_what_is_said(signal, line):
    assert said(signal) == [line]


def test_a_kind_that_derives_is_said_as_its_base():
    late = type("Late", (BreakerRefused,), {})
    assert said(late(at=1.0, name="db"))[0][1] == "calls refused by the breaker"


def test_what_is_worth_no_line():
    assert said(Signal(at=1.0, name="x"), RampMoved(at=1.0, name="x", old=0.1, share=0.2)) == []


def test_a_storm_has_a_line_now_and_then_with_its_number():
    storm = [BreakerRefused(at=number / 100, name="db") for number in range(2_500)]
    counts = [values["count"] for _, _, values in said(*storm)]
    assert counts == [1, 1_000, 1_000]


@given(
    st.floats(0.0, 1e9),
    st.lists(st.floats(0.0, 3.0), min_size=1, max_size=80),
    st.lists(st.floats(0.0, 0.01), min_size=80, max_size=80),
)
def test_a_storm_is_bounded_whatever_the_times(start, gaps, lateness):
    notes, at, told = Notes(), start, []
    for gap, late in zip(gaps, lateness, strict=False):
        at += gap
        told.append(notes.note(BreakerRefused(at=at - late, name="db"), lambda: None))
    lines = [note for note in told if note is not None]
    assert len(lines) <= (at - start) / EVERY_S + 1.1
    assert sum(note.count for note in lines) + notes._slots[BreakerRefused, "db", ""].missed == len(told)


@pytest.mark.parametrize("at", [0.0, 0.1, 0.30000000000000004, 1e9 + 0.1])
def test_a_storm_in_one_moment_has_one_line(at):
    assert len(said(*[BreakerRefused(at=at, name="db")] * 100)) == 1


def test_guards_kinds_and_details_have_lines_of_their_own():
    storm = [
        kind(at=1.0, name=name, **more)
        for name in ("a", "b")
        for kind, more in (
            (BreakerRefused, {}),
            (RateRefused, {}),
            (FallbackUsed, {"error": "OSError"}),
            (FallbackUsed, {"error": "ValueError"}),
        )
        for _ in range(5)
    ]
    assert len(said(*storm)) == 8


def test_changes_of_keys_are_said_together():
    storm = [
        BreakerChanged(at=1.0, name="db", key=f"k{number}", old="closed", new="open", reason="errors")
        for number in range(100)
    ]
    late = BreakerChanged(at=1.0 + EVERY_S, name="db", key="k", old="closed", new="open", reason="errors")
    first, last = said(*storm, late)
    assert ("count" in first[2], last[2]["count"]) == (False, 100)


def test_another_clock_is_not_waited_for():
    notes = Notes()
    assert notes.note(BreakerRefused(at=1e9, name="db"), lambda: None).count == 1
    assert notes.note(BreakerRefused(at=1e9 + 1, name="db"), lambda: None) is None
    assert notes.note(BreakerRefused(at=5.0, name="db"), lambda: None).count == 2


def test_kinds_of_lines_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "SLOTS_MAX", 3)
    notes = Notes()
    given = [notes.note(BreakerRefused(at=1.0, name=f"g{number}"), lambda: None) for number in range(10)]
    assert [note is not None for note in given] == [True] * 4 + [False] * 6
    assert (len(notes._slots), notes.left_out.value) == (4, 6)


def test_the_lines_of_an_outage_follow_the_schema_and_have_the_trace(tmp_path):
    path, hub, clock, world = tmp_path / "log", Hub(), VirtualClock(), World()
    with configure(LogSettings(service="tests", destination=str(path))), observe(hub):
        with world.tracer.start_as_current_span("request") as span:
            outage(bank(hub, clock), clock)
    lines = read(path)
    assert [line["message"].split(":")[0] for line in lines if "breaker is" in line["message"]] == [
        "breaker is open",
        "breaker is half-open",
        "breaker is open",
        "breaker is half-open",
        "breaker is ramping",
        "breaker is closed",
    ]
    assert {line["traceId"] for line in lines} == {f"{span.trace_id:032x}"}
    assert {line["context"]["guard"] for line in lines} == {"bank"}
    assert {line["context"]["logger"] for line in lines} == {"seawall.guards"}


def test_a_key_is_shown_only_where_it_was_declared(tmp_path):
    lines = []
    for number, declared in enumerate([(), ("key",)]):
        hub, path = Hub(), tmp_path / f"{number}"
        settings = LogSettings(
            service="tests", destination=str(path), context_keys={"guard", "count", *declared}
        )
        with configure(settings), observe(hub):
            hub.publish(BreakerRefused(at=1.0, name="db", key="tenant-7"))
        lines += [json.loads(line)["context"]["key"] for line in path.read_text().splitlines()]
    assert lines == ["<str 8>", "tenant-7"]


def test_a_child_process_says_its_own_lines():
    program = tree.ROOT / "tests/telemetry/subscribers/forking.py"
    done = subprocess.run(
        [sys.executable, str(program)], cwd=tree.ROOT, capture_output=True, text=True, check=False, timeout=9
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == ["child: child", "parent: after", "parent: before"]
