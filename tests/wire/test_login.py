import copy
import hashlib
import pickle
from collections.abc import Callable

import pytest

from seawall.kernel.errors import UsageError, ValidationError
from seawall.wire.pgwire import login, messages, passwords
from seawall.wire.pgwire.login import (
    CLIENT_TRANSITIONS,
    SERVER_TRANSITIONS,
    ClientLogin,
    ClientState,
    LoginRefused,
    ServerLogin,
    ServerState,
)
from seawall.wire.pgwire.passwords import Md5Secret, PlainSecret, ScramSecret, Secret
from seawall.wire.pgwire.scram import ScramKeys
from tests.wire.cut import body, cut

NONCE = b"n" * 18
SALT = b"salt"
MOCK_KEY = b"m" * 32

PLAIN = PlainSecret("pencil")
MD5 = PLAIN.md5("ann")
SCRAM = PLAIN.scram(b"0123456789abcdef", 5)

P = login.PASSWORD_KIND
R = login.AUTHENTICATION_KIND


def server(method: str, secret: Secret | None = PLAIN, user: str = "ann") -> ServerLogin:
    return ServerLogin(method, user, secret, nonce=NONCE, salt=SALT, mock_key=MOCK_KEY)


def client(password: str | ScramKeys | Md5Secret | None = "pencil", **options: bool) -> ClientLogin:
    return ClientLogin("ann", password, nonce=b"c" * 18, **options)


def converse(one: ServerLogin, other: ClientLogin) -> list[bytes]:
    """Let both talk until nobody has anything to say; what the server sent."""
    sent = [one.start()]
    while not other.done:
        for kind, data in cut(sent[-1]):
            answer = other.receive(kind[0], data)
        if answer:
            ((kind, data),) = cut(answer)
            sent.append(one.receive(kind[0], data))
    return sent


def request(code: int, data: bytes = b"") -> bytes:
    return code.to_bytes(4, "big") + data


# --- both sides together ---


@pytest.mark.parametrize(
    ("method", "secret"),
    [
        ("trust", None),
        ("trust", PLAIN),
        ("password", PLAIN),
        ("password", MD5),
        ("password", SCRAM),
        ("md5", PLAIN),
        ("md5", MD5),
        ("md5", SCRAM),
        ("scram-sha-256", PLAIN),
        ("scram-sha-256", SCRAM),
    ],
)
def test_the_right_password_gets_in(method: str, secret: Secret | None) -> None:
    one, other = server(method, secret), client()
    sent = converse(one, other)
    assert one.done
    assert other.done
    assert sent[-1].endswith(messages.authentication_ok())
    assert (one.scram_keys is not None) is (method == "scram-sha-256" or (method, secret) == ("md5", SCRAM))


@pytest.mark.parametrize("secret", [PLAIN, MD5, SCRAM, None])
@pytest.mark.parametrize("method", ["password", "md5", "scram-sha-256"])
@pytest.mark.parametrize("guess", ["Pencil", "pencil "])
def test_the_wrong_password_does_not(method: str, secret: Secret | None, guess: str) -> None:
    one = server(method, secret)
    with pytest.raises(LoginRefused) as refused:
        converse(one, client(guess))
    assert str(refused.value) == 'password authentication failed for user "ann"'
    assert refused.value.sqlstate == "28P01"
    assert (one.state, one.done, one.client_key, one.scram_keys) == (ServerState.FAILED, False, None, None)
    assert ("no such user" in refused.value.reason) is (secret is None)
    assert refused.value.reason not in str(refused.value)


def test_even_the_right_password_does_not_fit_an_md5_secret_in_scram() -> None:
    with pytest.raises(LoginRefused, match="password authentication failed") as refused:
        converse(server("scram-sha-256", MD5), client())
    assert "MD5" in refused.value.reason


def test_nobody_is_who_he_says_without_a_secret_even_if_he_knows_the_mock() -> None:
    with pytest.raises(LoginRefused):
        converse(server("md5", None), client(Md5Secret("0" * 32)))


def test_the_keys_of_a_client_open_the_servers_door() -> None:
    front = server("scram-sha-256", SCRAM)
    converse(front, client())
    assert front.scram_keys is not None
    assert front.client_key == front.scram_keys.client_key
    back, ours = server("scram-sha-256", SCRAM), client(front.scram_keys)
    converse(back, ours)
    assert back.done
    assert ours.scram_keys == front.scram_keys


def test_keys_for_another_verifier_are_refused_before_the_server_does() -> None:
    front = server("scram-sha-256", SCRAM)
    converse(front, client())
    ours = client(front.scram_keys)
    with pytest.raises(LoginRefused, match="another salt or iteration count"):
        converse(server("scram-sha-256", PLAIN.scram(b"another salt", 5)), ours)
    assert ours.state is ClientState.FAILED


def test_an_md5_secret_is_enough_to_log_in_by_md5() -> None:
    back = server("md5", PLAIN)
    converse(back, client(MD5))
    assert back.done


# --- nobody learns who exists ---


def scram_conversation(secret: Secret | None, user: str = "ann") -> tuple[list[tuple[bytes, int]], str]:
    """Kinds and lengths of what a stranger sees."""
    one = server("scram-sha-256", secret, user)
    seen = cut(one.start())
    seen += cut(one.receive(P, body(messages.sasl_initial_response("SCRAM-SHA-256", b"n,,n=,r=abc"))))
    nonce = seen[-1][1][4:].split(b",")[0]
    with pytest.raises(LoginRefused) as refused:
        one.receive(P, b"c=biws," + nonce + b",p=" + b"A" * 43 + b"=")
    return [(kind, len(data)) for kind, data in seen], f"{refused.value} {refused.value.sqlstate}"


def test_a_stranger_cannot_tell_who_exists() -> None:
    assert scram_conversation(PLAIN) == scram_conversation(None) == scram_conversation(MD5)


@pytest.mark.parametrize("method", ["password", "scram-sha-256", "md5"])
def test_asking_for_a_user_costs_the_same_whether_he_exists(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[int] = []
    pbkdf2 = hashlib.pbkdf2_hmac

    def counting(name: str, password: bytes, salt: bytes, iterations: int) -> bytes:
        hashed.append(iterations)
        return pbkdf2(name, password, salt, iterations)

    plain = PlainSecret("pencil")
    login.verifier_for(plain, "ann", MOCK_KEY)
    monkeypatch.setattr(passwords.hashlib, "pbkdf2_hmac", counting)
    costs = []
    for secret in (plain, MD5, None):
        one, other, before = server(method, secret), client("wrong"), len(hashed)
        data = cut(one.start())[0][1]
        if method == "scram-sha-256":
            scram_conversation(secret)
        else:
            with pytest.raises(LoginRefused):
                one.receive(P, body(other.receive(R, data)))
        costs.append(hashed[before:])
    assert costs == [[4096] * (method == "password")] * 3


# --- the server's side alone ---


def test_each_method_begins_with_its_request() -> None:
    assert server("trust").start() == messages.authentication_ok()
    assert server("password").start() == messages.authentication_cleartext()
    assert server("md5").start() == messages.authentication_md5(SALT)
    assert server("md5", SCRAM).start() == messages.authentication_sasl(["SCRAM-SHA-256"])
    assert server("scram-sha-256").start() == messages.authentication_sasl(["SCRAM-SHA-256"])


def started(method: str, secret: Secret | None = PLAIN) -> ServerLogin:
    one = server(method, secret)
    one.start()
    return one


def challenged() -> ServerLogin:
    one = started("scram-sha-256")
    one.receive(P, body(messages.sasl_initial_response("SCRAM-SHA-256", b"n,,n=,r=abc")))
    return one


@pytest.mark.parametrize(
    ("one", "kind", "data", "sqlstate", "complaint"),
    [
        (
            lambda: started("password"),
            ord("Q"),
            b"x\0",
            "08P01",
            "expected password response, got message type 81",
        ),
        (
            lambda: started("scram-sha-256"),
            ord("X"),
            b"",
            "08P01",
            "expected SASL response, got message type 88",
        ),
        (lambda: started("password"), P, b"", "08P01", "invalid password packet size"),
        (lambda: started("password"), P, b"pencil", "08P01", "invalid password packet size"),
        (lambda: started("password"), P, b"pencil\0x\0", "08P01", "invalid password packet size"),
        (lambda: started("md5"), P, b"pencil\0\0", "08P01", "invalid password packet size"),
        (lambda: started("password"), P, b"\0", "28P01", "empty password returned by client"),
        (lambda: started("password", None), P, b"\0", "28P01", "empty password returned by client"),
        (lambda: started("scram-sha-256"), P, b"", "08P01", "invalid string"),
        (
            lambda: started("scram-sha-256"),
            P,
            b"PLAIN\0\0\0\0\0",
            "08P01",
            "invalid SASL authentication mechanism",
        ),
        (lambda: started("scram-sha-256"), P, b"SCRAM-SHA-256-PLUS\0\0\0\0\0", "08P01", "mechanism"),
        (lambda: started("scram-sha-256"), P, b"SCRAM-SHA-256\0\0\0\0", "08P01", "insufficient data"),
        (lambda: started("scram-sha-256"), P, b"SCRAM-SHA-256\0\0\0\0\x05n,,", "08P01", "insufficient data"),
        (
            lambda: started("scram-sha-256"),
            P,
            b"SCRAM-SHA-256\0\xff\xff\xff\xffn",
            "08P01",
            "insufficient data",
        ),
        (lambda: started("scram-sha-256"), P, b"SCRAM-SHA-256\0\0\0\0\0", "08P01", "malformed SCRAM message"),
        (
            lambda: started("scram-sha-256"),
            P,
            body(messages.sasl_initial_response("SCRAM-SHA-256", b"n,a=x,n=,r=abc")),
            "0A000",
            "authorization identity",
        ),
        (challenged, P, b"c=biws,r=abc,p=AAAA", "08P01", "invalid SCRAM response"),
        (challenged, P, b"", "08P01", "malformed SCRAM message"),
    ],
)
def test_what_a_client_may_not_say(
    one: Callable[[], ServerLogin], kind: int, data: bytes, sqlstate: str, complaint: str
) -> None:
    under_way = one()
    with pytest.raises(LoginRefused, match=complaint) as refused:
        under_way.receive(kind, data)
    assert refused.value.sqlstate == sqlstate
    assert under_way.state is ServerState.FAILED
    with pytest.raises(UsageError, match="not under way"):
        under_way.receive(kind, data)


def test_a_client_may_choose_first_and_talk_later() -> None:
    one = started("scram-sha-256", SCRAM)
    assert one.receive(P, b"SCRAM-SHA-256\0\xff\xff\xff\xff") == messages.authentication_sasl_continue(b"")
    assert one.state is ServerState.REPEAT
    ours = client()
    first = ours.receive(R, request(10, b"SCRAM-SHA-256\0\0"))
    challenge = one.receive(P, body(first)[len(b"SCRAM-SHA-256\0") + 4 :])
    outcome = one.receive(P, body(ours.receive(R, body(challenge))))
    assert [data[:4] for _, data in cut(outcome)] == [request(12), request(0)]
    assert one.done


def test_a_login_begins_once_and_before_it_goes_on() -> None:
    one = server("password")
    with pytest.raises(UsageError, match="not under way"):
        one.receive(P, b"pencil\0")
    one.start()
    with pytest.raises(UsageError, match="begun"):
        one.start()
    assert one.receive(P, b"pencil\0") == messages.authentication_ok()
    with pytest.raises(UsageError, match="not under way"):
        one.receive(P, b"pencil\0")


def test_a_method_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="'gss': allowed is one of md5, password, scram-sha-256, trust"):
        server("gss")


def test_salt_and_nonce_that_are_too_short_are_refused() -> None:
    with pytest.raises(UsageError, match="salt: 3 bytes"):
        ServerLogin("md5", "ann", PLAIN, nonce=NONCE, salt=b"abc", mock_key=MOCK_KEY).start()
    with pytest.raises(UsageError, match="nonce: 0 bytes"):
        ServerLogin("scram-sha-256", "ann", PLAIN, nonce=b"", salt=SALT, mock_key=MOCK_KEY).start()
    with pytest.raises(UsageError, match="nonce: 3 bytes"):
        ClientLogin("ann", "x", nonce=b"abc").receive(R, request(10, b"SCRAM-SHA-256\0\0"))


# --- the client's side alone ---


def test_the_answer_to_each_request() -> None:
    assert client().receive(R, request(0)) == b""
    assert client().receive(R, request(3)) == messages.password_message(b"pencil")
    assert client().receive(R, request(5, SALT)) == messages.password_message(MD5.response(SALT))
    offer = request(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")
    assert body(client().receive(R, offer)).startswith(b"SCRAM-SHA-256\0\0\0\0\x20n,,n=,r=")


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (request(3), "a password in clear text"),
        (request(5, SALT), "an MD5 password"),
        (request(10, b"SCRAM-SHA-256\0\0"), "a SCRAM-SHA-256 password"),
    ],
)
@pytest.mark.parametrize("password", [None, ""])
def test_a_password_that_is_not_there_is_missed_by_name(
    data: bytes, wanted: str, password: str | None
) -> None:
    ours = client(password)
    with pytest.raises(LoginRefused) as refused:
        ours.receive(R, data)
    assert (
        str(refused.value)
        == f'the server asks for {wanted}, and none is configured for user "ann"; configure one'
    )
    assert (refused.value.sqlstate, ours.state) == ("28000", ClientState.FAILED)


@pytest.mark.parametrize(
    ("password", "data", "complaint"),
    [
        (ScramKeys(b"", b""), request(3), 'a password in clear text; there is SCRAM keys for user "ann"'),
        (ScramKeys(b"", b""), request(5, SALT), "an MD5 password; there is SCRAM keys"),
        (MD5, request(3), "a password in clear text; there is an MD5 secret"),
        (MD5, request(10, b"SCRAM-SHA-256\0\0"), "a SCRAM-SHA-256 password; there is an MD5 secret"),
        (
            "pencil",
            request(10, b"SCRAM-SHA-256-PLUS\0X\0\0"),
            "SASL authentication by SCRAM-SHA-256-PLUS, X; there",
        ),
        ("pencil", request(10, b"\0"), "SASL authentication by no mechanism"),
        ("pencil", request(2), "Kerberos V5 authentication, which is not supported"),
        ("pencil", request(7), "GSSAPI"),
        ("pencil", request(8), "GSSAPI"),
        ("pencil", request(9), "SSPI"),
    ],
)
def test_what_we_cannot_do_is_said(
    password: str | ScramKeys | Md5Secret, data: bytes, complaint: str
) -> None:
    ours = client(password)
    with pytest.raises(LoginRefused, match=complaint) as refused:
        ours.receive(R, data)
    assert refused.value.sqlstate == "28000"
    assert "pencil" not in str(refused.value)
    with pytest.raises(UsageError, match="over"):
        ours.receive(R, data)


def test_clear_text_may_be_forbidden() -> None:
    with pytest.raises(LoginRefused, match="not allowed"):
        client(allow_cleartext=False).receive(R, request(3))
    assert client(allow_cleartext=False).receive(R, request(5, SALT))


def test_a_password_with_a_nul_is_refused_at_once() -> None:
    with pytest.raises(ValidationError, match="NUL"):
        client("a\0b")


def proved() -> ClientLogin:
    ours = client()
    one = server("scram-sha-256", SCRAM)
    first = ours.receive(R, body(one.start()))
    ours.receive(R, body(one.receive(P, body(first))))
    return ours


def offered() -> ClientLogin:
    ours = client()
    ours.receive(R, request(10, b"SCRAM-SHA-256\0\0"))
    return ours


@pytest.mark.parametrize("under_way", [offered, proved])
def test_a_server_that_skips_its_signature_is_refused(under_way: Callable[[], ClientLogin]) -> None:
    ours = under_way()
    with pytest.raises(LoginRefused, match="without proving") as refused:
        ours.receive(R, request(0))
    assert (refused.value.sqlstate, ours.done, ours.scram_keys) == ("08P01", False, None)


def test_a_server_with_a_wrong_signature_is_refused() -> None:
    ours = proved()
    with pytest.raises(LoginRefused, match="incorrect server signature"):
        ours.receive(R, request(12, b"v=" + b"A" * 43 + b"="))
    assert not ours.done


@pytest.mark.parametrize(
    ("under_way", "kind", "data", "complaint"),
    [
        (client, ord("Z"), b"I", "expected an authentication request, got message type 90"),
        (client, R, b"\0\0", "insufficient data"),
        (client, R, request(5, b"abc"), "invalid MD5"),
        (client, R, request(10, b""), "invalid SASL"),
        (client, R, request(10, b"SCRAM-SHA-256\0"), "invalid SASL"),
        (client, R, request(11, b"r="), "unexpected authentication request 11"),
        (client, R, request(77), "unexpected authentication request 77"),
        (offered, R, request(3), "unexpected authentication request 3"),
        (offered, R, request(10, b"SCRAM-SHA-256\0\0"), "unexpected authentication request 10"),
        (offered, R, request(11, b"r=abc,s=AAAA,i=1"), "invalid SCRAM response"),
        (proved, R, request(5, SALT), "unexpected authentication request 5"),
        (proved, R, request(11, b""), "unexpected authentication request 11"),
    ],
)
def test_what_a_server_may_not_say(
    under_way: Callable[[], ClientLogin], kind: int, data: bytes, complaint: str
) -> None:
    ours = under_way()
    with pytest.raises(LoginRefused, match=complaint) as refused:
        ours.receive(kind, data)
    assert (refused.value.sqlstate, ours.state) == ("08P01", ClientState.FAILED)


def test_a_server_cannot_make_us_hash_forever() -> None:
    ours = ClientLogin("ann", "pencil", nonce=NONCE, max_iterations=10_000)
    first = ours.receive(R, request(10, b"SCRAM-SHA-256\0\0"))
    nonce = first.rpartition(b"r=")[2]
    with pytest.raises(LoginRefused, match="wants 10001 SCRAM iterations"):
        ours.receive(R, request(11, b"r=" + nonce + b"x,s=AAAA,i=10001"))


# --- tables and faces ---


def test_the_tables_end_where_nothing_goes_on() -> None:
    over = {ServerState.DONE, ServerState.FAILED}
    assert {state for state, _ in SERVER_TRANSITIONS} == set(ServerState) - over
    assert set(SERVER_TRANSITIONS.values()) == set(ServerState) - {ServerState.START}
    assert {state for state, _ in CLIENT_TRANSITIONS} == set(ClientState) - {
        ClientState.DONE,
        ClientState.FAILED,
    }
    assert set(CLIENT_TRANSITIONS.values()) == set(ClientState) - {ClientState.START, ClientState.FAILED}


def test_no_way_to_a_scram_login_leaves_out_the_signature() -> None:
    ways = {state for (state, _), target in CLIENT_TRANSITIONS.items() if target is ClientState.DONE}
    assert ways == {ClientState.START, ClientState.SENT, ClientState.VERIFIED}
    assert CLIENT_TRANSITIONS[ClientState.PROVED, messages.AUTH_SASL_FINAL] is ClientState.VERIFIED


def test_logins_show_where_they_stand_and_nothing_else() -> None:
    assert repr(server("md5", SCRAM)) == "ServerLogin('scram-sha-256', 'ann', start)"
    assert repr(proved()) == "ClientLogin('ann', proved)"
    assert isinstance(SCRAM, ScramSecret)


def test_a_refusal_survives_copy_and_pickle() -> None:
    refusal = LoginRefused("no", "28P01", "detail", "reason")
    for twin in (copy.copy(refusal), pickle.loads(pickle.dumps(refusal))):
        assert (str(twin), twin.sqlstate, twin.detail, twin.reason) == ("no", "28P01", "detail", "reason")
