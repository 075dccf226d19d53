"""What keys of the configuration mean together: values that are fine by themselves, and not with each other.

Each rule looks at sections that are right in themselves; one with a mistake in it is left out, so that nobody
is told a consequence of it. A rule gives problems, which refuse the file, or warnings, which do not. Pure.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeAlias

from seawall.app.addresses import is_loopback
from seawall.app.document import Document
from seawall.app.environment import Place
from seawall.app.failover import PLACEHOLDERS
from seawall.app.problems import HIDDEN, NOTHING, Words
from seawall.app.secrets import Secret
from seawall.app.sections import UserSection, reads_only
from seawall.kernel.errors import ValidationError
from seawall.kernel.units import format_duration
from seawall.proxy.settings import AuthMethod, Authority, Listen, ReplayMode
from seawall.wire.pgwire.passwords import Md5Secret, parse_secret

__all__ = ["Complaint", "complaints", "warnings"]

Complaint: TypeAlias = tuple[Place, object, str, str]
"""Where, the value to show, what is allowed, and the fix."""
Rule: TypeAlias = Callable[[Document], Iterator[Complaint]]

MISSED_PROBES: Final = 3
"""So many late answers in a row mean that a server is down."""
COMMANDS: Final = ("fence_command", "promote_command", "repoint_command", "rejoin_command")
SCRAM_PREFIX: Final = "SCRAM-SHA-256$"
BRACED: Final = re.compile(r"\{([a-z_]+)\}")


def complaints(document: Document, broken: frozenset[str]) -> list[Complaint]:
    """Everything that does not go together.

    Args:
        document: the configuration; sections with mistakes have their defaults.
        broken: the names of these sections.
    """
    return [
        complaint for needs, rule in RULES if not broken.intersection(needs) for complaint in rule(document)
    ]


def warnings(document: Document) -> list[str]:
    """What a person should hear although the proxy starts."""
    return [
        *_open_doors(document),
        *_odd_backends(document),
        *_own_promotion(document),
        *_commands(document),
        *_blind_replay(document),
    ]


def _addresses(document: Document) -> Iterator[Complaint]:
    proxy = document.proxy
    if not proxy.listen_address and proxy.unix_directory is None:
        place = ("proxy", "listen_address")
        yield place, Words("[]"), "at least one address", "write one, or a unix_directory"
    if proxy.unix_directory and proxy.listen_address and not proxy.listen_address[0].port:
        fix = "the socket is named for the port of the first address: write that port"
        yield ("proxy", "unix_directory"), proxy.unix_directory, "a socket beside a port other than 0", fix


def _backends(document: Document) -> Iterator[Complaint]:
    instances = document.backends.instances
    if not instances:
        fix = "write name and host of a server there, or give --backend HOST:PORT"
        yield ("backends", "instances"), NOTHING, "at least one [[backends.instances]] table", fix
    yield from _repeated(("backends", "instances"), [item.name for item in instances])
    if instances and all(reads_only(item) for item in instances):
        fix = "reads are not routed apart in this release: give one neither allowed_query_types nor that role"
        yield ("backends", "instances"), Words("replicas alone"), "a server for all kinds of queries", fix


def _databases(document: Document) -> Iterator[Complaint]:
    yield from _repeated(("databases",), [item.name for item in document.databases])
    for number, item in enumerate(document.databases):
        place: Place = ("databases", number)
        yield from _one_of_two(place, "server_password", item.server_password, item.server_password_file)
        if (item.server_password or item.server_password_file) and item.server_user is None:
            fix = "write server_user, whose password it is"
            yield (*place, "server_user"), NOTHING, "a name beside server_password", fix


def _admin_database(document: Document) -> Iterator[Complaint]:
    for number, item in enumerate(document.databases):
        if item.name == document.proxy.admin_database:
            fix = "rename it, or choose another proxy.admin_database"
            yield ("databases", number, "name"), item.name, "a name that the proxy does not use itself", fix


def _users(document: Document) -> Iterator[Complaint]:
    auth = document.auth
    anybody = auth.trust_loopback or auth.method == AuthMethod.TRUST.value
    if not auth.users and not anybody:
        fix = (
            "write name and password of a user there, or try the proxy from this machine alone with "
            "--trust-loopback"
        )
        yield ("auth", "users"), NOTHING, "at least one [[auth.users]] table in the section [auth]", fix
    yield from _repeated(("auth", "users"), [item.name for item in auth.users])
    for number, user in enumerate(auth.users):
        yield from _user(user, ("auth", "users", number), auth.method, anybody=anybody)
    if not anybody and auth.users:
        names = [user.name for user in auth.users]
        yield from _strangers("admin_users", auth.admin_users, names)
        yield from _strangers("stats_users", auth.stats_users, names)


def _user(user: UserSection, place: Place, method: str, *, anybody: bool) -> Iterator[Complaint]:
    yield from _one_of_two(place, "password", user.password, user.password_file)
    yield from _one_of_two(place, "server_password", user.server_password, user.server_password_file)
    if user.password is None and user.password_file is None and not anybody:
        yield (*place, "password"), NOTHING, "a password", "write password or password_file"
    unfit = verifier_problem(user.password, method)
    if unfit:
        yield (*place, "password"), HIDDEN, *unfit


def verifier_problem(secret: Secret | None, method: str) -> tuple[str, str] | None:
    """What is allowed, and the fix, if ``method`` can't check a password against this kind of verifier."""
    if not secret:
        return None
    try:
        kind = parse_secret(secret.reveal())
    except ValidationError:
        return "a plain password or a whole verifier", "copy all of it from pg_authid"
    if method == AuthMethod.SCRAM.value and isinstance(kind, Md5Secret):
        fix = 'store it as SCRAM-SHA-256 or plain, or write auth.method = "md5"'
        return "a plain password or a SCRAM-SHA-256 verifier", fix
    return None


def _strangers(key: str, listed: Iterable[str], names: list[str]) -> Iterator[Complaint]:
    for name in listed:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            fix = f"did you mean {near[0]!r}?" if near else "add an [[auth.users]] table for it"
            yield ("auth", key), name, "names of [[auth.users]]", fix


def _pool(document: Document) -> Iterator[Complaint]:
    pool = document.pool
    if pool.min_size > pool.size:
        yield ("pool", "min_size"), pool.min_size, f"at most pool.size, which is {pool.size}", "lower it"


def _limits(document: Document) -> Iterator[Complaint]:
    limits = document.limits
    written = "connections_per_address" in limits.model_fields_set
    if written and limits.connections_per_address > limits.connections:
        allowed = f"at most limits.connections, which is {limits.connections}"
        yield ("limits", "connections_per_address"), limits.connections_per_address, allowed, "lower it"


def _circuit_breaker(document: Document) -> Iterator[Complaint]:
    breaker = document.circuit_breaker
    p95, p99 = breaker.latency_threshold_p95_ms, breaker.latency_threshold_p99_ms
    if p99 is not None and p99 < p95:
        allowed = f"at least latency_threshold_p95_ms, which is {p95:g}"
        yield ("circuit_breaker", "latency_threshold_p99_ms"), p99, allowed, "raise it"
    if breaker.metrics_bucket_size > breaker.metrics_window_size:
        allowed = f"at most metrics_window_size, which is {format_duration(breaker.metrics_window_size)}"
        value = format_duration(breaker.metrics_bucket_size)
        yield ("circuit_breaker", "metrics_bucket_size"), value, allowed, "lower it"


def _health_checks(document: Document) -> Iterator[Complaint]:
    checks = document.health_checks
    if checks.timeout > checks.interval:
        allowed = f"at most interval, which is {format_duration(checks.interval)}"
        yield ("health_checks", "timeout"), format_duration(checks.timeout), allowed, "lower it"


def _failover(document: Document) -> Iterator[Complaint]:
    failover = document.failover
    yield from _one_of_two(("failover",), "password", failover.password, failover.password_file)
    if not failover.enabled:
        fix = "write enabled = true, or leave it out"
        if failover.authority == Authority.SELF.value:
            yield ("failover", "authority"), failover.authority, '"external" where enabled is false', fix
        if failover.patroni:
            yield ("failover", "patroni"), Words("URLs"), "no URLs where enabled is false", fix
    if failover.authority == Authority.SELF.value:
        yield from _own_authority(document)


def _own_authority(document: Document) -> Iterator[Complaint]:
    failover = document.failover
    if not failover.sole_proxy and not failover.witnesses:
        allowed = '"self" with sole_proxy = true or with witnesses'
        fix = (
            "write sole_proxy = true if this is the only proxy and nothing else promotes servers, "
            "or name the other proxies in witnesses"
        )
        yield ("failover", "authority"), failover.authority, allowed, fix
    if failover.patroni:
        fix = 'two would promote: remove the URLs, or write authority = "external"'
        yield ("failover", "patroni"), Words("URLs"), 'no URLs beside authority = "self"', fix
    if failover.topology == "multi-primary":
        fix = 'where all servers take writes none is promoted: write authority = "external"'
        yield ("failover", "topology"), failover.topology, 'another beside authority = "self"', fix
    least = MISSED_PROBES * failover.probe_timeout
    if failover.down_after < least:
        allowed = f"at least {MISSED_PROBES} times probe_timeout, which is {format_duration(least)}"
        yield ("failover", "down_after"), format_duration(failover.down_after), allowed, "raise it"


def _pinning(document: Document) -> Iterator[Complaint]:
    failover, replay = document.failover, document.replay
    alone = failover.authority == Authority.SELF.value and failover.sole_proxy
    if replay.pin_sequences and not alone:
        allowed = 'false, unless failover.authority is "self" and failover.sole_proxy is true'
        fix = "whoever else may draw from a sequence meanwhile would get the same values"
        yield ("replay", "pin_sequences"), True, allowed, fix


def _telemetry(document: Document) -> Iterator[Complaint]:
    telemetry = document.telemetry
    doors = (
        ("metrics", telemetry.metrics, document.observability.metrics_enabled),
        ("status", telemetry.status, telemetry.status.enabled),
    )
    for name, door, enabled in doors:
        place: Place = ("telemetry", name)
        yield from _one_of_two(place, "token", door.token, door.token_file)
        known = door.token or door.token_file or door.tls_client_ca or door.allow_unauthenticated
        if enabled and not known and not is_loopback(Listen(host=door.host, port=0)):
            allowed = "an address of this machine alone, as long as nobody has to say who they are"
            fix = "write token or token_file, or say that everybody may read: allow_unauthenticated = true"
            yield (*place, "host"), door.host, allowed, fix
        if (door.tls_certificate is None) != (door.tls_key is None):
            missing = "tls_key" if door.tls_key is None else "tls_certificate"
            yield (*place, missing), NOTHING, "tls_certificate and tls_key together", f"write {missing}"
        if door.tls_client_ca is not None and door.tls_certificate is None:
            fix = "write tls_certificate and tls_key"
            yield (*place, "tls_client_ca"), door.tls_client_ca, "TLS, by which clients show theirs", fix


RULES: Final[tuple[tuple[tuple[str, ...], Rule], ...]] = (
    (("proxy",), _addresses),
    (("auth",), _users),
    (("databases",), _databases),
    (("proxy", "databases"), _admin_database),
    (("pool",), _pool),
    (("limits",), _limits),
    (("backends",), _backends),
    (("circuit_breaker",), _circuit_breaker),
    (("health_checks",), _health_checks),
    (("failover",), _failover),
    (("failover", "replay"), _pinning),
    (("observability", "telemetry"), _telemetry),
)
"""The rules, with the sections that each looks at."""


def _repeated(place: Place, names: list[str]) -> Iterator[Complaint]:
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if first.setdefault(name, number) != number:
            allowed = "a name that no other table of the list has"
            yield (*place, number, "name"), name, allowed, "rename or remove one"


def _one_of_two(place: Place, key: str, text: Secret | None, file: str | None) -> Iterator[Complaint]:
    if text is not None and file is not None:
        yield (*place, key), HIDDEN, f"either {key} or {key}_file", "remove one of them"


def _open_doors(document: Document) -> Iterator[str]:
    outside = [item for item in document.proxy.listen_address if not is_loopback(item)]
    where = ", ".join(f"{item.host}:{item.port}" for item in outside)
    if not outside:
        return
    if document.auth.method == AuthMethod.TRUST.value:
        yield f'auth.method = "trust": whoever reaches {where} is let in without a password'
    elif document.auth.trust_loopback and not document.auth.users:
        yield f"nobody but this machine is let in at {where}: there are no [[auth.users]]"


def _odd_backends(document: Document) -> Iterator[str]:
    instances = document.backends.instances
    seen: dict[tuple[str, int], str] = {}
    for item in instances:
        first = seen.setdefault((item.host, item.port), item.name)
        if first != item.name:
            yield f"backends {first} and {item.name} are one server: {item.host}:{item.port}"


def _own_promotion(document: Document) -> Iterator[str]:
    failover = document.failover
    if failover.authority != Authority.SELF.value:
        return
    if not failover.fence_command:
        yield (
            "failover.fence_command is not set: a primary that is replaced is kept from this proxy's clients "
            "alone; whoever reaches it directly can still write to it"
        )
    if len(document.backends.instances) == 1:
        yield 'failover.authority = "self", and there is one server: none can take its place'
    if failover.sole_proxy and failover.witnesses:
        yield "failover.sole_proxy says that there is no other proxy, and failover.witnesses names some"
    if failover.witnesses and not any(_can_ask(user, document) for user in document.auth.users):
        yield (
            "failover.witnesses can't be asked: of auth.stats_users and auth.admin_users nobody has a "
            "password that is known here, with which to log in to their consoles"
        )


def _can_ask(user: UserSection, document: Document) -> bool:
    """Whether this proxy could log in to another one's console as this user."""
    password = user.password.reveal() if user.password else ""
    known = user.server_password or user.server_password_file or user.password_file
    plain = bool(password) and not password.startswith(SCRAM_PREFIX)
    return user.name in {*document.auth.stats_users, *document.auth.admin_users} and (bool(known) or plain)


def _commands(document: Document) -> Iterator[str]:
    failover = document.failover
    for name in COMMANDS:
        command: tuple[str, ...] = getattr(failover, name)
        if command and failover.authority != Authority.SELF.value:
            yield f'failover.{name} is not run: failover.authority is "{failover.authority}"'
        unknown = [word for text in command for word in BRACED.findall(text) if word not in PLACEHOLDERS]
        if unknown:
            known = ", ".join(f"{{{word}}}" for word in PLACEHOLDERS)
            yield f"failover.{name}: {{{unknown[0]}}} is passed on as it is; {known} are replaced"


def _blind_replay(document: Document) -> Iterator[str]:
    replay = document.replay
    told = [*(user.replay for user in document.auth.users), *(item.replay for item in document.databases)]
    modes = {replay.mode, *told}
    if not document.failover.enabled and (ReplayMode.ON.value in modes or replay.resolve_commits):
        yield (
            "failover.enabled is false: what became of a COMMIT in flight can't be found out, "
            "so each ends in 08007"
        )
