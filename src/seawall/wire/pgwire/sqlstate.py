"""The SQLSTATEs that a proxy sends or looks for, by PostgreSQL's names.

Source: PostgreSQL documentation, appendix A "PostgreSQL Error Codes". What a code says in detail (outcome,
worth of a retry) is told in ``seawall.kernel.outcomes``; here is the coarse question.
"""

from __future__ import annotations

from typing import Final

SUCCESSFUL_COMPLETION: Final = "00000"

CONNECTION_EXCEPTION: Final = "08000"
CONNECTION_DOES_NOT_EXIST: Final = "08003"
CONNECTION_FAILURE: Final = "08006"
CANNOT_CONNECT: Final = "08001"
CONNECTION_REJECTED: Final = "08004"
TRANSACTION_RESOLUTION_UNKNOWN: Final = "08007"
PROTOCOL_VIOLATION: Final = "08P01"

FEATURE_NOT_SUPPORTED: Final = "0A000"

INVALID_PARAMETER_VALUE: Final = "22023"

ACTIVE_SQL_TRANSACTION: Final = "25001"
READ_ONLY_SQL_TRANSACTION: Final = "25006"
NO_ACTIVE_SQL_TRANSACTION: Final = "25P01"
IN_FAILED_SQL_TRANSACTION: Final = "25P02"
IDLE_IN_TRANSACTION_TIMEOUT: Final = "25P03"
TRANSACTION_TIMEOUT: Final = "25P04"

INVALID_STATEMENT_NAME: Final = "26000"
INVALID_CURSOR_NAME: Final = "34000"

INVALID_AUTHORIZATION: Final = "28000"
INVALID_PASSWORD: Final = "28P01"  # noqa: S105 - an error code, no password

INVALID_CATALOG_NAME: Final = "3D000"

SERIALIZATION_FAILURE: Final = "40001"
STATEMENT_COMPLETION_UNKNOWN: Final = "40003"
DEADLOCK_DETECTED: Final = "40P01"

INSUFFICIENT_PRIVILEGE: Final = "42501"
SYNTAX_ERROR: Final = "42601"
UNDEFINED_OBJECT: Final = "42704"
DUPLICATE_PREPARED_STATEMENT: Final = "42P05"

INSUFFICIENT_RESOURCES: Final = "53000"
DISK_FULL: Final = "53100"
OUT_OF_MEMORY: Final = "53200"
TOO_MANY_CONNECTIONS: Final = "53300"
CONFIGURATION_LIMIT_EXCEEDED: Final = "53400"

PROGRAM_LIMIT_EXCEEDED: Final = "54000"

CANT_CHANGE_RUNTIME_PARAM: Final = "55P02"

QUERY_CANCELED: Final = "57014"
ADMIN_SHUTDOWN: Final = "57P01"
CRASH_SHUTDOWN: Final = "57P02"
CANNOT_CONNECT_NOW: Final = "57P03"
DATABASE_DROPPED: Final = "57P04"
IDLE_SESSION_TIMEOUT: Final = "57P05"

INTERNAL_ERROR: Final = "XX000"
DATA_CORRUPTED: Final = "XX001"
INDEX_CORRUPTED: Final = "XX002"

_AVAILABILITY_CLASSES: Final = frozenset({"08", "53", "XX"})
_SHUTDOWNS: Final = frozenset({ADMIN_SHUTDOWN, CRASH_SHUTDOWN, CANNOT_CONNECT_NOW})


def is_availability(code: str) -> bool:
    """Whether a server that reports this is in trouble itself, rather than its client.

    Classes 08 (connection), 53 (resources) and XX (internal error, corruption), and of class 57P those that
    end or refuse every session. A dropped database (57P04) and an idle session (57P05) are somebody's
    wish and say nothing about the server.
    """
    return code[:2] in _AVAILABILITY_CLASSES or code in _SHUTDOWNS
