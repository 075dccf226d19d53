"""What the proxy itself asks a server, on a connection that a client has or has just left.

A ``Batch`` takes the connection's sink for as long as its answers take: the client behind it waits, the
answers never reach it. Everything up to each ReadyForQuery counts as one answer, also of an
extended-protocol batch with one Sync.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from seawall.proxy import owed
from seawall.proxy.owed import Note
from seawall.proxy.server import Server
from seawall.proxy.sink import Sink
from seawall.wire.pgwire import framing
from seawall.wire.pgwire.framing import HEADER, MessageReader
from seawall.wire.pgwire.messages import parse_data_row

ANSWER_LIMIT: Final = 16 * 1024 * 1024
"""Longest message in an answer to one of our own questions."""
ROWS_LIMIT: Final = 100_000


class Batch(Sink):
    """Some messages and their answers.

    Args:
        server: a connection on which nothing is owed.
        data: what to send.
        answers: how many ReadyForQuery it causes.
        done: called once with this batch when the last one came, or when the connection was lost.
        listener: takes notifications that come meanwhile: the transport of the client that listens.
    """

    __slots__ = ("_done", "_listener", "_reader", "answers", "described", "error", "gone", "rows", "server")

    def __init__(
        self,
        server: Server,
        data: bytes,
        answers: int,
        done: Callable[[Batch], None],
        listener: Any = None,  # noqa: ANN401 -- asyncio's and uvloop's transports have no common type
    ) -> None:
        self.server: Server = server
        self.answers: int = answers
        self.rows: list[list[bytes | None]] = []
        self.described: bytes = b""
        """The last RowDescription, without its header."""
        self.error: bytes | None = None
        self.gone: bool = False
        self._listener: Any = listener
        self._done: Callable[[Batch], None] = done
        self._reader: MessageReader = MessageReader(ANSWER_LIMIT)
        server.sink = self
        server.unnamed = None  # a Query drops it, and a Parse takes its place
        for _ in range(answers):
            server.pending.append(owed.SIMPLE)
        server.buffered = True
        server.transport.write(data)

    def deliver(self, data: bytes) -> None:
        """Collect rows.

        Raises:
            ProtocolViolation: they make no sense; the server cuts itself off.
        """
        for kind, body in self._reader.feed(data):
            if kind == framing.DATA_ROW and len(self.rows) < ROWS_LIMIT:
                self.rows.append(parse_data_row(body))
            elif kind == framing.ROW_DESCRIPTION:
                self.described = body
            elif kind == framing.NOTIFICATION and self._listener is not None:
                self._listener.write(HEADER.pack(kind, len(body) + 4) + body)

    def settled(self, server: Server) -> None:
        """All answers are there."""
        self._done(self)

    def parameter(self, server: Server, body: bytes) -> None:
        """A reported setting changed by our own doing."""
        server.pool.worker.fitting.server_parameter(server, body)

    def refused(self, server: Server, body: bytes) -> None:
        """Keep the first error."""
        if self.error is None:
            self.error = body

    def undone(self, note: Note, *, failed: bool) -> None:
        """Batches prepare nothing under a name."""

    def resume(self) -> None:
        """Batches never stall."""

    def forgotten(self) -> None:
        """Also when the proxy itself says so."""

    def lost(self, server: Server) -> None:
        """The connection is gone before the last answer."""
        self.gone = True
        self._done(self)

    def throttle(self, *, stop: bool) -> None:
        """Batches are small."""
