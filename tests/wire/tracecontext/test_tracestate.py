"""Tracestate: the list as it came, and never longer than everybody passes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.wire.tracecontext.tracestate import (
    CHARACTERS_MAX,
    INPUT_MAX,
    LARGE_MEMBER,
    MEMBERS_MAX,
    format_tracestate,
    parse_tracestate,
    valid_member,
)

KEYS = st.builds(
    "".join,
    st.tuples(st.sampled_from("az09"), st.text("abcz059_-*/@", max_size=12)),
)
VALUES = st.builds(
    "{}{}{}".format,
    st.text(" !~abc/;:\"'{}", max_size=12),
    st.sampled_from(["", "x" * 30, "y" * 150]),
    st.sampled_from("!~a9"),
)
MEMBERS = st.dictionaries(KEYS, VALUES, max_size=MEMBERS_MAX)


def test_reads_in_order() -> None:
    members = parse_tracestate(["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"])
    assert list(members.items()) == [("rojo", "00f067aa0ba902b7"), ("congo", "t61rcWkgMzE")]


def test_leading_spaces_are_the_values() -> None:
    assert parse_tracestate(["a=  1  ,b=2"]) == {"a": "  1", "b": "2"}


@pytest.mark.parametrize(
    "fields",
    [
        ["a"],
        ["a="],
        ["=1"],
        ["a=1,b"],
        ["a=1;b=2,A=3"],
        ["a=1", "b"],
        ["a=\u00e9"],
        ["\u00e9=1"],
        ["a=1\x00"],
        ["a=1\n"],
        ["_a=1"],
        [f"a={'x' * 257}"],
    ],
)
def test_one_fault_empties_the_list(fields: list[str]) -> None:
    assert parse_tracestate(fields) == {}


def test_longest_list_is_read_and_what_is_longer_is_not_looked_at() -> None:
    longest = ",".join(f"{at:03}{'k' * 253}={'v' * 256}" for at in range(MEMBERS_MAX))
    assert len(longest) == INPUT_MAX
    assert len(parse_tracestate([longest])) == MEMBERS_MAX
    assert parse_tracestate([longest, " "]) == {}
    assert parse_tracestate(["a=1", "," * INPUT_MAX]) == {}
    assert parse_tracestate(["a=1" + "," * 100]) == {"a": "1"}


def kept(members: dict[str, str]) -> str:
    return "".join(parse_tracestate([format_tracestate(members)]))


def test_longer_members_go_first_then_the_oldest() -> None:
    large, larger, small = "l" * LARGE_MEMBER, "m" * 250, "s" * 120
    assert kept({"a": "1", "b": large, "c": "2", "d": larger, "e": small, "f": "3"}) == "abcef"
    assert kept({"a": "1", "b": large, "c": larger, **dict.fromkeys("defg", small)}) == "adefg"
    assert kept({"a": small, "b": small, "c": small, "d": small, "e": small, "f": "1"}) == "abcd"
    assert format_tracestate({}) == ""
    assert format_tracestate({"a": "x" * 600}) == ""


@pytest.mark.parametrize(("length", "left"), [(LARGE_MEMBER, "abc"), (LARGE_MEMBER + 1, "bcd")])
def test_what_large_means(length: int, left: str) -> None:
    others = {"b": "1" * 126, "c": "2" * 126, "d": "3" * 126}
    assert kept({"a": "x" * (length - 2), **others}) == left


def test_a_list_that_fits_exactly_stays() -> None:
    exact = {"a": "x" * 250, "b": "y" * 257}
    text = format_tracestate(exact)
    assert len(text) == CHARACTERS_MAX
    assert text == f"a={exact['a']},b={exact['b']}"
    assert format_tracestate({**exact, "a": "x" * 251}) == f"a={'x' * 251}"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("", "1"),
        ("A", "1"),
        ("a", ""),
        ("a", "1,2"),
        ("a", "1 "),
        ("a b", "1"),
        ("a=b", "c"),
        (1, "a"),
        ("a", 1),
    ],
)
def test_what_breaks_the_grammar_is_no_member(key: object, value: object) -> None:
    assert not valid_member(key, value)


@given(MEMBERS)
def test_what_is_read_is_what_was_written(members: dict[str, str]) -> None:
    texts = [f"{key}={value}" for key, value in members.items()]
    for fields in ([",".join(texts)], texts):
        assert list(parse_tracestate(fields).items()) == list(members.items())


@given(MEMBERS)
def test_whole_members_in_their_order_and_no_longer_than_allowed(members: dict[str, str]) -> None:
    text = format_tracestate(members)
    assert len(text) <= CHARACTERS_MAX
    left = parse_tracestate([text])
    assert list(left.items()) == [(key, value) for key, value in members.items() if key in left]
    whole = ",".join(f"{key}={value}" for key, value in members.items())
    assert (text == whole) == (len(whole) <= CHARACTERS_MAX)


@given(st.lists(st.one_of(st.text(max_size=60), st.text("ab=,@ \t1Z", max_size=60)), max_size=5))
def test_any_text_gives_members_that_obey_the_grammar(fields: list[str]) -> None:
    members = parse_tracestate(fields)
    assert all(valid_member(key, value) for key, value in members.items())
    assert len(members) <= MEMBERS_MAX
