"""What an exception or a result says about the party that was called.

One table for everybody: the kernel's for our own errors, SQLSTATEs, HTTP and gRPC codes; here only the
knowledge of where foreign exceptions keep their code, by shape and without importing their libraries:

* ``sqlstate`` (psycopg 3, asyncpg) or ``pgcode`` (psycopg2);
* ``response.status_code`` (httpx, requests), ``status`` (aiohttp) or ``code`` (urllib) as an HTTP status;
* ``code()`` returning a status with an integer ``value`` (grpcio);
* an exception that is no ``Exception`` (a cancelled task, ``GeneratorExit``, Ctrl-C) is outside cancellation:
  void.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final

from seawall.kernel.errors import CallRejected, Outcome, SeawallError, UsageError
from seawall.kernel.outcomes import (
    outcome_for_grpc,
    outcome_for_http,
    outcome_for_sqlstate,
    retry_after,
    row_for,
    sqlstate_retryable,
)

_NO_ROUTE: Final = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN})
_SEVERITY: Final = (
    Outcome.FAILED,
    Outcome.UNREACHABLE,
    Outcome.THROTTLED,
    Outcome.SLOW,
    Outcome.IGNORED,
    Outcome.VOID,
    Outcome.OK,
)
GROUP_LEAVES_MAX: Final = 100
"""Errors of a group that are looked at."""
RETRY_AFTER_MAX_S: Final = 86_400.0
"""A server that asks for more than a day is not believed."""

ErrorClassifier = Callable[[BaseException], Outcome | None]
ResultClassifier = Callable[[object], Outcome]


class Verdict:
    """What one ending of a call means.

    Attributes:
        outcome: for the breaker.
        retryable: whether the same call may succeed later.
        retry_after_s: when somebody said so, seconds from now.
    """

    __slots__ = ("outcome", "retry_after_s", "retryable")

    def __init__(self, outcome: Outcome, *, retryable: bool, retry_after_s: float | None = None) -> None:
        self.outcome: Outcome = outcome
        self.retryable: bool = retryable
        self.retry_after_s: float | None = retry_after_s

    def __repr__(self) -> str:
        return f"Verdict({self.outcome.name}, retryable={self.retryable}, retry_after_s={self.retry_after_s})"


class Classifier:
    """Classifies the endings of one guard's calls.

    Args:
        ignore: exceptions that are proper answers (tier 1), whatever the table says.
        failures: if given, only these are failures; other exceptions the table does not know are ignored.
        retry_on: if given, exactly these are retryable.
        by_error: asked first; ``None`` passes the question on.
        by_result: asked about every result; without it every result is good.
    """

    __slots__ = ("_by_error", "_failures", "_ignore", "_retry_on", "by_result")

    def __init__(
        self,
        *,
        ignore: tuple[type[BaseException], ...] = (),
        failures: tuple[type[BaseException], ...] = (),
        retry_on: tuple[type[BaseException], ...] = (),
        by_error: ErrorClassifier | None = None,
        by_result: ResultClassifier | None = None,
    ) -> None:
        self._ignore: Final = ignore
        self._failures: Final = failures
        self._retry_on: Final = retry_on
        self._by_error: Final = by_error
        self.by_result: Final = by_result

    def error(self, error: BaseException) -> Verdict:
        """The verdict on an exception."""
        if not isinstance(error, Exception):
            return Verdict(Outcome.VOID, retryable=False)
        verdict = self._known(error)
        if self._retry_on:
            verdict.retryable = isinstance(error, self._retry_on)
        return verdict

    def result(self, value: object) -> Verdict:
        """The verdict on a result."""
        if self.by_result is None:
            return Verdict(Outcome.OK, retryable=False)
        # A plain number that means an outcome will do, anything else is the classifier's error.
        outcome = _outcome(self.by_result(value))
        bad = outcome in {Outcome.FAILED, Outcome.UNREACHABLE, Outcome.THROTTLED}
        return Verdict(outcome, retryable=bad, retry_after_s=_retry_after_header(value) if bad else None)

    def _known(self, error: Exception) -> Verdict:
        if self._by_error is not None:
            said = self._by_error(error)
            if said is not None:
                outcome = _outcome(said)
                return Verdict(outcome, retryable=_transient(outcome), retry_after_s=retry_after(error))
        if isinstance(error, self._ignore):
            return Verdict(Outcome.IGNORED, retryable=False)
        if isinstance(error, self._failures):
            return Verdict(Outcome.FAILED, retryable=True)
        if isinstance(error, ExceptionGroup):
            return self._worst(error)
        verdict = by_shape(error)
        if verdict is not None:
            return verdict
        return Verdict(Outcome.IGNORED if self._failures else Outcome.FAILED, retryable=False)

    def _worst(self, group: ExceptionGroup[Exception]) -> Verdict:
        """The verdict on the worst of a group, as a task group raises it; a retry has to help them all."""
        leaves: list[Exception] = []
        todo: list[Exception] = list(group.exceptions)
        while todo and len(leaves) < GROUP_LEAVES_MAX:
            one = todo.pop()
            if isinstance(one, ExceptionGroup):
                todo.extend(one.exceptions)
            else:
                leaves.append(one)
        verdicts = [self._known(leaf) for leaf in leaves]
        worst = min(verdicts, key=lambda verdict: _SEVERITY.index(verdict.outcome))
        waits = [verdict.retry_after_s for verdict in verdicts if verdict.retry_after_s is not None]
        return Verdict(
            worst.outcome,
            retryable=all(verdict.retryable for verdict in verdicts),
            retry_after_s=max(waits, default=None),
        )


def _outcome(said: int) -> Outcome:
    """What a user's classifier said; a number that means an outcome will do, a truth value will not."""
    if isinstance(said, bool):
        raise UsageError(f"a classifier said {said!r}: it has to give an Outcome, such as Outcome.FAILED")
    return Outcome(said)


def by_shape(error: Exception) -> Verdict | None:
    """The verdict on an exception that carries a code we know, else ``None``."""
    if isinstance(error, SeawallError):
        row = row_for(error)
        retryable = row.retryable and not isinstance(error, CallRejected)
        return Verdict(row.outcome, retryable=retryable, retry_after_s=retry_after(error))
    sqlstate = _text(error, "sqlstate") or _text(error, "pgcode")
    if sqlstate is not None:
        return Verdict(outcome_for_sqlstate(sqlstate), retryable=sqlstate_retryable(sqlstate))
    status = _http_status(error)
    if status is not None:
        outcome = outcome_for_http(status)
        # An exception for a status below 400 is the client library's trouble with the answer, not a success.
        outcome = Outcome.FAILED if outcome is Outcome.OK else outcome
        response = _attribute(error, "response")
        said_by = error if response is None else response
        return Verdict(outcome, retryable=_transient(outcome), retry_after_s=_retry_after_header(said_by))
    grpc = _grpc_status(error)
    if grpc is not None:
        outcome = outcome_for_grpc(grpc)
        return Verdict(outcome, retryable=_transient(outcome))
    if isinstance(error, TimeoutError):
        return Verdict(Outcome.FAILED, retryable=True)
    if isinstance(error, ConnectionError) or _no_way_there(error):
        return Verdict(Outcome.UNREACHABLE, retryable=True)
    return None


def _no_way_there(error: Exception) -> bool:
    """Whether the network says that there is no route, or the resolver that there is no such host."""
    if not isinstance(error, OSError):
        return False
    return error.errno in _NO_ROUTE or type(error).__name__ in {"gaierror", "herror"}


def _transient(outcome: Outcome) -> bool:
    return outcome is Outcome.UNREACHABLE or outcome is Outcome.THROTTLED


def _attribute(holder: object, name: str) -> object:
    """An attribute of a foreign object, ``None`` if it has none or its property fails."""
    try:
        return getattr(holder, name, None)
    except Exception:  # noqa: BLE001 -- whatever it raises must not replace the error that is being judged
        return None


def _text(error: object, name: str) -> str | None:
    value = _attribute(error, name)
    return value if isinstance(value, str) else None


def _http_status(error: object) -> int | None:
    response = _attribute(error, "response")
    for holder, name in ((response, "status_code"), (response, "status"), (error, "status"), (error, "code")):
        value = _attribute(holder, name)
        if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599:
            return value
    return None


def _grpc_status(error: object) -> int | None:
    code = _attribute(error, "code")
    if not callable(code):
        return None
    try:
        value = _attribute(code(), "value")
    except Exception:  # noqa: BLE001 -- some other library's ``code``, which is no gRPC status
        return None
    # grpcio's StatusCode members hold a pair of number and text.
    number = value[0] if isinstance(value, tuple) and value else value
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _retry_after_header(response: object) -> float | None:
    """The ``Retry-After`` header in seconds (RFC 9110, 10.2.3); its date form needs a wall clock."""
    get = _attribute(_attribute(response, "headers"), "get")
    if not callable(get):
        return None
    try:
        text = get("Retry-After") or get("retry-after")
    except Exception:  # noqa: BLE001 -- foreign code; what it raises must not replace the user's error
        return None
    if not isinstance(text, str) or not (text.isascii() and text.isdigit() and len(text) <= 6):
        return None
    return min(float(text), RETRY_AFTER_MAX_S)
