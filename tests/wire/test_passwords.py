import base64
import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seawall.kernel.errors import ValidationError
from seawall.wire.pgwire import passwords
from seawall.wire.pgwire.passwords import (
    Md5Secret,
    PlainSecret,
    ScramSecret,
    md5_secret,
    parse_secret,
    saslprep,
    scram_secret,
)

SALT = b"0123456789abcdef"

POSTGRESQL_15 = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)
"""What PostgreSQL stores for ``pencil`` with the salt of RFC 7677's example."""


# --- the three forms ---


def test_a_verifier_is_made_as_postgresql_makes_it() -> None:
    assert scram_secret("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")) == POSTGRESQL_15


def test_an_md5_secret_is_made_as_postgresql_makes_it() -> None:
    assert md5_secret("ann", "pencil") == "md5" + hashlib.md5(b"pencilann").hexdigest()


def test_a_verifier_is_read_and_written() -> None:
    secret = parse_secret(POSTGRESQL_15)
    assert isinstance(secret, ScramSecret)
    assert (secret.iterations, len(secret.salt), len(secret.stored_key)) == (4096, 16, 32)
    assert secret.text() == POSTGRESQL_15


def test_an_md5_secret_is_read() -> None:
    assert parse_secret(md5_secret("ann", "pencil")) == Md5Secret(hashlib.md5(b"pencilann").hexdigest())


@pytest.mark.parametrize(
    "text",
    ["pencil", "md5", "md5" + "0" * 31, "md5" + "A" * 32, "MD5" + "0" * 32, "SCRAM", "md5" + "0" * 32 + "\n"],
)
def test_everything_else_is_a_password(text: str) -> None:
    secret = parse_secret(text)
    assert isinstance(secret, PlainSecret)
    assert secret.password == text.encode()


_, _, KEYS = POSTGRESQL_15.split("$")
STORED, SERVER = KEYS.split(":")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("SCRAM-SHA-256$", "broken SCRAM verifier"),
        (f"SCRAM-SHA-256$0:AAAA${KEYS}", "broken SCRAM verifier"),
        (f"SCRAM-SHA-256$x:AAAA${KEYS}", "broken SCRAM verifier"),
        (f"SCRAM-SHA-256$4096:${KEYS}", "broken SCRAM verifier"),
        (POSTGRESQL_15 + ":", "broken SCRAM verifier"),
        (POSTGRESQL_15 + "\n", "no base64"),
        (f"SCRAM-SHA-256$1000001:AAAA${KEYS}", "1000001 SCRAM iterations"),
        (f"SCRAM-SHA-256$4096:A?AA${KEYS}", "no base64"),
        (f"SCRAM-SHA-256$4096:AAAÄ${KEYS}", "no base64"),
        (f"SCRAM-SHA-256$4096:AAAA$AAAA:{SERVER}", "not 32 bytes"),
        (f"SCRAM-SHA-256$4096:AAAA${STORED}:AAAA", "not 32 bytes"),
        ("", "empty"),
        ("a\0b", "NUL"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_not_shown(text: str, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint) as refused:
        parse_secret(text)
    assert STORED not in str(refused.value)
    assert SERVER not in str(refused.value)


@pytest.mark.parametrize("iterations", [0, -1, 1_000_001])
def test_iterations_have_bounds(iterations: int) -> None:
    with pytest.raises(ValidationError, match=f"iterations = {iterations}"):
        scram_secret("pencil", SALT, iterations)


def test_a_verifier_without_salt_is_refused() -> None:
    with pytest.raises(ValidationError, match="salt"):
        scram_secret("pencil", b"")


@pytest.mark.parametrize("text", ["secretive", POSTGRESQL_15, md5_secret("ann", "secretive")])
def test_no_secret_shows_itself(text: str) -> None:
    secret = parse_secret(text)
    shown = f"{secret!r} {secret}"
    assert "secretive" not in shown
    assert not any(part in shown for part in (STORED, SERVER, text[3:]))


# --- checking ---


@pytest.mark.parametrize(("given_password", "right"), [(b"pencil", True), (b"Pencil", False), (b"", False)])
def test_a_password_is_checked_against_each_kind(given_password: bytes, right: bool) -> None:
    scram = PlainSecret("pencil").scram(SALT, 1)
    assert scram.matches(given_password) is right
    assert PlainSecret("pencil").md5("ann").matches("ann", given_password) is right


def test_an_md5_secret_belongs_to_its_user() -> None:
    assert not PlainSecret("pencil").md5("ann").matches("bob", b"pencil")


def test_the_answer_to_an_md5_challenge() -> None:
    inner = hashlib.md5(b"pencilann").hexdigest().encode()
    expected = b"md5" + hashlib.md5(inner + b"salt").hexdigest().encode()
    assert PlainSecret("pencil").md5("ann").response(b"salt") == expected


def test_a_plain_secret_hashes_once_per_salt(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []
    pbkdf2 = hashlib.pbkdf2_hmac

    def counting(name: str, password: bytes, salt: bytes, iterations: int) -> bytes:
        hashed.append((salt, iterations))
        return pbkdf2(name, password, salt, iterations)

    monkeypatch.setattr(passwords.hashlib, "pbkdf2_hmac", counting)
    secret = PlainSecret("pencil")
    for salt, iterations in [(SALT, 1), (SALT, 1), (SALT, 2), (b"other", 2), (b"other", 2)]:
        assert secret.scram(salt, iterations).matches(b"wrong") is False
    # Each check of a wrong password hashes too; the verifier itself was derived three times.
    assert len(hashed) == 5 + 3


def test_plain_secrets_are_compared_by_their_text() -> None:
    assert PlainSecret("a") == PlainSecret("a")
    assert PlainSecret("a") != PlainSecret("b")
    assert PlainSecret("a") != "a"
    assert hash(PlainSecret("a")) == hash(PlainSecret("a"))


# --- SASLprep ---


@pytest.mark.parametrize(
    ("raw", "prepared"),
    [
        # RFC 4013 section 3; the first three are mapped, the others prohibited and therefore as they were.
        ("I\u00adX", "IX"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("\u0007", "\u0007"),
        ("\u0627\u0031", "\u0627\u0031"),
        ("user", "user"),
        ("USER", "USER"),
        ("a\u00a0b", "a b"),
        ("a\u200bb", "a b"),
        ("\u00ad", "\u00ad"),
        ("\u0007\u00aa", "\u0007\u00aa"),
        ("\u0627b\u00aa", "\u0627b\u00aa"),
        ("\u06271\u0627", "\u06271\u0627"),
        ("\u0627\u00aa\u0627", "\u0627\u00aa\u0627"),
        ("\U0001f600\u00aa", "\U0001f600\u00aa"),
        ("e\u0301", "\u00e9"),
    ],
)
def test_passwords_are_normalised_or_left_alone(raw: str, prepared: str) -> None:
    assert saslprep(raw.encode()) == prepared.encode()


def test_right_to_left_text_that_is_well_formed_is_normalised() -> None:
    assert saslprep("\u0627\u00ad\u0627".encode()) == "\u0627\u0627".encode()


@example(b"caf\xe9")
@given(st.binary(max_size=30))
def test_any_bytes_are_a_password(raw: bytes) -> None:
    prepared = saslprep(raw)
    try:
        raw.decode()
    except UnicodeDecodeError:
        assert prepared == raw
    assert saslprep(prepared) == prepared


@given(
    st.text(min_size=1, max_size=20).filter(lambda t: "\0" not in t and t.isprintable()),
    st.binary(min_size=1, max_size=20),
)
def test_a_verifier_knows_its_password(password: str, salt: bytes) -> None:
    secret = parse_secret(scram_secret(password, salt, 1))
    assert isinstance(secret, ScramSecret)
    assert secret.matches(password.encode())
    assert not secret.matches(password.encode() + b"x")


@given(st.text(max_size=60))
def test_any_text_is_a_secret_or_refused(text: str) -> None:
    try:
        secret = parse_secret(text)
    except ValidationError:
        return
    assert isinstance(secret, PlainSecret | Md5Secret | ScramSecret)
