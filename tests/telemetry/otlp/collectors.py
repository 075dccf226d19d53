"""Collectors that misbehave on command, certificates for those that speak TLS, lanes that tests fill."""

import asyncio
import contextlib
import gzip
import shutil
import ssl
import subprocess
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from seawall.testing import VirtualClock
from seawall.testing.loop import run

IDLE_S = 0.05
"""Real seconds that sockets and threads get before virtual time jumps."""


def on_virtual_time(main, clock=None):
    """Run ``main``; whatever waits for time doesn't."""
    return run(main, clock or VirtualClock(), idle_s=IDLE_S)


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
        message = ExportTraceServiceRequest.FromString(self.body)
        return [s.name for r in message.resource_spans for scope in r.scope_spans for s in scope.spans]


class Collector:
    """An HTTP server on the loop that answers as it is told.

    Args:
        answers: What happens to the first requests, in order; those that follow are accepted.
        tls: For a server that speaks TLS.
    """

    def __init__(self, *answers, tls=None):
        self._answers = list(answers)
        self._tls = tls
        self._tasks = set()
        self.requests = []
        self.connections = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1/traces"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._one(reader, writer):
                continue
        writer.transport.abort()

    async def _one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
        answer = self._answers.pop(0) if self._answers else accept
        if not getattr(answer, "early", False):
            raw = await reader.readexactly(int(headers["content-length"]))
            self.requests.append(Received(line, headers, raw))
        return await answer(writer)

    @property
    def names(self):
        """The names of all spans that came."""
        return [name for request in self.requests for name in request.names]


def reply(status=200, headers="", body=b""):
    """Answer properly."""

    async def answer(writer):
        head = f"HTTP/1.1 {status} Text\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        return "close" not in headers

    return answer


accept = reply(body=ExportTraceServiceResponse().SerializeToString())


def raw(data):
    """Answer with these bytes and close."""

    async def answer(writer):
        writer.write(data)
        await writer.drain()
        writer.close()
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


async def hang(writer):
    """Never answer."""
    await asyncio.Event().wait()


async def refused_port():
    """A port at which nobody listens."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


class Lane:
    """Spans that wait, as in the tracer's lane."""

    def __init__(self, spans=()):
        self.spans = list(spans)
        self.takes = []

    def take(self, limit):
        taken, self.spans = self.spans[:limit], self.spans[limit:]
        self.takes.append(len(taken))
        return taken


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
