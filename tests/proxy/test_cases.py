"""What is owed to a client that has lost its server, and how it is told."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.proxy import owed
from seawall.proxy.cases import answer_of, error_of, errors_owed
from seawall.proxy.replay.journal import Journal
from seawall.proxy.replay.ladder import Decision, Way
from seawall.wire.pgwire import messages
from tests.proxy.model import summary

ERROR = messages.error_response("40001", "lost")
NOTICE = messages.notice_response("01000", "by the way")


def case(*entries, said=(), last=b"", **more):
    journal = Journal(1000, 10)
    for one in said:
        journal.say(one)
    journal.last = last
    facts = {"suppressed": False, "unsynced": False, "split": False, "node": "a", "error": b""}
    return SimpleNamespace(
        owed=entries,
        turns_owed=tuple(one for one in entries if one in (owed.SIMPLE, owed.SYNCED)),
        loss=SimpleNamespace(journal=journal, unexecuted=False),
        **{**facts, **more},
    )


def word(answer):
    return "".join(letter for letter, _ in summary(answer))


BATCH = (owed.UNNAMED, owed.BOUND, owed.DESCRIBED, owed.EXECUTED, owed.SYNCED)


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        (case(owed.SIMPLE), "CZ"),
        (case(owed.SIMPLE, last=messages.ready_for_query(b"T")), "CZ"),
        (case(owed.SIMPLE, last=NOTICE), "CZ"),
        (case(owed.SIMPLE, last=messages.command_complete("COMMIT")), "Z"),
        (case(owed.SIMPLE, last=ERROR), ""),
        (case(*BATCH), "12nCZ"),
        (case(owed.SYNCED, last=messages.command_complete("COMMIT")), "Z"),
        (case(owed.SIMPLE, owed.SIMPLE), ""),
        (case(owed.SYNCED), ""),
        (case(owed.SIMPLE, suppressed=True), ""),
        (case(owed.SIMPLE, unsynced=True), ""),
        (case(owed.SIMPLE, split=True), ""),
        (case(*BATCH, said=[messages.describe_statement("") + messages.sync()]), ""),
    ],
)
def test_a_commit_is_answered_where_that_is_possible(lost, expected):
    assert word(answer_of(lost, b"COMMIT")) == expected


@given(
    st.lists(st.sampled_from([owed.SIMPLE, owed.SYNCED, owed.BOUND, owed.EXECUTED])), st.lists(st.booleans())
)
def test_every_answer_that_was_owed_is_an_error_and_a_ready(entries, openings):
    told = summary(errors_owed(case(*entries), ERROR, openings))
    turns = sum(1 for one in entries if one in (owed.SIMPLE, owed.SYNCED))
    expected = [*openings, *[False] * turns][:turns]
    assert [what for letter, what in told if letter == "Z"] == [b"E" if one else b"I" for one in expected]
    assert len(told) == 2 * turns


def test_a_commit_behind_what_was_lost_says_rollback():
    lost = case(owed.SIMPLE, owed.SIMPLE, owed.SIMPLE)
    assert word(errors_owed(lost, ERROR, [True, True, False])) == "EZEZCZ"


@pytest.mark.parametrize(
    ("way", "code", "hint"), [(Way.UNKNOWN, "08007", "Look whether"), (Way.LOST, "40001", "safe to run")]
)
def test_an_error_tells_what_where_and_why(way, code, hint):
    raw = error_of(Decision(way, "something happened"), case(owed.SIMPLE))
    fields = messages.parse_fields(raw[5:])
    assert fields["C"] == code
    assert "Lost: a." in fields["D"]
    assert "omething happened." in fields["D"]
    assert hint in fields["H"]
