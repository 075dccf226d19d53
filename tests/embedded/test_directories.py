import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from seawall.embedded import directories
from seawall.embedded.accounts import server_account
from seawall.embedded.directories import Lock, make_directory, scratch_directory, write_file
from seawall.kernel.errors import ServiceUnavailable, UsageError

pytestmark = pytest.mark.timeout(10)

ACCOUNT = server_account()


def test_the_scratch_directory_is_ours_alone() -> None:
    home = scratch_directory(ACCOUNT)
    assert home == scratch_directory(ACCOUNT)
    assert home.name == f"seawall-{os.geteuid()}"
    assert home.stat().st_uid == os.geteuid()
    assert home.stat().st_mode & 0o022 == 0
    assert ACCOUNT.unreachable_part(home) is None


@pytest.fixture
def parent(monkeypatch):
    """Another place for scratch directories, which the account can reach."""
    made = scratch_directory(ACCOUNT) / "test-parent"
    made.mkdir(mode=0o755)
    made.chmod(0o755)
    monkeypatch.setattr(directories, "SCRATCH_PARENT", made)
    yield made
    for path in made.iterdir():
        path.unlink() if path.is_symlink() else path.rmdir()
    made.rmdir()


def test_a_scratch_directory_that_others_can_write_is_refused(parent) -> None:
    home = scratch_directory(ACCOUNT)
    assert home.parent == parent
    home.chmod(0o777)
    with pytest.raises(UsageError, match="only you can write"):
        scratch_directory(ACCOUNT)


def test_a_link_in_its_place_is_refused(parent, tmp_path) -> None:
    (parent / f"seawall-{os.geteuid()}").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="only you can write"):
        scratch_directory(ACCOUNT)


def test_a_closed_parent_is_passed_over(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(directories, "SCRATCH_PARENT", Path("/nowhere"))
    monkeypatch.setattr(directories.tempfile, "gettempdir", lambda: "/nowhere/else")
    with pytest.raises(UsageError, match=r"tried /nowhere, /nowhere/else\): set TMPDIR"):
        scratch_directory(ACCOUNT)


def test_a_file_is_written_whole_and_replaced(tmp_path) -> None:
    path = tmp_path / "file"
    write_file(path, "one", ACCOUNT)
    write_file(path, "two", ACCOUNT, mode=0o600)
    assert path.read_text() == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_a_link_is_replaced_and_not_followed(tmp_path) -> None:
    target, path = tmp_path / "target", tmp_path / "link"
    target.write_text("precious")
    path.symlink_to(target)
    write_file(path, "new", ACCOUNT)
    assert (target.read_text(), path.read_text(), path.is_symlink()) == ("precious", "new", False)


def test_a_failure_leaves_the_old_file_and_no_draft(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_file(path, "\ud800", ACCOUNT)
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_a_file_in_the_accounts_directory_is_the_accounts(tmp_path) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    make_directory(mine, ACCOUNT, owned=False)
    make_directory(theirs, ACCOUNT, owned=True)
    for directory in (mine, theirs):
        write_file(directory / "file", "text", ACCOUNT)
    assert theirs.stat().st_uid == (theirs / "file").stat().st_uid == ACCOUNT.uid
    assert mine.stat().st_uid == (mine / "file").stat().st_uid == os.geteuid()
    assert (mine / "file").stat().st_gid == ACCOUNT.gid
    assert mine.stat().st_mode & 0o007 == 0
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o700


def test_a_lock_is_held_by_one_process(tmp_path) -> None:
    path = tmp_path / "lock"
    program = (
        f"import fcntl; file = open({str(path)!r}, 'w'); fcntl.flock(file, 2); print(1, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "1\n"
        with pytest.raises(ServiceUnavailable, match="another command"), Lock(path).held(0.05):
            pytest.fail("two hold one lock")
        other.communicate("\n")
    with Lock(path).held(0):
        assert path.exists()


def test_a_lock_is_given_back_after_an_error(tmp_path) -> None:
    lock = Lock(tmp_path / "lock")
    with pytest.raises(KeyError), lock.held():
        raise KeyError
    with lock.held(0):
        assert repr(lock).startswith("Lock(")


def test_a_lock_on_a_removed_file_is_none(tmp_path) -> None:
    lock, entered = Lock(tmp_path / "lock"), threading.Event()

    def wait() -> None:
        with lock.held():
            entered.set()
            assert lock.path.exists()

    with lock.held():
        waiter = threading.Thread(target=wait)
        waiter.start()
        lock.path.unlink()  # as destroy() does, with somebody waiting
    waiter.join()
    assert entered.is_set()


def test_a_lock_in_a_directory_that_is_gone_is_told(tmp_path) -> None:
    with pytest.raises(FileNotFoundError), Lock(tmp_path / "gone" / "lock").held():
        pytest.fail("there is nothing to hold")
