"""The exporter on virtual time, with a script for a collector."""

import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.telemetry.otlp.encode import SLICE_SPANS
from seawall.telemetry.otlp.exporter import FAULT_REST_S, TAKE_SPANS
from seawall.telemetry.otlp.verdict import Answer, Verdict
from tests.telemetry.otlp.exporting import ACCEPTED, HANG, LATER, NEVER, Driven, asked
from tests.telemetry.otlp.samples import Light, light

# --- batches ------------------------------------------------------------------------------------------------


def test_spans_wait_for_others_but_not_longer_than_the_delay():
    ours = Driven(spans=light(3), batch_delay_s=5.0)
    ours.go(2.0)
    ours.lane.spans += light(2)
    ours.go(2.9)
    assert (ours.script.attempts, ours.balanced().pending) == ([], 5)
    ours.go(0.4)
    assert [spans for _, spans in ours.script.attempts] == [5]
    assert ours.balanced().exported == 5


def test_a_full_batch_goes_at_once():
    ours = Driven(spans=light(250), batch_spans=100)
    ours.go(0.05)
    assert ours.script.attempts == [(0.0, 100), (0.0, 100)]
    assert ours.balanced().pending == 50


def test_an_idle_exporter_only_looks():
    ours = Driven(poll_s=0.1)
    ours.go(10.0)
    assert 95 <= len(ours.lane.takes) <= 105
    assert (ours.script.attempts, ours.slices) == ([], 0)


def test_no_more_is_taken_at_once_than_is_quick():
    ours = Driven(spans=light(2_048))
    ours.go(0.05)
    assert max(ours.lane.takes) == TAKE_SPANS
    assert ours.balanced().exported == 2_048


def test_others_get_their_turn_between_the_slices_of_a_flush():
    ours = Driven(spans=light(2_048))
    assert ours.flush()
    assert ours.slices >= 2_048 // SLICE_SPANS


def test_spans_are_let_go_of_as_they_are_encoded():
    """Freeing two thousand of them at once would be a long step."""

    class Watched(Light):
        pass

    ours = Driven(spans=[Watched() for _ in range(1_000)])
    alive = [weakref.ref(span) for span in ours.lane.spans]
    left = []
    ours.run.wanted += 1
    ours.go(1.0, lambda: left.append(sum(ref() is not None for ref in alive)) or ours.script.attempts)
    assert len(set(left)) > 1_000 // SLICE_SPANS


def test_a_batch_that_is_too_long_is_several_requests():
    ours = Driven(spans=light(60), request_bytes=2_048)
    assert ours.flush()
    assert (ours.balanced().exported, ours.balanced().attempts) == (60, len(ours.script.attempts))
    assert len(ours.script.attempts) > 1


# --- flush --------------------------------------------------------------------------------------------------


def test_a_flush_waits_for_what_is_in_the_lane():
    ours = Driven(spans=light(3))
    assert ours.flush()
    assert (ours.balanced().exported, ours.clock.monotonic()) == (3, 0.0)
    assert ours.flush()  # nothing to do


def test_a_flush_includes_what_waits_already():
    ours = Driven(spans=light(3))
    ours.go(1.0)
    ours.lane.spans += light(2)
    assert ours.flush()
    assert ours.script.attempts == [(1.0, 5)]


def test_a_flush_ends_even_if_new_spans_come_all_the_time():
    """And not by sending each of them alone."""
    ours = Driven(spans=light(10))
    send = ours.script.send

    def send_while_more_comes(*how):
        ours.lane.spans += light(1)
        return send(*how)

    ours.script.send = send_while_more_comes
    assert ours.flush()
    assert [spans for _, spans in ours.script.attempts] == [10]


def test_a_flush_of_more_than_a_batch():
    ours = Driven(spans=light(25), batch_spans=10)
    assert ours.flush()
    assert [spans for _, spans in ours.script.attempts] == [10, 10, 5]


def test_a_flush_gives_up():
    ours = Driven(spans=light(3), last=LATER)
    assert not ours.flush(2.0)
    assert (ours.clock.monotonic(), ours.balanced().pending) == (2.0, 3)


# --- failures -----------------------------------------------------------------------------------------------


def test_a_failed_attempt_is_repeated_after_a_growing_wait():
    ours = Driven(LATER, LATER, LATER, spans=light(3))
    assert ours.flush()
    assert ours.script.times == [0.0, 1.0, 3.0, 7.0]
    now = ours.balanced()
    assert (now.exported, now.attempts, now.failed["connection"], now.troubles) == (3, 4, 3, 0)
    assert now.last_complaint == "refused"


def test_the_wait_is_a_matter_of_chance():
    ours = Driven(LATER, spans=light(3), rng=lambda: 0.0)
    assert ours.flush()
    assert ours.script.times == [0.0, 0.5]


def test_a_wait_that_the_collector_asks_for_is_kept():
    ours = Driven(asked(20.0), spans=light(10), batch_spans=10, rng=lambda: 0.5)
    ours.go(0.0)
    ours.lane.spans += light(10)
    ours.go(30.0)
    assert ours.script.times == [0.0, 20.5, 20.5]
    assert ours.balanced().exported == 20


def test_a_wait_that_the_collector_asks_for_is_kept_by_the_next_request_too():
    ours = Driven(asked(1.0), asked(20.0), spans=light(20), batch_spans=10, retry_elapsed_s=1.0)
    ours.go(60.0)
    assert ours.script.times == [0.0, 2.0, 23.0]
    assert (ours.balanced().dropped["expired"], ours.balanced().exported) == (10, 10)


def test_what_the_collector_refuses_is_dropped_and_the_rest_goes_on():
    ours = Driven(NEVER, spans=light(20), batch_spans=10)
    assert ours.flush()
    now = ours.balanced()
    assert (now.exported, now.dropped["refused"], now.failed["refused"]) == (10, 10, 1)
    assert (now.last_complaint, now.troubles, ours.clock.monotonic()) == ("HTTP 400", 0, 0.0)


def test_a_partial_success_is_counted():
    ours = Driven(Verdict(answer=Answer.ACCEPTED, rejected=3, text="too old"), spans=light(10))
    assert ours.flush()
    now = ours.balanced()
    assert (now.exported, now.dropped["rejected"], sum(now.failed.values())) == (7, 3, 0)
    assert now.last_complaint == "too old"


def test_the_collectors_complaint_is_shown_without_our_secrets():
    ours = Driven(
        Verdict(answer=Answer.REFUSED, reason="refused", text="UNAUTHENTICATED bad token hunter2"),
        spans=light(1),
        headers=(("authorization", "Bearer hunter2"),),
    )
    assert ours.flush()
    assert ours.balanced().last_complaint == "UNAUTHENTICATED bad token <not shown>"


def test_a_request_that_fails_when_it_is_old_is_dropped():
    ours = Driven(spans=light(3), last=LATER, retry_elapsed_s=20.0)
    assert ours.flush()
    assert (ours.balanced().dropped["expired"], ours.balanced().exported) == (3, 0)
    assert ours.script.times == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0]


def test_in_an_outage_the_collector_is_asked_seldom_and_the_lane_keeps_what_waits():
    ours = Driven(last=LATER, batch_spans=10, retry_elapsed_s=60.0)
    for _ in range(300):
        ours.lane.spans += light(10)
        ours.go(1.0)
    assert len(ours.script.attempts) < 20
    assert ours.balanced().taken <= 60
    ours.script.last = ACCEPTED
    ours.go(40.0)
    now = ours.balanced()
    assert (now.exported + now.dropped["expired"], now.troubles, ours.lane.spans) == (3_000, 0, [])


def test_spans_that_cant_be_encoded_are_counted():
    large = Light(attributes={"text": "x" * 3_000})
    ours = Driven(spans=[Light(name=5), *light(2), large, None], request_bytes=2_048)
    assert ours.flush()
    now = ours.balanced()
    assert (now.exported, now.dropped["unencodable"], now.dropped["too_large"]) == (2, 2, 1)


def test_nothing_but_bad_spans():
    ours = Driven(spans=[None, None])
    assert ours.flush()
    assert (ours.balanced().dropped["unencodable"], ours.script.attempts) == (2, [])


# --- errors of our own --------------------------------------------------------------------------------------


def test_a_transport_that_raises_costs_what_was_pending_and_a_rest(caplog):
    ours = Driven(ZeroDivisionError("secret"), spans=light(20), batch_spans=10)
    assert ours.flush()
    now = ours.balanced()
    assert (now.dropped["fault"], now.exported, now.faults) == (10, 10, 1)
    assert now.last_complaint == "fault: ZeroDivisionError"
    assert ours.script.times == [0.0, FAULT_REST_S]
    assert not caplog.records


def test_a_lane_that_raises_is_looked_at_again():
    ours = Driven(spans=light(3))
    take, ours.lane.take = ours.lane.take, None
    ours.go(2.5)
    assert ours.balanced().faults == 3
    ours.lane.take = take
    assert ours.flush()
    assert ours.balanced().exported == 3


# --- the end ------------------------------------------------------------------------------------------------


def test_a_stop_sends_what_is_left():
    ours = Driven(spans=light(2_500))
    last = ours.stop(5.0)
    assert (last.exported, last.pending, ours.lane.spans) == (2_500, 0, [])
    assert (ours.ended, ours.script.closed, ours.clock.monotonic()) == (True, 1, 0.0)


def test_a_stop_ends_in_time_and_counts_what_it_took_and_left():
    ours = Driven(spans=light(100), last=HANG, batch_spans=10)
    ours.go(1.0)
    assert ours.clock.monotonic() == 10.0
    last = ours.stop(3.0)
    assert (last.pending, last.exported, last.dropped["shutdown"]) == (0, 0, last.taken)
    assert ours.clock.monotonic() == pytest.approx(13.0)
    ours.go(1.0)
    assert ours.ended


def test_a_stop_without_any_time():
    ours = Driven(spans=light(10))
    last = ours.stop(0.0)
    assert (last.dropped["shutdown"] + len(ours.lane.spans), last.exported) == (10, 0)


def test_a_stop_in_the_middle_of_encoding():
    ours = Driven(spans=light(2_048))
    ours.go(1.0, lambda: ours.slices >= 20)
    assert ours.balanced().pending == 2_048
    assert ours.stop(0.0).dropped["shutdown"] == 2_048


def test_a_stop_doesnt_wait_for_a_time_that_chance_chose_but_asks_only_once():
    ours = Driven(LATER, last=LATER, spans=light(3), retry_base_s=20.0)
    ours.go(6.0)
    assert len(ours.script.attempts) == 1
    last = ours.stop(0.5)
    assert (len(ours.script.attempts), last.dropped["shutdown"], ours.clock.monotonic()) == (2, 3, 6.0)


def test_a_stop_keeps_the_wait_that_the_collector_asked_for_or_ends_at_once():
    ours = Driven(asked(20.0), spans=light(3))
    ours.go(6.0)
    last = ours.stop(0.5)
    assert (last.exported, last.dropped["shutdown"], len(ours.script.attempts)) == (0, 3, 1)
    assert (ours.ended, ours.clock.monotonic()) == (True, 6.0)


def test_an_attempt_gets_no_more_time_than_the_stop():
    ours = Driven(spans=light(3), last=HANG)
    assert ours.stop(2.0).dropped["shutdown"] == 3
    assert (ours.clock.monotonic(), ours.ended) == (2.0, True)


def test_a_lane_that_is_filled_without_end_doesnt_keep_a_stop():
    ours = Driven()
    ours.lane.take = lambda limit: ours.lane.takes.append(1) or light(1)
    last = ours.stop(1.0)
    assert (ours.ended, last.exported) == (True, last.taken)


def test_a_thread_that_was_given_up_counts_no_more_and_ends():
    ours = Driven(spans=light(30), batch_spans=10)
    send = ours.script.send

    def hang_over_the_end(*how):
        ours.exporter._retire(ours.run)
        ours.lane.spans += light(5)
        return send(*how)

    ours.script.send = hang_over_the_end
    ours.go(10.0)
    now = ours.balanced()
    assert (now.taken, now.dropped["shutdown"], now.exported, now.attempts) == (10, 10, 0, 0)
    assert (ours.ended, ours.script.closed, len(ours.lane.spans)) == (True, 1, 25)


# --- whatever happens ---------------------------------------------------------------------------------------

answers = st.sampled_from(
    [ACCEPTED, LATER, NEVER, HANG, asked(3.0), OSError(), Verdict(answer=Answer.ACCEPTED, rejected=1)]
)
moves = st.lists(
    st.one_of(st.integers(1, 40), st.floats(0.01, 20.0), st.just("flush"), st.just("bad")), max_size=12
)


@settings(max_examples=60)
@given(st.lists(answers, max_size=12), moves, st.floats(0.0, 5.0))
def test_every_span_is_accounted_for_whatever_happens(script, story, stop_s):
    ours, offered = Driven(*script, batch_spans=20, retry_elapsed_s=15.0), 0
    for move in story:
        if move == "flush":
            ours.flush(2.0)
        elif move == "bad":
            ours.lane.spans.append(None)
            offered += 1
        elif isinstance(move, int):
            ours.lane.spans += light(move)
            offered += move
        else:
            ours.go(move)
        now = ours.balanced()
        assert now.taken + len(ours.lane.spans) == offered
        assert now.pending <= 20
    last = ours.stop(stop_s)
    assert last.pending == 0
    assert last.exported + sum(last.dropped.values()) + len(ours.lane.spans) == offered
