"""Puts the parts together: a proxy from a configuration, and a proxy in front of servers of its own.

The only module that knows the proxy and the embedded servers both. It blocks until the end, prints nothing
and tells its caller what happens through callbacks; the verbs of the command line call it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from seawall.app import config
from seawall.app.observation.settings import Logs
from seawall.proxy.settings import Authority, Backend, ProxySettings, ReplayMode, Role

if TYPE_CHECKING:
    from seawall.embedded.cluster import Cluster
    from seawall.embedded.node import Node
    from seawall.proxy.check import Report
    from seawall.proxy.failover.hooks import Hooks
    from seawall.proxy.observing import Companion
    from seawall.proxy.supervisor import Running
    from seawall.telemetry.logs import LogHandle

__all__ = [
    "Together",
    "check_servers",
    "in_front_of",
    "is_observable",
    "promoting",
    "run_proxy",
    "run_together",
]

LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
PLACEHOLDER: Final = "localhost:1"
"""Stands for the servers while the options are checked, before any server is started."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Together:
    """What servers to start and how to stand in front of them.

    Attributes:
        replicas: how many follow the primary; of a new cluster.
        synchronous: whether a commit waits for one of them; of a new cluster.
        engine: ``wheel`` or ``system``: whose PostgreSQL; of a new cluster.
        directory: keeps the servers' data, and may hold a cluster already; ``None``: gone in the end.
        listen: where the proxy listens.
        workers: its processes.
        replay: whether open transactions are said again when their server is lost.
        pin: whether they draw again the sequence values that their clients have seen.
    """

    replicas: int = 1
    synchronous: bool = False
    engine: str = "wheel"
    directory: Path | None = None
    listen: tuple[str, ...] = ()
    workers: int | None = None
    replay: bool = True
    pin: bool = True


def run_proxy(
    loaded: config.Loaded,
    on_ready: Callable[[Running], None],
    hooks: Hooks | None = None,
    *,
    observed: bool = True,
) -> int:
    """Run a proxy until SIGTERM or SIGINT, then drain; a second signal ends it at once.

    Args:
        loaded: the configuration.
        on_ready: called once, when clients can connect.
        hooks: do something to the servers when the primary changes; ``None``: the configured commands.
        observed: serve metrics and status, and send spans, as the configuration says.

    Raises:
        InfrastructureError: an address can't be listened on, or a worker doesn't start.
        PolicyError: a setting of the telemetry is wrong in a way that only its part can tell.
    """
    from seawall.proxy import supervisor  # noqa: PLC0415 -- brings the event loop, which a mistake doesn't need

    with _written_down(loaded.observation.logs) as lines:
        logger = logging.getLogger("seawall.proxy")
        companion = _companion(loaded, logger.warning, lines) if observed else None
        return supervisor.run(loaded.settings, on_ready, log=logger.warning, hooks=hooks, companion=companion)


@contextlib.contextmanager
def _written_down(logs: Logs) -> Iterator[LogHandle | None]:
    """Have lines written to standard error: structured ones, if what that needs is installed.

    Gives what counts the structured ones.
    """
    try:
        from seawall.telemetry.logs import LogSettings, configure  # noqa: PLC0415 -- an extra
    except ImportError:
        logging.basicConfig(level=logs.level, format=LOG_FORMAT, stream=sys.stderr)
        yield None
        return
    # Arguments of the proxy's own lines are names, numbers and reasons; what is secret is masked even so.
    written = LogSettings(
        service="seawall-proxy", level=logs.level, format=logs.form, argument_loggers=("seawall.proxy",)
    )
    with configure(written) as handle:
        yield handle


def is_observable() -> bool:
    """Whether what serves metrics and status is installed."""
    try:
        from seawall.app.observation import companion  # noqa: F401, PLC0415 -- an extra
    except ImportError:
        return False
    return True


def _companion(
    loaded: config.Loaded, log: Callable[[str], None], lines: LogHandle | None
) -> Companion | None:
    """What looks on; ``None`` if nothing is to, or what it needs is not installed."""
    wanted = loaded.observation
    if not (wanted.metrics.enabled or wanted.status.enabled or wanted.tracing.enabled):
        return None
    try:
        from seawall.app.observation.companion import ObservingCompanion  # noqa: PLC0415 -- an extra
    except ImportError as missing:
        log(f"no metrics, status or traces: {missing.name} is not installed; seawall[telemetry] brings it")
        return None
    return ObservingCompanion(wanted, loaded.settings, log, lines)


def check_servers(settings: ProxySettings) -> Report:
    """Try every server of a configuration; what is wrong is in the report."""
    from seawall.proxy import check, check_socket  # noqa: PLC0415 -- as above

    return check.judge(settings, check_socket.look(check.plan(settings), settings.timeouts.connect_s))


def in_front_of(settings: ProxySettings, nodes: Sequence[Node], primary: Node) -> ProxySettings:
    """The same settings for other servers."""
    backends = tuple(
        Backend(
            name=node.name,
            host=node.host,
            port=node.port,
            role=Role.PRIMARY if node.name == primary.name else Role.REPLICA,
        )
        for node in nodes
    )
    return dataclasses.replace(settings, backends=backends)


def promoting(settings: ProxySettings) -> ProxySettings:
    """The same settings of a proxy that has its servers to itself and replaces a primary that is lost."""
    own = dataclasses.replace(settings.failover, authority=Authority.SELF, sole_proxy=True)
    return dataclasses.replace(settings, failover=own)


def run_together(
    wanted: Together,
    env: Mapping[str, str],
    on_ready: Callable[[Running, Cluster], None],
    say: Callable[[str], None],
) -> int:
    """Start servers and a proxy in front of them that trusts this machine; stop both on SIGTERM or SIGINT.

    Servers that were running before are left running.

    Args:
        wanted: what to start.
        env: the variables; of the log level.
        on_ready: called once, when clients can connect.
        say: takes a line about what is being done.

    Raises:
        ConfigError: an option is wrong.
        SeawallError: the servers or the proxy don't start; its text says why.
    """
    overrides = config.Overrides(listen=wanted.listen, workers=wanted.workers, backends=(PLACEHOLDER,))
    loaded = config.loads("", env, trust_loopback=True, overrides=overrides, source="the command line")
    with _terminated_as_interrupted(), _servers(wanted, say) as cluster:
        from seawall.app.embedded_hooks import EmbeddedHooks  # noqa: PLC0415 -- only this verb pays for it

        settings = in_front_of(loaded.settings, cluster.nodes, cluster.primary)
        if len(cluster.nodes) > 1:
            settings = promoting(settings)
        if wanted.replay:
            pin = wanted.pin and len(cluster.nodes) > 1
            replay = dataclasses.replace(settings.replay, mode=ReplayMode.ON, pin_sequences=pin)
            settings = dataclasses.replace(settings, replay=replay)
        ready = dataclasses.replace(loaded, settings=settings)
        return run_proxy(
            ready, lambda running: on_ready(running, cluster), EmbeddedHooks(cluster), observed=False
        )


@contextlib.contextmanager
def _servers(wanted: Together, say: Callable[[str], None]) -> Iterator[Cluster]:
    """Running servers, which are as they were before at the end of the block."""
    from seawall.embedded.cluster import Cluster  # noqa: PLC0415 -- only this verb pays for it
    from seawall.embedded.engines import find_engine  # noqa: PLC0415
    from seawall.embedded.state import FILE_NAME  # noqa: PLC0415

    if wanted.directory is not None and (wanted.directory / FILE_NAME).exists():
        cluster = Cluster.open(wanted.directory)
        theirs = all(node.is_running for node in cluster.nodes)
        say(f"{'found' if theirs else 'starting'} the PostgreSQL servers in {cluster.directory}")
        cluster.start()
    else:
        engine = find_engine(wanted.engine)
        theirs = False
        say(f"starting PostgreSQL {engine.release}: a primary and {_counted(wanted.replicas)}")
        cluster = Cluster.create(
            wanted.directory, replicas=wanted.replicas, synchronous=wanted.synchronous, engine=engine
        )
    if theirs:
        yield cluster
        return
    try:
        yield cluster
    finally:
        # From here on a second Ctrl-C would leave servers behind; stopping them has a time limit of its own.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        say("stopping the PostgreSQL servers")
        cluster.__exit__(None, None, None)


def _counted(replicas: int) -> str:
    return f"{replicas or 'no'} replica{'' if replicas == 1 else 's'}"


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM unwinds the stack like Ctrl-C, so that servers that are just being started are stopped, too."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
