import socket
import threading
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.embedded import client
from seawall.embedded.client import Connection
from seawall.embedded.errors import StatementFailed
from seawall.kernel.errors import DatabaseUnavailable
from seawall.wire.pgwire import messages

WELCOME = messages.authentication_ok() + messages.ready_for_query(b"I")


@contextmanager
def server(directory, *answers: bytes, hang_up: bool = True):
    """Somebody who says what he is told, whatever he is asked, once per request."""
    path = directory / "socket"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        done = threading.Event()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                for answer in answers:
                    connection.recv(65_536)
                    connection.sendall(answer)
                if not hang_up:
                    done.wait(5)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield path
        finally:
            done.set()
            with suppress(OSError), socket.socket(socket.AF_UNIX) as last:
                last.connect(str(path))
            thread.join()


def connect(path, timeout_s=5.0) -> Connection:
    return Connection(path, name="pg1", timeout_s=timeout_s, user="postgres", database="postgres")


def test_rows_are_text_and_null(tmp_path) -> None:
    answer = messages.data_row([b"1", None, "ä".encode()]) + messages.command_complete("SELECT 1")
    with server(tmp_path, WELCOME, answer + messages.ready_for_query(b"I")) as path, connect(path) as session:
        assert session.query("SELECT") == [("1", None, "ä")]


def test_an_error_carries_its_sqlstate(tmp_path) -> None:
    answer = messages.error_response("42P01", "no such table") + messages.ready_for_query(b"I")
    with server(tmp_path, WELCOME, answer) as path, connect(path) as session:
        with pytest.raises(StatementFailed, match="42P01: no such table") as caught:
            session.query("SELECT")
        assert caught.value.sqlstate == "42P01"


def test_a_refused_login_carries_its_sqlstate(tmp_path) -> None:
    refusal = messages.error_response("57P03", "starting up", severity="FATAL")
    with server(tmp_path, refusal) as path, pytest.raises(StatementFailed, match="57P03"):
        connect(path)


def test_a_password_is_never_given(tmp_path) -> None:
    wants = pytest.raises(DatabaseUnavailable, match="wants a password")
    with server(tmp_path, messages.authentication_cleartext()) as path, wants:
        connect(path)


def test_silence_ends_in_an_error(tmp_path) -> None:
    silent = pytest.raises(DatabaseUnavailable, match=r"pg1: no answer within 0\.05 s")
    with server(tmp_path, WELCOME, b"", hang_up=False) as path, connect(path, 0.05) as session, silent:
        session.query("SELECT")


def test_a_lost_connection_is_an_error(tmp_path) -> None:
    with server(tmp_path, WELCOME) as path, connect(path) as session, pytest.raises(DatabaseUnavailable):
        session.query("SELECT")


def test_nobody_there_is_an_error(tmp_path) -> None:
    with pytest.raises(DatabaseUnavailable, match="pg1: No such file"):
        connect(tmp_path / "socket")


def test_an_answer_has_a_limit(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(client, "RESULT_BYTES_MAX", 100)
    rows = messages.data_row([b"x" * 60]) * 2 + messages.ready_for_query(b"I")
    too_long = pytest.raises(DatabaseUnavailable, match="longer than 100 bytes")
    with server(tmp_path, WELCOME, rows) as path, connect(path) as session, too_long:
        session.query("SELECT")


MESSAGES = st.sampled_from(
    [
        messages.authentication_ok(),
        messages.authentication_md5(b"salt"),
        messages.parameter_status("TimeZone", "UTC"),
        messages.notice_response("01000", "careful"),
        messages.error_response("XX000", "broken"),
        messages.data_row([b"1", None]),
        messages.command_complete("SELECT 1"),
        messages.ready_for_query(b"I"),
        b"D\x00\x00\x00\x05\x00",
        b"E\x00\x00\x00\x06Cx",
        b"Z\xff\xff\xff\xff",
    ]
)


@given(st.lists(MESSAGES | st.binary(max_size=12), max_size=8).map(b"".join))
def test_whatever_answers_ends_in_rows_or_a_documented_error(tmp_path_factory, garbage) -> None:
    documented = suppress(DatabaseUnavailable, StatementFailed)
    directory = tmp_path_factory.mktemp("server")
    with server(directory, WELCOME, garbage) as path, connect(path) as session, documented:
        assert all(isinstance(row, tuple) for row in session.query("SELECT"))
