"""The document is OpenAPI 3.1, held against its published structure, and says what is served."""

import asyncio
import re
from typing import Any, Literal

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from seawall.telemetry.serving import Checks, openapi, status_routes
from seawall.telemetry.serving.access import Access
from seawall.telemetry.serving.status import StatusApi
from tests.telemetry.serving.serving import TOKENS, VIEWER, Backend, Which, an_api, bearer, running

# The objects of OpenAPI 3.1.0, section 4.8, as far as a document without callbacks, links and examples has
# them. Nothing else is let through: a misspelt key is an error, as it is for the published schema.


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Info(Strict):
    title: str
    version: str


class MediaType(Strict):
    schema: dict[str, Any]


class Parameter(Strict):
    name: str
    place: Literal["path", "query"] = msgspec.field(name="in")
    schema: dict[str, Any]
    required: bool = False


class RequestBody(Strict):
    content: dict[str, MediaType]
    required: bool = False


class Response(Strict):
    description: str
    content: dict[str, MediaType] = {}


class Operation(Strict, rename={"operation_id": "operationId", "request_body": "requestBody"}):
    operation_id: str
    responses: dict[str, Response]
    tags: list[str] = []
    summary: str = ""
    description: str = ""
    parameters: list[Parameter] = []
    request_body: RequestBody | None = None
    security: list[dict[str, list[str]]] = []


class PathItem(Strict):
    get: Operation | None = None
    post: Operation | None = None


class SecurityScheme(Strict):
    type: Literal["http"]
    scheme: Literal["bearer"]


class Components(Strict, rename={"security_schemes": "securitySchemes"}):
    schemas: dict[str, dict[str, Any]]
    security_schemes: dict[str, SecurityScheme]


class Server(Strict):
    url: str


class Document(Strict, rename={"dialect": "jsonSchemaDialect"}):
    openapi: Literal["3.1.0"]
    info: Info
    paths: dict[str, PathItem]
    components: Components
    dialect: str
    servers: list[Server] = []


TYPES = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}
KEYWORDS = {
    "$ref",
    "type",
    "properties",
    "required",
    "items",
    "enum",
    "anyOf",
    "additionalProperties",
    "minimum",
}
KEYWORDS |= {"title", "description", "default", "format"}


def fits(value, schema, schemas):
    """Whether a value fits a JSON schema; a keyword that isn't understood here is an error, not a yes."""
    assert set(schema) <= KEYWORDS, schema
    if "$ref" in schema:
        return fits(value, schemas[schema["$ref"].removeprefix("#/components/schemas/")], schemas)
    if "anyOf" in schema:
        return any(fits(value, each, schemas) for each in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    if "type" in schema and not isinstance(value, TYPES[schema["type"]]):
        return False
    if isinstance(value, bool) and schema.get("type") in {"integer", "number"}:
        return False
    if "minimum" in schema and value < schema["minimum"]:
        return False
    if isinstance(value, list):
        return all(fits(each, schema.get("items", {}), schemas) for each in value)
    if isinstance(value, dict):
        more = schema.get("additionalProperties", {})
        known = schema.get("properties", {})
        return set(schema.get("required", ())) <= set(value) and all(
            fits(each, known.get(key, more), schemas) for key, each in value.items()
        )
    return True


def an_api_with_parameters():
    api = an_api()
    api.resource(
        "backends/{backend}", Backend, lambda which: Backend(which.backend, "open"), parameters=Which
    )
    return api


def document(api=None, access=None):
    made = openapi.document(api or an_api_with_parameters(), access or Access(tokens=TOKENS))
    return made, msgspec.convert(made, Document)


def references(node):
    if isinstance(node, dict):
        yield from ([node["$ref"]] if "$ref" in node else [])
        for each in node.values():
            yield from references(each)
    elif isinstance(node, list):
        for each in node:
            yield from references(each)


def test_it_has_the_structure_of_openapi() -> None:
    _, read = document()
    assert read.info == Info("Seawall status", "1.0.0")
    assert sorted(read.paths) == [
        "/api/v1/backends/{backend}",
        "/api/v1/breakers/force",
        "/api/v1/circuit-breaker/status",
        "/circuit-breaker/status",
        "/health",
        "/healthz/live",
        "/healthz/ready",
        "/ready",
    ]


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    made, read = document()
    found = set(references(made))
    assert found == {f"#/components/schemas/{name}" for name in read.components.schemas}
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in read.components.schemas)


def test_operations_are_named_apart_and_every_parameter_of_a_path_is_declared() -> None:
    _, read = document()
    names = []
    for path, item in read.paths.items():
        for operation in filter(None, (item.get, item.post)):
            names.append(operation.operation_id)
            in_path = {parameter.name for parameter in operation.parameters if parameter.place == "path"}
            assert in_path == set(re.findall(r"\{(\w+)\}", path))
            assert all(parameter.required for parameter in operation.parameters if parameter.place == "path")
            assert operation.responses
    assert len(names) == len(set(names)) == 8


def test_parameters_of_the_query_are_declared_with_their_defaults() -> None:
    _, read = document()
    (_, limit) = read.paths["/api/v1/backends/{backend}"].get.parameters
    assert (limit.name, limit.place, limit.required, limit.schema) == (
        "limit",
        "query",
        False,
        {"type": "integer", "default": 10},
    )


def test_roles_stand_in_the_security_requirements() -> None:
    _, closed = document()
    _, opened = document(access=Access())
    path = closed.paths["/api/v1/circuit-breaker/status"]
    assert path.get.security == [{"bearer": ["viewer"]}]
    assert opened.paths["/api/v1/circuit-breaker/status"].get.security == [{}, {"bearer": ["viewer"]}]
    assert opened.paths["/api/v1/breakers/force"].post.security == [{"bearer": ["operator"]}]


def test_an_empty_api_has_a_document_too() -> None:
    _, read = document(api=StatusApi("empty", "2"))
    assert sorted(read.paths) == ["/health", "/healthz/live", "/healthz/ready", "/ready"]


@pytest.mark.parametrize("spoil", [{"path": {}}, {"openapi": "3.0.0"}, {"info": {"title": "x"}}])
def test_the_structure_is_really_checked(spoil) -> None:
    made, _ = document()
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**made, **spoil}, Document)


def test_what_is_served_fits_what_is_documented() -> None:
    async def scenario(server, client):
        base, headers = server.status_url, bearer(VIEWER)
        spec = (await client.get(f"{base}/openapi.json", headers=headers)).json()
        paths = [
            "/api/v1/circuit-breaker/status",
            "/circuit-breaker/status",
            "/api/v1/backends/x",
            "/health",
            "/ready",
        ]
        answers = {path: await client.get(base + path, headers=headers) for path in paths}
        answers["/api/v1/backends/{backend}"] = answers.pop("/api/v1/backends/x")
        refused = await client.get(f"{base}/api/v1/backends/x")
        return spec, answers, refused

    spec, answers, refused = running(scenario, api=an_api_with_parameters(), access=Access(tokens=TOKENS))
    schemas = spec["components"]["schemas"]
    assert spec.pop("servers") == [{"url": "/"}]
    assert spec == msgspec.json.decode(msgspec.json.encode(document()[0]))
    for path, answer in answers.items():
        schema = spec["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert answer.status_code == 200
        assert fits(answer.json(), schema, schemas), path
        assert not fits({"wrong": 1}, schema, schemas)
    assert refused.status_code == 401
    assert fits(refused.json(), schemas["ProblemDetails"], schemas)


def test_every_route_that_is_served_is_documented_and_no_other() -> None:
    api = an_api_with_parameters()
    routes = status_routes(api, Checks(), access=Access(tokens=TOKENS))
    made, _ = document(api=api)
    assert {route.path for route in routes} == {*made["paths"], "/openapi.json"}


def test_the_document_says_where_an_application_has_mounted_it() -> None:
    routes = status_routes(an_api(), Checks(), access=Access(tokens=TOKENS))
    app = Starlette(routes=[Mount("/internal", routes=routes)])

    async def main():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app.example") as client:
            return await client.get("/internal/openapi.json", headers=bearer(VIEWER))

    assert asyncio.run(main()).json()["servers"] == [{"url": "/internal"}]
