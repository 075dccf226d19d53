import pytest

from seawall.app import config
from seawall.app.document import Entry, entries
from tests.app.ranges import RANGES

ENTRIES = {entry.path: entry for entry in entries()}
REQUIRED = {
    "auth.users": {"name": '"x"', "password": '"p"'},
    "databases": {"name": '"x"', "server_user": '"u"'},
    "backends.instances": {"name": '"x"', "host": '"h"'},
    **{
        f"telemetry.{door}": {"tls_certificate": "'/c.pem'", "tls_key": "'/c.key'"}
        for door in ("metrics", "status")
    },
    "failover": {"sole_proxy": "true", "probe_timeout": '"10ms"', "down_after": '"200s"'},
}
"""What a table needs beside the key under test."""
FOREIGN = (
    "\n[[auth.users]]\nname = 'zzz'\npassword = 'p'\n[[backends.instances]]\nname = 'zzz'\nhost = 'zzz'\n"
)


def document(entry: Entry, value: str) -> str:
    """A document in which one key has a value, and everything else is as it should be."""
    table = entry.path.rpartition(".")[0]
    keys = {**REQUIRED.get(table, {}), entry.name: value}
    for beside in ("password", "server_password"):
        if entry.name == f"{beside}_file":
            keys.pop(beside, None)
    lines = [f"{key} = {text}" for key, text in keys.items()]
    return "\n".join([entry.header, *lines, FOREIGN])


def complaints(entry: Entry, value: str) -> list[str]:
    """The paths that the loader complains about."""
    try:
        config.loads(document(entry, value), {})
    except config.ConfigError as error:
        return [problem.key for problem in error.problems]
    return []


def lax(path: str, paths: list[str]) -> list[str]:
    """Complaints but for those about the world: files that are not there, users that nobody declared."""
    world = ("auth.admin_users", "auth.stats_users", "replay.pin_sequences")
    return [found for found in paths if not (found.endswith("_file") or (path in world and found == path))]


def test_the_table_has_every_key_and_no_other() -> None:
    assert set(RANGES) == set(ENTRIES)


@pytest.mark.parametrize("path", RANGES)
def test_what_a_key_takes_is_taken(path: str) -> None:
    good, _ = RANGES[path]
    for value in good:
        assert lax(path, complaints(ENTRIES[path], value)) == [], value


@pytest.mark.parametrize("path", RANGES)
def test_what_a_key_refuses_is_refused_by_its_path(path: str) -> None:
    _, bad = RANGES[path]
    for value in bad:
        found = complaints(ENTRIES[path], value)
        assert [item for item in found if item.endswith(f".{ENTRIES[path].name}")], value


@pytest.mark.parametrize("path", RANGES)
def test_a_refusal_says_what_is_allowed_and_how_to_mend_it(path: str) -> None:
    entry = ENTRIES[path]
    with pytest.raises(config.ConfigError) as caught:
        config.loads(document(entry, RANGES[path][1][0]), {})
    problem = next(item for item in caught.value.problems if item.key.endswith(f".{entry.name}"))
    assert problem.allowed == entry.key.setting.allowed()
    assert problem.fix


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES.values() if not entry.required])
def test_a_default_is_a_value_that_the_key_takes(entry: Entry) -> None:
    if entry.default is None or entry.name == "listen_address":
        return
    value = list(entry.default) if isinstance(entry.default, tuple) else entry.default
    assert entry.key.setting.read(value) == entry.default
