"""A blocking connection that speaks in messages, and a tiny server, for tests against real peers."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping

from seawall.wire.pgwire import messages
from seawall.wire.pgwire.login import ClientLogin, LoginRefused, ServerLogin
from seawall.wire.pgwire.passwords import Secret
from seawall.wire.pgwire.startup import (
    CancelRequested,
    GssRequested,
    SslRequested,
    StartupReader,
    StartupRequested,
    agreed_minor,
    negotiation,
)

TIMEOUT_S = 20
CHUNK_BYTES = 4096
MOCK_KEY = b"the same in every worker"


class Line:
    """Messages over a socket."""

    def __init__(self, sock: socket.socket, received: bytes = b"") -> None:
        sock.settimeout(TIMEOUT_S)
        self.sock = sock
        self.received = received

    def _take(self, size: int) -> bytes:
        while len(self.received) < size:
            more = self.sock.recv(CHUNK_BYTES)
            if not more:
                raise EOFError(self.received)
            self.received += more
        taken, self.received = self.received[:size], self.received[size:]
        return taken

    def read(self) -> tuple[int, bytes]:
        head = self._take(5)
        return head[0], self._take(int.from_bytes(head[1:], "big") - 4)

    def read_until(self, last: bytes) -> list[tuple[bytes, bytes]]:
        """All messages up to the first of a kind."""
        found: list[tuple[bytes, bytes]] = []
        while not found or found[-1][0] != last:
            kind, body = self.read()
            found.append((bytes([kind]), body))
        return found


class ServerError(Exception):
    """The server sent an ErrorResponse; its fields."""


def log_in(
    line: Line, login: ClientLogin, parameters: Mapping[str, str], minor: int = 0
) -> list[tuple[bytes, bytes]]:
    """Log in to a server; everything it said but authentication."""
    line.sock.sendall(messages.startup_message(parameters, minor=minor))
    said: list[tuple[bytes, bytes]] = []
    while not login.done:
        kind, body = line.read()
        if kind == ord("E"):
            raise ServerError(messages.parse_fields(body))
        if kind == ord("R"):
            line.sock.sendall(login.receive(kind, body))
        else:
            said.append((bytes([kind]), body))
    return said + line.read_until(b"Z")


class TinyServer:
    """Lets clients in by one method and answers every query with one row; a thread for each connection."""

    def __init__(self, method: str, secrets: Mapping[str, Secret]) -> None:
        self.method = method
        self.secrets = secrets
        self.events: list[object] = []
        self.refusals: list[LoginRefused] = []
        self.logins: list[ServerLogin] = []
        self.minors: list[int] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self._accept)]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.threads.append(threading.Thread(target=self._serve, args=[sock]))
            self.threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(EOFError, ConnectionError):
            self._session(sock)

    def _startup(self, sock: socket.socket) -> tuple[StartupRequested | CancelRequested, Line]:
        reader = StartupReader()
        sock.settimeout(TIMEOUT_S)
        while True:
            data = sock.recv(CHUNK_BYTES)
            if not data:
                raise EOFError
            for event in reader.feed(data):
                self.events.append(event)
                if isinstance(event, SslRequested | GssRequested):
                    sock.sendall(b"N")
                    reader.answered()
                elif isinstance(event, StartupRequested | CancelRequested):
                    return event, Line(sock, reader.rest)

    def _session(self, sock: socket.socket) -> None:
        request, line = self._startup(sock)
        if isinstance(request, CancelRequested):
            return
        sock.sendall(negotiation(request) or b"")
        self.minors.append(agreed_minor(request))
        login = ServerLogin(
            self.method,
            request.user,
            self.secrets.get(request.user),
            nonce=os.urandom(18),
            salt=os.urandom(4),
            mock_key=MOCK_KEY,
        )
        self.logins.append(login)
        try:
            sock.sendall(login.start())
            while not login.done:
                sock.sendall(login.receive(*line.read()))
        except LoginRefused as refused:
            self.refusals.append(refused)
            sock.sendall(messages.error_response(refused.sqlstate, str(refused), severity="FATAL"))
            return
        self._greet(line, 32 if self.minors[-1] >= 2 else 4)

    def _greet(self, line: Line, key_bytes: int) -> None:
        settings = {
            "server_version": "15.0",
            "server_encoding": "UTF8",
            "client_encoding": "UTF8",
            "standard_conforming_strings": "on",
            "integer_datetimes": "on",
        }
        said = [messages.parameter_status(name, value) for name, value in settings.items()]
        said += [messages.backend_key_data(77, b"k" * key_bytes), messages.ready_for_query(b"I")]
        line.sock.sendall(b"".join(said))
        while True:
            kind, _ = line.read()
            if kind == ord("X"):
                return
            if kind == ord("Q"):
                answer = messages.row_description([("answer", 23)]) + messages.data_row([b"42"])
                line.sock.sendall(
                    answer + messages.command_complete("SELECT 1") + messages.ready_for_query(b"I")
                )


@contextlib.contextmanager
def serving(method: str, secrets: Mapping[str, Secret]) -> Iterator[TinyServer]:
    """Serve in threads; ends when the last connection does."""
    server = TinyServer(method, secrets)
    server.threads[0].start()
    try:
        yield server
    finally:
        server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()
        for thread in server.threads:
            thread.join(TIMEOUT_S)
            assert not thread.is_alive()
