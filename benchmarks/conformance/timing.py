"""Cases about time and arithmetic: wall clocks, time zones, window edges, single errors."""

from __future__ import annotations

import datetime as dt
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from benchmarks.conformance.subject import Case, Make, Verdict, verdict


def _shifted(seconds: float) -> type[dt.datetime]:
    """Return a datetime class whose now is ``seconds`` off."""
    delta = dt.timedelta(seconds=seconds)

    class Shifted(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override] # a plain datetime is enough for arithmetic
            return dt.datetime.now(tz) + delta

        @classmethod
        def utcnow(cls) -> dt.datetime:  # type: ignore[override] # as above
            return dt.datetime.now(dt.UTC).replace(tzinfo=None) + delta

    return Shifted


@contextmanager
def wall_clock_stepped(seconds: float) -> Iterator[None]:
    """Step the wall clock as every loaded module reads it; monotonic clocks stay what they are."""
    true_time = time.time
    shifted = _shifted(seconds)

    def shifted_time() -> float:
        return true_time() + seconds

    with mock.patch.object(time, "time", shifted_time):
        patches = [
            mock.patch.object(module, "datetime", shifted)
            for name, module in list(sys.modules.items())
            if name.split(".")[0] in {"aiobreaker", "circuitbreaker", "interlock", "purgatory", "pybreaker"}
            and getattr(module, "datetime", None) is dt.datetime
        ]
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()


def wall_clock_forward(make: Make) -> Verdict:
    """A clock that jumps an hour ahead must not end the open time."""
    subject = make(open_for_s=60.0, system_clock=True)
    subject.trip()
    with wall_clock_stepped(3600.0):
        through = subject.call("ok").reached
    return verdict(not through, "+1 h: admitted at once" if through else "+1 h: stays open")


def wall_clock_back(make: Make) -> Verdict:
    """A clock that jumps an hour back must not keep the breaker open an hour longer."""
    subject = make(system_clock=True)
    subject.trip()
    with wall_clock_stepped(-3600.0):
        subject.wait(subject.setup.open_for_s * 1.5)
        through = subject.call("ok").reached
    return verdict(through, "-1 h: reopens on time" if through else "-1 h: rejects an hour too long")


@contextmanager
def time_zone(name: str) -> Iterator[None]:
    """Live in another time zone."""
    with mock.patch.dict(os.environ, {"TZ": name}):
        time.tzset()
        try:
            yield
        finally:
            os.environ.pop("TZ", None)
    time.tzset()


def hint_in_any_zone(make: Make) -> Verdict:
    """What a rejection says about waiting holds in every time zone."""
    said: dict[str, float | None] = {}
    for zone in ("America/New_York", "Asia/Tokyo", "UTC"):
        with time_zone(zone):
            subject = make(open_for_s=60.0)
            subject.trip()
            error = subject.call("ok").error
            said[zone] = None if error is None else subject.hint_s(error)
    right = all(value is not None and 50.0 <= value <= 70.0 for value in said.values())
    text = ", ".join(f"{zone.split('/')[-1]} {value and round(value)} s" for zone, value in said.items())
    return verdict(right, f"retry hint of 60 s: {text}")


def window_edge(make: Make) -> Verdict:
    """Nine errors in a hundred and twenty calls are 8 %, wherever the window's edge falls."""
    subject = make(ratio=0.4, minimum=10, in_a_row=False)
    for _ in range(100):
        subject.call("ok")
        subject.wait(0.09)
    subject.wait(0.95)
    for _ in range(9):
        subject.calls("fail", "ok")
    opened = subject.is_open
    return verdict(not opened, "8 % true, opened at a 40 % limit" if opened else "8 % true: closed at 40 %")


def single_error(make: Make) -> Verdict:
    """One error in twenty calls is an anecdote, not more than 5 %."""
    subject = make(ratio=0.05, minimum=20, in_a_row=False)
    for _ in range(19):
        subject.call("ok")
        subject.wait(0.2)
    subject.call("fail")
    subject.wait(0.2)
    opened = subject.is_open
    return verdict(not opened, "1 error in 20 opened it" if opened else "1 error in 20: closed")


def few_errors_often(make: Make) -> Verdict:
    """A quiet key at 1 % errors must not open within a virtual hour: two errors in 20 calls happen."""
    subject = make(ratio=0.05, minimum=20, in_a_row=False)
    for index in range(7200):
        subject.call("fail" if index % 100 in (7, 8) and index % 200 < 100 else "ok")
        subject.wait(0.5)
        if subject.is_open:
            return verdict(False, f"opened after {index + 1} calls at 1 % errors")
    return verdict(True, "closed through 7,200 calls at 1 % errors, two in a row")


CASES = (
    Case("wall clock forward", "a step of the wall clock does not end the wait", (), wall_clock_forward),
    Case("wall clock back", "a step of the wall clock does not prolong the wait", (), wall_clock_back),
    Case("time zone", "a rejection's hint is right in every time zone", ("hint",), hint_in_any_zone),
    Case("fixed-window edge", "a window's edge does not inflate a rate", ("window", "clock"), window_edge),
    Case(
        "single error trips", "one error among the minimum does not open", ("window", "clock"), single_error
    ),
    Case("quiet key at 1 %", "small numbers do not open by chance", ("window", "clock"), few_errors_often),
)
