import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.kernel.errors import UsageError, ValidationError
from seawall.wire.pgwire import scram
from seawall.wire.pgwire.messages import ProtocolViolation
from seawall.wire.pgwire.passwords import Md5Secret, PlainSecret, ScramSecret
from seawall.wire.pgwire.scram import (
    ScramClient,
    ScramKeys,
    ScramServer,
    mock_secret,
    printable_nonce,
    verifier_for,
)

# The example of RFC 7677 section 3.
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
CLIENT_NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
NONCES = (CLIENT_NONCE + SERVER_NONCE).encode()
CLIENT_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=" + NONCES + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
PROOF = b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
CLIENT_FINAL = b"c=biws,r=" + NONCES + b",p=" + PROOF
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

PENCIL = PlainSecret("pencil")
MOCK_KEY = b"m" * 32


def server(secret: ScramSecret | None = None, **options: bool) -> ScramServer:
    return ScramServer(secret or PENCIL.scram(SALT), nonce=SERVER_NONCE, **options)


def client(password: bytes | ScramKeys = b"pencil") -> ScramClient:
    return ScramClient(password, nonce=CLIENT_NONCE, user="user")


def challenged() -> ScramServer:
    side = server()
    side.first(CLIENT_FIRST)
    return side


# --- the example of the RFC ---


def test_the_server_plays_the_example() -> None:
    side = server()
    assert side.first(CLIENT_FIRST) == SERVER_FIRST
    assert side.final(CLIENT_FINAL) == SERVER_FINAL


def test_the_client_plays_the_example() -> None:
    side = client()
    assert side.first() == CLIENT_FIRST
    assert side.final(SERVER_FIRST) == CLIENT_FINAL
    side.verify(SERVER_FINAL)


def test_the_server_learns_the_clients_keys_only_from_a_right_proof() -> None:
    side = challenged()
    assert side.keys is None
    side.final(CLIENT_FINAL)
    ours = client()
    ours.final(SERVER_FIRST)
    assert side.keys is not None
    assert side.keys == ours.keys


def test_keys_log_in_where_the_verifier_is_the_same() -> None:
    learnt = challenged()
    learnt.final(CLIENT_FINAL)
    assert learnt.keys is not None
    side = client(learnt.keys)
    assert side.final(SERVER_FIRST) == CLIENT_FINAL
    side.verify(SERVER_FINAL)


@pytest.mark.parametrize("challenge", [b",s=AAAA,i=4096", b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4097"])
def test_keys_of_another_verifier_are_not_even_tried(challenge: bytes) -> None:
    keys = ScramKeys(b"c" * 32, b"s" * 32, SALT, 4096)
    with pytest.raises(ValidationError, match="another salt or iteration count"):
        client(keys).final(b"r=" + NONCES + challenge)


def test_keys_of_unknown_origin_are_tried() -> None:
    assert client(ScramKeys(b"c" * 32, b"s" * 32)).final(SERVER_FIRST)


def test_a_wrong_proof_is_just_wrong() -> None:
    wrong = base64.b64encode(b"\0" * 32)
    side = challenged()
    assert side.final(CLIENT_FINAL.replace(PROOF, wrong)) is None
    assert side.keys is None


def test_a_mock_finds_even_the_right_proof_wrong() -> None:
    side = server(genuine=False)
    side.first(CLIENT_FIRST)
    assert side.final(CLIENT_FINAL) is None
    assert side.keys is None


# --- what a client may say first ---


@pytest.mark.parametrize(
    "message",
    [
        b"y,,n=,r=abc",
        b"n,,n=*,r=abc",
        b"n,,n==2C=3D,r=abc",
        b"n,,n=,r=abc,x=anything,y=",
        b"n,,n=,r=" + b"a" * 256,
        b"n,,n=caf\xe9,r=!~",
    ],
)
def test_first_messages_that_are_fine(message: bytes) -> None:
    nonce = message.split(b",")[3]
    assert server().first(message).startswith(nonce + SERVER_NONCE.encode() + b",s=")


@pytest.mark.parametrize(
    ("message", "sqlstate", "complaint"),
    [
        (b"", "08P01", "number of attributes"),
        (b"n,,n=,", "08P01", '"r" expected'),
        (b"n,,n=", "08P01", "number of attributes"),
        (b"n,,r=abc,n=", "08P01", '"n" expected'),
        (b"n,,n=,s=abc", "08P01", '"r" expected'),
        (b"n,x,n=,r=abc", "08P01", "Comma"),
        (b"n,a=bob,n=,r=abc", "0A000", "authorization identity"),
        (b"x,,n=,r=abc", "08P01", "flag"),
        (b"N,,n=,r=abc", "08P01", "flag"),
        (b"p=tls-server-end-point,,n=,r=abc", "08P01", "without channel binding"),
        (b"n,,m=ext,n=,r=abc", "0A000", "mandatory"),
        (b"n,,n=,m=ext,r=abc", "0A000", "mandatory"),
        (b"n,,n=,r=abc,m=ext", "0A000", "mandatory"),
        (b"n,,n=,r=abc,1=x", "08P01", "Attribute expected"),
        (b"n,,n=,r=abc,xy", "08P01", "Attribute expected"),
        (b"n,,n=,r=abc,", "08P01", "Attribute expected"),
        (b"n,,n=,r=", "08P01", "non-printable"),
        (b"n,,n=,r=a b", "08P01", "non-printable"),
        (b"n,,n=,r=a\x7f", "08P01", "non-printable"),
        (b"n,,n=,r=caf\xe9", "08P01", "non-printable"),
        (b"n,,n=,r=abc\n", "08P01", "non-printable"),
        (b"n,,n=,r=" + b"a" * 257, "08P01", "257 characters"),
        (b"n,,n=a\0,r=abc", "08P01", "length does not match"),
    ],
)
def test_first_messages_that_are_not(message: bytes, sqlstate: str, complaint: str) -> None:
    with pytest.raises(ProtocolViolation) as refused:
        server().first(message)
    assert refused.value.sqlstate == sqlstate
    assert complaint in f"{refused.value} {refused.value.detail}"


# --- what a client may say last ---


def test_the_flag_is_bound_into_the_proof() -> None:
    for flag, binding in ((b"n", b"biws"), (b"y", b"eSws")):
        side = server()
        side.first(flag + b",,n=,r=abc")
        nonces = b"abc" + SERVER_NONCE.encode()
        zero = base64.b64encode(b"\0" * 32)
        assert side.final(b"c=" + binding + b",r=" + nonces + b",x=y,p=" + zero) is None


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (b"", "number of attributes"),
        (CLIENT_FINAL.replace(b"biws", b"eSws"), "channel-binding"),
        (CLIENT_FINAL.replace(b"biws", b""), "channel-binding"),
        (CLIENT_FINAL.replace(b"c=", b"d="), '"c" expected'),
        (CLIENT_FINAL.replace(b"r=rO", b"r=xO"), "Nonce does not match"),
        (CLIENT_FINAL.replace(b"$k0", b"$k"), "Nonce does not match"),
        (CLIENT_FINAL.replace(b",p=", b",q="), '"p" expected'),
        (CLIENT_FINAL.replace(b",p=", b",p=AAAA,p="), "Attribute expected"),
        (CLIENT_FINAL.replace(b",p=", b",m=x,p="), "mandatory"),
        (CLIENT_FINAL + b",x=y", "Attribute expected"),
        (CLIENT_FINAL.replace(b",p=" + PROOF, b""), "number of attributes"),
        (CLIENT_FINAL + b"\0", "length does not match"),
        (CLIENT_FINAL.replace(PROOF, b""), "Malformed proof"),
        (CLIENT_FINAL.replace(PROOF, b"AAAA"), "Malformed proof"),
        (CLIENT_FINAL.replace(PROOF, b"?" + PROOF[1:]), "Malformed proof"),
        (CLIENT_FINAL.replace(PROOF, b"\xff" + PROOF[1:]), "Malformed proof"),
    ],
)
def test_last_messages_that_are_malformed(message: bytes, complaint: str) -> None:
    with pytest.raises(ProtocolViolation) as refused:
        challenged().final(message)
    assert complaint in f"{refused.value} {refused.value.detail}"


def test_messages_come_in_order_and_once() -> None:
    with pytest.raises(UsageError, match="first comes first"):
        server().final(CLIENT_FINAL)
    with pytest.raises(UsageError, match="one first message"):
        challenged().first(CLIENT_FIRST)
    with pytest.raises(UsageError, match="challenge comes first"):
        client().verify(SERVER_FINAL)


# --- what a server may say ---


@pytest.mark.parametrize(
    ("challenge", "complaint"),
    [
        (b"", "number of attributes"),
        (b"e=other-error,x=,y=", '"r" expected'),
        (SERVER_FIRST.replace(b"r=rO", b"r=xO"), "Nonce does not match"),
        (b"r=" + CLIENT_NONCE.encode() + b",s=AAAA,i=4096", "non-printable"),
        (SERVER_FIRST.replace(b"k0,", b"k0\x01,"), "non-printable"),
        (SERVER_FIRST.replace(b"k0,", b"k0" + b"a" * 256 + b","), "characters"),
        (SERVER_FIRST.replace(b",s=", b",i="), '"s" expected'),
        (SERVER_FIRST.replace(b"W22Z", b"?22Z"), "Malformed salt"),
        (b"r=" + NONCES + b",s=,i=4096", "Malformed salt"),
        (SERVER_FIRST.replace(b"i=4096", b"i=0"), "iteration count"),
        (SERVER_FIRST.replace(b"i=4096", b"i=-1"), "iteration count"),
        (SERVER_FIRST.replace(b"i=4096", b"i="), "iteration count"),
        (SERVER_FIRST.replace(b"i=4096", b"i=" + b"9" * 5000), "iteration count"),
        (SERVER_FIRST.replace(b"i=4096", b"i=1000001"), "wants 1000001 SCRAM iterations"),
        (SERVER_FIRST + b",x=y", "Garbage"),
        (b"m=ext," + SERVER_FIRST, "mandatory"),
    ],
)
def test_challenges_that_are_refused(challenge: bytes, complaint: str) -> None:
    side = client()
    with pytest.raises(ProtocolViolation) as refused:
        side.final(challenge)
    assert complaint in f"{refused.value} {refused.value.detail}"
    assert side.keys is None


def test_the_caller_may_allow_fewer_iterations() -> None:
    side = ScramClient(b"pencil", nonce=CLIENT_NONCE, max_iterations=4095)
    with pytest.raises(ProtocolViolation, match="up to 4095"):
        side.final(SERVER_FIRST)


@pytest.mark.parametrize(
    ("outcome", "sqlstate", "complaint"),
    [
        (b"", "08P01", '"v" expected'),
        (b"e=invalid-proof", "28000", "SCRAM error"),
        (SERVER_FINAL.replace(b"6rri", b"7rri"), "28000", "incorrect server signature"),
        (b"v=", "28000", "incorrect server signature"),
        (b"v=?", "08P01", "Malformed signature"),
        (SERVER_FINAL + b",x=y", "08P01", "number of attributes"),
    ],
)
def test_a_server_that_does_not_prove_itself_is_refused(
    outcome: bytes, sqlstate: str, complaint: str
) -> None:
    side = client()
    side.final(SERVER_FIRST)
    with pytest.raises(ProtocolViolation) as refused:
        side.verify(outcome)
    assert refused.value.sqlstate == sqlstate
    assert complaint in f"{refused.value} {refused.value.detail}"


def test_a_name_is_escaped() -> None:
    assert ScramClient(b"x", nonce="abc", user="a=b,c").first() == b"n,,n=a=3Db=2Cc,r=abc"
    assert ScramClient(b"x", nonce="abc").first() == b"n,,n=,r=abc"


# --- users that are not there ---


def test_a_mock_is_the_same_each_time_and_another_for_each_name_and_key() -> None:
    assert mock_secret(MOCK_KEY, "ann") == mock_secret(MOCK_KEY, "ann")
    salts = {mock_secret(key, name).salt for key in (MOCK_KEY, b"n" * 32) for name in ("ann", "bob")}
    assert len(salts) == 4
    assert all(len(salt) == 16 for salt in salts)
    assert not mock_secret(MOCK_KEY, "ann").matches(b"")


def test_a_plain_password_has_the_salt_of_nobody() -> None:
    known, genuine = verifier_for(PENCIL, "ann", MOCK_KEY)
    unknown, real = verifier_for(None, "ann", MOCK_KEY)
    assert (known.salt, known.iterations) == (unknown.salt, unknown.iterations)
    assert (genuine, real) == (True, False)
    assert known.matches(b"pencil")


def test_an_md5_secret_cannot_be_used() -> None:
    assert verifier_for(Md5Secret("0" * 32), "ann", MOCK_KEY) == (mock_secret(MOCK_KEY, "ann"), False)


def test_a_verifier_is_used_as_it_is() -> None:
    secret = PENCIL.scram(SALT)
    assert verifier_for(secret, "ann", b"") == (secret, True)


def test_randomness_that_is_too_short_is_refused() -> None:
    assert printable_nonce(b"\0" * 18) == "A" * 24
    for attempt in (lambda: printable_nonce(b"x" * 15), lambda: mock_secret(b"x" * 15, "ann")):
        with pytest.raises(UsageError, match="15 bytes"):
            attempt()


def test_no_key_shows_itself() -> None:
    keys = ScramKeys(b"clientkey", b"serverkey", b"saltsalt", 4096)
    assert repr(keys) == "ScramKeys(iterations=4096)"


# --- any conversation ---


@given(
    st.text(min_size=1, max_size=12).filter(lambda text: "\0" not in text and text.isprintable()),
    st.binary(min_size=1, max_size=24),
    st.integers(1, 20),
    st.binary(min_size=16, max_size=24),
    st.binary(min_size=16, max_size=24),
)
def test_a_client_and_a_server_agree_exactly_when_the_password_is_right(
    password: str, salt: bytes, iterations: int, ours: bytes, theirs: bytes
) -> None:
    secret = PlainSecret(password).scram(salt, iterations)
    for guess, right in ((password, True), (password + "x", False)):
        one = ScramServer(secret, nonce=printable_nonce(theirs))
        other = ScramClient(guess.encode(), nonce=printable_nonce(ours), user=password)
        signature = one.final(other.final(one.first(other.first())))
        assert (signature is not None) is right
        if signature is not None:
            other.verify(signature)
            assert one.keys == other.keys


@given(st.one_of(st.binary(max_size=60), st.text("n,=abry\0 ", max_size=30).map(str.encode)))
def test_any_bytes_are_answered_or_refused(data: bytes) -> None:
    for step in (server().first, challenged().final, client().final):
        try:
            answer = step(data)
        except ProtocolViolation:
            continue
        assert answer is None or len(answer) <= len(data) + scram.NONCE_LIMIT


@given(st.integers(0, len(CLIENT_FINAL) - 1), st.integers(1, 255))
def test_no_changed_byte_of_a_proof_is_overlooked(position: int, change: int) -> None:
    changed = bytearray(CLIENT_FINAL)
    changed[position] ^= change
    try:
        verdict = challenged().final(bytes(changed))
    except ProtocolViolation:
        return
    # The last base64 digit of 32 bytes has two bits that mean nothing.
    assert verdict is None or position == len(CLIENT_FINAL) - 2
