"""What is said again is compared to the byte, and the client hears exactly what it has not heard yet."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.proxy.naming import CLOSED, WAITING
from seawall.proxy.replay.journal import Canon
from seawall.proxy.replaying import UNDONE, Replaying, Script
from seawall.wire.pgwire import messages

pytestmark = pytest.mark.interpreted  # its fakes are no subclasses of compiled classes

READY = messages.ready_for_query(b"T")
answer = st.lists(
    st.one_of(
        st.lists(st.binary(max_size=20), max_size=2).map(messages.data_row),
        st.just(messages.notice_response("00000", "by the way")),
        st.just(messages.row_description([("a", 23)])),
        st.sampled_from(["22012", "23505"]).map(lambda code: messages.error_response(code, "no")),
    ),
    max_size=4,
).map(lambda parts: b"".join(parts) + messages.command_complete("SELECT 1") + READY)


class Client:
    """Keeps what it hears, and has a turn answered when it is said."""

    def __init__(self):
        self.state, self.journal = WAITING, None
        self.mid_message = False
        self.heard, self.said = b"", []

    def resay(self, server, data):
        self.said.append(data)

    def deliver(self, data):
        self.heard += data


def script(turns, seen, *, hashed):
    canon = Canon(hashed=hashed)
    canon.feed(seen)
    return Script(
        tuple(b"turn %d" % number for number in range(len(turns))),
        len(canon.marks),
        bytes(canon.text),
        canon.count,
        canon.digest(),
        tuple(canon.marks),
        canon.partial,
    )


def replay(told, answers, chunk):
    """Say a script to a server that answers like this; the client, the attempt and how it ended."""
    client, server, ended = Client(), SimpleNamespace(sink=None, unsynced=False), []
    playing = Replaying(
        client,
        server,
        told,
        lambda number: playing.say(number),  # noqa: PLW0108 -- there is none yet
        lambda attempt, result: ended.append(result),
    )
    playing.start()
    done = 0
    while not ended and done < len(client.said):
        data = answers[done]
        done += 1
        for start in range(0, len(data), chunk):
            if not ended:
                playing.deliver(data[start : start + chunk])
            elif ended == [None]:
                client.deliver(data[start : start + chunk])
        if not ended:
            playing.settled(server)
    return client, playing, ended


@given(
    turns=st.lists(answer, min_size=1, max_size=4),
    cut=st.integers(0, 200),
    chunk=st.integers(1, 50),
    hashed=st.booleans(),
)
def test_the_same_answers_let_the_client_go_on_where_it_was(turns, cut, chunk, hashed):
    whole = b"".join(turns)
    seen = whole[: max(0, len(whole) - cut)]
    client, playing, ended = replay(script(turns, seen, hashed=hashed), turns, chunk)
    assert ended == [None]
    answered = len(client.said)
    expected = b"".join(turns[:answered])[len(seen) :]
    assert strip(client.heard) == strip(expected)
    assert playing.rest() == b"".join(b"turn %d" % number for number in range(answered, len(turns)))


def strip(data):
    """Without notices: those that came at the very end of what was seen may come twice or not."""
    return data.replace(messages.notice_response("00000", "by the way"), b"")


@given(
    turns=st.lists(answer, min_size=1, max_size=4),
    pick=st.integers(0, 3),
    chunk=st.integers(1, 50),
    hashed=st.booleans(),
)
def test_another_answer_is_found_in_its_turn(turns, pick, chunk, hashed):
    pick %= len(turns)
    told = script(turns, b"".join(turns), hashed=hashed)
    others = list(turns)
    others[pick] = messages.data_row([b"something else altogether"]) + others[pick]
    client, _, ended = replay(told, others, chunk)
    assert ended == [pick]
    assert client.heard == b""


def test_fewer_rows_are_another_answer():
    row, end = messages.data_row([b"1"]), messages.command_complete("SELECT 2") + READY
    for hashed in (False, True):
        _, _, ended = replay(script([b""], row + row + end, hashed=hashed), [row + end], 1000)
        assert ended == [0]


def test_it_is_undone_when_client_or_server_go():
    turns = [messages.command_complete("BEGIN") + READY]
    for go in (Replaying.abandon, lambda playing: playing.lost(playing.server), gone):
        client, ended = Client(), []
        playing = Replaying(
            client,
            SimpleNamespace(sink=None),
            script(turns, turns[0], hashed=False),
            lambda number: None,
            lambda attempt, result, ended=ended: ended.append(result),
        )
        playing.start()
        go(playing)
        playing.deliver(turns[0])
        assert ended == [UNDONE]
        assert client.heard == b""


def gone(playing):
    playing.client.state = CLOSED
    playing.say(0)


@pytest.mark.parametrize(
    ("mid_message", "seen", "flushed"), [(False, b"1", 1), (True, b"1", 0), (False, b"", 0)]
)
def test_what_was_heard_of_a_turn_without_an_end_is_asked_for(mid_message, seen, flushed):
    begun = messages.command_complete("BEGIN") + READY
    heard = messages.PARSE_COMPLETE if seen else b""
    sent, client = [], Client()
    client.mid_message = mid_message
    server = SimpleNamespace(sink=None, unsynced=False, send=sent.append)
    told = script([b"", b""], begun + heard, hashed=False)
    playing = Replaying(client, server, told, lambda number: playing.say(number), lambda *ended: None)  # noqa: PLW0108
    playing.start()
    playing.deliver(begun)
    server.unsynced = True
    playing.settled(server)
    assert sent == [messages.flush()] * flushed
    assert len(client.said) == 1 + bool(seen)
