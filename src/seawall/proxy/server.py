"""One connection to a server: forwards what it says.

Bytes go on as they came. Of each message only the five bytes of its header are read, and of a few kinds the
body: CommandComplete (its tag may tell that session state changed), ReadyForQuery (transaction status),
ParameterStatus, ErrorResponse. No row is ever held: a message that is only partly there is forwarded as far
as it came. What the server still owes is kept in ``owing``.

Source: PostgreSQL documentation, chapter "Message Flow".
"""

from __future__ import annotations

from os import write
from typing import Any, Final

from seawall.kernel.errors import ValidationError
from seawall.proxy.owed import (
    BOUND,
    DESCRIBED,
    EXECUTED,
    FREED,
    HIDDEN,
    SAMPLE_BOUND,
    SAMPLED,
    SIMPLE,
    STREAMED,
    SYNCED,
    UNASKED,
    UNNAMED,
)
from seawall.proxy.owing import BROKEN, MADE_UP_FROM, OPEN, Owing
from seawall.proxy.sink import Sink
from seawall.wire.pgwire.exchange import (
    BIND_COMPLETE_MESSAGE,
    ORDINARY_TAGS,
    QUERY_ALONE,
    READY_BYTES,
    READY_HEAD,
    answers,
)
from seawall.wire.pgwire.framing import (
    BIND_COMPLETE,
    COMMAND_COMPLETE,
    COPY_DATA,
    DATA_ROW,
    HEADER,
    HEADER_BYTES,
    NO_DATA,
    PARSE_COMPLETE,
    ROW_DESCRIPTION,
)
from seawall.wire.pgwire.messages import ProtocolViolation

__all__ = ["BROKEN", "CARRY_LIMIT", "OPEN", "Server"]

CARRY_LIMIT: Final = 65_536
"""A message whose body is wanted is held back until it is whole, up to this size; or else streamed unread."""

WRITE: Final = write
"""A name of its own: compiled code looks up those of other modules at every call."""


class Server(Owing):
    """One logged-in server connection. The protocol of its transport.

    Attributes:
        said: what it was sent last.
        fitted_at: when it was last put into a client's session state.
    """

    __slots__ = ("fitted_at", "said")

    def __init__(self, transport: Any, sink: Sink, max_statements: int) -> None:  # noqa: ANN401
        super().__init__(transport, sink, max_statements)
        self.said: bytes = b""
        self.fitted_at: float = 0.0

    # --- the transport's side -----------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401
        """The transport is this one (it was handed over after the login)."""
        self.transport = transport

    def eof_received(self) -> bool:
        """A server that stops talking is gone."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever uses it."""
        del error
        self.fd = -1
        if self.state != BROKEN:
            self.state = BROKEN
            self.sink.lost(self)

    def pause_writing(self) -> None:
        """Its socket is full: whoever sends must wait."""
        self.sink.throttle(stop=True)

    def resume_writing(self) -> None:
        """Its socket has room again."""
        self.sink.throttle(stop=False)

    def data_received(self, data: bytes) -> None:
        """Forward a chunk; a server that is out of step is cut and nothing of its chunk passed on."""
        what = self.whole
        if what and not (self._carry or self._skip or self.dying) and answers(data, what):
            self.status = data[-1]
            self.whole = 0
            if self.tap is not None:
                self.tap.heard(data)
            self.sink.deliver(data)
            self.sink.settled(self)
            return
        try:
            if self.sampling and not (self._carry or self._skip or self.dying or what or self.stalled):
                data = self._ordinary(data)
                if not data:
                    return
            self._relay(data)
        except ValidationError:
            self._ready = False
            self.unsynced = self.astray = True
            self.last_error = b""
            self.cut()

    def _ordinary(self, data: bytes) -> bytes:
        """Drop the answer to our question, and forward the ordinary one to the Query behind it.

        Returns what is left of the chunk.
        """
        owes = self.entered
        if owes[0] in (SAMPLE_BOUND, SAMPLED):
            data = data[self._swallow_whole(data, 0) :]
        if len(owes) != 1 or owes[0] != SIMPLE:
            return data
        if not data:
            owes.clear()
            self.whole = QUERY_ALONE
        elif answers(data, QUERY_ALONE):
            owes.clear()
            self.status = data[-1]
            if self.tap is not None:
                self.tap.heard(data)
            self.sink.deliver(data)
            self.sink.settled(self)
            return b""
        return data

    def _relay(self, data: bytes) -> None:  # noqa: C901, PLR0912, PLR0915 -- a hot loop
        """Forward a chunk, and take off ``pending`` what it answers."""
        if self._carry:
            data = self._carried(data)
        end = len(data)
        position, pending, hidden = self._skip, self.pending, self.sampling
        pieces: list[bytes] = []
        start = self._began(data, position, pieces) if position else 0
        kind: int  # of what comes out of HEADER nothing is known otherwise, and nothing is fast
        length: int
        while position + HEADER_BYTES <= end:
            kind, length = HEADER.unpack_from(data, position)
            after: int = position + 1 + length
            if length < 4:
                raise ProtocolViolation
            if hidden and pending and pending[0] in HIDDEN and kind not in UNASKED:
                after = self._swallowed(kind, data, position, after)
                if not after:
                    break
                pieces.append(data[start:position])
                start = after
            elif kind == DATA_ROW or kind == COPY_DATA:  # noqa: PLR1714, SIM109 -- twice as fast
                position = after
                continue
            elif after > end and (kind not in STREAMED or not pending) and length <= CARRY_LIMIT:
                break
            elif not pending and kind not in UNASKED:
                raise ProtocolViolation
            elif kind == COMMAND_COMPLETE:
                if pending[0] == EXECUTED:
                    pending.popleft()
                self.copying = False
                if data[position + 5 : position + 8] not in ORDINARY_TAGS:
                    self._tagged(data[position + 5 : max(after - 1, position + 5)])
                elif pending and pending[0] == FREED:
                    raise ProtocolViolation
                if after + READY_BYTES == end and data.startswith(READY_HEAD, after):
                    after += self._ended(data[after + 5])
            elif kind == ROW_DESCRIPTION or kind == NO_DATA or kind == BIND_COMPLETE:  # noqa: PLR1714, SIM109
                if pending[0] == (BOUND if kind == BIND_COMPLETE else DESCRIBED):
                    pending.popleft()
            elif kind == PARSE_COMPLETE and pending[0] == UNNAMED:
                pending.popleft()
                self.notes.popleft()
                if pending and pending[0] == BOUND and data.startswith(BIND_COMPLETE_MESSAGE, after):
                    pending.popleft()
                    after += HEADER_BYTES
            elif self._replied(kind, data, position, after):
                pieces.append(data[start:position])
                start = after
            position = after
            if pending and pending[0] >= MADE_UP_FROM and position <= end:
                pieces.append(data[start:position])
                start = position
                pieces.append(self._make_up())
        if position != end or start or pieces:
            data = self._cut(data, position, start, pieces)
        else:
            self._skip = 0
        self._forward(data)

    def _carried(self, data: bytes) -> bytes:
        """What was kept of the chunk before, and this one."""
        data = self._carry + data
        self._carry = b""
        return data

    def _began(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        """A message ends here: what is made up goes behind it; where what goes on as it is starts."""
        if position > len(data) or not self.pending or self.pending[0] < MADE_UP_FROM:
            return 0
        pieces.append(data[:position])
        pieces.append(self._make_up())
        return position

    def _ended(self, status: int) -> int:
        """A ReadyForQuery follows the command it ends: take it off at once; how many bytes that is, or 0."""
        if not self.pending or self.pending[0] > SYNCED:
            return 0
        self.status = status
        self._ready = True
        self.pending.popleft()
        return READY_BYTES

    def _cut(self, data: bytes, position: int, start: int, pieces: list[bytes]) -> bytes:
        """What of a chunk goes on now: with replies that are made up, without the end that has to wait."""
        end = len(data)
        if position < end:
            self._carry = data[position:]
            end = position
            self._skip = 0
        else:
            self._skip = position - end
            if self._skip and not self.pending and not self.unsynced:
                raise ProtocolViolation  # the rest would reach whoever is next
        if start or end != len(data) or pieces:
            pieces.append(data[start:end])
            data = b"".join(pieces)
        return data

    def _forward(self, data: bytes) -> None:
        """Pass on a chunk, and what it means for whoever is served."""
        ready, self._ready = self._ready, False
        if self.dying and not ready and self.journal is not None and not self.journal.told:
            # It began an answer and ended: whoever has seen nothing of it can be answered by another server.
            self.suppressed = bool(data)
            data = b""
        if data:
            if self.tap is not None:
                self.tap.heard(data)
            self.sink.deliver(data)
        if self.stalled and (self.copying or self.skipping or (ready and SYNCED not in self.pending)):
            self.stalled = False
            self.sink.resume()
        if self.dying:
            self.state = BROKEN
            self.transport.abort()
            self.sink.lost(self)
        elif ready and not self.pending and not self.unsynced:
            self.sink.settled(self)

    # --- the sender's side --------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send bytes whose replies have been entered into ``pending``."""
        self.said = data
        if self.tap is not None:
            self.tap.said(data)
        if self.buffered and self._holds_back():
            self.transport.write(data)
            return
        try:
            taken: int = WRITE(self.fd, data)
        except OSError:
            taken = 0
        if taken != len(data):
            self.buffered = True
            self.transport.write(data[taken:])

    def _holds_back(self) -> bool:
        """Whether what was said before, by the transport, is not all on its way."""
        transport = self.transport
        self.buffered = bool(transport.get_write_buffer_size()) or bool(transport.is_closing())
        return self.buffered

    def close(self) -> None:
        """Say goodbye and close; nobody is told."""
        self.buffered = True
        if self.state != BROKEN:
            self.state = BROKEN
            self.transport.write(b"X\0\0\0\4")
            self.transport.close()

    def cut(self) -> None:
        """Cut the connection and tell whoever uses it, as if the server had ended it."""
        self.buffered = True
        self.transport.abort()
        self.connection_lost(None)

    def abort(self) -> None:
        """Cut the connection; nobody is told."""
        self.buffered = True
        if self.state != BROKEN:
            self.state = BROKEN
            self.transport.abort()
