"""Cases are counted by way and outcome, and the last ones are kept."""

from types import SimpleNamespace

from seawall.proxy.casebook import ENDED_LIMIT, Casebook
from seawall.proxy.replay.journal import Journal
from seawall.proxy.replay.ladder import Decision, Way
from seawall.wire.pgwire import messages


def case(way=Way.REPLAY, reason="open"):
    journal = Journal(1000, 10)
    journal.say(messages.query("BEGIN") + messages.query("SELECT 1"))
    return SimpleNamespace(
        loss=SimpleNamespace(journal=journal),
        decision=Decision(way, reason),
        user="u",
        database="d",
        pid=7,
        node="a",
        attempts=1,
        lost_at=10.0,
    )


def test_a_case_is_told_as_it_ended():
    book = Casebook(3)
    book.close(case(), "done", "", 10.25)
    (row,) = book.ended
    told = {
        "worker": 3,
        "client_pid": 7,
        "backend": "a",
        "way": "replay",
        "outcome": "done",
        "statements": 2,
        "attempts": 2,
        "took_ms": 250.0,
        "reason": "open",
    }
    assert row.items() >= told.items()


def test_what_went_well_is_told_apart():
    book = Casebook(0)
    for way, outcome in [
        (Way.REPLAY, "done"),
        (Way.RESOLVE, "commit"),
        (Way.REPLAY, "lost"),
        (Way.RESOLVE, "unknown"),
    ]:
        book.close(case(way), outcome, "", 11.0)
    assert book.tally() == (2, 2)
    assert book.counts == {"replay:done": 1, "resolve:commit": 1, "replay:lost": 1, "resolve:unknown": 1}


def test_reasons_are_counted_without_what_is_special_to_one_case():
    book = Casebook(0)
    for number in (2, 17):
        book.close(case(), "lost", f"statement {number} gave another result: SELECT {number}", 11.0)
    assert book.refusals == {"statement n gave another result": 2}


def test_only_the_last_cases_are_kept():
    book = Casebook(0)
    for _ in range(ENDED_LIMIT + 1):
        book.close(case(), "done", "", 11.0)
    assert len(book.ended) == ENDED_LIMIT
    assert book.counts["replay:done"] == ENDED_LIMIT + 1
