"""Turns the registry of the status API into endpoints: reads parameters and bodies, calls, answers.

An error of the part that was asked becomes what :mod:`seawall.kernel.outcomes` says, with a correlation id;
the error itself goes to ``on_error`` and nowhere else. A failure there is swallowed: telling must not break
serving.
"""

from __future__ import annotations

import inspect
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from seawall.kernel.errors import PolicyError, UsageError
from seawall.kernel.ids import new_id
from seawall.telemetry.serving import openapi
from seawall.telemetry.serving.access import Access, Role
from seawall.telemetry.serving.endpoints import Answer, Endpoint, Handler, Request, header
from seawall.telemetry.serving.gate import Gate, read_body
from seawall.telemetry.serving.problems import ProblemDetails, Refused, of_error
from seawall.telemetry.serving.status import Operation, StatusApi, properties_of

__all__ = ["OPENAPI_PATH", "OnError", "operation_endpoints"]

OPENAPI_PATH: Final = "/openapi.json"
PARAMETERS_MAX: Final = 32
"""Fields of one query."""

OnError = Callable[[str, BaseException], object]
"""Told the correlation id and the error behind a failed operation."""


def operation_endpoints(
    api: StatusApi, gate: Gate, access: Access, *, on_error: OnError | None, local_only: bool
) -> dict[str, Endpoint]:
    """The endpoints by path, the document's included; closes the registry."""
    api.close()
    text = openapi.document(api, access)

    async def read_document(request: Request) -> Answer:
        # Paths are those of the API; where an application has mounted it is known by its requests only.
        servers = [{"url": request.scope.get("root_path") or "/"}]
        return Answer(body=msgspec.json.encode({**text, "servers": servers}))

    handlers: dict[str, dict[str, Handler]] = {OPENAPI_PATH: {"GET": read_document}}
    roles: dict[str, dict[str, Role | None]] = {OPENAPI_PATH: {"GET": Role.VIEWER}}
    for operation in api.operations():
        handler = _handler(operation, gate, on_error)
        for path in (operation.path, *operation.aliases):
            handlers.setdefault(path, {})[operation.method] = handler
            roles.setdefault(path, {})[operation.method] = operation.role
    return {
        path: Endpoint(gate, access, methods, roles[path], local_only=local_only)
        for path, methods in handlers.items()
    }


def _handler(operation: Operation, gate: Gate, on_error: OnError | None) -> Handler:
    fields = {} if operation.parameters is None else properties_of(operation, operation.parameters) or {}
    members = {} if operation.body is None else properties_of(operation, operation.body) or {}

    async def handle(request: Request) -> Answer:
        if operation.body is not None:
            given: tuple[object, ...] = (await _body(operation, request, gate, members), request.caller)
        elif operation.parameters is not None:
            given = (_parameters(operation, request, fields),)
        else:
            _no_query(request)
            given = ()
        try:
            result = operation.call(*given)
            if inspect.isawaitable(result):
                result = await result
            return _answer(operation, result, gate)
        except Refused:
            raise
        except Exception as error:  # noqa: BLE001 -- whatever a part raises is turned into an answer
            raise Refused(_told(error, on_error, gate)) from None

    return handle


def _answer(operation: Operation, result: object, gate: Gate) -> Answer:
    if operation.answer is None:
        return Answer(status=204, content_type="")
    # Whatever else the part returned stays here: the type is what was promised to readers.
    body = msgspec.json.encode(msgspec.convert(result, operation.answer))
    if len(body) > gate.limits.response_bytes:
        gate.too_large += 1
        raise Refused(
            ProblemDetails(
                status=500,
                detail=f"The answer has more than {gate.limits.response_bytes} bytes; ask for less of it.",
            )
        )
    return Answer(body=body)


def _told(error: BaseException, on_error: OnError | None, gate: Gate) -> ProblemDetails:
    correlation_id = new_id(secrets.token_bytes, time.time_ns() // 1_000_000)
    problem = of_error(error, correlation_id)
    if problem.status >= 500:
        gate.failed += 1
    if on_error is not None:
        with suppress(Exception):
            on_error(correlation_id, error)
    return problem


def _no_query(request: Request) -> None:
    if request.scope["query_string"]:
        raise Refused(ProblemDetails(status=400, detail="This path takes no parameters."))


def _parameters(operation: Operation, request: Request, fields: dict[str, Any]) -> object:
    try:
        pairs = parse_qsl(
            request.scope["query_string"].decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(request.scope["query_string"]),
            max_num_fields=PARAMETERS_MAX,
            errors="strict",
        )
    except ValueError:
        detail = f"The query is no list of up to {PARAMETERS_MAX} names and values."
        raise Refused(ProblemDetails(status=400, detail=detail)) from None
    in_path = operation.path_parameters()
    names = [name for name, _ in pairs]
    wrong = sorted({name for name in names if name not in fields or name in in_path or names.count(name) > 1})
    if wrong:
        allowed = ", ".join(name for name in fields if name not in in_path) or "none"
        detail = f"Unknown or repeated parameters; allowed are, once each: {allowed}."
        raise Refused(
            ProblemDetails(status=400, detail=detail, members={"parameters": [n[:64] for n in wrong]})
        )
    values = {**dict(pairs), **{name: request.scope["path_params"][name] for name in in_path}}
    try:
        return msgspec.convert(values, operation.parameters, strict=False)
    except (msgspec.ValidationError, UsageError, PolicyError) as error:
        raise Refused(ProblemDetails(status=400, detail=str(error))) from None


async def _body(operation: Operation, request: Request, gate: Gate, members: dict[str, Any]) -> object:
    # A browser sends this type across origins only after asking, and nobody answers that question: a web page
    # can't give orders.
    kind = (header(request.scope, b"content-type") or "").partition(";")[0].strip().lower()
    if kind != "application/json":
        detail = "The body has to be application/json, and its Content-Type has to say so."
        headers = {"Accept-Post": "application/json"}
        raise Refused(ProblemDetails(status=415, detail=detail, headers=headers))
    _no_query(request)
    raw = await read_body(request.scope, request.receive, gate)
    try:
        keys = msgspec.json.decode(raw)
        if isinstance(keys, dict) and (unknown := sorted(set(keys) - set(members))):
            detail = f"Unknown members; allowed are: {', '.join(members)}."
            shown = {"members": [key[:64] for key in unknown[:PARAMETERS_MAX]]}
            raise Refused(ProblemDetails(status=422, detail=detail, members=shown))
        return msgspec.json.decode(raw, type=operation.body)
    except (msgspec.ValidationError, UsageError, PolicyError) as error:
        # Raised by what reads the order: it speaks of the sender's own text.
        raise Refused(ProblemDetails(status=422, detail=str(error))) from None
    except (msgspec.DecodeError, RecursionError):
        raise Refused(ProblemDetails(status=400, detail="The body is no JSON.")) from None
