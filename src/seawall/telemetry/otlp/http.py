"""OTLP/HTTP: posts requests to a collector by the standard library's client, over a connection that is kept.

For the exporter's thread: everything here blocks. An attempt never raises: whatever happens becomes a
:class:`~seawall.telemetry.otlp.verdict.Verdict`. No redirect is followed.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import select
import socket
import ssl
import time
from collections.abc import Callable
from http import client
from typing import Final, final

from seawall.telemetry.otlp.replies import http_verdict
from seawall.telemetry.otlp.settings import USER_AGENT, OtlpSettings
from seawall.telemetry.otlp.verdict import Answer, Verdict

__all__ = ["BODY_LIMIT", "GZIP_LEVEL", "HttpTransport", "client_context"]

BODY_LIMIT: Final = 64 * 1024
"""Bytes of a reply that are read. A collector answers in a few hundred."""

GZIP_LEVEL: Final = 1
"""Spans repeat themselves: level 6 takes twice the time of level 1 and saves a thirtieth."""


def client_context(settings: OtlpSettings) -> ssl.SSLContext:
    """The collector's certificate is checked, always: against the given authorities or the system's.

    Made for each connection, so that renewed certificates are taken up.

    Raises:
        OSError: A file can't be read, or holds something else.
    """
    context = ssl.create_default_context(cafile=settings.certificate)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.client_certificate is not None:
        # A password would be asked for at the terminal, by a thread that nobody sees.
        context.load_cert_chain(settings.client_certificate, settings.client_key, password=lambda: "")
    return context


@final
class HttpTransport:
    """Sends requests, one at a time.

    Args:
        settings: Where to, and how.
        wall: Seconds since 1970, for a collector that names a date.
    """

    __slots__ = ("_connection", "_headers", "_settings", "_wall")

    def __init__(self, settings: OtlpSettings, *, wall: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._wall = wall
        self._connection: _Connection | None = None
        self._headers = {"User-Agent": USER_AGENT, "Content-Type": "application/x-protobuf"}
        if settings.compression == "gzip":
            self._headers["Content-Encoding"] = "gzip"
        # In one spelling, so that an own User-Agent replaces ours.
        self._headers |= {name.title(): value for name, value in settings.headers}

    def send(self, body: bytes, spans: int, timeout_s: float) -> Verdict:
        """Make one attempt.

        Args:
            body: An ``ExportTraceServiceRequest``.
            spans: How many spans it holds.
            timeout_s: For all of it; but looking up a name takes what the system allows, and each of its
                addresses and each step of a handshake may take so long once more.
        """
        try:
            if self._settings.compression == "gzip":
                # In one call, without the interpreter.
                body = gzip.compress(body, GZIP_LEVEL, mtime=0)
            status, headers, answer = self._exchange(body, time.monotonic() + timeout_s)
            return http_verdict(status, headers, answer, spans=spans, wall=self._wall())
        except TimeoutError:
            return Verdict(answer=Answer.RETRY, reason="timeout", text=f"no reply within {timeout_s:g} s")
        except ssl.SSLError as error:
            return Verdict(answer=Answer.RETRY, reason="tls", text=str(error))
        except OSError as error:
            return Verdict(answer=Answer.RETRY, reason="connection", text=str(error))
        except client.HTTPException as error:
            return Verdict(answer=Answer.RETRY, reason="garbled", text=f"no HTTP: {type(error).__name__}")
        except Exception as error:  # noqa: BLE001 -- the application has nothing to do with it
            return Verdict(answer=Answer.RETRY, reason="fault", text=type(error).__name__)

    def close(self) -> None:
        """Let go of the connection; the next attempt makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def forked(self) -> None:
        """Begin anew in a child process. Closing there says nothing to the other side of the connection."""
        self.close()

    def _exchange(self, body: bytes, until: float) -> tuple[int, client.HTTPMessage, bytes]:
        kept, self._connection = self._connection, None
        if kept is not None and kept.quiet():
            # If the collector closes it just when we write, that is no failed attempt.
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                return self._talk(kept, body, until)
        elif kept is not None:
            kept.close()
        return self._talk(self._connect(until), body, until)

    def _talk(
        self, connection: _Connection, body: bytes, until: float
    ) -> tuple[int, client.HTTPMessage, bytes]:
        kept = False
        try:
            with connection.post(self._settings.url.path or "/", body, self._headers, until) as reply:
                try:
                    answer = reply.read(BODY_LIMIT)
                except (OSError, client.HTTPException):
                    answer = b""  # the status counts
                kept = reply.isclosed() and not reply.will_close
                return reply.status, reply.headers, answer
        finally:
            if kept:
                self._connection = connection
            else:
                connection.close()

    def _connect(self, until: float) -> _Connection:
        settings = self._settings
        timeout_s = _left_s(until)
        host = settings.url.hostname or ""
        http = (
            client.HTTPSConnection(host, settings.port, timeout=timeout_s, context=client_context(settings))
            if settings.secure
            else client.HTTPConnection(host, settings.port, timeout=timeout_s)
        )
        return _Connection(http)

    def __repr__(self) -> str:
        url = self._settings.url
        state = "idle" if self._connection is None else "connected"
        return f"<HttpTransport {url.scheme}://{url.hostname}:{self._settings.port} {state}>"


def _left_s(until: float) -> float:
    left_s = until - time.monotonic()
    if left_s <= 0.0:
        raise TimeoutError
    return left_s


@final
class _Connection:
    """A connection with a deadline for all of an exchange.

    A socket's timeout is for each step, and whoever sends a byte now and then would hold the thread for good.

    Args:
        http: Not yet connected.
    """

    def __init__(self, http: client.HTTPConnection) -> None:
        self._http = http
        self._until = 0.0
        try:
            http.connect()
        except BaseException:
            http.close()
            raise
        self._sock: socket.socket = http.sock
        http.sock = self  # what http.client needs of a socket is below

    def quiet(self) -> bool:
        """Whether nothing has come while it was idle.

        It would be the end, or words that nobody asked for and that would be taken for the next answer.
        """
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return not poll.poll(0)

    def post(self, path: str, body: bytes, headers: dict[str, str], until: float) -> client.HTTPResponse:
        """Send a request; the reply, of which the head has been read."""
        self._until = until
        # A collector that answers before it has read all, and then closes, is heard.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._http.request("POST", path, body, headers)
        return self._http.getresponse()

    def sendall(self, data: bytes) -> None:
        """As a socket's."""
        self.hasten()
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """As a socket's."""
        return io.BufferedReader(_Reader(self._sock.makefile("rb", buffering=0), self.hasten))

    def hasten(self) -> None:
        """Leave the next step no more time than the exchange has left."""
        self._sock.settimeout(_left_s(self._until))

    def close(self) -> None:
        """Close it, whatever is still unsent."""
        self._http.sock = None
        self._http.close()
        self._sock.close()


class _Reader(io.RawIOBase):
    """Reads from a socket, and calls ``before`` first."""

    def __init__(self, raw: io.RawIOBase, before: Callable[[], None]) -> None:
        self._raw = raw
        self._before = before

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int | None:  # type: ignore[override]  # RawIOBase's
        """One read."""
        self._before()
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Let go of the socket."""
        self._raw.close()
        super().close()
