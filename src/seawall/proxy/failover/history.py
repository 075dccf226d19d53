"""What became of every primary that was lost or replaced, kept for ``SHOW FAILOVERS``.

An entry begins when clients can't be served any more, or an operator wants another primary, and ends when
they can. Times are counted from the first sign of trouble: a connection that ended, or the first question
that wasn't answered.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from seawall.proxy.topology import Phase, Topology, format_lsn

__all__ = ["FAILOVERS_MAX", "Failover", "History"]

FAILOVERS_MAX: Final = 100

PLANNED: Final = "planned"
"""An operator wanted it."""
UNPLANNED: Final = "unplanned"
"""The primary was lost, and the proxy promoted another."""
OBSERVED: Final = "observed"
"""Somebody else promoted another."""
RESTART: Final = "restart"
"""The primary was lost and came back."""


@dataclass(slots=True)
class Failover:
    """One of them; times in monotonic seconds, 0 for what has not happened.

    Attributes:
        at: seconds since 1970, for people.
        began: the first sign of trouble.
        end_lsn: how far the new primary had replayed when it became one.
        held: when clients were told to wait.
    """

    at: float
    began: float
    old_primary: str
    planned: bool = False
    ours: bool = False
    held: float = 0.0
    promoted: float = 0.0
    resumed: float = 0.0
    new_primary: str = ""
    timeline: int = 0
    end_lsn: int | None = None
    replays: int = 0
    reason: str = ""
    given_up: bool = False

    @property
    def kind(self) -> str:
        """Which kind it is, as far as is known."""
        if self.planned:
            return PLANNED
        if self.ours:
            return UNPLANNED
        return RESTART if self.new_primary == self.old_primary else OBSERVED

    @property
    def outcome(self) -> str:
        """How it ended."""
        if self.given_up:
            return "given up"
        return "done" if self.resumed else "under way"

    def ms(self, until: float) -> int | None:
        """Milliseconds from its beginning."""
        return round((until - self.began) * 1000) if until else None


class History:
    """The last of them; at most one is under way."""

    def __init__(self) -> None:
        self.entries: deque[Failover] = deque(maxlen=FAILOVERS_MAX)
        self.total = 0
        self._told = 0

    @property
    def present(self) -> Failover | None:
        """The one under way."""
        return self.entries[-1] if self.entries and not self.entries[-1].resumed else None

    def begin(self, *, at: float, began: float, old_primary: str, planned: bool = False) -> Failover:
        """Something has happened to the primary; what is under way already goes on."""
        present = self.present
        if present is None:
            present = Failover(at=at, began=began, old_primary=old_primary, planned=planned)
            self.entries.append(present)
            self.total += 1
        return present

    def note(self, before: Topology, after: Topology, *, at: float, now: float, began: float) -> None:
        """Something else was published than before.

        Args:
            before: what it was.
            after: what it is.
            at: seconds since 1970.
            now: the same moment, monotonic.
            began: the first sign of trouble, if there is any.
        """
        if not (before.tracked and after.tracked) or after.multi_primary:
            return
        lost = before.primary is not None and after.primary != before.primary
        present = self.begin(at=at, began=began, old_primary=before.primary or "") if lost else self.present
        if present is None:
            return
        if after.phase in {Phase.HOLDING, Phase.PAUSED}:
            present.held = present.held or now
            present.reason = after.reason
        elif after.primary is not None:
            node = after.node(after.primary)
            present.held = present.held or now
            present.promoted = present.promoted or now
            present.new_primary, present.timeline = after.primary, after.timeline
            present.end_lsn = node.end_of_recovery if node is not None else None
            present.reason = after.reason
            present.given_up = present.planned and after.primary == present.old_primary
            if after.phase is Phase.SERVING:
                present.resumed = now

    def settle(self, topology: Topology, now: float) -> None:
        """Nothing is under way any more: neither is a switchover that was given up before clients noticed."""
        present = self.present
        if present is not None and present.planned and topology.phase is Phase.SERVING:
            present.held = present.held or now
            present.resumed, present.given_up = now, topology.primary == present.old_primary

    def ended(self) -> list[Failover]:
        """Those that have ended since the last time."""
        done = self.total - (self.present is not None)
        new = done - self._told
        self._told = done
        over = [one for one in self.entries if one.resumed]
        return over[-new:] if new else []

    def rows(self) -> list[dict[str, Any]]:
        """All entries, the last one first."""
        return [
            {
                "at": datetime.fromtimestamp(one.at, UTC).isoformat(timespec="milliseconds"),
                "kind": one.kind,
                "old_primary": one.old_primary,
                "new_primary": one.new_primary or None,
                "timeline": one.timeline or None,
                "took_ms": one.ms(one.resumed),
                "outcome": one.outcome,
                "reason": one.reason,
                "end_lsn": None if one.end_lsn is None else format_lsn(one.end_lsn),
                "detected_ms": one.ms(one.held),
                "promoted_ms": one.ms(one.promoted),
                "resumed_ms": one.ms(one.resumed),
                "replays": one.replays,
            }
            for one in reversed(self.entries)
        ]
