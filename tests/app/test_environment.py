import pytest

from seawall.app.environment import DEPTH_MAX, FromEnvironment, expand

ENV = {"HOST": "db.internal", "EMPTY": "", "NESTED": "${HOST}"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("${HOST}", "db.internal"),
        ("a-${HOST}-${HOST}", "a-db.internal-db.internal"),
        ("${NONE:-x}", "x"),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY}", ""),
        ("${NONE:-}", ""),
        ("${NONE:-a:-b c}", "a:-b c"),
        ("${HOST:-x}", "db.internal"),
        ("$${HOST}", "${HOST}"),
        ("$${", "${"),
        ("$HOST", "$HOST"),
        ("$$HOST $", "$$HOST $"),
        ("${NESTED}", "${HOST}"),
    ],
)
def test_references_are_replaced_once(text: str, expected: str) -> None:
    result = expand({"key": text}, ENV)
    assert result.document == {"key": expected}
    assert (result.unset, result.malformed) == ({}, [])


def test_only_a_replaced_text_says_where_it_comes_from() -> None:
    document = expand({"a": "${HOST}", "b": "$${HOST}", "c": "x", "d": "${NONE:-1}"}, ENV).document
    assert [isinstance(document[key], FromEnvironment) for key in "abcd"] == [True, False, False, True]


def test_missing_variables_are_listed_by_place() -> None:
    document = {"t": {"list": ["x", {"key": "${A} ${B} ${A}"}]}}
    result = expand(document, {})
    assert result.unset == {("t", "list", 1, "key"): ("A", "B")}
    assert document == {"t": {"list": ["x", {"key": "${A} ${B} ${A}"}]}}


@pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${A", "${A-b}", "${HOST} ${", "${a b}"])
def test_what_is_no_reference_is_told_and_left_alone(text: str) -> None:
    result = expand({"key": text}, ENV)
    assert result.malformed == [("key",)]
    assert result.document == {"key": text}


def test_values_that_are_no_texts_and_keys_are_left_alone() -> None:
    document = {"${HOST}": 1, "b": [1.5, True]}
    assert expand(document, ENV).document == document


def test_what_is_nested_too_deep_is_not_looked_at() -> None:
    value: object = "${HOST}"
    for _ in range(DEPTH_MAX + 1):
        value = {"k": value}
    inner = expand({"k": value}, ENV).document
    while isinstance(inner, dict):
        inner = inner["k"]
    assert inner == "${HOST}"
