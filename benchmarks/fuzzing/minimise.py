"""Making an input that fails small: fewer steps, messages and bytes, as long as it fails in the same way.

Delta debugging (Zeller and Hildebrandt, 2002) in its plainest form: take out ever smaller parts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from benchmarks.fuzzing.strata import Input, Play, Wrong, new_world
from benchmarks.fuzzing.streams import cut

TRIALS_LIMIT = 2_000
"""Plays of one minimisation."""
DETAILS = re.compile(r"[\[('\d].*", re.DOTALL)
"""What does not make a verdict another one."""

Part = TypeVar("Part")


def verdict(inputs: Sequence[Input]) -> str:
    """Return what is wrong with the last of these inputs, played in a new world; empty if nothing is."""
    world = new_world(inputs[-1].stratum, inputs[-1].variant)
    with world.patched():
        for given in inputs[:-1]:
            try:
                Play(world, given).run()
            except Wrong:
                return ""
        try:
            Play(world, inputs[-1]).run()
        except Wrong as wrong:
            return str(wrong)
    return ""


def smaller(parts: Sequence[Part], fails: Callable[[Sequence[Part]], bool]) -> Sequence[Part]:
    """Return as few of the parts, in order, as still fail."""
    size = max(1, len(parts) // 2)
    while size and parts:
        position = 0
        while position < len(parts):
            fewer = [*parts[:position], *parts[position + size :]]
            if fails(fewer):
                parts = fewer
            else:
                position += size
        size //= 2
    return parts


def minimised(given: Input) -> Input:
    """Return a small input that fails as this one does; itself if it doesn't fail alone."""
    wanted = DETAILS.sub("", verdict([given]))
    trials = 0

    def fails(one: Input) -> bool:
        nonlocal trials
        trials += 1
        return trials <= TRIALS_LIMIT and DETAILS.sub("", verdict([one])) == wanted

    if not wanted:
        return given
    found = replace(
        given, steps=tuple(smaller(given.steps, lambda fewer: fails(replace(given, steps=tuple(fewer)))))
    )
    for place, (what, data) in enumerate(found.steps):
        if what.startswith("say"):  # the bytes of others are a seed
            broken = partial(_fails_with, fails, found, place)
            kept = smaller(cut(data), lambda fewer, broken=broken: broken(b"".join(fewer)))  # type: ignore[misc]
            found = _with_bytes(found, place, smaller(list(b"".join(kept)), broken))
    return found


def _with_bytes(given: Input, place: int, data: Sequence[int]) -> Input:
    steps = list(given.steps)
    steps[place] = (steps[place][0], bytes(data))
    return replace(given, steps=tuple(steps))


def _fails_with(fails: Callable[[Input], bool], given: Input, place: int, data: Sequence[int]) -> bool:
    return fails(_with_bytes(given, place, data))
