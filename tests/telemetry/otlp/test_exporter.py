"""The exporter on virtual time, with a script for a collector."""

import asyncio
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.telemetry.otlp import Answer, Encoder, Exporter, OtlpSettings, Verdict
from seawall.telemetry.otlp.encode import STEP_SPANS
from seawall.telemetry.otlp.exporter import FAULT_PAUSE_S, TAKE_SPANS
from seawall.testing.loop import run
from tests.telemetry.otlp.collectors import Lane
from tests.telemetry.otlp.exporting import (
    ACCEPTED,
    HANG,
    LATER,
    NEVER,
    Script,
    asked,
    balanced,
    exporting,
)
from tests.telemetry.otlp.samples import Light, light

# --- batches ------------------------------------------------------------------------------------------------


def test_spans_wait_for_others_but_not_longer_than_the_delay():
    async def main(exporter, lane, script):
        await asyncio.sleep(2.0)
        lane.spans += light(2)
        await asyncio.sleep(2.9)
        assert (script.attempts, balanced(exporter).pending) == ([], 5)
        await asyncio.sleep(0.4)
        assert [spans for _, spans in script.attempts] == [5]
        assert balanced(exporter).exported == 5

    exporting(main, spans=light(3), batch_delay_s=5.0)


def test_a_full_batch_goes_at_once():
    async def main(exporter, lane, script):
        await asyncio.sleep(0.05)
        assert sorted(spans for _, spans in script.attempts) == [100, 100]
        assert balanced(exporter).pending == 50

    exporting(main, spans=light(250), batch_spans=100)


def test_an_idle_exporter_only_looks():
    async def main(exporter, lane, script):
        await asyncio.sleep(10.0)
        assert 95 <= len(lane.takes) <= 105
        assert script.attempts == []

    exporting(main, poll_s=0.1)


def test_no_more_is_taken_at_once_than_is_quick():
    async def main(exporter, lane, script):
        await asyncio.sleep(0.05)
        assert max(lane.takes) == TAKE_SPANS
        assert balanced(exporter).exported == 2_048

    exporting(main, spans=light(2_048))


def test_the_loop_turns_between_the_steps_of_a_flush():
    """2 048 spans are some 64 steps; others get their turn after each."""

    async def main(exporter, lane, script):
        turns = 0

        async def other():
            nonlocal turns
            while not script.attempts:
                turns += 1
                await asyncio.sleep(0)

        await asyncio.gather(other(), exporter.flush())
        assert turns > 2_048 // STEP_SPANS

    exporting(main, spans=light(2_048))


def test_spans_are_let_go_of_as_they_are_encoded():
    """Freeing two thousand of them at once would hold the loop for half a millisecond."""

    class Watched(Light):
        __slots__ = ("__weakref__",)

    async def main(exporter, lane, script):
        lane.spans += [Watched() for _ in range(1_000)]
        alive = [weakref.ref(span) for span in lane.spans]
        left = []
        flush = asyncio.ensure_future(exporter.flush())
        while not script.attempts:
            left.append(sum(ref() is not None for ref in alive))
            await asyncio.sleep(0)
        await flush
        assert len(set(left)) > 1_000 // STEP_SPANS

    exporting(main)


def test_a_batch_that_is_too_long_is_several_requests():
    async def main(exporter, lane, script):
        assert await exporter.flush()
        now = balanced(exporter)
        assert (now.exported, now.requests) == (60, len(script.attempts))
        assert now.requests > 1

    exporting(main, spans=light(60), request_bytes=2_048)


def test_waking_it_looks_at_the_lane_at_once():
    async def main(exporter, lane, script):
        await asyncio.sleep(1.0)
        lane.spans += light(10)
        exporter.wake()
        await asyncio.sleep(0.0001)
        assert balanced(exporter).pending == 10

    exporting(main, poll_s=50.0)


# --- flush --------------------------------------------------------------------------------------------------


def test_a_flush_waits_for_what_is_in_the_lane():
    async def main(exporter, lane, script):
        assert await exporter.flush()
        assert balanced(exporter).exported == 3
        assert asyncio.get_running_loop().time() < 0.01
        assert await exporter.flush()  # nothing to do

    exporting(main, spans=light(3))


def test_a_flush_includes_what_is_being_encoded_and_sent():
    async def main(exporter, lane, script):
        await asyncio.sleep(0.0)
        lane.spans += light(5)
        results = await asyncio.gather(exporter.flush(), exporter.flush(), exporter.flush())
        assert results == [True] * 3
        assert balanced(exporter).exported == 5 + 2_048

    exporting(main, spans=light(2_048))


def test_a_flush_gives_up():
    async def main(exporter, lane, script):
        assert not await exporter.flush(2.0)
        assert asyncio.get_running_loop().time() == pytest.approx(2.0)
        assert balanced(exporter).sending == 3

    exporting(main, spans=light(3), last=HANG)


def test_a_flush_without_a_start_does_nothing():
    async def main():
        exporter = Exporter(Lane(light(1)), Script(), OtlpSettings(), Encoder())
        assert not await exporter.flush()
        assert "stopped" in repr(exporter)

    run(main())


# --- failures -----------------------------------------------------------------------------------------------


def test_a_failed_attempt_is_repeated_after_a_growing_wait():
    async def main(exporter, lane, script):
        assert await exporter.flush(100.0)
        assert script.times == pytest.approx([0.0, 1.0, 3.0, 7.0], abs=0.01)
        now = balanced(exporter)
        assert (now.exported, now.failed["connection"], now.troubles) == (3, 3, 0)
        assert now.last_failure == "connection: refused"
        assert now.bytes_sent % 4 == 0

    exporting(main, LATER, LATER, LATER, spans=light(3))


def test_the_wait_is_a_matter_of_chance():
    async def main(exporter, lane, script):
        assert await exporter.flush(100.0)
        assert script.times == pytest.approx([0.0, 0.5], abs=0.01)

    exporting(main, LATER, spans=light(3), rng=lambda: 0.0)


def test_a_wait_that_the_collector_asks_for_is_kept_by_all_requests():
    async def main(exporter, lane, script):
        exporter.wake()
        await asyncio.sleep(1.0)
        lane.spans += light(10)
        await asyncio.sleep(18.9)
        assert len(script.attempts) == 1
        await asyncio.sleep(0.5)
        assert balanced(exporter).exported == 20

    exporting(main, asked(20.0), spans=light(10), batch_spans=10, rng=lambda: 0.1)


def test_what_the_collector_refuses_is_dropped_and_the_rest_goes_on():
    async def main(exporter, lane, script):
        assert await exporter.flush()
        now = balanced(exporter)
        assert (now.exported, now.dropped["refused"], now.failed["refused"]) == (10, 10, 1)
        assert (now.last_failure, now.troubles) == ("refused: HTTP 400", 0)

    exporting(main, NEVER, spans=light(20), batch_spans=10)


def test_a_partial_success_is_counted():
    async def main(exporter, lane, script):
        assert await exporter.flush()
        now = balanced(exporter)
        assert (now.exported, now.dropped["rejected"], sum(now.failed.values())) == (7, 3, 0)
        assert now.last_failure == "rejected: too old"

    exporting(main, Verdict(answer=Answer.ACCEPTED, rejected=3, text="too old"), spans=light(10))


def test_an_unreadable_answer_of_an_accepting_collector_is_counted():
    async def main(exporter, lane, script):
        assert await exporter.flush()
        assert (balanced(exporter).exported, balanced(exporter).garbled) == (10, 1)

    exporting(main, Verdict(answer=Answer.ACCEPTED, reason="garbled"), spans=light(10))


def test_a_request_that_fails_when_it_is_old_is_dropped():
    async def main(exporter, lane, script):
        assert await exporter.flush(100.0)
        now = balanced(exporter)
        assert (now.dropped["expired"], now.exported) == (3, 0)
        assert script.times[-1] >= 20.0
        assert len(script.attempts) == 6

    exporting(main, spans=light(3), last=LATER, retry_elapsed_s=20.0)


def test_in_an_outage_one_asks_for_all_and_the_old_make_way():
    """After minutes of outage the collector gets what is recent, and isn't swamped with attempts."""

    async def main(exporter, lane, script):
        for _ in range(300):
            lane.spans += light(10)
            await asyncio.sleep(1.0)
        now = balanced(exporter)
        assert len(script.attempts) < 30
        assert now.dropped["expired"] > 2_000
        script.last = ACCEPTED
        await asyncio.sleep(40.0)
        assert balanced(exporter).exported >= 450
        assert balanced(exporter).troubles == 0

    exporting(main, last=LATER, batch_spans=10, in_flight=2, retry_elapsed_s=60.0, buffer_requests=64)


def test_a_full_buffer_leaves_spans_in_the_lane_which_knows_which_to_keep():
    async def main(exporter, lane, script):
        await asyncio.sleep(5.0)
        now = balanced(exporter)
        assert now.taken == 4 * 10
        assert len(lane.spans) == 60
        assert not any(now.dropped.values())

    exporting(main, spans=light(100), last=HANG, batch_spans=10, buffer_requests=4, timeout_s=100.0)


def test_the_buffer_is_bounded_in_bytes_too():
    async def main(exporter, lane, script):
        await asyncio.sleep(5.0)
        assert balanced(exporter).taken <= 40
        assert len(lane.spans) >= 60

    exporting(main, spans=light(100), last=HANG, batch_spans=10, buffer_bytes=2_000, timeout_s=100.0)


def test_so_many_requests_are_sent_at_once_and_no_more():
    async def main(exporter, lane, script):
        await asyncio.sleep(5.0)
        assert script.most_at_once == 3

    exporting(main, spans=light(100), last=HANG, batch_spans=10, in_flight=3, timeout_s=100.0)


def test_one_request_that_hangs_doesnt_hold_the_others():
    async def main(exporter, lane, script):
        await asyncio.sleep(5.0)
        assert balanced(exporter).exported == 90

    exporting(main, HANG, spans=light(100), batch_spans=10, in_flight=2, timeout_s=50.0)


def test_spans_that_cant_be_encoded_are_counted():
    async def main(exporter, lane, script):
        assert await exporter.flush()
        now = balanced(exporter)
        assert (now.exported, now.dropped["unencodable"], now.dropped["too_large"]) == (2, 2, 1)

    large = Light(attributes={"text": "x" * 3_000})
    exporting(main, spans=[Light(context=None), *light(2), large, None], request_bytes=2_048)


def test_nothing_but_bad_spans():
    async def main(exporter, lane, script):
        assert await exporter.flush()
        assert (balanced(exporter).dropped["unencodable"], script.attempts) == (2, [])

    exporting(main, spans=[None, None])


# --- errors of our own --------------------------------------------------------------------------------------


def test_a_transport_that_raises_costs_one_request_and_a_rest():
    async def main(exporter, lane, script):
        assert await exporter.flush(100.0)
        now = balanced(exporter)
        assert (now.dropped["fault"], now.exported, now.faults) == (10, 10, 1)
        assert now.last_failure == "fault: ZeroDivisionError"
        await asyncio.sleep(FAULT_PAUSE_S + 0.1)
        lane.spans += light(30)
        assert await exporter.flush(100.0)
        assert balanced(exporter).exported == 40

    exporting(main, ZeroDivisionError(), spans=light(20), batch_spans=10, in_flight=1)


def test_a_verdict_with_an_unheard_of_reason_is_counted_as_a_fault():
    async def main(exporter, lane, script):
        assert await exporter.flush()
        assert balanced(exporter).failed["fault"] == 1

    exporting(main, Verdict(answer=Answer.REFUSED, reason="odd"), spans=light(1))


def test_a_request_that_cant_be_packed_costs_itself():
    async def main(exporter, lane, script):
        script.pack_error = OSError("no thread")
        assert not await exporter.flush(0.5)
        assert (balanced(exporter).dropped["fault"], balanced(exporter).faults) == (10, 1)
        script.pack_error = None
        lane.spans += light(5)
        assert await exporter.flush(10.0)
        assert balanced(exporter).exported == 5

    exporting(main, spans=light(10))


def test_a_lane_that_raises_is_looked_at_again():
    async def main(exporter, lane, script):
        take, lane.take = lane.take, None
        await asyncio.sleep(3.0)
        assert 2 <= exporter.statistics().faults <= 4
        lane.take = take
        assert await exporter.flush(10.0)
        assert balanced(exporter).exported == 3

    exporting(main, spans=light(3))


def test_nothing_of_all_that_is_logged(caplog):
    async def main(exporter, lane, script):
        await exporter.flush(30.0)
        await exporter.stop(0.0)
        assert balanced(exporter).faults == 1

    exporting(main, OSError("x"), LATER, NEVER, HANG, spans=[*light(40), None], batch_spans=10)
    assert not caplog.records


# --- whatever happens ---------------------------------------------------------------------------------------

answers = st.sampled_from(
    [ACCEPTED, LATER, NEVER, HANG, asked(3.0), Verdict(answer=Answer.ACCEPTED, rejected=1)]
)
moves = st.lists(
    st.one_of(st.integers(1, 40), st.floats(0.01, 20.0), st.just("flush"), st.just("bad")), max_size=12
)


@settings(max_examples=40)
@given(st.lists(answers, max_size=12), moves, st.floats(0.0, 5.0))
def test_every_span_is_accounted_for_whatever_happens(script_of, story, stop_s):
    async def main(exporter, lane, script):
        offered = 0
        for move in story:
            if move == "flush":
                await exporter.flush(2.0)
            elif move == "bad":
                lane.spans.append(None)
                offered += 1
            elif isinstance(move, int):
                lane.spans += light(move)
                offered += move
            else:
                await asyncio.sleep(move)
            now = balanced(exporter)
            assert now.taken + len(lane.spans) == offered
            assert now.pending <= 20
            assert now.buffered + now.sending <= 20 * 5
        last = await exporter.stop(stop_s)
        assert last.exported + sum(last.dropped.values()) == offered
        assert (last.pending, last.buffered, last.sending, lane.spans) == (0, 0, 0, [])

    exporting(main, *script_of, batch_spans=20, buffer_requests=4, in_flight=2, retry_elapsed_s=15.0)
