"""The whole server: bindings, starting, stopping, and the same routes in somebody else's application."""

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from seawall.kernel.errors import PolicyError, UsageError
from seawall.telemetry.serving import (
    METRICS_BINDING,
    STATUS_BINDING,
    Access,
    Binding,
    Checks,
    TelemetryServer,
    metrics_routes,
    status_routes,
)
from tests.telemetry.serving.serving import (
    OPERATOR,
    PAGE,
    TOKENS,
    Page,
    Waiting,
    an_api,
    bearer,
    running,
    served,
)


def test_the_defaults_are_loopback_and_the_usual_ports() -> None:
    assert [(b.host, b.port) for b in (METRICS_BINDING, STATUS_BINDING)] == [
        ("127.0.0.1", 9090),
        ("127.0.0.1", 8080),
    ]


def test_an_open_address_without_authentication_is_refused_before_anything_listens() -> None:
    with pytest.raises(PolicyError) as caught:
        TelemetryServer(
            scraper=Page(),
            api=an_api(),
            metrics=Binding(key="telemetry.metrics", host="0.0.0.0", port=0),
            status=Binding(key="telemetry.status", host="::", port=0),
        )
    text = str(caught.value)
    assert "telemetry.metrics.host = '0.0.0.0'" in text
    assert "telemetry.status.host = '::'" in text
    assert "telemetry.status.allow_unauthenticated = true" in text


@pytest.mark.parametrize(
    "access", [Access(allow_unauthenticated=True), Access(tokens=TOKENS)], ids=["said", "tokens"]
)
def test_an_open_address_is_served_if_it_is_said_or_authenticated(access) -> None:
    binding = Binding(key="telemetry.metrics", host="0.0.0.0", port=0, access=access)

    async def main():
        async with TelemetryServer(scraper=Page(), metrics=binding) as server, httpx.AsyncClient() as client:
            url = server.metrics_url.replace("0.0.0.0", "127.0.0.1")
            return (await client.get(f"{url}/metrics")).status_code

    assert asyncio.run(main()) == (401 if access.tokens else 200)


def test_it_needs_something_to_serve() -> None:
    with pytest.raises(UsageError, match="a writer of metrics, a status API, or both"):
        TelemetryServer()


def test_each_listener_has_its_own_paths() -> None:
    async def scenario(server, client):
        paths = ("/metrics", "/openapi.json", "/api/v1/circuit-breaker/status", "/health", "/ready")
        return [
            [(await client.get(base + path)).status_code for path in paths]
            for base in (server.metrics_url, server.status_url)
        ]

    assert running(scenario) == [[200, 404, 404, 200, 200], [404, 200, 200, 200, 200]]


def test_one_listener_alone() -> None:
    async def main():
        only = Binding(key="telemetry.status", port=0)
        async with TelemetryServer(api=an_api(), status=only) as server, httpx.AsyncClient() as client:
            return server.metrics_url, (await client.get(f"{server.status_url}/health")).status_code

    assert asyncio.run(main()) == ("", 200)


def test_a_request_under_way_is_finished_when_it_stops() -> None:
    page = Waiting()

    async def main():
        async with served(scraper=page, grace_s=10.0) as server, httpx.AsyncClient() as client:
            request = asyncio.create_task(client.get(f"{server.metrics_url}/metrics"))
            await page.entered()
            stopping = asyncio.create_task(server.stop())
            await asyncio.sleep(0)
            page.going = True
            answer = await request
            await stopping
            return answer

    answer = asyncio.run(main())
    assert (answer.status_code, answer.content) == (200, PAGE)


def test_what_does_not_end_within_the_grace_is_cut() -> None:
    page = Waiting()

    async def main():
        async with served(scraper=page, grace_s=0.05) as server, httpx.AsyncClient() as client:
            request = asyncio.create_task(client.get(f"{server.metrics_url}/metrics"))
            await page.entered()
            async with asyncio.timeout(10.0):
                await server.stop()
            answer = (await asyncio.gather(request, return_exceptions=True))[0]
            left = len(asyncio.all_tasks()) - 1
            return isinstance(answer, httpx.HTTPError) or answer.status_code >= 500, left, server.statistics()

    failed, left, statistics = asyncio.run(main())
    assert failed
    assert left == 0
    assert statistics.listeners["metrics"].open == 0


def test_it_can_be_started_again_but_not_twice() -> None:
    async def main():
        server = TelemetryServer(scraper=Page(), metrics=Binding(key="k", port=0))
        statuses = []
        for _ in range(2):
            await server.start()
            with pytest.raises(UsageError, match="listens already"):
                await server.start()
            async with httpx.AsyncClient() as client:
                statuses.append((await client.get(f"{server.metrics_url}/metrics")).status_code)
            await server.stop()
            await server.stop()
        return statuses

    assert asyncio.run(main()) == [200, 200]


def test_if_one_address_is_taken_neither_listens() -> None:
    async def scenario(server, client):
        taken = httpx.URL(server.status_url).port
        other = TelemetryServer(
            scraper=Page(),
            api=an_api(),
            metrics=Binding(key="telemetry.metrics", port=0),
            status=Binding(key="telemetry.status", port=taken),
        )
        with pytest.raises(UsageError, match=r"telemetry\.status"):
            await other.start()
        return other.metrics_url

    assert running(scenario).endswith(":0")


def test_the_statistics_add_up() -> None:
    async def scenario(server, client):
        for _ in range(3):
            await client.get(f"{server.metrics_url}/metrics")
        await client.get(f"{server.status_url}/ready")
        return server.statistics()

    seen = running(scenario)
    assert {name: gate.requests for name, gate in seen.gates.items()} == {
        "liveness": 0,
        "readiness": 1,
        "metrics": 3,
        "status": 0,
    }
    assert (seen.listeners["metrics"].accepted, seen.listeners["status"].accepted) == (1, 1)
    assert seen.checks.checks == 0


@pytest.mark.parametrize("prefix", ["", "/internal"])
def test_the_routes_in_an_application_of_somebody_else(prefix) -> None:
    access = Access(tokens=TOKENS)
    checks = Checks()
    routes = [*metrics_routes(Page(), checks, access=access), *status_routes(an_api(), checks, access=access)]
    app = Starlette(routes=[Mount(prefix, routes=routes)] if prefix else routes)

    async def main():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app.example") as client:
            headers = bearer(OPERATOR)
            order = {"target": "t", "mode": "open"}
            return [
                await client.get(f"{prefix}/metrics", headers=headers),
                await client.get(f"{prefix}/health"),
                await client.post(f"{prefix}/api/v1/breakers/force", headers=headers, json=order),
                await client.get(f"{prefix}/metrics"),
                await client.put(f"{prefix}/health"),
            ]

    answers = asyncio.run(main())
    assert [answer.status_code for answer in answers] == [200, 200, 200, 401, 405]
    assert (
        answers[3].headers["content-type"] == answers[4].headers["content-type"] == "application/problem+json"
    )


def test_routes_for_others_need_a_word_about_strangers() -> None:
    for routes in (
        lambda access: metrics_routes(Page(), Checks(), access=access),
        lambda access: status_routes(an_api(), Checks(), access=access),
    ):
        with pytest.raises(PolicyError, match=r"access\.tokens.*allow_unauthenticated=True"):
            routes(Access())
        assert routes(Access(allow_unauthenticated=True))
