"""SCRAM-SHA-256 for both sides: one object per exchange, bytes in, bytes out.

::

    client                                    server
    first()   n,,n=,r=<client nonce>    -->   first(message)
    final()   <--   r=<both nonces>,s=<salt>,i=<iterations>
              c=biws,r=<both>,p=<proof> -->   final(message)
    verify()  <--   v=<signature>

The client proves that it knows ClientKey without showing it; the server, which keeps only its hash, proves
that it keeps something. From the proof the server learns ClientKey, so a proxy that holds the same verifier
as the server behind it can log in there as the client (`ScramKeys`).

A server answers for users that it doesn't know as well, with a salt derived from their name and a secret
key, so that asking twice gives the same, and with the same arithmetic; only the verdict is certain.

There is no channel binding: "n" and "y" are accepted, "p" is refused, and SCRAM-SHA-256-PLUS is never
offered. Nothing here draws random numbers: nonces are arguments. What turns these messages into packets is
``login``.

Sources: RFC 5802 and RFC 7677; order and texts of the checks follow PostgreSQL's ``auth-scram.c``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Final

from seawall.kernel.errors import UsageError, ValidationError
from seawall.wire.pgwire import sqlstate
from seawall.wire.pgwire.messages import ProtocolViolation, cstring, decode, encode
from seawall.wire.pgwire.passwords import (
    DEFAULT_ITERATIONS,
    KEY_BYTES,
    MAX_ITERATIONS,
    SALT_BYTES,
    Md5Secret,
    PlainSecret,
    ScramSecret,
    Secret,
    derive_keys,
)

MECHANISM: Final = "SCRAM-SHA-256"

NONCE_LIMIT: Final = 256
"""Most characters of one side's nonce; PostgreSQL uses 24, and long ones broke PgBouncer (CVE-2026-6665)."""

NONCE_LEAST: Final = 16
"""Fewest random bytes in a nonce of ours; RFC 5802 wants them never to come again."""

_NONCE_FORM: Final = re.compile(rb"[!-+\--~]+")
_NUMBER_FORM: Final = re.compile(rb"[1-9][0-9]{0,9}")
_GS2_FLAGS: Final = frozenset({b"n", b"y"})
_NO_DATA: Final = b"\xff\xff\xff\xff"
_MALFORMED: Final = "malformed SCRAM message"


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What a client needs to log in by SCRAM without the password.

    Salt and iterations, when they are known, say which verifier the keys belong to: a server with another
    salt will not take them, and a client can tell before it tries.
    """

    client_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)
    salt: bytes = field(default=b"", repr=False)
    iterations: int = 0

    def fit(self, salt: bytes, iterations: int) -> bool:
        """Whether the keys may belong to a verifier with this salt."""
        return not self.salt or (self.salt == salt and self.iterations == iterations)


def printable_nonce(random: bytes) -> str:
    """Turn at least 16 random bytes into a nonce.

    Raises:
        UsageError: There are fewer.
    """
    if len(random) < NONCE_LEAST:
        raise UsageError(f"nonce: {len(random)} bytes; give at least {NONCE_LEAST} random ones")
    return base64.b64encode(random).decode()


def parse_mechanisms(data: bytes) -> list[str]:
    """The names in an AuthenticationSASL; ``ProtocolViolation`` if the list has no end."""
    if not data.endswith(b"\0\0") and data != b"\0":
        raise ProtocolViolation("invalid SASL authentication request")
    return [decode(name) for name in data.split(b"\0") if name]


def parse_initial_response(body: bytes) -> bytes | None:
    """The client-first-message in a SASLInitialResponse; ``None`` if it has only chosen a mechanism.

    Raises:
        ProtocolViolation: It chose another mechanism, or the length does not fit.
    """
    mechanism, offset = cstring(body, 0)
    if mechanism != MECHANISM.encode():
        raise ProtocolViolation("client selected an invalid SASL authentication mechanism")
    length, data = body[offset : offset + 4], body[offset + 4 :]
    if length == _NO_DATA and not data:
        return None
    if length != len(data).to_bytes(4, "big"):
        raise ProtocolViolation("insufficient data left in message")
    return data


def mock_secret(mock_key: bytes, user: str, iterations: int = DEFAULT_ITERATIONS) -> ScramSecret:
    """A verifier that no password matches, the same for a name each time.

    Args:
        mock_key: Secret random bytes, the same in every worker, or asking twice would tell.
        user: The name that was asked for.
        iterations: What the other users' verifiers have.

    Raises:
        UsageError: The key is too short to be one.
    """
    if len(mock_key) < NONCE_LEAST:
        raise UsageError(f"mock_key: {len(mock_key)} bytes; give at least {NONCE_LEAST} random ones")
    name = encode("user", user)
    salt, stored, server = (
        hmac.digest(mock_key, label + name, "sha256") for label in (b"salt\0", b"stored\0", b"server\0")
    )
    return ScramSecret(iterations, salt[:SALT_BYTES], stored, server)


def verifier_for(secret: Secret | None, user: str, mock_key: bytes) -> tuple[ScramSecret, bool]:
    """The verifier to run an exchange with, and whether its outcome counts.

    A plain password gets the salt that an unknown user of that name would have. Its first use is expensive,
    and that would show that the user exists; who cares calls this once when passwords are loaded.
    """
    if isinstance(secret, ScramSecret):
        return secret, True
    mock = mock_secret(mock_key, user)
    if isinstance(secret, PlainSecret):
        return secret.scram(mock.salt), True
    assert secret is None or isinstance(secret, Md5Secret)
    return mock, False


class ScramServer:
    """The server's side of one exchange.

    Args:
        secret: The user's verifier.
        nonce: Printable characters without comma, never used before.
        genuine: ``False`` for a mock: every proof is wrong.
    """

    __slots__ = ("_auth", "_flag", "_genuine", "_keys", "_nonce", "_own_nonce", "_secret")

    def __init__(self, secret: ScramSecret, *, nonce: str, genuine: bool = True) -> None:
        self._secret = secret
        self._genuine = genuine
        self._own_nonce = _checked_nonce(nonce.encode())
        self._nonce = b""
        self._flag = b""
        self._auth = b""
        self._keys: ScramKeys | None = None

    @property
    def keys(self) -> ScramKeys | None:
        """The client's keys, once its proof was right."""
        return self._keys

    def first(self, message: bytes) -> bytes:
        """Answer the client-first-message with salt and nonce.

        Raises:
            ProtocolViolation: It is malformed or wants what we don't have.
            UsageError: It was answered before.
        """
        if self._auth:
            raise UsageError("first: one exchange has one first message; make a new ScramServer")
        flag, authzid, *bare = _parts(message, least=4)
        _check_gs2(flag, authzid)
        _attribute(bare[0], b"n")
        client_nonce = _checked_nonce(_attribute(bare[1], b"r"))
        for extension in bare[2:]:
            _ignored(extension)
        self._flag = flag
        self._nonce = client_nonce + self._own_nonce
        salt = base64.b64encode(self._secret.salt)
        answer = b"r=%b,s=%b,i=%d" % (self._nonce, salt, self._secret.iterations)
        self._auth = b",".join(bare) + b"," + answer
        return answer

    def final(self, message: bytes) -> bytes | None:
        """Judge the client-final-message: our signature if the proof is right, ``None`` if it is wrong.

        Raises:
            ProtocolViolation: It is malformed or belongs to another exchange.
            UsageError: There was no first message.
        """
        if not self._auth:
            raise UsageError("final: first comes first")
        binding, nonce, *extensions, last = _parts(message, least=3)
        if _attribute(binding, b"c") != base64.b64encode(self._flag + b",,"):
            raise ProtocolViolation("unexpected SCRAM channel-binding attribute in client-final-message")
        if not hmac.compare_digest(_attribute(nonce, b"r"), self._nonce):
            raise ProtocolViolation("invalid SCRAM response", detail="Nonce does not match.")
        for extension in extensions:
            _ignored(extension)
        proof = _decoded(_attribute(last, b"p"), "Malformed proof in client-final-message.")
        if len(proof) != KEY_BYTES:
            raise _malformed("Malformed proof in client-final-message.")
        auth = self._auth + b"," + message[: -len(last) - 1]
        secret = self._secret
        client_key = _xor(proof, hmac.digest(secret.stored_key, auth, "sha256"))
        right = hmac.compare_digest(hashlib.sha256(client_key).digest(), secret.stored_key)
        signature = hmac.digest(secret.server_key, auth, "sha256")
        if not (right and self._genuine):
            return None
        self._keys = ScramKeys(client_key, secret.server_key, secret.salt, secret.iterations)
        return b"v=" + base64.b64encode(signature)


class ScramClient:
    """The client's side of one exchange.

    Args:
        password: The password as it would travel, or keys of a verifier.
        nonce: Printable characters without comma, never used before.
        user: Name for the first message; PostgreSQL wants none, it has the startup packet's.
        max_iterations: More is refused: the server's word costs our CPU.
    """

    __slots__ = ("_bare", "_keys", "_max_iterations", "_nonce", "_password", "_signature")

    def __init__(
        self, password: bytes | ScramKeys, *, nonce: str, user: str = "", max_iterations: int = MAX_ITERATIONS
    ) -> None:
        self._password = password
        self._nonce = _checked_nonce(nonce.encode())
        name = encode("user", user).replace(b"=", b"=3D").replace(b",", b"=2C")
        self._bare = b"n=%b,r=%b" % (name, self._nonce)
        self._max_iterations = min(max_iterations, MAX_ITERATIONS)
        self._signature = b""
        self._keys: ScramKeys | None = None

    @property
    def keys(self) -> ScramKeys | None:
        """Keys for this server's verifier, to log in again without hashing; ``None`` before its challenge."""
        return self._keys

    def first(self) -> bytes:
        """The client-first-message."""
        return b"n,," + self._bare

    def final(self, challenge: bytes) -> bytes:
        """Answer the server-first-message with the proof.

        Raises:
            ProtocolViolation: It is malformed, isn't about our nonce or wants too much hashing.
            ValidationError: The keys belong to another verifier.
        """
        nonce_part, salt_part, *more = _parts(challenge, least=3)
        nonce = _attribute(nonce_part, b"r")
        salt = _decoded(_attribute(salt_part, b"s"), "Malformed salt in server-first-message.")
        number = _attribute(more[0], b"i")
        if more[1:]:
            raise _malformed("Garbage found at the end of server-first-message.")
        if not nonce.startswith(self._nonce):
            raise ProtocolViolation("invalid SCRAM response", detail="Nonce does not match.")
        _checked_nonce(nonce[len(self._nonce) :])
        if not salt or not _NUMBER_FORM.fullmatch(number):
            raise _malformed("Malformed salt or iteration count in server-first-message.")
        keys = self._derive(salt, int(number))
        without_proof = b"c=biws,r=" + nonce
        auth = b",".join((self._bare, challenge, without_proof))
        stored_key = hashlib.sha256(keys.client_key).digest()
        proof = _xor(keys.client_key, hmac.digest(stored_key, auth, "sha256"))
        self._keys = keys
        self._signature = hmac.digest(keys.server_key, auth, "sha256")
        return without_proof + b",p=" + base64.b64encode(proof)

    def verify(self, outcome: bytes) -> None:
        """Check the server-final-message: does the server know the verifier?

        Raises:
            ProtocolViolation: It does not, or says that something is wrong.
            UsageError: There was no challenge.
        """
        if not self._signature:
            raise UsageError("verify: the server's challenge comes first")
        if outcome.startswith(b"e="):
            raise ProtocolViolation("the server reports a SCRAM error", sqlstate.INVALID_AUTHORIZATION)
        (part,) = _parts(outcome, least=1, most=1)
        signature = _decoded(_attribute(part, b"v"), "Malformed signature in server-final-message.")
        if not hmac.compare_digest(signature, self._signature):
            raise ProtocolViolation(
                "incorrect server signature: it does not know this user's password",
                sqlstate.INVALID_AUTHORIZATION,
            )

    def _derive(self, salt: bytes, iterations: int) -> ScramKeys:
        if isinstance(self._password, ScramKeys):
            if not self._password.fit(salt, iterations):
                raise ValidationError(
                    "SCRAM keys: the server's verifier has another salt or iteration count than theirs;"
                    " copy rolpassword from the server, or configure the password itself"
                )
            return self._password
        if iterations > self._max_iterations:
            raise ProtocolViolation(
                f"the server wants {iterations} SCRAM iterations; up to {self._max_iterations} are allowed"
            )
        client_key, server_key = derive_keys(self._password, salt=salt, iterations=iterations)
        return ScramKeys(client_key, server_key, salt, iterations)


def _malformed(detail: str) -> ProtocolViolation:
    return ProtocolViolation(_MALFORMED, detail=detail)


def _parts(message: bytes, *, least: int, most: int | None = None) -> list[bytes]:
    if b"\0" in message:
        raise _malformed("Message length does not match input length.")
    parts = message.split(b",")
    if len(parts) < least or (most is not None and len(parts) > most):
        raise _malformed("The number of attributes is wrong.")
    return parts


def _check_gs2(flag: bytes, authzid: bytes) -> None:
    if flag.startswith(b"p="):
        raise _malformed(
            "The client selected SCRAM-SHA-256 without channel binding,"
            " but the SCRAM message includes channel binding data."
        )
    if flag not in _GS2_FLAGS:
        raise _malformed("Unexpected channel-binding flag.")
    if authzid.startswith(b"a="):
        raise ProtocolViolation(
            "client uses authorization identity, but it is not supported", sqlstate.FEATURE_NOT_SUPPORTED
        )
    if authzid:
        raise _malformed("Comma expected.")


def _attribute(part: bytes, letter: bytes) -> bytes:
    _refuse_mandatory(part)
    if part[:2] != letter + b"=":
        raise _malformed(f'Attribute "{letter.decode()}" expected.')
    return part[2:]


def _ignored(part: bytes) -> None:
    """An optional extension: it may say what it likes, but not that it must be understood."""
    _refuse_mandatory(part)
    if not (part[:1].isalpha() and part[1:2] == b"=" and part[:1] != b"p"):
        raise _malformed("Attribute expected.")


def _refuse_mandatory(part: bytes) -> None:
    if part.startswith(b"m="):
        raise ProtocolViolation(
            "a mandatory SCRAM extension is not supported", sqlstate.FEATURE_NOT_SUPPORTED
        )


def _checked_nonce(nonce: bytes) -> bytes:
    if len(nonce) > NONCE_LIMIT:
        raise ProtocolViolation(f"SCRAM nonce of {len(nonce)} characters; up to {NONCE_LIMIT} are allowed")
    if not _NONCE_FORM.fullmatch(nonce):
        raise ProtocolViolation("non-printable characters in SCRAM nonce")
    return nonce


def _decoded(text: bytes, complaint: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _malformed(complaint) from None


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
