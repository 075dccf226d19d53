"""What is looked at in the text of every query on its way: remembered, because texts come again and again.

They come with other numbers in them, so what is remembered is remembered for all that differ in nothing else.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from seawall.wire.pgwire import classify
from seawall.wire.pgwire.scan import looks_ordinary, suspicion

PROVEN: Final = -1
"""No suspicion, and more: ``classify`` has proven that it changes nothing, or just commits."""
REMEMBERED: Final = 4_096
"""Texts that are remembered; the one that is unused for longest is forgotten."""
REMEMBERED_BYTES: Final = 512
"""Longest of these."""
_ALIKE: Final = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ123456789", b"abcdefghijklmnopqrstuvwxyz000000000"
)
_SUSPICIOUS: Final = 1
# Tags of dollar quotes are the one thing that differs in its letters' case, or in its digits.
_TAGGED: Final = re.compile(rb"\$[^$0]")


def glance(sql: bytes) -> int:
    """A text's suspicion, as ``scan`` tells it; :data:`PROVEN` if it has none and provably changes nothing.

    Called for every simple query and every Parse. Any bytes will do; none raise.
    """
    if len(sql) <= REMEMBERED_BYTES:
        look = _alike(sql.translate(_ALIKE))
        return look if look <= 0 else suspicion(sql)
    return suspicion(sql)


def _look(alike: bytes) -> int:
    if not looks_ordinary(alike):
        return _SUSPICIOUS
    if _TAGGED.search(alike) is None and classify.changes_nothing(classify.classify(alike)):
        return PROVEN
    return 0


_alike = lru_cache(maxsize=REMEMBERED)(_look)
