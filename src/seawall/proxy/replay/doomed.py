"""A client whose transaction is lost and can't be said again: it is answered as in a failed transaction.

Its server connection is gone, and with it the transaction. The client may not know yet, and may say more of
it: nothing of that may run, or half of the transaction would. So it is answered here, as a server answers in
a failed transaction: 40001 once, then 25P02, until the client ends the transaction itself, by ROLLBACK or by
COMMIT, whose answer is ROLLBACK.

The theory, for messages in the order in which they come:

    =====================  =====================================================================
    Query                  one that ends the transaction: its tag and "idle"; any other: the error
                           and "failed"
    Parse, Bind, Describe  accepted for a text that ends the transaction; else the error, and
    Execute                everything is skipped until Sync
    Sync                   "failed", or "idle" if the transaction was ended since; if it is a batch alone that
                           is lost, the error before that, unless it was told
    Close, Flush           accepted
    CopyData and the like  nothing
    =====================  =====================================================================

Source: PostgreSQL documentation, chapter "Message Flow"; ``exec_parse_message`` for what is let through.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

from seawall.wire.pgwire import classify, framing, messages
from seawall.wire.pgwire.framing import HEADER, HEADER_BYTES

MESSAGE_LIMIT: Final = 65_536
"""A longer message ends no transaction, and is dropped as it comes."""
FAILED: Final = b"E"
IDLE: Final = b"I"
ROLLBACK: Final = messages.command_complete("ROLLBACK")
ABORTED: Final = messages.error_response(
    "25P02", "current transaction is aborted, commands ignored until end of transaction block"
)


def ends(sql: bytes) -> bool:
    """Whether a text does nothing but end the transaction."""
    flags = classify.classify(sql)
    ending = flags & (classify.COMMITS | classify.ROLLS_BACK)
    return bool(ending) and not flags & (
        classify.SEVERAL | classify.CHAINS | classify.UNSURE | classify.TWO_PHASE
    )


class Doomed:
    """Answers for one client until its transaction is over.

    Args:
        error: the ErrorResponse that tells why; empty if the client has had it.
        skipping: the client is within a batch that has failed.
        opened: it believes that a transaction is open; without one it is over with the batch.
        drop: so many bytes belong to a message of which a server had got the beginning.
        carry: the beginning of a message that no server has got.
        texts: its named statements; those that it closes are taken out.
    """

    __slots__ = (
        "_carry",
        "_drop",
        "_ending",
        "_error",
        "_finished",
        "_opened",
        "_skipping",
        "_texts",
        "over",
    )

    def __init__(
        self,
        error: bytes,
        *,
        skipping: bool,
        opened: bool,
        texts: MutableMapping[bytes, Any],
        drop: int = 0,
        carry: bytes = b"",
    ) -> None:
        self._error: bytes = error
        self._skipping: bool = skipping
        self._texts: MutableMapping[bytes, Any] = texts
        self._carry: bytes = carry
        self._drop: int = drop
        self._ending: bool = False
        """The unnamed statement, and so the unnamed portal, ends the transaction."""
        self._opened: bool = opened
        self._finished: bool = not opened
        """It was ended in the batch that is under way."""
        self.over: bool = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take in what the client says; what to answer, and what is left once the transaction is over."""
        if self._drop:
            cut = min(self._drop, len(data))
            self._drop -= cut
            data = data[cut:]
        data = self._carry + data
        self._carry = b""
        out: list[bytes] = []
        position, end = 0, len(data)
        while position + HEADER_BYTES <= end:
            kind, length = HEADER.unpack_from(data, position)
            after = position + 1 + length
            if kind == framing.TERMINATE or length < 4:
                return b"".join(out), data[position:]
            if after > end and length <= MESSAGE_LIMIT:
                break
            body = data[position + HEADER_BYTES : after]
            if length > MESSAGE_LIMIT:
                body, self._ending = b"", False  # maybe not all of it is here, so it ends nothing
            out.append(self._answer(kind, body))
            position = after
            if self.over:
                return b"".join(out), data[position:]
        if position > end:
            self._drop = position - end
        else:
            self._carry = data[position:]
        return b"".join(out), b""

    def _answer(self, kind: int, body: bytes) -> bytes:
        if kind == framing.SYNC:
            unsaid = b"" if self._skipping or self._opened else self._error
            self._skipping = False
            self.over = self._finished
            return unsaid + messages.ready_for_query(IDLE if self.over else FAILED)
        if kind == framing.QUERY:
            if ends(body.partition(b"\0")[0]):
                self.over = True
                return ROLLBACK + messages.ready_for_query(IDLE)
            return self._refusal() + messages.ready_for_query(FAILED)
        if kind == framing.FUNCTION_CALL:
            return self._refusal() + messages.ready_for_query(FAILED)
        if self._skipping or kind in framing.IN_COPY or kind == framing.COPY_FAIL:
            return b""
        answer = self._extended(kind, body)
        if answer is None:
            self._skipping = True
            return self._refusal()
        return answer

    def _extended(self, kind: int, body: bytes) -> bytes | None:
        """The answer to one message of a batch; ``None`` if it is refused."""
        if kind == framing.CLOSE:
            if body[:1] == b"S":
                self._texts.pop(body[1:].partition(b"\0")[0], None)
            return messages.CLOSE_COMPLETE
        if kind == framing.PARSE:
            name, _, rest = body.partition(b"\0")
            self._ending = not name and ends(rest.partition(b"\0")[0])
            return messages.PARSE_COMPLETE if self._ending else None
        if kind == framing.BIND:
            portal, _, rest = body.partition(b"\0")
            name = rest.partition(b"\0")[0]
            if name:
                known = self._texts.get(name)
                self._ending = known is not None and ends(known.tail.partition(b"\0")[0])
            return messages.BIND_COMPLETE if self._ending and not portal else None
        if kind == framing.DESCRIBE:
            nothing = HEADER.pack(framing.NO_DATA, 4)
            if body[:1] == b"S":
                nothing = HEADER.pack(framing.PARAMETER_DESCRIPTION, 6) + b"\0\0" + nothing
            return nothing if self._ending else None
        if kind == framing.EXECUTE and self._ending:
            self._ending = False
            self._finished = self._skipping = True  # what follows in this batch would need a server
            return ROLLBACK
        return None

    def _refusal(self) -> bytes:
        error, self._error = self._error, b""
        return error or ABORTED
