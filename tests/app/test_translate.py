"""Nothing that the data plane can be told is left without a key, and no key that acts without a setting."""

import ast
from dataclasses import fields
from pathlib import Path

import pytest

from seawall.app import failover, sections
from seawall.proxy import settings

RENAMED = {
    "secret": "password",
    "server_secret": "server_password",
    "users": "users",
    "trust_loopback": "trust_loopback",
}
NOT_WRITTEN = {"extra"}
"""Filled from keys that the data plane doesn't know."""


RECORDS = [
    (settings.Backend, sections.BackendSection),
    (settings.User, sections.UserSection),
    (settings.Database, sections.DatabaseSection),
    (settings.Pooling, sections.PoolSection),
    (settings.Timeouts, sections.TimeoutsSection),
    (settings.PreAuthentication, sections.LimitsSection),
    (settings.Auth, sections.AuthSection),
    (settings.Failover, failover.FailoverSection),
    (settings.Replay, failover.ReplaySection),
]


def names(record: type) -> set[str]:
    """The fields of a record as the file would call them."""
    found = {field.name.removesuffix("_s") for field in fields(record)} - NOT_WRITTEN
    return {RENAMED.get(name, name) for name in found}


@pytest.mark.parametrize(("record", "section"), RECORDS)
def test_every_setting_has_its_key(record: type, section: type[sections.Section]) -> None:
    acting = {name for name, key in section.declarations().items() if key.acts or name in names(record)}
    tables = {"users"} if section is sections.AuthSection else set()
    assert {name for name in acting | tables if not name.endswith("_file")} == names(record)


def test_every_setting_of_the_whole_has_its_place() -> None:
    places = {
        "backends": "[[backends.instances]]",
        "listen": "proxy.listen_address",
        "workers": "proxy.workers",
        "busy_poll_s": "proxy.busy_poll",
        "databases": "[[databases]]",
        "pooling": "[pool]",
        "timeouts": "[timeouts]",
        "limits": "[limits]",
        "auth": "[auth]",
        "failover": "[failover]",
        "replay": "[replay]",
        "admin_database": "proxy.admin_database",
        "runtime_directory": "proxy.runtime_directory",
        "extra": "the sections that nothing acts on",
    }
    assert {field.name for field in fields(settings.ProxySettings)} == set(places)


HOMONYMS = {
    ("Backend", "max_connections"),
    ("User", "max_client_connections"),
    ("Database", "max_connections"),
}
"""Fields whose name another record has as well: the source doesn't say which of the two is read."""


JOINING = {settings.Failover, settings.Replay}
JOINING_FIELDS = {("User", "replay"), ("Database", "replay")}
"""Read by parts of the data plane that are being joined to it."""


def names_read() -> set[str]:
    """Every attribute that a module of the data plane reads."""
    found = set()
    for path in Path(settings.__file__).parent.rglob("*.py"):
        if path.name not in {"settings.py", "check.py", "check_socket.py"}:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return found


@pytest.mark.parametrize(("record", "section"), RECORDS)
def test_a_key_acts_if_the_data_plane_reads_its_setting(
    record: type, section: type[sections.Section]
) -> None:
    read = names_read()
    if record in JOINING:
        read |= {field.name for field in fields(record)}
    declared = section.declarations()
    for field in fields(record):
        key = declared.get(RENAMED.get(field.name, field.name.removesuffix("_s")))
        if key is not None and (record.__name__, field.name) not in HOMONYMS | JOINING_FIELDS:
            assert key.acts is (field.name in read), f"{record.__name__}.{field.name}: set `acts` right"
