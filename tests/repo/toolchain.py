"""Says what is missing for the compiled wheel, before a page of a compiler's output does."""

import shutil
import sys
import sysconfig
from pathlib import Path


def missing() -> list[str]:
    """One sentence per missing part, naming the Debian package that brings it."""
    faults = []
    compiler = (sysconfig.get_config_var("CC") or "gcc").split()[0]
    if not (shutil.which(compiler) or shutil.which("gcc")):
        faults.append(f"no C compiler ({compiler}): on Debian and Ubuntu, apt-get install gcc")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        faults.append(
            "no headers of this Python (Python.h): on Debian and Ubuntu, apt-get install python3-dev"
        )
    return faults


if __name__ == "__main__":
    for fault in missing():
        print(f"the compiled wheel cannot be built: {fault}", file=sys.stderr)
    sys.exit(1 if missing() else 0)
