"""One connection of the watch's: logged in, asked one thing at a time, heard between two questions.

It reads whole messages, for questions with few rows; it is no part of the data path. ``watch`` opens it.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Final

from seawall.kernel.errors import SeawallError
from seawall.proxy.connect import Addresses, Dialogue, LoginFailed, dial, tune
from seawall.proxy.failover.question import LOST, Row
from seawall.proxy.settings import Backend, ProxySettings
from seawall.proxy.worker import server_secret
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.login import ClientLogin
from seawall.wire.pgwire.passwords import Md5Secret

__all__ = ["Beats", "Link", "Login", "open_link"]

USER: Final = "postgres"
APPLICATION: Final = "seawall watch"
CONNECT_TIMEOUT_S: Final = 0.8
"""Until the system has connected: with the pause before it, less than any restart takes unseen."""
ROWS_MAX: Final = 1000
NONCE_BYTES: Final = 18
EMPTY: Final = messages.query("")
PLAIN: Final = messages.empty_query_response() + messages.ready_for_query(b"I")
"""The answer to it, where there is no news."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """Whom the watch logs in as."""

    user: str
    database: str
    password: str | Md5Secret | None = field(default=None, repr=False)
    replication: bool = False
    """For commands of the replication protocol, beside SQL."""

    @classmethod
    def of(cls, settings: ProxySettings) -> Login:
        """As configured; a user without a password there may have one among the clients."""
        failover = settings.failover
        user = failover.user or USER
        known = settings.auth.users.get(user)
        secret = failover.secret or (known.server_secret or known.secret if known else "")
        return cls(user=user, database=failover.database, password=server_secret(secret))


class Link:
    """A connection that is asked one thing at a time.

    Args:
        dialogue: the connection, on which nothing was said yet.
    """

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self.parameters: dict[str, str] = {}
        self.columns: tuple[str, ...] = ()
        """Of the last answer with rows."""

    async def log_in(self, login: Login) -> None:
        """Log in.

        Raises:
            LoginFailed: refused, or broken off.
        """
        parameters = {"user": login.user, "database": login.database, "application_name": APPLICATION}
        if login.replication:
            parameters["replication"] = "database"
        self._dialogue.transport.write(messages.startup_message(parameters))
        state = ClientLogin(login.user, login.password, nonce=secrets.token_bytes(NONCE_BYTES))
        try:
            await self._until_ready(state)
        except LoginFailed:
            raise
        except SeawallError as error:
            raise LoginFailed(str(error), getattr(error, "sqlstate", "08P01")) from error
        if not state.done:
            raise LoginFailed("the server was ready before the login was done", "08P01")

    def send(self, sql: str) -> None:
        """Ask."""
        self._dialogue.transport.write(messages.query(sql))

    async def reply(self) -> list[Row]:
        """The rows of the answer.

        Raises:
            SeawallError: the server says no, or nonsense, or the connection ended.
        """
        return await self._until_ready(None)

    async def beat(
        self, interval_s: float, timeout_s: float, count: int, nudge: asyncio.Future[None]
    ) -> Beats:
        """Ask empty queries until one is not answered in time, or with something else than plainly.

        Args:
            interval_s: before each.
            timeout_s: for an answer.
            count: how many at most.
            nudge: no more are asked when it is done.

        Returns:
            How many there were. One may be out: its answer is for :meth:`reply`.
        """
        beats = Beats(self._dialogue, interval_s, timeout_s, count)
        if nudge.done() or not self._dialogue.silent:
            beats.stop()
        nudge.add_done_callback(beats.stop)
        try:
            await beats.over
        finally:
            nudge.remove_done_callback(beats.stop)
            beats.stop()
        return beats

    async def idle(self) -> None:
        """Hear what comes unasked, until the connection ends.

        Raises:
            SeawallError: it ended.
        """
        await self._until_ready(None)
        raise LoginFailed("the server answers what nobody asked", "08P01")

    async def _until_ready(self, login: ClientLogin | None) -> list[Row]:
        rows: list[Row] = []
        refused: LoginFailed | None = None
        while True:
            try:
                kind, body = await self._dialogue.next()
            except LoginFailed as ended:
                raise refused or ended from None  # its last words
            if kind == framing.DATA_ROW and len(rows) < ROWS_MAX:
                values = messages.parse_data_row(body)
                rows.append([None if value is None else messages.decode(value) for value in values])
            elif kind == framing.ROW_DESCRIPTION:
                self.columns = tuple(column.name for column in messages.parse_row_description(body))
            elif kind == framing.PARAMETER_STATUS:
                name, value = messages.parse_parameter_status(body)
                self.parameters[name] = value
            elif kind == framing.AUTHENTICATION and login is not None:
                answer = login.receive(kind, body)
                if answer:
                    self._dialogue.transport.write(answer)
            elif kind == framing.ERROR:
                fields = messages.parse_fields(body)
                refused = LoginFailed(fields.get("M", "no reason given"), fields.get("C", LOST), fields)
            elif kind == framing.READY:
                if refused is not None:
                    raise refused
                return rows

    def close(self) -> None:
        """Hang up."""
        self._dialogue.transport.abort()


class Beats:
    """Empty queries that are answered plainly. They cost next to nothing, because no task runs for one.

    Args:
        dialogue: where, on a connection that is logged in.
        interval_s: before each.
        timeout_s: for an answer.
        count: how many.

    Attributes:
        asked: so many were.
        answered: so many of these.
        asked_at: when the one was that has no answer yet; loop time.
        over: done when no more are asked.
    """

    def __init__(self, dialogue: Dialogue, interval_s: float, timeout_s: float, count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._dialogue = dialogue
        self._interval_s, self._timeout_s, self._count = interval_s, timeout_s, count
        self.asked = self.answered = 0
        self.asked_at: float | None = None
        self.over: asyncio.Future[None] = self._loop.create_future()
        self._timer = self._loop.call_later(interval_s, self._ask)
        dialogue.listener = self

    def _ask(self) -> None:
        self.asked += 1
        self.asked_at = self._loop.time()
        self._dialogue.transport.write(EMPTY)
        self._timer = self._loop.call_later(self._timeout_s, self._late, self.asked_at + self._timeout_s)

    def _late(self, due: float) -> None:
        now = self._loop.time()
        if now < due + self._timeout_s:
            self.stop()
        else:  # this process itself has not run for so long: the answer may be there already
            self._timer = self._loop.call_later(self._timeout_s, self._late, now + self._timeout_s)

    def heard(self, data: bytes) -> bool:
        """Something came; true if it was a plain answer."""
        if self.asked_at is None or data != PLAIN:
            self.stop()
            return False
        self._timer.cancel()
        self.asked_at = None
        self.answered += 1
        if self.answered == self._count:
            self.stop()
        else:
            self._timer = self._loop.call_later(self._interval_s, self._ask)
        return True

    def stop(self, _: object = None) -> None:
        """Ask no more."""
        self._timer.cancel()
        if self._dialogue.listener is self:
            self._dialogue.listener = None
        if not self.over.done():
            self.over.set_result(None)


async def open_link(addresses: Addresses, backend: Backend, user_timeout_s: float) -> Link:
    """Connect, without logging in.

    Raises:
        OSError: nobody there, or not in time.
    """
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        transport, dialogue = await dial(addresses, backend, Dialogue)
    tune(transport, user_timeout_s)
    return Link(dialogue)
