"""What the conductor publishes: its own records, as facts for anybody."""

from __future__ import annotations

from seawall.kernel.proxy_signals import FailoverEnded, TopologyChanged
from seawall.proxy.failover.history import Failover
from seawall.proxy.topology import Topology

__all__ = ["changed", "ended"]

CLUSTER = "cluster"
"""What these facts are about."""


def changed(before: Topology, after: Topology, now: float) -> TopologyChanged:
    """Another topology than before is published.

    Args:
        before: what it was.
        after: what it is.
        now: monotonic seconds.
    """
    return TopologyChanged(
        at=now,
        name=CLUSTER,
        old_phase=before.phase.value,
        phase=after.phase.value,
        old_primary=before.primary,
        primary=after.primary,
        epoch=after.epoch,
        reason=after.reason,
    )


def ended(entry: Failover) -> FailoverEnded:
    """A failover is over."""
    return FailoverEnded(
        at=entry.resumed,
        name=CLUSTER,
        kind=entry.kind,
        outcome=entry.outcome,
        old_primary=entry.old_primary,
        new_primary=entry.new_primary,
        took_s=max(entry.resumed - entry.began, 0.0),
        held_s=max(entry.resumed - entry.held, 0.0) if entry.held else 0.0,
        replays=entry.replays,
        reason=entry.reason,
    )
