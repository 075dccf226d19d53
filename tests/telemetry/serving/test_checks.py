"""Running checks on virtual time: at once, at most once each, and no longer than their timeouts."""

import asyncio
import threading

import pytest

from seawall.kernel.errors import UsageError
from seawall.telemetry.serving.checks import CHECKS_MAX, HOLDS_MAX, Checks
from seawall.telemetry.serving.health import Check, CheckFailed, Probe, Status
from seawall.testing import VirtualClock, run


def played(scenario):
    """Run ``scenario(checks, clock)`` on virtual time."""
    clock = VirtualClock()

    async def main():
        checks = Checks(clock)
        try:
            return await scenario(checks, clock)
        finally:
            await checks.close()

    return run(main(), clock)


async def ready(checks):
    report = await checks.report(Probe.READINESS)
    return {result.name: (result.healthy, result.reason) for result in report.results}


async def hang():
    await asyncio.Event().wait()


async def hang_on():
    """Doesn't let itself be cancelled."""
    while True:
        try:
            await asyncio.sleep(1_000.0)
            break
        except asyncio.CancelledError:
            continue


def test_answers_are_judged() -> None:
    async def awaited():
        await asyncio.sleep(0.1)
        return {"rows": 1}

    def broken():
        raise CheckFailed("no primary")

    async def scenario(checks, clock):
        for name, call in {"a": lambda: True, "b": awaited, "c": broken, "d": lambda: False}.items():
            checks.add(Check(name=name, call=call))
        return await ready(checks)

    assert played(scenario) == {
        "a": (True, ""),
        "b": (True, ""),
        "c": (False, "no primary"),
        "d": (False, "the check says no"),
    }


def test_checks_run_at_the_same_time() -> None:
    async def scenario(checks, clock):
        for number in range(10):
            checks.add(Check(name=f"c{number}", call=lambda: asyncio.sleep(0.5)))
        await checks.report(Probe.READINESS)
        return clock.monotonic()

    assert played(scenario) == pytest.approx(0.5)


def test_a_hanging_check_fails_by_name_at_its_timeout_and_the_others_are_told() -> None:
    async def scenario(checks, clock):
        checks.add(Check(name="database", call=hang, timeout_s=0.75))
        checks.add(Check(name="cache", call=lambda: True))
        return await ready(checks), clock.monotonic()

    seen, took = played(scenario)
    assert seen == {"database": (False, "no answer within 750ms"), "cache": (True, "")}
    assert took == pytest.approx(0.75)


def test_an_overdue_check_is_cancelled_and_leaves_nothing_behind() -> None:
    async def scenario(checks, clock):
        checks.add(Check(name="database", call=hang, max_age_s=0.0))
        seen = [await ready(checks)]
        await asyncio.sleep(0.1)
        left = checks.statistics().overdue, len(asyncio.all_tasks())
        return [*seen, await ready(checks)], left, checks.statistics().started

    seen, left, started = played(scenario)
    assert seen == [{"database": (False, "no answer within 1s")}] * 2
    assert left == (0, 1)
    assert started == 2


def test_closing_and_removing_cancel_what_runs() -> None:
    async def scenario(checks, clock):
        for name in ("database", "cache"):
            checks.add(Check(name=name, call=hang))
        asker = asyncio.create_task(checks.report(Probe.READINESS))
        await asyncio.sleep(0.1)
        checks.remove("cache")
        checks.remove("never there")
        await checks.close()
        await asyncio.gather(asker, return_exceptions=True)
        await asyncio.sleep(0.1)
        return len(asyncio.all_tasks()), clock.monotonic()

    left, took = played(scenario)
    assert left == 1
    assert took == pytest.approx(0.2)


def test_a_check_that_resists_cancellation_is_never_started_twice() -> None:
    calls = []

    def call():
        calls.append(None)
        return hang_on()

    async def scenario(checks, clock):
        checks.add(Check(name="database", call=call, timeout_s=1.0, max_age_s=0.0))
        first = await ready(checks)
        overdue = checks.statistics().overdue
        before = clock.monotonic()
        later = []
        for _ in range(50):
            await asyncio.sleep(2.0)
            later.append(await ready(checks))
        slept = clock.monotonic() - before
        await asyncio.sleep(2_000.0)
        alive = len(asyncio.all_tasks())
        return first, later, slept, overdue, alive, checks.statistics()

    first, later, slept, overdue, alive, statistics = played(scenario)
    assert first == {"database": (False, "no answer within 1s")}
    assert later[0] == {"database": (False, "still running after 3s")}
    assert slept == pytest.approx(100.0)  # nobody waited for it again
    assert len(calls) == 1
    assert overdue == 1
    assert alive == 1
    assert (statistics.overdue, statistics.started, statistics.not_started, statistics.timed_out) == (
        0,
        1,
        50,
        1,
    )


def test_a_check_that_came_back_is_asked_again() -> None:
    calls = []

    async def call():
        calls.append(None)
        if len(calls) == 1:
            await hang_on()

    async def scenario(checks, clock):
        checks.add(Check(name="database", call=call, max_age_s=0.0))
        first = await ready(checks)
        await asyncio.sleep(2_000.0)
        return first, await ready(checks)

    assert played(scenario) == (
        {"database": (False, "no answer within 1s")},
        {"database": (True, "")},
    )


def test_a_young_result_is_told_again_with_its_age() -> None:
    calls = []

    async def scenario(checks, clock):
        checks.add(Check(name="database", call=lambda: calls.append(None), max_age_s=5.0))
        await checks.report(Probe.READINESS)
        await asyncio.sleep(4.0)
        second = await checks.report(Probe.READINESS)
        await asyncio.sleep(2.0)
        third = await checks.report(Probe.READINESS)
        ages = [r.document(full=True)["checks"]["database"]["age_s"] for r in (second, third)]
        return ages, checks.statistics().cached

    assert played(scenario) == ([4.0, 0.0], 1)
    assert len(calls) == 2


def test_all_who_ask_at_once_share_one_run_even_if_the_first_goes_away() -> None:
    calls = []

    async def call():
        calls.append(None)
        await asyncio.sleep(0.5)

    async def scenario(checks, clock):
        checks.add(Check(name="database", call=call, max_age_s=0.0))
        askers = [asyncio.create_task(ready(checks)) for _ in range(20)]
        await asyncio.sleep(0.1)
        askers[0].cancel()
        return await asyncio.gather(*askers[1:])

    assert played(scenario) == [{"database": (True, "")}] * 19
    assert len(calls) == 1


def test_places_are_limited_and_waiting_for_one_counts_as_time() -> None:
    clock = VirtualClock()
    running = []
    most = []

    async def call():
        running.append(None)
        most.append(len(running))
        await asyncio.sleep(0.6)
        running.pop()

    async def main():
        checks = Checks(clock, concurrency=2)
        for number in range(6):
            checks.add(Check(name=f"c{number}", call=call, timeout_s=1.0))
        return await ready(checks), clock.monotonic()

    seen, took = run(main(), clock)
    assert max(most) == 2
    assert took == pytest.approx(1.0)
    reasons = [reason for _, reason in seen.values()]
    assert reasons[:4] == ["", "", "no answer within 1s", "no answer within 1s"]
    assert reasons[4:] == ["found no place among the running checks within 1s"] * 2


def test_a_blocking_check_hangs_on_a_thread_of_its_own_and_only_there() -> None:
    gate = threading.Event()
    threads = []

    def block():
        threads.append(threading.current_thread())
        gate.wait(20.0)
        return True

    async def main():
        checks = Checks()
        checks.add(Check(name="disk", call=block, timeout_s=0.02, max_age_s=0.0, threaded=True))
        first = await ready(checks)
        again = [await ready(checks) for _ in range(5)]
        gate.set()
        while checks.statistics().overdue:  # noqa: ASYNC110 -- the thread rings no bell
            await asyncio.sleep(0)
        checks.remove("disk")
        checks.add(Check(name="disk", call=block, timeout_s=20.0, threaded=True))
        return first, again, await ready(checks)

    first, again, last = asyncio.run(main())
    assert first == {"disk": (False, "no answer within 20ms")}
    assert all(seen["disk"][1].startswith("still running after") for seen in again)
    assert last == {"disk": (True, "")}
    assert len(threads) == 2
    assert all(thread.daemon for thread in threads)


def test_what_a_thread_raises_is_its_verdict() -> None:
    def broken():
        raise StopIteration

    async def main():
        checks = Checks()
        checks.add(Check(name="disk", call=broken, timeout_s=20.0, threaded=True))
        return await ready(checks)

    assert asyncio.run(main()) == {"disk": (False, "the check raised StopIteration")}


def test_without_threads_to_give_the_check_fails_and_nothing_else(monkeypatch) -> None:
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    async def scenario(checks, clock):
        checks.add(Check(name="disk", call=bool, threaded=True))
        return await ready(checks)

    assert played(scenario) == {"disk": (False, "the check raised RuntimeError")}


def test_a_check_that_cancels_itself_has_failed() -> None:
    async def call():
        raise asyncio.CancelledError

    async def scenario(checks, clock):
        checks.add(Check(name="database", call=call))
        return await ready(checks)

    assert played(scenario) == {"database": (False, "the check was cancelled")}


def test_who_asks_about_a_check_that_is_removed_meanwhile_gets_an_answer() -> None:
    async def scenario(checks, clock):
        checks.add(Check(name="database", call=hang))
        asker = asyncio.create_task(ready(checks))
        await asyncio.sleep(0.1)
        checks.remove("database")
        return await asker, await ready(checks)

    assert played(scenario) == ({"database": (False, "the check was cancelled")}, {})


class Unreadable(dict):
    def items(self):
        raise RuntimeError("changed meanwhile")


def test_an_answer_that_cannot_be_read_has_failed_and_the_others_are_told() -> None:
    async def scenario(checks, clock):
        checks.add(Check(name="database", call=lambda: Unreadable(a=1)))
        checks.add(Check(name="cache", call=lambda: True))
        return await ready(checks)

    seen = played(scenario)
    assert seen == {"database": (False, "the check raised RuntimeError"), "cache": (True, "")}


def test_liveness_and_readiness_ask_different_checks() -> None:
    async def scenario(checks, clock):
        checks.add(Check(name="database", call=lambda: False))
        checks.add(Check(name="loop", call=lambda: True, probes=frozenset({Probe.LIVENESS})))
        checks.hold("draining")
        live, fit = await checks.report(Probe.LIVENESS), await checks.report(Probe.READINESS)
        return live, fit

    live, fit = played(scenario)
    assert ([r.name for r in live.results], live.status, live.holds) == (["loop"], Status.HEALTHY, ())
    assert ([r.name for r in fit.results], fit.status, fit.holds) == (
        ["database"],
        Status.UNHEALTHY,
        ("draining",),
    )


def test_a_hold_can_be_taken_back() -> None:
    async def scenario(checks, clock):
        checks.hold("starting")
        before = (await checks.report(Probe.READINESS)).status
        checks.release("starting")
        checks.release("never held")
        return before, (await checks.report(Probe.READINESS)).status

    assert played(scenario) == (Status.UNHEALTHY, Status.HEALTHY)


def test_registrations_are_limited_and_names_are_unique() -> None:
    checks = Checks()
    for number in range(CHECKS_MAX):
        checks.add(Check(name=f"c{number}", call=bool))
    with pytest.raises(UsageError, match="registered already"):
        checks.add(Check(name="c0", call=bool))
    with pytest.raises(UsageError, match=f"allowed are {CHECKS_MAX}"):
        checks.add(Check(name="more", call=bool))
    for number in range(HOLDS_MAX):
        checks.hold(f"h{number}")
    checks.hold("h0")
    with pytest.raises(UsageError, match=f"allowed are {HOLDS_MAX}"):
        checks.hold("more")
    with pytest.raises(UsageError, match="from 1"):
        Checks(concurrency=0)
    assert f"<Checks {CHECKS_MAX} " in repr(checks)
