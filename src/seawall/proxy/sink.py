"""Whoever uses a server connection just now, as far as the connection knows it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from seawall.proxy.owed import Note


def descriptor(transport: Any) -> int:  # noqa: ANN401 -- asyncio's and uvloop's have no common type
    """The descriptor of a transport's socket, to write to without a turn of the loop; -1 if it has none.

    Whoever writes to it has made sure that the transport is not closing (its number may be somebody else's
    by then) and holds nothing back (which has to go first).
    """
    sock = transport.get_extra_info("socket")
    return -1 if sock is None else int(sock.fileno())


class Sink(ABC):
    """Whoever uses a server connection just now: a client, an errand of the proxy, the pool."""

    __slots__ = ()

    @abstractmethod
    def deliver(self, data: bytes) -> None:
        """Take bytes of the server's stream; they may end inside a message."""

    @abstractmethod
    def settled(self, server: Any) -> None:  # noqa: ANN401
        """Everything sent has been answered and the last ReadyForQuery was seen."""

    @abstractmethod
    def parameter(self, server: Any, body: bytes) -> None:  # noqa: ANN401
        """A ParameterStatus passed (it is also delivered)."""

    @abstractmethod
    def refused(self, server: Any, body: bytes) -> None:  # noqa: ANN401
        """An ErrorResponse passed (it is also delivered)."""

    @abstractmethod
    def undone(self, note: Note, *, failed: bool) -> None:
        """A message came to nothing: it failed itself, or one before it did."""

    @abstractmethod
    def resume(self) -> None:
        """What was uncertain is decided (``Server.stalled``)."""

    @abstractmethod
    def forgotten(self) -> None:
        """All prepared statements are gone (DISCARD ALL, DEALLOCATE ALL)."""

    @abstractmethod
    def lost(self, server: Any) -> None:  # noqa: ANN401
        """The connection is gone; ``server.last_error`` has what the server said last, if it did."""

    @abstractmethod
    def throttle(self, *, stop: bool) -> None:
        """The server takes no more for now, or takes more again."""
