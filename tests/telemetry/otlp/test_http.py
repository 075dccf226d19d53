"""Against a server on the same loop; on virtual time where something hangs, so that nobody waits."""

import asyncio
import contextlib
import socket
import threading

import pytest

from seawall.telemetry.otlp import Encoder, HttpTransport, JsonForm, OtlpSettings
from seawall.telemetry.otlp import http as under_test
from seawall.telemetry.otlp.retry import Answer, Verdict
from tests.telemetry.otlp.collectors import (
    Collector,
    accept,
    early,
    hang,
    on_virtual_time,
    partial,
    raw,
    refused_port,
    reply,
)
from tests.telemetry.otlp.samples import light

ACCEPTED = Verdict(answer=Answer.ACCEPTED)


@contextlib.asynccontextmanager
async def transport_to(url, **how):
    transport = HttpTransport(
        OtlpSettings(endpoint=url, compression=how.pop("compression", "none"), **how), wall=lambda: 0.0
    )
    try:
        yield transport
    finally:
        await transport.close()


def verdict_of(*answers, timeout_s=5.0, body=b"x", runner=asyncio.run, **how):
    """What one attempt comes to."""

    async def main():
        async with Collector(*answers) as collector, transport_to(collector.url, **how) as transport:
            return await transport.send(body, 4, timeout_s)

    return runner(main())


def test_a_request_as_the_protocol_wants_it():
    async def main():
        async with Collector() as collector:
            how = {"headers": (("authorization", "Bearer x"), ("X-Tenant", "7")), "compression": "gzip"}
            async with transport_to(collector.url + "?a=b", **how) as transport:
                (request,) = Encoder().steps(light(3))
                assert await transport.send(await transport.pack(request), 3, 5.0) == ACCEPTED
            (received,) = collector.requests
            assert received.line == "POST /v1/traces?a=b HTTP/1.1"
            assert received.names == ["GET /orders"] * 3
            user_agent = received.headers.pop("user-agent")
            assert received.headers == {
                "host": f"127.0.0.1:{collector.port}",
                "content-type": "application/x-protobuf",
                "content-encoding": "gzip",
                "content-length": str(len(received.raw)),
                "authorization": "Bearer x",
                "x-tenant": "7",
            }
            assert user_agent.startswith("OTel-OTLP-Exporter-Python-Seawall/")

    asyncio.run(main())


def test_json_without_compression():
    async def main():
        async with Collector() as collector, transport_to(collector.url, protocol="http/json") as transport:
            (request,) = Encoder(JsonForm()).steps(light(1))
            await transport.send(await transport.pack(request), 1, 5.0)
            headers = collector.requests[0].headers
            assert headers["content-type"] == "application/json"
            assert "content-encoding" not in headers
            assert collector.requests[0].raw == b"".join(request.pieces)

    asyncio.run(main())


def test_an_own_user_agent_replaces_ours():
    async def main():
        async with Collector() as collector:
            async with transport_to(collector.url, headers=(("User-Agent", "mine"),)) as transport:
                await transport.send(b"", 0, 5.0)
            assert collector.requests[0].headers["user-agent"] == "mine"

    asyncio.run(main())


def test_a_connection_is_kept():
    async def main():
        async with Collector() as collector, transport_to(collector.url) as transport:
            for _ in range(5):
                assert await transport.send(b"x", 1, 5.0) == ACCEPTED
            assert (collector.connections, transport.connects) == (1, 1)
            assert "idle=1" in repr(transport)

    asyncio.run(main())


def test_no_more_connections_are_kept_than_are_used_at_once():
    async def main():
        async with Collector() as collector, transport_to(collector.url, in_flight=2) as transport:
            await asyncio.gather(*[transport.send(b"x", 1, 5.0) for _ in range(5)])
            assert len(transport._idle) <= 2
            assert collector.connections == 5

    asyncio.run(main())


def test_a_large_body_goes_out_in_pieces():
    async def main():
        body = bytes(range(256)) * 8_000
        async with Collector() as collector, transport_to(collector.url) as transport:
            assert await transport.send(body, 1, 5.0) == ACCEPTED
            assert collector.requests[0].raw == body

    asyncio.run(main())


def test_writing_waits_for_a_collector_that_reads_slowly():
    async def read_late(reader, writer):
        await asyncio.sleep(1.0)
        head = await reader.readuntil(b"\r\n\r\n")
        received.append(await reader.readexactly(len(body)))
        assert head.endswith(f"Content-Length: {len(body)}\r\n\r\n".encode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
        writer.close()
        ended.set()

    received, body, ended = [], bytes(range(256)) * 60_000, asyncio.Event()

    async def main():
        server = await asyncio.start_server(read_late, "127.0.0.1", 0)
        async with (
            server,
            transport_to(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/") as transport,
        ):
            assert await transport.send(body, 1, 50.0) == ACCEPTED
            (connection,) = transport._idle
            assert connection._room.is_set()
            await transport.close()
            await ended.wait()

    on_virtual_time(main())
    assert received == [body]


@pytest.mark.parametrize(
    "last",
    [reply(headers="Connection: close\r\n"), raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nextra")],
)
def test_a_connection_that_is_over_is_not_used_again(last):
    async def main():
        async with Collector(last) as collector, transport_to(collector.url) as transport:
            for _ in range(2):
                assert await transport.send(b"x", 1, 5.0) == ACCEPTED
            assert collector.connections == 2

    asyncio.run(main())


def test_a_kept_connection_that_the_collector_closed_costs_no_attempt():
    """It was closed just when we wrote, and said nothing: a fresh one is tried at once."""

    async def main():
        async with Collector(accept, raw(b"")) as collector, transport_to(collector.url) as transport:
            assert await transport.send(b"first", 1, 5.0) == ACCEPTED
            assert await transport.send(b"second", 1, 5.0) == ACCEPTED
            assert [each.raw for each in collector.requests] == [b"first", b"second", b"second"]

    asyncio.run(main())


def test_half_an_answer_on_a_kept_connection_is_not_asked_for_again_at_once():
    """Something came back: the collector may have taken the request, so another attempt has to wait."""

    async def main():
        async with (
            Collector(accept, raw(b"HTTP/1.1 200")) as collector,
            transport_to(collector.url) as transport,
        ):
            assert await transport.send(b"first", 1, 5.0) == ACCEPTED
            assert (await transport.send(b"second", 1, 5.0)).reason == "connection"
            assert len(collector.requests) == 2

    asyncio.run(main())


def test_a_connection_that_was_never_made():
    async def main():
        connection = under_test._Connection()
        connection.abort()
        assert not connection.usable
        with pytest.raises(ConnectionResetError):
            await connection.exchange(b"", b"")

    asyncio.run(main())


def test_bytes_on_an_idle_connection_end_it():
    async def main():
        writers = []

        async def keep(writer):
            writers.append(writer)
            return await accept(writer)

        async with Collector(keep) as collector, transport_to(collector.url) as transport:
            await transport.send(b"x", 1, 5.0)
            writers[0].write(b"HTTP/1.1 408 Too slow\r\n\r\n")
            await asyncio.sleep(1.0)
            assert await transport.send(b"x", 1, 5.0) == ACCEPTED
            assert collector.connections == 2

    on_virtual_time(main())


# --- faults -------------------------------------------------------------------------------------------------


def test_a_collector_that_hangs():
    verdict = verdict_of(hang, timeout_s=5.0, runner=on_virtual_time)
    assert (verdict.answer, verdict.reason, verdict.text) == (Answer.RETRY, "timeout", "no reply within 5 s")


def test_a_collector_that_reads_nothing():
    """The body is larger than all buffers between us, so that writing is what hangs."""

    async def main():
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            async with transport_to(f"http://127.0.0.1:{server.getsockname()[1]}/") as transport:
                return await transport.send(b"x" * 16_000_000, 1, 5.0)

    assert on_virtual_time(main()).reason == "timeout"


def test_a_collector_that_refuses():
    async def main():
        async with transport_to(f"http://127.0.0.1:{await refused_port()}/") as transport:
            return await transport.send(b"x", 1, 5.0)

    verdict = asyncio.run(main())
    assert (verdict.answer, verdict.reason) == (Answer.RETRY, "connection")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "connection"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe", "connection"),
        (b"HTTP/1.1 200", "connection"),
        (b"\x15\x03\x01\x00\x02\x02\x46 what is this?\r\n\r\n", "garbled"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "garbled"),
    ],
)
def test_half_answers_and_garbage_are_worth_another_attempt(data, reason):
    verdict = verdict_of(raw(data))
    assert (verdict.answer, verdict.reason) == (Answer.RETRY, reason)


def test_a_body_without_a_length_ends_with_the_connection():
    assert verdict_of(raw(b"HTTP/1.0 200 OK\r\n\r\n")) == ACCEPTED


def test_the_collectors_verdicts():
    verdict = verdict_of(reply(429, "Retry-After: 7\r\n"))
    assert (verdict.answer, verdict.retry_after_s) == (Answer.RETRY, 7.0)
    assert verdict_of(reply(400)).answer is Answer.REFUSED
    assert verdict_of(partial(3)) == Verdict(answer=Answer.ACCEPTED, rejected=3, text="too old")


def test_a_redirect_is_not_followed():
    assert verdict_of(reply(307, "Location: http://elsewhere/\r\n")).answer is Answer.REFUSED


def test_an_early_answer_is_heard_and_the_rest_not_sent():
    """413, 429: a collector needn't read three megabytes to know that it doesn't want them."""

    async def main():
        answer = early(b"HTTP/1.1 413 Too large\r\nContent-Length: 0\r\n\r\n")
        async with Collector(answer) as collector, transport_to(collector.url) as transport:
            verdict = await transport.send(b"x" * 30_000_000, 1, 5.0)
            assert not transport._idle
            return verdict

    verdict = asyncio.run(main())
    # A reset by the closing server may overtake its answer; both are verdicts, and neither hangs.
    assert verdict.text == "HTTP 413" or verdict.reason == "connection"


def test_an_error_of_our_own_is_a_verdict(monkeypatch):
    monkeypatch.setattr(under_test, "http_verdict", None)
    verdict = verdict_of()
    assert (verdict.answer, verdict.reason) == (Answer.RETRY, "fault")


def test_cancellation_goes_through_and_closes_the_connection():
    async def main():
        arrived = asyncio.Event()

        async def hang_visibly(writer):
            arrived.set()
            await hang(writer)

        async with Collector(hang_visibly) as collector, transport_to(collector.url) as transport:
            attempt = asyncio.ensure_future(transport.send(b"x", 1, 50.0))
            await arrived.wait()
            attempt.cancel()
            with pytest.raises(asyncio.CancelledError):
                await attempt
            assert not transport._idle

    asyncio.run(main())


# --- names and addresses ------------------------------------------------------------------------------------


def test_a_name_is_looked_up_beside_the_loop_and_every_address_tried(monkeypatch):
    async def main():
        threads = []
        async with Collector() as collector:

            def lookup(host, port, **_):
                threads.append(threading.current_thread().name)
                rows = ["127.0.0.9", "127.0.0.1", "127.0.0.1", *[f"127.0.1.{n}" for n in range(9)]]
                return [(0, 0, 0, "", (row, port)) for row in rows]

            monkeypatch.setattr(socket, "getaddrinfo", lookup)
            url = f"http://collector.test:{collector.port}/"
            async with transport_to(url) as transport:
                assert await transport.send(b"x", 1, 5.0) == ACCEPTED
                assert transport.connects == 2
            assert collector.requests[0].headers["host"] == f"collector.test:{collector.port}"
            assert threads == ["seawall-otlp-names"]
            assert len(under_test._resolve("x", 1)) == under_test.ADDRESSES_LIMIT

    asyncio.run(main())


def test_a_name_that_nobody_knows(monkeypatch):
    def lookup(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    async def main():
        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        async with transport_to("http://nowhere.test/") as transport:
            return await transport.send(b"x", 1, 5.0)

    verdict = asyncio.run(main())
    assert (verdict.answer, verdict.reason) == (Answer.RETRY, "connection")


def test_a_resolver_that_hangs_costs_a_timeout_and_never_a_second_thread(monkeypatch):
    release = threading.Event()

    def lookup(*_, **__):
        release.wait(20)
        return []

    async def main():
        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        before = set(threading.enumerate())
        async with transport_to("http://slow.test/", compression="gzip") as transport:
            try:
                reasons = [(await transport.send(b"x", 1, 1.0)).reason for _ in range(12)]
                assert [thread.name for thread in set(threading.enumerate()) - before] == [
                    "seawall-otlp-names"
                ]
                (request,) = Encoder().steps(light(1))
                assert await transport.pack(request)  # compression goes on
            finally:
                release.set()
        assert set(reasons[:8]) == {"timeout"}
        assert set(reasons[8:]) == {"connection"}  # enough wait already

    on_virtual_time(main())


# --- TLS ----------------------------------------------------------------------------------------------------


def tls_verdict(server, *, host="127.0.0.1", **how):
    async def main():
        async with Collector(tls=server) as collector:
            async with transport_to(f"https://{host}:{collector.port}/v1/traces", **how) as transport:
                verdicts = [await transport.send(b"x" * 200_000, 1, 10.0) for _ in range(2)]
                assert verdicts[0] == verdicts[1]
                if verdicts[0] == ACCEPTED:
                    assert collector.connections == 1
                else:
                    assert not collector.requests
            return verdicts[0]

    return asyncio.run(main())


def test_a_collector_with_a_certificate_of_our_authority(certificates):
    assert tls_verdict(certificates.server(), certificate=certificates.ca_pem) == ACCEPTED
    assert tls_verdict(certificates.server(), certificate=certificates.ca_pem, host="localhost") == ACCEPTED


def test_a_certificate_is_verified_unless_told_whom_to_trust(certificates):
    verdict = tls_verdict(certificates.server())
    assert (verdict.answer, verdict.reason) == (Answer.RETRY, "tls")
    assert "CERTIFICATE_VERIFY_FAILED" in verdict.text


def test_a_certificate_of_another_authority_is_refused(certificates):
    assert tls_verdict(certificates.server(), certificate=certificates.other_pem).reason == "tls"


def test_a_certificate_for_another_host_is_refused(certificates, monkeypatch):
    monkeypatch.setattr(under_test, "_resolve", lambda *_: ["127.0.0.1"])
    verdict = tls_verdict(certificates.server(), certificate=certificates.ca_pem, host="elsewhere.test")
    assert (verdict.reason, "mismatch" in verdict.text) == ("tls", True)


def test_a_collector_that_wants_to_know_us(certificates):
    server = certificates.server(wants_client=True)
    known = {"client_certificate": certificates.client_pem, "client_key": certificates.client_key}
    assert tls_verdict(server, certificate=certificates.ca_pem, **known) == ACCEPTED
    assert tls_verdict(server, certificate=certificates.ca_pem).answer is Answer.RETRY


def test_a_file_that_is_missing_or_wrong(certificates):
    for wrong in ("/nowhere.pem", certificates.ca_key):
        verdict = tls_verdict(certificates.server(), certificate=wrong)
        assert verdict.answer is Answer.RETRY
        assert verdict.reason in {"connection", "tls"}


def test_a_server_that_doesnt_speak_tls():
    async def greet(_, writer):
        writer.write(b"220 mail.test ESMTP\r\n")
        await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        async with (
            server,
            transport_to(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/") as transport,
        ):
            return await transport.send(b"x", 1, 5.0)

    assert asyncio.run(main()).reason == "tls"


# --- loops and forks ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
def test_another_loop_gets_connections_of_its_own():
    transport = HttpTransport(OtlpSettings(endpoint="http://127.0.0.1:1/", compression="none"))

    async def main():
        async with Collector() as collector:
            transport._settings = OtlpSettings(endpoint=collector.url, compression="none")
            assert await transport.send(b"x", 1, 5.0) == ACCEPTED

    asyncio.run(main())
    asyncio.run(main())
    assert (len(transport._idle), len(transport._left_behind)) == (1, 1)
    for connection in transport._idle + transport._left_behind:
        connection._transport.__del__()


def test_a_child_neither_uses_nor_closes_the_parents_connections():
    async def main():
        async with Collector() as collector, transport_to(collector.url) as transport:
            await transport.send(b"x", 1, 5.0)
            (kept,) = transport._idle
            transport.forked()
            assert (transport._idle, transport._left_behind) == ([], [kept])
            assert kept.usable
            assert await transport.send(b"x", 1, 5.0) == ACCEPTED
            assert collector.connections == 2
            kept.abort()

    asyncio.run(main())
