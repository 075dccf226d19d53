"""A receiver of OTLP in a process of its own: accepts spans, decodes and counts them.

``python -m benchmarks.telemetering.receiver``. Prints its port, then, for each line on standard input, how
many spans have come since the last one.
"""

from __future__ import annotations

import gzip
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.telemetering.delays import as_others

_came = [0]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        request = ExportTraceServiceRequest.FromString(body)
        _came[0] += sum(
            len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans
        )
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Say nothing."""


def main() -> None:
    as_others()  # the one who sends may go before others
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_address[1], flush=True)
        for _ in sys.stdin:
            came, _came[0] = _came[0], 0
            print(came, flush=True)
        server.shutdown()


if __name__ == "__main__":
    main()
