"""Single messages of PostgreSQL's protocol: builders for both roles, and parsers of the bodies that matter.

Builders return a complete message. Parsers take a *body*, what follows the type byte and the length word;
cutting a stream into messages is ``framing``'s part, the packets before the first message are ``startup``'s.

Text travels as UTF-8. Bytes that are no UTF-8 become lone surrogates (PEP 383) and leave as they came: a
startup packet or a server's error text may be in any encoding.

Source: PostgreSQL documentation, chapter "Frontend/Backend Protocol", section "Message Formats".
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from seawall.kernel.errors import ValidationError
from seawall.wire.pgwire.sqlstate import INTERNAL_ERROR, PROTOCOL_VIOLATION

MAX_MESSAGE_BYTES: Final = 0x3FFF_FFFF
"""PostgreSQL's MaxAllocSize: no server or client accepts a longer message."""

MAX_COUNT: Final = 0xFFFF
"""Most parameters, columns or values in one message: their count has sixteen bits."""

KEY_BYTES_MIN: Final = 4
"""Length of a cancel key in protocol 3.0, and the least in 3.2."""

KEY_BYTES_MAX: Final = 256
"""Longest cancel key of protocol 3.2."""

PROTOCOL_MAJOR: Final = 3
SSL_REQUEST_CODE: Final = 80877103
GSSENC_REQUEST_CODE: Final = 80877104
CANCEL_REQUEST_CODE: Final = 80877102

AUTH_OK: Final = 0
AUTH_CLEARTEXT: Final = 3
AUTH_MD5: Final = 5
AUTH_SASL: Final = 10
AUTH_SASL_CONTINUE: Final = 11
AUTH_SASL_FINAL: Final = 12

PARSE_COMPLETE: Final = b"1\x00\x00\x00\x04"
BIND_COMPLETE: Final = b"2\x00\x00\x00\x04"
CLOSE_COMPLETE: Final = b"3\x00\x00\x00\x04"
NO_DATA: Final = b"n\x00\x00\x00\x04"

_SQLSTATE: Final = re.compile(r"[0-9A-Z]{5}", re.ASCII)
_STATUSES: Final = frozenset({b"I", b"T", b"E"})
_SALT_BYTES: Final = 4
_COUNT_BYTES: Final = 2
_COLUMN: Final = struct.Struct(">IhIhih")
_ANY_SIZE: Final = struct.pack(">hih", -1, -1, 0)
_NULL: Final = -1
_NULL_WORD: Final = b"\xff\xff\xff\xff"


class ProtocolViolation(ValidationError):
    """The other side broke the protocol; the connection cannot be used any further.

    Args:
        message: What PostgreSQL would say, fit for the other side's eyes.
        sqlstate: Five characters, PostgreSQL appendix A.
        detail: The DETAIL field, when PostgreSQL sends one.
        hint: The HINT field, when PostgreSQL sends one.
    """

    __slots__ = ("detail", "hint", "sqlstate")

    def __init__(
        self, message: str = "", sqlstate: str = PROTOCOL_VIOLATION, detail: str = "", hint: str = ""
    ) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.detail = detail
        self.hint = hint

    def __reduce__(self) -> tuple[type[ProtocolViolation], tuple[object, ...]]:
        return type(self), (self.message, self.sqlstate, self.detail, self.hint)


class Column(NamedTuple):
    """One column of a RowDescription."""

    name: str
    table_oid: int
    """0 when the column belongs to no table."""
    column: int
    """Attribute number in that table, or 0."""
    type_oid: int
    type_size: int
    """``pg_type.typlen``; negative for types of variable width."""
    type_modifier: int
    format: int
    """0 text, 1 binary; always 0 where the format is not known yet."""


# --- text ---------------------------------------------------------------------------------------------------


def decode(raw: bytes) -> str:
    """Text from the wire; what is no UTF-8 becomes lone surrogates."""
    return raw.decode("utf-8", "surrogateescape")


def encode(what: str, text: str) -> bytes:
    """Text for the wire, without its terminator.

    Raises:
        ValidationError: There is a NUL or a lone surrogate. The text is not shown: it may be secret.
    """
    at = text.find("\0")
    if at >= 0:
        raise ValidationError(
            f"{what}: NUL at character {at} cannot travel in a PostgreSQL string; remove it"
        )
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ValidationError(
            f"{what}: the surrogate at character {error.start} cannot travel as UTF-8; remove it"
        ) from None


def cstring(body: bytes, offset: int) -> tuple[bytes, int]:
    """Read one NUL-terminated string: its bytes, and where the next field starts.

    Raises:
        ProtocolViolation: There is no terminator.
    """
    end = body.find(b"\0", offset)
    if end < 0:
        raise ProtocolViolation("invalid string in message")
    return body[offset:end], end + 1


def _text(what: str, text: str) -> bytes:
    return encode(what, text) + b"\0"


def _message(kind: bytes, body: bytes) -> bytes:
    length = len(body) + 4
    if length > MAX_MESSAGE_BYTES:
        raise ValidationError(f"message {kind!r}: {length} bytes; PostgreSQL takes up to {MAX_MESSAGE_BYTES}")
    return kind + length.to_bytes(4, "big") + body


def _count(what: str, count: int) -> bytes:
    if count > MAX_COUNT:
        raise ValidationError(f"{what}: {count} of them; one message holds up to {MAX_COUNT}")
    return count.to_bytes(2, "big")


def _integer(what: str, value: int, *, signed: bool) -> bytes:
    try:
        return value.to_bytes(4, "big", signed=signed)
    except OverflowError:
        sign = "a signed" if signed else "an unsigned"
        raise ValidationError(f"{what} = {value}: allowed is {sign} 32-bit integer") from None


def _values(what: str, values: Sequence[bytes | None]) -> bytes:
    parts = [_count(what, len(values))]
    for value in values:
        if value is None:
            parts.append(_NULL_WORD)
        else:
            parts += (len(value).to_bytes(4, "big"), value)
    return b"".join(parts)


# --- what a server says -------------------------------------------------------------------------------------


def authentication_ok() -> bytes:
    """AuthenticationOk: the client is in."""
    return _authentication(AUTH_OK)


def authentication_cleartext() -> bytes:
    """AuthenticationCleartextPassword."""
    return _authentication(AUTH_CLEARTEXT)


def authentication_md5(salt: bytes) -> bytes:
    """AuthenticationMD5Password with its four bytes of salt; ``ValidationError`` for another length."""
    if len(salt) != _SALT_BYTES:
        raise ValidationError(f"salt: {len(salt)} bytes; MD5 authentication has exactly {_SALT_BYTES}")
    return _authentication(AUTH_MD5, salt)


def authentication_sasl(mechanisms: Sequence[str]) -> bytes:
    """AuthenticationSASL: the mechanisms on offer, the preferred one first."""
    return _authentication(AUTH_SASL, b"".join(_text("mechanism", name) for name in mechanisms) + b"\0")


def authentication_sasl_continue(data: bytes) -> bytes:
    """AuthenticationSASLContinue with a challenge."""
    return _authentication(AUTH_SASL_CONTINUE, data)


def authentication_sasl_final(data: bytes) -> bytes:
    """AuthenticationSASLFinal with the outcome's additional data."""
    return _authentication(AUTH_SASL_FINAL, data)


def _authentication(code: int, data: bytes = b"") -> bytes:
    return _message(b"R", code.to_bytes(4, "big") + data)


def backend_key_data(pid: int, key: bytes) -> bytes:
    """BackendKeyData: what a cancel request has to name (four bytes of key, up to 256 from protocol 3.2)."""
    return _message(b"K", _integer("pid", pid, signed=True) + key)


def parameter_status(name: str, value: str) -> bytes:
    """ParameterStatus: the present value of a reported setting."""
    return _message(b"S", _text("name", name) + _text(name, value))


def ready_for_query(status: bytes) -> bytes:
    """ReadyForQuery: ``b"I"`` idle, ``b"T"`` in a transaction, ``b"E"`` in a failed one."""
    if status not in _STATUSES:
        raise ValidationError(f"status = {status!r}: allowed is b'I', b'T' or b'E'")
    return b"Z\x00\x00\x00\x05" + status


def negotiate_protocol_version(minor: int, unrecognized: Sequence[str]) -> bytes:
    """NegotiateProtocolVersion: the newest minor version served, and the ``_pq_.`` options that are not.

    PostgreSQL's documentation calls the field a minor version, but servers send and libpq reads the whole
    number, ``3 << 16 | minor``. What is missing is added here: 0 and 196608 both say 3.0.
    """
    version = PROTOCOL_MAJOR << 16 | minor
    names = b"".join(_text("unrecognized", name) for name in unrecognized)
    head = _integer("minor", version, signed=True) + _integer("unrecognized", len(unrecognized), signed=True)
    return _message(b"v", head + names)


def error_response(
    sqlstate: str, message: str, *, severity: str = "ERROR", detail: str = "", hint: str = ""
) -> bytes:
    """ErrorResponse; severity is ERROR, FATAL (the connection ends) or PANIC.

    Empty fields are left out, and what cannot travel is replaced: a report must not fail for what it reports.

    Raises:
        ValidationError: The SQLSTATE is none.
    """
    return _report(b"E", sqlstate, message, severity, detail, hint)


def notice_response(
    sqlstate: str, message: str, *, severity: str = "NOTICE", detail: str = "", hint: str = ""
) -> bytes:
    """NoticeResponse, as :func:`error_response`; severity is WARNING, NOTICE, DEBUG, INFO or LOG."""
    return _report(b"N", sqlstate, message, severity, detail, hint)


def _report(kind: bytes, sqlstate: str, message: str, severity: str, detail: str, hint: str) -> bytes:
    if not _SQLSTATE.fullmatch(sqlstate):
        raise ValidationError(f"sqlstate = {sqlstate!r}: allowed are five digits or capital letters")
    fields = (("S", severity), ("V", severity), ("C", sqlstate), ("M", message), ("D", detail), ("H", hint))
    body = b"".join(code.encode() + _tolerant(text) + b"\0" for code, text in fields if text)
    return _message(kind, body + b"\0")


def _tolerant(text: str) -> bytes:
    text = text.replace("\0", " ")
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def row_description(columns: Sequence[tuple[str, int]]) -> bytes:
    """RowDescription of computed columns, each with its name and type OID, in text format."""
    parts = [_count("columns", len(columns))]
    for name, type_oid in columns:
        parts += (_text("column", name), b"\0\0\0\0\0\0", _integer(name, type_oid, signed=False), _ANY_SIZE)
    return _message(b"T", b"".join(parts))


def data_row(values: Sequence[bytes | None]) -> bytes:
    """DataRow; ``None`` is NULL."""
    return _message(b"D", _values("values", values))


def command_complete(tag: str) -> bytes:
    """CommandComplete with a tag such as ``SELECT 1``."""
    return _message(b"C", _text("tag", tag))


def empty_query_response() -> bytes:
    """EmptyQueryResponse: stands for CommandComplete after a query without a statement."""
    return _message(b"I", b"")


# --- what a client says -------------------------------------------------------------------------------------


def startup_message(parameters: Mapping[str, str], *, minor: int = 0) -> bytes:
    """StartupMessage of protocol 3 with ``user`` and whatever else the session starts with.

    Raises:
        ValidationError: A name is empty, which would end the list, or holds a NUL.
    """
    parts: list[bytes] = []
    for name, value in parameters.items():
        if not name:
            raise ValidationError("parameters: a name is empty, which would end the list; name it")
        parts += (_text("parameter", name), _text(name, value))
    return _packet((PROTOCOL_MAJOR << 16) | minor, b"".join(parts) + b"\0")


def ssl_request() -> bytes:
    """SSLRequest; the answer is one byte, ``S`` or ``N`` (or an ErrorResponse)."""
    return _packet(SSL_REQUEST_CODE, b"")


def cancel_request(pid: int, key: bytes) -> bytes:
    """CancelRequest with the numbers of a BackendKeyData; goes over a connection of its own."""
    return _packet(CANCEL_REQUEST_CODE, _integer("pid", pid, signed=True) + key)


def _packet(code: int, body: bytes) -> bytes:
    return (len(body) + 8).to_bytes(4, "big") + _integer("minor", code, signed=True) + body


def password_message(data: bytes) -> bytes:
    """PasswordMessage; the terminator is added here, ``ValidationError`` if there is one inside."""
    if b"\0" in data:
        raise ValidationError("password: a NUL cannot travel in a PostgreSQL string; choose another password")
    return _message(b"p", data + b"\0")


def sasl_initial_response(mechanism: str, data: bytes) -> bytes:
    """SASLInitialResponse with the mechanism chosen and its first message."""
    return _message(b"p", _text("mechanism", mechanism) + len(data).to_bytes(4, "big") + data)


def sasl_response(data: bytes) -> bytes:
    """SASLResponse."""
    return _message(b"p", data)


def query(sql: str) -> bytes:
    """Query: one or more statements in the simple protocol."""
    return _message(b"Q", _text("sql", sql))


def parse(name: str, sql: str, types: Sequence[int] = ()) -> bytes:
    """Parse: prepare a statement; an OID of 0 leaves a parameter's type open."""
    oids = b"".join(_integer("type", oid, signed=False) for oid in types)
    return _message(b"P", _text("name", name) + _text("sql", sql) + _count("types", len(types)) + oids)


def bind(portal: str, statement: str, values: Sequence[bytes | None]) -> bytes:
    """Bind: all values and all results in text format; ``None`` is NULL."""
    names = _text("portal", portal) + _text("statement", statement)
    return _message(b"B", names + b"\0\0" + _values("values", values) + b"\0\0")


def describe_statement(name: str) -> bytes:
    """Describe of a prepared statement."""
    return _message(b"D", b"S" + _text("name", name))


def describe_portal(name: str) -> bytes:
    """Describe of a portal."""
    return _message(b"D", b"P" + _text("name", name))


def execute(portal: str = "", limit: int = 0) -> bytes:
    """Execute: run a portal for up to ``limit`` rows, 0 for all."""
    return _message(b"E", _text("portal", portal) + _integer("limit", limit, signed=True))


def close_statement(name: str) -> bytes:
    """Close of a prepared statement."""
    return _message(b"C", b"S" + _text("name", name))


def close_portal(name: str) -> bytes:
    """Close of a portal."""
    return _message(b"C", b"P" + _text("name", name))


def sync() -> bytes:
    """Sync: end of one part of a pipeline; answered by ReadyForQuery."""
    return _message(b"S", b"")


def flush() -> bytes:
    """Flush: send what is ready."""
    return _message(b"H", b"")


def terminate() -> bytes:
    """Terminate: the client leaves."""
    return _message(b"X", b"")


# --- parsers ------------------------------------------------------------------------------------------------


def parse_fields(body: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse, by their letters.

    ``S`` (severity), ``C`` (SQLSTATE) and ``M`` (message) are always there, so that a report that is empty or
    has no proper SQLSTATE is an error like any other: they read ``ERROR``, ``XX000`` and an empty text.

    Raises:
        ProtocolViolation: A field has no end, or something follows the last one.
    """
    fields = {"S": "ERROR", "C": INTERNAL_ERROR, "M": ""}
    offset = 0
    while offset < len(body) and body[offset]:
        code = chr(body[offset])
        raw, offset = cstring(body, offset + 1)
        fields[code] = decode(raw)
    if offset < len(body) - 1:
        raise ProtocolViolation("invalid message format")
    if not _SQLSTATE.fullmatch(fields["C"]):
        fields["C"] = INTERNAL_ERROR
    return fields


def parse_parameter_status(body: bytes) -> tuple[str, str]:
    """Name and value of a ParameterStatus; ``ProtocolViolation`` if it is malformed."""
    name, offset = cstring(body, 0)
    value, offset = cstring(body, offset)
    _ended(body, offset)
    return decode(name), decode(value)


def parse_backend_key_data(body: bytes) -> tuple[int, bytes]:
    """Process id and cancel key; ``ProtocolViolation`` if the key is not 4 to 256 bytes long."""
    if not KEY_BYTES_MIN <= len(body) - 4 <= KEY_BYTES_MAX:
        raise ProtocolViolation("invalid length of cancel key")
    return int.from_bytes(body[:4], "big", signed=True), body[4:]


def parse_data_row(body: bytes) -> list[bytes | None]:
    """The values of a DataRow, ``None`` for NULL; ``ProtocolViolation`` if lengths do not add up."""
    count = _number(body, 0, 2)
    values: list[bytes | None] = []
    offset = 2
    for _ in range(count):
        length = _number(body, offset, 4)
        offset += 4
        if length == _NULL:
            values.append(None)
            continue
        if length > len(body) - offset:
            raise ProtocolViolation("insufficient data left in message")
        values.append(body[offset : offset + length])
        offset += length
    _ended(body, offset)
    return values


def parse_row_description(body: bytes) -> list[Column]:
    """The columns of a RowDescription; ``ProtocolViolation`` if it is malformed."""
    columns = []
    offset = 2
    for _ in range(_number(body, 0, 2)):
        name, offset = cstring(body, offset)
        if len(body) - offset < _COLUMN.size:
            raise ProtocolViolation("insufficient data left in message")
        columns.append(Column(decode(name), *_COLUMN.unpack_from(body, offset)))
        offset += _COLUMN.size
    _ended(body, offset)
    return columns


def parse_authentication(body: bytes) -> tuple[int, bytes]:
    """Code and data of an authentication request; ``ProtocolViolation`` if there is no code."""
    return _number(body, 0, 4), body[4:]


def _number(body: bytes, offset: int, size: int) -> int:
    raw = body[offset : offset + size]
    if len(raw) < size:
        raise ProtocolViolation("insufficient data left in message")
    value = int.from_bytes(raw, "big", signed=size > _COUNT_BYTES)
    if value < _NULL:
        raise ProtocolViolation("invalid length in message")
    return value


def _ended(body: bytes, offset: int) -> None:
    if offset != len(body):
        raise ProtocolViolation("invalid message format")
