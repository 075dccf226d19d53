"""Bytes per breaker: traced allocations of many, divided by how many. Used by ``guard`` and ``memory``."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

from benchmarks.own import full_breakers, light_breakers

CALLS_SEEN = 10


def key_names(number: int) -> list[str]:
    """Return distinct keys; they exist before anything is traced, as a caller's keys do."""
    return [f"tenant-{index:06d}" for index in range(number)]


def traced(build: Callable[[], object]) -> int:
    """Return the bytes that ``build`` leaves allocated."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = build()
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del kept
    return after - before


def bytes_each(make: Callable[[str], object], keys: list[str]) -> float:
    """Return the bytes of one object with its entry in a dict, keys not counted."""
    make(keys[0])
    return traced(lambda: {key: make(key) for key in keys}) / len(keys)


def seawall_footprint(number: int) -> tuple[float, float]:
    """Return the bytes of a light breaker with its entry, and of a full one with an entry in a dict."""
    keys = key_names(number)
    light_breakers(keys[:1], CALLS_SEEN)
    light = traced(lambda: light_breakers(keys, CALLS_SEEN)) / number
    full = traced(lambda: full_breakers(keys, CALLS_SEEN)) / number
    return light, full
