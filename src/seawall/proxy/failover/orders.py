"""What the planner hears, and what it orders: events and actions, small frozen records.

``promotion`` takes the former and returns the latter; ``conductor`` makes events of what it sees and carries
the actions out. Nothing here does anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from seawall.proxy.topology import Observation, Ordered, Topology

__all__ = [
    "Action",
    "AskWitnesses",
    "Checkpoint",
    "CutConnections",
    "Done",
    "Event",
    "Fence",
    "Looked",
    "Numbered",
    "PauseAsked",
    "PauseWorkers",
    "Promote",
    "Publish",
    "Rank",
    "Rejoin",
    "ReplayTurns",
    "Repoint",
    "ResumeAsked",
    "ResumeWorkers",
    "SwitchoverAsked",
    "Tell",
    "Tick",
    "WaitReplayed",
    "WaitWritable",
    "Witnessed",
]

# --- what happens -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Looked:
    """The servers were looked at, and the election was held."""

    topology: Topology
    observations: tuple[Observation, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """An action that is answered has come to its end; ``action`` is the very one that was ordered."""

    action: Numbered
    ok: bool = True
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Witnessed:
    """The witnesses have answered, or not."""

    action: Numbered
    unreachable: int
    """How many can't reach the server either."""
    detail: str = ""
    """What the others said."""


@dataclass(frozen=True, slots=True)
class SwitchoverAsked:
    """An operator wants another primary."""

    target: str = ""
    """Empty: the best one."""


@dataclass(frozen=True, slots=True)
class PauseAsked:
    """An operator wants the servers left alone."""


@dataclass(frozen=True, slots=True)
class ResumeAsked:
    """An operator takes that back, or a switchover that isn't past its last turning point."""


Event = Tick | Looked | Done | Witnessed | SwitchoverAsked | PauseAsked | ResumeAsked


# --- what is to be done -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Publish:
    """Hold the election again, with this above it, and tell the workers."""

    ordered: Ordered | None
    """``None``: the election alone decides again."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell people: the log, and whoever gave the order that it answers."""

    text: str


@dataclass(frozen=True, slots=True)
class CutConnections:
    """Close all that this proxy has to a server."""

    node: str


@dataclass(frozen=True, slots=True)
class Rank:
    """Look at all servers now."""


@dataclass(frozen=True, slots=True)
class WaitWritable:
    """Look at a server as often as possible until it takes writes."""

    node: str


@dataclass(frozen=True, slots=True)
class ResumeWorkers:
    """Let clients go on."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """An action that is answered: by :class:`Done`, ``AskWitnesses`` by :class:`Witnessed`."""

    serial: int
    """So that a late answer isn't taken for that of a later action."""


@dataclass(frozen=True, slots=True)
class AskWitnesses(Numbered):
    """Ask the other proxies whether they reach a server."""

    node: str


@dataclass(frozen=True, slots=True)
class Fence(Numbered):
    """Keep a server from taking another write; where nothing can be done, that counts as done."""

    node: str
    clean: bool
    """It is alive, and shall be stopped properly."""


@dataclass(frozen=True, slots=True)
class Promote(Numbered):
    """Tell a replica to become a primary; done when it has been told."""

    node: str


@dataclass(frozen=True, slots=True)
class Checkpoint(Numbered):
    """Run CHECKPOINT, so that stopping the server takes no time."""

    node: str


@dataclass(frozen=True, slots=True)
class PauseWorkers(Numbered):
    """Have the workers begin no transaction; done when none is open."""


@dataclass(frozen=True, slots=True)
class WaitReplayed(Numbered):
    """Wait until a replica has replayed everything up to an LSN."""

    node: str
    lsn: int


@dataclass(frozen=True, slots=True)
class ReplayTurns(Numbered):
    """Let the workers replay in turn; done when none has anything left to replay."""

    primary: str


@dataclass(frozen=True, slots=True)
class Repoint(Numbered):
    """Have replicas follow the new primary."""

    primary: str
    replicas: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rejoin(Numbered):
    """Make the former primary a replica of the new one; in the background, however long it takes."""

    node: str
    primary: str


Action = Publish | Tell | CutConnections | Rank | WaitWritable | ResumeWorkers | Numbered
