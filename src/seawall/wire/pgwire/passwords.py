"""Password secrets as ``pg_authid`` stores them: reading, making, and checking a password against them.

Three kinds: the plain text, ``md5`` and 32 hexadecimal digits, and a SCRAM verifier, from which nobody can
log in. The exchanges on the wire are ``scram`` and ``login``. Nothing here draws salt: callers do.

Sources: PostgreSQL documentation, ``pg_authid`` and "Password Authentication"; RFC 5802 section 3 (keys);
    RFC 4013 and RFC 3454 (SASLprep).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import stringprep
import unicodedata
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from seawall.kernel.errors import ValidationError
from seawall.wire.pgwire.messages import encode

DEFAULT_ITERATIONS: Final = 4096
"""PostgreSQL's ``scram_iterations``, and the least that RFC 7677 recommends."""

MAX_ITERATIONS: Final = 1_000_000
"""More is an attack on our CPU: OWASP asks for 600 000 rounds of PBKDF2-HMAC-SHA256, PostgreSQL for 4096."""

SALT_BYTES: Final = 16
"""What PostgreSQL uses for SCRAM."""

KEY_BYTES: Final = 32
"""Length of SHA-256."""

_SCRAM_PREFIX: Final = "SCRAM-SHA-256$"
_SCRAM_FORM: Final = re.compile(r"SCRAM-SHA-256\$([1-9][0-9]{0,8}):([^$:]+)\$([^$:]+):([^$:]+)", re.ASCII)
_MD5_FORM: Final = re.compile(r"md5([0-9a-f]{32})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ScramSecret:
    """A SCRAM-SHA-256 verifier: it can check a proof and prove itself, but not log in."""

    iterations: int
    salt: bytes = field(repr=False)
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    def text(self) -> str:
        """The form in ``pg_authid``: ``SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey``."""
        salt, stored, server = (
            base64.b64encode(part).decode() for part in (self.salt, self.stored_key, self.server_key)
        )
        return f"{_SCRAM_PREFIX}{self.iterations}:{salt}${stored}:{server}"

    def matches(self, password: bytes) -> bool:
        """Whether this is the password; costs ``iterations`` rounds of hashing."""
        derived = verifier(password, salt=self.salt, iterations=self.iterations)
        return hmac.compare_digest(derived.server_key, self.server_key)


@dataclass(frozen=True, slots=True)
class Md5Secret:
    """The MD5 hash of password and user name; enough to log in by the ``md5`` method."""

    digest: str = field(repr=False)
    """32 hexadecimal digits."""

    def response(self, salt: bytes) -> bytes:
        """What a client answers to a challenge with this salt."""
        return b"md5" + _md5(self.digest.encode() + salt).encode()

    def matches(self, user: str, password: bytes) -> bool:
        """Whether this is the password of that user."""
        return hmac.compare_digest(_md5(password + encode("user", user)).encode(), self.digest.encode())


class PlainSecret:
    """A password in plain text. It remembers its last verifier, so that not every login pays for hashing.

    Args:
        password: Not empty, without NUL.

    Raises:
        ValidationError: It is.
    """

    __slots__ = ("_password", "_verifier")

    def __init__(self, password: str) -> None:
        if not password:
            raise ValidationError("secret: it is empty; give a password, or none at all")
        self._password = encode("secret", password)
        self._verifier: ScramSecret | None = None

    def __repr__(self) -> str:
        return "PlainSecret()"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PlainSecret):
            return NotImplemented
        return hmac.compare_digest(self._password, other._password)

    def __hash__(self) -> int:
        return hash(self._password)

    @property
    def password(self) -> bytes:
        """As it travels in a PasswordMessage."""
        return self._password

    def scram(self, salt: bytes, iterations: int = DEFAULT_ITERATIONS) -> ScramSecret:
        """The verifier of this password for a salt; a new salt costs ``iterations`` rounds of hashing."""
        known = self._verifier
        if known is None or known.salt != salt or known.iterations != iterations:
            known = self._verifier = verifier(self._password, salt=salt, iterations=iterations)
        return known

    def md5(self, user: str) -> Md5Secret:
        """The MD5 hash of this password for a user."""
        return Md5Secret(_md5(self._password + encode("user", user)))


Secret: TypeAlias = PlainSecret | Md5Secret | ScramSecret


def parse_secret(text: str) -> Secret:
    """Read a secret in any of its three forms, as PostgreSQL tells them apart.

    Raises:
        ValidationError: It is empty, or begins like a SCRAM verifier and is none (PostgreSQL would take it
            for a
            password, which nobody means). The text is not shown.
    """
    md5 = _MD5_FORM.fullmatch(text)
    if md5:
        return Md5Secret(md5[1])
    if text.startswith(_SCRAM_PREFIX):
        return _parse_scram(text)
    return PlainSecret(text)


def _parse_scram(text: str) -> ScramSecret:
    form = _SCRAM_FORM.fullmatch(text)
    if form is None:
        raise ValidationError(
            "secret: a broken SCRAM verifier; copy rolpassword from pg_authid,"
            f" {_SCRAM_PREFIX}<iterations>:<salt>$<StoredKey>:<ServerKey>"
        )
    iterations = int(form[1])
    if iterations > MAX_ITERATIONS:
        raise ValidationError(f"secret: {iterations} SCRAM iterations; allowed are up to {MAX_ITERATIONS}")
    try:
        salt, stored, server = (base64.b64decode(part, validate=True) for part in form.group(2, 3, 4))
    except (binascii.Error, ValueError):
        raise ValidationError("secret: a SCRAM verifier whose parts are no base64; copy it again") from None
    if len(stored) != KEY_BYTES or len(server) != KEY_BYTES:
        raise ValidationError(
            f"secret: a SCRAM verifier whose keys are not {KEY_BYTES} bytes long; copy it again"
        )
    return ScramSecret(iterations, salt, stored, server)


def scram_secret(password: str, salt: bytes, iterations: int = DEFAULT_ITERATIONS) -> str:
    """Make a SCRAM verifier in the form of ``pg_authid``.

    Args:
        password: Plain text.
        salt: Random bytes, 16 of them in PostgreSQL.
        iterations: Rounds of hashing.

    Raises:
        ValidationError: The password is empty or has a NUL, there is no salt, or iterations are not 1 to 1
            000 000.
    """
    return PlainSecret(password).scram(salt, iterations).text()


def md5_secret(user: str, password: str) -> str:
    """Make an MD5 secret in the form of ``pg_authid``; ``ValidationError`` if the password is empty."""
    return "md5" + PlainSecret(password).md5(user).digest


def verifier(password: bytes, *, salt: bytes, iterations: int) -> ScramSecret:
    """Derive a SCRAM verifier, RFC 5802 section 3.

    Raises:
        ValidationError: There is no salt, or iterations are not 1 to 1 000 000.
    """
    client_key, server_key = derive_keys(password, salt=salt, iterations=iterations)
    return ScramSecret(iterations, salt, hashlib.sha256(client_key).digest(), server_key)


def derive_keys(password: bytes, *, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """ClientKey and ServerKey of a password, RFC 5802 section 3.

    Raises:
        ValidationError: There is no salt, or iterations are not 1 to 1 000 000.
    """
    if not salt:
        raise ValidationError("salt: it is empty; give 16 random bytes")
    if not 1 <= iterations <= MAX_ITERATIONS:
        raise ValidationError(f"iterations = {iterations}: allowed is 1 to {MAX_ITERATIONS}")
    salted = hashlib.pbkdf2_hmac("sha256", saslprep(password), salt, iterations)
    return hmac.digest(salted, b"Client Key", "sha256"), hmac.digest(salted, b"Server Key", "sha256")


# --- SASLprep -----------------------------------------------------------------------------------------------

_PROHIBITED: Final = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def saslprep(password: bytes) -> bytes:
    """Normalise a password (RFC 4013), or give it back as it is when it can't be, as PostgreSQL does.

    It can't be when it is no UTF-8, holds prohibited or unassigned characters or breaks the rules for text
    that runs from right to left.
    """
    if password.isascii():
        return password
    try:
        text = password.decode("utf-8")
    except UnicodeDecodeError:
        return password
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in text
        if stringprep.in_table_c12(character) or not stringprep.in_table_b1(character)
    )
    prepared = unicodedata.normalize("NFKC", mapped)
    if not prepared or any(test(character) for character in prepared for test in _PROHIBITED):
        return password
    return password if _mixed_directions(prepared) else prepared.encode("utf-8")


def _mixed_directions(text: str) -> bool:
    """Whether text breaks RFC 3454 section 6: right-to-left text begins and ends so, without the other."""
    if not any(stringprep.in_table_d1(character) for character in text):
        return False
    bounded = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return not bounded or any(stringprep.in_table_d2(character) for character in text)


def _md5(data: bytes) -> str:
    # The protocol says MD5. FIPS builds of OpenSSL refuse it unless told that no security rests on it,
    # which is so: who wants some asks for SCRAM.
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
