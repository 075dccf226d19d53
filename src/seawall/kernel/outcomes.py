"""One table that says what each error means on every wire, and what each wire's code says about the callee.

:data:`TABLE` is read in both directions: a server answers with the codes of the row that :func:`row_for`
finds; a client turns the code that it received into an :class:`~seawall.kernel.errors.Outcome`. Foreign
codes (SQLSTATE, HTTP, gRPC) get their outcome from the tables below it, each line with its reason.

It is no classifier of exception types of other libraries (``resilience.classify`` is) and formats no
messages for a protocol. The guard, the protocol packages and the function host call it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from seawall.kernel import errors
from seawall.kernel.errors import Outcome, Tier

__all__ = [
    "TABLE",
    "ErrorRow",
    "outcome_for_grpc",
    "outcome_for_http",
    "outcome_for_jsonrpc",
    "outcome_for_sqlstate",
    "public_message",
    "retry_after",
    "row_for",
    "sqlstate_retryable",
]


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """What one kind of error means everywhere.

    Attributes:
        kind: The error's class in :mod:`seawall.kernel.errors`.
        tier: Whose fault it is.
        jsonrpc: JSON-RPC 2.0 error code.
        http: HTTP status (RFC 9110).
        grpc: gRPC status number.
        grpc_name: gRPC status name.
        sqlstate: SQLSTATE that a SQL client gets (PostgreSQL, appendix A); two characters name its class.
        retryable: Whether the same call may succeed later, unchanged.
        outcome: What the error says about the callee, when this process sees it raised.
        public: What a client may read when the error's own text must not leave the host.
    """

    kind: type[errors.SeawallError]
    tier: Tier
    jsonrpc: int
    http: int
    grpc: int
    grpc_name: str
    sqlstate: str
    retryable: bool
    outcome: Outcome
    public: str


_UNAVAILABLE: Final = "The service is not available at the moment."
_TOO_MANY: Final = "Too many calls."
_TOO_LATE: Final = "The call took too long."
_INTERNAL: Final = "An internal error occurred."

# Choices that are not obvious:
# - Own timeouts and broken functions are tier 1 in the reference, yet they are faults of the callee: FAILED.
# - Rejections are VOID: nothing was sent, so nothing was learnt, and an outer breaker does not open because
#   an inner one did. They are not retryable, or every rejection would come back as more load.
# - A timeout is retryable in principle; whether time and idempotence allow it is decided where the retry is.
# - JSON-RPC 2.0 reserves -32503, but the reference's clients know it, so it stays.
# fmt: off
TABLE: Final[tuple[ErrorRow, ...]] = (
    ErrorRow(errors.ValidationError, Tier.FUNCTION, -32001, 400, 3, "INVALID_ARGUMENT", "22023",
             False, Outcome.IGNORED, "The arguments are not valid."),
    ErrorRow(errors.BusinessRuleError, Tier.FUNCTION, -32002, 422, 9, "FAILED_PRECONDITION", "P0001",
             False, Outcome.IGNORED, "A business rule forbids this."),
    ErrorRow(errors.AuthorizationError, Tier.FUNCTION, -32003, 403, 7, "PERMISSION_DENIED", "42501",
             False, Outcome.IGNORED, "Not allowed."),
    ErrorRow(errors.NotFoundError, Tier.FUNCTION, -32004, 404, 5, "NOT_FOUND", "P0002",
             False, Outcome.IGNORED, "Not found."),
    ErrorRow(errors.ConflictError, Tier.FUNCTION, -32005, 409, 6, "ALREADY_EXISTS", "23505",
             False, Outcome.IGNORED, "It exists already or has changed."),
    ErrorRow(errors.RateLimitedError, Tier.FUNCTION, -32006, 429, 8, "RESOURCE_EXHAUSTED", "53400",
             True, Outcome.THROTTLED, _TOO_MANY),
    ErrorRow(errors.FunctionTimeoutError, Tier.FUNCTION, -32007, 504, 4, "DEADLINE_EXCEEDED", "57014",
             True, Outcome.FAILED, _TOO_LATE),
    ErrorRow(errors.InternalError, Tier.FUNCTION, -32603, 500, 13, "INTERNAL", "XX000",
             False, Outcome.FAILED, _INTERNAL),
    ErrorRow(errors.AvailabilityError, Tier.AVAILABILITY, -32503, 503, 14, "UNAVAILABLE", "57P03",
             True, Outcome.UNREACHABLE, _UNAVAILABLE),
    ErrorRow(errors.ServiceUnavailable, Tier.AVAILABILITY, -32503, 503, 14, "UNAVAILABLE", "57P03",
             True, Outcome.UNREACHABLE, _UNAVAILABLE),
    ErrorRow(errors.CallRejected, Tier.AVAILABILITY, -32503, 503, 14, "UNAVAILABLE", "57P03",
             False, Outcome.VOID, _UNAVAILABLE),
    ErrorRow(errors.BreakerOpen, Tier.AVAILABILITY, -32503, 503, 14, "UNAVAILABLE", "57P03",
             False, Outcome.VOID, _UNAVAILABLE),
    ErrorRow(errors.BulkheadFull, Tier.AVAILABILITY, -32503, 503, 14, "UNAVAILABLE", "53300",
             False, Outcome.VOID, _UNAVAILABLE),
    ErrorRow(errors.RateExceeded, Tier.AVAILABILITY, -32006, 429, 8, "RESOURCE_EXHAUSTED", "53400",
             False, Outcome.VOID, _TOO_MANY),
    ErrorRow(errors.DeadlineExceeded, Tier.AVAILABILITY, -32007, 504, 4, "DEADLINE_EXCEEDED", "57014",
             True, Outcome.FAILED, _TOO_LATE),
    ErrorRow(errors.InfrastructureError, Tier.INFRASTRUCTURE, -32503, 503, 14, "UNAVAILABLE", "58000",
             True, Outcome.UNREACHABLE, _UNAVAILABLE),
    ErrorRow(errors.DatabaseUnavailable, Tier.INFRASTRUCTURE, -32503, 503, 14, "UNAVAILABLE", "08001",
             True, Outcome.UNREACHABLE, _UNAVAILABLE),
    ErrorRow(errors.BrokerUnavailable, Tier.INFRASTRUCTURE, -32503, 503, 14, "UNAVAILABLE", "08001",
             True, Outcome.UNREACHABLE, _UNAVAILABLE),
)
# fmt: on

_ROWS: Final[Mapping[type, ErrorRow]] = {row.kind: row for row in TABLE}
_INTERNAL_ROW: Final = _ROWS[errors.InternalError]

# SQLSTATE prefixes (PostgreSQL 16, appendix A) with outcome and retryability; the longest that matches wins.
_SQLSTATES: Final[Mapping[str, tuple[Outcome, bool]]] = {
    "00": (Outcome.OK, False),  # successful completion
    "01": (Outcome.OK, False),  # warning: the statement was done
    "02": (Outcome.OK, False),  # no data: an answer like any other
    "03": (Outcome.IGNORED, False),  # statement not yet complete: the client's own mistake
    "08": (Outcome.UNREACHABLE, True),  # connection exception
    "08P01": (Outcome.FAILED, False),  # protocol violation: somebody answered, and repeating repeats it
    "0A": (Outcome.IGNORED, False),  # feature not supported
    "0B": (Outcome.IGNORED, False),  # invalid transaction initiation
    "0L": (Outcome.IGNORED, False),  # invalid grantor
    "0P": (Outcome.IGNORED, False),  # invalid role
    "20": (Outcome.IGNORED, False),  # case not found
    "21": (Outcome.IGNORED, False),  # cardinality violation
    "22": (Outcome.IGNORED, False),  # data exception
    "23": (Outcome.IGNORED, False),  # integrity constraint violation
    "24": (Outcome.IGNORED, False),  # invalid cursor state
    "25": (Outcome.IGNORED, False),  # invalid transaction state
    "25006": (
        Outcome.FAILED,
        True,
    ),  # read-only transaction: this server is a standby now, another one is not
    "25P03": (Outcome.IGNORED, True),  # idle in transaction too long: the client's fault; a new session works
    "26": (Outcome.IGNORED, False),  # invalid statement name
    "27": (Outcome.IGNORED, False),  # triggered data change violation
    "28": (Outcome.IGNORED, False),  # invalid authorization: the server lives and knows who it wants
    "2B": (Outcome.IGNORED, False),  # dependent privileges exist
    "2D": (Outcome.IGNORED, False),  # invalid transaction termination
    "2F": (Outcome.IGNORED, False),  # SQL routine exception
    "34": (Outcome.IGNORED, False),  # invalid cursor name
    "38": (Outcome.IGNORED, False),  # external routine exception
    "39": (Outcome.IGNORED, False),  # external routine invocation exception
    "3B": (Outcome.IGNORED, False),  # savepoint exception
    "3D": (Outcome.IGNORED, False),  # invalid catalog name
    "3F": (Outcome.IGNORED, False),  # invalid schema name
    "40": (
        Outcome.IGNORED,
        True,
    ),  # rolled back (serialization failure, deadlock): contention, not ill health
    "40002": (Outcome.IGNORED, False),  # rolled back by a constraint: will be again
    "40003": (Outcome.FAILED, False),  # completion unknown: repeating may do it twice
    "42": (Outcome.IGNORED, False),  # syntax error or access rule violation
    "44": (Outcome.IGNORED, False),  # WITH CHECK OPTION violation
    "53": (Outcome.FAILED, True),  # insufficient resources (disk, memory)
    "53300": (Outcome.THROTTLED, True),  # too many connections: alive, asks for less
    "53400": (Outcome.THROTTLED, True),  # configuration limit exceeded
    "54": (Outcome.IGNORED, False),  # program limit exceeded: the statement is too complex
    "55": (Outcome.IGNORED, False),  # object not in prerequisite state
    "55P03": (Outcome.IGNORED, True),  # lock not available: contention
    "57": (Outcome.FAILED, True),  # operator intervention
    "57014": (
        Outcome.FAILED,
        True,
    ),  # canceled, mostly by statement_timeout; who sent a cancel knows it is VOID
    "57P01": (Outcome.UNREACHABLE, True),  # admin shutdown
    "57P02": (Outcome.UNREACHABLE, True),  # crash shutdown
    "57P03": (Outcome.UNREACHABLE, True),  # cannot connect now: starting up or recovering
    "57P04": (Outcome.FAILED, False),  # database dropped
    "57P05": (Outcome.IGNORED, True),  # idle session timeout: as configured
    "58": (Outcome.FAILED, True),  # system error outside PostgreSQL (I/O)
    "72": (Outcome.IGNORED, True),  # snapshot too old
    "F0": (Outcome.FAILED, False),  # configuration file error
    "HV": (Outcome.FAILED, False),  # foreign data wrapper error
    "P0": (Outcome.IGNORED, False),  # raised by PL/pgSQL: the business speaking
    "XX": (Outcome.FAILED, False),  # internal error, corruption
}

_HTTP: Final[Mapping[int, Outcome]] = {
    408: Outcome.FAILED,  # the server gave up waiting: an own timeout
    425: Outcome.THROTTLED,  # too early
    429: Outcome.THROTTLED,
    499: Outcome.VOID,  # nginx: the client went away
    501: Outcome.IGNORED,  # not implemented: a property of the request, not of health
    502: Outcome.UNREACHABLE,  # a gateway could not reach the callee
    503: Outcome.UNREACHABLE,  # says itself that it does not serve
    505: Outcome.IGNORED,
}

# gRPC status numbers (grpc.github.io/grpc/core/md_doc_statuscodes.html).
_GRPC: Final[Mapping[int, Outcome]] = {
    0: Outcome.OK,
    1: Outcome.VOID,  # CANCELLED, typically by the caller
    2: Outcome.FAILED,  # UNKNOWN
    3: Outcome.IGNORED,  # INVALID_ARGUMENT
    4: Outcome.FAILED,  # DEADLINE_EXCEEDED
    5: Outcome.IGNORED,  # NOT_FOUND
    6: Outcome.IGNORED,  # ALREADY_EXISTS
    7: Outcome.IGNORED,  # PERMISSION_DENIED
    8: Outcome.THROTTLED,  # RESOURCE_EXHAUSTED
    9: Outcome.IGNORED,  # FAILED_PRECONDITION
    10: Outcome.IGNORED,  # ABORTED: contention
    11: Outcome.IGNORED,  # OUT_OF_RANGE
    12: Outcome.IGNORED,  # UNIMPLEMENTED
    13: Outcome.FAILED,  # INTERNAL
    14: Outcome.UNREACHABLE,  # UNAVAILABLE
    15: Outcome.FAILED,  # DATA_LOSS
    16: Outcome.IGNORED,  # UNAUTHENTICATED
}

_JSONRPC: Final[Mapping[int, Outcome]] = {
    -32700: Outcome.IGNORED,  # parse error: we sent rubbish
    -32600: Outcome.IGNORED,  # invalid request
    -32601: Outcome.IGNORED,  # method not found
    -32602: Outcome.IGNORED,  # invalid params
    # A rejection shares its code with the real thing; on the wire the real thing is what it means.
    **{row.jsonrpc: row.outcome for row in TABLE if row.outcome is not Outcome.VOID},
}


def row_for(error: BaseException) -> ErrorRow:
    """Find what an error means.

    Args:
        error: Any exception.

    Returns:
        The row of its class or of the nearest base class; the row of ``InternalError`` for everything else,
        because a foreign error's text may hold anything.
    """
    for kind in type(error).__mro__:
        row = _ROWS.get(kind)
        if row is not None:
            return row
    return _INTERNAL_ROW


def outcome_for_sqlstate(sqlstate: str) -> Outcome:
    """Judge the callee by a SQLSTATE, by its longest known prefix; unknown ones are ``FAILED``."""
    return _sqlstate_verdict(sqlstate)[0]


def sqlstate_retryable(sqlstate: str) -> bool:
    """Whether the transaction that this SQLSTATE ended may succeed when it is repeated from its start."""
    return _sqlstate_verdict(sqlstate)[1]


def outcome_for_http(status: int) -> Outcome:
    """Judge the callee by an HTTP status.

    Below 400 it is ``OK``; other 4xx are the caller's fault and ``IGNORED``; 5xx and what is no status at
    all are ``FAILED``.
    """
    known = _HTTP.get(status)
    if known is not None:
        return known
    if 100 <= status < 400:
        return Outcome.OK
    return Outcome.IGNORED if 400 <= status < 500 else Outcome.FAILED


def outcome_for_grpc(status: int) -> Outcome:
    """Judge the callee by a gRPC status number; unknown ones are ``FAILED``, like ``UNKNOWN`` itself."""
    return _GRPC.get(status, Outcome.FAILED)


def outcome_for_jsonrpc(code: int) -> Outcome:
    """Judge the callee by a JSON-RPC error code.

    Codes outside the reserved range -32768 to -32000 belong to the application and are ``IGNORED``; unknown
    ones inside it are ``FAILED``.
    """
    known = _JSONRPC.get(code)
    if known is not None:
        return known
    return Outcome.FAILED if -32768 <= code <= -32000 else Outcome.IGNORED


def public_message(error: BaseException, correlation_id: str) -> str:
    """The text that a client may see.

    Args:
        error: Any exception.
        correlation_id: What the operator finds the full error by.

    Returns:
        A tier-1 error's own text, which its author wrote for the caller; for everything else a fixed text
        and the correlation id, so that no internal name, value or stack trace leaves the host.
    """
    row = row_for(error)
    if isinstance(error, errors.FunctionError) and row is not _INTERNAL_ROW:
        return error.message or row.public
    return f"{row.public} (correlation id {correlation_id})"


def retry_after(error: BaseException) -> float | None:
    """Seconds after which a call is welcome, as callee or local guard said; ``None`` if neither did."""
    if isinstance(error, errors.CallRejected | errors.ServiceUnavailable | errors.RateLimitedError):
        return error.retry_after_s
    return None


def _sqlstate_verdict(sqlstate: str) -> tuple[Outcome, bool]:
    for length in (5, 2):
        verdict = _SQLSTATES.get(sqlstate[:length])
        if verdict is not None:
            return verdict
    return Outcome.FAILED, False
