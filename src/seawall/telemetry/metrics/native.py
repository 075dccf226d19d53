"""The arithmetic of exponential buckets, as Prometheus defines native histograms.

Theory
------
At schema s the bounds are the powers of 2 ** (2 ** -s). Bucket ``key`` holds what is above bound ``key -
1`` and not above bound ``key``, by magnitude; positive and negative values have tables of their own, and
what is not above the zero threshold is only counted. Schemas reach from -4 (each bucket 65 536 times as
wide as the one before) to 8 (0.27 %). Every second bound of a schema is a bound of the next lower one, so
lowering the schema joins pairs of buckets and loses nothing but resolution. (Prometheus, "Native
Histograms" specification.)

``frexp`` splits a float into a fraction in [0.5, 1) and an exponent of 2, so a table of the bounds within
that octave serves all floats. The table holds, for each bound, the largest float that is not above it. That
is computed in integers and exactly: the floor of a 256th root is eight integer square roots. Therefore no
float is ever in the wrong bucket by rounding.

This module has no state and no cell; ``cells`` counts with it, ``gathering`` merges with it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import frexp, inf, isqrt, ldexp
from typing import Final

__all__ = [
    "BUCKETS_MAX",
    "LARGEST",
    "SCHEMA_MAX",
    "SCHEMA_MIN",
    "ZERO_THRESHOLD",
    "Exponential",
    "bounds_of",
    "key_of",
    "lowered",
    "merged",
]

SCHEMA_MIN: Final = -4
SCHEMA_MAX: Final = 8
BUCKETS_MAX: Final = 160
"""Buckets of one histogram, both signs together; beyond it the schema is lowered. At the lowest one all
floats above the zero threshold are in 73 buckets of each sign, so there is always a schema that fits."""
ZERO_THRESHOLD: Final = 2.0**-128
"""Where buckets begin. A power of 2 ** 16, and so a bound at every schema."""
LARGEST: Final = (2.0 - 2.0**-52) * 2.0**1023
"""The largest finite float."""
_MANTISSA_BITS: Final = 53


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponential:
    """One moment of a native histogram, or several of them merged; its numbers fit together.

    Attributes:
        schema: Resolution.
        zero_count: Values up to the zero threshold.
        positive: Counts by key.
        negative: Counts by key of the magnitude.
        sum: Sum of all values.
        zero_threshold: Magnitude up to which values are only counted; other libraries have other ones.
    """

    schema: int
    zero_count: int
    positive: Mapping[int, int]
    negative: Mapping[int, int]
    sum: float
    zero_threshold: float = ZERO_THRESHOLD

    @property
    def count(self) -> int:
        """All observations: a scraper refuses a count that is not what the buckets hold."""
        return self.zero_count + sum(self.positive.values()) + sum(self.negative.values())


@cache
def bounds_of(schema: int) -> tuple[float, ...]:
    """Bounds within the octave [0.5, 1), each rounded down to a float; empty for schemas of at most 0."""
    if schema <= 0:
        return ()
    return tuple(_bound(position << (SCHEMA_MAX - schema)) for position in range(1 << schema))


@cache
def _bound(position: int) -> float:
    # The largest m with m <= 2 ** (position / 256 + 52): as a fraction of 2 ** 53 it is the bound.
    root = 1 << (position + ((_MANTISSA_BITS - 1) << SCHEMA_MAX))
    for _ in range(SCHEMA_MAX):
        root = isqrt(root)
    return ldexp(root, -_MANTISSA_BITS)


def key_of(magnitude: float, schema: int) -> int:
    """The bucket of a value.

    Args:
        magnitude: Above 0; infinity has a bucket of its own, behind that of the largest float.
        schema: The resolution.

    Returns:
        The key.
    """
    if magnitude == inf:
        return key_of(LARGEST, schema) + 1
    fraction, exponent = frexp(magnitude)
    if schema > 0:
        return bisect_left(bounds_of(schema), fraction) + ((exponent - 1) << schema)
    if fraction == 0.5:
        # A power of two is the upper bound of its bucket, and belongs to it.
        exponent -= 1
    return lowered(exponent, -schema)


def lowered(key: int, steps: int) -> int:
    """The bucket that holds ``key``'s bucket when the schema is lower by ``steps``."""
    return (key + (1 << steps) - 1) >> steps


def merged(parts: Sequence[Exponential]) -> Exponential:
    """The histogram of all observations of several histograms, in at most :data:`BUCKETS_MAX` buckets.

    Args:
        parts: At least one.

    Returns:
        The merged histogram, at the lowest schema of the parts or below.
    """
    schema = min(part.schema for part in parts)
    positive: dict[int, int] = {}
    negative: dict[int, int] = {}
    for part in parts:
        _add(positive, part.positive, part.schema - schema)
        _add(negative, part.negative, part.schema - schema)
    while len(positive) + len(negative) > BUCKETS_MAX:
        schema -= 1
        fine = positive, negative
        positive, negative = {}, {}
        _add(positive, fine[0], 1)
        _add(negative, fine[1], 1)
    return Exponential(
        schema=schema,
        zero_count=sum(part.zero_count for part in parts),
        positive=positive,
        negative=negative,
        sum=sum(part.sum for part in parts),
    )


def _add(table: dict[int, int], counts: Mapping[int, int], steps: int) -> None:
    for key, count in counts.items():
        coarse = lowered(key, steps)
        table[coarse] = table.get(coarse, 0) + count
