"""One listening address: uvicorn's HTTP protocol on the running loop, with limits on connections and on time.

A connection's time is measured from its side, because a slow client is never inside a request ::

    state      event                                    next      timer
    waiting    connected, or a byte of a request comes  hearing   header_s; later bytes don't move it
    hearing    the headers are complete                 busy      none; the gate has one
    busy       the answer is complete                   idle      keep_alive_s
    idle       a byte comes                             hearing   header_s
    hearing    it was the end of an unwanted body       idle      keep_alive_s
    hearing    its timer                                closing   408, not in unwanted bodies; linger_s
    idle       its timer                                closing   linger_s
    any        closed by us                             closing   linger_s for the client to take the rest
    closing    its timer                                gone      cut

uvicorn's own ``Server`` is not used: it handles the process's signals, sets its loggers, ends the process
if it can't bind, and wakes up ten times a second. Neither suits a guest in somebody's event loop. What is
used of it is the protocol, its configuration and the shared state of its connections. Nothing is logged
here; all is counted.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Final

import h11
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from seawall.kernel.errors import UsageError
from seawall.telemetry.serving.access import Binding
from seawall.telemetry.serving.gate import CONNECTION, Limits, send_problem
from seawall.telemetry.serving.problems import ProblemDetails

__all__ = ["Listener", "ListenerStatistics"]

BACKLOG: Final = 128
"""Connections the kernel keeps until they are accepted."""

_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

_AMBIGUOUS: Final = ProblemDetails(
    status=400, detail="The length of the body is told in two ways.", headers={"Connection": "close"}
)
_LENGTHS: Final = frozenset({b"content-length", b"transfer-encoding"})

_SILENT: Final = logging.Logger("silent", logging.CRITICAL + 10)  # noqa: LOG001 -- getLogger shares
"""Stands outside the process's loggers and says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerStatistics:
    """What connected to a listener.

    Attributes:
        open: Connections at this moment.
        accepted: Connections so far; with TLS, those whose handshake succeeded.
        refused: Closed at once because too many were open.
        too_slow: Cut because a request's headers did not come in time.
        malformed: Closed because what came was no HTTP, or could be read in two ways.
        cut: Ended by force: in the middle of an answer, or because the client did not take the rest.
    """

    open: int
    accepted: int
    refused: int
    too_slow: int
    malformed: int
    cut: int


class _State(ServerState):
    """What the connections of one listener share."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self.limits = limits
        self.second = 0
        self.accepted = self.refused = self.too_slow = self.malformed = self.cut = 0
        self.empty = asyncio.Event()
        self.empty.set()


class _Config(Config):
    """uvicorn's settings for a guest."""

    def configure_logging(self) -> None:
        """Leave the process's loggers alone."""


class _Connection(H11Protocol):
    """One connection; see the module's table."""

    server_state: _State

    def __init__(
        self,
        config: Config,
        server_state: _State,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = _SILENT
        self.access_log = False
        self.app_state = {CONNECTION: self.abort}
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's
        state = self.server_state
        super().connection_made(transport)
        state.empty.clear()
        if len(state.connections) > state.limits.connections:
            state.refused += 1
            transport.abort()
            return
        state.accepted += 1
        self._set_timer(state.limits.header_s, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_timer(None)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        if not self.server_state.connections:
            self.server_state.empty.set()

    def data_received(self, data: bytes) -> None:
        if self._over or self.transport.is_closing():
            return
        second = int(time.time())
        if second != self.server_state.second:
            self.server_state.second = second
            self.server_state.default_headers = [(b"date", formatdate(second, usegmt=True).encode())]
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_closing()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch_closing()

    def send_400_response(self, msg: str) -> None:
        self.server_state.malformed += 1
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:  # an answer is under way already
            self.transport.close()
        self._watch_closing()

    def shutdown(self) -> None:
        try:
            super().shutdown()
        except h11.LocalProtocolError:
            self.transport.close()
        self._watch_closing()

    def abort(self) -> None:
        """Cut the connection, so that the client sees that something is missing."""
        if not self.transport.is_closing():
            self.server_state.cut += 1
        self.transport.abort()

    def _watch(self) -> None:
        complete = getattr(self.cycle, "response_complete", None)  # None before the first request
        if self.transport.is_closing():
            self._watch_closing()
        elif complete is False:
            self._set_timer(None)
        elif complete and self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            self._set_timer(None)
            self._unset_keepalive_if_required()
            keep_alive_s = self.server_state.limits.keep_alive_s
            self.timeout_keep_alive_task = self.loop.call_later(keep_alive_s, self.timeout_keep_alive_handler)
        elif self._timer is None:
            self._set_timer(self.server_state.limits.header_s, self._too_slow)

    def _watch_closing(self) -> None:
        if self.transport.is_closing():
            self._set_timer(self.server_state.limits.linger_s, self._linger_over)

    def _too_slow(self) -> None:
        self._timer = None
        self.server_state.too_slow += 1
        if self.transport.is_closing():
            self._watch_closing()
            return
        self._over = True
        if self.conn.their_state is not h11.SEND_BODY:  # else it was answered, and only the body is left
            self.transport.write(_TOO_SLOW)
        # Closed on top of bytes that still come, the connection would be reset, and the answer lost with it.
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
        self._set_timer(self.server_state.limits.linger_s, self._linger_over)

    def _linger_over(self) -> None:
        self._timer = None
        self.server_state.cut += 1
        self.transport.abort()

    def _set_timer(self, delay_s: float | None, then: Callable[[], None] | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if delay_s is None or then is None else self.loop.call_later(delay_s, then)


class Listener:
    """A listening address and its connections.

    Args:
        binding: Where, and how it encrypts.
        app: Answers.
        limits: What clients are given.

    Attributes:
        binding: As given.
    """

    def __init__(self, binding: Binding, app: ASGIApp, limits: Limits) -> None:
        self.binding = binding
        self._app = app
        self._limits = limits
        self._server: asyncio.Server | None = None
        self._state: _State | None = None

    @property
    def port(self) -> int:
        """The port it listens on; 0 before it does."""
        sockets = () if self._server is None else self._server.sockets
        return int(sockets[0].getsockname()[1]) if sockets else 0

    @property
    def url(self) -> str:
        """How to reach it, as far as its settings tell."""
        scheme = "https" if self.binding.tls else "http"
        host = f"[{self.binding.host}]" if ":" in self.binding.host else self.binding.host
        return f"{scheme}://{host}:{self.port}"

    async def start(self) -> None:
        """Bind and listen.

        Raises:
            PolicyError: The files for TLS are not what they should be.
            UsageError: The address can't be bound, or it listens already.
        """
        if self._server is not None:
            raise UsageError(f"{self.binding.key}: it listens already; stop it first")
        context = None if self.binding.tls is None else self.binding.tls.context(self.binding.key)
        limits = self._limits
        config = _Config(
            self._app,
            http=_Connection,
            ws="none",
            loop="none",
            lifespan="off",
            interface="asgi3",
            workers=1,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=limits.keep_alive_s,
            h11_max_incomplete_event_size=limits.header_bytes,
        )
        config.load()
        state = _State(limits)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            # What a proxy before this server took for the end may be another one (RFC 9112, section 6.1).
            if {name for name, _ in scope["headers"]} >= _LENGTHS:
                state.malformed += 1
                await send_problem(_AMBIGUOUS, send)
            else:
                await self._app(scope, receive, send)

        config.loaded_app = app  # without what uvicorn wraps around it, which logs
        loop = asyncio.get_running_loop()
        self._server = await self._bind(loop, lambda: _Connection(config, state, {}, loop), context)
        self._state = state

    async def stop(self, grace_s: float) -> None:
        """Take no more connections, let requests end, cut what is left; nothing happens if it doesn't listen.

        Args:
            grace_s: Seconds for requests that are under way.
        """
        server, state = self._server, self._state
        if server is None or state is None:
            return
        self._server = None
        server.close()
        for connection in list(state.connections):
            connection.shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await state.empty.wait()
        tasks = list(state.tasks)
        for task in tasks:
            task.cancel()
        for connection in list(state.connections):
            if isinstance(connection, _Connection):
                connection.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        await state.empty.wait()  # the transports tell in the loop's next turn
        await server.wait_closed()

    def statistics(self) -> ListenerStatistics:
        """Counters, all of one moment; they begin anew with each start."""
        state = self._state
        if state is None:
            return ListenerStatistics(open=0, accepted=0, refused=0, too_slow=0, malformed=0, cut=0)
        return ListenerStatistics(
            open=len(state.connections),
            accepted=state.accepted,
            refused=state.refused,
            too_slow=state.too_slow,
            malformed=state.malformed,
            cut=state.cut,
        )

    def __repr__(self) -> str:
        now = self.statistics()
        return f"<Listener {self.url} open={now.open} accepted={now.accepted} refused={now.refused}>"

    async def _bind(
        self,
        loop: asyncio.AbstractEventLoop,
        factory: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext | None,
    ) -> asyncio.Server:
        handshake_s = None if context is None else self._limits.handshake_s
        binding = self.binding
        try:
            return await loop.create_server(
                factory,
                binding.host,
                binding.port,
                ssl=context,
                backlog=BACKLOG,
                ssl_handshake_timeout=handshake_s,
            )
        except OSError as error:
            raise UsageError(
                f"{binding.key}.host, {binding.key}.port = {binding.host}:{binding.port}: it can't be bound"
                f" ({error.strerror or type(error).__name__}); stop what listens there, or choose another"
            ) from None
