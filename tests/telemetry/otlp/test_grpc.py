"""Against a real gRPC server, made from OTLP's own stubs."""

import contextlib
import importlib
import threading
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from seawall.kernel.errors import UsageError
from seawall.telemetry.otlp import Exporter, OtlpSettings
from seawall.telemetry.otlp.grpc import METHOD, GrpcTransport
from seawall.telemetry.otlp.verdict import Answer, Verdict
from tests.telemetry.otlp.collectors import GIVE_UP_S, Collector, Lane, raw, refused_port
from tests.telemetry.otlp.grpc_collector import serving
from tests.telemetry.otlp.reading import requests_of
from tests.telemetry.otlp.samples import light

ACCEPTED = Verdict(answer=Answer.ACCEPTED)


@contextlib.contextmanager
def transport_to(port, scheme="http", **how):
    transport = GrpcTransport(OtlpSettings(endpoint=f"{scheme}://127.0.0.1:{port}", protocol="grpc", **how))
    try:
        yield transport
    finally:
        transport.close()


def verdict_of(answer, timeout_s=GIVE_UP_S):
    with serving(answer) as service, transport_to(service.port) as transport:
        return transport.send(b"", 4, timeout_s)


def failing(code, message="", retry_after_s=None):
    def answer(context):
        if retry_after_s is not None:
            info, packed = RetryInfo(), Any()
            info.retry_delay.FromMilliseconds(int(retry_after_s * 1_000))
            packed.Pack(info)
            details = Status(code=code.value[0], details=[packed]).SerializeToString()
            context.set_trailing_metadata((("grpc-status-details-bin", details),))
        context.abort(code, message)

    return answer


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_request_arrives(compression):
    headers = (("Authorization", "Bearer x"),)
    (request,) = requests_of(light(3))
    with serving() as service:
        with transport_to(service.port, compression=compression, headers=headers) as transport:
            for _ in range(2):
                assert transport.send(request.body, 3, GIVE_UP_S) == ACCEPTED
            assert "open" in repr(transport)
            transport.close()
            assert "closed" in repr(transport)
            assert transport.send(request.body, 3, GIVE_UP_S) == ACCEPTED
    assert service.names == ["GET /orders"] * 9
    assert service.metadata["authorization"] == "Bearer x"
    assert service.metadata["user-agent"].startswith("OTel-OTLP-Exporter-Python-Seawall/")


def test_a_partial_success():
    def answer(_):
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
    over = threading.Event()

    def answer(_):
        over.wait(GIVE_UP_S)
        return ExportTraceServiceResponse()

    with serving(answer) as service, transport_to(service.port) as transport:
        verdict = transport.send(b"", 1, 0.2)
        over.set()
    assert (verdict.answer, verdict.reason) == (Answer.RETRY, "timeout")


def test_a_server_that_is_not_there():
    with transport_to(refused_port()) as transport:
        verdict = transport.send(b"", 1, GIVE_UP_S)
    assert (verdict.answer, verdict.reason) == (Answer.RETRY, "unavailable")


def test_a_server_that_speaks_something_else():
    with Collector(raw(b"220 mail.test ESMTP\r\n")) as collector, transport_to(collector.port) as transport:
        assert transport.send(b"", 1, GIVE_UP_S).answer is Answer.RETRY


def test_a_server_that_answers_garbage():
    def answer(request, context):
        return b"\xff\xff"

    handler = grpc.method_handlers_generic_handler(
        METHOD.split("/")[1], {"Export": grpc.unary_unary_rpc_method_handler(answer)}
    )
    with futures.ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool, handlers=(handler,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with transport_to(port) as transport:
            verdict = transport.send(b"", 1, GIVE_UP_S)
        server.stop(None).wait(GIVE_UP_S)
    assert (verdict.answer, "unreadable" in verdict.text) == (Answer.ACCEPTED, True)


def test_mutual_tls(certificates):
    def content(name):
        return Path(getattr(certificates, name)).read_bytes()

    pairs = [(content("server_key"), content("server_pem"))]
    credentials = grpc.ssl_server_credentials(pairs, content("ca_pem"), require_client_auth=True)
    known = {"client_certificate": certificates.client_pem, "client_key": certificates.client_key}
    with serving(credentials=credentials) as service:
        with transport_to(service.port, "https", certificate=certificates.ca_pem, **known) as transport:
            assert transport.send(b"", 0, GIVE_UP_S) == ACCEPTED
        for how in (
            {},
            {"certificate": certificates.other_pem, **known},
            {"certificate": certificates.ca_pem},
        ):
            with transport_to(service.port, "https", **how) as transport:
                assert transport.send(b"", 0, GIVE_UP_S).reason == "unavailable"
        with transport_to(service.port, "https", certificate="/nowhere.pem") as transport:
            assert transport.send(b"", 0, GIVE_UP_S).reason == "tls"
        assert len(service.requests) == 1


def test_an_error_of_our_own_is_a_verdict_without_a_text_of_its_own():
    def broken(*_, **__):
        raise ValueError("with a secret")

    with transport_to(1) as transport:
        transport._call = broken
        verdict = transport.send(b"", 1, 1.0)
    assert (verdict.answer, verdict.reason, verdict.text) == (Answer.RETRY, "fault", "ValueError")


def test_a_child_leaves_its_parents_channel_alone_and_gets_its_own():
    with serving() as service, transport_to(service.port) as transport:
        transport.forked()  # nothing to leave yet
        assert transport.send(b"", 1, GIVE_UP_S) == ACCEPTED
        parents = transport._call
        transport.forked()
        assert transport.send(b"", 1, GIVE_UP_S) == ACCEPTED
        assert transport._call is not parents
        assert parents(b"", timeout=GIVE_UP_S) == b""  # still open


def test_without_grpcio_it_says_what_to_do(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UsageError, match="pip install grpcio"):
        Exporter(Lane(), OtlpSettings(protocol="grpc"))


def test_an_exporter_by_grpc():
    with serving() as service:
        settings = OtlpSettings(endpoint=f"http://127.0.0.1:{service.port}", protocol="grpc")
        exporter = Exporter(Lane(light(1_000)), settings)
        exporter.start()
        last = exporter.stop(GIVE_UP_S)
    assert (last.exported, sum(last.dropped.values()), last.attempts) == (1_000, 0, 1)
    assert len(service.names) == 1_000
