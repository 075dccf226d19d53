"""An instrumented shop and its customer, as programs: what ``test_instrumentations`` looks at.

``python -m tests.integration.instrumented ROLE SETTINGS``, each in a process of its own, since
OpenTelemetry's globals are set once and instrumentations patch what they instrument. ``SETTINGS`` is a JSON
object; answers are lines of JSON.

- ``shop``: a FastAPI application on uvicorn, which asks PostgreSQL through psycopg and an aiohttp server, its
  stock, through aiohttp. Says where it is, and lives until its standard input ends.
- ``customer``: calls the shop with httpx and with aiohttp, as part of a trace that came from elsewhere.
"""

import asyncio
import json
import socket
import sys

import aiohttp
import fastapi
import httpx
import psycopg
import uvicorn
from aiohttp import web
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.aiohttp_server import AioHttpServerInstrumentor
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor

from seawall.telemetry.otlp import Exporter, OtlpSettings
from seawall.telemetry.propagation import PROPAGATOR
from seawall.telemetry.tracing import Sampling, TracingSettings, make_provider, span

GIVE_UP_S = 10.0
OWN_STATEMENT = "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()"
"""What the server got, comments and all."""


def begin(role: str, told: dict[str, str]) -> Exporter:
    """Install a provider, the propagator and the instrumentations, as an application does."""
    settings = TracingSettings(
        provider=told["provider"],
        resource={"service.name": role},
        sampling=Sampling(ratio=1.0),
        exceptions="shown",
    )
    provider, lane = make_provider(settings)
    trace.set_tracer_provider(provider)
    propagate.set_global_textmap(PROPAGATOR)
    otlp = OtlpSettings(endpoint=told["collector"], protocol=told["protocol"], masked=False)
    exporter = Exporter(lane, otlp)
    exporter.start()
    for instrumentor in (
        AioHttpClientInstrumentor(),
        AioHttpServerInstrumentor(),
        FastAPIInstrumentor(),
        HTTPXClientInstrumentor(),
    ):
        instrumentor.instrument()
    PsycopgInstrumentor().instrument(enable_commenter=True)
    return exporter


def tell(**facts: object) -> None:
    """Print a line of JSON."""
    print(json.dumps(facts), flush=True)


def listening() -> socket.socket:
    """A socket of the system's choice."""
    return socket.create_server(("127.0.0.1", 0))


def url_of(listener: socket.socket) -> str:
    """Where it is."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


async def asked(dsn: str, statement: str, *arguments: object) -> str:
    """The one value that a statement gives."""
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        cursor = await connection.execute(statement, arguments or None)
        return (await cursor.fetchone())[0]


def stock(dsn: str) -> web.Application:
    """The aiohttp server."""

    async def have(request: web.Request) -> web.Response:
        statement = await asked(dsn, f"{OWN_STATEMENT} AND %s < 100", int(request.match_info["number"]))
        # aiohttp's instrumentation gives its handlers the span only, and not the rest of the context.
        return web.json_response({"statement": statement, "baggage": request.headers.get("baggage")})

    application = web.Application()
    application.router.add_get("/stock/{number}", have)
    return application


def front(dsn: str, stock_url: str) -> fastapi.FastAPI:
    """The FastAPI application."""
    application = fastapi.FastAPI()

    @application.get("/orders/{number}")
    async def order(number: int) -> dict[str, object]:
        with span("price", order=number) as pricing:
            pricing.add_event("priced", {"amount": 3})
        statement = await asked(dsn, OWN_STATEMENT)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{stock_url}/stock/{number}") as answer:
                below = await answer.json()
        return {"statement": statement, "baggage": dict(baggage.get_all()), "stock": below}

    @application.get("/broken")
    def broken() -> None:
        # not async: it runs in a thread, where the context has to follow it
        with psycopg.connect(dsn) as connection:
            connection.execute("SELECT 1 / 0")

    return application


async def shop(told: dict[str, str]) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    below, above = listening(), listening()
    runner = web.AppRunner(stock(told["dsn"]))
    await runner.setup()
    await web.SockSite(runner, below).start()
    config = uvicorn.Config(front(told["dsn"], url_of(below)), log_level="critical")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[above]))
    tell(url=url_of(above))
    await loop.run_in_executor(None, sys.stdin.read)
    server.should_exit = True
    await serving
    await runner.cleanup()


async def fetched(url: str) -> int:
    """The status of a page, by aiohttp."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status


async def customer(told: dict[str, str]) -> None:
    """Order something, and break something."""
    came = PROPAGATOR.extract({"traceparent": told["traceparent"], "tracestate": told["tracestate"]})
    context.attach(baggage.set_baggage("tenant", "blue & green", came))
    with span("checkout"):
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{told['shop']}/orders/7")
        tell(order=answer.json(), broken=await fetched(f"{told['shop']}/broken"))


def main() -> None:
    """Play a role."""
    role, told = sys.argv[1], json.loads(sys.argv[2])
    exporter = begin(role, told)
    asyncio.run({"shop": shop, "customer": customer}[role](told))
    left = exporter.stop(GIVE_UP_S)
    tell(exported=left.exported, dropped=sum(left.dropped.values()), pending=left.pending, faults=left.faults)


if __name__ == "__main__":
    main()
