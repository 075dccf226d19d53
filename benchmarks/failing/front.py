"""The proxy before a cluster, in a process of its own: ``python -m benchmarks.failing.front``.

It prints where it listens, and ends with its standard input, whatever becomes of the parent. What it says
goes to its standard error.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import harness, interpreter
from benchmarks.proxying import processes
from seawall.app.embedded_hooks import EmbeddedHooks
from seawall.embedded import Cluster
from seawall.proxy import supervisor
from seawall.proxy.settings import (
    Auth,
    Authority,
    Backend,
    Failover,
    Listen,
    Pooling,
    PoolMode,
    ProxySettings,
    Replay,
    ReplayMode,
    Role,
    Timeouts,
)

START_S = 30.0
LOG_BYTES_SHOWN = 4_000


class NoFrontError(Exception):
    """The proxy doesn't start, or has ended by itself; the text is what it said last."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is told to the proxy.

    Attributes:
        watches: It follows the primary, and says reads again.
        replay: Transactions are replayed and commits resolved.
        pin: Sequences are pinned.
        promotes: It replaces a lost primary itself.
        fences: It stops a primary that it replaces; else that one may come back as a zombie.
        workers: Processes.
        pool: Server connections.
        session: In session mode.
        topology: How many servers take writes.
        ports: Where the servers are reached, by name, if that isn't where they listen.
        telemetry: How it is looked on: not at all, or as ``benchmarks.failing.onlooker`` says.
        collector: Where its spans are sent.
        metrics_port: Where its metrics are.
    """

    watches: bool = True
    replay: bool = True
    pin: bool = True
    promotes: bool = True
    fences: bool = True
    workers: int = 2
    pool: int = 40
    session: bool = False
    topology: str = "auto"
    ports: Mapping[str, int] = field(default_factory=dict)
    telemetry: str = ""
    collector: str = ""
    metrics_port: int = 0

    def settings(self, cluster: Cluster | None) -> ProxySettings:
        """The same as the proxy takes it.

        Args:
            cluster: the servers; ``None``: those of ``ports``.
        """
        roles = {} if cluster is None else dict.fromkeys((node.name for node in cluster.nodes), Role.REPLICA)
        listening = {} if cluster is None else {node.name: node.port for node in cluster.nodes}
        if cluster is not None:
            roles[cluster.primary.name] = Role.PRIMARY
        backends = tuple(
            Backend(name=name, host="127.0.0.1", port=port, role=roles.get(name, Role.AUTO))
            for name, port in {**listening, **self.ports}.items()
        )
        return ProxySettings(
            backends=backends,
            listen=(Listen(port=0),),
            workers=self.workers,
            auth=Auth(trust_loopback=True, admin_users=frozenset({"postgres"})),
            pooling=Pooling(mode=PoolMode.SESSION if self.session else PoolMode.TRANSACTION, size=self.pool),
            timeouts=Timeouts(drain_s=2.0),
            failover=Failover(
                enabled=self.watches,
                authority=Authority.SELF if self.promotes else Authority.EXTERNAL,
                topology=self.topology,
                sole_proxy=True,
            ),
            replay=Replay(
                mode=ReplayMode.ON if self.replay else ReplayMode.OFF,
                retry_reads=self.watches,
                pin_sequences=self.replay and self.pin,
            ),
        )


@dataclass(frozen=True)
class Front:
    """A proxy that takes clients."""

    port: int
    options: Options
    process: subprocess.Popen[bytes] = field(repr=False)
    log: Path
    log_before: int = 0
    """Characters that others have written to it before."""

    def pids(self) -> tuple[int, ...]:
        """All its processes."""
        return processes.tree(self.process.pid)

    def check(self) -> None:
        """See that it still runs.

        Raises:
            NoFrontError: It doesn't.
        """
        if self.process.poll() is not None:
            raise NoFrontError(f"the proxy ended by itself ({self.process.returncode})\n{self.said()}")

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-LOG_BYTES_SHOWN:]

    def stumbles(self) -> list[str]:
        """Tracebacks in its log, each as its last line says it."""
        found = []
        traceback = False
        for line in self.log.read_text(errors="replace")[self.log_before :].splitlines():
            if line.startswith("Traceback "):
                traceback = True
            elif traceback and not line.startswith(" "):
                found.append(line)
                traceback = False
        return found


@contextmanager
def front(
    cluster: Cluster | None, options: Options, log: Path | None = None, build: Path | None = None
) -> Iterator[Front]:
    """Run the proxy before a cluster.

    Args:
        cluster: its servers; ``None``: those of ``options.ports``.
        options: what it is told.
        log: takes what it says.
        build: a folder with another build of it, to be measured (``interpreter``).

    Raises:
        NoFrontError: It doesn't start, or ends by itself.
    """
    with tempfile.TemporaryDirectory(prefix="front-") as folder:
        path = log or Path(folder) / "log"
        before = len(path.read_text(errors="replace")) if path.exists() else 0
        with path.open("ab") as output:
            process = subprocess.Popen(
                [
                    interpreter.python() if build else sys.executable,
                    "-m",
                    "benchmarks.failing.front",
                    "" if cluster is None else str(cluster.directory),
                    json.dumps(dataclasses.asdict(options)),
                    str(Path(folder) / "run"),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                cwd=harness.ROOT,
                env={
                    **os.environ,
                    "PYTHONDONTWRITEBYTECODE": "1",
                    **(interpreter.environment(build) if build else {}),
                },
                start_new_session=True,
            )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise NoFrontError(f"the proxy does not start\n{path.read_text(errors='replace')[-4000:]}")
            running = Front(int(json.loads(line)["port"]), options, process, path, before)
            yield running
            running.check()
        finally:
            processes.stop(process)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


# --- the process ---------------------------------------------------------------------------------------


class Unfenced(EmbeddedHooks):
    """Nobody can stop a server that is replaced: it goes on, and believes to be the primary."""

    can_fence = False

    async def fence(self, node: str, *, clean: bool) -> None:
        """Stop a server that lives and is to have a successor; leave one alone that doesn't answer."""
        if clean:
            await super().fence(node, clean=clean)


def _end_with_input() -> None:
    while os.read(0, 1):
        continue
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    """Run the proxy until the parent is gone."""
    cluster = Cluster.open(sys.argv[1]) if sys.argv[1] else None
    options = Options(**json.loads(sys.argv[2]))
    logging.basicConfig(format="%(asctime)s.%(msecs)03d %(name)s: %(message)s", datefmt="%H:%M:%S")
    logger = logging.getLogger("seawall")
    threading.Thread(target=_end_with_input, daemon=True).start()

    def ready(running: supervisor.Running) -> None:
        print(json.dumps({"port": running.addresses[0].port}), flush=True)

    hooks = None if cluster is None else EmbeddedHooks(cluster) if options.fences else Unfenced(cluster)
    settings = dataclasses.replace(options.settings(cluster), runtime_directory=sys.argv[3])
    if not options.telemetry:  # said in full, so that builds from before there was any can be measured
        return supervisor.run(settings, ready, log=logger.warning, hooks=hooks)
    from benchmarks.failing import onlooker

    companion = onlooker.companion(
        options.telemetry, settings, options.collector, options.metrics_port, logger.warning
    )
    return supervisor.run(settings, ready, log=logger.warning, hooks=hooks, companion=companion)


if __name__ == "__main__":
    sys.exit(main())
