"""Methods, roles, hosts, encodings: what a path refuses before anybody does any work."""

import pytest

from seawall.telemetry.serving import Access, CheckFailed, Role
from tests.telemetry.serving.serving import (
    ADMIN,
    OPERATOR,
    TOKENS,
    VIEWER,
    Force,
    an_api,
    bearer,
    checks_of,
    running,
)

READ, FORCE = "/api/v1/circuit-breaker/status", "/api/v1/breakers/force"
BODY = {"target": "t", "mode": "open"}


def three_roles():
    api = an_api()
    api.order("shutdown", Force, lambda body, caller: None, role=Role.ADMIN)
    return api


@pytest.mark.parametrize(
    ("token", "statuses"),
    [
        (None, (401, 401, 401)),
        ("unknown-token-0123456789", (401, 401, 401)),
        (VIEWER, (200, 403, 403)),
        (OPERATOR, (200, 200, 403)),
        (ADMIN, (200, 200, 204)),
    ],
)
def test_roles(token, statuses) -> None:
    async def scenario(server, client):
        headers = bearer(token) if token else {}
        base = server.status_url
        read = await client.get(base + READ, headers=headers)
        force = await client.post(base + FORCE, headers=headers, json=BODY)
        shutdown = await client.post(f"{base}/api/v1/shutdown", headers=headers, json=BODY)
        metrics = await client.get(f"{server.metrics_url}/metrics", headers=headers)
        return (read, force, shutdown), metrics, server.statistics().gates["status"]

    answers, metrics, gate = running(scenario, api=three_roles(), access=Access(tokens=TOKENS))
    assert tuple(answer.status_code for answer in answers) == statuses
    assert metrics.status_code == statuses[0]
    assert (gate.unauthenticated, gate.forbidden) == (statuses.count(401), statuses.count(403))


def test_a_refusal_says_how_to_be_let_in() -> None:
    async def scenario(server, client):
        base = server.status_url
        nobody = await client.get(base + READ)
        unknown = await client.get(base + READ, headers=bearer("unknown-token-0123456789"))
        viewer = await client.post(base + FORCE, headers=bearer(VIEWER), json=BODY)
        return nobody, unknown, viewer

    nobody, unknown, viewer = running(scenario, access=Access(tokens=TOKENS))
    assert nobody.headers["www-authenticate"] == 'Bearer realm="seawall"'
    assert unknown.headers["www-authenticate"] == 'Bearer realm="seawall", error="invalid_token"'
    assert 'error="insufficient_scope", scope="operator"' in viewer.headers["www-authenticate"]
    assert nobody.headers["content-type"] == "application/problem+json"
    assert "unknown-token" not in unknown.text


def test_without_tokens_loopback_reads_and_gives_no_orders() -> None:
    async def scenario(server, client):
        read = await client.get(server.status_url + READ)
        force = await client.post(server.status_url + FORCE, json=BODY)
        return read.status_code, force.status_code

    assert running(scenario) == (200, 401)


def test_a_web_page_that_points_its_name_here_reads_nothing() -> None:
    async def scenario(server, client):
        headers = {"Host": "evil.example"}
        return [
            (await client.get(url, headers=headers)).status_code
            for url in (
                server.status_url + READ,
                f"{server.metrics_url}/metrics",
                f"{server.status_url}/openapi.json",
            )
        ]

    assert running(scenario) == [421, 421, 421]
    assert running(scenario, access=Access(tokens=TOKENS)) == [401, 401, 401]


def test_a_web_page_that_points_its_name_here_sees_no_reasons() -> None:
    def broken():
        raise CheckFailed("no primary at 10.0.0.7")

    async def scenario(server, client):
        url = f"{server.status_url}/ready"
        return await client.get(url), await client.get(url, headers={"Host": "evil.example"})

    here, there = running(scenario, checks=checks_of(database=broken))
    assert "10.0.0.7" in here.text
    assert "10.0.0.7" not in there.text
    assert here.status_code == there.status_code == 503


def test_who_has_a_token_may_call_this_machine_by_a_name() -> None:
    access = Access(tokens=TOKENS, allow_unauthenticated=True)

    async def scenario(server, client):
        url, name = server.status_url + READ, {"Host": "node-1.internal"}
        return [
            (await client.get(url, headers=headers)).status_code
            for headers in (name, {**name, **bearer(VIEWER)}, {**name, **bearer("x" * 20)})
        ]

    assert running(scenario, access=access) == [421, 200, 401]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", READ, "GET, HEAD"),
        ("DELETE", READ, "GET, HEAD"),
        ("GET", FORCE, "POST"),
        ("PUT", "/health", "GET, HEAD"),
    ],
)
def test_methods_a_path_does_not_know(method, path, allow) -> None:
    async def scenario(server, client):
        return await client.request(method, server.status_url + path)

    answer = running(scenario)
    assert (answer.status_code, answer.headers["allow"]) == (405, allow)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/metrics/", "/api/v1/", "/api/v1/nothing", "/health/../metrics"]
)
def test_paths_that_are_not_there(path) -> None:
    async def scenario(server, client):
        return await client.get(server.status_url + path)

    answer = running(scenario)
    assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", [READ, "/health", "/ready", "/openapi.json"])
def test_head_has_the_headers_of_get_and_no_body(path) -> None:
    async def scenario(server, client):
        plain = {"Accept-Encoding": "identity"}
        get = await client.get(server.status_url + path, headers=plain)
        head = await client.head(server.status_url + path, headers=plain)
        after = await client.get(server.status_url + path, headers=plain)  # the connection is still in step
        return get, head, after

    get, head, after = running(scenario)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert abs(int(head.headers["content-length"]) - len(get.content)) <= 8  # ages and uptimes move
    assert after.status_code == 200
