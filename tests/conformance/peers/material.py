"""Where foreign suites come from: package registries and public repositories, by their ordinary clients.

Everything lands below one folder and is kept there; a second run fetches nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FETCH_TIMEOUT_S = 900.0


class NoMaterialError(Exception):
    """A suite or a tool can't be had here; the text says which and what to do."""


def run(command: Sequence[str], *, cwd: Path | None = None, extra: dict[str, str] | None = None) -> str:
    """Run a command that fetches or builds, and return what it printed.

    Raises:
        NoMaterialError: It failed or is not installed.
    """
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **(extra or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=FETCH_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoMaterialError(f"{' '.join(command[:3])}: {error}") from error
    if done.returncode:
        raise NoMaterialError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def tool(name: str, package: str) -> str:
    """Return the path of an installed program.

    Raises:
        NoMaterialError: It is missing; ``package`` is Debian's name of what to install.
    """
    found = shutil.which(name)
    if found is None:
        raise NoMaterialError(f"{name} is missing; on Debian: apt-get install {package}")
    return found


def sdist(folder: Path, name: str, version: str) -> Path:
    """Return the unpacked source distribution of a release on PyPI."""
    target = folder / f"{name}-{version}"
    if not target.exists():
        downloads = folder / "downloads"
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        run([*pip, "--dest", str(downloads), f"{name}=={version}"])
        archives = [
            path for path in downloads.glob("*.tar.gz") if path.name.lower().startswith(f"{name}-{version}")
        ]
        if not archives:
            raise NoMaterialError(f"{name} {version} has no source distribution on PyPI")
        unpacked = folder / f"{name}-{version}.unpacking"
        shutil.rmtree(unpacked, ignore_errors=True)
        unpacked.mkdir()
        run([tool("tar", "tar"), "-xzf", str(archives[0]), "-C", str(unpacked)])
        next(unpacked.iterdir()).rename(target)
        shutil.rmtree(unpacked)
    return target


def checkout(folder: Path, name: str, source: str, revision: str) -> Path:
    """Return a work tree of a public repository; ``source`` is a URL or the path of a mirror."""
    target = folder / f"{name}-{revision}"
    if not target.exists():
        cloning = folder / f"{name}-{revision}.cloning"
        shutil.rmtree(cloning, ignore_errors=True)
        git = tool("git", "git")
        run([git, "clone", "--quiet", source, str(cloning)])
        run([git, "-C", str(cloning), "checkout", "--quiet", revision])
        cloning.rename(target)
    return target


def environment(folder: Path, name: str, requirements: Sequence[str]) -> Path:
    """Return the interpreter of a virtual environment that has the requirements installed."""
    target = folder / f"venv-{name}"
    stamp = target / "installed"
    wanted = hashlib.sha256("\n".join([sys.version, *requirements]).encode()).hexdigest()
    python = target / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != wanted:
        run([sys.executable, "-m", "venv", "--clear", str(target)])
        run([str(python), "-m", "pip", "install", "--quiet", *requirements])
        stamp.write_text(wanted)
    return python


def copied(folder: Path, name: str, source: Path) -> Path:
    """Return a fresh copy of a folder of ours to build in; what a build made before is kept."""
    target = folder / name
    shutil.copytree(source, target, dirs_exist_ok=True)
    return target
