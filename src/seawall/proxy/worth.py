"""Why a query that is under way is worth remembering; most are not, and have none of these."""

from __future__ import annotations

from typing import Final

__all__ = ["CROWDED", "TRACE", "Worth", "ends_in_comment"]

TRACE: Final = b"traceparent='"
"""What a comment with a trace's context has in it (sqlcommenter's form of W3C Trace Context)."""
SLASH: Final = 47
SEMICOLON: Final = 59
SHORTEST: Final = 64
"""Bytes of a Query with such a comment, at the least."""


class Worth:
    """What is known of it.

    Args:
        traced: a comment in it has a trace's context.
        text: its text and what follows that in a Parse, if it is not among what is sent.
        said: the chunk that has the comment, if it is in none that is remembered otherwise.
        idle_s: how long its transaction had waited for the client to say it.
    """

    __slots__ = ("idle_s", "refusal", "said", "text", "traced")

    def __init__(
        self, *, traced: bool = False, text: bytes = b"", said: bytes = b"", idle_s: float = 0.0
    ) -> None:
        self.traced: bool = traced
        self.text: bytes = text
        self.said: bytes = said
        self.idle_s: float = idle_s
        self.refusal: bytes = b""
        """The body of the ErrorResponse that it was answered with."""


CROWDED: Final = Worth(traced=True)
"""Stands for all queries of a trace that there is no room for, unless they fail; it is never changed."""


def ends_in_comment(query: bytes, size: int) -> bool:
    """Whether a Query's text ends in a comment, as those of a trace do; a look at two bytes."""
    if size < SHORTEST:
        return False
    last = query[size - 2]
    return last == SLASH or (last == SEMICOLON and query[size - 3] == SLASH)
