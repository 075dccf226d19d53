"""Who the servers run as: PostgreSQL refuses to be root, so root lends them an account.

The account is ``postgres`` if the machine has one, else ``nobody``. Everybody else runs servers as himself.
"""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from seawall.embedded.errors import ClusterError
from seawall.kernel.errors import UsageError

__all__ = ["BORROWED_ACCOUNTS", "Account", "server_account"]

BORROWED_ACCOUNTS: Final = ("postgres", "nobody")
"""Tried in this order when we are root."""

TOOL_TIMEOUT_S: Final = 300.0
"""No tool of PostgreSQL (initdb, pg_basebackup, pg_rewind) may take longer on a cluster of this kind."""

SHOWN_LINES: Final = 15
"""How much of a failed tool's output an error quotes."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the operating system.

    Attributes:
        name: Login name.
        uid: User id.
        gid: Primary group id.
        borrowed: We are root, and everything the servers touch has to be handed over to this account.
    """

    name: str
    uid: int
    gid: int
    borrowed: bool

    def process_options(self) -> dict[str, Any]:
        """What ``subprocess`` needs to start a program as this account, with no further rights."""
        options: dict[str, Any] = {"cwd": "/", "umask": 0o077, "stdin": subprocess.DEVNULL}
        if self.borrowed:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return options

    def run(self, command: Sequence[str | Path], environment: dict[str, str]) -> str:
        """Run a tool to its end and return what it printed.

        Raises:
            ClusterError: It could not be started, failed, or took longer than ``TOOL_TIMEOUT_S``.
        """
        tool = Path(command[0]).name
        try:
            answer: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603 -- the engine's own, or cp
                [str(part) for part in command],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                check=False,
                timeout=TOOL_TIMEOUT_S,
                **self.process_options(),
            )
        except subprocess.TimeoutExpired:
            raise ClusterError(tool, f"not finished after {TOOL_TIMEOUT_S:.0f} s") from None
        except OSError as error:
            raise ClusterError(tool, f"{self.name} cannot run {command[0]}: {error.strerror}") from error
        if answer.returncode != 0:
            tail = "\n".join(answer.stdout.splitlines()[-SHOWN_LINES:])
            raise ClusterError(tool, f"exit status {answer.returncode}\n{tail}")
        return answer.stdout

    def unreachable_part(self, path: Path) -> Path | None:
        """The first directory on the way to ``path`` that the account may not pass, or ``None``.

        Access control lists are not looked at: they can only make a tool fail with its own message later.
        """
        for part in reversed([path, *path.parents]):
            try:
                status = part.stat()
            except FileNotFoundError:
                return None  # what we will make ourselves is made passable
            if stat.S_ISDIR(status.st_mode) and not self._may_pass(status):
                return part
        return None

    def _may_pass(self, status: os.stat_result) -> bool:
        if self.uid == 0:
            return True
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        groups = {self.gid} if self.borrowed else {self.gid, *os.getgroups()}
        if status.st_gid in groups:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def server_account() -> Account:
    """The account that servers started by this process run as.

    Raises:
        UsageError: We are root, and the machine has none of ``BORROWED_ACCOUNTS``.
    """
    uid = os.geteuid()
    if uid != 0:
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            name = str(uid)  # containers often run as a number without an entry
        return Account(name, uid, os.getegid(), borrowed=False)
    for name in BORROWED_ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid, borrowed=True)
    accounts = " nor ".join(BORROWED_ACCOUNTS)
    raise UsageError(
        f"PostgreSQL refuses to run as root, and there is neither {accounts} on this machine:"
        f" add one with 'useradd --system {BORROWED_ACCOUNTS[0]}', or run as another user"
    )
