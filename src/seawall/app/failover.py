"""The sections ``[failover]`` and ``[replay]``: what happens when a server is lost.

They are sections like those of :mod:`seawall.app.sections`: declarations and defaults, nothing more. What is
done with them is the business of the proxy's supervisor (failover) and of its workers (replay).
"""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlsplit

from seawall.app import addresses
from seawall.app.keys import (
    DAY_S,
    Key,
    choice,
    command,
    file_path,
    identifier,
    reader,
    secret,
    span,
    truth,
    whole,
    words,
)
from seawall.app.secrets import Secret
from seawall.app.sections import CONNECTIONS_MAX, Section
from seawall.proxy.settings import Authority, Failover, Replay, ReplayMode

__all__ = ["PLACEHOLDERS", "TOPOLOGIES", "FailoverSection", "ReplaySection"]

TOPOLOGIES: Final = ("auto", "single-primary", "multi-primary")
PLACEHOLDERS: Final = ("node", "host", "port", "primary")
"""What is replaced in a command where it stands in braces."""
URL_MAX_BYTES: Final = 2_000
JOURNAL_MAX_BYTES: Final = 1024 * 1024 * 1024

_FAILOVER: Final = Failover()
_REPLAY: Final = Replay()


def read_url(value: object) -> str:
    """The base URL of Patroni's REST API, without a slash at its end.

    Raises:
        TypeError: it is no text.
        ValueError: it is no such URL.
    """
    if not isinstance(value, str):
        raise TypeError("not a text")
    if len(value.encode("utf-8", "surrogatepass")) > URL_MAX_BYTES or not value.isprintable():
        raise ValueError("does not fit")
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ValueError("no URL of a server")
    addresses.read_host(parts.hostname)
    if parts.port == 0 or parts.query or parts.fragment or " " in value:
        raise ValueError("no base URL")
    return value.rstrip("/")


def read_witness(value: object) -> str:
    """``host:port`` as it was written.

    Raises:
        TypeError: it is no text.
        ValueError: it is no address.
    """
    addresses.read_host_port(value)
    return str(value)


def _command(meaning: str, example: str) -> Key:
    return command(meaning, example=example)


class FailoverSection(Section):
    """Following the primary, and making one.

    In a command ``{node}``, ``{host}`` and ``{port}`` stand for the server that something is done to,
    ``{primary}`` for the name of the server that is, or is to be, the primary.
    """

    enabled: Annotated[
        bool,
        truth(
            "Watch the servers' roles and follow the primary; without it connections go by `role` and "
            "`priority` alone."
        ),
    ] = _FAILOVER.enabled
    authority: Annotated[
        str,
        choice(
            "Who makes a server the primary: `external` is somebody else (Patroni, a cloud, a person), "
            "whom the proxy follows; `self` is the proxy.",
            *(authority.value for authority in Authority),
        ),
    ] = _FAILOVER.authority.value
    topology: Annotated[
        str,
        choice(
            "How many servers take writes at a time; `auto` is as the first look at all of them shows.",
            *TOPOLOGIES,
        ),
    ] = _FAILOVER.topology
    user: Annotated[
        str | None, identifier("Whom the watch logs in to the servers as; not set: `postgres`.")
    ] = None
    password: Annotated[Secret | None, secret("Its password.")] = None
    password_file: Annotated[str | None, file_path("A file whose only line is that password.")] = None
    database: Annotated[str, identifier("The database that the watch logs in to.")] = _FAILOVER.database
    probe_interval: Annotated[float, span(0.01, 60.0, "Between two questions to a server.")] = (
        _FAILOVER.probe_interval_s
    )
    probe_timeout: Annotated[
        float,
        span(0.01, 60.0, "How long an answer may take; three late ones in a row: the server is down."),
    ] = _FAILOVER.probe_timeout_s
    down_after: Annotated[
        float,
        span(0.05, DAY_S, "With `self`: a primary that can't be reached for this long is replaced."),
    ] = _FAILOVER.down_after_s
    hold_requests: Annotated[
        int,
        whole(
            0,
            CONNECTIONS_MAX,
            "Clients of one pool and worker that may wait while there is no primary; more are told 57P03.",
        ),
    ] = _FAILOVER.hold_requests
    patroni: Annotated[
        tuple[str, ...],
        words(
            "a list of http or https URLs without user, password and query",
            reader("a URL", read_url, ""),
            "Patroni's REST API, one URL per member; only the leader that it names is written to.",
            example='["http://db1:8008", "http://db2:8008"]',
            hidden=True,  # somebody may have written a password into one
        ),
    ] = _FAILOVER.patroni
    allow_loss: Annotated[
        bool,
        truth("Promote a replica even if a synchronous one that may have acknowledged more can't be asked."),
    ] = _FAILOVER.allow_loss
    sole_proxy: Annotated[
        bool,
        truth("Promise that no other proxy and nobody else writes to these servers or promotes one."),
    ] = _FAILOVER.sole_proxy
    witnesses: Annotated[
        tuple[str, ...],
        words(
            'a list of "host:port"',
            reader("an address", read_witness, ""),
            "Consoles of other proxies; they are asked whether they reach the primary before it is replaced.",
            example='["proxy2:6432", "proxy3:6432"]',
        ),
    ] = _FAILOVER.witnesses
    fence_command: Annotated[
        tuple[str, ...],
        _command(
            "With `self`: keeps a primary that is replaced from taking writes; must be done before another "
            "server is promoted.",
            '["/usr/local/bin/fence", "{host}"]',
        ),
    ] = _FAILOVER.fence_command
    promote_command: Annotated[
        tuple[str, ...],
        _command(
            "With `self`: promotes a server; empty: `pg_promote()`.", '["/usr/local/bin/promote", "{node}"]'
        ),
    ] = _FAILOVER.promote_command
    repoint_command: Annotated[
        tuple[str, ...],
        _command(
            "With `self`: has a replica follow the new primary.",
            '["/usr/local/bin/repoint", "{node}", "{primary}"]',
        ),
    ] = _FAILOVER.repoint_command
    rejoin_command: Annotated[
        tuple[str, ...],
        _command(
            "With `self`: makes a replica of a former primary that is back.",
            '["/usr/local/bin/rejoin", "{node}", "{primary}"]',
        ),
    ] = _FAILOVER.rejoin_command
    switchover_timeout: Annotated[
        float,
        span(
            0.1,
            3_600.0,
            "How long a planned switchover waits for open transactions to end, and again for the replica to "
            "have everything; then it is given up.",
        ),
    ] = _FAILOVER.switchover_timeout_s
    replay_window: Annotated[
        float,
        span(0.0, 60.0, "How long replays have a new primary to themselves, at most."),
    ] = _FAILOVER.replay_window_s


class ReplaySection(Section):
    """What is done for clients whose server is lost under them."""

    mode: Annotated[
        str,
        choice(
            "Of open transactions: `off` ends them, `on` says them again on the next primary and compares, "
            "`shadow` only tells what `on` would have done. Users and databases may say otherwise.",
            *(mode.value for mode in ReplayMode),
        ),
    ] = _REPLAY.mode.value
    retry_reads: Annotated[
        bool,
        truth("Say a statement again that provably changes nothing and of which nothing was delivered."),
    ] = _REPLAY.retry_reads
    resolve_commits: Annotated[
        bool | None,
        truth("Find out what became of a `COMMIT` in flight; not set: where transactions are replayed."),
    ] = _REPLAY.resolve_commits
    pin_sequences: Annotated[
        bool,
        truth(
            "Have a replayed statement draw the sequence values again that its client has seen. Needs "
            '`failover.authority = "self"` and `failover.sole_proxy`.'
        ),
    ] = _REPLAY.pin_sequences
    statements_max: Annotated[
        int, whole(1, 1_000_000, "A transaction of more statements is not replayed.")
    ] = _REPLAY.statements_max
    journal_bytes: Annotated[
        int,
        whole(1_024, JOURNAL_MAX_BYTES, "A transaction in which more was said is not replayed."),
    ] = _REPLAY.journal_bytes
    age: Annotated[
        float, span(0.1, DAY_S, "A transaction that has been open for longer is not replayed.")
    ] = _REPLAY.age_s
    require_sync: Annotated[bool, truth("Replay only where a synchronous standby is confirmed.")] = (
        _REPLAY.require_sync
    )
    allow_foreign: Annotated[
        bool,
        truth("Replay also in databases with foreign tables or functions in untrusted languages."),
    ] = _REPLAY.allow_foreign
