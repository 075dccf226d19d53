"""Benchmarks: figures that anyone can measure again, beside the rivals, in the same run.

Not imported by the library and not run by continuous integration; each module is a command,
``python -m benchmarks.NAME [--quick] [--json]``, and all of them share ``benchmarks.harness``.
"""

import importlib.util
import sys

COULD_NOT_RUN = 2
"""Exit code of a benchmark that lacks something."""

for _name in ("seawall", "rich"):
    if importlib.util.find_spec(_name) is None:
        print(
            f"benchmarks: {_name} is not installed for {sys.executable}; run: pip install -e .",
            file=sys.stderr,
        )
        raise SystemExit(COULD_NOT_RUN)
