"""All cases, in the order in which they are printed."""

from __future__ import annotations

from benchmarks.conformance import nesting, outcomes, probing, timing
from benchmarks.conformance.subject import Case

CASES: tuple[Case, ...] = (*probing.CASES, *outcomes.CASES, *nesting.CASES, *timing.CASES)
