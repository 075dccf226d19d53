import socket

import pytest

from seawall.embedded import ports
from seawall.kernel.errors import UsageError


@pytest.fixture
def port():
    chosen = ports.reserve()
    yield chosen
    ports.release(chosen)


def listener(port: int) -> socket.socket:
    """Listens as PostgreSQL does."""
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.bind((ports.HOST, port))
    opened.listen()
    return opened


def test_a_reserved_port_is_free_for_a_server_that_reuses_addresses(port) -> None:
    with listener(port), socket.create_connection((ports.HOST, port), timeout=1):
        assert ports.hold(port)


def test_a_reserved_port_refuses_clients(port) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((ports.HOST, port), timeout=1)


def test_nobody_else_is_given_a_reserved_port(port) -> None:
    with socket.socket() as plain, pytest.raises(OSError, match="in use"):
        plain.bind((ports.HOST, port))


def test_reserved_ports_differ() -> None:
    chosen = [ports.reserve() for _ in range(20)]
    for port in chosen:
        ports.release(port)
    assert len(set(chosen)) == 20


def test_a_port_that_somebody_listens_on_cannot_be_held(port) -> None:
    ports.release(port)
    with listener(port):
        assert not ports.hold(port)
    assert ports.hold(port)


def test_releasing_twice_is_harmless(port) -> None:
    ports.release(port)
    ports.release(port)
    with socket.socket() as plain:
        plain.bind((ports.HOST, port))


def test_the_number_of_held_ports_is_limited(monkeypatch) -> None:
    monkeypatch.setattr(ports, "HELD_PORTS_MAX", 0)
    with pytest.raises(UsageError, match="destroy clusters"):
        ports.reserve()
