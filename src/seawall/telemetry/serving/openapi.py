"""The OpenAPI 3.1 document of a status API, made from its registry.

Types become JSON Schema 2020-12, which OpenAPI 3.1 takes as it is. Roles stand in the security
requirements, where 3.1 allows names of roles for schemes that know no scopes (OpenAPI 3.1.0, section
4.8.30). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from seawall.telemetry.serving.access import Access, Role
from seawall.telemetry.serving.health import HEALTH_PATHS, Probe
from seawall.telemetry.serving.problems import MEDIA_TYPE
from seawall.telemetry.serving.status import REFERENCE, Operation, StatusApi, properties_of

__all__ = ["document"]

_PROBLEM_NAME: Final = "ProblemDetails"
_HEALTH_NAME: Final = "HealthReport"
_SUMMARIES: Final = {Probe.LIVENESS: "Is the process alive?", Probe.READINESS: "Can it do its work?"}

_PROBLEM: Final[dict[str, Any]] = {
    "title": _PROBLEM_NAME,
    "description": "RFC 9457.",
    "type": "object",
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "correlation_id": {"type": "string"},
    },
    "required": ["type", "title", "status"],
}
_CHECK: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "status": {"enum": ["healthy", "unhealthy"]},
        "critical": {"type": "boolean"},
        "age_s": {"type": "number", "minimum": 0},
        "duration_s": {"type": "number", "minimum": 0},
        "reason": {"type": "string"},
        "details": {"type": "object"},
    },
    "required": ["status", "critical", "age_s"],
}
_HEALTH: Final[dict[str, Any]] = {
    "title": _HEALTH_NAME,
    "description": "Reasons and details of a check are shown to those who may read the status API.",
    "type": "object",
    "properties": {
        "status": {"enum": ["healthy", "degraded", "unhealthy"]},
        "probe": {"enum": ["liveness", "readiness"]},
        "uptime_s": {"type": "number", "minimum": 0},
        "checks": {"type": "object", "additionalProperties": _CHECK},
        "holds": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["status", "probe", "uptime_s", "checks"],
}


def document(api: StatusApi, access: Access) -> dict[str, Any]:
    """The document.

    Args:
        api: What is offered.
        access: Whether anything may be done without a token.
    """
    operations = api.operations()
    wanted = [kind for operation in operations for kind in _types(operation)]
    _, components = msgspec.json.schema_components(wanted, ref_template=REFERENCE)
    # Types of parameters are spelt out where they are used.
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        for number, path in enumerate((operation.path, *operation.aliases)):
            entry = _operation(operation, access)
            if number:
                entry["operationId"] += f"_{number}"
                entry["description"] = f"The same as `{operation.path}`."
            paths.setdefault(path, {})[operation.method.lower()] = entry
    for path, probe in HEALTH_PATHS.items():
        paths[path] = {"get": _health(path, _SUMMARIES[probe])}
    return {
        "openapi": "3.1.0",
        "info": {"title": api.title, "version": api.version},
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "paths": paths,
        "components": {
            "schemas": {**components, _PROBLEM_NAME: _PROBLEM, _HEALTH_NAME: _HEALTH},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _types(operation: Operation) -> Iterable[Any]:
    return (kind for kind in (operation.answer, operation.body) if kind is not None)


def _schema(kind: Any) -> dict[str, Any]:  # noqa: ANN401 -- a type
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=REFERENCE)
    return schema


def _operation(operation: Operation, access: Access) -> dict[str, Any]:
    security: list[dict[str, list[str]]] = [{"bearer": [operation.role.name.lower()]}]
    if access.open and access.anonymous >= operation.role:
        security.insert(0, {})
    entry: dict[str, Any] = {
        "operationId": operation.identifier,
        "summary": operation.summary or operation.name,
        "tags": [operation.name.partition("/")[0]],
        "security": security,
        "responses": _responses(operation),
    }
    if operation.parameters is not None:
        entry["parameters"] = _parameters(operation)
    if operation.body is not None:
        entry["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _schema(operation.body)}},
        }
    if operation.method == "POST":
        entry["description"] = f"Needs the role {operation.role.name.lower()} or above."
    return entry


def _responses(operation: Operation) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    if operation.answer is None:
        responses["204"] = {"description": "Done."}
    else:
        content = {"application/json": {"schema": _schema(operation.answer)}}
        responses["200"] = {"description": "The answer.", "content": content}
    responses["401"] = _problem("Nobody knows who asks.")
    if operation.role > Role.VIEWER:
        responses["403"] = _problem("The role does not allow it.")
    responses["default"] = _problem("Refused, or failed.")
    return responses


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    in_path = operation.path_parameters()
    found = []
    for name, schema in (properties_of(operation, operation.parameters) or {}).items():
        place = "path" if name in in_path else "query"
        required = place == "path" or "default" not in schema
        found.append({"name": name, "in": place, "required": required, "schema": schema})
    return found


def _health(path: str, summary: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": REFERENCE.format(name=_HEALTH_NAME)}}}
    return {
        "operationId": path.strip("/").replace("/", "_"),
        "summary": summary,
        "tags": ["health"],
        "security": [{}],
        "responses": {
            "200": {"description": "Yes.", "content": content},
            "503": {"description": "No; or too many ask.", "content": {**content, **_problem("")["content"]}},
        },
    }


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": REFERENCE.format(name=_PROBLEM_NAME)}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}
