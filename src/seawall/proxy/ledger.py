"""The ledger of session state: what follows a client from server to server, and what holds it to one.

Nothing here reads SQL to find out what a session holds. ``seawall.wire.pgwire.scan`` suspects; at the end of
a suspect transaction the proxy asks the server one question on the same connection, outside any transaction,
and the answer is exact: it knows of rollbacks and savepoints, of SET LOCAL, of settings made by functions.

The theory, for one client, whose *baseline* its startup packet asked for, and a server connection:

    ========================  ======================================================================
    ``ledger.current``        what the client means its session to have: the baseline, changed since
    ``server.applied``        what the connection has beyond its own startup; None if that is unknown
    before a transaction      unless ``applied is current``: ``apply_batch(applied, current)``
    text that is suspected    ``ledger.note(scan.custom_names(sql))`` for SETTINGS and UNKNOWN,
                              ``ledger.note(scan.bound_names(body))`` for BOUND_NAME
    after the transaction     if there are flags, or ``ledger.moved``: ``asked = ledger.to_ask(flags)``;
                              unless that is 0, send ``ledger.question(asked)`` (which may be empty);
                              ``ledger.examined(read_answer(asked, rows))`` is what is applied now, or
                              None: as before; ``ledger.unanswered()`` if the server answers by an error
    after DISCARD ALL         ``applied = ledger.discarded()``
    after a pinned client     DISCARD ALL, or close the connection if a pin is in SURVIVES_DISCARD
    ========================  ======================================================================

A setting that the server lists no longer has been reset by the client, and goes back to the *client's*
startup value: ``current`` has it, ``applied`` has not, and so the next batch brings it back.

Questions and batches replace the connection's unnamed prepared statement. What a restricted role doesn't see:
settings for superusers' eyes (``dynamic_library_path``), once the session has become somebody else. What
nobody can list: custom settings (``app.user``). They are asked for by the names the client has mentioned; a
function that sets one without the client ever naming it goes unseen.

No I/O, and nothing that runs per query. Source: PostgreSQL documentation, chapters "System Administration
Functions", "System Catalogs" and "System Views".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Final

from seawall.proxy.session_settings import (
    EMPTY,
    TEXT_OID,
    Settings,
    apply_batch,
    describe_failure,
    fits,
    folded,
    settings_of,
    startup_settings,
)
from seawall.wire.pgwire import messages, scan

__all__ = [
    "EMPTY",
    "SURVIVES_DISCARD",
    "Examination",
    "Ledger",
    "Pin",
    "Settings",
    "apply_batch",
    "creates_temporary",
    "describe_failure",
    "examine_sql",
    "question",
    "read_answer",
    "settings_of",
    "startup_settings",
]

CUSTOM_NAMES_MAX: Final = 64
"""Names of custom settings that are remembered, and asked for, per client."""

REPORTED_MAX: Final = 64
"""Parameters that are remembered as reported; PostgreSQL 18 reports fifteen."""


class Pin(Enum):
    """Why a client is held to its server connection; the value is what ``SHOW CLIENTS`` says."""

    TEMPORARY = "temporary objects"
    TEMPORARY_PATH = "search_path that puts new tables into pg_temp"
    ADVISORY_LOCK = "advisory lock of the session"
    LISTEN = "LISTEN"
    PREPARED = "statement prepared by SQL"
    CURSOR = "cursor WITH HOLD"
    LOAD = "LOAD"
    SEQUENCE = "currval() or lastval()"
    STATEFUL = "function with a memory: setseed(), dblink_connect(), replication origin or slot"
    COMPUTED_NAME = "custom setting with a computed name"
    PRIVILEGED = "setting that its user may not set"
    OVERSIZE = "more settings than are kept"
    REPLICATION = "replication protocol"
    UNANSWERED = "the server did not say what the session holds"


SURVIVES_DISCARD: Final = frozenset({Pin.LOAD, Pin.STATEFUL, Pin.REPLICATION})
"""What DISCARD ALL leaves behind."""

_ASKED_FOR: Final[dict[Pin, int]] = {
    Pin.TEMPORARY: scan.TEMPORARY,
    Pin.TEMPORARY_PATH: scan.SETTINGS,
    Pin.ADVISORY_LOCK: scan.ADVISORY,
    Pin.LISTEN: scan.LISTEN,
    Pin.PREPARED: scan.PREPARED,
    Pin.CURSOR: scan.CURSOR,
    Pin.PRIVILEGED: scan.SETTINGS,
    Pin.UNANSWERED: scan.ASKABLE,
}
"""What has to be asked to find a pin gone. No answer frees from those that are not here."""

_LASTING: Final[tuple[tuple[int, Pin], ...]] = (
    (scan.LOADED, Pin.LOAD),
    (scan.SEQUENCE, Pin.SEQUENCE),
    (scan.STATEFUL, Pin.STATEFUL),
    (scan.COMPUTED_NAME, Pin.COMPUTED_NAME),
    (scan.REPLICATION, Pin.REPLICATION),
)

_OF_SERVER: Final = frozenset({"in_hot_standby", "server_version", "server_encoding", "integer_datetimes"})
"""Reported, but nothing that a session sets."""

_OF_TRANSACTION: Final = frozenset(
    {"transaction_isolation", "transaction_read_only", "transaction_deferrable"}
)
"""Listed as settings of the session once any transaction has set them, and never outliving it."""

# --- the question -------------------------------------------------------------------------------------------

_COLUMNS: Final = 3
_KINDS: Final[dict[bytes, Pin]] = {
    b"P": Pin.PRIVILEGED,
    b"T": Pin.TEMPORARY,
    b"A": Pin.ADVISORY_LOCK,
    b"L": Pin.LISTEN,
    b"Q": Pin.PREPARED,
    b"C": Pin.CURSOR,
}
"""The first column of rows that are a reason for a pin."""

_ROW_KINDS: Final = frozenset({*_KINDS, b"S", b"I", b"N", b"D"})
"""And of all others: a setting; the identity (role and user); a custom setting that was asked for; one that
an extension has declared and the session has not set."""

_PRIVILEGES_SINCE: Final = 15
"""Version of PostgreSQL since which somebody else than a superuser may be allowed a superuser's setting."""

# Every name has its schema, operators too: a search_path may put somebody's own in front of pg_catalog's.
_MAY_SET: Final = "pg_catalog.has_parameter_privilege(SESSION_USER, s.name, 'SET')"
_IS_SUPERUSER: Final = (
    "(SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname OPERATOR(pg_catalog.=) SESSION_USER)"
)
_SETTINGS_ROWS: Final = (
    "SELECT CASE WHEN NOT s.source OPERATOR(pg_catalog.=) 'session' THEN 'D'"
    " WHEN s.context OPERATOR(pg_catalog.=) 'superuser' AND NOT {may_set} THEN 'P' ELSE 'S' END,"
    " s.name, pg_catalog.current_setting(s.name)"
    " FROM pg_catalog.pg_settings AS s WHERE s.source OPERATOR(pg_catalog.=) 'session'"
)
# These two are on no list.
_IDENTITY_ROW: Final = (
    "SELECT 'I', pg_catalog.current_setting('role'), pg_catalog.current_setting('session_authorization')"
)
# Nor are custom settings, until an extension has been loaded and declares them: then it's as for all others.
_OR_DECLARED: Final = " OR pg_catalog.strpos(s.name, '.') OPERATOR(pg_catalog.>) 0"
_CUSTOM_ROWS: Final = (
    "SELECT 'N', n.n, pg_catalog.current_setting(n.n, true)"
    " FROM pg_catalog.unnest(pg_catalog.string_to_array($1, ',')) AS n (n)"
)
# 2615 is pg_namespace: what depends on the session's temporary schema is what DISCARD TEMP would drop.
_TEMPORARY_ROWS: Final = (
    "SELECT 'T', NULL, NULL WHERE EXISTS (SELECT FROM pg_catalog.pg_depend AS d"
    " WHERE d.refclassid OPERATOR(pg_catalog.=) 2615"
    " AND d.refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())"
)
# Outside a transaction, those of a transaction are gone.
_ADVISORY_ROWS: Final = (
    "SELECT 'A', NULL, NULL WHERE EXISTS (SELECT FROM pg_catalog.pg_locks AS l"
    " WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory'"
    " AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid())"
)
_LISTEN_ROWS: Final = (
    "SELECT 'L', NULL, NULL WHERE EXISTS (SELECT FROM pg_catalog.pg_listening_channels() AS c)"
)
_PREPARED_ROWS: Final = (
    "SELECT 'Q', NULL, NULL"
    " WHERE EXISTS (SELECT FROM pg_catalog.pg_prepared_statements AS p WHERE p.from_sql)"
)
_CURSOR_ROWS: Final = (
    "SELECT 'C', NULL, NULL WHERE EXISTS (SELECT FROM pg_catalog.pg_cursors AS c WHERE c.is_holdable)"
)
_ROWS: Final[tuple[tuple[int, str], ...]] = (
    (scan.TEMPORARY, _TEMPORARY_ROWS),
    (scan.ADVISORY, _ADVISORY_ROWS),
    (scan.LISTEN, _LISTEN_ROWS),
    (scan.PREPARED, _PREPARED_ROWS),
    (scan.CURSOR, _CURSOR_ROWS),
)


@lru_cache(maxsize=4 * scan.ASKABLE)
def examine_sql(asked: int, *, names: bool = False, parameter_privileges: bool = False) -> str:
    """The question as SQL: rows of (kind, name, value), none where nothing is held.

    It takes no lock, leaves nothing behind, and means the same under any search_path, on a standby, and
    whoever the session has become.

    Args:
        asked: Flags of ``scan``; the text is empty if nothing that can be asked for is among them.
        names: Whether the names of custom settings come as the value of ``$1``, joined by commas.
        parameter_privileges: Whether the server knows of them; without, only superusers pass for somebody
            who may set a superuser's setting.
    """
    parts = [rows for flag, rows in _ROWS if asked & flag]
    if not asked & scan.SETTINGS:
        return " UNION ALL ".join(parts)
    settings = _SETTINGS_ROWS.format(may_set=_MAY_SET if parameter_privileges else _IS_SUPERUSER)
    custom = [_CUSTOM_ROWS] if names else []
    declared = _OR_DECLARED if names else ""
    return " UNION ALL ".join([settings + declared, _IDENTITY_ROW, *custom, *parts])


def question(asked: int, names: Iterable[str] = (), server_version: str = "") -> bytes:
    """The question as messages that one ReadyForQuery answers; no bytes if there is nothing to ask.

    Args:
        asked: As :func:`examine_sql`.
        names: Custom settings to ask for, in lower case; they travel as a bound value.
        server_version: As the server reports it, if known.
    """
    major = server_version.partition(".")[0]
    joined = ",".join(names) if asked & scan.SETTINGS else ""
    sql = examine_sql(
        asked & scan.ASKABLE,
        names=bool(joined),
        parameter_privileges=major.isdecimal() and int(major) >= _PRIVILEGES_SINCE,
    )
    if not joined:
        return messages.query(sql) if sql else b""
    bound = messages.bind("", "", [messages.encode("names", joined)])
    return messages.parse("", sql, (TEXT_OID,)) + bound + messages.execute() + messages.sync()


@dataclass(frozen=True, slots=True)
class Examination:
    """What a server said about a session.

    Attributes:
        asked: The flags that the answer speaks of.
        settings: What it has set, names in lower case; ``session_authorization`` is always among them.
        pins: What holds it to its connection.
    """

    asked: int
    settings: dict[str, str] = field(repr=False)
    pins: frozenset[Pin]


def read_answer(asked: int, rows: Iterable[list[bytes | None]]) -> Examination:
    """Read the rows that answer :func:`question`; add what the flags say that can't be asked for.

    Raises:
        ProtocolViolation: A row answers something else.
    """
    found: dict[bytes, dict[str, str]] = {kind: {} for kind in _ROW_KINDS}
    identity: dict[str, str] = {}
    pins = {pin for flag, pin in _LASTING if asked & flag}
    for row in rows:
        kind = row[0] if len(row) == _COLUMNS else None
        if kind is None or kind not in _ROW_KINDS:
            raise messages.ProtocolViolation("a row that is no answer about a session's state")
        if kind in _KINDS:
            pins.add(_KINDS[kind])
        name, value = row[1], row[2]
        if name is None or value is None:
            continue
        if kind == b"I":
            identity = {"role": messages.decode(name), "session_authorization": messages.decode(value)}
        else:
            found[kind][folded(messages.decode(name))] = messages.decode(value)
    custom = {name: value for name, value in found[b"N"].items() if name not in found[b"D"]}
    settings = {**custom, **found[b"S"], **found[b"P"], **identity}
    for of_transaction in _OF_TRANSACTION:
        settings.pop(of_transaction, None)
    if settings.get("role") == "none":
        del settings["role"]
    return Examination(asked, settings, frozenset(pins))


def creates_temporary(search_path: str) -> bool:
    """Whether objects without a schema go into pg_temp; behind a real schema it only stands for safety."""
    for name in search_path.split(","):
        schema = name.strip().strip('"')
        if schema == "pg_temp":
            return True
        if schema not in {"$user", "pg_catalog", ""}:
            return False
    return False


# --- the ledger ---------------------------------------------------------------------------------------------


class Ledger:
    """One client's session state.

    Args:
        user: Whom server connections log in as.
        baseline: What the client's startup packet asked for.
        replication: Whether it asked for the replication protocol, which pins from the start.
    """

    __slots__ = ("_deferred", "_moved", "_names", "baseline", "current", "pins", "reported", "user")

    def __init__(self, user: str, baseline: Settings = EMPTY, *, replication: bool = False) -> None:
        self.user: Final = user
        self.baseline: Final = baseline
        self.current = baseline
        """What the session is meant to have now."""
        self.pins: frozenset[Pin] = frozenset({Pin.REPLICATION}) if replication else frozenset()
        if creates_temporary(baseline.get("search_path") or ""):
            self.pins |= {Pin.TEMPORARY_PATH}
        self.reported: dict[str, str] = {}
        """What servers have reported to this client, by ParameterStatus."""
        self._moved: dict[str, str] = {}
        self._names: dict[str, None] = {name: None for name in baseline if "." in name}
        self._deferred = 0

    def __repr__(self) -> str:
        return f"<Ledger: {', '.join(self.reasons()) or 'portable'}; {self.current!r}>"

    @property
    def portable(self) -> bool:
        """Whether the client's next transaction may go to any server connection."""
        return not self.pins

    @property
    def moved(self) -> bool:
        """Whether a reported setting changed since the last answer, and has not gone back."""
        return bool(self._moved)

    def reasons(self) -> tuple[str, ...]:
        """Why it may not, in the order of :class:`Pin`."""
        return tuple(pin.value for pin in Pin if pin in self.pins)

    def on_parameter_status(self, name: str, value: str) -> bool:
        """Take in what a server reports while it serves this client; return whether the client wants to know.

        What changes is asked for even if no text gave reason to: functions set what they like.
        """
        before = self.reported.get(name)
        if before == value:
            return False
        if before is not None or len(self.reported) < REPORTED_MAX:
            self.reported[name] = value
        if before is not None and name not in _OF_SERVER and self._moved.setdefault(name, before) == value:
            del self._moved[name]
        return True

    def adopt(self, reported: Mapping[str, str]) -> list[tuple[str, str]]:
        """Move to a connection that reports this; return what the client has to be told, and now knows."""
        news = [(name, value) for name, value in reported.items() if self.reported.get(name) != value]
        for name, value in news:
            if name in self.reported or len(self.reported) < REPORTED_MAX:
                self.reported[name] = value
        return news

    def note(self, names: Iterable[str]) -> None:
        """Remember names of custom settings, in lower case, to ask for them from now on."""
        for name in names:
            if name not in self._names:
                if len(self._names) >= CUSTOM_NAMES_MAX:
                    self.pins |= {Pin.OVERSIZE}
                    return
                self._names[name] = None

    def to_ask(self, flags: int) -> int:
        """What of a transaction's suspicions needs an answer now, for :meth:`question`; 0 is nothing.

        While a client is pinned, more pins have time until something may have been let go. Settings have not:
        what the client resets goes back to its own startup value, and at once.
        """
        asked = scan.ASKABLE if flags & scan.UNKNOWN else flags & scan.ASKABLE
        if self._moved:
            asked |= scan.SETTINGS
        if self.pins:
            asked |= self._deferred
            if flags & scan.RESET and all(pin in _ASKED_FOR for pin in self.pins):
                for pin in self.pins:
                    asked |= _ASKED_FOR[pin]
            else:
                self._deferred = asked & ~scan.SETTINGS
                asked &= scan.SETTINGS
        return asked | (flags & scan.LASTING)

    def question(self, asked: int) -> bytes:
        """:func:`question` with the custom settings of this client, for the version its server reports."""
        return question(asked, self._names, self.reported.get("server_version", ""))

    def examined(self, examination: Examination) -> Settings | None:
        """Take in an answer; return what the connection has applied now, ``None`` if that is as before."""
        asked = examination.asked
        kept = {pin for pin in self.pins if pin not in _ASKED_FOR or _ASKED_FOR[pin] & ~asked}
        self.pins = examination.pins | kept
        self._deferred &= ~asked
        if not asked & scan.SETTINGS:
            return None
        self._moved.clear()
        applied = dict(examination.settings)
        if applied.get("session_authorization") == self.user:
            del applied["session_authorization"]
        wanted = {**self.baseline, **applied}
        if not fits(wanted.items()):
            # What is meant and what is there stay one object: nothing will be applied.
            self.pins |= {Pin.OVERSIZE}
            return None
        self.current = settings_of(wanted)
        if creates_temporary(wanted.get("search_path", "")):
            self.pins |= {Pin.TEMPORARY_PATH}
        return settings_of(applied)

    def unanswered(self) -> None:
        """The question failed: what the session holds is not known, so it keeps its connection."""
        self.pins |= {Pin.UNANSWERED}
        self._moved.clear()

    def discarded(self) -> Settings:
        """After DISCARD ALL back to the client's startup values; return what the connection has applied."""
        self.pins &= SURVIVES_DISCARD
        self.current = self.baseline
        self._deferred = 0
        self._moved.clear()
        return EMPTY
