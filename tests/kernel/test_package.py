import subprocess
import sys

import seawall.kernel

HEAVY = {
    "asyncio",
    "socket",
    "ssl",
    "select",
    "subprocess",
    "threading",
    "random",
    "logging",
    "pydantic",
    "rich",
}


def test_everything_named_is_there():
    assert [name for name in seawall.kernel.__all__ if not hasattr(seawall.kernel, name)] == []


def test_importing_it_loads_nothing_heavy():
    script = (
        "import sys; before = set(sys.modules); import seawall.kernel; print(*(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=10
    )
    assert HEAVY.isdisjoint(done.stdout.split())
