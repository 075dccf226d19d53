"""Limits on requests: places, time and size, each with its count."""

import asyncio

import httpx
import pytest

from seawall.kernel.errors import PolicyError
from seawall.telemetry.serving import Limits, StatusApi
from seawall.telemetry.serving.gate import Gate
from tests.telemetry.serving.serving import Backend, Page, Waiting, checks_of, running


def test_more_requests_than_places_are_told_to_come_back() -> None:
    page = Waiting()

    async def scenario(server, client):
        url = f"{server.metrics_url}/metrics"
        inside = [asyncio.create_task(client.get(url)) for _ in range(2)]
        await page.entered(2)
        refused = [await client.get(url) for _ in range(3)]
        health = await client.get(f"{server.metrics_url}/health")
        page.going = True
        answers = await asyncio.gather(*inside)
        after = await client.get(url)
        return refused, health, [*answers, after], server.statistics().gates

    refused, health, served, gates = running(scenario, scraper=page, limits=Limits(requests=2))
    assert {answer.status_code for answer in refused} == {503}
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert health.status_code == 200  # the health pages have places of their own
    assert [answer.status_code for answer in served] == [200, 200, 200]
    assert (gates["metrics"].overloaded, gates["metrics"].requests, gates["metrics"].active) == (3, 6, 0)


def test_slow_checks_of_readiness_leave_places_to_the_question_of_life() -> None:
    async def scenario(server, client):
        waiting = asyncio.create_task(client.get(f"{server.metrics_url}/ready"))
        while not server.statistics().gates["readiness"].active:  # noqa: ASYNC110 -- gates ring no bell
            await asyncio.sleep(0)
        answers = [await client.get(f"{server.metrics_url}{path}") for path in ("/ready", "/health")]
        waiting.cancel()
        return [answer.status_code for answer in answers]

    checks = checks_of(database=lambda: asyncio.Event().wait())
    assert running(scenario, checks=checks, limits=Limits(health_requests=1)) == [503, 200]


def test_an_answer_that_takes_too_long_is_ended() -> None:
    page = Waiting()

    async def scenario(server, client):
        answer = await client.get(f"{server.metrics_url}/metrics")
        return answer, server.statistics().gates["metrics"]

    answer, gate = running(scenario, scraper=page, limits=Limits(request_s=0.05))
    assert (answer.status_code, answer.json()["detail"]) == (503, "The answer took too long.")
    assert (gate.timed_out, gate.failed, gate.active) == (1, 0, 0)


def test_an_answer_that_stops_half_way_is_cut() -> None:
    def stuck():
        yield b"a 1\n"
        while True:
            yield b""

    async def scenario(server, client):
        with pytest.raises(httpx.HTTPError):
            await client.get(f"{server.metrics_url}/metrics")
        return server.statistics()

    statistics = running(scenario, scraper=Page(stuck()), limits=Limits(request_s=0.05))
    assert (statistics.gates["metrics"].timed_out, statistics.listeners["metrics"].cut) == (1, 1)


def test_a_timeout_of_the_part_itself_is_not_the_gates() -> None:
    def read():
        raise TimeoutError

    api = StatusApi()
    api.resource("x", Backend, read)

    async def scenario(server, client):
        answer = await client.get(f"{server.status_url}/api/v1/x")
        return answer.status_code, server.statistics().gates["status"]

    status, gate = running(scenario, api=api)
    assert (status, gate.timed_out, gate.failed) == (500, 0, 1)


def test_limits_have_to_be_limits() -> None:
    with pytest.raises(PolicyError) as caught:
        Limits(requests=0, request_s=float("nan"), body_bytes=-1)
    keys = [problem.key for problem in caught.value.problems]
    assert keys == ["limits.requests", "limits.request_s", "limits.body_bytes"]


def test_a_gate_shows_itself() -> None:
    assert repr(Gate(Limits(), 3)) == "<Gate active=0/3 requests=0 overloaded=0>"
