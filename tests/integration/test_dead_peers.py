"""A peer without room for more is waited for, one that acknowledges nothing is not."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys

import pytest
import uvloop

from seawall.proxy.connect import silence_s, tune

pytestmark = pytest.mark.timeout(60)

CHUNK = b"x" * 65_536
STEP_S = 0.02
STALL_S = 3.0
LIMIT_S = 1.0
HERE, THERE = "198.51.100.1", "198.51.100.2"


class Talker(asyncio.Protocol):
    """Says what it can get rid of."""

    def __init__(self):
        self.full = False
        self.error = None
        self.lost = False

    def connection_made(self, transport):
        self.transport = transport

    def pause_writing(self):
        self.full = True

    def resume_writing(self):
        self.full = False

    def connection_lost(self, error):
        self.error, self.lost = error, True


@contextlib.asynccontextmanager
async def unread(user_timeout_s):
    """A talker whose peer is alive and reads nothing, and its peer."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport, talker = await loop.create_connection(Talker, *listener.getsockname())
        peer, _ = listener.accept()
        with peer:
            tune(transport, user_timeout_s)
            while not talker.full:
                transport.write(CHUNK)
                await asyncio.sleep(0)
            yield talker, peer
        transport.abort()


async def longest_silence(talker, limit_s):
    """Look on for a while; the longest silence that was seen twice in a row."""
    loop = asyncio.get_running_loop()
    end = loop.time() + limit_s
    longest = before = 0.0
    while loop.time() < end and not talker.lost:
        now = silence_s(talker.transport)
        longest, before = max(longest, min(now, before)), now
        await asyncio.sleep(STEP_S)
    return longest


def test_a_peer_that_is_alive_and_reads_nothing_is_not_silent():
    async def stalled():
        async with unread(0.0) as (talker, _):
            longest = await longest_silence(talker, STALL_S)
            return talker.lost, longest

    assert uvloop.run(stalled()) == (False, 0.0)


def test_the_kernels_own_limit_takes_it_for_dead():
    async def stalled():
        async with unread(LIMIT_S) as (talker, _):
            await longest_silence(talker, 10 * STALL_S)
            return talker.error

    assert isinstance(uvloop.run(stalled()), TimeoutError)


@contextlib.contextmanager
def elsewhere():
    """The name of a network that has its own end of a cable; skipped where none can be made."""
    name = f"seawall{os.getpid() % 100_000}"
    here, there = f"{name}a", f"{name}b"
    commands = (
        f"ip netns add {name}",
        f"ip link add {here} type veth peer name {there} netns {name}",
        f"ip addr add {HERE}/30 dev {here}",
        f"ip link set {here} up",
        f"ip netns exec {name} ip addr add {THERE}/30 dev {there}",
        f"ip netns exec {name} ip link set {there} up",
    )
    try:
        for command in commands:
            subprocess.run(command.split(), check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network can be made here: {error}")
    else:
        yield name
    finally:
        with contextlib.suppress(OSError):
            subprocess.run(["ip", "link", "del", here], check=False, capture_output=True)
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@contextlib.contextmanager
def reader(name):
    """A program in that network that reads all it gets; yields its port."""
    program = [
        "import socket",
        f"listener = socket.create_server(({THERE!r}, 0))",
        "print(listener.getsockname()[1], flush=True)",
        "peer, _ = listener.accept()",
        "while peer.recv(65536): pass",
    ]
    command = ["ip", "netns", "exec", name, sys.executable, "-c", "\n".join(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


async def connected(port):
    """A connection to that network, as soon as its cable is in."""
    while True:
        with contextlib.suppress(OSError):
            return await asyncio.get_running_loop().create_connection(Talker, THERE, port)
        await asyncio.sleep(STEP_S)


def test_a_peer_whose_cable_is_pulled_is_silent():
    async def pulled(name, port):
        transport, talker = await connected(port)
        tune(transport, 0.0)
        transport.write(CHUNK)
        before = await longest_silence(talker, LIMIT_S)
        command = f"ip netns exec {name} ip link set {name}b down".split()
        await asyncio.to_thread(subprocess.run, command, check=True)
        transport.write(CHUNK)
        after = await longest_silence(talker, STALL_S)
        transport.abort()
        return before, after, talker.lost

    with elsewhere() as name, reader(name) as port:
        before, after, lost = uvloop.run(pulled(name, port))
    assert (before, lost) == (0.0, False)
    assert after > LIMIT_S


def test_transports_without_a_tcp_socket_are_never_silent():
    async def local():
        here, there = socket.socketpair()
        with there:
            transport, _ = await asyncio.get_running_loop().create_connection(Talker, sock=here)
            silent = silence_s(transport)
            transport.abort()
            return silent

    assert uvloop.run(local()) == 0.0
