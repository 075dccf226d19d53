"""Virtual-time simulation of one client key in front of a queueing backend.

Nothing here sleeps or reads a clock: time is the number carried by the next event. ``faults`` says
what goes wrong, ``backend`` what the servers make of it, ``traces`` draws the calls, ``rules`` are the
breakers under test behind one protocol, ``episodes`` and ``healthy`` run them. Called by
``benchmarks.detection`` and ``benchmarks.recovery``; knows nothing of reports.
"""

from pathlib import Path

from benchmarks.harness import source_hash

_HERE = Path(__file__).parent

GENERATOR = source_hash(*(_HERE / name for name in ("backend.py", "faults.py", "traces.py", "cold_cache.py")))
"""Hash of everything that shapes the load: printed beside every figure that it produced."""
