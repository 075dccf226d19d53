import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.embedded import configuration
from seawall.embedded.configuration import Upstream, server_configuration, setting_problems


def written(**changes) -> str:
    options = {
        "name": "pg1",
        "port": 5001,
        "socket_directory": "/tmp/s1",
        "authentication": "trust",
        "synchronous": False,
        "settings": {},
        "upstream": None,
    }
    return server_configuration(**{**options, **changes})


def values(text: str) -> dict[str, str]:
    """What a server would make of the file: one line per setting, quotes and backslashes doubled."""
    found = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"(\S+) = '(.*)'", line):
            found[match[1]] = re.sub(r"''|\\\\", lambda pair: pair[0][0], match[2])
    return found


def test_a_primary_follows_nobody_and_waits_for_nobody() -> None:
    found = values(written())
    assert found["port"] == "5001"
    assert "primary_conninfo" not in found
    assert "synchronous_standby_names" not in found
    assert "fsync" not in found


def test_a_replica_goes_by_its_nodes_name() -> None:
    found = values(written(upstream=Upstream("/tmp/it's", 5002)))
    assert "application_name='pg1'" in found["primary_conninfo"]
    assert r"host='/tmp/it\'s'" in found["primary_conninfo"]


def test_synchronous_means_any_one_replica() -> None:
    assert values(written(synchronous=True))["synchronous_standby_names"] == "ANY 1 (*)"


def test_the_callers_settings_win_over_the_defaults() -> None:
    assert values(written(settings={"max_connections": "7"}))["max_connections"] == "7"
    assert int(values(written())["max_connections"]) >= 200


def test_passwords_are_stored_for_the_method() -> None:
    assert values(written(authentication="md5"))["password_encryption"] == "md5"
    assert values(written(authentication="password"))["password_encryption"] == "scram-sha-256"
    assert configuration.client_authentication("md5").splitlines()[3].endswith(" md5")


@given(st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=40))
def test_no_value_gets_out_of_its_quotes(value) -> None:
    settings = {"seawall.odd": value}
    assert setting_problems(settings) == []
    text = written(settings=settings)
    assert values(text)["seawall.odd"] == value
    assert len(text.splitlines()) == len(written().splitlines()) + 1


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("port", "1", "the cluster decides"),
        ("Work_Mem", "1", "lower-case name"),
        ("a b", "1", "lower-case name"),
        ("work_mem'", "1", "lower-case name"),
        (7, "1", "lower-case name"),
        ("work_mem", 4, 'write "4"'),
        ("work_mem", "4\n5", "control characters"),
        ("work_mem", "x" * 3000, "shorten"),
    ],
)
def test_a_wrong_setting_is_named(key, value, message) -> None:
    (problem,) = setting_problems({key: value})
    assert problem.key == f"settings.{key}"
    assert message in str(problem)


def test_a_flood_of_settings_is_refused() -> None:
    assert setting_problems({f"a.b{number}": "1" for number in range(401)})[0].key == "settings"


@given(st.dictionaries(st.text() | st.integers(), st.text() | st.integers() | st.none(), max_size=5))
def test_any_settings_are_accepted_or_explained_one_by_one(settings) -> None:
    found = setting_problems(settings)
    assert len(found) <= len(settings)
    if not found:
        assert len(written(settings=settings).splitlines()) >= len(settings)
