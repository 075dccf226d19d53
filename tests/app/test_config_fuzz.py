"""Arbitrary documents: a configuration is accepted, or ``ConfigError`` says why; nothing else can happen."""

import json
import re
import string

from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.app import config
from seawall.app.document import Entry, entries
from tests.app.minimal import MINIMAL
from tests.app.ranges import RANGES

ENTRIES = list(entries())
SECRET = "hunter2-never-shown"
CONTRADICTING = {
    *("proxy.unix_directory", "auth.admin_users", "auth.stats_users", "pool.min_size"),
    *("limits.connections_per_address", "health_checks.timeout"),
    *("circuit_breaker.latency_threshold_p99_ms", "circuit_breaker.metrics_bucket_size"),
    *("failover.authority", "failover.patroni", "failover.topology", "failover.down_after"),
    *("failover.password", "failover.password_file", "replay.pin_sequences"),
    *(
        f"telemetry.{door}.{key}"
        for door in ("metrics", "status")
        for key in ("host", "token", "token_file", "tls_certificate", "tls_key", "tls_client_ca")
    ),
}
"""Keys of plain tables that are compared with others."""
ENV = {"SET": "5", "EMPTY": "", "SECRET": SECRET}

texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["${SET}", "${UNSET}", "${UNSET:-5s}", "${EMPTY}", "${SECRET}", "${", "$${", "5%", "30s", "a:1"]
    ),
)
scalars = st.one_of(
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.integers(-2, 100),
    st.floats(),
    texts,
    st.datetimes(),
    st.dates(),
    st.times(),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(sorted({part for entry in ENTRIES for part in entry.path.split(".")})) | st.text(
    string.ascii_lowercase + "_", min_size=1, max_size=12
)
trees = st.recursive(
    values,
    lambda inner: st.dictionaries(names, inner, max_size=6) | st.lists(inner, max_size=3),
    max_leaves=10,
)
documents = st.dictionaries(names, trees, max_size=4)


def toml(value: object) -> str:
    """A value as TOML's inline form."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    if isinstance(value, str):
        return quoted(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value).replace("e+", "e")


def quoted(text: str) -> str:
    """A text as TOML's basic string."""
    clean = text.encode("utf-8", "replace").decode()
    return re.sub(r"\x7f", r"\\u007f", json.dumps(clean, ensure_ascii=False))


def outcome(text: str) -> config.Loaded | config.ConfigError:
    """What becomes of a document; whatever else is raised is what these tests look for."""
    try:
        return config.loads(text, ENV)
    except config.ConfigError as error:
        return error


@settings(max_examples=50)
@given(documents)
def test_a_tree_is_accepted_or_explained(document: dict[str, object]) -> None:
    found = outcome("\n".join(f"{quoted(key)} = {toml(value)}" for key, value in document.items()))
    assert SECRET not in str(found)
    if isinstance(found, config.ConfigError):
        assert found.problems
        assert all(item.key and item.allowed for item in found.problems)


@given(st.text(max_size=200))
def test_any_text_is_accepted_or_explained(text: str) -> None:
    assert isinstance(outcome(text), config.Loaded | config.ConfigError)


@given(st.sampled_from(ENTRIES), values)
def test_any_value_of_any_key_is_accepted_or_blamed_on_that_key(entry: Entry, value: object) -> None:
    table = {entry.name: value}
    if entry.header.startswith("[["):
        table = {"name": "x", "host": "h", "password": "p"} | table
        table = {key: item for key, item in table.items() if key in entry.section.model_fields}
    text = entry.header + "\n" + "\n".join(f"{key} = {toml(item)}" for key, item in table.items())
    found = outcome(f"{text}\n{MINIMAL}")
    assert SECRET not in str(found)
    if isinstance(found, config.ConfigError):
        # Contradictions name one key of the section; nothing outside the section is to blame.
        section = entry.path.partition(".")[0]
        assert {item.key.partition(".")[0].partition("[")[0] for item in found.problems} == {section}


GOOD = [(entry, text) for entry in ENTRIES if "[[" not in entry.header for text in RANGES[entry.path][0]]


@given(st.lists(st.sampled_from(GOOD), max_size=20, unique_by=lambda pair: pair[0].path))
def test_keys_that_are_right_by_themselves_can_only_contradict(chosen: list[tuple[Entry, str]]) -> None:
    tables: dict[str, list[str]] = {}
    for entry, text in chosen:
        tables.setdefault(entry.header, []).append(f"{entry.name} = {text}")
    lines = [line for header, keys in tables.items() for line in [header, *keys]]
    found = outcome("\n".join(lines) + "\n" + MINIMAL)
    if isinstance(found, config.ConfigError):
        assert {problem.key for problem in found.problems} <= CONTRADICTING


@given(
    st.lists(st.sampled_from([entry for entry in ENTRIES if not entry.header.startswith("[[")]), max_size=20)
)
def test_writing_defaults_changes_nothing(chosen: list[Entry]) -> None:
    tables: dict[str, dict[str, object]] = {}
    for entry in chosen:
        if entry.default is not None and entry.name != "listen_address":
            plain = list(entry.default) if isinstance(entry.default, tuple) else entry.default
            tables.setdefault(entry.header, {})[entry.name] = plain
    text = "\n".join(
        line
        for header, table in tables.items()
        for line in [header, *(f"{key} = {toml(value)}" for key, value in table.items())]
    )
    plain_settings = config.loads(MINIMAL, ENV).settings
    assert config.loads(f"{text}\n{MINIMAL}", ENV).settings == plain_settings
