"""How the cases of one worker ended: counted, and the last ones kept for the console."""

from __future__ import annotations

import re
import time
from collections import Counter, deque
from typing import Any, Final

from seawall.proxy.cases import Case
from seawall.proxy.replay.ladder import Way

ENDED_LIMIT: Final = 200
"""Cases that are remembered."""
NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")


class Casebook:
    """The cases that are over.

    Args:
        worker: the worker's number.
    """

    def __init__(self, worker: int) -> None:
        self._worker = worker
        self.counts: Counter[str] = Counter()
        """By ``way:outcome``; bounded by the ways and outcomes there are."""
        self.refusals: Counter[str] = Counter()
        """Transactions that could not be said again, by the reason; bounded by the reasons there are."""
        self.ended: deque[dict[str, Any]] = deque(maxlen=ENDED_LIMIT)

    def close(self, case: Case, outcome: str, reason: str, now: float) -> None:
        """A case is over.

        Args:
            case: which.
            outcome: ``done``, ``commit``, ``rollback``, or the way it ended instead.
            reason: why; empty: as it was decided.
            now: monotonic seconds.
        """
        why = reason or case.decision.reason
        self.counts[f"{case.decision.way.value}:{outcome}"] += 1
        if outcome == Way.LOST.value:
            self.refusals[NUMBER.sub("n", why.partition(":")[0])] += 1
        self.ended.append(
            {
                "at": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
                "worker": self._worker,
                "client_pid": case.pid,
                "user": case.user,
                "database": case.database,
                "backend": case.node,
                "way": case.decision.way.value,
                "outcome": outcome,
                "statements": len(case.loss.journal.turns()),
                "attempts": case.attempts + 1,
                "took_ms": round((now - case.lost_at) * 1e3, 1),
                "reason": why,
            }
        )

    def tally(self) -> tuple[int, int]:
        """Cases that went well, and those that didn't."""
        well = sum(count for name, count in self.counts.items() if name.endswith((":done", ":commit")))
        return well, sum(self.counts.values()) - well
