"""Listening: what is taken is said, what nobody uses is replaced; and the watch that a supervisor keeps."""

import asyncio
import json
import socket
import stat
from types import SimpleNamespace

import pytest

from seawall.proxy.control import supervisor_path
from seawall.proxy.settings import Backend, Failover, Listen, ProxySettings
from seawall.proxy.shared import Block
from seawall.proxy.supervisor import AddressInUse, Supervisor, bind, bind_unix
from seawall.proxy.topology import Phase, Topology


def test_a_port_chosen_by_the_system_is_listened_on():
    with bind(Listen(port=0), shared=False) as sock:
        with socket.create_connection(sock.getsockname()) as client:
            assert client.getpeername() == sock.getsockname()


@pytest.mark.parametrize("shared", [True, False])
def test_a_port_that_is_taken_is_named_with_the_reason(shared):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUse, match=rf"127\.0\.0\.1:{port}.*Address already in use"):
            bind(Listen(port=port), shared=shared)


def test_sockets_of_one_proxy_share_a_port_and_a_second_proxy_does_not_get_it():
    with bind(Listen(port=0), shared=True) as first:
        port = first.getsockname()[1]
        with bind(Listen(port=port), shared=True, exclusive=False) as second:
            assert second.getsockname() == first.getsockname()
        with pytest.raises(AddressInUse):
            bind(Listen(port=port), shared=True)


@pytest.mark.parametrize("host", ["192.0.2.1", "not an address"])
def test_an_address_that_is_not_ours_is_named(host):
    with pytest.raises(AddressInUse, match=f"cannot listen on {host}:1"):
        bind(Listen(host=host, port=1), shared=False)


def test_the_sixth_version_is_listened_on_too():
    try:
        sock = bind(Listen(host="::1", port=0), shared=False)
    except AddressInUse as error:
        pytest.skip(f"no IPv6 here: {error}")
    with sock:
        assert sock.family == socket.AF_INET6


def test_a_directory_that_is_not_there_is_named(tmp_path):
    gone = tmp_path / "gone"
    with pytest.raises(AddressInUse, match=str(gone)):
        bind(Listen(unix_directory=str(gone), port=5432), shared=False)


def test_a_unix_socket_is_where_clients_look_for_it(tmp_path):
    with bind(Listen(unix_directory=str(tmp_path), port=7), shared=True):
        path = tmp_path / ".s.PGSQL.7"
        assert stat.S_IMODE(path.stat().st_mode) == 0o777
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_unix_socket_that_somebody_listens_on_stays_theirs(tmp_path):
    with bind(Listen(unix_directory=str(tmp_path), port=7), shared=False) as first:
        with pytest.raises(AddressInUse, match="Address already in use"):
            bind(Listen(unix_directory=str(tmp_path), port=7), shared=False)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(first.getsockname())


def test_a_unix_socket_that_nobody_listens_on_is_replaced(tmp_path):
    path = tmp_path / "left"
    bind_unix(path, 0o600).close()
    assert path.is_socket()
    with bind_unix(path, 0o600):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(OSError, match="Address already in use"):
        bind_unix(path, 0o600)
    assert path.read_text() == "mine"


def supervised(tmp_path, work, **changes):
    """Work with a supervisor whose workers are never started; returns its log."""
    lines = []
    settings = ProxySettings(
        backends=(Backend(name="one", host="127.0.0.1", port=1),),
        listen=(Listen(port=0),),
        workers=2,
        runtime_directory=str(tmp_path),
        **changes,
    )

    class Workerless(Supervisor):
        async def _launch(self, number):
            self._processes[number] = SimpleNamespace(pid=number, wait=self.ended, send_signal=lambda _: None)

        async def ended(self):
            return 0

        async def _keep(self, number):
            pass

    async def main():
        supervisor = Workerless(settings, lines.append)
        await supervisor.start()
        try:
            await work(supervisor, Block(supervisor._block.descriptor))
        finally:
            await supervisor.stop()
        assert not supervisor_path(tmp_path).exists()

    asyncio.run(main())
    return lines


async def asked(tmp_path, order):
    reader, writer = await asyncio.open_unix_connection(str(supervisor_path(tmp_path)))
    writer.write(json.dumps(order).encode() + b"\n")
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return json.loads(line)


def test_the_servers_are_watched_and_workers_can_read_what_they_are(tmp_path):
    async def work(_, block):
        assert stat.S_IMODE(supervisor_path(tmp_path).stat().st_mode) == 0o600
        assert (await asked(tmp_path, {"do": "suspect", "backend": "one"}))["done"]
        topology = Topology.from_json(block.topology()[1])
        assert topology.tracked
        assert topology.phase is Phase.HOLDING
        (row,) = (await asked(tmp_path, {"show": "backends"}))["rows"]
        assert (row["name"], row["role"], row["reason"]) == ("one", "down", "Connection refused")

    supervised(tmp_path, work)


def test_where_nobody_watches_workers_are_told_so(tmp_path):
    async def work(_, block):
        topology = Topology.from_json(block.topology()[1])
        assert not topology.tracked
        assert "error" in await asked(tmp_path, {"do": "suspect", "backend": "one"})

    assert supervised(tmp_path, work, failover=Failover(enabled=False)) == []
