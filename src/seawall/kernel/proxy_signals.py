"""Facts that a proxy tells about itself; the proxy publishes them, telemetry and the command line listen."""

from __future__ import annotations

from dataclasses import dataclass

from seawall.kernel.hub import Signal

__all__ = ["FailoverEnded", "TopologyChanged", "WorkerEnded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyChanged(Signal):
    """Clients are served by another server than before, or by none, or again.

    Attributes:
        old_phase: What clients could do before, such as ``"serving"``.
        phase: What they can do now, such as ``"holding"``.
        old_primary: The server that took writes before; ``None`` for none.
        primary: The server that takes writes now.
        epoch: Number of the topology; it only grows.
        reason: Why it changed, for people.
    """

    old_phase: str
    phase: str
    old_primary: str | None
    primary: str | None
    epoch: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverEnded(Signal):
    """A primary that was lost, or was to be replaced, has been dealt with: clients are served again.

    Attributes:
        kind: ``"planned"``, ``"unplanned"``, ``"observed"`` (somebody else did it) or ``"restart"``.
        outcome: ``"done"`` or ``"given up"``.
        old_primary: The server that took writes before.
        new_primary: The server that takes them now; empty if it was given up.
        took_s: From the first sign of trouble until clients were served again, in seconds.
        held_s: How long of that clients had to wait, in seconds.
        replays: Transactions that were said again on the new primary.
        reason: Why it happened, for people.
    """

    kind: str
    outcome: str
    old_primary: str
    new_primary: str
    took_s: float
    held_s: float
    replays: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEnded(Signal):
    """A worker's process has ended that nobody told to; another is started in its place.

    Attributes:
        number: Which worker.
        status: The process's exit status; negative for the signal that killed it.
    """

    number: int
    status: int
