"""How an exporter ends, begins again, and begins anew in a child process."""

import asyncio

import pytest

from seawall.telemetry.otlp import Encoder, Exporter, OtlpSettings
from seawall.telemetry.otlp import exporter as under_test
from seawall.testing.loop import run
from tests.telemetry.otlp.collectors import Lane
from tests.telemetry.otlp.exporting import HANG, LATER, Script, asked, balanced, exporting
from tests.telemetry.otlp.samples import light

# --- the end ------------------------------------------------------------------------------------------------


def test_a_stop_sends_what_is_left():
    async def main(exporter, lane, script):
        last = await exporter.stop()
        assert (last.exported, last.taken, lane.spans, script.closed) == (2_500, 2_500, [], 1)
        assert not exporter._tasks
        assert (await exporter.stop()).exported == 2_500

    exporting(main, spans=light(2_500))


def test_a_stop_ends_in_time_and_counts_what_it_left():
    async def main(exporter, lane, script):
        await asyncio.sleep(1.0)
        begun = asyncio.get_running_loop().time()
        last = await exporter.stop(3.0)
        assert asyncio.get_running_loop().time() - begun == pytest.approx(3.0)
        assert (last.taken, last.dropped["shutdown"], last.pending) == (100, 100, 0)
        assert script.closed == 1

    exporting(main, spans=light(100), last=HANG, batch_spans=10, buffer_requests=4, timeout_s=100.0)


def test_a_stop_without_any_time():
    async def main(exporter, lane, script):
        last = await exporter.stop(0.0)
        assert (last.dropped["shutdown"], last.exported) == (10, 0)

    exporting(main, spans=light(10))


def test_a_stop_in_the_middle_of_encoding():
    async def main(exporter, lane, script):
        for _ in range(20):
            await asyncio.sleep(0)
        assert balanced(exporter).pending == 2_048
        last = await exporter.stop(0.0)
        balanced(exporter)
        assert last.dropped["shutdown"] == 2_048

    exporting(main, spans=light(2_048))


def test_a_stop_before_the_start_counts_the_lane():
    async def main():
        exporter = Exporter(Lane(light(3)), Script(), OtlpSettings(), Encoder())
        assert (await exporter.stop()).dropped["shutdown"] == 3

    run(main())


def test_a_stop_doesnt_wait_for_a_gate_that_chance_closed():
    async def main(exporter, lane, script):
        await asyncio.sleep(5.3)
        assert exporter._gate.troubles == 1
        assert (await exporter.stop(0.5)).exported == 3

    exporting(main, LATER, spans=light(3), retry_base_s=20.0)


def test_a_stop_keeps_the_wait_that_the_collector_asked_for():
    async def main(exporter, lane, script):
        await asyncio.sleep(5.3)
        last = await exporter.stop(0.5)
        assert (last.exported, last.dropped["shutdown"], len(script.attempts)) == (0, 3, 1)

    exporting(main, asked(20.0), spans=light(3))


def test_a_stop_that_is_cancelled_leaves_no_task():
    async def main(exporter, lane, script):
        stop = asyncio.ensure_future(exporter.stop(50.0))
        await asyncio.sleep(1.0)
        stop.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stop
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1
        assert balanced(exporter).dropped["shutdown"] == 3

    exporting(main, spans=light(3), last=HANG, timeout_s=100.0)


def test_a_lane_that_is_filled_without_end_doesnt_keep_a_stop():
    class Endless:
        def take(self, limit):
            return light(1)

    async def main():
        exporter = Exporter(Endless(), Script(last=HANG), OtlpSettings(timeout_s=100.0), Encoder())
        exporter.start()
        last = await exporter.stop(1.0)
        assert last.dropped["shutdown"] == last.taken
        balanced(exporter)

    run(main())


def test_a_lane_that_raises_doesnt_keep_a_stop():
    async def main(exporter, lane, script):
        lane.take = None
        last = await exporter.stop(0.5)
        assert last.faults == 2  # the drain's and the stop's
        del lane.take

    exporting(main)


def test_the_forks_of_a_process_reach_every_exporter_that_was_started():
    async def main(exporter, lane, script):
        await exporter.flush()
        under_test._forked()
        assert (script.forks, balanced(exporter).taken) == (1, 0)

    exporting(main, spans=light(3))


def test_it_can_be_started_again():
    async def main(exporter, lane, script):
        exporter.start()  # has begun already
        assert len(exporter._tasks) == 1 + exporter.settings.in_flight
        await exporter.stop()
        lane.spans += light(4)
        exporter.start()
        assert "running" in repr(exporter)
        assert await exporter.flush()
        assert balanced(exporter).exported == 7

    exporting(main, spans=light(3))


def test_a_loop_that_ends_without_a_stop_and_another_one():
    lane, script = Lane(light(2_048)), Script()
    exporter = Exporter(lane, script, OtlpSettings(), Encoder())

    async def first():
        exporter.start()
        for _ in range(20):
            await asyncio.sleep(0)

    async def second():
        exporter.start()
        lane.spans += light(5)
        assert await exporter.flush()
        await exporter.stop()

    run(first())
    assert balanced(exporter).dropped["shutdown"] == 2_048
    run(second())
    assert balanced(exporter).exported == 5


def test_a_request_that_was_being_sent_when_the_loop_ended_goes_with_the_next():
    lane, script = Lane(light(3)), Script(HANG)
    exporter = Exporter(lane, script, OtlpSettings(), Encoder())

    async def first():
        exporter.start()
        await exporter.flush(1.0)
        assert balanced(exporter).sending == 3

    async def second():
        assert balanced(exporter).buffered == 3
        exporter.start()
        assert await exporter.flush()
        await exporter.stop()

    run(first())
    run(second())
    assert balanced(exporter).exported == 3


def test_an_injected_clock_decides_about_age():
    async def main():
        now = 0.0
        lane, script = Lane(light(1)), Script()
        exporter = Exporter(lane, script, OtlpSettings(), Encoder(), clock=lambda: now)
        exporter.start()
        await asyncio.sleep(50.0)
        assert not script.attempts
        now = 5.0
        await asyncio.sleep(1.0)
        assert len(script.attempts) == 1
        await exporter.stop()

    run(main())


# --- in a child process -------------------------------------------------------------------------------------


def test_in_a_child_everything_starts_from_nothing():
    async def main(exporter, lane, script):
        await asyncio.sleep(5.3)
        stale = list(exporter._tasks)
        assert balanced(exporter).sending == 3
        exporter.forked()
        now = balanced(exporter)
        assert (now.taken, now.sending, now.buffered, script.forks) == (0, 0, 0, 1)
        lane.spans += light(4)
        exporter.start()
        assert await exporter.flush()
        assert balanced(exporter).exported == 4
        script.answers.append(HANG)
        lane.spans += light(2)
        assert not await exporter.flush(1.0)
        await asyncio.sleep(5.0)  # the parent's request times out; it has the number of one of the child's
        assert (balanced(exporter).sending, balanced(exporter).exported) == (2, 4)
        await asyncio.sleep(200.0)
        assert balanced(exporter).exported == 6  # a stale task that wakes ends itself, and settles nothing
        for task in stale:
            task.cancel()
        await asyncio.gather(*stale, return_exceptions=True)
        assert balanced(exporter).taken == 6

    exporting(main, HANG, spans=light(3))


def test_a_stale_task_stops_encoding():
    async def main(exporter, lane, script):
        for _ in range(20):
            await asyncio.sleep(0)
        stale = list(exporter._tasks)
        exporter.forked()
        await asyncio.sleep(1.0)
        assert (script.attempts, balanced(exporter).taken) == ([], 0)
        assert stale[0].done()
        for task in stale:
            task.cancel()
        await asyncio.gather(*stale, return_exceptions=True)

    exporting(main, spans=light(2_048))
