"""The packets before the first message: encryption requests, cancel requests, the startup packet.

They have a length and a code but no type byte, so they need a reader of their own. It plays the server's
part; a listener feeds it until it has seen a startup or cancel request.

Theory of operation
-------------------
::

                          SSLRequest, GSSENCRequest, TLS record
               READING ------------------------------------------> ASKED
                | | ^                                               |
                | | +------------------ answered() -----------------+
                | |
                | +--- StartupMessage, CancelRequest --> OVER
                +----- anything wrong -----------------> OVER

* A client may ask for TLS and for GSSAPI encryption, each once and in any order, and only while the
  connection is not encrypted. Asked again, the code is taken for a version number and refused, as
  PostgreSQL does.
* In ASKED nothing may arrive: bytes sent before the answer would be plain text that a man in the middle
  slipped in front of the encrypted stream (CVE-2021-23214). Only the caller knows when it has written the
  answer, so it calls ``answered`` right after that.
* A first byte of 0x16 is a TLS handshake without asking (libpq's ``sslnegotiation=direct``). No legal packet
  starts with it: its length would be 369 MB. All bytes are then in ``rest``, for the TLS layer.

Source: PostgreSQL documentation, "Frontend/Backend Protocol", sections "Start-up", "SSL Session Encryption"
and "Message Formats"; order and texts of the checks follow ``ProcessStartupPacket`` of PostgreSQL 18.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from seawall.kernel.errors import UsageError
from seawall.wire.pgwire import sqlstate
from seawall.wire.pgwire.messages import (
    CANCEL_REQUEST_CODE,
    GSSENC_REQUEST_CODE,
    KEY_BYTES_MAX,
    KEY_BYTES_MIN,
    PROTOCOL_MAJOR,
    SSL_REQUEST_CODE,
    ProtocolViolation,
    cstring,
    decode,
    negotiate_protocol_version,
)

LATEST_MINOR: Final = 2
"""Protocol 3.2 came with PostgreSQL 18 (longer cancel keys); 3.1 was never used."""

LIMIT_BYTES: Final = 10_000
"""PostgreSQL's MAX_STARTUP_PACKET_LENGTH: code and parameters, without the length word."""

_TLS_HANDSHAKE: Final = 0x16
_LENGTH_BYTES: Final = 4
_CODE_BYTES: Final = 4
_OPTION_PREFIX: Final = "_pq_."
_WORDS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_WORD_LEAST: Final = {"on": 2, "off": 2}
_INVALID_LENGTH: Final = "invalid length of startup packet"


@dataclass(frozen=True, slots=True)
class SslRequested:
    """The client asks for TLS: write ``S`` or ``N``, then call ``answered``."""


@dataclass(frozen=True, slots=True)
class GssRequested:
    """The client asks for GSSAPI encryption: write ``N``, then call ``answered``."""


@dataclass(frozen=True, slots=True)
class DirectTls:
    """The client starts a TLS handshake without asking; its bytes are in ``rest``."""


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """The client wants the query of another connection cancelled; it gets no answer."""

    pid: int
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StartupRequested:
    """The client wants a session."""

    major: int
    minor: int
    parameters: dict[str, str]
    """As sent, with ``user`` and, if it was there, ``database``."""
    protocol_options: tuple[str, ...] = ()
    """Names of the ``_pq_.`` options; none of them is known."""

    @property
    def user(self) -> str:
        """The user's name, never empty."""
        return self.parameters["user"]

    @property
    def database(self) -> str:
        """The database's name; the user's, if none was given."""
        return self.parameters.get("database") or self.user

    @property
    def replication(self) -> bool:
        """Whether the session speaks the replication protocol, physical or logical."""
        return _replication(self.parameters.get("replication"))


StartupEvent: TypeAlias = SslRequested | GssRequested | DirectTls | CancelRequested | StartupRequested


def agreed_minor(request: StartupRequested) -> int:
    """The minor version that both sides will speak."""
    return min(request.minor, LATEST_MINOR)


def negotiation(request: StartupRequested) -> bytes | None:
    """NegotiateProtocolVersion, to be sent before authentication; ``None`` if there is no need."""
    if request.minor <= LATEST_MINOR and not request.protocol_options:
        return None
    return negotiate_protocol_version(agreed_minor(request), request.protocol_options)


def parse_negotiate_protocol_version(body: bytes) -> tuple[int, list[str]]:
    """For a client: the minor version that the server speaks, and the options that it does not know.

    Raises:
        ProtocolViolation: It is malformed, or about another major version.
    """
    if len(body) < _CODE_BYTES + _LENGTH_BYTES:
        raise ProtocolViolation("insufficient data left in message")
    version, count = int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big")
    if version >> 16 not in {0, PROTOCOL_MAJOR}:
        raise ProtocolViolation("invalid protocol version in negotiation message")
    names = []
    offset = 8
    for _ in range(count):
        name, offset = cstring(body, offset)
        names.append(decode(name))
    if offset != len(body):
        raise ProtocolViolation("invalid message format")
    return version & 0xFFFF, names


class _State(Enum):
    READING = "reading"
    ASKED = "asked"
    OVER = "over"


class StartupReader:
    """Cuts the first bytes of a client's connection into requests.

    Args:
        limit_bytes: Longest packet, without its length word; no more than that and one chunk is held.
    """

    __slots__ = ("_asked", "_buffer", "_encrypted", "_fresh", "_limit_bytes", "_rest", "_seen", "_state")

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._buffer = bytearray()
        self._rest = b""
        self._state = _State.READING
        self._encrypted = False
        self._fresh = True
        self._seen: set[int] = set()
        self._asked = ""

    def __repr__(self) -> str:
        return f"StartupReader({self._state.value}, {len(self._buffer)} bytes, encrypted={self._encrypted})"

    @property
    def rest(self) -> bytes:
        """What came behind the startup or cancel request; after ``DirectTls`` everything that came."""
        return self._rest

    @property
    def encrypted(self) -> bool:
        """Whether the caller said that it accepted an encryption request."""
        return self._encrypted

    def feed(self, data: bytes) -> list[StartupEvent]:
        """Take bytes as they come; gives at most one event, because each needs an answer or is the last.

        Raises:
            ProtocolViolation: With the SQLSTATE and text that PostgreSQL gives. The reader is of no more use.
            UsageError: The reader is over, or holds back for a TLS layer that was not started.
        """
        if self._state is _State.OVER:
            raise UsageError("feed: the startup is over; later bytes belong to the session (see rest)")
        if self._state is _State.ASKED:
            self._refuse_early(data)
            return []
        self._buffer += data
        try:
            event = self._next()
        except ProtocolViolation:
            self._close()
            raise
        return [] if event is None else [event]

    def answered(self, *, encrypted: bool = False) -> None:
        """Go on, the client has its answer.

        Args:
            encrypted: It was yes: from now on the reader is fed what comes out of the encryption.

        Raises:
            UsageError: Nobody asked.
        """
        if self._state is not _State.ASKED:
            raise UsageError("answered: the client has not asked for encryption")
        self._state = _State.READING
        self._encrypted = self._encrypted or encrypted
        self._rest = b""

    def _refuse_early(self, data: bytes) -> None:
        if not self._asked:
            raise UsageError("feed: a TLS handshake has begun; feed the TLS layer, then call answered")
        if data:
            self._close()
            raise ProtocolViolation(
                f"received unencrypted data after {self._asked} request",
                detail="This could be either a client-software bug or evidence of an attempted"
                " man-in-the-middle attack.",
            )

    def _next(self) -> StartupEvent | None:
        buffer = self._buffer
        if not buffer:
            return None
        if self._fresh and buffer[0] == _TLS_HANDSHAKE and not self._encrypted:
            return self._ask(DirectTls(), "")
        self._fresh = False
        if len(buffer) < _LENGTH_BYTES:
            return None
        size = int.from_bytes(buffer[:_LENGTH_BYTES], "big") - _LENGTH_BYTES
        if not _CODE_BYTES <= size <= self._limit_bytes:
            raise ProtocolViolation(_INVALID_LENGTH)
        end = _LENGTH_BYTES + size
        if len(buffer) < end:
            return None
        packet = bytes(buffer[_LENGTH_BYTES:end])
        del buffer[:end]
        return self._packet(int.from_bytes(packet[:_CODE_BYTES], "big"), packet[_CODE_BYTES:])

    def _packet(self, code: int, body: bytes) -> StartupEvent:
        if code == CANCEL_REQUEST_CODE:
            cancel = _cancel(body)
            self._close()
            return cancel
        if not self._encrypted and code not in self._seen:
            if code == SSL_REQUEST_CODE:
                self._once(code, body)
                return self._ask(SslRequested(), "SSL")
            if code == GSSENC_REQUEST_CODE:
                self._once(code, body)
                return self._ask(GssRequested(), "GSSAPI encryption")
        startup = _startup(code, body)
        self._close()
        return startup

    def _once(self, code: int, body: bytes) -> None:
        if body:
            raise ProtocolViolation(_INVALID_LENGTH)
        self._seen.add(code)

    def _ask(self, event: StartupEvent, asked: str) -> StartupEvent:
        self._state = _State.ASKED
        self._asked = asked
        self._fresh = False
        early = bytes(self._buffer)
        self._buffer.clear()
        if asked:
            self._refuse_early(early)
        self._rest = early
        return event

    def _close(self) -> None:
        self._state = _State.OVER
        self._rest = bytes(self._buffer)
        self._buffer.clear()


def _cancel(body: bytes) -> CancelRequested:
    key = body[_CODE_BYTES:]
    if len(body) < _CODE_BYTES:
        raise ProtocolViolation("invalid length of cancel request packet")
    if not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
        raise ProtocolViolation("invalid length of cancel key in cancel request packet")
    return CancelRequested(int.from_bytes(body[:_CODE_BYTES], "big", signed=True), key)


def _startup(version: int, body: bytes) -> StartupRequested:
    major, minor = version >> 16, version & 0xFFFF
    if major != PROTOCOL_MAJOR:
        raise ProtocolViolation(
            f"unsupported frontend protocol {major}.{minor}:"
            f" server supports {PROTOCOL_MAJOR}.0 to {PROTOCOL_MAJOR}.{LATEST_MINOR}",
            sqlstate.FEATURE_NOT_SUPPORTED,
        )
    parameters, options = _parameters(body)
    _replication(parameters.get("replication"))
    if not parameters.get("user"):
        raise ProtocolViolation(
            "no PostgreSQL user name specified in startup packet", sqlstate.INVALID_AUTHORIZATION
        )
    return StartupRequested(major, minor, parameters, options)


def _parameters(body: bytes) -> tuple[dict[str, str], tuple[str, ...]]:
    layout = "invalid startup packet layout: expected terminator as last byte"
    if not body.endswith(b"\0"):
        raise ProtocolViolation(layout)
    parameters: dict[str, str] = {}
    options: list[str] = []
    seen: set[str] = set()
    last = len(body) - 1
    offset = 0
    while offset < last:
        raw, offset = cstring(body, offset)
        if not raw or offset > last:
            raise ProtocolViolation(layout)
        value, offset = cstring(body, offset)
        name = decode(raw)
        # PostgreSQL lets the last one win; a proxy that reads one and forwards both may check the wrong one.
        if name in seen:
            raise ProtocolViolation("invalid startup packet layout: a parameter is given twice")
        seen.add(name)
        if name.startswith(_OPTION_PREFIX):
            options.append(name)
        else:
            parameters[name] = decode(value)
    if offset != last:
        raise ProtocolViolation(layout)
    return parameters, tuple(options)


def _replication(value: str | None) -> bool:
    """Read the parameter as PostgreSQL does: ``database``, or the beginning of a boolean's word."""
    if value is None:
        return False
    if value == "database":
        return True
    word = value.lower()
    for name, truth in _WORDS.items():
        if name.startswith(word) and len(word) >= _WORD_LEAST.get(name, 1):
            return truth
    raise ProtocolViolation(
        f'invalid value for parameter "replication": "{value}"',
        sqlstate.INVALID_PARAMETER_VALUE,
        hint='Valid values are: "false", 0, "true", 1, "database".',
    )
