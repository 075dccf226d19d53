"""Talking to workers: each answers for itself, and one that is hung holds up nobody else."""

import asyncio
import contextlib
import json

import pytest

from seawall.proxy.control import socket_path
from seawall.proxy.failover.crew import Crew


class Workers:
    """Control sockets that answer with what a test says."""

    def __init__(self, directory):
        self.directory = directory
        self.heard = []
        self.answers = {}
        self.hold = {}
        self.news = asyncio.Event()

    async def serve(self, number, reader, writer):
        order = json.loads(await reader.readline())
        self.heard.append((number, order))
        self.news.set()
        if number in self.hold:
            await self.hold[number].wait()
        with contextlib.suppress(OSError):
            writer.write(self.answers.get(number, b'{"done": true}\n'))
            await writer.drain()
        writer.close()

    async def until(self, number, count):
        """Wait until a worker has heard so many orders."""
        while [one for one, _ in self.heard].count(number) < count:
            self.news.clear()
            await self.news.wait()

    async def start(self, *numbers):
        return [
            await asyncio.start_unix_server(
                lambda reader, writer, number=number: self.serve(number, reader, writer),
                str(socket_path(self.directory, number)),
            )
            for number in numbers
        ]


def working(tmp_path, work, *numbers):
    async def main():
        workers = Workers(tmp_path)
        servers = await workers.start(*numbers)
        try:
            async with asyncio.timeout(10):
                await work(Crew(tmp_path, 3), workers)
        finally:
            for server in servers:
                server.close()
            await asyncio.sleep(0)

    asyncio.run(main())


def test_an_order_is_answered(tmp_path):
    async def work(crew, workers):
        workers.answers[1] = b'{"busy": 3}\n'
        assert await crew.tell(1, {"do": "busy"}) == {"busy": 3}
        assert workers.heard == [(1, {"do": "busy"})]
        assert crew.unanswered == 0

    working(tmp_path, work, 0, 1, 2)


def test_all_are_told_and_who_is_not_there_is_left_out(tmp_path):
    async def work(crew, workers):
        assert await crew.tell_all({"do": "pause"}) == [{"done": True}, None, {"done": True}]
        assert crew.unanswered == 1

    working(tmp_path, work, 0, 2)


@pytest.mark.parametrize("answer", [b"", b"\n", b"nonsense\n", b"[]\n", b"7\n"])
def test_what_is_no_answer_is_none(tmp_path, answer):
    async def work(crew, workers):
        workers.answers[0] = answer
        assert await crew.tell(0, {"do": "busy"}) is None
        assert crew.unanswered == 1

    working(tmp_path, work, 0)


def test_who_hangs_is_left_after_a_while(tmp_path):
    async def work(crew, workers):
        workers.hold[0] = asyncio.Event()
        assert await crew.tell(0, {"do": "busy"}, 0.05) is None
        workers.hold[0].set()

    working(tmp_path, work, 0)


def test_kicks_come_together_for_each_worker(tmp_path):
    async def work(crew, workers):
        workers.hold[0] = asyncio.Event()
        kicks = [asyncio.create_task(crew.kick()) for _ in range(5)]
        await workers.until(1, 2)
        assert [number for number, _ in workers.heard].count(0) == 1
        workers.hold[0].set()
        await asyncio.gather(*kicks)
        assert [number for number, _ in workers.heard].count(0) == 2
        assert {order["do"] for _, order in workers.heard} == {"topology"}
        workers.heard.clear()
        await crew.kick()
        assert sorted(number for number, _ in workers.heard) == [0, 1, 2]

    working(tmp_path, work, 0, 1, 2)
