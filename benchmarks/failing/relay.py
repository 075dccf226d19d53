"""A network that can be cut: ``python -m benchmarks.failing.relay PORT...`` forwards to each.

It prints its ports, then takes orders, a line of JSON each: ``{"port": 5432, "order": "cut"}``. The
orders are ``pass`` (as in the beginning), ``cut`` (nothing comes through, and nobody is told),
``cut-there`` (nothing reaches the server), ``cut-back`` (nothing comes from it), ``reset`` (every
connection ends by a reset). A connection that one side ends, or resets, is ended or reset at the other.
It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks import harness

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: on, no time: close(2) sends a reset."""
HIGH_BYTES = 1 << 18
ORDERS = ("pass", "cut", "cut-there", "cut-back", "reset")
START_S = 10.0


class Relay:
    """The parent's view of the process."""

    def __init__(self, process: subprocess.Popen[str], ports: dict[int, int]) -> None:
        self._process = process
        self.ports = ports
        """The relay's port of each server's."""

    def order(self, port: int, order: str) -> None:
        """Give an order about a server's port; it is obeyed when this returns."""
        assert order in ORDERS, order
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"port": port, "order": order}) + "\n")
        self._process.stdin.flush()
        if self._process.stdout.readline() != "done\n":
            raise RuntimeError("the relay has ended")


@contextmanager
def relay(ports: Sequence[int]) -> Iterator[Relay]:
    """Run a relay before servers on these ports."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.failing.relay", *map(str, ports)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=harness.ROOT,
        start_new_session=True,
    )
    try:
        with process:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("the relay does not start")
            yield Relay(process, {int(ours): theirs for ours, theirs in json.loads(line).items()})
            assert process.stdin is not None
            process.stdin.close()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


# --- the process ---------------------------------------------------------------------------------------


class _Way:
    """The way to one server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.order = "pass"
        self.pairs: set[_Pair] = set()

    def obey(self, order: str) -> None:
        if order == "reset":
            for pair in list(self.pairs):
                pair.end(reset=True)
            return
        self.order = order
        for pair in list(self.pairs):
            pair.adjust()


class _Pair:
    """A connection and its continuation."""

    def __init__(self, way: _Way) -> None:
        self.way = way
        self.client = _Side(self)
        self.server = _Side(self)
        self.client.other, self.server.other = self.server, self.client
        way.pairs.add(self)

    def adjust(self) -> None:
        """Let pass what may."""
        order = self.way.order
        for side, cut in ((self.client, {"cut", "cut-there"}), (self.server, {"cut", "cut-back"})):
            side.cut = order in cut
            side.adjust()

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self.server, "127.0.0.1", self.way.port)
        except OSError:
            self.end(reset=True)

    def end(self, *, reset: bool) -> None:
        self.way.pairs.discard(self)
        for side in (self.client, self.server):
            side.end(reset=reset)


class _Side(asyncio.Protocol):
    """One of its two ends; what it reads goes out at the other."""

    other: _Side

    def __init__(self, pair: _Pair) -> None:
        self._pair = pair
        self._transport: Any = None
        self._early = b""
        self._full = False
        self.cut = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.set_write_buffer_limits(high=HIGH_BYTES)
        if self._pair not in self._pair.way.pairs:
            self.end(reset=True)
            return
        self._pair.adjust()
        if self._early:
            self._transport.write(self._early)

    def adjust(self) -> None:
        """Read only while what is read may go on."""
        if self._transport is None or self._transport.is_closing():
            return
        with contextlib.suppress(RuntimeError):
            if self.cut or self.other.full:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    @property
    def full(self) -> bool:
        """Whether it can't take more."""
        return self._full

    def pause_writing(self) -> None:
        self._full = True
        self.other.adjust()

    def resume_writing(self) -> None:
        self._full = False
        self.other.adjust()

    def data_received(self, data: bytes) -> None:
        self.other.write(data)

    def write(self, data: bytes) -> None:
        if self._transport is None:
            self._early += data
        else:
            self._transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pair.end(reset=exc is not None)

    def end(self, *, reset: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if reset:
            sock = self._transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._transport.abort()
        else:
            self._transport.close()


async def _serve(ports: Sequence[int]) -> None:
    loop = asyncio.get_running_loop()
    ways = {port: _Way(port) for port in ports}
    connecting: set[asyncio.Task[None]] = set()

    def accepted(way: _Way) -> asyncio.Protocol:
        pair = _Pair(way)
        task = loop.create_task(pair.connect())
        connecting.add(task)
        task.add_done_callback(connecting.discard)
        return pair.client

    ours = {}
    for port, way in ways.items():
        server = await loop.create_server(lambda way=way: accepted(way), "127.0.0.1", 0)  # type: ignore[misc]
        ours[port] = server.sockets[0].getsockname()[1]
    print(json.dumps(ours), flush=True)
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        told = json.loads(line)
        ways[told["port"]].obey(told["order"])
        print("done", flush=True)


def main() -> int:
    """Forward until there are no more orders."""
    asyncio.run(_serve([int(port) for port in sys.argv[1:]]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
