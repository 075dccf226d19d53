"""Whether a configuration fits the servers that it names: what to ask each, and what the answers mean. Pure.

``plan`` says which logins to try, ``check_socket`` tries them, ``judge`` turns what was seen into findings.
It changes nothing on a server and decides nothing about traffic. ``seawall proxy check`` prints the report.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from seawall.kernel.units import format_duration
from seawall.proxy.settings import AuthMethod, Backend, Database, ProxySettings, Role, User

__all__ = [
    "Facts",
    "Finding",
    "Judged",
    "Login",
    "Outcome",
    "Plan",
    "Report",
    "Seen",
    "Verdict",
    "demand",
    "judge",
    "plan",
]

LOGINS_MAX: Final = 64
"""Tried on one server; a list of a thousand users is not worth a thousand logins."""
OLDEST: Final = 14
NEWEST: Final = 18
"""Major versions of PostgreSQL that the proxy supports."""
CLOCK_TOLERANCE_S: Final = 1.0
LAG_TOLERANCE_S: Final = 10.0
MAINTENANCE: Final = "postgres"
"""The user and the database that nearly every server has, tried where none is named."""
DATABASE_CLOSED: Final = frozenset({"3D000", "42501", "55000"})
"""No such database, no permission, no connections allowed: said only to somebody whose login is right."""


class Verdict(Enum):
    """What a finding means for the one who is about to start the proxy."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """One login to try.

    Attributes:
        user: as on the server.
        database: as on the server.
        secret: the password, or what there is instead.
        optional: a refusal is a warning: this login was guessed, or is the proxy's own affair.
        guessed: the database was not named by anybody.
    """

    user: str
    database: str
    secret: str = field(default="", repr=False)
    optional: bool = False
    guessed: bool = False

    def __str__(self) -> str:
        return f"{self.user} to {self.database}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to try on one server; ``left_out`` logins are beyond :data:`LOGINS_MAX`."""

    backend: Backend
    logins: tuple[Login, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a login: nothing to tell if it went well."""

    login: Login
    problem: str = ""
    sqlstate: str = ""
    skipped: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a server says of itself.

    Attributes:
        version_number: such as 160004.
        in_recovery: it is a replica.
        encoding: of the database that was asked.
        max_connections: all that the server takes.
        reserved: of these, for superusers and the like.
        clock_offset_s: server's clock less ours.
        clock_error_s: how far that may be off: half a round trip.
        system_identifier: the same for all servers of one cluster; empty if the role may not see it.
        timeline: of the last checkpoint; 0 if the role may not see it.
        replicas: servers that stream from it; -1 if unknown.
        receiving: a replica streams from somebody.
        replay_lag_s: of a replica with something to replay; -1 if unknown.
    """

    version_number: int
    version: str
    in_recovery: bool
    encoding: str
    max_connections: int
    reserved: int
    clock_offset_s: float
    clock_error_s: float
    system_identifier: str = ""
    timeline: int = 0
    replicas: int = -1
    receiving: bool = False
    replay_lag_s: float = -1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What was seen of one server; what is empty was not reached."""

    backend: Backend
    addresses: tuple[str, ...] = ()
    lookup_problem: str = ""
    connect_problem: str = ""
    connect_s: float = 0.0
    outcomes: tuple[Outcome, ...] = ()
    left_out: int = 0
    facts: Facts | None = None
    facts_problem: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    verdict: Verdict
    text: str


@dataclass(frozen=True, slots=True)
class Judged:
    """The findings about one server."""

    backend: Backend
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of them."""
        return _worst(self.findings)


@dataclass(frozen=True, slots=True)
class Report:
    """All findings; ``together`` are those about several servers."""

    backends: tuple[Judged, ...]
    together: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing failed; warnings are fine."""
        findings = [*self.together, *(item for judged in self.backends for item in judged.findings)]
        return _worst(findings) is not Verdict.FAILED


def plan(settings: ProxySettings) -> tuple[Plan, ...]:
    """Which logins to try on which server."""
    logins = tuple(dict.fromkeys(_logins(settings)))
    left_out = max(0, len(logins) - LOGINS_MAX)
    return tuple(Plan(backend, logins[:LOGINS_MAX], left_out) for backend in settings.backends)


def demand(settings: ProxySettings) -> tuple[int, bool]:
    """The most server connections that the pools may open together, and whether that is all.

    It is not where anybody may come under any name, or the databases are not all named: then there is one
    more pool for each name that comes.
    """
    open_ended = "*" in settings.databases or _anybody(settings)
    total = 0
    per_user: dict[str, int] = {}
    users = list(settings.auth.users.values()) or [User(name=MAINTENANCE)]
    for database in settings.databases.values():
        wanted = {user.name: _pool(settings, user, database) for user in users}
        limit = database.max_connections or settings.pooling.max_db_connections
        total += min(sum(wanted.values()), limit or sum(wanted.values()))
        for name, size in wanted.items():
            per_user[name] = per_user.get(name, 0) + size
    user_limit = settings.pooling.max_user_connections
    if user_limit:
        total = min(total, sum(min(size, user_limit) for size in per_user.values()))
    return total, not open_ended


def judge(settings: ProxySettings, seen: Sequence[Seen]) -> Report:
    """What it all means."""
    wanted = demand(settings)
    judged = tuple(Judged(item.backend, tuple(_findings(item, wanted))) for item in seen)
    return Report(judged, tuple(_together(seen)))


def _anybody(settings: ProxySettings) -> bool:
    return settings.auth.trust_loopback or settings.auth.method is AuthMethod.TRUST


def _pool(settings: ProxySettings, user: User, database: Database) -> int:
    size = user.pool_size or database.pool_size or settings.pooling.size
    return size + settings.pooling.reserve_size


def _logins(settings: ProxySettings) -> Iterator[Login]:
    nobody = User(name=MAINTENANCE)
    own = settings.auth.admin_users | settings.auth.stats_users
    for database in settings.databases.values():
        guessed = database.name == "*" and not database.server_name
        name = database.server_name or (MAINTENANCE if guessed else database.name)
        for user in settings.auth.users.values() or (nobody,):
            yield Login(
                user=database.server_user or user.name,
                database=name,
                secret=database.server_secret or user.server_secret or user.secret,
                optional=not database.server_user and (user is nobody or user.name in own),
                guessed=guessed,
            )


def _worst(findings: Sequence[Finding]) -> Verdict:
    verdicts = {finding.verdict for finding in findings}
    for verdict in (Verdict.FAILED, Verdict.WARNING):
        if verdict in verdicts:
            return verdict
    return Verdict.OK


def _findings(seen: Seen, wanted: tuple[int, bool]) -> Iterator[Finding]:
    if seen.lookup_problem:
        yield Finding("dns", Verdict.FAILED, seen.lookup_problem)
        return
    if seen.addresses:
        yield Finding("dns", Verdict.OK, ", ".join(seen.addresses))
    if seen.connect_problem:
        yield Finding("connect", Verdict.FAILED, seen.connect_problem)
        return
    yield Finding("connect", Verdict.OK, f"in {format_duration(seen.connect_s, 2)}")
    yield from _about_logins(seen)
    if seen.facts is None:
        if seen.facts_problem:
            yield Finding("facts", Verdict.FAILED, seen.facts_problem)
        return
    yield _about_version(seen.facts)
    yield _about_role(seen.backend, seen.facts)
    yield _about_encoding(seen.facts)
    yield _about_connections(seen.facts, wanted)
    yield _about_clock(seen.facts)
    yield _about_replication(seen.facts)


def _about_logins(seen: Seen) -> Iterator[Finding]:
    done = [str(outcome.login) for outcome in seen.outcomes if not outcome.problem and not outcome.skipped]
    if done:
        yield Finding("login", Verdict.OK, ", ".join(done))
    for outcome in seen.outcomes:
        if outcome.skipped:
            yield Finding("login", Verdict.WARNING, f"{outcome.login} not tried: {outcome.problem}")
        elif outcome.problem:
            yield _about_refusal(outcome)
    if seen.left_out:
        yield Finding("login", Verdict.WARNING, f"{seen.left_out} more not tried")


def _about_refusal(outcome: Outcome) -> Finding:
    login = outcome.login
    if login.guessed and outcome.sqlstate in DATABASE_CLOSED:
        text = f"{login}: {outcome.problem}; the password is right: name databases to have them checked"
        return Finding("login", Verdict.WARNING, text)
    if login.optional:
        text = f"{login}: {outcome.problem}; nobody is configured to log in with, so that was a guess"
        if login.user != MAINTENANCE:
            text = f"{login}: {outcome.problem}; it can use the admin database alone"
        return Finding("login", Verdict.WARNING, text)
    return Finding("login", Verdict.FAILED, f"{login}: {outcome.problem}")


def _about_version(facts: Facts) -> Finding:
    major = facts.version_number // 10_000
    if OLDEST <= major <= NEWEST:
        return Finding("version", Verdict.OK, facts.version)
    return Finding("version", Verdict.FAILED, f"{facts.version}; supported are {OLDEST} to {NEWEST}")


def _about_role(backend: Backend, facts: Facts) -> Finding:
    is_role = Role.REPLICA if facts.in_recovery else Role.PRIMARY
    if backend.role in {Role.AUTO, is_role}:
        return Finding("role", Verdict.OK, is_role.value)
    text = f'is a {is_role.value}, configured as "{backend.role.value}"'
    return Finding("role", Verdict.FAILED, text)


def _about_encoding(facts: Facts) -> Finding:
    if facts.encoding == "SQL_ASCII":
        text = "SQL_ASCII: the server does not know what its bytes mean, and converts nothing"
        return Finding("encoding", Verdict.WARNING, text)
    return Finding("encoding", Verdict.OK, facts.encoding)


def _about_connections(facts: Facts, wanted: tuple[int, bool]) -> Finding:
    most, all_of_it = wanted
    free = facts.max_connections - facts.reserved
    takes = f"the server takes {free} (max_connections {facts.max_connections}, {facts.reserved} reserved)"
    if most > free:
        text = f"the pools may open {most}, {takes}: lower pool sizes or raise max_connections"
        return Finding("connections", Verdict.WARNING, text)
    if all_of_it:
        return Finding("connections", Verdict.OK, f"the pools open at most {most}, {takes}")
    text = f"{most} for each user and database that comes, {takes}"
    return Finding("connections", Verdict.OK, text)


def _about_clock(facts: Facts) -> Finding:
    offset = abs(facts.clock_offset_s)
    error = format_duration(facts.clock_error_s, 2)
    side = "ahead of" if facts.clock_offset_s > 0 else "behind"
    text = f"{format_duration(offset, 2)} {side} this machine's, give or take {error}"
    if offset - facts.clock_error_s > CLOCK_TOLERANCE_S:
        return Finding("clock", Verdict.WARNING, f"{text}: set one of them by NTP")
    return Finding("clock", Verdict.OK, text)


def _about_replication(facts: Facts) -> Finding:
    if not facts.in_recovery:
        count = "unknown to this role" if facts.replicas < 0 else str(facts.replicas)
        return Finding("replication", Verdict.OK, f"replicas that stream from it: {count}")
    if not facts.receiving:
        return Finding("replication", Verdict.WARNING, "it streams from nobody")
    if facts.replay_lag_s > LAG_TOLERANCE_S:
        text = f"it streams, {format_duration(facts.replay_lag_s, 2)} behind"
        return Finding("replication", Verdict.WARNING, text)
    return Finding("replication", Verdict.OK, "it streams")


def _together(seen: Sequence[Seen]) -> Iterator[Finding]:
    known = [(item.backend.name, item.facts) for item in seen if item.facts is not None]
    if not known:
        return
    primaries = [name for name, facts in known if not facts.in_recovery]
    if not primaries:
        yield Finding("primary", Verdict.FAILED, "no server that was reached takes writes")
    clusters: dict[str, list[str]] = {}
    for name, facts in known:
        if facts.system_identifier:
            clusters.setdefault(facts.system_identifier, []).append(name)
    for names in clusters.values():
        both = [name for name in names if name in primaries]
        if len(both) > 1:
            text = f"{' and '.join(both)} are one cluster, and both take writes: one was not fenced"
            yield Finding("primary", Verdict.FAILED, text)
    if len(clusters) > 1:
        text = "; ".join(", ".join(names) for names in clusters.values())
        yield Finding("clusters", Verdict.WARNING, f"servers with different data: {text}")
    encodings = sorted({facts.encoding for _, facts in known})
    if len(encodings) > 1:
        text = f"the servers' encodings differ: {', '.join(encodings)}"
        yield Finding("encoding", Verdict.WARNING, text)
