"""Addresses as people write them in a configuration: ``127.0.0.1:6432``, ``[::1]:6432``, ``db.internal``.

It resolves nothing. The sections of the configuration and the command line's options call it.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from seawall.proxy.settings import Listen

__all__ = ["LISTEN_MAX", "LOOPBACK_NAMES", "is_loopback", "read_host", "read_host_port", "read_listen"]

LISTEN_MAX: Final = 64
"""Addresses that one proxy listens on."""
SOCKET_DIRECTORY_MAX_BYTES: Final = 90
"""Linux unix(7) gives a path 108 bytes, and ``/.s.PGSQL.65535`` with its end takes 16."""
LOOPBACK_NAMES: Final = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})

_LABEL: Final = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_HOST_NAME: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
_HOST_NAME_MAX: Final = 253
_PORT: Final = re.compile(r"[0-9]{1,5}")
_PORT_MAX: Final = 65_535


def read_host(value: object) -> str:
    """A host name, an IP address, or the directory of a unix socket.

    Raises:
        TypeError: it is no text.
        ValueError: it is none of these.
    """
    if not isinstance(value, str):
        raise TypeError("not a text")
    if value.startswith("/"):
        return _socket_directory(value)
    return _network_host(value)


def read_directory(value: object) -> str:
    """The directory of a unix socket: absolute, and short enough for the kernel.

    Raises:
        TypeError: it is no text.
        ValueError: it is relative or too long.
    """
    if not isinstance(value, str):
        raise TypeError("not a text")
    if not value.startswith("/"):
        raise ValueError("not absolute")
    return _socket_directory(value)


def read_host_port(
    value: object, *, default_port: int | None = None, lowest_port: int = 1
) -> tuple[str, int]:
    """``host:port``, ``[v6]:port``, or a host alone if there is a default port.

    Raises:
        TypeError: it is no text.
        ValueError: it is none of these.
    """
    if not isinstance(value, str):
        raise TypeError("not a text")
    host, separator, port = value.rpartition(":")
    if value.startswith("["):
        host, separator, port = value[1:].partition("]")
        if not separator or (port and not port.startswith(":")):
            raise ValueError("a bracket is not closed")
        ipaddress.IPv6Address(host)
        separator, port = port[:1], port[1:]
    elif ":" in host:
        raise ValueError("an IPv6 address needs brackets")
    if not separator:
        host, port = host or value, ""
        if default_port is None:
            raise ValueError("no port")
        return _network_host(host), default_port
    if not _PORT.fullmatch(port) or not lowest_port <= int(port) <= _PORT_MAX:
        raise ValueError("not a port")
    return _network_host(host), int(port)


def read_listen(value: object) -> tuple[Listen, ...]:
    """One address or a list of them, each ``host:port``; port 0 lets the system choose.

    Raises:
        TypeError: it is neither.
        ValueError: an address is none, the list is too long, or one stands in it twice.
    """
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list | tuple):
        raise TypeError("neither a text nor a list")
    if len(entries) > LISTEN_MAX:
        raise ValueError("too many")
    pairs = [read_host_port(entry, lowest_port=0) for entry in entries]
    fixed = [pair for pair in pairs if pair[1]]
    if len(set(fixed)) != len(fixed):
        raise ValueError("one address twice")
    return tuple(Listen(host=host, port=port) for host, port in pairs)


def is_loopback(listen: Listen) -> bool:
    """Whether only this machine can connect there."""
    if listen.unix_directory or listen.host in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(listen.host).is_loopback
    except ValueError:
        return False


def _network_host(value: str) -> str:
    host = str(value)
    if ":" in host:
        ipaddress.IPv6Address(host)
        return host
    if not host or len(host) > _HOST_NAME_MAX or not _HOST_NAME.fullmatch(host):
        raise ValueError("no host name")
    last = host.removesuffix(".").rpartition(".")[2]
    if last.isdigit():
        # No top-level domain is a number: this means to be an address.
        ipaddress.IPv4Address(host)
    return host


def _socket_directory(value: str) -> str:
    if "\0" in value or len(value.encode("utf-8", "surrogatepass")) > SOCKET_DIRECTORY_MAX_BYTES:
        raise ValueError("no directory of a socket")
    return str(value)
