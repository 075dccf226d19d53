"""The two locks of all metrics in a process, neither of which is on the way of a plain cell.

They are taken in the order in which they stand here, and held for microseconds. One each for everything:
what needs them is rare, and a fork has to wait for them. Else it could copy a lock that is held, which in the
child nobody would ever release, and books that are half written.
"""

from __future__ import annotations

import os
from threading import Lock, RLock
from typing import Final

__all__ = ["CHANGES", "FOLDING"]

CHANGES: Final = RLock()
"""Held while series come and go, and while an observation is stored in shared memory by several steps.
Reentrant: a finalizer or a signal handler that runs meanwhile may count something new."""
FOLDING: Final = Lock()
"""Held while a native histogram is lowered or read. Who observes never waits for it."""


def _acquire() -> None:
    CHANGES.acquire()
    FOLDING.acquire()


def _release() -> None:
    FOLDING.release()
    CHANGES.release()


os.register_at_fork(before=_acquire, after_in_parent=_release, after_in_child=_release)
