"""A cluster's directory from outside: whether it is free, whose it is, what is in it, and how it goes away.

A directory without a finished cluster is rubbish, whatever runs in it: the process that was making it died,
or the one that was removing it did.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from seawall.embedded import pidfile, processes
from seawall.embedded.accounts import Account, server_account
from seawall.embedded.directories import Lock, make_directory, scratch_directory, write_file
from seawall.embedded.engines import Engine, engine_at, find_engine
from seawall.embedded.errors import ClusterError
from seawall.embedded.node import Node
from seawall.embedded.state import FILE_NAME, STATE_BYTES_MAX, ClusterState, Owner, dump, parse
from seawall.kernel.errors import PolicyError, ServiceUnavailable, UsageError

__all__ = [
    "LOCK_NAME",
    "check_free",
    "claim",
    "default_directory",
    "engine_of",
    "holds_cluster",
    "last_leader",
    "last_timeline",
    "read_state",
    "remove",
    "remove_node",
    "sweep",
    "this_process",
]

LOCK_NAME: Final = "lock"

ANONYMOUS: Final = "cluster-"
"""Directories of clusters that end with their process, in the scratch directory."""

YOUNG_S: Final = 60.0
"""A directory without a state file may be one that another process is just about to fill."""

HISTORY: Final = re.compile(r"[0-9A-F]{8}")
"""Name of a timeline's history file, which every promotion writes."""


def default_directory() -> Path:
    """Where the command line keeps its cluster when it isn't told."""
    return scratch_directory(server_account()) / "cluster"


def claim(directory: Path | str | None, account: Account) -> Path:
    """Make a directory for a new cluster, or take one that is there.

    Raises:
        UsageError: The account cannot reach it, or its parent isn't there or isn't a directory.
    """
    if directory is None:
        home = scratch_directory(account) / f"{ANONYMOUS}{secrets.token_hex(6)}"
    else:
        home = Path(directory).absolute()
    if (part := account.unreachable_part(home.parent)) is not None:
        raise UsageError(
            f"the servers run as {account.name}, who may not pass {part}: choose a directory under /var/tmp,"
            f" or allow it with 'chmod o+x {part}'"
        )
    try:
        make_directory(home, account, owned=False)
    except FileExistsError:
        _check_ours(home)
        if account.borrowed:
            os.chown(home, -1, account.gid)
            home.chmod(0o750)
    except OSError as error:
        raise UsageError(f"{home}: {error.strerror}: choose another directory, or make its parent") from error
    return home


def check_free(home: Path) -> None:
    """See that a directory may become a cluster's; remove what is left of one that was never finished.

    Raises:
        UsageError: It holds a cluster, or something else.
    """
    others = [name for name in os.listdir(home) if name != LOCK_NAME]
    if not others:
        return
    try:
        state = _load(home)
    except FileNotFoundError:
        raise UsageError(f"{home} is not empty ({others[0]}, …): choose another directory") from None
    if state.complete:
        raise UsageError(f"there is a cluster in {home} already: open() it, or destroy() it first")
    _clear(home, state)


def read_state(home: Path) -> ClusterState:
    """The state of a finished cluster.

    Raises:
        UsageError: There is none, or it is another user's.
        PolicyError: The file is damaged.
    """
    try:
        _check_ours(home)
        state = _load(home)
    except FileNotFoundError:
        raise UsageError(f"there is no cluster in {home}: create() one") from None
    if not state.complete:
        raise UsageError(f"the cluster in {home} was never finished: create() it anew")
    return state


def holds_cluster(home: Path) -> bool:
    """Whether there is a finished cluster in a directory; ``PolicyError`` if its state file is damaged."""
    try:
        return _load(home).complete
    except (FileNotFoundError, NotADirectoryError):
        return False


def _check_ours(home: Path) -> None:
    status = home.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{home} is not a directory: choose another path")
    if status.st_uid != os.geteuid():
        raise UsageError(
            f"{home} belongs to user {status.st_uid}: work on it as that user, or choose another"
        )


def _load(home: Path) -> ClusterState:
    path = home / FILE_NAME
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        return parse(file.read(STATE_BYTES_MAX + 1).decode("utf-8", errors="replace"), str(path))


def engine_of(state: ClusterState) -> Engine:
    """The PostgreSQL a cluster was made with, or another one that can run its data.

    Raises:
        EngineNotFound: None of that major version is installed.
    """
    known = engine_at(Path(state.engine_directory), state.engine_kind) if state.engine_directory else None
    if known is not None and known.version == state.engine_version:
        return known
    return find_engine(state.engine_kind, state.engine_version)


# --- who a cluster belongs to -------------------------------------------------------------------------------


def this_process() -> Owner:
    """This process as the owner of a cluster."""
    return Owner(os.getpid(), processes.start_tick(os.getpid()), _world())


def _world() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"


def _abandoned(owner: Owner) -> bool:
    """Whether the owner is dead for sure; of another container on the same machine nothing is known."""
    boot = _world().partition(" ")[0]
    if not owner.world.startswith(f"{boot} "):
        return True
    return owner.world == _world() and not processes.is_alive(owner.pid, owner.started)


def sweep(account: Account) -> list[Path]:
    """Stop and remove clusters whose process died without doing so; returns their directories."""
    removed = []
    for home in sorted(scratch_directory(account).glob(f"{ANONYMOUS}*")):
        try:
            state = _load(home)
            if state.owner is not None and _abandoned(state.owner):
                with Lock(home / LOCK_NAME).held(timeout_s=0):
                    remove(home, state)
                removed.append(home)
        except FileNotFoundError:
            _remove_if_old(home)
        except (ServiceUnavailable, PolicyError, OSError):
            continue  # somebody works on it, or it is of another version of Seawall: not ours to judge
    return removed


def _remove_if_old(home: Path) -> None:
    try:
        if time.time() - home.stat().st_mtime > YOUNG_S:
            shutil.rmtree(home, ignore_errors=True)
    except FileNotFoundError:
        return


# --- going away ---------------------------------------------------------------------------------------------


def remove(home: Path, state: ClusterState) -> None:
    """Kill whatever runs in a cluster's directory and remove it.

    Raises:
        ClusterError: A process can't be killed.
    """
    # From here on it is rubbish to whoever finds it, should this process die before it is gone.
    write_file(home / FILE_NAME, dump(replace(state, complete=False)), server_account(), mode=0o600)
    _clear(home, state)
    shutil.rmtree(home, ignore_errors=True)


def _clear(home: Path, state: ClusterState) -> None:
    for described in state.nodes:
        data = home / described.name / "data"
        processes.kill(data)
        pidfile.forget(data)
    processes.reap()
    for described in state.nodes:
        shutil.rmtree(home / described.name, ignore_errors=True)
        outside = Path(described.socket_directory)
        if outside.parent != home / described.name and outside.name.startswith("socket-"):
            shutil.rmtree(outside, ignore_errors=True)
    (home / FILE_NAME).unlink(missing_ok=True)


def remove_node(node: Node) -> None:
    """Remove the files of one node that is down."""
    pidfile.forget(node.data_directory)
    shutil.rmtree(node.socket_directory, ignore_errors=True)
    shutil.rmtree(node.directory, ignore_errors=True)


def last_timeline(data_directory: Path) -> int:
    """The newest timeline a data directory has heard of, from its history files; 1 without any."""
    names = [path.stem for path in (data_directory / "pg_wal").glob("*.history")]
    return max((int(name, 16) for name in names if HISTORY.fullmatch(name)), default=1)


def last_leader(nodes: Sequence[Node], planned: str) -> Node:
    """Of nodes that are all down, the one that was promoted last; the planned one if none was.

    Raises:
        ClusterError: Every one is a replica.
    """
    candidates = [node for node in nodes if not node.is_standby]
    if not candidates:
        raise ClusterError("cluster", "every node is a replica: start one and promote() it")
    return max(candidates, key=lambda node: (last_timeline(node.data_directory), node.name == planned))
