"""Limits of a listener: how many requests at a time, how long, how large; all that is turned away is counted.

A gate is passed by every request before anything else looks at it. Each health page has a gate of its own, so
that neither a flood of scrapes nor slow checks of readiness make a process look dead. What a request does
behind it is the matter of ``endpoints``; what a connection does outside of requests is that of ``listener``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from typing import Final

from starlette.types import Message, Receive, Scope, Send

from seawall.kernel.errors import PolicyError, Problem
from seawall.telemetry.serving.problems import MEDIA_TYPE, ProblemDetails, Refused

__all__ = ["CONNECTION", "Gate", "GateStatistics", "Limits", "read_body", "send_problem"]

CONNECTION: Final = "seawall.connection"
"""Where a listener leaves the function that cuts a request's connection, in the request's ``state``."""

_OVERLOADED: Final = ProblemDetails(
    status=503,
    detail="Too many requests at this moment.",
    headers={"Retry-After": "1"},
)
_TOO_LATE: Final = ProblemDetails(
    status=503, detail="The answer took too long.", headers={"Retry-After": "1"}
)
_BROKEN: Final = ProblemDetails(status=500, detail="An internal error occurred.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one listener gives to its clients.

    Attributes:
        connections: Open at one time; more are closed at once.
        requests: Worked on at one time; more are told to come back.
        health_requests: Those of each health page, which have places of their own.
        handshake_s: Seconds until TLS has to stand.
        header_s: Seconds from the first byte of a request to the end of its headers.
        body_s: Seconds for a request's body.
        request_s: Seconds from the end of the headers to the last byte of the answer.
        keep_alive_s: Seconds a connection may wait for its next request.
        linger_s: Seconds for a client to take what is left when its connection is closed.
        header_bytes: A request's line and headers.
        body_bytes: A request's body.
        response_bytes: The answer of the status API; pages of metrics are streamed and have no limit here.

    Raises:
        PolicyError: A limit is not above 0; every such one is named.
    """

    connections: int = 128
    requests: int = 16
    health_requests: int = 16
    handshake_s: float = 5.0
    header_s: float = 5.0
    body_s: float = 5.0
    request_s: float = 10.0
    keep_alive_s: int = 30
    linger_s: float = 2.0
    header_bytes: int = 16_384
    body_bytes: int = 65_536
    response_bytes: int = 1_048_576

    def __post_init__(self) -> None:
        problems = [
            Problem(f"limits.{key.name}", value, "a number above 0")
            for key in fields(self)
            if not (value := getattr(self, key.name)) > 0
        ]
        if problems:
            raise PolicyError(problems, "limits")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateStatistics:
    """What came to a gate.

    Attributes:
        active: Requests worked on now.
        requests: Requests that came, those turned away included.
        overloaded: Turned away because too many were worked on.
        timed_out: Ended because the answer took too long.
        slow_bodies: Ended because their body did not come in time.
        too_large: Refused because their body, or their answer, was too large.
        unauthenticated: Refused because nobody knows who asks.
        forbidden: Refused because the role does not allow it.
        failed: Ended by an error behind the gate.
    """

    active: int
    requests: int
    overloaded: int
    timed_out: int
    slow_bodies: int
    too_large: int
    unauthenticated: int
    forbidden: int
    failed: int


class Gate:
    """Lets requests pass within limits.

    Args:
        limits: The listener's.
        requests: Places for requests; the listener's limit without it.

    Attributes:
        limits: As given.
    """

    def __init__(self, limits: Limits, requests: int | None = None) -> None:
        self.limits = limits
        self._places = limits.requests if requests is None else requests
        self._active = self._requests = self._overloaded = self._timed_out = 0
        self.slow_bodies = self.too_large = self.unauthenticated = self.forbidden = self.failed = 0

    async def run(self, scope: Scope, send: Send, work: Callable[[Send], Awaitable[None]]) -> None:
        """Do the work on a request, or answer that there is no place or no time.

        Args:
            scope: The request's.
            send: Where the answer goes.
            work: Answers through the ``send`` it is given.
        """
        self._requests += 1
        if self._active >= self._places:
            self._overloaded += 1
            await send_problem(_OVERLOADED, send)
            return
        self._active += 1
        answer = _Answer(send)
        try:
            await self._timed(scope, answer, work)
        finally:
            self._active -= 1

    async def _timed(self, scope: Scope, answer: _Answer, work: Callable[[Send], Awaitable[None]]) -> None:
        timer = asyncio.timeout(self.limits.request_s)
        try:
            async with timer:
                await work(answer)
        except Exception as error:
            late = isinstance(error, TimeoutError) and timer.expired()
            if late:
                self._timed_out += 1
            else:
                self.failed += 1
            if not answer.begun:
                await send_problem(_TOO_LATE if late else _BROKEN, answer)
            elif (cut := scope.get("state", {}).get(CONNECTION)) is not None:
                cut()  # half an answer must not look like a whole one
            else:
                raise  # a foreign server closes the connection when it sees this

    def statistics(self) -> GateStatistics:
        """Counters, all of one moment."""
        return GateStatistics(
            active=self._active,
            requests=self._requests,
            overloaded=self._overloaded,
            timed_out=self._timed_out,
            slow_bodies=self.slow_bodies,
            too_large=self.too_large,
            unauthenticated=self.unauthenticated,
            forbidden=self.forbidden,
            failed=self.failed,
        )

    def __repr__(self) -> str:
        now = self.statistics()
        return (
            f"<Gate active={now.active}/{self._places} requests={now.requests} overloaded={now.overloaded}>"
        )


class _Answer:
    """A ``send`` that knows whether anything went out."""

    __slots__ = ("_send", "begun")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        await self._send(message)


async def read_body(scope: Scope, receive: Receive, gate: Gate) -> bytes:
    """A request's whole body, within the gate's limits.

    Raises:
        Refused: It is too large, too slow, or its sender went away.
    """
    limit = gate.limits.body_bytes
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    if declared.isdigit() and int(declared[:20]) > limit:  # more digits are refused by the listener
        gate.too_large += 1
        raise _too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(gate.limits.body_s):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise _broken_off()
                body += message.get("body", b"")
                if len(body) > limit:
                    gate.too_large += 1
                    raise _too_large(limit)
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        gate.slow_bodies += 1
        problem = ProblemDetails(status=408, detail="The body came too slowly.")
        raise Refused(problem) from None


def _too_large(limit: int) -> Refused:
    detail = f"The body has more than {limit} bytes."
    # The connection stays: closed on top of unread bytes it would be reset, and the client would not see why.
    # The listener reads the rest and throws it away, for as long as it gives to headers.
    return Refused(ProblemDetails(status=413, detail=detail))


def _broken_off() -> Refused:
    # Nobody reads it; it only ends the work.
    return Refused(ProblemDetails(status=400, detail="The body broke off."))


async def send_problem(problem: ProblemDetails, send: Send) -> None:
    """Answer with a problem."""
    body = problem.body()
    headers = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        **problem.headers,
    }
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
