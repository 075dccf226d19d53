import pickle
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seawall.proxy import check_socket
from seawall.proxy.check import Login, Plan, Seen
from seawall.proxy.check_socket import Refused, look
from seawall.proxy.settings import Backend
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.login import LoginRefused, ServerLogin
from seawall.wire.pgwire.passwords import PlainSecret, md5_secret, scram_secret
from seawall.wire.pgwire.startup import StartupReader
from tests.proxy.scripted import listening

OK = messages.authentication_ok()
READY = messages.ready_for_query(b"I")
BASICS = [b"160004", b"16.4", b"f", b"UTF8", b"100", b"3", None, b"1700000000.5"]
PASSWORD = "hunter2"
TIMEOUT_S = 0.5


def rows(*values: bytes | None) -> bytes:
    """An answer of one row."""
    return messages.data_row(values) + messages.command_complete("SELECT 1") + READY


def answers(question: bytes) -> bytes:
    """What a good primary says."""
    if b"server_version_num" in question:
        return rows(*BASICS)
    if b"pg_control_system" in question:
        return rows(b"77", b"3")
    if b"pg_stat_replication" in question:
        return rows(b"2")
    return messages.error_response("42601", "unexpected question") + READY


class Server:
    """A server that logs people in by a method, and answers.

    Args:
        method: as in ``pg_hba.conf``.
        answer: makes an answer of the body of a query.
    """

    def __init__(self, method: str, answer=answers) -> None:
        self.method = method
        self.answer = answer

    def __call__(self, connection: socket.socket) -> None:
        startup, events = StartupReader(10_000), []
        while not events:
            data = connection.recv(4096)
            if not data:
                return
            events = startup.feed(data)
        (request,) = events
        login = self.login(request.parameters["user"])
        connection.sendall(login.start())
        reader = framing.MessageReader(100_000)
        while data := connection.recv(4096):
            for kind, body in reader.feed(data):
                if kind == framing.TERMINATE:
                    return
                if login.done:
                    connection.sendall(self.answer(body))
                else:
                    try:
                        connection.sendall(login.receive(kind, body))
                    except LoginRefused as refusal:
                        connection.sendall(messages.error_response(refusal.sqlstate, str(refusal)))
                        return
                    connection.sendall(READY if login.done else b"")

    def login(self, user: str) -> ServerLogin:
        salt = b"salt" if self.method == "md5" else b"s" * 16
        secret = PlainSecret(PASSWORD)
        return ServerLogin(self.method, user, secret, nonce=b"n" * 18, salt=salt, mock_key=b"k" * 32)


def saying(data: bytes):
    """A server that says something to whatever a client says first."""

    def play(connection: socket.socket) -> None:
        if connection.recv(4096):
            connection.sendall(data)

    return play


def seen_on(script, *logins: Login, timeout_s: float = TIMEOUT_S) -> Seen:
    with listening(script) as port:
        backend = Backend(name="one", host="127.0.0.1", port=port)
        (found,) = look([Plan(backend, logins or (Login(user="bob", database="shop"),))], timeout_s)
    return found


@pytest.mark.parametrize("method", ["scram-sha-256", "md5", "password"])
def test_a_password_logs_in_by_every_method(method: str) -> None:
    found = seen_on(Server(method), Login(user="bob", database="shop", secret=PASSWORD))
    assert [outcome.problem for outcome in found.outcomes] == [""]
    assert found.facts is not None
    assert (found.facts.version_number, found.facts.system_identifier) == (160004, "77")
    assert (found.facts.timeline, found.facts.replicas, found.facts.reserved) == (3, 2, 3)
    assert found.addresses == ("127.0.0.1",)


def test_facts_are_asked_for_once() -> None:
    questions: list[bytes] = []

    def answer(body: bytes) -> bytes:
        questions.append(body)
        return answers(body)

    logins = [Login(user=name, database="shop", secret=PASSWORD) for name in ("a", "b", "c")]
    found = seen_on(Server("password", answer), *logins)
    assert len(found.outcomes) == 3
    assert len(questions) == 3


def test_a_replica_is_asked_about_its_stream() -> None:
    def answer(body: bytes) -> bytes:
        if b"server_version_num" in body:
            return rows(*BASICS[:2], b"t", *BASICS[3:])
        if b"pg_stat_wal_receiver" in body:
            return rows(b"1", b"2.5")
        return answers(body)

    found = seen_on(Server("password", answer), Login(user="a", database="b", secret=PASSWORD))
    assert found.facts is not None
    assert (found.facts.in_recovery, found.facts.receiving, found.facts.replay_lag_s) == (True, True, 2.5)
    assert found.facts.replicas == -1


def test_what_a_role_may_not_ask_stays_unknown() -> None:
    def answer(body: bytes) -> bytes:
        if b"server_version_num" in body:
            return rows(*BASICS[:6], b"4", BASICS[7])
        return messages.error_response("42501", "permission denied") + READY

    found = seen_on(Server("password", answer), Login(user="a", database="b", secret=PASSWORD))
    assert found.facts is not None
    assert (found.facts.system_identifier, found.facts.timeline, found.facts.replicas) == ("", 0, -1)
    assert found.facts.reserved == 7


@pytest.mark.parametrize(
    ("said", "problem", "sqlstate"),
    [
        (messages.error_response("28P01", "wrong password"), "wrong password (28P01)", "28P01"),
        (messages.error_response("3D000", "none", severity="FATAL"), "none (3D000)", "3D000"),
        (b"E\0\0\0\5\0", "(XX000)", "XX000"),
        (b"", "the server closed the connection", ""),
        (READY, "ready before the login was done", ""),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "invalid message length", "08P01"),
        (messages.authentication_cleartext(), "the server asks for a password in clear text", "28000"),
        (messages.error_response("28000", "\x1b[31mred\x07" + "x" * 5000), "?[31mred?xxx", "28000"),
    ],
)
def test_a_server_that_refuses_is_quoted(said: bytes, problem: str, sqlstate: str) -> None:
    (outcome,) = seen_on(saying(said)).outcomes
    assert problem in outcome.problem
    assert outcome.sqlstate == sqlstate
    assert len(outcome.problem) < 400
    assert outcome.problem.isprintable()


def test_a_wrong_password_is_not_repeated_to_anybody() -> None:
    (outcome,) = seen_on(Server("password"), Login(user="bob", database="shop", secret="hunter3")).outcomes
    assert outcome.problem
    assert "hunter" not in outcome.problem + repr(outcome)


def test_a_verifier_alone_is_not_tried() -> None:
    secret = scram_secret(PASSWORD, b"s" * 16)
    (outcome,) = seen_on(Server("scram-sha-256"), Login(user="bob", database="b", secret=secret)).outcomes
    assert outcome.skipped
    assert "server_password" in outcome.problem


def test_half_a_verifier_is_not_tried() -> None:
    secret = scram_secret(PASSWORD, b"s" * 16)[:40]
    (outcome,) = seen_on(Server("scram-sha-256"), Login(user="bob", database="b", secret=secret)).outcomes
    assert outcome.skipped
    assert outcome.problem
    assert secret not in outcome.problem


def test_an_md5_secret_logs_in_where_md5_is_asked_for() -> None:
    secret = md5_secret("bob", PASSWORD)
    (outcome,) = seen_on(Server("md5"), Login(user="bob", database="b", secret=secret)).outcomes
    assert outcome.problem == ""


def test_silence_ends_the_tries() -> None:
    def silent(connection: socket.socket) -> None:
        while connection.recv(4096):
            continue

    logins = [Login(user=name, database="shop") for name in ("a", "b", "c")]
    found = seen_on(silent, *logins, timeout_s=0.05)
    assert [outcome.problem for outcome in found.outcomes] == ["no answer in time"]
    assert found.left_out == 2


def test_an_endless_answer_has_an_end() -> None:
    def answer(body: bytes) -> bytes:
        return messages.data_row([b"x" * 200_000]) * 6 + READY

    found = seen_on(Server("password", answer), Login(user="a", database="b", secret=PASSWORD), timeout_s=1.5)
    assert "longer than 1048576 bytes" in found.facts_problem
    assert found.outcomes[0].problem == ""


@pytest.mark.parametrize("answer", [READY, rows(b"x", *BASICS[1:]), rows(*BASICS) + rows(*BASICS), b""])
def test_answers_that_make_no_sense_are_told(answer: bytes) -> None:
    def play(body: bytes) -> bytes:
        return answer or messages.data_row([b"1"]) * 2 + READY

    found = seen_on(Server("password", play), Login(user="a", database="b", secret=PASSWORD))
    assert found.facts is None or found.facts.version_number == 160004


def test_nobody_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (found,) = look([Plan(Backend(name="one", host="127.0.0.1", port=port), ())], TIMEOUT_S)
    assert found.connect_problem == "Connection refused"


def test_a_name_that_nobody_knows_is_told(monkeypatch) -> None:
    def resolve(*arguments, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(check_socket.socket, "getaddrinfo", resolve)
    (found,) = look([Plan(Backend(name="one", host="nx.invalid"), ())], TIMEOUT_S)
    assert found.lookup_problem == "Name or service not known"


def test_the_second_address_is_tried_as_well(monkeypatch) -> None:
    def resolve(host, port, **options):
        return [(socket.AF_INET, None, None, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(check_socket.socket, "getaddrinfo", resolve)
    with listening(saying(OK + READY)) as port:
        backend = Backend(name="one", host="db", port=port)
        (found,) = look([Plan(backend, (Login(user="a", database="b"),))], TIMEOUT_S)
    assert found.addresses == ("127.0.0.2", "127.0.0.1")
    assert found.connect_problem == ""


def test_a_unix_socket_is_a_directory(tmp_path) -> None:
    (found,) = look([Plan(Backend(name="one", host=str(tmp_path)), ())], TIMEOUT_S)
    assert (found.connect_problem, found.addresses) == ("No such file or directory", ())


def test_no_plan_is_no_work() -> None:
    assert look([], TIMEOUT_S) == []


def test_a_refusal_travels() -> None:
    copy = pickle.loads(pickle.dumps(Refused("no", "28000")))
    assert (str(copy), copy.sqlstate) == ("no", "28000")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([OK, READY, rows(*BASICS)])), max_size=4))
def test_whatever_a_server_says_there_is_a_report(said: list[bytes]) -> None:
    found = seen_on(saying(b"".join(said)), timeout_s=0.2)
    assert found.connect_problem == ""
    assert len(found.outcomes) == 1


def test_a_server_that_goes_away_between_two_logins_is_told() -> None:
    connections = []

    def once(connection: socket.socket) -> None:
        connections.append(connection)
        if len(connections) == 2:
            Server("password")(connection)

    logins = [Login(user=name, database="shop", secret=PASSWORD) for name in ("a", "b")]
    found = seen_on(once, *logins)
    first, second = found.outcomes
    assert first.problem == ""
    assert second.problem
