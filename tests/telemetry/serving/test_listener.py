"""Connections: slow clients are cut, crowds are limited, nothing of the process is touched."""

import asyncio
import logging
import signal
import ssl
import subprocess
from contextlib import suppress

import httpx
import pytest

from seawall.kernel.errors import PolicyError, UsageError
from seawall.telemetry.serving import Access, Binding, Limits, TelemetryServer, Tls
from tests.telemetry.serving.serving import (
    OPERATOR,
    PAGE,
    TOKENS,
    VIEWER,
    Page,
    bearer,
    make_certificates,
    running,
    served,
)

WAIT_S = 10.0
QUICK = Limits(header_s=0.1, body_s=0.1, request_s=5.0, linger_s=0.1, handshake_s=0.1)


async def until(condition):
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 -- the server's counters ring no bell
            await asyncio.sleep(0.005)


async def connected(server, which="metrics"):
    url = httpx.URL(server.metrics_url if which == "metrics" else server.status_url)
    return await asyncio.open_connection(url.host, url.port)


async def rest(reader):
    """What comes until the other side ends or resets the connection."""
    answer = b""
    async with asyncio.timeout(WAIT_S):
        with suppress(ConnectionResetError):
            while piece := await reader.read(65_536):
                answer += piece
    return answer


async def drip(reader, writer, text):
    """Send a byte at a time until the other side ends; returns what came back and how many were sent."""
    sent = 0
    answer = asyncio.create_task(rest(reader))
    while not answer.done():
        writer.write(text[sent % len(text) : sent % len(text) + 1])
        sent += 1
        await asyncio.wait((answer,), timeout=0.01)
    writer.close()
    return answer.result(), sent


@pytest.mark.parametrize("after_one_request", [False, True])
def test_headers_that_only_drip_are_cut_by_time(after_one_request) -> None:
    async def scenario(server, client):
        reader, writer = await connected(server)
        if after_one_request:
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b'"checks":{}}')
        writer.write(b"GET /metrics HTTP/1.1\r\n")
        answer, sent = await drip(reader, writer, b"X-Slow: 1\r\n")
        await until(lambda: server.statistics().listeners["metrics"].open == 0)
        healthy = await client.get(f"{server.metrics_url}/health")
        return answer, sent, healthy.status_code, server.statistics().listeners["metrics"]

    answer, sent, status, listener = running(scenario, limits=QUICK)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert sent > 1  # it went on sending, which did not help
    assert (status, listener.too_slow) == (200, 1)


def test_a_connection_that_says_nothing_is_closed() -> None:
    async def scenario(server, client):
        reader, writer = await connected(server)
        answer = await rest(reader)
        writer.close()
        return answer, server.statistics().listeners["metrics"].too_slow

    assert running(scenario, limits=QUICK) == (
        b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        1,
    )


def test_a_body_that_only_drips_is_cut_by_time() -> None:
    head = (
        "POST /api/v1/breakers/force HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {OPERATOR}\r\nContent-Length: 60000\r\n\r\n"
    )

    async def scenario(server, client):
        reader, writer = await connected(server, "status")
        writer.write(head.encode())
        answer, _ = await drip(reader, writer, b" ")
        await until(lambda: server.statistics().listeners["status"].open == 0)
        return answer, server.statistics().gates["status"]

    answer, gate = running(scenario, limits=QUICK, access=Access(tokens=TOKENS))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"The body came too slowly." in answer
    assert (gate.slow_bodies, gate.active) == (1, 0)


def test_a_body_nobody_wants_can_not_hold_the_connection() -> None:
    async def scenario(server, client):
        reader, writer = await connected(server)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n")
        answer, _ = await drip(reader, writer, b"x")
        return answer, server.statistics().listeners["metrics"].too_slow

    answer, too_slow = running(scenario, limits=QUICK)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert too_slow == 1


def test_after_an_unwanted_body_the_connection_goes_on() -> None:
    async def scenario(server, client):
        reader, writer = await connected(server)
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n")
        await reader.readuntil(b'"checks":{}}')
        writer.write(b"abc")
        (connection,) = server._listeners["metrics"]._state.connections
        # It is idle, not slow: the clock of headers was stopped, that of idle connections runs.
        await until(lambda: connection._timer is None and connection.timeout_keep_alive_task is not None)
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await rest(reader)
        writer.close()
        return answer, server.statistics().listeners["metrics"].too_slow

    answer, too_slow = running(scenario, limits=QUICK)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert too_slow == 0


def test_an_idle_connection_is_closed_in_its_time() -> None:
    async def scenario(server, client):
        reader, writer = await connected(server)
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = await rest(reader)
        writer.close()
        return answer, server.statistics().listeners["metrics"]

    answer, listener = running(scenario, limits=Limits(keep_alive_s=1))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert (listener.too_slow, listener.accepted) == (0, 1)


def test_a_client_that_does_not_read_is_cut() -> None:
    def endless():
        while True:
            yield b"x 1\n" * 20_000

    async def scenario(server, client):
        reader, writer = await connected(server)
        reader._transport.pause_reading()
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: server.statistics().gates["metrics"].timed_out == 1)
        await until(lambda: server.statistics().listeners["metrics"].open == 0)
        writer.transport.abort()
        return server.statistics().listeners["metrics"].cut

    assert running(scenario, scraper=Page(endless()), limits=Limits(request_s=0.2)) == 1


def test_a_crowd_of_connections_is_limited() -> None:
    async def scenario(server, client):
        first = [await connected(server) for _ in range(3)]
        await until(lambda: server.statistics().listeners["metrics"].open == 3)
        reader, writer = await connected(server)
        refused = await rest(reader)
        writer.close()
        for _, one in first:
            one.close()
        await until(lambda: server.statistics().listeners["metrics"].open == 0)
        healthy = await client.get(f"{server.metrics_url}/health")
        return refused, healthy.status_code, server.statistics().listeners["metrics"]

    refused, status, listener = running(scenario, limits=Limits(connections=3))
    assert (refused, status) == (b"", 200)
    assert (listener.refused, listener.accepted) == (1, 4)


def test_what_is_no_http_is_refused_and_counted() -> None:
    async def scenario(server, client):
        answers = []
        for text in (b"\x16\x03\x01 hello\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000):
            reader, writer = await connected(server)
            writer.write(text)
            answers.append((await rest(reader))[:13])
            writer.close()
        return answers, server.statistics().listeners["metrics"].malformed

    answers, malformed = running(scenario)
    assert answers[0] == b"HTTP/1.1 400 "
    assert answers[1] in {b"HTTP/1.1 400 ", b""}  # more came than was read, so it may be reset
    assert malformed == 2


@pytest.mark.parametrize(
    "headers",
    [
        b"Host: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Host: localhost\r\nContent-Length: 4\r\nContent-Length: 5\r\n",
        b"Host: localhost\r\nTransfer-Encoding: gzip, chunked\r\n",
        b"Host: localhost\r\nContent-Length : 4\r\n",
        b"Host: localhost\r\nX: y\r\n folded\r\nContent-Length: +4\r\n",
        b"Host: localhost\r\nHost: evil.example\r\n",
        b"",
    ],
)
def test_what_a_proxy_could_read_otherwise_is_refused_and_ends_the_connection(headers) -> None:
    async def scenario(server, client):
        reader, writer = await connected(server)
        hidden = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
        writer.write(b"POST /health HTTP/1.1\r\n" + headers + b"\r\n0\r\n\r\n" + hidden)
        answer = await rest(reader)
        writer.close()
        return answer, server.statistics()

    answer, statistics = running(scenario)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 "))
    assert answer.count(b"HTTP/1.1 ") == 1
    assert statistics.listeners["metrics"].malformed == 1
    assert statistics.gates["metrics"].requests == 0


def test_pipelined_requests_are_answered_in_order() -> None:
    async def scenario(server, client):
        reader, writer = await connected(server)
        one = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
        writer.write(one + b"\r\n" + one + b"\r\n" + one + b"Connection: close\r\n\r\n")
        answer = await rest(reader)
        writer.close()
        return answer

    answer = running(scenario)
    assert answer.count(b"HTTP/1.1 200 ") == answer.count(PAGE) == 3
    assert b"\r\ndate: " in answer
    assert b"uvicorn" not in answer


def test_the_processs_loggers_and_signals_are_left_alone(caplog) -> None:
    access = logging.getLogger("uvicorn.access")
    mine = logging.NullHandler()
    access.addHandler(mine)
    handler = signal.getsignal(signal.SIGTERM)

    class Broken(Page):
        def scrape(self, accept=None, accept_encoding=None):
            raise RuntimeError

    async def scenario(server, client):
        await client.get(f"{server.metrics_url}/metrics")
        reader, writer = await connected(server)
        writer.write(b"rubbish\r\n\r\n")
        await rest(reader)
        writer.close()
        return list(access.handlers), access.propagate, signal.getsignal(signal.SIGTERM)

    try:
        with caplog.at_level(1):
            seen = running(scenario, scraper=Broken())
    finally:
        access.removeHandler(mine)
    assert seen == ([mine], True, handler)
    assert [record for record in caplog.records if record.name.startswith(("uvicorn", "seawall"))] == []


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("tls"))


def test_tls(certificates) -> None:
    tls = Tls(certificate=str(certificates.server), key=str(certificates.server_key))

    async def main():
        async with served(tls=tls, access=Access(tokens=TOKENS)) as server:
            async with httpx.AsyncClient(verify=certificates.context(), trust_env=False) as client:
                trusted = await client.get(f"{server.metrics_url}/metrics", headers=bearer(VIEWER))
            async with httpx.AsyncClient(trust_env=False) as client:
                with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                    await client.get(f"{server.metrics_url}/metrics")
                with pytest.raises(httpx.HTTPError):
                    await client.get(f"{server.metrics_url}/metrics".replace("https", "http"))
            return server.metrics_url, trusted

    url, trusted = asyncio.run(main())
    assert url.startswith("https://127.0.0.1:")
    assert (trusted.status_code, trusted.content) == (200, PAGE)


def test_old_tls_is_refused(certificates) -> None:
    tls = Tls(certificate=str(certificates.server), key=str(certificates.server_key))
    assert tls.context("k").minimum_version is ssl.TLSVersion.TLSv1_2


def test_the_password_of_an_encrypted_key_is_not_asked_for(certificates, tmp_path) -> None:
    key = tmp_path / "locked.pem"
    paths = ("-in", certificates.server_key, "-out", key)
    command = ("openssl", "pkcs8", "-topk8", *paths, "-passout", "pass:secret")
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    with pytest.raises(PolicyError, match="certificate"):
        Tls(certificate=str(certificates.server), key=str(key)).context("k")


def test_client_certificates(certificates) -> None:
    tls = Tls(
        certificate=str(certificates.server), key=str(certificates.server_key), client_ca=str(certificates.ca)
    )

    async def main():
        async with served(tls=tls) as server:
            url = f"{server.metrics_url}/metrics"
            async with httpx.AsyncClient(
                verify=certificates.context(with_client=True), trust_env=False
            ) as client:
                known = await client.get(url)
            async with httpx.AsyncClient(verify=certificates.context(), trust_env=False) as client:
                with pytest.raises(httpx.HTTPError):
                    await client.get(url)
            return known.status_code

    assert asyncio.run(main()) == 200


def test_a_handshake_that_does_not_come_is_cut(certificates) -> None:
    tls = Tls(certificate=str(certificates.server), key=str(certificates.server_key))

    async def main():
        async with served(tls=tls, limits=QUICK) as server:
            reader, writer = await connected(server)
            answer = await rest(reader)
            writer.close()
            return answer

    assert asyncio.run(main()) == b""


def test_a_taken_port_is_named_and_nothing_is_left_listening() -> None:
    async def scenario(server, client):
        taken = httpx.URL(server.status_url).port
        other = TelemetryServer(
            scraper=Page(),
            api=None,
            metrics=Binding(key="telemetry.metrics", port=taken),
        )
        with pytest.raises(
            UsageError, match=rf"telemetry\.metrics\.port = 127\.0\.0\.1:{taken}.*choose another"
        ):
            await other.start()
        return repr(other)

    assert running(scenario) == "<TelemetryServer http://127.0.0.1:0>"


def test_wrong_files_for_tls_are_named_at_the_start() -> None:
    async def main():
        async with served(tls=Tls(certificate="none.pem", key="none.key")):
            pytest.fail("it started")

    with pytest.raises(PolicyError, match=r"telemetry\.metrics\.tls\.certificate"):
        asyncio.run(main())
