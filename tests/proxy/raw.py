"""A client that says exactly what it is told, over a blocking socket."""

import socket

from seawall.wire.pgwire import messages
from seawall.wire.pgwire.framing import MessageReader

LIMIT = 1 << 26
WAIT_S = 20


class RawClient:
    """A connection to a server or a proxy."""

    def __init__(self, port, *, host="127.0.0.1", connect=True, **parameters):
        self.socket = socket.create_connection((host, port), timeout=WAIT_S)
        self.reader = MessageReader(LIMIT)
        self.queue = []
        self.parameters = {}
        self.pid, self.key = 0, b""
        if connect:
            self.send(messages.startup_message({"user": "postgres", "database": "postgres", **parameters}))
            for kind, body in self.until("Z"):
                if kind == "S":
                    name, value = messages.parse_parameter_status(body)
                    self.parameters[name] = value
                elif kind == "K":
                    self.pid, self.key = messages.parse_backend_key_data(body)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.socket.close()

    def send(self, *data):
        self.socket.sendall(b"".join(data))

    def next(self):
        """The next message as (letter, body); EOFError when the other side is gone."""
        while not self.queue:
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError
            self.queue.extend((chr(kind), body) for kind, body in self.reader.feed(data))
        return self.queue.pop(0)

    def until(self, letter, times=1):
        """Messages up to and including the nth of a kind."""
        found = []
        while times:
            found.append(self.next())
            times -= found[-1][0] == letter
        return found

    def silent(self, for_s=0.2):
        """Whether nothing comes for a moment."""
        if self.queue:
            return False
        self.socket.settimeout(for_s)
        try:
            data = self.socket.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(WAIT_S)
        return not data and False

    def query(self, sql):
        """One simple query; rows as text, or the error's fields."""
        self.send(messages.query(sql))
        return result(self.until("Z"))

    def cancel(self):
        """Ask to cancel whatever this connection runs; returns when the request was taken."""
        with socket.create_connection(self.socket.getpeername(), timeout=WAIT_S) as other:
            other.sendall(messages.cancel_request(self.pid, self.key))
            assert other.recv(1) == b""


def letters(found):
    """The kinds of messages as one word."""
    return "".join(letter for letter, _ in found)


def result(found):
    """Rows of text; or the SQLSTATE, if there was an error."""
    for letter, body in found:
        if letter == "E":
            return messages.parse_fields(body)["C"]
    return [
        tuple(None if value is None else value.decode() for value in messages.parse_data_row(body))
        for letter, body in found
        if letter == "D"
    ]
