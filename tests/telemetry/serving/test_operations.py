"""Reading and ordering over HTTP: parameters, bodies, errors, and nothing internal in any answer."""

from dataclasses import dataclass

import pytest

from seawall.kernel.errors import BreakerOpen, NotFoundError, UsageError
from seawall.telemetry.serving import Access, Limits, Role, StatusApi
from tests.telemetry.serving.serving import (
    ADMIN,
    OPERATOR,
    SECRET,
    TOKENS,
    VIEWER,
    Backend,
    Force,
    Which,
    an_api,
    bearer,
    running,
)

FORCE = "/api/v1/breakers/force"


@dataclass(frozen=True)
class Picky:
    """Refuses what it doesn't like, as the kernel's commands do."""

    mode: str

    def __post_init__(self):
        if self.mode != "open":
            raise UsageError(f"mode = {self.mode!r}: allowed is open")


@dataclass(frozen=True)
class Whole:
    """Has more fields than anybody promised."""

    backend: str
    circuit_state: str
    error_rate: float
    password: str


def asked(method, path, *, api=None, token=None, limits=None, on_error=None, access=None, **how):
    """One request; a token unless a test says none."""

    async def scenario(server, client):
        headers = {**bearer(token or ADMIN), **how.pop("headers", {})}
        return await client.request(method, server.status_url + path, headers=headers, **how)

    access = Access(tokens=TOKENS) if access is None else access
    return running(scenario, api=api, access=access, limits=limits, on_error=on_error)


def offering(read, *, schema=Backend, **more):
    api = StatusApi()
    api.resource("x", schema, read, **more)
    return api


def test_a_resource_is_read_on_its_path_and_its_alias() -> None:
    for path in ("/api/v1/circuit-breaker/status", "/circuit-breaker/status"):
        answer = asked("GET", path, token=VIEWER)
        assert answer.status_code == 200
        assert answer.json() == [{"backend": "primary-1", "circuit_state": "closed", "error_rate": 0.0}]
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_awaitable_is_awaited_and_parameters_are_typed() -> None:
    seen = []

    async def read(which):
        seen.append(which)
        return Backend(which.backend, "open")

    api = StatusApi()
    api.resource("backends/{backend}", Backend, read, parameters=Which)
    answer = asked("GET", "/api/v1/backends/replica%2D1?limit=3", api=api)
    assert answer.json()["backend"] == "replica-1"
    assert seen == [Which("replica-1", 3)]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("limit=many", "Expected `int`"),
        ("limit=1&limit=2", "Unknown or repeated parameters; allowed are, once each: limit."),
        ("colour=red", "Unknown or repeated parameters; allowed are, once each: limit."),
        ("backend=other", "Unknown or repeated parameters; allowed are, once each: limit."),
        ("&".join(f"a{n}=1" for n in range(50)), "The query is no list"),
        ("limit", "The query is no list"),
    ],
)
def test_wrong_parameters_are_named(query, detail) -> None:
    api = StatusApi()
    api.resource("backends/{backend}", Backend, lambda which: Backend("", ""), parameters=Which)
    answer = asked("GET", f"/api/v1/backends/x?{query}", api=api)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(detail)


def test_a_resource_without_parameters_takes_none() -> None:
    assert asked("GET", "/circuit-breaker/status?limit=1").status_code == 400


def test_an_order_is_carried_out_in_the_callers_name() -> None:
    answer = asked("POST", FORCE, token=OPERATOR, json={"target": "primary-1", "mode": "open"})
    assert (answer.status_code, answer.json()) == (
        200,
        {"by": "otto", "role": "OPERATOR", "target": "primary-1"},
    )


def test_an_order_without_an_answer() -> None:
    done = []
    api = StatusApi()
    api.order("x", Force, lambda body, caller: done.append((body.target, caller.name)), role=Role.ADMIN)
    answer = asked("POST", "/api/v1/x", api=api, json={"target": "t", "mode": "m"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert done == [("t", "ada")]


@pytest.mark.parametrize(
    ("how", "status", "detail"),
    [
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, "The body is no JSON."),
        (
            {"content": b"[" * 50_000, "headers": {"Content-Type": "application/json"}},
            400,
            "The body is no JSON.",
        ),
        ({"json": {"target": "t"}}, 422, "Object missing required field `mode`"),
        ({"json": {"target": 1, "mode": "open"}}, 422, "Expected `str`, got `int` - at `$.target`"),
        (
            {"json": {"target": "t", "mode": "m", "owner": "root"}},
            422,
            "Unknown members; allowed are: target, mode",
        ),
        ({"json": []}, 422, "Expected `object`, got `array`"),
        (
            {"content": b"{}", "headers": {"Content-Type": "text/plain"}},
            415,
            "The body has to be application/json",
        ),
        ({"data": {"target": "t"}}, 415, "The body has to be application/json"),
        ({"json": {"target": "t" * 70_000, "mode": "m"}}, 413, "The body has more than 65536 bytes."),
    ],
)
def test_wrong_bodies_are_refused_with_a_reason(how, status, detail) -> None:
    answer = asked("POST", FORCE, **how)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith(detail)


def test_a_body_without_a_declared_length_is_bounded_too() -> None:
    async def endless():
        for _ in range(40):
            yield b" " * 10_000

    answer = asked("POST", FORCE, content=endless(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_what_an_order_says_of_its_own_text_is_told() -> None:
    api = StatusApi()
    api.order("x", Picky, lambda body, caller: None)
    answer = asked("POST", "/api/v1/x", api=api, json={"mode": "ajar"})
    assert (answer.status_code, answer.json()["detail"]) == (422, "mode = 'ajar': allowed is open")


def test_a_tier_one_errors_text_is_told() -> None:
    def read():
        raise NotFoundError("no backend x")

    answer = asked("GET", "/api/v1/x", api=offering(read))
    assert (answer.status_code, answer.json()["detail"]) == (404, "no backend x")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError(SECRET), 500),
        (TimeoutError(SECRET), 500),
        (KeyError(SECRET), 500),
        (BreakerOpen(SECRET, SECRET, 7.0), 503),
        (UsageError(SECRET), 500),
    ],
)
def test_nothing_internal_leaks_and_the_operator_is_told(error, status) -> None:
    told = []

    def read():
        raise error

    answer = asked("GET", "/api/v1/x", api=offering(read), on_error=lambda *args: told.append(args))
    assert answer.status_code == status
    shown = answer.text + str(answer.headers)
    assert not any(word in shown for word in ("hunter2", "db.internal", type(error).__name__, "Traceback"))
    ((correlation_id, seen),) = told
    assert seen is error
    assert answer.json()["correlation_id"] == correlation_id


def test_telling_the_operator_can_not_break_the_answer() -> None:
    def read():
        raise RuntimeError(SECRET)

    def broken(correlation_id, error):
        raise ValueError

    assert asked("GET", "/api/v1/x", api=offering(read), on_error=broken).status_code == 500


@dataclass(frozen=True)
class Extended(Backend):
    """Is what was promised, and more."""

    password: str = "hunter2"


@pytest.mark.parametrize(
    "wrong", [Whole("b", "s", 0.0, "hunter2"), Extended("b", "s"), {"password": "hunter2"}, None]
)
def test_an_answer_of_another_type_than_promised_stays_here(wrong) -> None:
    answer = asked("GET", "/api/v1/x", api=offering(lambda: wrong))
    assert answer.status_code == 500
    assert "hunter2" not in answer.text


def test_a_huge_answer_is_refused() -> None:
    api = offering(lambda: [Backend("b", "s")] * 1_000, schema=list[Backend])
    answer = asked("GET", "/api/v1/x", api=api, limits=Limits(response_bytes=1_000))
    assert (answer.status_code, answer.json()["detail"][:34]) == (500, "The answer has more than 1000 byte")


def test_who_wants_something_else_gets_json_all_the_same() -> None:
    answer = asked("GET", "/circuit-breaker/status", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")


def test_the_document_is_served_to_viewers() -> None:
    assert asked("GET", "/openapi.json", token=VIEWER).json()["openapi"] == "3.1.0"
    assert asked("GET", "/openapi.json", token="unknown-token-0123456789").status_code == 401


def test_literal_paths_go_before_parameters() -> None:
    api = StatusApi()
    api.resource("backends/{backend}", Backend, lambda which: Backend(which.backend, "one"), parameters=Which)
    api.resource("backends/all", Backend, lambda: Backend("every", "all"))
    assert asked("GET", "/api/v1/backends/all", api=api).json()["circuit_state"] == "all"
    assert asked("GET", "/circuit-breaker/status", api=an_api()).status_code == 200
