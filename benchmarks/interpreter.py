"""Which Python runs what is measured beside programs that the distribution has built.

PgBouncer comes from the distribution, built with all optimizations. A Python that was built for development
often isn't (no ``--enable-optimizations``), and is nearly twice as slow at what a proxy does in pure Python.
So Seawall runs on the distribution's Python, where there is one of the same version, with the packages of
this environment. ``BENCHMARK_PYTHON`` names another one.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

NEEDED = "import pydantic, uvloop, xxhash"


@functools.cache
def python() -> str:
    """Return the interpreter for what is measured."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (os.environ.get("BENCHMARK_PYTHON", ""), f"/usr/bin/python{version}"):
        if candidate and _works(candidate, version):
            return candidate
    return sys.executable


def environment(build: Path) -> dict[str, str]:
    """Return the variables with which that interpreter finds a build of Seawall and what it needs."""
    return {**_paths(build), "PYTHONDONTWRITEBYTECODE": "1"}


def described() -> str:
    """Return its path and version, for who reads the figures."""
    found = subprocess.run([python(), "-VV"], capture_output=True, text=True, check=True)
    return f"{python()}: {found.stdout.strip()}"


def _paths(*first: Path) -> dict[str, str]:
    packages = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    return {"PYTHONPATH": os.pathsep.join([*map(str, first), *packages])}


def _works(candidate: str, version: str) -> bool:
    """Whether it is of this version and can use the packages of this environment."""
    code = f"import sys; assert sys.version.startswith({version + '.'!r}); {NEEDED}"
    try:
        return not subprocess.run(
            [candidate, "-c", code], env={**os.environ, **_paths()}, capture_output=True, check=False
        ).returncode
    except OSError:
        return False
