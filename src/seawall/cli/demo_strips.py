"""Small charts of characters: one column per stretch of time, eight heights.

Pure, and without Rich: it turns numbers into characters, ``demo_view`` gives them colours.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Final, TypeVar

from seawall.cli.demo_story import BUCKET_S, Bucket

T = TypeVar("T")

HEIGHTS: Final = "▁▂▃▄▅▆▇█"
GLYPHS: Final = {"open": "x", "half_open": "?"}
"""States that are drawn by a sign instead of by their share."""
RANK: Final = {"closed": 0, "ramping": 1, "half_open": 3, "open": 2}
"""When several states share a column, the highest is drawn."""
LATENCY_LOW_S: Final = 0.01
LATENCY_HIGH_S: Final = 1.0


def bar(level: float) -> str:
    """A bar of a height from 0 to 1; a space for nothing."""
    if level <= 0.0:
        return " "
    return HEIGHTS[min(len(HEIGHTS) - 1, int(level * len(HEIGHTS)))]


def log_level(latency_s: float, low_s: float = LATENCY_LOW_S) -> float:
    """The height of a latency: from 10 ms (or ``low_s``) to 1 s on a logarithmic scale."""
    if latency_s <= 0.0:
        return 0.0
    span = math.log(LATENCY_HIGH_S / low_s)
    return min(max(math.log(latency_s / low_s) / span, 0.01), 1.0)


def columns_of(
    buckets: Sequence[T], columns: int, elapsed_s: float, bucket_s: float = BUCKET_S
) -> list[list[T]]:
    """The buckets of each column whose time is over, when ``columns`` show them all."""
    done = int(elapsed_s / bucket_s)
    count = len(buckets)
    groups = []
    for column in range(columns):
        first = column * count // columns
        after = max((column + 1) * count // columns, first + 1)
        if after > done:
            break
        groups.append(list(buckets[first:after]))
    return groups


def last_second(buckets: Sequence[Bucket], elapsed_s: float) -> list[Bucket]:
    """The buckets of the last second that is over."""
    done = int(elapsed_s / BUCKET_S)
    return list(buckets[max(0, done - round(1.0 / BUCKET_S)) : done])


def rate(group: Sequence[Bucket], *names: str) -> float:
    """Events per second in a column, summed over some counters."""
    if not group:
        return 0.0
    events: int = sum(getattr(bucket, name) for bucket in group for name in names)
    return events / (len(group) * BUCKET_S)


def p95_s(group: Sequence[Bucket]) -> float:
    """The worst P95 of a column's buckets."""
    return max((bucket.p95_s for bucket in group), default=0.0)


def axis(columns: int, ends_s: float) -> str:
    """Marks below the charts: every five seconds, or every two for a short play."""
    step_s = 5 if ends_s > 15 else 2
    marks = [" "] * (columns + 4)
    for at_s in range(0, int(ends_s) + 1, step_s):
        text = f"{at_s} s" if at_s == 0 else str(at_s)
        first = round(at_s / ends_s * columns)
        marks[first : first + len(text)] = text
    return "".join(marks).rstrip()


def words(state: str) -> str:
    """A state's label as words."""
    return state.replace("_", " ")


def wrap(text: str, width: int, *, rows: int) -> list[str]:
    """``text`` on exactly ``rows`` lines, with an ellipsis if it does not fit."""
    lines = textwrap.wrap(text, width, max_lines=rows, placeholder=" …")
    return lines + [""] * (rows - len(lines))
