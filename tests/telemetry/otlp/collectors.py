"""Collectors that misbehave on command, certificates for those that speak TLS, lanes that tests fill."""

import contextlib
import gzip
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.telemetry.otlp.reading import spans_in

GIVE_UP_S = 10.0
"""A test that has gone wrong ends after so long."""


@dataclass
class Received:
    """One request."""

    line: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self):
        return gzip.decompress(self.raw) if self.headers.get("content-encoding") == "gzip" else self.raw

    @property
    def names(self):
        """The names of its spans."""
        return [span.name for span in spans_in(ExportTraceServiceRequest.FromString(self.body))]


class Collector(socketserver.ThreadingTCPServer):
    """An HTTP server on threads that answers as it is told.

    Args:
        answers: What happens to the first requests, in order; those that follow are accepted.
        tls: For a server that speaks TLS.
        port: Where; 0 lets the system choose.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = True

    def __init__(self, *answers, tls=None, port=0):
        super().__init__(("127.0.0.1", port), _Connection)
        self.answers = list(answers)
        self.tls = tls
        self.requests = []
        self.connections = 0
        self.over = threading.Event()
        self.port = self.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/v1/traces"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.shutdown()
        self._thread.join(GIVE_UP_S)
        self.server_close()

    @property
    def names(self):
        """The names of all spans that came."""
        return [name for request in self.requests for name in request.names]


class _Connection(socketserver.StreamRequestHandler):
    def setup(self):
        self.server.connections += 1
        if self.server.tls is not None:
            self.request = self.server.tls.wrap_socket(
                self.request, server_side=True, do_handshake_on_connect=False
            )
        super().setup()

    def handle(self):
        with contextlib.suppress(OSError):
            while self._one():
                continue

    def _one(self):
        line = self.rfile.readline().decode().strip()
        if not line:
            return False
        headers = {}
        while text := self.rfile.readline().decode("latin-1").strip():
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        answer = self.server.answers.pop(0) if self.server.answers else accept
        if not getattr(answer, "early", False):
            self.server.requests.append(
                Received(line, headers, self.rfile.read(int(headers["content-length"])))
            )
        return answer(self)

    def finish(self):
        with contextlib.suppress(OSError):
            super().finish()
        self.request.close()


def reply(status=200, headers="", body=b""):
    """Answer properly."""

    def answer(connection):
        head = f"HTTP/1.1 {status} Text\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        connection.wfile.write(head.encode() + body)
        return "close" not in headers

    return answer


accept = reply(body=ExportTraceServiceResponse().SerializeToString())


def raw(data):
    """Answer with these bytes and close."""

    def answer(connection):
        connection.wfile.write(data)
        return False

    return answer


def early(data):
    """Answer before the body has come, and close."""
    answer = raw(data)
    answer.early = True
    return answer


def partial(rejected, message="too old"):
    """Accept, but not all."""
    said = ExportTraceServiceResponse()
    said.partial_success.rejected_spans, said.partial_success.error_message = rejected, message
    return reply(body=said.SerializeToString(), headers="Content-Type: application/x-protobuf\r\n")


def hang(connection):
    """Never answer."""
    connection.server.over.wait(GIVE_UP_S)
    return False


def trickle(data, rest):
    """Answer with ``data``, and then ``rest`` byte by byte for as long as anybody listens."""

    def answer(connection):
        connection.wfile.write(data)
        while not connection.server.over.wait(0.005):
            connection.wfile.write(rest)
        return False

    return answer


def refused_port():
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Lane:
    """Spans that wait, as in the tracer's lane."""

    def __init__(self, spans=()):
        self.spans = list(spans)
        self.takes = []
        self.forgotten = 0

    def take(self, limit):
        taken, self.spans = self.spans[:limit], self.spans[limit:]
        self.takes.append(len(taken))
        return taken

    def forget(self):
        self.forgotten += len(self.spans)
        self.spans = []


@dataclass(frozen=True)
class Certificates:
    """Files: an authority, a server for 127.0.0.1 and localhost, a client, and another authority."""

    folder: object

    def __getattr__(self, name):
        return str(self.folder / name.replace("_", "."))

    def server(self, *, wants_client=False):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server_pem, self.server_key)
        if wants_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca_pem)
        return context


def make_certificates(folder):
    """With the openssl program, which every machine with TLS has."""
    program = shutil.which("openssl")
    assert program, "these tests need the openssl program: install the package openssl"

    def openssl(*arguments):
        subprocess.run([program, *arguments], cwd=folder, check=True, capture_output=True, timeout=30)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "other"):
        openssl(
            *("req", "-x509", *key, "-keyout", f"{name}.key", "-out", f"{name}.pem"),
            *("-subj", f"/CN={name}", "-days", "2", "-addext", "keyUsage=critical,keyCertSign"),
        )
    for name, extension in (("server", "IP:127.0.0.1,DNS:localhost"), ("client", "DNS:client")):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / f"{name}.ext").write_text(f"subjectAltName={extension}\nauthorityKeyIdentifier=keyid\n")
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-out", f"{name}.pem", "-days", "2", "-extfile", f"{name}.ext"),
        )
    return Certificates(folder)
