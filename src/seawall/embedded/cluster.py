"""A primary and its replicas on this machine: made, found again, broken on purpose, put together again.

Calls block (a user of asyncio makes them in threads) and changing ones take a lock on the directory, so that
programs and people may work on one cluster at once. ``kill``, ``pause`` and ``resume`` of a node, and
looking, take none.

Servers are children of the process that starts them, but they don't end with it: a crash of that process
leaves them running. Whoever opens the directory next has them as they are. A cluster without a directory of
its own belongs to its process, and what is left of one whose process is dead is removed when the next one is
made.

It decides nothing: who becomes primary is said by the caller. Failure detection and failover are the proxy's
part.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from seawall.embedded import building, places, ports, rejoining
from seawall.embedded import status as statuses
from seawall.embedded.accounts import Account, server_account
from seawall.embedded.configuration import SUPERUSER
from seawall.embedded.directories import Lock, write_file
from seawall.embedded.engines import Engine, find_engine, usable_by
from seawall.embedded.errors import ClusterError, PortTaken
from seawall.embedded.node import Node
from seawall.embedded.rejoining import Rejoin
from seawall.embedded.state import FILE_NAME, NODES_MAX, ClusterState, NodeState, dump
from seawall.embedded.status import NodeStatus
from seawall.kernel.errors import UsageError

__all__ = ["Cluster", "Promotion"]

PORT_ATTEMPTS_MAX: Final = 5
"""Ports tried in a row for one start, each chosen by the system, before giving up."""

CATCH_UP_TIMEOUT_S: Final = 30.0
"""For replicas that are merely a little behind."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """What a promotion did.

    Attributes:
        name: The new primary.
        timeline: Which it writes now.
        stopped: Former primaries that were stopped; :meth:`Cluster.rejoin` brings them back.
        following: Replicas that stream from the new primary.
        stranded: Running replicas that can't, because they have what the new primary lacks; ``rejoin`` them.
    """

    name: str
    timeline: int
    stopped: tuple[str, ...]
    following: tuple[str, ...]
    stranded: tuple[str, ...]


class Cluster:
    """Real PostgreSQL servers in one directory; made by :meth:`create`, found again by :meth:`open`."""

    def __init__(self, directory: Path, state: ClusterState, engine: Engine, account: Account) -> None:
        self.directory: Final = directory
        self.engine: Final = engine
        self.account: Final = account
        self._state = state
        self._nodes: dict[str, Node] = {}
        self._mutex = threading.RLock()
        self._depth = 0
        self._arrange()

    def __repr__(self) -> str:
        return f"Cluster({str(self.directory)!r}, PostgreSQL {self.engine.release}, {self.nodes})"

    # --- making and finding -------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        directory: Path | str | None = None,
        *,
        replicas: int = 0,
        synchronous: bool = False,
        engine: Engine | None = None,
        name_prefix: str = "pg",
        settings: Mapping[str, str] | None = None,
        auth: str = "trust",
        password: str = "",
    ) -> Cluster:
        """Make a cluster and start it.

        Args:
            directory: An absent or empty one; ``None`` for a cluster that ends with this process.
            replicas: How many follow the primary by streaming replication.
            synchronous: Whether a commit waits until one replica, whichever, has it on disk.
            engine: Whose programs run; ``None`` for the newest of the wheel.
            name_prefix: Nodes are called by it and a number from 1, the first primary being number 1.
            settings: PostgreSQL settings of all nodes, above the defaults.
            auth: How TCP clients prove who they are: ``trust``, ``scram-sha-256``, ``md5`` or ``password``.
                With ``trust`` every user of this machine may do everything in these databases.
            password: Of the user ``postgres``; needed unless ``auth`` is ``trust``. Nowhere stored but in the
                server.

        Raises:
            PolicyError: A value is wrong; every one is named.
            UsageError: The directory holds something, or the servers' account cannot reach it.
            EngineNotFound: There is no PostgreSQL to run.
            ClusterError: The servers don't start.
        """
        wanted = dict(settings or {})
        building.check_request(replicas, name_prefix, wanted, auth, password, synchronous=synchronous)
        account = server_account()
        usable = usable_by(engine or find_engine(), account)
        owner = None if directory is not None else places.this_process()
        state = ClusterState(
            engine_kind=usable.kind,
            engine_version=usable.version,
            engine_directory=str((engine or usable).bin_directory),
            authentication=auth,
            synchronous=synchronous,
            name_prefix=name_prefix,
            settings=wanted,
            owner=owner,
        )
        if directory is None:
            places.sweep(account)
        return cls._make(places.claim(directory, account), state, usable, account, replicas, password)

    @classmethod
    def _make(
        cls, home: Path, state: ClusterState, engine: Engine, account: Account, replicas: int, password: str
    ) -> Cluster:
        with Lock(home / places.LOCK_NAME).held():
            places.check_free(home)
            write_file(home / FILE_NAME, dump(state), account, mode=0o600)
            cluster = cls(home, state, engine, account)
            cluster._depth = 1
            try:
                cluster._build(replicas, password)
            except BaseException:
                cluster._remove()
                cluster._release()
                raise
            finally:
                cluster._depth = 0
        return cluster

    @classmethod
    def open(cls, directory: Path | str) -> Cluster:
        """Find a cluster again, with its servers as they are: running, paused, dead, started by whomever.

        Raises:
            UsageError: There is no cluster, its making was never finished, or it is another user's.
            PolicyError: Its state file is damaged.
            EngineNotFound: Its PostgreSQL is not installed any more.
        """
        home = Path(directory).absolute()
        state = places.read_state(home)
        account = server_account()
        engine = places.engine_of(state)
        return cls(home, state, usable_by(engine, account), account)

    def _build(self, replicas: int, password: str) -> None:
        first = self._add_node(None)
        building.initialise(first)
        if replicas and building.refused_by_copies(self._state.settings):
            self._configure()
            self._launch_all([first])
            first.stop()
        copies = [self._add_node(first.name) for _ in range(replicas)]
        for node in copies:
            building.copy_data(first, node)
            building.make_standby(node)
        self._configure()
        self._launch_all(self.nodes)
        if password:
            building.set_password(first, password)
        for node in copies:
            rejoining.wait_streaming(node, first)
        self._save(replace(self._state, complete=True))

    def _add_node(self, leader: str | None) -> Node:
        taken = {node.name for node in self._state.nodes}
        prefix = self._state.name_prefix
        name = next(name for number in range(1, NODES_MAX + 2) if (name := f"{prefix}{number}") not in taken)
        socket_directory = building.socket_directory_for(self.directory, name, self.account)
        described = NodeState(name, ports.reserve(), str(socket_directory), leader)
        self._save(self._state.with_node(described))
        node = self._nodes[name]
        building.make_node_directory(node)
        return node

    # --- looking ------------------------------------------------------------------------------------------

    @property
    def nodes(self) -> list[Node]:
        """The servers, in the order they were added."""
        return list(self._nodes.values())

    @property
    def synchronous(self) -> bool:
        """Whether a commit waits until one replica has it on disk."""
        return self._state.synchronous

    def dsn(self, database: str = "postgres", user: str = SUPERUSER) -> str:
        """A URL that names all nodes, with which libpq and asyncpg find the one that accepts writes."""
        hosts = ",".join(f"{node.host}:{node.port}" for node in self.nodes)
        login, name = quote(user, safe=""), quote(database, safe="")
        return f"postgresql://{login}@{hosts}/{name}?target_session_attrs=read-write"

    def node(self, name: str) -> Node:
        """One server; ``UsageError`` if there is none of that name."""
        self._state.node(name)
        return self._nodes[name]

    @property
    def primary(self) -> Node:
        """The node that accepts writes, as the servers themselves say.

        Of two, the one on the higher timeline: the other doesn't know yet that it was replaced.

        Raises:
            ClusterError: None does, or none answers.
        """
        found = self._leader()
        if found is None:
            raise ClusterError("cluster", "no node accepts writes: start() or promote() one")
        return found

    def _leader(self) -> Node | None:
        name = statuses.leader(statuses.survey(self.nodes))
        return None if name is None else self._nodes[name]

    def status(self) -> list[NodeStatus]:
        """What every node is and does; takes up to two seconds for each that runs and doesn't answer."""
        planned = {node.name: "primary" if node.follows is None else "replica" for node in self._state.nodes}
        return statuses.status(self.nodes, planned)

    def wait_caught_up(self, timeout_s: float = CATCH_UP_TIMEOUT_S) -> None:
        """Wait until every running replica has replayed all that the primary has written by now.

        Args:
            timeout_s: How long, in seconds.

        Raises:
            ClusterError: There is no primary, or a replica is behind for so long.
        """
        rejoining.wait_replayed(self.nodes, self.primary, timeout_s)

    # --- starting and stopping ----------------------------------------------------------------------------

    def start(self) -> list[Rejoin]:
        """Have every node run, paused ones included, all following one primary.

        The primary is the node that accepts writes; with all down, the one that was promoted last. A former
        primary is rejoined and never started beside it.

        Returns:
            How those came back that couldn't just be started.

        Raises:
            ClusterError: A server doesn't start, or there is no node that could be primary.
        """
        with self._command():
            for node in self.nodes:
                if node.is_paused:
                    node.resume()
            leader = self._leader() or places.last_leader(self.nodes, self._state.leader)
            # Whoever is promoted from here on, by a proxy that didn't wait for the leader, is none of them.
            outsiders = [node for node in self.nodes if node is not leader and not node.is_standby]
            self._follow(leader)
            self._launch_all([leader])
            self._launch_all([node for node in self.nodes if node is not leader and node.is_standby])
            found = self._leader() or leader
            if found is not leader:  # and replicas may have received what only the former leader has
                outsiders = [node for node in self.nodes if node is not found]
                self._follow(found)
            return [one for node in outsiders if (one := self._bring_back(node, found)).method != "started"]

    def stop(self, mode: str = "fast") -> None:
        """Stop every node, paused ones included; the primary first, so that the replicas get all it wrote.

        Args:
            mode: ``smart``, ``fast`` or ``immediate``, as PostgreSQL calls them.

        Raises:
            PolicyError: There is no such mode.
            ClusterError: A process can't be killed.
        """
        with self._command():
            for node in self.nodes:
                if node.is_paused and node.is_standby:
                    node.resume()
            for node in sorted(self.nodes, key=lambda node: node.is_standby):
                node.stop(mode)

    def destroy(self) -> None:
        """Stop every node at once and remove the directory with everything in it; harmless the second time.

        Raises:
            ClusterError: A process can't be killed.
        """
        with contextlib.suppress(FileNotFoundError), self._command(reload=False):
            self._remove()
        self._release()

    def _remove(self) -> None:
        for node in self.nodes:
            node.stop("immediate", timeout_s=5.0)
        places.remove(self.directory, self._state)

    def _release(self) -> None:
        for node in self.nodes:
            ports.release(node.port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Destroy a cluster that belongs to this process; stop one that has a directory of its own."""
        if self._state.owner is not None or not self.directory.exists():
            self.destroy()
        else:
            self.stop()

    # --- changing the topology ----------------------------------------------------------------------------

    def add_replica(self) -> Node:
        """Add a replica of the primary by a base backup, and wait until it streams.

        Raises:
            UsageError: There are ``NODES_MAX`` nodes.
            ClusterError: There is no primary, or the backup or the start fails.
        """
        with self._command():
            if len(self._nodes) >= NODES_MAX:
                raise UsageError(
                    f"a cluster has at most {NODES_MAX} nodes: destroy it and make a smaller one"
                )
            leader = self.primary
            self._state = self._state.led_by(leader.name)
            before = self._state
            node = self._add_node(leader.name)
            try:
                building.back_up(node, leader)
                building.make_standby(node)
                self._configure()
                self._launch_all([node])
                rejoining.wait_streaming(node, leader)
            except BaseException:
                node.stop("immediate")
                ports.release(node.port)
                places.remove_node(node)
                self._save(before)
                raise
            return node

    def promote(self, name: str, *, stop_old: bool = True) -> Promotion:
        """Make a replica the primary and have the other replicas follow it.

        Args:
            name: The replica.
            stop_old: First stop whoever accepts writes, so that nothing acknowledged is lost; one that is
                paused is killed. False leaves them as they are: two nodes accept writes then.

        Raises:
            UsageError: There is no such node, or it isn't a running replica.
            ClusterError: It can't be promoted.
        """
        with self._command():
            node = self.node(name)
            if not node.is_standby or not node.is_running or node.is_paused:
                raise UsageError(f"{name} is not a running replica: promote one that is, or rejoin it first")
            writable = [
                one for one in self.nodes if one is not node and one.is_running and not one.is_standby
            ]
            for old in writable if stop_old else ():
                if old.is_paused:
                    old.kill()
                else:
                    old.stop("fast")
            node.promote()
            self._follow(node)
            others = [one for one in self.nodes if one is not node]
            following, stranded = rejoining.gather(others, node)
            timeline = statuses.survey([node])[name].timeline
            stopped = tuple(old.name for old in writable if stop_old)
            return Promotion(name, timeline, stopped, following, stranded)

    def follow(self, name: str) -> None:
        """Have all others follow a node that is primary or about to be; returns when they have been told.

        Raises:
            UsageError: There is no such node.
        """
        with self._command():
            self._follow(self.node(name))

    def rejoin(self, name: str) -> Rejoin:
        """Make a node a streaming replica of the present primary, whatever it was and whatever its state.

        Writes that only this node has are undone: they are gone.

        Raises:
            UsageError: There is no such node, or it is the primary.
            ClusterError: There is no primary, or nothing helps.
        """
        with self._command():
            node = self.node(name)
            leader = self.primary
            if node is leader:
                raise UsageError(f"{name} is the primary: promote another node first")
            self._follow(leader)
            return self._bring_back(node, leader)

    def _bring_back(self, node: Node, leader: Node) -> Rejoin:
        return rejoining.rejoin(node, leader, lambda one: self._launch_all([one]))

    def _follow(self, leader: Node) -> None:
        """Write down that everybody follows the leader, and tell those who run."""
        self._save(self._state.led_by(leader.name))
        self._configure()

    # --- underneath ---------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _command(self, *, reload: bool = True) -> Iterator[None]:
        """One command at a time, on the state as the last one left it."""
        with self._mutex:
            if self._depth > 0:
                yield
                return
            with Lock(self.directory / places.LOCK_NAME).held():
                if reload:
                    self._state = places.read_state(self.directory)
                    self._arrange()
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1

    def _arrange(self) -> None:
        """Have a node object for each described one, keeping those that callers may hold."""
        nodes = {}
        for described in self._state.nodes:
            node = self._nodes.get(described.name)
            if node is None:
                node = Node(
                    described.name,
                    self.directory / described.name,
                    engine=self.engine,
                    account=self.account,
                    port=described.port,
                    socket_directory=Path(described.socket_directory),
                )
            node.port = described.port
            nodes[described.name] = node
        self._nodes = nodes

    def _save(self, state: ClusterState) -> None:
        write_file(self.directory / FILE_NAME, dump(state), self.account, mode=0o600)
        self._state = state
        self._arrange()

    def _configure(self) -> None:
        for node in self.nodes:
            building.configure(node, self._state)
            node.reload()

    def _launch_all(self, nodes: list[Node]) -> None:
        """Start nodes side by side and wait for all; a port lost to another program is replaced."""
        for node in nodes:
            self._with_ports(node, lambda one: one.start(wait=False))
        for node in nodes:
            self._with_ports(node, lambda one: one.start())

    def _with_ports(self, node: Node, start: Callable[[Node], None]) -> None:
        for _ in range(PORT_ATTEMPTS_MAX - 1):
            try:
                start(node)
            except PortTaken:
                ports.release(node.port)
                described = replace(self._state.node(node.name), port=ports.reserve())
                self._save(self._state.with_node(described))
                self._configure()
            else:
                return
        start(node)
