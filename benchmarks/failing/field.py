"""A cluster and what stands before it, as faults and checks see them.

The servers are asked over their unix sockets, past the proxy and past any relay.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.failing.front import Front, Options, front
from benchmarks.failing.relay import Relay, relay
from seawall.embedded import Cluster, Node, StatementFailed
from seawall.embedded.errors import ClusterError
from seawall.kernel.errors import DatabaseUnavailable, SeawallError

Rows = list[tuple[str | None, ...]]

REPLICAS = 2
SETTINGS: Mapping[str, str] = {
    # Faults are deaths of processes, not of the machine: what the kernel has is safe.
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "jit": "off",
    "max_connections": "150",
    "wal_keep_size": "160MB",
    "max_wal_size": "128MB",
    "checkpoint_timeout": "60s",
    "tcp_user_timeout": "3000",
}
POLL_S = 0.01
PRIMARY_S = 30.0
HEALTHY_S = 40.0
OWN_REJOIN_S = 15.0
"""The proxy has so long to bring a former primary back; then it is done here, and counted."""

LOG_LINES = 40
"""Of each server's log, as evidence."""
STREAMING = "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'"
RECEIVING = "SELECT status FROM pg_stat_wal_receiver"


class UnhealthyError(Exception):
    """The cluster doesn't come back to where it was; the text says what is missing."""


@contextmanager
def cluster(replicas: int = REPLICAS) -> Iterator[Cluster]:
    """Make a cluster with synchronous replication, and destroy it in the end."""
    with Cluster.create(replicas=replicas, synchronous=replicas > 0, settings=SETTINGS) as made:
        yield made


@dataclass
class Field:
    """What faults are done to."""

    cluster: Cluster
    front: Front
    relay: Relay | None
    rejoined_here: int = 0
    """Nodes that the proxy had not brought back in time."""

    @property
    def promotes(self) -> bool:
        """Whether the proxy replaces a lost primary."""
        return self.front.options.promotes

    def primary(self) -> Node:
        """The node that takes writes; there may be none for a while.

        Raises:
            UnhealthyError: There is none for too long.
        """
        give_up = time.monotonic() + PRIMARY_S
        while True:
            try:
                return self.cluster.primary
            except ClusterError:
                if time.monotonic() > give_up:
                    raise UnhealthyError(f"no primary for {PRIMARY_S:g} s: {self.cluster}") from None
                time.sleep(POLL_S)

    def ask(self, node: Node, sql: str) -> Rows | None:
        """What a node answers; nothing if it doesn't."""
        try:
            return node.execute(sql, timeout_s=5.0)
        except (DatabaseUnavailable, StatementFailed):
            return None

    def streaming(self) -> set[str]:
        """The replicas that the primary streams to at this moment."""
        try:
            primary = self.cluster.primary
        except ClusterError:
            return set()
        told = {name for (name,) in self.ask(primary, STREAMING) or []}
        # A base backup streams, too, under the name of the node that it is made for.
        others = [node for node in self.cluster.nodes if node.name in told and node.is_running]
        return {node.name for node in others if self.ask(node, RECEIVING) == [("streaming",)]}

    def wait_healthy(self) -> float:
        """Wait until every other node streams from the primary; returns for how long.

        Raises:
            UnhealthyError: Some don't, whatever is tried.
        """
        started = time.monotonic()
        wanted = len(self.cluster.nodes) - 1
        tried = 0.0
        while len(found := self.streaming()) < wanted:
            self.front.check()
            waited = time.monotonic() - started
            if waited > HEALTHY_S:
                raise UnhealthyError(f"only {sorted(found)} stream after {waited:.0f} s: {self.cluster}")
            if waited - tried > OWN_REJOIN_S or not self.promotes:
                tried = waited
                self._rejoin(found)
            time.sleep(POLL_S)
        return time.monotonic() - started

    def evidence(self) -> str:
        """How the servers and their processes are just now, and the ends of their logs."""
        told: list[str] = []
        for node in self.cluster.nodes:
            told.append(f"=== {node}")
            for pid in node.pids():
                with contextlib.suppress(OSError):
                    process = Path(f"/proc/{pid}")
                    title = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    state = (process / "stat").read_text().rpartition(")")[2].split()[0]
                    told.append(f"{pid} {state} {(process / 'wchan').read_text()} {title.strip()[:80]}")
            lines = node.log_file.read_text(errors="replace").splitlines()
            told += [line[:160] for line in lines if " LOG: " in line or " FATAL: " in line][-LOG_LINES:]
        return "\n".join(told)

    def _rejoin(self, streaming: set[str]) -> None:
        with contextlib.suppress(SeawallError):
            primary = self.cluster.primary
            for node in self.cluster.nodes:
                if node.name != primary.name and node.name not in streaming:
                    self.cluster.rejoin(node.name)
                    self.rejoined_here += 1

    def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Whether a condition comes true in time."""
        give_up = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > give_up:
                return False
            time.sleep(POLL_S)
        return True


@contextmanager
def field(
    made: Cluster, options: Options, *, relayed: bool = False, log: Path | None = None
) -> Iterator[Field]:
    """Run a proxy before a cluster, through a relay if the network is to be cut."""
    with ExitStack() as stack:
        between: Relay | None = None
        if relayed:
            between = stack.enter_context(relay([node.port for node in made.nodes]))
            ports = {node.name: between.ports[node.port] for node in made.nodes}
            options = replace(options, ports=ports)
        running = stack.enter_context(front(made, options, log))
        yield Field(made, running, between)


def can_reset() -> bool:
    """Whether this kernel lets us reset others' connections (``ss -K``: root, CONFIG_INET_DIAG_DESTROY)."""
    try:
        tried = subprocess.run(
            ["ss", "-K", "-t", "dport", "=", ":1"], capture_output=True, text=True, check=False
        )
    except OSError:
        return False
    return tried.returncode == 0 and not tried.stderr


def reset(*, port: int, client_port: int = 0) -> int:
    """Reset connections to a port on this machine, seen from the server's side; returns how many.

    Args:
        port: of the server.
        client_port: of one connection; 0 means all.
    """
    which = ["sport", "=", f":{port}"]
    if client_port:
        which += ["and", "dport", "=", f":{client_port}"]
    done = subprocess.run(
        ["ss", "-K", "-t", "-H", "state", "established", *which], capture_output=True, text=True, check=False
    )
    return sum(1 for line in done.stdout.splitlines() if line.strip())
