"""Who may ask what: bearer tokens with roles, TLS, and which addresses may be bound without either.

The rules, from the safest default on:

- Bound to loopback without tokens, whoever is on this machine reads (``anonymous``); orders need a token.
- With tokens, nothing but the health pages is answered without one, unless ``allow_unauthenticated`` is
  set: then ``anonymous`` reads and tokens order.
- An address that others can reach and no token required is refused, unless ``allow_unauthenticated`` is set.
  Client certificates (``tls.client_ca``) count as authentication.
- While anybody on loopback may read, a request without a token must call this machine by an address or
  ``localhost``: a web page that lets its own name point to 127.0.0.1 doesn't.

A token is kept as its SHA-256 digest only, and a presented one is hashed and compared with every digest in
constant time, so that neither length, nor common beginnings, nor which token it was can be learnt from the
time.

It serves nothing; ``endpoints`` asks it about each request and ``server`` about each address.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import ipaddress
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from seawall.kernel.errors import PolicyError, Problem

__all__ = ["Access", "Binding", "Caller", "Role", "Tls", "Token", "is_loopback", "names_this_machine"]

TOKEN_MIN_CHARACTERS: Final = 16
"""Shorter ones can be guessed."""
TOKEN_MAX_CHARACTERS: Final = 4_096
TOKENS_MAX: Final = 64
"""Every request is compared with all of them."""
PORT_MAX: Final = 65_535

# RFC 6750, section 2.1: what can be sent as a bearer token.
_TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_TOKEN_ALLOWED: Final = (
    f"one line of {TOKEN_MIN_CHARACTERS} to {TOKEN_MAX_CHARACTERS} characters from A-Z, a-z, 0-9"
    " and '-._~+/', with '=' only at its end"
)
_MAKE_ONE: Final = 'make one with: python3 -c "import secrets; print(secrets.token_urlsafe(32))"'
_LOOPBACK_NAME: Final = "localhost"
"""The only name that resolvers keep on this machine (RFC 6761, section 6.3)."""


class Role(enum.IntEnum):
    """What a caller may do; each includes the ones before it."""

    VIEWER = 1
    """Reads."""
    OPERATOR = 2
    """Gives orders that can be taken back."""
    ADMIN = 3
    """Gives all orders."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        name: The token's name; ``anonymous`` without one.
        role: What they may do.
    """

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token, without its text.

    Attributes:
        name: Whose it is; orders are recorded under it.
        role: What it allows.
        digest: SHA-256 of its text.
    """

    name: str
    role: Role
    digest: bytes = field(repr=False)

    @classmethod
    def of(cls, name: str, role: Role, text: str) -> Token:
        """From the token itself.

        Raises:
            PolicyError: It could not be sent or could be guessed; its text is not told.
        """
        if not TOKEN_MIN_CHARACTERS <= len(text) <= TOKEN_MAX_CHARACTERS or not _TOKEN.fullmatch(text):
            raise PolicyError([Problem(f"tokens.{name}", "(hidden)", _TOKEN_ALLOWED, _MAKE_ONE)], "access")
        return cls(name, role, _digest(text))

    @classmethod
    def from_file(cls, name: str, role: Role, path: str | Path) -> Token:
        """From a file that holds the token and nothing else; a line break at its end is left out.

        Raises:
            PolicyError: It can't be read or holds no usable token; its content is not told.
        """
        try:
            with Path(path).open("rb") as file:
                raw = file.read(TOKEN_MAX_CHARACTERS + 2)
            text = raw.removesuffix(b"\n").removesuffix(b"\r").decode("ascii")
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or "it is no text"
            problem = Problem(
                f"tokens.{name}.file", str(path), f"a readable file with {_TOKEN_ALLOWED} ({why})"
            )
            raise PolicyError([problem], "access") from None
        return cls.of(name, role, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who is let in.

    Attributes:
        tokens: Those that are known.
        allow_unauthenticated: Answer without a token, on any address.
        anonymous: What may be done without a token, where that is allowed at all.
    """

    tokens: tuple[Token, ...] = ()
    allow_unauthenticated: bool = False
    anonymous: Role = Role.VIEWER

    @property
    def open(self) -> bool:
        """Whether requests without a token are answered."""
        return self.allow_unauthenticated or not self.tokens

    def identify(self, authorization: str | None) -> Caller | None:
        """Who sends this ``Authorization`` header, or none.

        A wrong token is refused even where none is needed: its sender believes to be somebody.
        """
        if authorization is None:
            return Caller("anonymous", self.anonymous) if self.open else None
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        presented = _digest(text.strip())
        found: Token | None = None
        for token in self.tokens:  # to the end: the time must not tell which one it was
            if hmac.compare_digest(token.digest, presented):
                found = token
        return None if found is None else Caller(found.name, found.role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How a listener encrypts.

    Attributes:
        certificate: PEM file with the certificate and its chain.
        key: PEM file with its key.
        client_ca: PEM file with the authorities whose client certificates are let in; others are then
            refused.
    """

    certificate: str
    key: str
    client_ca: str | None = None

    def context(self, prefix: str) -> ssl.SSLContext:
        """What a server socket needs, TLS 1.2 or newer.

        Args:
            prefix: Where these settings stand, for the message.

        Raises:
            PolicyError: A file is missing or is not what it should be.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        problems = []
        try:
            # Without that function, OpenSSL asks the terminal for an encrypted key's password, and waits.
            context.load_cert_chain(self.certificate, self.key, password=lambda: "")
        except (OSError, ValueError) as error:
            allowed = f"PEM files that belong together ({_why(error)})"
            problems.append(Problem(f"{prefix}.tls.certificate, {prefix}.tls.key", self.certificate, allowed))
        if self.client_ca is not None:
            try:
                context.load_verify_locations(self.client_ca)
            except (OSError, ValueError) as error:
                allowed = f"a PEM file with certificates ({_why(error)})"
                problems.append(Problem(f"{prefix}.tls.client_ca", self.client_ca, allowed))
            context.verify_mode = ssl.CERT_REQUIRED
        if problems:
            raise PolicyError(problems, prefix)
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Where a listener is, and who may use it.

    Attributes:
        key: Where these settings stand in the configuration; messages name it.
        host: Address or host name.
        port: Port; 0 lets the system choose.
        access: Who is let in.
        tls: How it encrypts; without it, it doesn't.
    """

    key: str
    port: int
    host: str = "127.0.0.1"
    access: Access = Access()
    tls: Tls | None = None

    def problems(self) -> list[Problem]:
        """All that is wrong with it; an empty list if nothing is."""
        found = []
        if not 0 <= self.port <= PORT_MAX:
            found.append(Problem(f"{self.key}.port", self.port, f"a port from 0 to {PORT_MAX}"))
        tokens = self.access.tokens
        if len(tokens) > TOKENS_MAX:
            found.append(Problem(f"{self.key}.tokens", len(tokens), f"up to {TOKENS_MAX} tokens"))
        names = [token.name for token in tokens]
        found += [
            Problem(f"{self.key}.tokens", name, "names that differ, since orders are recorded under them")
            for name in sorted({name for name in names if names.count(name) > 1})
        ]
        if is_loopback(self.host):
            return found
        certified = self.tls is not None and self.tls.client_ca is not None
        if not tokens and not certified and not self.access.allow_unauthenticated:
            found.append(
                Problem(
                    f"{self.key}.host",
                    self.host,
                    "a loopback address such as 127.0.0.1, as long as nobody has to say who they are",
                    f"set {self.key}.tokens (or {self.key}.tls.client_ca), or say that everybody may read:"
                    f" {self.key}.allow_unauthenticated = true",
                )
            )
        if self.access.open and self.access.anonymous > Role.VIEWER:
            found.append(
                Problem(
                    f"{self.key}.anonymous",
                    self.access.anonymous.name.lower(),
                    "viewer on an address that others can reach",
                    f"give the role to a token in {self.key}.tokens",
                )
            )
        return found


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect there, as far as the text tells."""
    if host.lower() == _LOOPBACK_NAME:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_this_machine(host: str) -> bool:
    """Whether a ``Host`` header names an address or ``localhost``, and no domain that anybody could own."""
    name = host.strip().lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    if name == _LOOPBACK_NAME:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "not PEM"
    return (error.strerror if isinstance(error, OSError) else None) or "not PEM"
