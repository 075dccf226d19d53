"""What a server's answer or refusal says about it."""

import contextlib
import socket
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.kernel.errors import DatabaseUnavailable, ValidationError
from seawall.proxy.connect import LoginFailed
from seawall.proxy.failover.question import (
    FOLLOWERS_MAX,
    doubtful,
    essence,
    followers_of,
    identified,
    observed,
    read_answer,
    read_role,
    reason_of,
    refusal,
    same_life,
    unanswered,
    with_timeline,
)
from seawall.proxy.topology import MISSES_MAX, Observation

PRIMARY = [
    *("f", "000000020000000000000001", None, "1", "0/2000148", None, "0/1000000", "7712584816948751715"),
    *("2026-11-26 20:48:07.179458+00", "2026-11-26 20:48:07.804582+00"),
    '[["two", "10.0.0.2", "sync"], ["three", null, null]]',
]
REPLICA = [
    *("t", None, "3", "2", None, "0/3000000", "0/2000000", "7712584816948751715"),
    *("2026-11-26 20:48:07.179458+00", "2026-11-26 20:48:07.804582+00", None),
]
SEEN = Observation(name="one", reachable=True, in_recovery=False, timeline=2, connected_since=7.0)


def answer(row=PRIMARY, **changes):
    names = [
        "recovery",
        "segment",
        "received",
        "noted",
        "write",
        "receive",
        "replay",
        "system",
        "reset",
        "started",
        "followers",
    ]
    return read_answer([[changes.get(name, value) for name, value in zip(names, row, strict=True)]])


def test_a_primary_is_known_by_the_segment_it_writes():
    found = answer()
    assert not found.in_recovery
    assert found.timeline == 2
    assert (found.write_lsn, found.receive_lsn, found.replay_lsn) == (0x2000148, None, 0x1000000)
    assert found.system_identifier == 7712584816948751715
    assert found.followers == (("two", "10.0.0.2", "sync"), ("three", "", ""))


def test_a_replica_is_known_by_the_newest_timeline_it_has_heard_of():
    found = answer(REPLICA)
    assert found.in_recovery
    assert found.timeline == 3
    assert (found.write_lsn, found.receive_lsn, found.replay_lsn) == (None, 0x3000000, 0x2000000)
    assert answer(REPLICA, received=None).timeline == 2
    assert answer(REPLICA, received=None, noted=None).timeline == 0


def test_followers_without_end_are_cut():
    many = "[" + ",".join(['["a", null, "async"]'] * (FOLLOWERS_MAX + 1)) + "]"
    assert len(answer(followers=many).followers) == FOLLOWERS_MAX


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [PRIMARY, PRIMARY],
        [PRIMARY[:-1]],
        [[*PRIMARY, None]],
        [[None, *PRIMARY[1:]]],
        [["f", None, *PRIMARY[2:]]],
        [["f", "nonsense", *PRIMARY[2:]]],
        [["t", None, "x", *REPLICA[3:]]],
        [[*PRIMARY[:4], "nonsense", *PRIMARY[5:]]],
        [[*PRIMARY[:7], None, *PRIMARY[8:]]],
        [[*PRIMARY[:10], "["]],
        [[*PRIMARY[:10], "7"]],
        [[*PRIMARY[:10], '[["one"]]']],
        [[*PRIMARY[:10], "[" * 100_000]],
    ],
)
def test_what_is_no_answer_is_refused(rows):
    with pytest.raises(ValidationError, match="makes no sense"):
        read_answer(rows)


@given(st.lists(st.lists(st.one_of(st.none(), st.text(max_size=30)), max_size=12), max_size=3))
def test_nonsense_never_does_worse(rows):
    with contextlib.suppress(ValidationError):
        read_answer(rows)


def test_a_role_is_read_where_it_was_asked_for():
    assert read_role([["t"]]) is True
    assert read_role([["f"]]) is False
    for other in ([], [[]], [[None]], [["x"]], [["t", "t"]], [["t"], ["t"]]):
        assert read_role(other) is None


def test_an_answer_makes_everything_good_again():
    before = refusal(unanswered(SEEN, "late"), ConnectionRefusedError(111, "?"))
    found = observed(before, answer(), at=9.0, since=8.0, unwatched_s=0.5)
    assert found.reachable
    assert not found.gone
    assert (found.misses, found.refused, found.sqlstate, found.text) == (0, False, "", "")
    assert (found.answered_at, found.connected_since, found.unwatched_s) == (9.0, 8.0, 0.5)
    assert found.end_of_recovery == found.replay_lsn == 0x1000000
    assert found.complete


def test_the_end_of_a_recovery_is_that_of_a_writable_server():
    assert observed(SEEN, answer(REPLICA), at=9.0, since=8.0, unwatched_s=0.0).end_of_recovery is None


@pytest.mark.parametrize(
    ("error", "sqlstate"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)"), ""),
        (ConnectionResetError(104, "x"), ""),
        (BrokenPipeError(32, "x"), ""),
        (FileNotFoundError(2, "x"), ""),
        (LoginFailed("the server closed the connection"), ""),
        (LoginFailed("the database system is starting up", "57P03"), "57P03"),
        (LoginFailed("terminating connection due to administrator command", "57P01"), "57P01"),
    ],
)
def test_who_refuses_or_ends_is_gone_at_once(error, sqlstate):
    found = refusal(SEEN, error)
    assert found.refused
    assert found.gone
    assert found.sqlstate == sqlstate
    assert (found.reachable, found.connected_since) == (False, 0.0)
    assert found.timeline == 2


@pytest.mark.parametrize(
    ("error", "sqlstate"),
    [
        (LoginFailed("password authentication failed", "28P01"), "28P01"),
        (LoginFailed("sorry, too many clients already", "53300"), "53300"),
        (ValidationError("the server's answer makes no sense"), "XX000"),
    ],
)
def test_who_says_something_else_is_alive(error, sqlstate):
    found = refusal(SEEN, error)
    assert found.refused
    assert not found.gone
    assert not found.pending
    assert found.sqlstate == sqlstate


@pytest.mark.parametrize("error", [TimeoutError(), OSError(113, "x"), socket.gaierror(-2, "unknown")])
def test_who_says_nothing_is_gone_after_some_misses(error):
    found = SEEN
    for number in range(1, MISSES_MAX + 1):
        found = refusal(found, error)
        assert not found.refused
        assert found.misses == number
        assert found.gone is (number == MISSES_MAX)


def test_who_was_gone_and_hangs_is_still_gone():
    found = refusal(SEEN, ConnectionRefusedError(111, "x"))
    assert unanswered(found, "no answer").gone
    assert refusal(found, TimeoutError()).gone
    assert not refusal(found, LoginFailed("no", "28000")).gone


def test_what_a_server_said_last_stands_for_a_while():
    found = refusal(SEEN, LoginFailed("the database system is starting up", "57P03"))
    for _ in range(MISSES_MAX - 1):
        found = unanswered(found, "no answer")
        assert (found.refused, found.sqlstate, found.text) == (
            True,
            "57P03",
            "the database system is starting up",
        )
        assert found.gone
    found = unanswered(found, "no answer")
    assert (found.refused, found.sqlstate, found.text) == (False, "", "no answer")
    assert found.gone


def test_who_did_not_let_us_in_and_hangs_is_gone_after_some_misses():
    found = refusal(SEEN, LoginFailed("sorry, too many clients already", "53300"))
    for number in range(1, MISSES_MAX + 1):
        found = unanswered(found, "no answer")
        assert found.gone is (number == MISSES_MAX)


def test_reasons_are_one_line_and_short():
    assert (
        reason_of(ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)")) == "Connection refused"
    )
    assert reason_of(TimeoutError()) == "no answer"
    assert reason_of(LoginFailed("a\nb")) == "a b"
    assert reason_of(DatabaseUnavailable("one", "x" * 1000)) == "x" * 300
    assert reason_of(ValidationError("what")) == "what"


def test_only_what_matters_makes_a_difference():
    late = unanswered(unanswered(unanswered(SEEN, "1"), "2"), "3")
    assert essence(late) == essence(unanswered(late, "4"))
    assert essence(SEEN) != essence(unanswered(SEEN, ""))
    grown = answer(write="0/7000000")
    assert essence(observed(SEEN, answer(), at=1.0, since=0.0, unwatched_s=0.0)) == essence(
        observed(SEEN, grown, at=2.0, since=0.0, unwatched_s=0.0)
    )


def test_a_connection_that_was_lost_is_no_restart():
    assert same_life(answer(), answer(write="0/5000000"))
    assert same_life(answer(replay=None), answer(replay=None))


@pytest.mark.parametrize(
    "changes",
    [
        {"replay": "0/2000200"},
        {"replay": None},
        {"started": "2026-11-26 20:50:00+00"},
        {"started": ""},
        {"system": "1"},
    ],
)
def test_what_differs_after_a_restart(changes):
    assert not same_life(answer(), answer(**changes))


def test_a_replica_may_have_restarted_and_so_may_who_was_never_seen():
    assert not same_life(None, answer())
    assert not same_life(answer(REPLICA), answer(REPLICA))
    assert not same_life(answer(REPLICA), answer())


def on(before, lasting=False, **changes):
    """The timeline of a replica that has told something else before."""
    return with_timeline(before, answer(REPLICA, **changes), lasting=lasting).timeline


def test_a_replica_that_receives_nothing_any_more_has_not_gone_back():
    before = answer(REPLICA)
    assert before.timeline == 3
    assert on(None) == 3
    assert on(before, received=None) == 3
    assert on(before, received="4") == 4


def test_a_replica_that_is_about_to_be_a_primary_is_on_its_old_timeline_still():
    before = answer(REPLICA)
    assert on(before, received=None, noted="4") == 3
    assert on(before, received=None, noted="4", lasting=True) == 4


@pytest.mark.parametrize("changes", [{"started": "later"}, {"system": "1"}])
def test_a_replica_that_was_started_again_may_have_gone_anywhere(changes):
    assert on(answer(REPLICA), received=None, **changes) == 2
    assert on(answer(REPLICA), received=None, noted="7", **changes) == 7


def test_a_replica_is_doubtful_when_it_notes_less_than_it_was_on():
    before, again = answer(REPLICA), answer(REPLICA, received=None, started="later")
    assert (before.timeline, again.timeline) == (3, 2)
    assert doubtful(again, before, before)
    assert doubtful(again, again, before)
    assert not doubtful(again, before, None)
    assert not doubtful(before, before, before)
    assert not doubtful(answer(REPLICA, received="3", started="later"), before, before)
    assert not doubtful(answer(REPLICA, received=None, noted="3", started="later"), before, before)
    assert not doubtful(answer(REPLICA, received=None), before, before), "the same life: it is known"
    assert not doubtful(replace(again, in_recovery=False), before, before)
    assert not doubtful(replace(again, system_identifier=1), before, before)
    asked = replace(again, received=3, timeline=3)
    assert not doubtful(again, asked, before), "it was asked in this life"


@pytest.mark.parametrize(
    ("rows", "timeline"),
    [
        ([["1", "12", "0/0", None]], 12),
        ([["1", "", "0/0", None]], 0),
        ([["1", None]], 0),
        ([["1", "x"]], 0),
        ([["1", "99999999999"]], 0),
        ([["1"]], 0),
        ([], 0),
        ([["1", "2"], ["1", "3"]], 0),
    ],
)
def test_the_timeline_is_the_second_word_of_an_identity(rows, timeline):
    assert identified(rows) == timeline


def test_a_primary_knows_its_timeline():
    assert with_timeline(answer(REPLICA), answer(), lasting=False).timeline == 2
    assert on(answer(), received="1", noted="1") == 1


def test_of_followers_the_last_primary_knows():
    new = answer(followers='[["three", null, "quorum"]]')
    old = answer(segment="000000010000000000000001", followers='[["two", null, "quorum"]]')
    other = answer(system="1", followers='[["four", null, "async"]]')
    assert followers_of([old, None, answer(REPLICA), new]) == [("three", "", "quorum")]
    assert followers_of([new, old]) == [("three", "", "quorum")]
    assert followers_of([new, other]) == [("three", "", "quorum"), ("four", "", "async")]
    assert followers_of([answer(followers=None), old]) == []
