"""Servers that fail under load: what ``history``, ``failover`` and ``journal`` are made of.

``records`` is what clients note, ``workloads`` what they do, ``sessions`` and ``load`` do it over real
drivers, ``bystanders`` are clients that must never notice. ``front`` is the proxy before a real cluster,
``field`` both of them together, ``faults`` what is done to them, ``plan`` when, ``relay`` a network that
can be cut. ``audit`` compares what clients were told with what the servers have. ``ledger`` adds runs up.
Called by the benchmarks.
"""

from pathlib import Path

import seawall
from benchmarks.harness import source_hash

_HERE = Path(__file__).parent

_OWN = [path for path in sorted(_HERE.glob("*.py")) if not path.name.startswith("model")]

GENERATOR = source_hash(*_OWN, _HERE.parent / "history.py")
"""Hash of everything that shapes load, faults and verdicts."""

PACKAGE = Path(seawall.__file__).parent
SUBJECT = source_hash(PACKAGE / "proxy", PACKAGE / "wire", PACKAGE / "app")
"""Hash of what is put to the test."""
