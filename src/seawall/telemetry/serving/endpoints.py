"""One path of a listener as an ASGI application: place, method, caller, role, answer.

Refusals, in the order they are decided:

=====  =======================================================================================
503    no place at the gate, or later no time
405    the path doesn't know the method; ``Allow`` names those it knows
421    the request calls this machine by a name, while anybody on loopback may read
401    nobody knows who asks; ``WWW-Authenticate`` says how to tell
403    the role is not enough
406    none of the media types of the answer is wanted
400    or 408, 413, 415, 422: what is wrong with the request's parameters or body
=====  =======================================================================================

All answers, refusals included, are made here and not by an application's error handlers, so that the routes
behave alike wherever they are mounted. ``pages`` and ``operations`` say what is answered.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from starlette.types import Receive, Scope, Send

from seawall.telemetry.serving.access import Access, Caller, Role, names_this_machine
from seawall.telemetry.serving.gate import Gate, send_problem
from seawall.telemetry.serving.problems import ProblemDetails, Refused

__all__ = ["Answer", "Endpoint", "Handler", "Request", "accepts", "header"]

SLICE_BYTES: Final = 65_536
"""Compressed in one go: about a millisecond at level 1."""
GZIP_MIN_BYTES: Final = 1_024
"""Shorter answers are sent as they are."""
GZIP_LEVEL: Final = 1
"""A status page is read once; the loop is shared with everybody."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a handler sees.

    Attributes:
        scope: The request's.
        receive: Where its body comes from.
        caller: Who asks; ``None`` where that doesn't matter and isn't known.
    """

    scope: Scope
    receive: Receive
    caller: Caller | None


@dataclass(slots=True, kw_only=True)
class Answer:
    """What a handler answers.

    Attributes:
        status: HTTP status.
        content_type: Media type; empty for an answer without a body.
        body: The whole of it, or slices of it; between slices the loop does other work.
        encoding: How it is encoded already; empty if it is not.
        headers: Further headers.
    """

    status: int = 200
    content_type: str = "application/json"
    body: bytes | Iterable[bytes] | AsyncIterator[bytes] = b""
    encoding: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Answer]]


class Endpoint:
    """One path.

    Args:
        gate: What its requests pass.
        access: Who is let in.
        handlers: What is done, by method; ``HEAD`` goes with ``GET``.
        roles: The least role by method; ``None`` lets everybody in, and the handler sees who asks.
        local_only: Whether requests that call this machine by a name are turned away.
    """

    def __init__(
        self,
        gate: Gate,
        access: Access,
        handlers: Mapping[str, Handler],
        roles: Mapping[str, Role | None],
        *,
        local_only: bool = False,
    ) -> None:
        self._gate = gate
        self._access = access
        self._handlers = handlers
        self._roles = roles
        self._local_only = local_only
        allowed = sorted({*handlers, *(["HEAD"] if "GET" in handlers else [])})
        self._allow = ", ".join(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def work(answer: Send) -> None:
            try:
                reply = await self._reply(scope, receive)
                await _send(reply, scope, answer)
            except Refused as refused:
                await send_problem(refused.problem, answer)

        await self._gate.run(scope, send, work)

    async def _reply(self, scope: Scope, receive: Receive) -> Answer:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        handler = self._handlers.get(method)
        if handler is None:
            detail = f"This path knows {self._allow}."
            raise Refused(ProblemDetails(status=405, detail=detail, headers={"Allow": self._allow}))
        host = header(scope, b"host")
        if self._local_only and host is not None and not names_this_machine(host):
            raise Refused(ProblemDetails(status=421, detail="Call this machine by its address or localhost."))
        needed = self._roles[method]
        caller = self._access.identify(header(scope, b"authorization"))
        if needed is not None:
            self._check_role(scope, caller, needed)
        return await handler(Request(scope, receive, caller))

    def _check_role(self, scope: Scope, caller: Caller | None, needed: Role) -> None:
        if caller is None or (caller.role < needed and header(scope, b"authorization") is None):
            self._gate.unauthenticated += 1
            challenge = 'Bearer realm="seawall"'
            if header(scope, b"authorization") is not None:
                challenge += ', error="invalid_token"'
            headers = {"WWW-Authenticate": challenge}
            detail = "This needs a bearer token that is known here."
            raise Refused(ProblemDetails(status=401, detail=detail, headers=headers))
        if caller.role < needed:
            self._gate.forbidden += 1
            role = needed.name.lower()
            headers = {
                "WWW-Authenticate": f'Bearer realm="seawall", error="insufficient_scope", scope="{role}"'
            }
            raise Refused(ProblemDetails(status=403, detail=f"This needs the role {role}.", headers=headers))


async def _send(answer: Answer, scope: Scope, send: Send) -> None:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **answer.headers}
    if answer.content_type:
        headers["Content-Type"] = answer.content_type
    if answer.encoding:
        headers["Content-Encoding"] = answer.encoding
    body = answer.body
    if isinstance(body, bytes) and not answer.encoding and answer.content_type:
        headers["Vary"] = "Accept-Encoding"
        if len(body) >= GZIP_MIN_BYTES and accepts(
            header(scope, b"accept-encoding") or "", "gzip", exact=True
        ):
            headers["Content-Encoding"] = "gzip"
            body = await _gzipped(body)
    if isinstance(body, bytes):
        if answer.status != 204:
            headers["Content-Length"] = str(len(body))
        await send(_start(answer.status, headers))
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
        return
    if scope["method"] == "HEAD":
        await send(_start(answer.status, headers))
        await send({"type": "http.response.body", "body": b""})
        return
    await _send_slices(answer.status, headers, body, send)


async def _send_slices(
    status: int, headers: Mapping[str, str], body: Iterable[bytes] | AsyncIterator[bytes], send: Send
) -> None:
    slices = body if isinstance(body, AsyncIterator) else _in_turns(body)
    # The first slice comes before the headers: what fails at once can still be told by a status.
    begun = False
    async for piece in slices:
        if not piece:
            continue  # a pause: its writer gathers
        if not begun:
            await send(_start(status, headers))
            begun = True
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    if not begun:
        await send(_start(status, headers))
    await send({"type": "http.response.body", "body": b""})


async def _in_turns(slices: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in slices:
        yield piece
        await asyncio.sleep(0)


async def _gzipped(body: bytes) -> bytes:
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    packed = bytearray()
    for begin in range(0, len(body), SLICE_BYTES):
        packed += packer.compress(body[begin : begin + SLICE_BYTES])
        await asyncio.sleep(0)
    return bytes(packed + packer.flush())


def _start(status: int, headers: Mapping[str, str]) -> dict[str, object]:
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": raw}


def header(scope: Scope, name: bytes) -> str | None:
    """A request's header; several of one name are joined as RFC 9110, section 5.3, says."""
    values = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return ", ".join(values) if values else None


def accepts(wanted: str, offered: str, *, exact: bool = False) -> bool:
    """Whether an ``Accept`` or ``Accept-Encoding`` header takes something (RFC 9110, section 12.5).

    Args:
        wanted: The header; empty takes any media type.
        offered: Media type without parameters, or name of an encoding.
        exact: Whether an empty header takes nothing, as for encodings.
    """
    if not wanted.strip():
        return not exact
    best, specific = 0.0, -1
    kind = offered.partition("/")[0]
    for entry in wanted.split(","):
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        rank = {offered: 2, f"{kind}/*": 1, "*/*": 0, "*": 0}.get(name, -1)
        if rank > specific:
            specific, best = rank, _quality(parameters)
    return best > 0.0


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
