"""Drivers: each plays transactions over its own way of speaking PostgreSQL's protocol.

``perform`` is the conversation, without a socket: it yields what is to be sent and is told what came
back. The edges differ in nothing but the driver: Query messages, unnamed and named prepared statements,
pipelines.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Generator, Sequence
from typing import Any, Protocol

import asyncpg  # type: ignore[import-untyped]
import psycopg

from benchmarks.failing.records import ACKNOWLEDGED, LOST, ROLLED_BACK, Operation, Row
from benchmarks.failing.workloads import AUTOCOMMIT, Batch, Pause, Request, Result, Step, Work

CONNECT_S = 20.0
PLACE = re.compile(r"\$\d+")
PSYCOPG, ASYNCPG = "psycopg", "asyncpg"

Conversation = Generator[Step | Batch | Pause, Sequence[Result], None]


class Refused(Exception):
    """The server, or the proxy, has answered with an error."""

    def __init__(self, sqlstate: str, message: str, detail: str, *, cut: bool) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.detail = detail
        self.cut = cut
        """The connection is gone, too."""


class Lost(Exception):
    """The connection ended without an error message."""


# --- the conversation ----------------------------------------------------------------------------------


def perform(operation: Operation, work: Work, *, pipelined: bool) -> Conversation:
    """Play one transaction and note all of it; ends when its client has been told."""
    operation.committing = operation.workload == AUTOCOMMIT
    try:
        request: Request = next(work)
        while True:
            results: list[Result] = []
            for part in parts(request, pipelined=pipelined):
                results += yield from _said(operation, part)
                if operation.outcome:
                    return
            request = work.send(results)
    except StopIteration:
        operation.outcome = ACKNOWLEDGED
    finally:
        work.close()


def parts(request: Request, *, pipelined: bool) -> Sequence[Step | Batch | Pause]:
    """What is sent at once."""
    return request.steps if isinstance(request, Batch) and not pipelined else (request,)


def _said(operation: Operation, part: Step | Batch | Pause) -> Generator[Any, Any, list[Result]]:
    steps = part.steps if isinstance(part, Batch) else (part,) if isinstance(part, Step) else ()
    for step in steps:
        operation.note(time.monotonic(), f"{step.sql}{f'  {step.values}' if step.values else ''}")
        operation.committing |= step.sql == "COMMIT"
    expected = part.fails if isinstance(part, Step) else ""
    try:
        results: list[Result] = list((yield part) or ())
    except Refused as refused:
        operation.note(time.monotonic(), f"-> {refused.sqlstate} {refused}")
        if expected != refused.sqlstate or refused.cut:
            operation.outcome, operation.detail = refused.sqlstate, refused.detail
            operation.message = str(refused).partition("\n")[0]
            operation.cut = refused.cut
        return [Result((), "")]
    except Lost as lost:
        operation.note(time.monotonic(), f"-> connection lost: {lost}")
        operation.outcome, operation.cut = LOST, True
        return []
    for result in results:
        operation.note(time.monotonic(), f"-> {result.tag} {list(result.rows) if result.rows else ''}")
    if steps and steps[-1].sql == "COMMIT" and results[-1].tag != "COMMIT":
        operation.outcome = ROLLED_BACK
    return results


# --- psycopg -------------------------------------------------------------------------------------------


class Psycopg:
    """One connection of psycopg, used by one thread.

    Args:
        port: of the proxy.
        style: ``simple``, ``extended``, ``prepared`` or ``pipeline``.
    """

    def __init__(self, port: int, style: str) -> None:
        self.pipelined = style == "pipeline"
        self._simple = style == "simple"
        self.connection: psycopg.Connection[Row] = psycopg.connect(
            f"host=127.0.0.1 port={port} user=postgres dbname=postgres connect_timeout={CONNECT_S:.0f}",
            autocommit=True,
            prepare_threshold=0 if style == "prepared" else None,
            cursor_factory=psycopg.ClientCursor if self._simple else psycopg.RawCursor,
        )

    @property
    def gone(self) -> bool:
        """Whether it has to be replaced."""
        return bool(self.connection.closed)

    def say(self, part: Step | Batch | Pause) -> Sequence[Result]:
        """Do one part of a conversation.

        Raises:
            Refused: as the name says.
            Lost: as the name says.
        """
        if isinstance(part, Pause):
            time.sleep(part.seconds)
            return ()
        try:
            if isinstance(part, Step):
                return (self._result(self._execute(part)),)
            with self.connection.pipeline():
                cursors = [self._execute(step) for step in part.steps]
            return [self._result(cursor) for cursor in cursors]
        except psycopg.Error as error:
            raise self._told(error) from error

    def _told(self, error: psycopg.Error) -> Refused | Lost:
        if error.sqlstate is None:
            return Lost(str(error).strip() or type(error).__name__)
        return Refused(error.sqlstate, str(error), error.diag.message_detail or "", cut=self.gone)

    def _execute(self, step: Step) -> psycopg.Cursor[Row]:
        sql = PLACE.sub("%s", step.sql) if self._simple else step.sql
        return self.connection.execute(sql, step.values or None)

    @staticmethod
    def _result(cursor: psycopg.Cursor[Row]) -> Result:
        rows = tuple(cursor.fetchall()) if cursor.description else ()
        return Result(rows, cursor.statusmessage or "")

    def rollback(self, operation: Operation) -> None:
        """End what is open; a connection that can't do that is given up."""
        try:
            self.connection.execute("ROLLBACK")
        except psycopg.Error as error:
            operation.note(time.monotonic(), f"ROLLBACK -> {error.sqlstate or 'connection lost'}: {error}")
            self.close()

    def close(self) -> None:
        """Give it up."""
        with contextlib.suppress(psycopg.Error, OSError):
            self.connection.close()

    def play(self, operation: Operation, work: Work) -> None:
        """Play one transaction to its end."""
        talk = perform(operation, work, pipelined=self.pipelined)
        try:
            part = next(talk)
            while True:
                try:
                    results = self.say(part)
                except (Refused, Lost) as failure:
                    part = talk.throw(failure)
                else:
                    part = talk.send(results)
        except StopIteration:
            return


# --- asyncpg -------------------------------------------------------------------------------------------

ENDED = (
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
"""What asyncpg raises when there is no connection any more."""


class Asyncpg:
    """One connection of asyncpg; ``plain`` has it keep no prepared statements."""

    def __init__(self, connection: asyncpg.Connection, *, plain: bool) -> None:
        self.connection = connection
        self.plain = plain

    @classmethod
    async def open(cls, port: int, style: str) -> Asyncpg:
        """Connect."""
        plain = style == "plain"
        connection = await asyncpg.connect(
            host="127.0.0.1",
            port=port,
            user="postgres",
            database="postgres",
            timeout=CONNECT_S,
            **({"statement_cache_size": 0} if plain else {}),
        )
        return cls(connection, plain=plain)

    @property
    def gone(self) -> bool:
        """Whether it has to be replaced."""
        return bool(self.connection.is_closed())

    async def say(self, part: Step | Batch | Pause) -> Sequence[Result]:
        """Do one part of a conversation.

        Raises:
            Refused: as the name says.
            Lost: as the name says.
        """
        assert not isinstance(part, Batch), "asyncpg has no pipeline"
        if isinstance(part, Pause):
            await asyncio.sleep(part.seconds)
            return ()
        try:
            if not part.values and not part.sql.startswith(("SELECT", "FETCH")):
                return (Result((), await self.connection.execute(part.sql)),)
            rows = await self.connection.fetch(part.sql, *part.values)
            return (Result(tuple(tuple(row.values()) for row in rows), ""),)
        except ENDED as error:
            raise Lost(f"{type(error).__name__}: {error}") from error
        except asyncpg.PostgresError as error:
            raise Refused(str(error.sqlstate), str(error), error.detail or "", cut=self.gone) from error

    async def rollback(self, operation: Operation) -> None:
        """End what is open; a connection that can't do that is given up."""
        try:
            await self.connection.execute("ROLLBACK")
        except (*ENDED, asyncpg.PostgresError) as error:
            operation.note(time.monotonic(), f"ROLLBACK -> {type(error).__name__}: {error}")
            self.close()

    def close(self) -> None:
        """Give it up."""
        self.connection.terminate()

    async def play(self, operation: Operation, work: Work) -> None:
        """Play one transaction to its end."""
        talk = perform(operation, work, pipelined=False)
        try:
            part = next(talk)
            while True:
                try:
                    results = await self.say(part)
                except (Refused, Lost) as failure:
                    part = talk.throw(failure)
                else:
                    part = talk.send(results)
        except StopIteration:
            return


class Talker(Protocol):
    """What both kinds have in common."""

    @property
    def gone(self) -> bool:
        """Whether it has to be replaced."""

    def close(self) -> None:
        """Give it up."""
