"""The faults there are, and in which order a run does them: drawn from its seed.

Pure. What a fault does is in ``faults``.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

CHAPTER = 30
"""Kills between two full audits, with fresh tables and a fresh proxy."""
BUNDLE = 5
"""Connections that are ended one after the other by one fault, each a kill."""
UNPINNED = 4
"""Every so many chapters one runs without pinned sequences."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault.

    Attributes:
        name: For ``--only``.
        weight: How often it is drawn.
        promotes: A proxy that promotes makes another server the primary.
        at_commit: It strikes while a COMMIT is held by missing standbys.
        relayed: It needs a network that can be cut.
        bundle: It ends connections one by one, that many kills in one go.
        fences: The proxy may stop the server that it replaces; without, that one is left alone.
    """

    name: str
    weight: float
    promotes: bool = False
    at_commit: bool = False
    relayed: bool = False
    bundle: int = 1
    fences: bool = True


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("terminate", 1.2, bundle=BUNDLE),
        Kind("reset", 0.8, bundle=BUNDLE),
        Kind("reset-all", 1.0),
        Kind("backend", 3.0),
        Kind("fast", 2.0),
        Kind("immediate", 2.0),
        Kind("primary", 5.0, promotes=True),
        Kind("zombie", 2.0, promotes=True, fences=False),
        Kind("stop", 1.0, promotes=True),
        Kind("cut-short", 0.6, relayed=True),
        Kind("cut", 1.0, promotes=True, relayed=True),
        Kind("cut-there", 0.6, promotes=True, relayed=True),
        Kind("cut-back", 0.6, promotes=True, relayed=True),
        Kind("commit-primary", 1.5, promotes=True, at_commit=True),
        Kind("commit-lost", 1.5, promotes=True, at_commit=True),
        Kind("commit-backend", 1.0, at_commit=True),
        Kind("commit-terminate", 1.0, at_commit=True),
        Kind("commit-immediate", 0.7, at_commit=True),
        Kind("commit-reset", 0.7, at_commit=True),
    )
}


@dataclass(frozen=True, slots=True)
class Chapter:
    """Faults that share tables and a proxy."""

    number: int
    kinds: tuple[Kind, ...]
    relayed: bool
    fences: bool
    pin: bool

    @property
    def kills(self) -> int:
        """What it comes to if every fault finds its victims."""
        return sum(kind.bundle for kind in self.kinds)


def available(*, resets: bool) -> list[Kind]:
    """All kinds; where the kernel won't reset connections, the relay does, all of them at once."""
    return [
        kind if resets or "reset" not in kind.name else replace(kind, relayed=True, bundle=1)
        for kind in KINDS.values()
    ]


def plan(
    kills: int, dice: random.Random, only: Collection[str] = (), *, resets: bool = True
) -> list[Chapter]:
    """Faults that come to at least so many kills, in chapters.

    Args:
        kills: how many.
        dice: of the seed.
        only: names of kinds; empty for all.
        resets: whether single connections can be reset.
    """
    chosen = [kind for kind in available(resets=resets) if not only or kind.name in only]
    drawn: list[Kind] = []
    while sum(kind.bundle for kind in drawn) < kills:
        drawn += dice.choices(chosen, [kind.weight for kind in chosen])
    groups: dict[tuple[bool, bool], list[Kind]] = {}
    for kind in drawn:
        groups.setdefault((kind.relayed, kind.fences), []).append(kind)
    chapters: list[Chapter] = []
    for (relayed, fences), kinds in groups.items():
        for part in _parts(kinds):
            chapters.append(Chapter(0, part, relayed, fences, pin=True))
    dice.shuffle(chapters)
    first = dice.randrange(UNPINNED)
    return [
        Chapter(number, one.kinds, one.relayed, one.fences, pin=(number + first) % UNPINNED != 0)
        for number, one in enumerate(chapters, start=1)
    ]


FORTY = {
    "terminate": 3,
    "reset": 2,
    "primary": 4,
    "zombie": 1,
    "backend": 3,
    "fast": 1,
    "immediate": 2,
    "commit-primary": 1,
    "commit-lost": 1,
    "commit-backend": 1,
    "commit-terminate": 1,
}
"""Faults that come to forty kills in less than a minute."""


def forty(dice: random.Random, *, resets: bool = True) -> Chapter:
    """One chapter of them, in some order, before a proxy that can't fence.

    Where the kernel lets nobody reset connections, servers end as many.
    """
    names = [name for name, number in FORTY.items() for _ in range(number)]
    kinds = [KINDS["terminate" if name == "reset" and not resets else name] for name in names]
    dice.shuffle(kinds)
    return Chapter(1, tuple(kinds), relayed=False, fences=False, pin=True)


def _parts(kinds: Sequence[Kind]) -> list[tuple[Kind, ...]]:
    parts: list[list[Kind]] = [[]]
    for kind in kinds:
        if sum(one.bundle for one in parts[-1]) >= CHAPTER:
            parts.append([])
        parts[-1].append(kind)
    return [tuple(part) for part in parts]


def by_kind(chapters: Sequence[Chapter]) -> Counter[str]:
    """How many kills of each kind are planned."""
    found: Counter[str] = Counter()
    for chapter in chapters:
        for kind in chapter.kinds:
            found[kind.name] += kind.bundle
    return found
