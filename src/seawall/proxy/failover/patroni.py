"""Patroni as the authority: who leads, as its REST API says.

``GET /cluster`` of any member answers for the whole cluster (Patroni documentation, "Patroni REST API"). The
request blocks, so it is made in a thread; everything about it has a limit. Whom the leader is may be said by
another name or address than ours: ``backend_of`` finds the backend that is meant. Nothing is decided here;
``conductor`` asks, the election decides.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Final

from seawall.kernel.errors import ServiceUnavailable, ValidationError
from seawall.proxy.settings import Backend

__all__ = ["Member", "Patroni", "PatroniCluster", "backend_of", "parse"]

TIMEOUT_S: Final = 2.0
"""Of one request, from the connect to the last byte."""
ANSWER_BYTES_MAX: Final = 1024 * 1024
MEMBERS_MAX: Final = 1000
CHUNK_BYTES: Final = 64 * 1024
LEADERS: Final = frozenset({"leader", "master", "primary"})
"""Roles of a member that may be written to; a ``standby_leader`` leads a cluster that follows another one."""


@dataclass(frozen=True, slots=True)
class Member:
    """One server, as Patroni sees it.

    Attributes:
        name: Patroni's name of it.
        role: ``leader``, ``replica``, ``sync_standby``, ``quorum_standby``, ``standby_leader``.
        state: ``running``, ``streaming``, ``starting``, ``stopped``, ...
        host: where PostgreSQL is reached; empty while Patroni doesn't know.
        port: of PostgreSQL.
        timeline: 0 if it wasn't said.
        lag_bytes: behind the leader; ``None`` if unknown.
    """

    name: str
    role: str
    state: str
    host: str
    port: int
    timeline: int
    lag_bytes: int | None


@dataclass(frozen=True, slots=True)
class PatroniCluster:
    """All servers, and whether Patroni is told to keep its hands off (``patronictl pause``)."""

    members: tuple[Member, ...]
    paused: bool

    @property
    def leader(self) -> Member | None:
        """Who leads; ``None`` between two leaders, and if more than one is named."""
        leaders = [one for one in self.members if one.role in LEADERS]
        return leaders[0] if len(leaders) == 1 else None


def parse(body: bytes) -> PatroniCluster:
    """What ``/cluster`` answered.

    Raises:
        ValidationError: it is something else.
    """
    try:
        told = json.loads(body)
        members = told["members"]
        if not isinstance(members, list) or len(members) > MEMBERS_MAX:
            raise ValidationError(f"Patroni: members must be a list of at most {MEMBERS_MAX}")
        return PatroniCluster(tuple(_member(one) for one in members), paused=told.get("pause") is True)
    except (KeyError, TypeError, AttributeError, RecursionError, ValueError) as error:
        if isinstance(error, ValidationError):
            raise
        raise ValidationError(f"Patroni: no answer of /cluster: {body[:80]!r}") from error


def _member(told: dict[str, Any]) -> Member:
    return Member(
        name=_text(told["name"]),
        role=_text(told["role"]),
        state=_text(told.get("state", "")),
        host=_text(told.get("host") or ""),
        port=_number(told.get("port")) or 0,
        timeline=_number(told.get("timeline")) or 0,
        lag_bytes=_number(told.get("lag")),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _number(value: object) -> int | None:
    """A number; where there is none, Patroni leaves it out or says ``unknown``."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def backend_of(member: Member, backends: Sequence[Backend]) -> Backend | None:
    """The backend that is meant by a member: that of the same name, or at the same place.

    A place counts for more than a name: two clusters of Patroni's like to have the same names.
    """
    for backend in backends:
        if (backend.host, backend.port) == (member.host, member.port):
            return backend
    return next((backend for backend in backends if backend.name == member.name), None)


class Patroni:
    """The REST API, at one of several addresses.

    Args:
        urls: base URLs; the one that answered last is asked first.
        timeout_s: of one request.
    """

    def __init__(self, urls: Sequence[str], timeout_s: float = TIMEOUT_S) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._timeout_s = timeout_s
        # A proxy named in the environment is for the web, and a redirection leads to who knows where.
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(context=ssl.create_default_context()),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.UnknownHandler(),
        ):
            self._opener.add_handler(handler)

    def __repr__(self) -> str:
        return f"Patroni({', '.join(self._urls)})"

    async def ask(self) -> PatroniCluster:
        """What the first member that answers says.

        Raises:
            ServiceUnavailable: none does; with the last one's reason.
        """
        problem = "no URL is configured"
        for url in list(self._urls):
            try:
                found = await asyncio.to_thread(self._get, f"{url}/cluster")
            except (OSError, HTTPException, ValidationError) as error:
                problem = f"{url}: {error}"
            else:
                self._urls.sort(key=lambda one: one != url)
                return found
        raise ServiceUnavailable("Patroni", problem)

    def _get(self, url: str) -> PatroniCluster:
        give_up = time.monotonic() + self._timeout_s
        with self._opener.open(url, timeout=self._timeout_s) as response:
            body = b""
            while part := response.read1(CHUNK_BYTES):
                body += part
                if len(body) > ANSWER_BYTES_MAX:
                    raise ValidationError(f"Patroni: the answer is longer than {ANSWER_BYTES_MAX} bytes")
                if time.monotonic() > give_up:
                    raise TimeoutError(f"not all of the answer came within {self._timeout_s:g} s")
        return parse(body)
