"""Ports chosen by the system, and kept for a server while it is down.

A port that the system chose lies where it also takes ports for outgoing connections, so a server that was
killed might find its port gone when it comes back. Therefore this process keeps a socket bound to it, with
``SO_REUSEADDR`` and without listening: PostgreSQL sets the same option and may bind beside it, nobody is ever
given the port, and while the server is down a client is refused, as if nothing were there. Source: socket(7),
ip(7) (SO_REUSEADDR).
"""

from __future__ import annotations

import os
import socket
import threading
from typing import Final

from seawall.kernel.errors import UsageError

__all__ = ["HOST", "hold", "release", "reserve"]

HOST: Final = "127.0.0.1"
"""Servers listen here only."""

HELD_PORTS_MAX: Final = 512
"""More servers than this at once in one process is a leak of clusters that nobody destroyed."""

_lock = threading.Lock()
_held: dict[int, int] = {}  # port: descriptor, which unlike a socket object may stay to the end


def reserve() -> int:
    """A free TCP port on ``HOST``, chosen by the system and held until :func:`release`.

    Raises:
        UsageError: ``HELD_PORTS_MAX`` ports are held.
    """
    with _lock:
        return _bind(0)


def hold(port: int) -> bool:
    """Hold a known port; ``False`` if somebody else has it."""
    with _lock:
        if port in _held:
            return True
        try:
            _bind(port)
        except OSError:
            return False
        return True


def release(port: int) -> None:
    """Give a port back."""
    with _lock:
        handle = _held.pop(port, None)
    if handle is not None:
        os.close(handle)


def _bind(port: int) -> int:
    if len(_held) >= HELD_PORTS_MAX:
        raise UsageError(f"{HELD_PORTS_MAX} ports are held for servers: destroy clusters that are done with")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
        chosen: int = bound.getsockname()[1]
        _held[chosen] = bound.detach()
    return chosen
