"""Against a real gRPC server, made from OTLP's own stubs."""

import asyncio
import contextlib
import importlib

import grpc
import grpc.aio
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

from seawall.kernel.errors import UsageError
from seawall.telemetry.otlp import Encoder, GrpcTransport, OtlpSettings, exporter_to
from seawall.telemetry.otlp.retry import Answer, Verdict
from tests.telemetry.otlp.collectors import Lane, refused_port
from tests.telemetry.otlp.samples import light

ACCEPTED = Verdict(answer=Answer.ACCEPTED)


class Service(TraceServiceServicer):
    """Keeps what comes; answers by ``answer``."""

    def __init__(self, answer=None):
        self.answer = answer
        self.requests = []
        self.metadata = {}

    async def Export(self, request, context):
        self.requests.append(request)
        self.metadata = dict(context.invocation_metadata())
        if self.answer is not None:
            return await self.answer(context)
        return ExportTraceServiceResponse()

    @property
    def names(self):
        return [
            s.name
            for each in self.requests
            for r in each.resource_spans
            for c in r.scope_spans
            for s in c.spans
        ]


@contextlib.asynccontextmanager
async def serving(answer=None, credentials=None):
    service, server = Service(answer), grpc.aio.server()
    add_TraceServiceServicer_to_server(service, server)
    if credentials is None:
        service.port = server.add_insecure_port("127.0.0.1:0")
    else:
        service.port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield service
    finally:
        await server.stop(0)


@contextlib.asynccontextmanager
async def transport_to(port, scheme="http", **how):
    transport = GrpcTransport(OtlpSettings(endpoint=f"{scheme}://127.0.0.1:{port}", protocol="grpc", **how))
    try:
        yield transport
    finally:
        await transport.close()


def verdict_of(answer, **how):
    async def main():
        async with serving(answer) as service, transport_to(service.port) as transport:
            return await transport.send(b"", 4, how.get("timeout_s", 5.0))

    return asyncio.run(main())


def failing(code, message="", retry_after_s=None):
    async def answer(context):
        if retry_after_s is not None:
            info, packed = RetryInfo(), Any()
            info.retry_delay.FromMilliseconds(int(retry_after_s * 1_000))
            packed.Pack(info)
            details = Status(code=code.value[0], details=[packed]).SerializeToString()
            context.set_trailing_metadata((("grpc-status-details-bin", details),))
        await context.abort(code, message)

    return answer


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_request_arrives(compression):
    async def main():
        headers = (("Authorization", "Bearer x"),)
        async with serving() as service:
            async with transport_to(service.port, compression=compression, headers=headers) as transport:
                (request,) = Encoder().steps(light(3))
                for _ in range(2):
                    assert await transport.send(await transport.pack(request), 3, 5.0) == ACCEPTED
                assert "open" in repr(transport)
        assert service.names == ["GET /orders"] * 6
        assert service.metadata["authorization"] == "Bearer x"
        assert service.metadata["user-agent"].startswith("OTel-OTLP-Exporter-Python-Seawall/")

    asyncio.run(main())


def test_a_partial_success():
    async def answer(_):
        response = ExportTraceServiceResponse()
        response.partial_success.rejected_spans = 3
        return response

    assert verdict_of(answer) == Verdict(answer=Answer.ACCEPTED, rejected=3)


@pytest.mark.parametrize(
    ("code", "answer", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, Answer.RETRY, "unavailable"),
        (grpc.StatusCode.ABORTED, Answer.RETRY, "unavailable"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Answer.REFUSED, "refused"),
        (grpc.StatusCode.INVALID_ARGUMENT, Answer.REFUSED, "refused"),
        (grpc.StatusCode.UNAUTHENTICATED, Answer.REFUSED, "refused"),
    ],
)
def test_the_servers_verdicts(code, answer, reason):
    verdict = verdict_of(failing(code, "said so"))
    assert (verdict.answer, verdict.reason, verdict.text) == (answer, reason, f"{code.name} said so")


def test_a_wait_that_the_server_asks_for():
    verdict = verdict_of(failing(grpc.StatusCode.RESOURCE_EXHAUSTED, retry_after_s=2.5))
    assert (verdict.answer, verdict.reason, verdict.retry_after_s) == (Answer.RETRY, "throttled", 2.5)


def test_a_server_that_hangs():
    async def answer(_):
        await asyncio.Event().wait()

    verdict = verdict_of(answer, timeout_s=0.05)
    assert (verdict.answer, verdict.reason) == (Answer.RETRY, "timeout")


def test_a_server_that_refuses():
    async def main():
        async with transport_to(await refused_port()) as transport:
            return await transport.send(b"", 1, 5.0)

    verdict = asyncio.run(main())
    assert (verdict.answer, verdict.reason) == (Answer.RETRY, "unavailable")


def test_a_server_that_speaks_something_else():
    async def greet(_, writer):
        writer.write(b"220 mail.test ESMTP\r\n")
        await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        async with server, transport_to(server.sockets[0].getsockname()[1]) as transport:
            return await transport.send(b"", 1, 5.0)

    assert asyncio.run(main()).answer is Answer.RETRY


def test_a_server_that_answers_garbage():
    async def main():
        class Handler(grpc.GenericRpcHandler):
            def service(self, _):
                async def answer(request, context):
                    return b"\xff\xff"

                return grpc.unary_unary_rpc_method_handler(answer)

        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Handler(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with transport_to(port) as transport:
                return await transport.send(b"", 1, 5.0)
        finally:
            await server.stop(0)

    assert asyncio.run(main()).reason == "garbled"


def test_mutual_tls(certificates):
    def read(name):
        with open(getattr(certificates, name), "rb") as file:
            return file.read()

    async def main():
        pairs = [(read("server_key"), read("server_pem"))]
        credentials = grpc.ssl_server_credentials(pairs, read("ca_pem"), require_client_auth=True)
        async with serving(credentials=credentials) as service:
            known = {"client_certificate": certificates.client_pem, "client_key": certificates.client_key}
            async with transport_to(
                service.port, "https", certificate=certificates.ca_pem, **known
            ) as transport:
                assert await transport.send(b"", 0, 5.0) == ACCEPTED
            for how in (
                {},
                {"certificate": certificates.other_pem, **known},
                {"certificate": certificates.ca_pem},
            ):
                async with transport_to(service.port, "https", **how) as transport:
                    assert (await transport.send(b"", 0, 5.0)).reason == "unavailable"
            async with transport_to(service.port, "https", certificate="/nowhere.pem") as transport:
                assert (await transport.send(b"", 0, 5.0)).reason == "tls"
            assert len(service.requests) == 1

    asyncio.run(main())


def test_attempts_at_the_same_time_share_a_channel(certificates):
    async def main():
        settings = {"certificate": certificates.ca_pem, "in_flight": 2}
        async with transport_to(1, "https", **settings) as transport:
            transport._loop = asyncio.get_running_loop()
            first, second = await asyncio.gather(transport._open(), transport._open())
            assert first is second

    asyncio.run(main())


def test_an_error_of_our_own_is_a_verdict():
    async def main():
        async with transport_to(1) as transport:
            transport._call, transport._loop = 5, asyncio.get_running_loop()
            return await transport.send(b"", 1, 1.0)

    assert asyncio.run(main()).reason == "fault"


def test_another_loop_and_a_child_get_channels_of_their_own():
    transport = GrpcTransport(OtlpSettings(protocol="grpc"))

    async def main():
        async with serving() as service:
            transport._settings = OtlpSettings(endpoint=f"http://127.0.0.1:{service.port}", protocol="grpc")
            assert await transport.send(b"", 1, 5.0) == ACCEPTED
            first = transport._channel
            transport.forked()
            assert await transport.send(b"", 1, 5.0) == ACCEPTED
            assert transport._channel is not first
            assert first in transport._left_behind
            await first.close()
            await transport.close()
            assert await transport.send(b"", 1, 5.0) == ACCEPTED  # open again
            await transport._channel.close()

    asyncio.run(main())
    asyncio.run(main())
    assert len(transport._left_behind) == 3


def test_without_grpcio_it_says_what_to_do(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UsageError, match="pip install grpcio"):
        GrpcTransport(OtlpSettings(protocol="grpc"))


@pytest.mark.parametrize("compression", ["auto", "gzip"])
def test_an_exporter_by_grpc(compression):
    async def main():
        async with serving() as service:
            settings = OtlpSettings(
                endpoint=f"http://127.0.0.1:{service.port}", protocol="grpc", compression=compression
            )
            exporter = exporter_to(settings, Lane(light(1_000)))
            exporter.start()
            last = await exporter.stop(10.0)
            assert (last.exported, last.dropped["shutdown"]) == (1_000, 0)
            assert last.requests == (1 if compression == "auto" else len(service.requests))
            assert len(service.names) == 1_000
            assert (compression == "gzip") == (last.requests > 1)

    asyncio.run(main())
