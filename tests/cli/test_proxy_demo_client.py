import asyncio
import pickle
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.cli.proxy_demo_client import Session, SessionLost, connect
from seawall.embedded.errors import StatementFailed
from seawall.proxy.worker import INDEX_BITS
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.framing import MessageReader

READY = messages.ready_for_query(b"I")
LOGIN = messages.authentication_ok() + messages.backend_key_data(2 << INDEX_BITS | 77, b"key!") + READY


class Transport(asyncio.Transport):
    """Remembers what was written; says that it is closed as transports do."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = self.aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True


def talk(*answer: bytes, end: Exception | bool | None = False):
    """Ask once, with an answer that comes in these pieces; the session and its transport.

    ``end`` is how the connection is lost, ``False`` if it isn't.
    """

    async def conversation():
        session, transport = Session(0.0), Transport()
        session.connection_made(transport)
        asked = asyncio.ensure_future(session.ask(b"?"))
        await asyncio.sleep(0)
        for piece in answer:
            session.data_received(piece)
        if end is not False:
            session.connection_lost(end)
        await asyncio.gather(asked, return_exceptions=True)
        return session, transport, asked

    return asyncio.run(conversation())


@given(st.lists(st.integers(0, len(LOGIN)), max_size=6))
def test_an_answer_is_taken_in_whatever_pieces(cuts) -> None:
    edges = [0, *sorted(cuts), len(LOGIN)]
    session, transport, asked = talk(*(LOGIN[a:b] for a, b in pairwise(edges)))
    assert asked.exception() is None
    assert session.worker == 1
    assert session.open
    assert transport.written == b"?"


def test_an_error_fails_the_question_and_not_the_session() -> None:
    session, _, asked = talk(messages.error_response("40001", "again, please") + READY)
    assert isinstance(asked.exception(), StatementFailed)
    assert asked.exception().sqlstate == "40001"
    assert session.open


@given(st.binary(max_size=60))
def test_rubbish_never_passes_for_an_answer(rubbish) -> None:
    session, _, asked = talk(rubbish, end=None)
    try:
        answered = any(kind == framing.READY for kind, _ in MessageReader(1000).feed(rubbish))
    except messages.ProtocolViolation:
        answered = False
    assert answered or isinstance(asked.exception(), SessionLost)
    assert not session.open


@pytest.mark.parametrize(
    ("said", "end", "sqlstate"),
    [
        (messages.error_response("57P01", "going down", severity="FATAL"), None, "57P01"),
        (b"", None, "08006"),
        (b"", ConnectionResetError("reset"), "08006"),
        (b"Z\x00\x00\x00\x01", None, "08P01"),
        (messages.authentication_cleartext(), None, "08P01"),
    ],
)
def test_a_lost_connection_says_why(said, end, sqlstate) -> None:
    session, _, asked = talk(said, end=end)
    error = asked.exception()
    assert isinstance(error, SessionLost)
    assert error.sqlstate == sqlstate
    assert not session.open
    with pytest.raises(SessionLost):
        asyncio.run(session.ask(b"?"))


def test_the_error_crosses_process_borders() -> None:
    error = SessionLost("57P01", "going down")
    again = pickle.loads(pickle.dumps(error))
    assert (again.sqlstate, str(again)) == (error.sqlstate, str(error))


def test_closing_says_goodbye_once() -> None:
    session, transport = Session(0.0), Transport()
    session.connection_made(transport)
    session.close()
    session.close()
    assert transport.written == messages.terminate()


def test_nobody_there_is_a_lost_session() -> None:
    async def nobody():
        server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        await connect("127.0.0.1", port, user="u", database="d", now=0.0)

    with pytest.raises(SessionLost, match="08006"):
        asyncio.run(nobody())


def test_rows_are_told_by_the_names_of_their_columns() -> None:
    async def conversation():
        session = Session(0.0)
        session.connection_made(Transport())
        shown = asyncio.ensure_future(session.show("SHOW BACKENDS"))
        await asyncio.sleep(0)
        head = messages.row_description([("name", 25), ("lag", 25)])
        session.data_received(head + messages.data_row([b"pg1", None]) + READY)
        return await shown

    assert asyncio.run(conversation()) == [{"name": "pg1", "lag": None}]
