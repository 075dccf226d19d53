"""The client for a running proxy's console: logins, answers, and what is no console."""

import contextlib
import pickle
import socket
import threading

import pytest

from seawall.app import console
from seawall.app.console import PasswordWanted, Place, Refused, Result, Session, Unreachable
from seawall.proxy.control import supervisor_path
from seawall.wire.pgwire import messages
from tests.proxy.consoles import BACKENDS, FakeSupervisor, RunningConsole

TIMEOUT_S = 10.0
HELLO = messages.authentication_ok() + messages.parameter_status("server_version", "16.0 (Seawall)")
READY = messages.ready_for_query(b"I")


@contextlib.contextmanager
def saying(*parts, path=None):
    """A server that says these things, one per message it gets, and then hangs up."""
    family = socket.AF_INET if path is None else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.bind(("127.0.0.1", 0) if path is None else str(path))
        listening.listen(1)

        def serve():
            connection, _ = listening.accept()
            with connection:
                for part in parts:
                    connection.recv(1 << 16)
                    connection.sendall(part)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Place(port=listening.getsockname()[1] if path is None else 5)
        thread.join(TIMEOUT_S)


def test_a_question_is_answered_by_column_name(tmp_path):
    with RunningConsole(tmp_path, FakeSupervisor()) as running:
        with Session(Place(port=running.port), TIMEOUT_S) as session:
            result = session.ask("SHOW BACKENDS")
            assert [row["name"] for row in result.rows] == [row["name"] for row in BACKENDS]
            assert result.rows[0]["reason"] is None
            assert result.columns[0] == "name"
            assert session.ask("RESUME") == Result([], [])
            assert str(session.place) == f"127.0.0.1:{running.port}"
            assert repr(session) == f"Session(127.0.0.1:{running.port})"


def test_a_refusal_has_its_code_and_its_hint_and_does_not_end_the_session(tmp_path):
    with RunningConsole(tmp_path, FakeSupervisor()) as running:
        with Session(Place(port=running.port), TIMEOUT_S) as session:
            with pytest.raises(Refused, match="unknown command") as caught:
                session.ask("SHOW NONSENSE")
            assert caught.value.sqlstate == "42601"
            assert "SHOW POOLS" in caught.value.hint
            assert session.ask("SHOW VERSION").rows


def test_logins(tmp_path):
    users = {"boss": "secret", "shop": "s"}
    with RunningConsole(tmp_path, FakeSupervisor(), users=users, admin=["boss"], trust=False) as running:
        place = Place(port=running.port, user="boss", password="secret")
        assert "secret" not in repr(place)
        with Session(place, TIMEOUT_S) as session:
            assert session.ask("SHOW VERSION").rows
        with pytest.raises(PasswordWanted, match='user "boss" needs a password'):
            Session(Place(port=running.port, user="boss"), TIMEOUT_S)
        with pytest.raises(Refused, match="password authentication failed") as caught:
            Session(Place(port=running.port, user="boss", password="wrong"), TIMEOUT_S)
        assert not isinstance(caught.value, PasswordWanted)
        with pytest.raises(Refused, match="may not use the admin console"):
            Session(Place(port=running.port, user="shop", password="s"), TIMEOUT_S)


def test_a_unix_socket(tmp_path):
    with saying(HELLO + READY, path=tmp_path / ".s.PGSQL.5"):
        place = Place(host=str(tmp_path), port=5)
        with Session(place, TIMEOUT_S) as session:
            assert session.place is place
    assert str(place) == f"{tmp_path}/.s.PGSQL.5"
    with pytest.raises(Unreachable, match="No such file"):
        Session(Place(host=str(tmp_path), port=6), TIMEOUT_S)


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ((b"",), "closed the connection"),
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), "no PostgreSQL"),
        ((READY,), "no console of Seawall"),
        ((messages.authentication_ok() + READY,), "no console of Seawall"),
        ((HELLO + messages.parameter_status("server_version", "1.25.2/bouncer") + READY,), "no console"),
    ],
)
def test_what_is_no_console_gets_no_orders(parts, why):
    with saying(*parts) as place, pytest.raises(Unreachable, match=why):
        Session(place, TIMEOUT_S)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "closed the connection"),
        (messages.data_row([b"x"]) + READY, "no PostgreSQL"),
        (messages.row_description([("a", 25)]) + messages.data_row([b"x" * 90]) * 3, "longer than 200 bytes"),
    ],
)
def test_an_answer_that_is_none_is_told(monkeypatch, answer, why):
    monkeypatch.setattr(console, "ANSWER_MAX_BYTES", 200)
    with saying(HELLO + READY, answer) as place, Session(place, TIMEOUT_S) as session:
        with pytest.raises(Unreachable, match=why):
            session.ask("SHOW POOLS")


def test_nobody_is_waited_for_without_end(tmp_path):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        place = Place(port=listening.getsockname()[1])
        with pytest.raises(Unreachable, match="no answer in time"):
            Session(place, 0.05)
    with pytest.raises(Unreachable, match="refused"):
        Session(place, TIMEOUT_S)
    supervisor = FakeSupervisor()
    supervisor.gate.clear()
    with RunningConsole(tmp_path, supervisor) as running:
        assert supervisor_path(tmp_path).exists()
        with Session(Place(port=running.port), TIMEOUT_S) as session:
            with pytest.raises(Unreachable, match="no answer in time"):
                session.ask("SWITCHOVER", 0.05)


def test_errors_can_be_copied():
    error = Refused("a", "42601", "b", "c")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.message, copy.sqlstate, copy.detail, copy.hint) == ("a", "42601", "b", "c")
    assert str(Place(host="::1")) == "[::1]:6432"
