"""Whom a server talks to, and through which descriptor."""

import socket

import pytest

from seawall.proxy.sink import Sink, descriptor


class Transport:
    def __init__(self, sock):
        self.sock = sock

    def get_extra_info(self, name):
        return self.sock if name == "socket" else None


def test_the_descriptor_is_the_socket_s():
    with socket.socket() as sock:
        assert descriptor(Transport(sock)) == sock.fileno()


def test_what_has_no_socket_has_none():
    assert descriptor(Transport(None)) == -1


@pytest.mark.interpreted
def test_it_is_not_used_by_itself():
    with pytest.raises(TypeError):
        Sink()
