"""Fuzzing of the proxy's front and relay, in one process and without a socket or an event loop.

An *input* is a list of steps: somebody says bytes, somebody leaves, a server's answer is spoiled. ``streams``
makes and mutates bytes, ``world`` is the proxy between transport doubles and strict model servers, ``strata``
draws inputs, plays them and judges what came of them, ``minimise`` makes an input that fails small. Called by
``benchmarks.fuzz``.
"""

from pathlib import Path

import seawall
from benchmarks.harness import ROOT, source_hash

_HERE = Path(__file__).parent

GENERATOR = source_hash(_HERE, ROOT / "tests" / "proxy" / "model.py")
"""Hash of everything that shapes the inputs and their verdicts."""

PACKAGE = Path(seawall.__file__).parent
SUBJECT = source_hash(PACKAGE / "proxy", PACKAGE / "wire")
"""Hash of what is fuzzed."""
