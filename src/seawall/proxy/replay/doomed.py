"""A client whose transaction is lost and can't be said again: it is answered as in a failed transaction.

Its server connection is gone, and with it the transaction. The client may not know yet, and may say more of
it: nothing of that may run, or half of the transaction would. So it is answered here, as a server answers in
a failed transaction: 40001 once, then 25P02, until the client ends the transaction itself, by ROLLBACK or by
COMMIT. The answer to COMMIT is ROLLBACK, as a server's is, but only to a client that has been told 40001: one
that hasn't is told so now, because hardly anybody reads the tag of a COMMIT.

The theory, for messages in the order in which they come:

    =====================  =====================================================================
    Query                  one that ends the transaction: its tag and "idle" (for a COMMIT the error,
                           if it hasn't been told); any other: the error and "failed"
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
        unnamed: what its unnamed statement says.
        texts: its named statements; those that it closes are taken out.
    """

    __slots__ = (
        "_bound",
        "_carry",
        "_drop",
        "_error",
        "_finished",
        "_opened",
        "_portal",
        "_skipping",
        "_texts",
        "_unnamed",
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
        unnamed: bytes = b"-",
    ) -> None:
        self._error: bytes = error
        self._skipping: bool = skipping
        self._texts: MutableMapping[bytes, Any] = texts
        self._carry: bytes = carry
        self._drop: int = drop
        self._unnamed: bytes = unnamed
        """What the unnamed statement says."""
        self._bound: bytes = b"-"
        """What the portal that was bound last says."""
        self._portal: bytes = b""
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
                body, self._unnamed, self._bound = (
                    b"",
                    b"-",
                    b"-",
                )  # maybe not all of it is here: it ends nothing
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
            sql = body.partition(b"\0")[0]
            if ends(sql):
                self.over = True
                return self._end(sql) + messages.ready_for_query(IDLE)
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
                self._texts.pop(_name(body).partition(b"\0")[0], None)
            return messages.CLOSE_COMPLETE
        if kind == framing.PARSE:
            name, _, rest = body.partition(b"\0")
            self._unnamed = b"-" if name else rest.partition(b"\0")[0]
            return messages.PARSE_COMPLETE if ends(self._unnamed) else None
        if kind == framing.BIND:
            portal, _, rest = body.partition(b"\0")
            self._bound = self._text_of(rest.partition(b"\0")[0])
            self._portal = portal
            return messages.BIND_COMPLETE if ends(self._bound) else None
        if kind == framing.DESCRIBE:
            nothing = HEADER.pack(framing.NO_DATA, 4)
            if body[:1] == b"S":
                text = self._text_of(_name(body).partition(b"\0")[0])
                return (
                    HEADER.pack(framing.PARAMETER_DESCRIPTION, 6) + b"\0\0" + nothing if ends(text) else None
                )
            return nothing if self._is_bound(_name(body)) else None
        if kind == framing.EXECUTE and self._is_bound(body):
            self._finished = self._skipping = True  # what follows in this batch would need a server
            return self._end(self._bound)
        return None

    def _text_of(self, name: bytes) -> bytes:
        """What a statement says; one that there is not says nothing that would end anything."""
        if not name:
            return self._unnamed
        known = self._texts.get(name)
        return b"-" if known is None else bytes(known.tail.partition(b"\0")[0])

    def _is_bound(self, body: bytes) -> bool:
        """Whether a portal is the one that ends the transaction."""
        return body.partition(b"\0")[0] == self._portal and ends(self._bound)

    def _end(self, sql: bytes) -> bytes:
        """The answer to what ends the transaction."""
        if self._error and classify.classify(sql) & classify.COMMITS:
            return self._refusal()
        return ROLLBACK

    def _refusal(self) -> bytes:
        error, self._error = self._error, b""
        return error or ABORTED


def _name(body: bytes) -> bytes:
    """What is behind the first byte, which may be missing: a compiled slice must not begin behind the end."""
    return body[1:] if body else b""
