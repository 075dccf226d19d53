"""Limits on requests: places, time and size, each with its count."""

import asyncio

import httpx
import pytest

from seawall.kernel.errors import PolicyError
from seawall.telemetry.serving import Limits, StatusApi
from seawall.telemetry.serving.gate import Gate
from tests.telemetry.serving.serving import TEXT, Backend, Page, running


class Gated(Page):
    """A page that waits until it is let go."""

    def __init__(self):
        super().__init__()
        self.going = asyncio.Event()
        self.waiting = asyncio.Semaphore(0)

    async def write(self, accept, accept_encoding):
        self.waiting.release()
        await self.going.wait()
        return iter(self.slices), TEXT, ""


def test_more_requests_than_places_are_told_to_come_back() -> None:
    page = Gated()

    async def scenario(server, client):
        url = f"{server.metrics_url}/metrics"
        inside = [asyncio.create_task(client.get(url)) for _ in range(2)]
        for _ in inside:
            await page.waiting.acquire()
        refused = [await client.get(url) for _ in range(3)]
        health = await client.get(f"{server.metrics_url}/health")
        page.going.set()
        answers = await asyncio.gather(*inside)
        after = await client.get(url)
        return refused, health, [*answers, after], server.statistics().gates

    refused, health, served, gates = running(scenario, writer=page, limits=Limits(requests=2))
    assert {answer.status_code for answer in refused} == {503}
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert health.status_code == 200  # the health pages have places of their own
    assert [answer.status_code for answer in served] == [200, 200, 200]
    assert (gates["metrics"].overloaded, gates["metrics"].requests, gates["metrics"].active) == (3, 6, 0)


def test_an_answer_that_takes_too_long_is_ended() -> None:
    page = Gated()

    async def scenario(server, client):
        answer = await client.get(f"{server.metrics_url}/metrics")
        return answer, server.statistics().gates["metrics"]

    answer, gate = running(scenario, writer=page, limits=Limits(request_s=0.05))
    assert (answer.status_code, answer.json()["detail"]) == (503, "The answer took too long.")
    assert (gate.timed_out, gate.failed, gate.active) == (1, 0, 0)


def test_an_answer_that_stops_half_way_is_cut() -> None:
    class Stuck(Page):
        async def write(self, accept, accept_encoding):
            async def slices():
                yield b"a 1\n"
                await asyncio.Event().wait()

            return slices(), TEXT, ""

    async def scenario(server, client):
        with pytest.raises(httpx.HTTPError):
            await client.get(f"{server.metrics_url}/metrics")
        return server.statistics()

    statistics = running(scenario, writer=Stuck(), limits=Limits(request_s=0.05))
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
