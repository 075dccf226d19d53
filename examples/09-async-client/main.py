"""Guarding an async client whose errors are statuses and not exceptions, as those of HTTP clients are."""

import asyncio
from dataclasses import dataclass

from seawall import Breaker, BreakerOpen, Outcome, guard
from seawall.kernel import outcome_for_http
from seawall.testing import VirtualClock, run

clock = VirtualClock()  # see 02: virtual time, so that the output is the same every day


@dataclass
class Response:
    """What your HTTP client returns has such an attribute too."""

    status_code: int


class Client:
    """Stands in for your HTTP client."""

    status = 200

    async def get(self, path: str) -> Response:
        await asyncio.sleep(0.02)
        return Response(404 if path == "/nothing-here" else self.status)


def by_status(response: object) -> Outcome:
    return outcome_for_http(response.status_code) if isinstance(response, Response) else Outcome.OK


client = Client()
catalogue = guard(
    "catalogue",
    breaker=Breaker(errors="5%", p95="500ms"),
    timeout="2s",
    classify_result=by_status,
    clock=clock,
)


@catalogue
async def get(path: str) -> Response:
    return await client.get(path)


async def ask(path: str, times: int) -> None:
    answers: list[str] = []
    for _ in range(times):
        try:
            answers.append(str((await get(path)).status_code))
        except BreakerOpen:
            answers.append("rejected")
    counts = ", ".join(f"{answers.count(answer)} x {answer}" for answer in dict.fromkeys(answers))
    print(f"{path}: {counts} -> {catalogue.state.label}")


async def main() -> None:
    await ask("/teas", 20)
    await ask("/nothing-here", 20)  # a proper answer, 20 times; no reason to open
    client.status = 503
    await ask("/teas", 20)


run(main(), clock)
