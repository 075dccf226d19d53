"""A server that plays a script to whoever connects: for clients that have to survive servers."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

Script = Callable[[socket.socket], None]
"""Plays one connection; the socket is closed behind it."""


@contextlib.contextmanager
def listening(script: Script) -> Iterator[int]:
    """Play the script to every connection, one after the other; gives the port on 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_accept, args=(server, script))
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            # Only this wakes a thread that blocks in accept.
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _accept(server: socket.socket, script: Script) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError):
            connection.settimeout(1.0)
            script(connection)
