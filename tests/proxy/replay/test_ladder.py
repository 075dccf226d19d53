"""Each row of the ladder's table; what may be committed is never denied or said again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.proxy.replay.journal import Journal
from seawall.proxy.replay.ladder import (
    Loss,
    Rules,
    Way,
    answered,
    changes_nothing,
    decide,
    ends_transaction,
    ends_with_commit,
    hindrance,
    only_trivial,
    reads_only,
    shown,
    texts_of,
)
from seawall.proxy.statements import Statement
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.framing import HEADER

ALL = {
    "replay": True,
    "retry_reads": True,
    "resolve": True,
    "apart": False,
    "statements_max": 10,
    "age_s": 30.0,
}
CALL = HEADER.pack(framing.FUNCTION_CALL, 8) + b"call"
Q = messages.query


def batch(sql, *, sync=True, name=""):
    said = messages.parse(name, sql) + messages.bind("", name, []) + messages.execute()
    return said + (messages.sync() if sync else b"")


def loss(
    *said,
    done=0,
    opened=None,
    told=None,
    owed=None,
    names=None,
    pins=(),
    split=False,
    age=1.0,
    spoiled="",
    kept=True,
):
    """A client that has said these turns, of which the first were answered."""
    journal = Journal(1 << 20, 1000)
    journal.replays = kept
    for turn in said:
        journal.say(turn)
    journal.last = b"Z" if (done > 0 if told is None else told) else b""
    if spoiled:
        journal._spoil(spoiled)
    turns = [turn for turn in said if turn[0] in b"QF" or turn.endswith(messages.sync())]
    return Loss(
        journal=journal,
        names=names or {},
        open=done > 0 if opened is None else opened,
        turns_owed=len(turns) - done if owed is None else owed,
        age_s=age,
        pins=pins,
        split=split,
    )


def way(lost, **rules):
    decision = decide(lost, Rules(**{**ALL, **rules}))
    assert decision.reason
    return decision.way


# --- the table, row by row ----------------------------------------------------------------------------------


def test_a_session_that_is_held_ends_with_the_reason():
    decision = decide(loss(Q("BEGIN"), done=1, pins=("temporary tables",)), Rules(**ALL))
    assert decision.way is Way.END
    assert "temporary tables" in decision.reason


def test_nothing_was_said():
    assert way(loss()) is Way.MIGRATE
    assert way(loss(owed=1)) is Way.UNKNOWN
    assert way(loss(opened=True)) is Way.UNKNOWN


@pytest.mark.parametrize(
    "said", [messages.parse("a", "COMMIT"), messages.parse("", "INSERT") + messages.bind("", "", [])]
)
def test_nothing_was_executed(said):
    assert way(loss(said), replay=False, retry_reads=False) is Way.RESEND
    assert way(loss(said, told=True)) is not Way.RESEND


@pytest.mark.parametrize("turn", [Q("ROLLBACK"), batch("ROLLBACK"), Q("ABORT")])
def test_rollback_is_in_flight(turn):
    assert way(loss(Q("BEGIN"), turn, done=1)) is Way.ROLLED_BACK


@pytest.mark.parametrize("turn", [Q("ROLLBACK AND CHAIN"), Q("ROLLBACK; INSERT INTO t VALUES (1)")])
def test_more_than_rollback_is_in_flight(turn):
    assert way(loss(Q("BEGIN"), turn, done=1)) is not Way.ROLLED_BACK


@pytest.mark.parametrize("turn", [Q("COMMIT"), batch("COMMIT"), Q("END")])
def test_commit_is_in_flight(turn):
    lost = loss(Q("BEGIN"), Q("INSERT INTO t VALUES (1)"), turn, done=2)
    decision = decide(lost, Rules(**ALL))
    assert (decision.way, decision.whole) == (Way.RESOLVE, True)
    assert way(lost, resolve=False) is Way.UNKNOWN


@pytest.mark.parametrize(
    "turn",
    [Q("COMMIT AND CHAIN"), Q("ROLLBACK AND CHAIN"), Q("COMMIT; BEGIN; DELETE FROM t"), batch("END")],
)
def test_commit_is_in_flight_of_another_transaction_than_may_have_been_asked_about(turn):
    assert way(loss(Q("BEGIN"), Q("INSERT INTO t VALUES (1)"), turn, Q("COMMIT"), done=3)) is Way.UNKNOWN
    assert way(loss(Q("BEGIN"), Q("ROLLBACK TO s"), Q("COMMIT"), done=2)) is Way.RESOLVE


@pytest.mark.parametrize("end", [Q("COMMIT"), Q("ROLLBACK"), batch("COMMIT")])
@pytest.mark.parametrize("done", [1, 2])
def test_another_transaction_is_in_flight_behind_the_end_of_one(end, done):
    first = (Q("BEGIN"), Q("INSERT INTO t VALUES (1)"), end)
    assert way(loss(*first, Q("BEGIN"), Q("INSERT INTO t VALUES (2)"), Q("COMMIT"), done=done)) is Way.UNKNOWN
    assert way(loss(*first, Q("INSERT INTO t VALUES (2)"), done=done)) is Way.UNKNOWN
    reads = loss(*first, Q("BEGIN"), Q("SELECT 1"), Q("COMMIT"), done=done)
    assert way(reads) is Way.RESOLVE


def test_commit_is_in_flight_with_its_transaction():
    lost = loss(Q("BEGIN"), Q("INSERT INTO t VALUES (1)"), Q("COMMIT"))
    decision = decide(lost, Rules(**ALL))
    assert (decision.way, decision.whole) == (Way.RESOLVE, False)


@pytest.mark.parametrize(
    "turn", [Q("COMMIT AND CHAIN"), Q("INSERT INTO t VALUES (1); COMMIT"), Q("PREPARE TRANSACTION 'x'")]
)
def test_commit_is_in_flight_in_a_way_that_is_not_resolved(turn):
    assert way(loss(Q("BEGIN"), turn, done=1)) is Way.UNKNOWN


@pytest.mark.parametrize("turn", [(), (Q("UPDATE t SET a = 1"),), (batch("SELECT 1"),)])
def test_a_transaction_is_open(turn):
    lost = loss(Q("BEGIN"), Q("INSERT INTO t VALUES (1)"), *turn, done=2)
    assert way(lost) is Way.REPLAY
    assert way(lost, replay=False) is Way.LOST


def test_a_transaction_was_being_opened():
    assert way(loss(Q("BEGIN"), Q("INSERT INTO t VALUES (1)"))) is Way.REPLAY
    assert way(loss(Q("BEGIN"), Q("INSERT INTO t VALUES (1)")), replay=False) is Way.LOST


@pytest.mark.parametrize("turn", [Q("SELECT 1"), batch("SELECT 1"), Q("SHOW all")])
def test_what_changes_nothing(turn):
    assert way(loss(turn)) is Way.RESEND
    assert way(loss(turn), retry_reads=False, replay=False) is Way.LOST
    assert way(loss(turn, told=True)) is Way.REPLAY
    assert way(loss(turn, split=True)) is Way.REPLAY
    assert way(loss(turn, told=True), replay=False) is Way.LOST


@pytest.mark.parametrize("sql", ["INSERT INTO t VALUES (1)", "SELECT f()", "WITH x AS (SELECT 1) SELECT 1"])
def test_a_batch_was_not_ended_by_sync(sql):
    assert way(loss(batch(sql, sync=False)), retry_reads=False, replay=False) is Way.LOST


@pytest.mark.parametrize("sql", ["COMMIT", "VACUUM", "CALL p()", "DO 'x'", "CREATE DATABASE d", "END"])
def test_a_batch_that_needs_no_sync_to_be_committed(sql):
    lost = loss(batch("INSERT INTO t VALUES (1)", sync=False), batch(sql, sync=False))
    assert way(lost) is Way.UNKNOWN


@pytest.mark.parametrize(
    "turn", [Q("INSERT INTO t VALUES (1)"), batch("UPDATE t SET a = 1"), Q("SELECT f()"), CALL, Q("COMMIT")]
)
def test_a_statement_of_its_own_may_have_been_committed(turn):
    assert way(loss(turn)) is Way.UNKNOWN


def test_so_may_one_behind_a_transaction_without_a_pause():
    turns = [Q("BEGIN"), Q("INSERT INTO t VALUES (1)"), Q("COMMIT"), Q("INSERT INTO t VALUES (2)")]
    assert way(loss(*turns, done=3, opened=False)) is Way.UNKNOWN


def test_what_is_too_long_to_be_kept():
    assert way(loss(spoiled="too long", opened=True, owed=0)) is Way.LOST
    assert way(loss(spoiled="too long", opened=True, owed=1)) is Way.UNKNOWN
    assert way(loss(spoiled="too long", opened=True, owed=1), resolve=False) is Way.UNKNOWN


# --- what stands against a replay ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lost", "rules", "why"),
    [
        (loss(Q("BEGIN"), done=1), {"replay": False}, "off"),
        (loss(Q("BEGIN"), done=1, kept=False), {}, "not recorded"),
        (loss(Q("BEGIN"), Q("SELECT dblink('x')"), done=2), {}, "twice"),
        (loss(Q("BEGIN"), Q("SELECT 1 /* no_replay */"), done=2), {}, "twice"),
        (loss(Q("BEGIN"), Q("COMMIT"), Q("BEGIN"), done=3), {}, "committed"),
        (loss(Q("BEGIN"), Q("SELECT 'no end"), done=2), {}, "committed|told"),
        (loss(Q("BEGIN"), CALL, done=2), {}, "told"),
        (loss(Q("BEGIN"), messages.bind("", "unknown", []) + messages.sync(), done=2), {}, "told"),
        (loss(Q("BEGIN"), Q("INSERT INTO t VALUES (1)"), done=2), {"apart": True}, "apart|histories"),
        (loss(Q("BEGIN"), *[Q("SELECT 1")] * 10, done=11), {}, "11 statements"),
        (loss(Q("BEGIN"), done=1, age=31.0), {}, "31 s"),
    ],
)
def test_what_stands_against_a_replay(lost, rules, why):
    assert any(one in hindrance(lost, Rules(**{**ALL, **rules})) for one in why.split("|"))
    assert way(lost, **rules) is Way.LOST


def test_servers_with_histories_of_their_own_may_be_read_from():
    assert way(loss(Q("BEGIN"), Q("SELECT 1"), done=2), apart=True) is Way.REPLAY


# --- reading what was said ----------------------------------------------------------------------------------


def test_named_statements_are_what_they_were_prepared_as():
    names = {b"s": Statement(b"SELECT 1\0\0\0", b"seawall_1")}
    turn = messages.bind("", "s", []) + messages.execute() + messages.sync()
    assert texts_of(turn, names, None) == (b"SELECT 1",)
    assert reads_only(turn, names, None)
    assert not reads_only(turn, {}, None)
    unnamed = messages.bind("", "", []) + messages.execute() + messages.sync()
    assert texts_of(unnamed, {}, messages.parse("", "COMMIT")) == (b"COMMIT",)
    assert ends_transaction(unnamed, {}, messages.parse("", "COMMIT"))
    assert way(loss(Q("BEGIN"), turn, done=1, names=names)) is Way.REPLAY


def test_answers_that_say_nothing_of_any_data():
    trivial = messages.PARSE_COMPLETE + messages.BIND_COMPLETE + messages.NO_DATA
    assert only_trivial(trivial)
    assert not only_trivial(trivial + messages.data_row([b"1"]))
    assert not only_trivial(trivial[:-1])


def test_a_text_for_people_is_short():
    assert shown(b"SELECT\n  1") == "SELECT 1"
    assert len(shown(b"x" * 100)) == 60


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (b"COMMIT", True),
        (b"end work;", True),
        (b"COMMIT; SELECT 1", False),
        (b"COMMIT PREPARED 'x'", False),
        (b"ROLLBACK", False),
    ],
)
def test_what_is_a_commit(sql, expected):
    assert ends_with_commit(sql) is expected


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([Q("BEGIN"), Q("SELECT 1"), Q("COMMIT")], True),
        ([Q("BEGIN"), Q("SET TIME ZONE 'UTC'"), batch("SELECT 1"), batch("COMMIT")], True),
        ([Q("BEGIN"), Q("SELECT f()"), Q("COMMIT")], False),
        ([Q("BEGIN"), Q("INSERT INTO t VALUES (1)"), Q("COMMIT")], False),
        ([Q("BEGIN"), batch("INSERT INTO t VALUES (1)"), Q("COMMIT")], False),
        ([Q("BEGIN"), CALL, Q("COMMIT")], False),
        ([Q("BEGIN"), Q("COMMIT; BEGIN; INSERT INTO t VALUES (1)"), Q("COMMIT")], False),
        ([Q("BEGIN"), Q("COMMIT AND CHAIN"), Q("COMMIT")], False),
    ],
)
def test_what_provably_changes_nothing(turns, expected):
    assert changes_nothing(loss(*turns).journal, {}) is expected
    whole = Journal(1 << 20, 10)
    whole.say(b"".join(turns))
    assert changes_nothing(whole, {}) is expected


@given(st.integers(0, 5), st.integers(0, 7), st.booleans())
def test_how_many_turns_are_answered(complete, owed, begun):
    turns = [Q("SELECT 1")] * complete + ([messages.parse("", "SELECT 1")] if begun else [])
    assert answered(turns, owed) == max(0, complete - owed)


# --- whatever was said --------------------------------------------------------------------------------------

TEXTS = (
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "END",
    "SELECT 1",
    "SELECT f()",
    "INSERT INTO t VALUES (1)",
    "SAVEPOINT a",
    "ROLLBACK TO a",
    "COMMIT AND CHAIN",
    "INSERT INTO t VALUES (1); COMMIT",
    "PREPARE TRANSACTION 'x'",
    "VACUUM",
    "CALL p()",
    "SELECT 'no end",
)
WRITING = ("INSERT", "SELECT f", "VACUUM", "CALL", "SELECT '")
rules = st.builds(
    Rules,
    replay=st.booleans(),
    retry_reads=st.booleans(),
    resolve=st.booleans(),
    apart=st.booleans(),
    statements_max=st.integers(1, 10),
    age_s=st.just(30.0),
)


def may_be_committed(turns, status):
    """Whether any of this may have changed the database for good: simulate all that was sent."""
    opened = status
    for sql, extended, synced in turns:
        word = sql.split()[0]
        if word == "BEGIN":
            opened = True
        elif ";" in sql and extended:
            continue  # a server refuses several statements in one Parse
        elif ";" in sql or sql.startswith("PREPARE T") or "'no end" in sql:
            return True
        elif word in ("COMMIT", "END"):
            if opened or extended:
                return True
            opened = "CHAIN" in sql
        elif sql == "ROLLBACK":
            opened = False
        elif (
            sql.startswith(WRITING) and not opened and (not extended or synced or word in ("VACUUM", "CALL"))
        ):
            return True
    return False


turn = st.tuples(st.sampled_from(TEXTS), st.booleans(), st.just(True))


@given(
    before=st.lists(turn, max_size=3),
    flight=st.lists(turn, min_size=1, max_size=4),
    unsynced=st.booleans(),
    opened=st.booleans(),
    told=st.booleans(),
    allowed=rules,
)
def test_what_may_be_committed_is_neither_denied_nor_said_again(
    before, flight, unsynced, opened, told, allowed
):
    if opened:
        before = [("BEGIN", False, True), *before]
    if unsynced:
        flight = [*flight[:-1], (flight[-1][0], True, False)]
    said = [batch(sql, sync=synced) if extended else Q(sql) for sql, extended, synced in [*before, *flight]]
    lost = loss(*said, done=len(before), opened=opened, told=told or bool(before))
    decision = decide(lost, allowed)
    if may_be_committed(flight, opened):
        assert decision.way in (Way.RESOLVE, Way.UNKNOWN, Way.ROLLED_BACK)
        if decision.way is Way.ROLLED_BACK:
            assert [sql for sql, _, _ in flight] == ["ROLLBACK"]
    if decision.way is Way.RESOLVE:
        assert allowed.resolve
        assert any(sql in ("COMMIT", "END") for sql, _, _ in flight)
    if decision.way is Way.REPLAY:
        assert allowed.replay
    if decision.way is Way.RESEND:
        assert not lost.journal.told
