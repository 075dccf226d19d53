"""From the configuration's model to the records that the data plane reads. Pure: it decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from seawall.app.document import Document
from seawall.app.environment import Place
from seawall.app.failover import FailoverSection, ReplaySection
from seawall.app.secrets import Secret
from seawall.app.sections import (
    BackendSection,
    DatabaseSection,
    PoolSection,
    Section,
    TimeoutsSection,
    UserSection,
    reads_only,
)
from seawall.proxy.settings import (
    Auth,
    AuthMethod,
    Authority,
    Backend,
    Database,
    Failover,
    Listen,
    Pooling,
    PoolMode,
    PreAuthentication,
    ProxySettings,
    Replay,
    ReplayMode,
    Role,
    Timeouts,
    User,
)

__all__ = ["notices", "settings"]

NOTHING_ACTS: Final = "read and checked; nothing acts on {} in this release"


def settings(document: Document, files: Mapping[Place, Secret]) -> ProxySettings:
    """What the data plane is told.

    Args:
        document: a configuration without problems.
        files: the secrets that were read from files, by the place of the key that names the file.
    """
    proxy, auth, limits = document.proxy, document.auth, document.limits
    users = [_user(item, ("auth", "users", number), files) for number, item in enumerate(auth.users)]
    databases = [_database(item, ("databases", n), files) for n, item in enumerate(document.databases)]
    return ProxySettings(
        backends=tuple(_backend(item) for item in document.backends.instances),
        listen=_listen(document),
        workers=proxy.workers,
        busy_poll_s=proxy.busy_poll,
        databases={item.name: item for item in databases} or {"*": Database(name="*")},
        pooling=_pooling(document.pool),
        timeouts=_timeouts(document.timeouts),
        limits=PreAuthentication(
            startup_bytes=limits.startup_bytes,
            connections_per_address=limits.connections_per_address,
            connections=limits.connections,
        ),
        auth=Auth(
            method=AuthMethod(auth.method),
            users={item.name: item for item in users},
            trust_loopback=auth.trust_loopback,
            admin_users=frozenset(auth.admin_users),
            stats_users=frozenset(auth.stats_users),
        ),
        failover=_failover(document.failover, files),
        replay=_replay(document.replay),
        admin_database=proxy.admin_database,
        runtime_directory=proxy.runtime_directory or "",
        extra=_extra(document),
    )


def notices(document: Document) -> tuple[str, ...]:
    """What is written in the file and has no effect yet: one line for each table that has such keys."""
    tables: list[tuple[str, tuple[Section, ...]]] = [
        (f"[{name}]", (getattr(document, name),))
        for name in Document.model_fields
        if name in document.model_fields_set and name not in {"databases", "backends"}
    ]
    tables += [
        ("[[auth.users]]", document.auth.users),
        ("[[databases]]", document.databases),
        ("[[backends.instances]]", document.backends.instances),
    ]
    lines = [line for header, rows in tables for line in _notice(header, rows)]
    idle = [item.name for item in document.backends.instances if reads_only(item)]
    if idle:
        verb = "gets" if len(idle) == 1 else "get"
        lines.append(f"{', '.join(idle)} {verb} no queries: reads are not routed apart in this release")
    return tuple(lines)


def _notice(header: str, rows: tuple[Section, ...]) -> Iterator[str]:
    if not all(row.acts for row in rows):
        yield f"{header} is {NOTHING_ACTS.format('it')}"
        return
    written = {name for row in rows for name in row.model_fields_set}
    keys = {name: key for row in rows[:1] for name, key in row.declarations().items()}
    sleeping = [name for name, key in keys.items() if name in written and not key.acts]
    if sleeping:
        one = len(sleeping) == 1
        what = f"{' is' if one else ' are'} {NOTHING_ACTS.format('it' if one else 'them')}"
        yield f"{header} {', '.join(sleeping)}{what}"


def _listen(document: Document) -> tuple[Listen, ...]:
    proxy = document.proxy
    if proxy.unix_directory is None:
        return proxy.listen_address
    port = proxy.listen_address[0].port if proxy.listen_address else Listen().port
    return (*proxy.listen_address, Listen(host="", port=port, unix_directory=proxy.unix_directory))


def _secret(text: Secret | None, place: Place, key: str, files: Mapping[Place, Secret]) -> str:
    chosen = text or files.get((*place, f"{key}_file"))
    return chosen.reveal() if chosen else ""


def _mode(name: str | None) -> PoolMode | None:
    return None if name is None else PoolMode(name)


def _replay_mode(name: str | None) -> ReplayMode | None:
    return None if name is None else ReplayMode(name)


def _user(item: UserSection, place: Place, files: Mapping[Place, Secret]) -> User:
    return User(
        name=item.name,
        secret=_secret(item.password, place, "password", files),
        server_secret=_secret(item.server_password, place, "server_password", files),
        pool_mode=_mode(item.pool_mode),
        pool_size=item.pool_size,
        max_client_connections=item.max_client_connections,
        replay=_replay_mode(item.replay),
    )


def _database(item: DatabaseSection, place: Place, files: Mapping[Place, Secret]) -> Database:
    return Database(
        name=item.name,
        server_name=item.server_name or "",
        server_user=item.server_user or "",
        server_secret=_secret(item.server_password, place, "server_password", files),
        pool_mode=_mode(item.pool_mode),
        pool_size=item.pool_size,
        max_connections=item.max_connections,
        replay=_replay_mode(item.replay),
    )


def _backend(item: BackendSection) -> Backend:
    overrides = [name for name in BackendSection.declarations() if name.startswith("circuit_breaker_")]
    return Backend(
        name=item.name,
        host=item.host,
        port=item.port,
        role=Role(item.role),
        priority=item.priority,
        weight=item.weight,
        zone=item.zone or "",
        region=item.region or "",
        allowed_query_types=item.allowed_query_types,
        max_connections=item.max_connections,
        extra={name: value for name in overrides if (value := getattr(item, name)) is not None},
    )


def _pooling(pool: PoolSection) -> Pooling:
    return Pooling(
        mode=PoolMode(pool.mode),
        size=pool.size,
        min_size=pool.min_size,
        reserve_size=pool.reserve_size,
        reserve_after_s=pool.reserve_after,
        max_client_connections=pool.max_client_connections,
        max_db_connections=pool.max_db_connections,
        max_user_connections=pool.max_user_connections,
        queue_limit=pool.queue_limit,
        queue_timeout_s=pool.queue_timeout,
        server_lifetime_s=pool.server_lifetime,
        server_idle_timeout_s=pool.server_idle_timeout,
        max_prepared_statements=pool.max_prepared_statements,
        statements_per_client=pool.statements_per_client,
        ignore_startup_parameters=pool.ignore_startup_parameters,
    )


def _timeouts(timeouts: TimeoutsSection) -> Timeouts:
    return Timeouts(
        connect_s=timeouts.connect,
        login_s=timeouts.login,
        unavailable_s=timeouts.unavailable,
        query_s=timeouts.query,
        idle_in_transaction_s=timeouts.idle_in_transaction,
        transaction_s=timeouts.transaction,
        client_idle_s=timeouts.client_idle,
        drain_s=timeouts.drain,
        dns_refresh_s=timeouts.dns_refresh,
        user_timeout_s=timeouts.user_timeout,
    )


def _failover(failover: FailoverSection, files: Mapping[Place, Secret]) -> Failover:
    return Failover(
        enabled=failover.enabled,
        authority=Authority(failover.authority),
        topology=failover.topology,
        user=failover.user or "",
        secret=_secret(failover.password, ("failover",), "password", files),
        database=failover.database,
        probe_interval_s=failover.probe_interval,
        probe_timeout_s=failover.probe_timeout,
        down_after_s=failover.down_after,
        hold_requests=failover.hold_requests,
        patroni=failover.patroni,
        allow_loss=failover.allow_loss,
        sole_proxy=failover.sole_proxy,
        witnesses=failover.witnesses,
        fence_command=failover.fence_command,
        promote_command=failover.promote_command,
        repoint_command=failover.repoint_command,
        rejoin_command=failover.rejoin_command,
        switchover_timeout_s=failover.switchover_timeout,
        replay_window_s=failover.replay_window,
    )


def _replay(replay: ReplaySection) -> Replay:
    return Replay(
        mode=ReplayMode(replay.mode),
        retry_reads=replay.retry_reads,
        resolve_commits=replay.resolve_commits,
        pin_sequences=replay.pin_sequences,
        statements_max=replay.statements_max,
        journal_bytes=replay.journal_bytes,
        age_s=replay.age,
        require_sync=replay.require_sync,
        allow_foreign=replay.allow_foreign,
    )


def _extra(document: Document) -> dict[str, object]:
    """What the data plane has no use for: the sections and keys that nothing acts on."""
    extra: dict[str, object] = {
        name: dict(getattr(document, name))
        for name, field in Document.model_fields.items()
        if not getattr(field.annotation, "acts", True)
    }
    extra["observability"] = {"log_circuit_state_changes": document.observability.log_circuit_state_changes}
    extra["proxy"] = {"circuit_breaker_enabled": document.proxy.circuit_breaker_enabled}
    return extra
