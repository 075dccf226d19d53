"""Asks servers what ``check`` wants to know: looks names up, connects, logs in, runs three questions.

A small blocking client with a time limit, one thread per server; it is no driver and no part of the data
path. Every conversation ends with Terminate, and nothing is written on a server. The resolver has no time
limit but its own. ``seawall proxy check`` calls ``look``.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from seawall.kernel.errors import SeawallError
from seawall.proxy.check import Facts, Login, Outcome, Plan, Seen
from seawall.proxy.settings import Backend
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.login import ClientLogin
from seawall.wire.pgwire.passwords import Md5Secret, PlainSecret, parse_secret

__all__ = ["Refused", "look"]

THREADS_MAX: Final = 16
MESSAGE_MAX_BYTES: Final = 256 * 1024
ANSWER_MAX_BYTES: Final = 1024 * 1024
"""Of one answer; the questions have one short row each."""
CHUNK_BYTES: Final = 16_384
NONCE_BYTES: Final = 18
ADDRESSES_MAX: Final = 8
"""Of one name, tried in turn."""
TEXT_MAX_CHARACTERS: Final = 300
APPLICATION: Final = "seawall check"
TIMED_OUT: Final = "no answer in time"

BASICS: Final = (
    "SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('server_version'), "
    "pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('server_encoding'), "
    "pg_catalog.current_setting('max_connections'), "
    "pg_catalog.current_setting('superuser_reserved_connections'), "
    "pg_catalog.current_setting('reserved_connections', true), "
    "pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())"
)
IDENTITY: Final = (
    "SELECT s.system_identifier, c.timeline_id "
    "FROM pg_catalog.pg_control_system() s, pg_catalog.pg_control_checkpoint() c"
)
SENDING: Final = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication"
RECEIVING: Final = (
    "SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_wal_receiver), "
    "CASE WHEN pg_catalog.pg_last_wal_receive_lsn() OPERATOR(pg_catalog.=) "
    "pg_catalog.pg_last_wal_replay_lsn() THEN 0 "
    "ELSE pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) "
    "pg_catalog.pg_last_xact_replay_timestamp()) END"
)

Row = list[str]


class Refused(SeawallError):
    """A server said no, or nothing that makes sense; the text is fit for a terminal.

    Args:
        message: what happened.
        sqlstate: the server's code, if it gave one.
    """

    __slots__ = ("sqlstate",)

    def __init__(self, message: str, sqlstate: str = "") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate

    def __reduce__(self) -> tuple[type[Refused], tuple[str, str]]:
        return type(self), (str(self), self.sqlstate)


def look(plans: Sequence[Plan], timeout_s: float) -> list[Seen]:
    """Ask every server, several at a time.

    Args:
        plans: what to try where.
        timeout_s: for each connection with its login, and again for its questions.
    """
    if not plans:
        return []
    with ThreadPoolExecutor(min(THREADS_MAX, len(plans)), "seawall-check") as threads:
        return list(threads.map(lambda plan: _look_at(plan, timeout_s), plans))


def _look_at(plan: Plan, timeout_s: float) -> Seen:
    backend = plan.backend
    try:
        targets = _targets(backend)
    except (OSError, ValueError) as error:
        return Seen(backend=backend, lookup_problem=_said(error))
    addresses = () if backend.host.startswith("/") else tuple(str(address[0]) for _, address in targets)
    started = time.monotonic()
    try:
        _dial(targets, timeout_s).close()
    except OSError as error:
        return Seen(backend=backend, addresses=addresses, connect_problem=_said(error))
    connect_s = time.monotonic() - started
    outcomes: list[Outcome] = []
    facts: Facts | None = None
    problem = ""
    for login in plan.logins:
        outcome, found = _try(targets, login, timeout_s, ask=facts is None and not problem)
        outcomes.append(outcome)
        if outcome.problem == TIMED_OUT:
            break
        if isinstance(found, Facts):
            facts = found
        else:
            problem = problem or found
    return Seen(
        backend=backend,
        addresses=addresses,
        connect_s=connect_s,
        outcomes=tuple(outcomes),
        left_out=plan.left_out + len(plan.logins) - len(outcomes),
        facts=facts,
        facts_problem=problem,
    )


def _try(targets: list[Target], login: Login, timeout_s: float, *, ask: bool) -> tuple[Outcome, Facts | str]:
    """One login, and the questions with it; what is wrong with the answers is a text."""
    try:
        secret = parse_secret(login.secret) if login.secret else None
    except SeawallError as error:
        return Outcome(login, _said(error), skipped=True), ""
    password = secret.password.decode() if isinstance(secret, PlainSecret) else secret
    if password is not None and not isinstance(password, str | Md5Secret):
        text = "its SCRAM verifier can't log in by itself; write server_password to have it checked"
        return Outcome(login, text, skipped=True), ""
    try:
        conversation = Conversation(_dial(targets, timeout_s), timeout_s)
    except OSError as error:
        return Outcome(login, _said(error)), ""
    with conversation:
        try:
            conversation.log_in(login.user, login.database, password)
        except (OSError, SeawallError) as error:
            return Outcome(login, _said(error), getattr(error, "sqlstate", "")), ""
        try:
            return Outcome(login), _facts(conversation) if ask else ""
        except (OSError, SeawallError, ValueError) as error:
            return Outcome(login), _said(error)


def _facts(conversation: Conversation) -> Facts:
    before = time.time()
    row = conversation.ask(BASICS)
    after = time.time()
    in_recovery = row[2] == "t"
    identifier, timeline = _tolerated(conversation, IDENTITY, ["", "0"])
    receiving, lag = _tolerated(conversation, RECEIVING, ["0", ""]) if in_recovery else ["0", ""]
    replicas = ["-1"] if in_recovery else _tolerated(conversation, SENDING, ["-1"])
    return Facts(
        version_number=int(row[0]),
        version=_clean(row[1]),
        in_recovery=in_recovery,
        encoding=_clean(row[3]),
        max_connections=int(row[4]),
        reserved=int(row[5]) + int(row[6] or 0),
        clock_offset_s=float(row[7]) - (before + after) / 2,
        clock_error_s=(after - before) / 2,
        system_identifier=_clean(identifier),
        timeline=int(timeline),
        replicas=int(replicas[0]),
        receiving=receiving != "0",
        replay_lag_s=max(0.0, float(lag)) if lag else -1.0,
    )


def _tolerated(conversation: Conversation, sql: str, otherwise: Row) -> Row:
    """The answer; or what stands for "unknown" if this role may not ask."""
    try:
        return conversation.ask(sql)
    except Refused as refusal:
        if not refusal.sqlstate:
            raise
        return otherwise


Target = tuple[socket.AddressFamily, tuple[str, int] | tuple[str]]
"""Where to connect: the family, and an address of that family."""


def _targets(backend: Backend) -> list[Target]:
    """Where a backend may be reached; ``OSError`` if its name is unknown."""
    if backend.host.startswith("/"):
        return [(socket.AF_UNIX, (str(Path(backend.host) / f".s.PGSQL.{backend.port}"),))]
    found = socket.getaddrinfo(backend.host, backend.port, type=socket.SOCK_STREAM)
    targets: list[Target] = [(family, (str(address[0]), backend.port)) for family, *_, address in found]
    return list(dict.fromkeys(targets))[:ADDRESSES_MAX]


def _dial(targets: list[Target], timeout_s: float) -> socket.socket:
    """The first connection that succeeds; ``OSError`` of the last if none does."""
    give_up = time.monotonic() + timeout_s
    problem: OSError = TimeoutError("no address")
    for number, (family, address) in enumerate(targets):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            # An address that swallows everything leaves the others their part of the time.
            left_s = (give_up - time.monotonic()) / (len(targets) - number)
            connection.settimeout(max(0.001, left_s))
            connection.connect(address[0] if family == socket.AF_UNIX else address)
        except OSError as error:
            connection.close()
            problem = error
        else:
            return connection
    raise problem


class Conversation:
    """One session with a server, closed at the end of its ``with`` block.

    Args:
        connection: a connected socket, which is closed in the end.
        timeout_s: for the login, and for each question.
    """

    __slots__ = ("_connection", "_reader", "_timeout_s")

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._reader = framing.MessageReader(MESSAGE_MAX_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError), self._connection:
            self._connection.sendall(messages.terminate())

    def log_in(self, user: str, database: str, password: str | Md5Secret | None) -> None:
        """Log in.

        Raises:
            SeawallError: the server refuses (:class:`Refused`), or breaks the rules of the login.
            OSError: the connection is lost, or time is up.
        """
        login = ClientLogin(user, password, nonce=secrets.token_bytes(NONCE_BYTES))
        parameters = {"user": user, "database": database, "application_name": APPLICATION}
        self._converse(messages.startup_message(parameters), login)
        if not login.done:
            raise Refused("the server was ready before the login was done")

    def ask(self, sql: str) -> Row:
        """The only row of an answer; NULL is an empty text.

        Raises:
            Refused: the server says no, or answers with another number of rows.
            OSError: the connection is lost, or time is up.
        """
        rows = self._converse(messages.query(sql), None)
        if len(rows) != 1:
            raise Refused(f"the server answered a question with {len(rows)} rows instead of one")
        return rows[0]

    def _converse(self, request: bytes, login: ClientLogin | None) -> list[Row]:
        """Send, and take what comes until the server is ready."""
        give_up = time.monotonic() + self._timeout_s
        rows: list[Row] = []
        refusal: Refused | None = None
        size = 0
        self._send(request, give_up)
        while True:
            for kind, body in self._receive(give_up, refusal):
                size += len(body)
                if size > ANSWER_MAX_BYTES:
                    raise Refused(f"the server's answer is longer than {ANSWER_MAX_BYTES} bytes")
                if kind == framing.AUTHENTICATION and login is not None:
                    self._send(login.receive(kind, body), give_up)
                elif kind == framing.ERROR:
                    refusal = refusal or _refusal(body)
                elif kind == framing.DATA_ROW:
                    rows.append([messages.decode(value or b"") for value in messages.parse_data_row(body)])
                elif kind == framing.READY:
                    if refusal is not None:
                        raise refusal
                    return rows

    def _send(self, data: bytes, give_up: float) -> None:
        if data:
            self._connection.settimeout(_left(give_up))
            self._connection.sendall(data)

    def _receive(self, give_up: float, refusal: Refused | None) -> list[tuple[int, bytes]]:
        self._connection.settimeout(_left(give_up))
        data = self._connection.recv(CHUNK_BYTES)
        if not data:
            # After a refused login the server hangs up without another word.
            raise refusal or Refused("the server closed the connection")
        return self._reader.feed(data)


def _left(give_up: float) -> float:
    left_s = give_up - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _refusal(body: bytes) -> Refused:
    fields = messages.parse_fields(body)
    return Refused(f"{_clean(fields['M'])} ({fields['C']})", fields["C"])


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return TIMED_OUT
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return _clean(text) or type(error).__name__


def _clean(text: str) -> str:
    """A text of somebody else's, made fit for a terminal."""
    kept = "".join(character if character.isprintable() else "?" for character in text[:TEXT_MAX_CHARACTERS])
    return kept.strip()
