"""What a cluster's directory says about it: one JSON file, read by every command, whichever process runs it.

The file holds what cannot be asked of the servers when they are down: which nodes there are, on which ports,
and who follows whom. It holds no password. Everything in it is checked, because people edit files; all that
is wrong is told at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from seawall.embedded.configuration import AUTHENTICATIONS, setting_problems
from seawall.kernel.errors import PolicyError, Problem, UsageError

__all__ = ["FILE_NAME", "FORMAT", "NODES_MAX", "ClusterState", "NodeState", "Owner", "dump", "parse"]

FILE_NAME: Final = "cluster.json"

FORMAT: Final = 1
"""Grows when an older Seawall could not read the file."""

NODES_MAX: Final = 16
"""A cluster for demos and tests on one machine; each node is a dozen processes."""

STATE_BYTES_MAX: Final = 1_000_000
"""Far more than ``NODES_MAX`` nodes and every setting of PostgreSQL need."""

NODE_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,30}\Z")
"""Also a directory's name, an ``application_name`` and a part of a configuration file."""


NAME_PREFIX: Final = re.compile(r"[a-z][a-z0-9_-]{0,23}")

SOCKET_DIRECTORY: Final = r"/[A-Za-z0-9/._+@=-]{0,90}"
"""Short enough for a socket's name behind it, and without what separates or quotes in a connection string."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """One server.

    Attributes:
        name: Unique in the cluster.
        port: TCP port on the loopback address.
        socket_directory: Where its unix socket is.
        follows: Name of the node it replicates from; ``None`` for the primary.
    """

    name: str
    port: int
    socket_directory: str
    follows: str | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that a cluster without a directory of its own belongs to.

    Attributes:
        pid: Process id.
        started: Its start in clock ticks since boot, so that a reused pid is not taken for it.
        world: Boot and process namespace; in another one the pid means nothing.
    """

    pid: int
    started: int
    world: str


@dataclass(frozen=True, slots=True)
class ClusterState:
    """One cluster.

    Attributes:
        engine_kind: ``wheel``, ``system``, or what its maker called it.
        engine_version: Major version of PostgreSQL.
        engine_directory: Where its binaries were; looked for anew when they are gone.
        authentication: How TCP clients prove who they are, a key of ``AUTHENTICATIONS``.
        synchronous: Whether a commit waits for one replica.
        name_prefix: What new nodes are called, before the number.
        settings: PostgreSQL settings of all nodes, above ours.
        nodes: The servers, in the order they were added.
        complete: False while the cluster is being made; what is left of a crash then is removed, not opened.
        owner: Set for a cluster that ends with its process.
    """

    engine_kind: str
    engine_version: int
    engine_directory: str = ""
    authentication: str = "trust"
    synchronous: bool = False
    name_prefix: str = "pg"
    settings: Mapping[str, str] = field(default_factory=dict)
    nodes: tuple[NodeState, ...] = ()
    complete: bool = False
    owner: Owner | None = None

    def node(self, name: str) -> NodeState:
        """One server; ``UsageError`` if there is none of that name."""
        for node in self.nodes:
            if node.name == name:
                return node
        names = ", ".join(node.name for node in self.nodes)
        raise UsageError(f"there is no node {name!r} in this cluster: the nodes are {names}")

    @property
    def leader(self) -> str:
        """The node that is meant to be primary."""
        return next(node.name for node in self.nodes if node.follows is None)

    def with_node(self, node: NodeState) -> ClusterState:
        """The same cluster with one server added, or changed if there is one of that name."""
        others = tuple(node if item.name == node.name else item for item in self.nodes)
        return replace(self, nodes=others if node in others else (*self.nodes, node))

    def led_by(self, name: str) -> ClusterState:
        """The same cluster with one server as the primary, and the others following it."""
        nodes = (replace(node, follows=None if node.name == name else name) for node in self.nodes)
        return replace(self, nodes=tuple(nodes))


def dump(state: ClusterState) -> str:
    """The file's text."""
    return json.dumps({"format": FORMAT, **asdict(state)}, indent=2) + "\n"


def parse(text: str, source: str = FILE_NAME) -> ClusterState:
    """Read the file's text.

    Args:
        text: Any text.
        source: The file's path, for the error.

    Raises:
        PolicyError: It isn't such a file; every wrong key is named.
    """
    try:
        table = json.loads(text[: STATE_BYTES_MAX + 1])
    except (ValueError, RecursionError):
        problem = Problem(source, text, "a JSON object", "remove the directory and create the cluster anew")
        raise PolicyError([problem], source) from None
    reader = _Reader()
    state = _cluster(reader, table)
    if reader.problems:
        raise PolicyError(reader.problems, source)
    assert state is not None
    return state


class _Reader:
    """Takes typed values out of JSON and notes what doesn't fit."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def complain(self, key: str, value: object, allowed: str) -> None:
        self.problems.append(Problem(key, value, allowed, "restore the value, or create the cluster anew"))

    def table(self, value: object, path: str, keys: frozenset[str]) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.complain(path or "(the file)", value, "an object")
            return {}
        for key in value.keys() - keys:
            self.complain(path + key, value[key], "one of " + ", ".join(sorted(keys)))
        for key in keys - value.keys():
            self.complain(path + key, "nothing", "a value")
        return {key: value[key] for key in keys & value.keys()}

    def text(self, table: dict[str, Any], path: str, key: str, pattern: str, allowed: str) -> str:
        value = table.get(key, _ABSENT)
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        if value is not _ABSENT:
            self.complain(path + key, value, allowed)
        return ""

    def number(self, table: dict[str, Any], path: str, key: str, low: int, high: int) -> int:
        value = table.get(key, _ABSENT)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        if value is not _ABSENT:
            self.complain(path + key, value, f"a whole number from {low} to {high}")
        return low

    def truth(self, table: dict[str, Any], path: str, key: str) -> bool:
        value = table.get(key, _ABSENT)
        if value is not _ABSENT and not isinstance(value, bool):
            self.complain(path + key, value, "true or false")
        return value is True


_ABSENT: Final = object()

_CLUSTER_KEYS: Final = frozenset(ClusterState.__dataclass_fields__) | {"format"}
_NODE_KEYS: Final = frozenset(NodeState.__dataclass_fields__)
_OWNER_KEYS: Final = frozenset(Owner.__dataclass_fields__)
_INTEGER_MAX: Final = 2**63 - 1


def _cluster(reader: _Reader, value: object) -> ClusterState | None:
    if isinstance(value, dict) and value.get("format") != FORMAT:
        # Another format has other keys: complaints about them would say nothing.
        reader.complain("format", value.get("format", "nothing"), f"{FORMAT}, which this Seawall writes")
        return None
    table = reader.table(value, "", _CLUSTER_KEYS)
    methods = "|".join(AUTHENTICATIONS)
    state = ClusterState(
        engine_kind=reader.text(table, "", "engine_kind", r"[a-z][a-z0-9_-]{0,30}", "wheel or system"),
        engine_version=reader.number(table, "", "engine_version", 1, 10_000),
        engine_directory=reader.text(table, "", "engine_directory", r"[^\0\ud800-\udfff]{0,4096}", "a path"),
        authentication=reader.text(
            table, "", "authentication", methods, "one of " + ", ".join(AUTHENTICATIONS)
        ),
        synchronous=reader.truth(table, "", "synchronous"),
        name_prefix=reader.text(table, "", "name_prefix", NAME_PREFIX.pattern, "a lower-case name"),
        settings=_settings(reader, table.get("settings", {})),
        nodes=_nodes(reader, table.get("nodes", [])),
        complete=reader.truth(table, "", "complete"),
        owner=_owner(reader, table.get("owner")),
    )
    if state.complete and table.get("nodes") == []:
        reader.complain("nodes", [], "at least one node")
    return state


def _settings(reader: _Reader, value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        reader.complain("settings", value, "an object")
        return {}
    reader.problems.extend(setting_problems(value))
    return value


def _nodes(reader: _Reader, value: object) -> tuple[NodeState, ...]:
    if not isinstance(value, list) or len(value) > NODES_MAX:
        reader.complain("nodes", value, f"a list of at most {NODES_MAX}")
        return ()
    nodes = tuple(_node(reader, item, f"nodes[{index}].") for index, item in enumerate(value))
    names = [node.name for node in nodes]
    if len(set(names)) < len(names):
        reader.complain("nodes", names, "every name once")
    for index, node in enumerate(nodes):
        if node.follows is not None and (node.follows not in names or node.follows == node.name):
            reader.complain(f"nodes[{index}].follows", node.follows, "the name of another node, or null")
    if nodes and sum(node.follows is None for node in nodes) != 1:
        reader.complain("nodes", names, "exactly one that follows nobody")
    return nodes


def _node(reader: _Reader, value: object, path: str) -> NodeState:
    table = reader.table(value, path, _NODE_KEYS)
    follows = None
    if table.get("follows") is not None:
        follows = reader.text(table, path, "follows", NODE_NAME.pattern, "a node's name, or null")
    return NodeState(
        name=reader.text(table, path, "name", NODE_NAME.pattern, "a lower-case name"),
        port=reader.number(table, path, "port", 1, 65_535),
        socket_directory=reader.text(
            table, path, "socket_directory", SOCKET_DIRECTORY, "a plain absolute path"
        ),
        follows=follows,
    )


def _owner(reader: _Reader, value: object) -> Owner | None:
    if value is None:
        return None
    table = reader.table(value, "owner.", _OWNER_KEYS)
    return Owner(
        pid=reader.number(table, "owner.", "pid", 1, _INTEGER_MAX),
        started=reader.number(table, "owner.", "started", 0, _INTEGER_MAX),
        world=reader.text(table, "owner.", "world", r"[A-Za-z0-9:\[\] -]{0,200}", "plain text"),
    )
