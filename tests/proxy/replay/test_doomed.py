"""A client whose transaction is lost is answered as in a failed one, whatever it says, in whatever chunks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.proxy.replay.doomed import ABORTED, MESSAGE_LIMIT, Doomed, ends
from seawall.proxy.statements import Statement
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.framing import HEADER
from tests.proxy.model import summary

ERROR = messages.error_response("40001", "lost")
CALL = HEADER.pack(framing.FUNCTION_CALL, 8) + b"call"
DATA = HEADER.pack(framing.COPY_DATA, 8) + b"rows"
DONE = HEADER.pack(framing.COPY_DONE, 4)
FAIL = HEADER.pack(framing.COPY_FAIL, 7) + b"no\0"


def doomed(error=ERROR, *, skipping=False, opened=True, texts=None, drop=0, carry=b""):
    return Doomed(
        error, skipping=skipping, opened=opened, texts={} if texts is None else texts, drop=drop, carry=carry
    )


def statement(sql):
    return Statement(sql.encode() + b"\0\0\0", b"seawall_1")


def batch(sql, name=""):
    return messages.parse(name, sql) + messages.bind("", name, []) + messages.execute()


def word(answers):
    """What a client sees, as one word: kinds, with codes and statuses."""
    out = []
    for letter, what in summary(answers):
        out.append({"E": f"E{what}", "Z": f"Z{what.decode()}" if letter == "Z" else ""}.get(letter, letter))
    return " ".join(out)


# --- the table ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "told", "over"),
    [
        (messages.query("SELECT 1"), "E40001 ZE", False),
        (messages.query("SELECT 1") * 2, "E40001 ZE E25P02 ZE", False),
        (messages.query("ROLLBACK"), "C ZI", True),
        (messages.query("COMMIT"), "E40001 ZI", True),
        (messages.query("commit /* really */ ;"), "E40001 ZI", True),
        (messages.query("COMMIT AND CHAIN"), "E40001 ZE", False),
        (messages.query("COMMIT; DROP TABLE t"), "E40001 ZE", False),
        (messages.query("ROLLBACK TO SAVEPOINT a"), "E40001 ZE", False),
        (messages.query("PREPARE TRANSACTION 'x'"), "E40001 ZE", False),
        (messages.query(""), "E40001 ZE", False),
        (CALL, "E40001 ZE", False),
        (messages.sync(), "ZE", False),
        (messages.flush(), "", False),
        (DATA + DONE + FAIL, "", False),
        (batch("SELECT 1") + messages.sync(), "E40001 ZE", False),
        (batch("SELECT 1") + batch("COMMIT") + messages.sync(), "E40001 ZE", False),
        (batch("COMMIT") + messages.sync(), "1 2 E40001 ZI", True),
        (
            messages.parse("", "ROLLBACK")
            + messages.describe_statement("")
            + messages.bind("", "", [])
            + messages.describe_portal("")
            + messages.execute()
            + messages.close_portal("")
            + messages.sync(),
            "1 t n 2 n C ZI",
            True,
        ),
        (batch("COMMIT") + batch("SELECT 1") + messages.sync(), "1 2 E40001 ZI", True),
        (batch("ROLLBACK", name="named") + messages.sync(), "E40001 ZE", False),
        (messages.bind("", "known", []) + messages.execute() + messages.sync(), "2 C ZI", True),
        (messages.bind("", "other", []) + messages.execute() + messages.sync(), "E40001 ZE", False),
        (messages.bind("", "missing", []) + messages.execute() + messages.sync(), "E40001 ZE", False),
        (messages.execute() + messages.sync(), "E40001 ZE", False),
        (messages.close_statement("known") + messages.sync(), "3 ZE", False),
        (
            messages.close_statement("known") + messages.bind("", "known", []) + messages.sync(),
            "3 E40001 ZE",
            False,
        ),
    ],
)
def test_what_each_message_is_answered(said, told, over):
    texts = {b"known": statement("ROLLBACK"), b"other": statement("SELECT 1")}
    made = doomed(texts=texts)
    answers, left = made.feed(said)
    assert (word(answers), made.over, left) == (told, over, b"")


def test_the_client_has_had_the_error():
    answers, _ = doomed(b"").feed(messages.query("SELECT 1"))
    assert answers == ABORTED + messages.ready_for_query(b"E")


def test_in_a_batch_that_has_failed_everything_is_skipped():
    made = doomed(b"", skipping=True)
    assert word(made.feed(batch("COMMIT") + messages.close_portal("") + messages.sync())[0]) == "ZE"
    assert not made.over


def test_without_a_transaction_it_is_over_with_the_batch():
    made = doomed(b"", skipping=True, opened=False)
    behind = messages.query("SELECT 1")
    answers, left = made.feed(messages.execute() + messages.sync() + behind)
    assert (word(answers), made.over, left) == ("ZI", True, behind)


def test_the_rest_of_what_a_server_got_the_beginning_of_is_dropped():
    made = doomed(drop=7)
    assert made.feed(b"12345") == (b"", b"")
    assert word(made.feed(b"67" + messages.query("ROLLBACK"))[0]) == "C ZI"


def test_what_was_carried_is_taken_up():
    said = messages.query("ROLLBACK")
    made = doomed(carry=said[:4])
    assert word(made.feed(said[4:])[0]) == "C ZI"


@pytest.mark.parametrize("left", [messages.terminate(), b"Q\0\0\0\3"], ids=["goodbye", "no message"])
def test_what_needs_no_answer_is_left_to_the_client(left):
    made = doomed()
    assert made.feed(messages.sync() + left) == (messages.ready_for_query(b"E"), left)


def test_a_message_that_is_too_long_is_dropped_as_it_comes():
    made = doomed()
    long = messages.query("ROLLBACK -- " + "x" * MESSAGE_LIMIT)
    answers = made.feed(long[:100])[0]
    assert word(answers) == "E40001 ZE"
    for start in range(100, len(long), 9000):
        assert made.feed(long[start : start + 9000]) == (b"", b"")
    assert word(made.feed(messages.query("ROLLBACK"))[0]) == "C ZI"


# --- any stream ---------------------------------------------------------------------------------------------

SQL = ("SELECT 1", "COMMIT", "ROLLBACK", "END", "ROLLBACK TO a", "COMMIT AND CHAIN", "COMMIT; SELECT 1", "")
sql = st.sampled_from(SQL)
names = st.sampled_from(["", "ends", "reads", "missing"])
step = st.one_of(
    sql.map(messages.query),
    st.builds(messages.parse, names, sql),
    names.map(lambda name: messages.bind("", name, [])),
    names.map(lambda name: messages.bind("portal", name, [])),
    names.map(messages.describe_statement),
    names.map(messages.close_statement),
    st.sampled_from(["", "portal"]).map(messages.describe_portal),
    st.sampled_from(["", "portal"]).map(messages.execute),
    st.sampled_from([messages.flush(), messages.sync(), CALL, DATA, DONE, FAIL]),
)


def known():
    return {b"ends": statement("ROLLBACK"), b"reads": statement("SELECT 1")}


def taken(said, chunk, **more):
    """What is answered, what is left, and whether it is over; nothing is fed once it is."""
    made, answers, left = doomed(texts=known(), **more), b"", b""
    for start in range(0, len(said), chunk):
        part = said[start : start + chunk]
        if made.over:
            left += part
            continue
        told, behind = made.feed(part)
        answers, left = answers + told, left + behind
    return answers, left, made.over


@given(steps=st.lists(step, max_size=15), chunk=st.integers(1, 60), skipping=st.booleans())
def test_every_query_call_and_sync_gets_one_ready_and_only_its_end_ends_it(steps, chunk, skipping):
    said = b"".join(steps)
    answers, left, over = taken(said, chunk, skipping=skipping)
    assert (answers, left, over) == taken(said, 1 << 20, skipping=skipping)
    heard = said[: len(said) - len(left)]
    asked, position = 0, 0
    while position < len(heard):
        kind, length = HEADER.unpack_from(heard, position)
        asked += kind in (framing.QUERY, framing.FUNCTION_CALL, framing.SYNC)
        position += 1 + length
    told = summary(answers)
    statuses = [what for letter, what in told if letter == "Z"]
    assert len(statuses) == asked
    assert statuses == [b"E"] * (asked - over) + [b"I"] * over
    tags = [what for letter, what in told if letter == "C"]
    assert tags == [b"ROLLBACK\0"] * len(tags)
    assert bool(tags) or not over or "40001" in [what for letter, what in told if letter == "E"]
    assert over or not left
    codes = [what for letter, what in told if letter == "E"]
    assert codes == [*["40001"][: len(codes)], *["25P02"] * (len(codes) - 1)]


@given(st.text(alphabet="COMITEND ROLBACK;/*-\n", max_size=20))
def test_whatever_text_is_taken_to_end_it_begins_with_the_word(text):
    if ends(text.encode()):
        assert text.upper().lstrip(" \n;").startswith(("COMMIT", "END", "ROLLBACK", "/*", "--"))


@pytest.mark.parametrize("text", ["ABORT", "END WORK", " rollback ;", "COMMIT TRANSACTION"])
def test_texts_that_end_a_transaction(text):
    assert ends(text.encode())


def test_a_commit_says_rollback_to_a_client_that_knows_why():
    made = doomed()
    assert word(made.feed(messages.query("SELECT 1"))[0]) == "E40001 ZE"
    assert word(made.feed(messages.query("COMMIT"))[0]) == "C ZI"
