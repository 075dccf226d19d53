"""One path of a listener as an ASGI application: place, method, caller, role, answer.

Refusals, in the order they are decided:

=====  =======================================================================================
503    no place at the gate, or later no time
405    the path doesn't know the method; ``Allow`` names those it knows
421    a stranger calls this machine by a name, while anybody on loopback may read
401    nobody knows who asks; ``WWW-Authenticate`` says how to tell
403    the role is not enough
400    or 408, 413, 415, 422: what is wrong with the request's parameters or body
=====  =======================================================================================

All answers, refusals included, are made here and not by an application's error handlers, so that the routes
behave alike wherever they are mounted. ``pages`` and ``operations`` say what is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from starlette.types import Receive, Scope, Send

from seawall.telemetry.serving.access import Access, Caller, Role, names_this_machine
from seawall.telemetry.serving.gate import Gate, send_problem
from seawall.telemetry.serving.problems import ProblemDetails, Refused

__all__ = ["Answer", "Endpoint", "Handler", "Request", "header"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a handler answers.

    Attributes:
        status: HTTP status.
        content_type: Media type; empty for an answer without a body.
        body: The whole of it, or slices of it; between slices the loop does other work.
        headers: Further headers.
    """

    status: int = 200
    content_type: str = "application/json"
    body: bytes | Iterable[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Answer]]


class Endpoint:
    """One path.

    Args:
        gate: What its requests pass.
        access: Who is let in.
        handlers: What is done, by method; ``HEAD`` goes with ``GET``.
        roles: The least role by method; ``None`` lets everybody in, and the handler sees who asks.
        local_only: Whether strangers that call this machine by a name are turned away, or not known where
            everybody is let in.
    """

    def __init__(
        self,
        gate: Gate,
        access: Access,
        handlers: Mapping[str, Handler],
        roles: Mapping[str, Role | None],
        *,
        local_only: bool,
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
        return await handler(Request(scope, receive, self._caller(scope, self._roles[method])))

    def _caller(self, scope: Scope, needed: Role | None) -> Caller | None:
        authorization, host = header(scope, b"authorization"), header(scope, b"host")
        caller = self._access.identify(authorization)
        if self._local_only and authorization is None and host is not None and not names_this_machine(host):
            if needed is not None:
                detail = "Call this machine by its address or localhost."
                raise Refused(ProblemDetails(status=421, detail=detail))
            caller = None
        if needed is not None and (caller is None or caller.role < needed):
            raise self._refusal(caller, needed, presented=authorization is not None)
        return caller

    def _refusal(self, caller: Caller | None, needed: Role, *, presented: bool) -> Refused:
        if caller is None or not presented:
            self._gate.unauthenticated += 1
            challenge = 'Bearer realm="seawall"' + (', error="invalid_token"' if presented else "")
            detail = "This needs a bearer token that is known here."
            headers = {"WWW-Authenticate": challenge}
            return Refused(ProblemDetails(status=401, detail=detail, headers=headers))
        self._gate.forbidden += 1
        role = needed.name.lower()
        challenge = f'Bearer realm="seawall", error="insufficient_scope", scope="{role}"'
        headers = {"WWW-Authenticate": challenge}
        return Refused(ProblemDetails(status=403, detail=f"This needs the role {role}.", headers=headers))


async def _send(answer: Answer, scope: Scope, send: Send) -> None:
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff", **answer.headers}
    if answer.content_type:
        headers["content-type"] = answer.content_type
    body = answer.body
    if isinstance(body, bytes) and answer.status != 204:
        headers["content-length"] = str(len(body))
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    start = {"type": "http.response.start", "status": answer.status, "headers": raw}
    if isinstance(body, bytes) or scope["method"] == "HEAD":
        await send(start)
        whole = body if isinstance(body, bytes) and scope["method"] != "HEAD" else b""
        await send({"type": "http.response.body", "body": whole})
        return
    # The first slice comes before the headers: what fails at once can still be told by a status.
    begun = False
    for piece in body:
        if piece:  # else it is a pause: its writer gathers
            if not begun:
                await send(start)
                begun = True
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(0)
    if not begun:
        await send(start)
    await send({"type": "http.response.body", "body": b""})


def header(scope: Scope, name: bytes) -> str | None:
    """A request's header; several of one name are joined as RFC 9110, section 5.3, says."""
    values = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return ", ".join(values) if values else None
