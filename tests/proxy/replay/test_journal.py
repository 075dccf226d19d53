"""What was said comes out turn by turn; what was seen is the same however it came."""

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from seawall.proxy.replay import journal as module
from seawall.proxy.replay.journal import (
    KEPT_BYTES,
    WHOLE_LIMIT,
    Canon,
    Journal,
    canonical,
    cut_turns,
    texts,
)
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.framing import HEADER

DATA = HEADER.pack(framing.COPY_DATA, 8) + b"rows"
DONE = HEADER.pack(framing.COPY_DONE, 4)
FAIL = HEADER.pack(framing.COPY_FAIL, 7) + b"no\0"
CALL = HEADER.pack(framing.FUNCTION_CALL, 8) + b"call"
COPY = "COPY t FROM STDIN"


def batch(sql):
    return messages.parse("", sql) + messages.bind("", "", []) + messages.execute()


def journal(**limits):
    made = Journal(limits.get("bytes", 1 << 20), limits.get("chunks", 1000))
    made.replays = True
    return made


def chunked(data, sizes):
    """Cut into chunks of these sizes, over and over."""
    position, number = 0, 0
    while position < len(data):
        size = sizes[number % len(sizes)]
        yield data[position : position + size]
        position, number = position + size, number + 1


sizes = st.lists(st.integers(1, 60), min_size=1, max_size=5)

# --- what was said ------------------------------------------------------------------------------------------

sql = st.sampled_from(["", "SELECT 1", "INSERT INTO t VALUES (1)", "COMMIT"])
copied = st.builds(lambda rows, end: DATA * rows + end, st.integers(0, 3), st.sampled_from([DONE, FAIL]))
turn = st.one_of(
    sql.map(messages.query),
    sql.map(lambda text: batch(text) + messages.sync()),
    sql.map(lambda text: batch(text) + messages.flush() + batch(text) + messages.sync()),
    st.just(CALL),
    st.just(messages.sync()),
    copied.map(lambda data: messages.query(COPY) + data),
    copied.map(lambda data: batch(COPY) + messages.flush() + data + messages.sync()),
    st.tuples(st.integers(1, 3), st.sampled_from([DONE, FAIL])).map(
        lambda told: batch(COPY) + messages.sync() + DATA * told[0] + told[1] + messages.sync()
    ),
)


@given(st.lists(turn, max_size=8), st.sampled_from([b"", batch("SELECT 2"), messages.parse("a", "SELECT 3")]))
def test_turns_come_out_as_they_were_said_with_what_was_copied_in(said, begun):
    assert cut_turns(b"".join(said) + begun) == said + ([begun] if begun else [])


@given(st.lists(turn, max_size=6), st.integers(0, 400), sizes)
def test_nothing_is_lost_wherever_it_breaks_off(said, cut, chunks):
    data = b"".join(said)[:cut]
    made = journal()
    for chunk in chunked(data, chunks):
        made.say(chunk)
    assert b"".join(made.turns()) == data
    assert made.said_bytes == len(data)


@given(st.binary(max_size=60), st.integers(0, 60), sizes)
def test_what_is_unsaid_was_never_said(data, count, chunks):
    count = min(count, len(data))
    made = journal()
    for chunk in chunked(data, chunks):
        made.say(chunk)
    made.unsay(count)
    assert b"".join(made.said) == data[: len(data) - count]
    assert made.said_bytes == len(data) - count


def test_texts_are_those_of_queries_and_of_parses():
    said = messages.query("BEGIN") + batch("SELECT 1") + messages.parse("name", "SELECT 2") + messages.sync()
    assert texts(said) == [b"BEGIN", b"SELECT 1", b"SELECT 2"]
    assert texts(messages.query("SELECT 'long'")[:-5]) == [b"SELECT 'l"]


@pytest.mark.parametrize(
    ("limits", "said"),
    [({"bytes": 9}, [b"12345", b"67890"]), ({"chunks": 1}, [b"1", b"2"])],
    ids=["bytes", "chunks"],
)
def test_what_is_too_long_is_let_go(limits, said):
    made = journal(**limits)
    made.hear(b"something")
    for chunk in said:
        assert not made.spoiled
        made.say(chunk)
    assert made.spoiled == "it is longer than is kept"
    assert (made.said, made.said_bytes, made.replays) == ([], 0, False)
    made.clear()
    assert not made.spoiled


def test_only_whole_chunks_that_were_all_proven_change_nothing():
    made = journal(chunks=3)
    for _ in range(2):
        made.say(b"read")
        made.proven += 1
    assert made.changes_nothing
    made.say(b"write")
    assert not made.changes_nothing
    made.unsay(5)  # what is left are the two that were counted, but any of them may have been cut
    assert not made.changes_nothing
    made.clear()
    made.say(b"write")
    for _ in range(3):
        made.say(b"read")
        made.proven += 1
    assert made.spoiled  # what was forgotten must not be made up for by what is said from now on
    made.say(b"read")
    made.proven += 1
    assert not made.changes_nothing


# --- what was seen ------------------------------------------------------------------------------------------

name = st.sampled_from(["id", "a longer name", ""])
row = st.lists(st.none() | st.binary(max_size=30), max_size=3).map(messages.data_row)
answer = st.one_of(
    row,
    st.lists(st.tuples(name, st.integers(1, 99)), min_size=1, max_size=3).map(messages.row_description),
    st.sampled_from(["INSERT 0 1", "SELECT 3", "BEGIN"]).map(messages.command_complete),
    st.sampled_from(["42601", "23505"]).map(lambda code: messages.error_response(code, "reads as it likes")),
    st.just(messages.notice_response("00000", "by the way")),
    st.just(messages.parameter_status("TimeZone", "UTC")),
    st.just(HEADER.pack(framing.NOTIFICATION, 10) + b"\0\0\0\1c\0"),
    st.sampled_from([b"I", b"T", b"E"]).map(messages.ready_for_query),
    st.sampled_from([messages.PARSE_COMPLETE, messages.BIND_COMPLETE, messages.NO_DATA]),
)
stream = st.lists(answer, max_size=14).map(b"".join)


def state(canon):
    return (canon.count, canon.digest(), canon.marks, canon.idle, canon.partial)


def canon_of(chunks, *, hashed):
    made = Canon(hashed=hashed)
    for chunk in chunks:
        made.feed(chunk)
    return made


@given(stream, st.integers(0, 20), sizes)
def test_what_was_seen_is_the_same_in_any_chunks_hashed_or_not(data, cut, chunks):
    data = data[: len(data) - cut]
    whole = canon_of([data], hashed=False)
    pieces = canon_of(chunked(data, chunks), hashed=False)
    hashed = canon_of(chunked(data, chunks), hashed=True)
    assert state(whole) == state(pieces) == state(hashed)
    assert whole.text == pieces.text
    assert not hashed.text
    assert len(whole.text) == whole.count
    assert xxhash.xxh3_64_intdigest(bytes(whole.text)) == hashed.digest()


@given(stream, sizes)
def test_pieces_are_all_that_came(data, chunks):
    made = Canon(hashed=True)
    came = [raw for chunk in chunked(data, chunks) for _, raw in made.pieces(chunk)]
    assert b"".join(came) + made.partial == data


@given(st.lists(stream.map(lambda data: data + messages.ready_for_query(b"T")), max_size=5), st.data())
def test_what_is_behind_some_turns_is_what_would_have_been_seen_without_them(turns, data):
    whole = canon_of(turns, hashed=False)
    marks = [0, *(count for count, _ in whole.marks)]
    skipped = data.draw(st.integers(0, len(whole.marks)))
    rest = whole.behind(skipped)
    text = bytes(whole.text[marks[skipped] :])
    assert rest.text == text
    assert [count + marks[skipped] for count, _ in rest.marks] == marks[skipped + 1 :]
    assert rest.digest() == xxhash.xxh3_64_intdigest(text)


@given(st.lists(stream, max_size=6), st.integers(0, 3))
def test_a_long_answer_is_hashed_to_the_same(parts, long):
    made = journal()
    chunks = [*parts[:long], messages.data_row([b"x" * KEPT_BYTES]), *parts[long:]]
    for chunk in chunks:
        made.hear(chunk)
    seen = made.seen()
    assert seen.hashed
    assert state(seen) == state(canon_of(chunks, hashed=False))
    assert made.answers() == []


def test_a_short_answer_is_kept_turn_by_turn():
    made = journal()
    turns = [
        messages.data_row([b"1"]) + messages.ready_for_query(b"T"),
        messages.command_complete("INSERT 0 1") + messages.ready_for_query(b"T"),
    ]
    for chunk in chunked(b"".join(turns) + messages.data_row([b"2"]), [7]):
        made.hear(chunk)
    assert made.answers() == turns
    assert not made.seen().hashed


def test_what_is_not_replayed_is_not_kept():
    made = journal()
    made.replays = False
    made.hear(messages.ready_for_query(b"T"))
    assert made.told
    assert (made.answers(), made.seen().count) == ([], 0)


# --- what is compared ---------------------------------------------------------------------------------------


def test_of_an_error_only_the_code_counts():
    seen = {
        canonical(framing.ERROR, messages.error_response(code, text))
        for code, text in [("23505", "key (1)"), ("23505", "key (2)"), ("23503", "key (1)")]
    }
    assert seen == {b"E23505", b"E23503"}


@pytest.mark.parametrize(
    "message",
    [messages.notice_response("00000", "n"), messages.parameter_status("a", "b"), b"A\0\0\0\5x"],
    ids=["notice", "setting", "notification"],
)
def test_what_may_come_at_any_time_does_not_count(message):
    assert canonical(message[0], message) == b""


def column(name, table, number=1, type_oid=23):
    return name + b"\0" + module.FIELD.pack(table, number, type_oid, 4, -1, 0)


def description(*columns):
    body = len(columns).to_bytes(2) + b"".join(columns)
    return HEADER.pack(framing.ROW_DESCRIPTION, len(body) + 4) + body


def test_the_number_of_a_table_does_not_count_but_all_else_of_a_description_does():
    def seen(*columns):
        raw = description(*columns)
        return canonical(raw[0], raw)

    one = seen(column(b"a", 16401), column(b"b", 16402, 2))
    assert one == seen(column(b"a", 16501), column(b"b", 0, 2))
    assert one != seen(column(b"a", 16401), column(b"b", 16402, 3))
    assert one != seen(column(b"c", 16401), column(b"b", 16402, 2))
    assert one != seen(column(b"a", 16401, type_oid=25), column(b"b", 16402, 2))


def test_a_description_that_makes_no_sense_is_compared_as_it_is():
    raw = description(b"no end")
    assert canonical(raw[0], raw) == raw


def test_too_long_a_description_is_compared_as_it_comes():
    raw = description(column(b"x" * (WHOLE_LIMIT + 1), 16401))
    made = canon_of(chunked(raw, [100_000]), hashed=False)
    assert made.text == raw


def test_the_last_turn_outside_of_a_transaction_is_known():
    made = canon_of([messages.ready_for_query(one) for one in (b"I", b"T", b"I", b"T", b"E")], hashed=False)
    assert made.idle == 3
    assert len(made.marks) == 5


# --- the rest of it -----------------------------------------------------------------------------------------


def test_a_sample_tells_the_number_once_it_is_there_or_on_its_way():
    made = journal()
    assert not made.numbered
    made.sampled_at = 1.0
    assert not made.numbered
    made.sampled_early = True
    assert made.numbered
    made.sample = messages.data_row([None, b"0/1", None])[5:]
    assert not made.numbered
    made.sample = messages.data_row([b"7", b"0/1", None])[5:]
    assert made.numbered


def test_names_are_remembered_as_they_were_before_the_first_change():
    made = journal()
    names = {b"a": 1}
    made.remember(names, 10)
    names[b"b"] = 2
    made.remember(names, 20)
    assert (made.names, made.names_bytes) == ({b"a": 1}, 10)
    made.clear()
    assert (made.names, made.names_changed) == (None, False)
    made.remember(None, 0)
    assert made.names_changed


@given(st.booleans(), st.booleans())
def test_nothing_of_a_transaction_is_left_when_it_has_ended(replays, sampled):
    made = journal()
    made.replays = replays
    made.say(messages.query("SELECT 1"))
    made.hear(messages.data_row([b"x" * (KEPT_BYTES + 1)]))
    if sampled:
        made.sampled_at, made.sampled_early, made.sample, made.topology = 1.0, True, b"row", object()
    made.clear()
    assert (made.said, made.said_bytes, made.told) == ([], 0, False)
    assert (made.sampled_at, made.sampled_early, made.sample, made.topology) == (0.0, False, b"", None)
    assert made.seen().count == 0
