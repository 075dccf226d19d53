"""Where clusters live, and how files get there whole.

Data is kept under ``/var/tmp`` (or where ``TMPDIR`` says): never under a home, which the servers' account may
not be able to pass, and not in ``/run``, which is memory. Names there are predictable and the parent is open
to everybody, so a directory that somebody else has put in place is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from seawall.embedded.accounts import Account
from seawall.kernel.errors import ServiceUnavailable, UsageError

__all__ = ["Lock", "make_directory", "scratch_directory", "write_file"]

SCRATCH_PARENT: Final = Path("/var/tmp")  # noqa: S108 -- the directory inside is checked for its owner
"""Survives a reboot, is large, and every account may pass it."""

LOCK_TIMEOUT_S: Final = 120.0
"""Longer than any single command takes on a machine that is merely busy."""

LOCK_POLL_S: Final = 0.02
"""``flock`` with a limit has to ask again and again."""

SOCKET_PATH_BYTES_MAX: Final = 107
"""What Linux holds of a unix socket's path (``sun_path``), without the closing zero."""


def scratch_directory(account: Account) -> Path:
    """This user's own directory for clusters and copies of engines, made if need be.

    Raises:
        UsageError: No place can be written, or somebody else owns the directory.
    """
    tried = []
    for parent in dict.fromkeys((SCRATCH_PARENT, Path(tempfile.gettempdir()))):
        if not os.access(parent, os.W_OK | os.X_OK) or account.unreachable_part(parent) is not None:
            tried.append(str(parent))
            continue
        home = parent / f"seawall-{os.geteuid()}"
        with contextlib.suppress(FileExistsError):
            home.mkdir(mode=0o755)
            home.chmod(0o755)  # the umask may have taken the account's right to pass
        status = home.lstat()
        ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
        if not ours or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise UsageError(
                f"{home} is no directory that only you can write: remove it, or set TMPDIR to another place"
            )
        return home
    raise UsageError(
        f"no place for servers that {account.name} can reach and you can write (tried {', '.join(tried)}):"
        " set TMPDIR to a directory with mode 755 or 1777"
    )


def make_directory(path: Path, account: Account, *, owned: bool) -> None:
    """Make one directory: the account's alone (``owned``), or ours, which the account may pass and read.

    Raises:
        FileExistsError: There is something of that name.
    """
    path.mkdir(mode=0o700)
    if account.borrowed and owned:
        os.chown(path, account.uid, account.gid)
    elif account.borrowed:
        os.chown(path, -1, account.gid)
        path.chmod(0o750)


def write_file(path: Path, text: str, account: Account, *, mode: int = 0o640) -> None:
    """Write a file that is whole or not there, readable for the servers' account.

    The new file is made under a fresh name and moved into place, so a link that stands at ``path`` in a
    directory of the account is replaced and never followed.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(draft, flags, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            if account.borrowed:
                owner = account.uid if path.parent.stat().st_uid == account.uid else -1
                os.fchown(file.fileno(), owner, account.gid)
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Lock:
    """One command at a time on one directory, across processes; not re-entrant.

    Args:
        path: The lock's file; it stays there when the lock is given back.
    """

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Lock({str(self.path)!r})"

    @contextlib.contextmanager
    def held(self, timeout_s: float | None = None) -> Iterator[None]:
        """Hold the lock for the length of a block.

        Args:
            timeout_s: How long to wait for it, in seconds; ``LOCK_TIMEOUT_S`` if not told.

        Raises:
            ServiceUnavailable: Another process held it for all of ``timeout_s``.
            FileNotFoundError: The directory is gone.
        """
        handle = self._acquire(LOCK_TIMEOUT_S if timeout_s is None else timeout_s)
        try:
            yield
        finally:
            os.close(handle)  # closing gives the lock back

    def _acquire(self, timeout_s: float) -> int:
        give_up = time.monotonic() + timeout_s
        while True:
            handle = self._wait(give_up, timeout_s)
            # Whoever held it may have removed the directory, or made it anew: a lock on nothing.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), self.path.stat()):
                    return handle
            os.close(handle)

    def _wait(self, give_up: float, timeout_s: float) -> int:
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            while not _locked(handle):
                if time.monotonic() >= give_up:
                    reason = f"another command has worked on it for {timeout_s:.0f} s"
                    raise ServiceUnavailable(str(self.path.parent), reason)  # noqa: TRY301 -- closes, too
                time.sleep(LOCK_POLL_S)
        except BaseException:
            os.close(handle)
            raise
        return handle


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
