import pickle

import pytest

from seawall.embedded import ClusterError, StatementFailed, building
from seawall.embedded.accounts import Account, server_account
from seawall.kernel.errors import UsageError

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({}, False),
        ({"max_connections": "300", "work_mem": "4MB"}, False),
        ({"max_connections": "99"}, True),
        ({"max_worker_processes": "1"}, True),
        ({"max_wal_senders": "many"}, True),
    ],
)
def test_settings_below_what_initdb_noted_need_a_first_start(settings, refused) -> None:
    assert building.refused_by_copies(settings) == refused


def test_a_socket_goes_into_the_nodes_directory_if_its_path_is_short_and_plain(place) -> None:
    account = server_account()
    assert building.socket_directory_for(place, "pg1", account) == place / "pg1" / "socket"
    for odd in (place / ("x" * 100), place / "a,b", place / "ä"):
        found = building.socket_directory_for(odd, "pg1", account)
        assert found.parent == place.parent
        assert found != building.socket_directory_for(odd, "pg2", account)


def test_no_short_path_at_all_is_told(place, monkeypatch) -> None:
    monkeypatch.setattr(building, "scratch_directory", lambda account: place / ("x" * 100))
    with pytest.raises(UsageError, match="set TMPDIR to a short plain path"):
        building.socket_directory_for(place / ("x" * 100), "pg1", server_account())


def test_initdb_falls_back_to_the_locale_that_everybody_has(server, monkeypatch) -> None:
    tried = []

    def run(self: Account, command: list[str], environment: dict[str, str]) -> str:
        tried.append(command[-1])
        if command[-1] == "--locale=C":
            return ""
        raise ClusterError("initdb", 'exit status 1\ninitdb: error: invalid locale name "C.UTF-8"')

    monkeypatch.setattr(Account, "run", run)
    building.initialise(server.nodes[0])
    assert tried == ["--locale=C.UTF-8", "--locale=C"]
    monkeypatch.setattr(building, "LOCALES", ("C.UTF-8",))
    with pytest.raises(ClusterError, match="neither of the locales"):
        building.initialise(server.nodes[0])


def test_another_failure_of_initdb_is_told_at_once(server) -> None:
    with pytest.raises(ClusterError, match="exists but is not empty"):
        building.initialise(server.nodes[0])


def test_a_running_server_is_not_copied_as_files(server) -> None:
    (node,) = server.nodes
    with pytest.raises(ClusterError, match=r"use back_up\(\)"):
        building.copy_data(node, node)
    with pytest.raises(ClusterError, match="stop it first"):
        building.back_up(node, node)


def test_a_statements_error_crosses_process_borders() -> None:
    error = pickle.loads(pickle.dumps(StatementFailed("42P01", "no such table")))
    assert (error.sqlstate, error.message, str(error)) == ("42P01", "no such table", "42P01: no such table")
