"""A real gRPC server that takes spans, made from OTLP's own stubs."""

import contextlib
from concurrent import futures

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

from tests.telemetry.otlp.collectors import GIVE_UP_S
from tests.telemetry.otlp.reading import spans_in


class Service(TraceServiceServicer):
    """Keeps what comes; answers by ``answer``."""

    def __init__(self, answer):
        self.answer = answer
        self.requests = []
        self.metadata = {}

    def Export(self, request, context):
        self.requests.append(request)
        self.metadata = dict(context.invocation_metadata())
        return self.answer(context) if self.answer else ExportTraceServiceResponse()

    @property
    def names(self):
        return [span.name for each in self.requests for span in spans_in(each)]


@contextlib.contextmanager
def serving(answer=None, credentials=None):
    with futures.ThreadPoolExecutor(4) as pool:
        service, server = Service(answer), grpc.server(pool)
        add_TraceServiceServicer_to_server(service, server)
        if credentials is None:
            service.port = server.add_insecure_port("127.0.0.1:0")
        else:
            service.port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        try:
            yield service
        finally:
            server.stop(None).wait(GIVE_UP_S)
