import os
import pwd

import pytest

from seawall.embedded import ClusterError, accounts
from seawall.embedded.accounts import Account, server_account
from seawall.kernel.errors import UsageError

pytestmark = pytest.mark.timeout(10)

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


def test_root_borrows_an_account_and_everybody_else_is_himself() -> None:
    account = server_account()
    assert account.uid != 0
    assert account.borrowed == (os.geteuid() == 0)
    assert account.borrowed or account.uid == os.geteuid()


def test_a_tool_runs_as_the_account_and_with_no_other_rights() -> None:
    account = server_account()
    said = account.run(["sh", "-c", "id -u; id -G; umask; pwd"], ENVIRONMENT).split()
    assert said[0] == str(account.uid)
    assert str(account.gid) in said[1:-2]
    assert not account.borrowed or said[1:-2] == [str(account.gid)]
    assert said[-2:] == ["0077", "/"]


def test_a_tool_that_fails_is_quoted() -> None:
    account = server_account()
    with pytest.raises(ClusterError, match=r"(?s)sh: exit status 3\nhere is why"):
        account.run(["sh", "-c", "echo here is why >&2; exit 3"], ENVIRONMENT)
    with pytest.raises(ClusterError, match="cannot run /nowhere/tool"):
        account.run(["/nowhere/tool"], ENVIRONMENT)


def test_a_tool_that_hangs_is_ended(monkeypatch) -> None:
    monkeypatch.setattr(accounts, "TOOL_TIMEOUT_S", 0.05)
    with pytest.raises(ClusterError, match="not finished"):
        server_account().run(["sleep", "60"], ENVIRONMENT)


def test_root_without_an_account_to_borrow_is_told_how_to_get_one(monkeypatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(accounts, "BORROWED_ACCOUNTS", ("no-such-account", "root"))
    with pytest.raises(UsageError, match="useradd --system no-such-account"):
        server_account()


def test_an_account_without_a_name_is_called_by_its_number(monkeypatch) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert server_account().name == "54321"
    assert not server_account().borrowed


def test_the_first_closed_directory_is_found(tmp_path) -> None:
    stranger = Account("stranger", 54321, 54321, borrowed=True)
    closed = tmp_path / "closed"
    inside = closed / "deep" / "inside"
    inside.mkdir(parents=True)
    for path in (tmp_path, *tmp_path.parents[:-1]):
        if path.stat().st_uid == os.geteuid() and path.stat().st_mode & 0o001 == 0:
            assert stranger.unreachable_part(inside) is not None
    for mode, passable in ((0o700, False), (0o710, False), (0o711, True), (0o755, True)):
        closed.chmod(mode)
        assert stranger._may_pass(closed.stat()) == passable
    mine = Account("me", closed.stat().st_uid or 1, closed.stat().st_gid, borrowed=True)
    closed.chmod(0o710)
    assert mine._may_pass(closed.stat())
    assert Account("root", 0, 0, borrowed=False)._may_pass(closed.stat())
    assert Account("x", 1, 1, borrowed=True).unreachable_part(tmp_path.parents[-1] / "nowhere" / "x") is None
