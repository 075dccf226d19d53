"""Tracestate: the list as it came, ours in front, and never longer than everybody passes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.kernel.errors import UsageError
from seawall.wire.tracecontext.tracestate import (
    CHARACTERS_MAX,
    INPUT_MAX,
    LARGE_MEMBER,
    MEMBERS_MAX,
    drop_member,
    format_tracestate,
    parse_tracestate,
    put_member,
    valid_member,
)

KEYS = st.builds(
    "".join,
    st.tuples(st.sampled_from("az09"), st.text("abcz059_-*/@", max_size=12)),
)
VALUES = st.builds(
    "".join,
    st.tuples(
        st.text(" !~abc/;:\"'{}", max_size=12),
        st.sampled_from("!~a9"),
    ),
)
MEMBERS = st.lists(st.tuples(KEYS, VALUES), max_size=MEMBERS_MAX, unique_by=lambda member: member[0]).map(
    tuple
)


def test_reads_in_order() -> None:
    assert parse_tracestate(["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"]) == (
        ("rojo", "00f067aa0ba902b7"),
        ("congo", "t61rcWkgMzE"),
    )


def test_leading_spaces_are_the_values() -> None:
    assert parse_tracestate(["a=  1  ,b=2"]) == (("a", "  1"), ("b", "2"))


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
    assert parse_tracestate(fields) == ()


def test_longest_list_is_read_and_what_is_longer_is_not_looked_at() -> None:
    longest = ",".join(f"{at:03}{'k' * 253}={'v' * 256}" for at in range(MEMBERS_MAX))
    assert len(longest) == INPUT_MAX
    assert len(parse_tracestate([longest])) == MEMBERS_MAX
    assert parse_tracestate([longest, " "]) == ()
    assert parse_tracestate(["a=1", "," * INPUT_MAX]) == ()
    assert parse_tracestate(["a=1" + "," * 100]) == (("a", "1"),)


def test_longer_members_go_first_then_the_oldest() -> None:
    large, larger = "l" * LARGE_MEMBER, "m" * 250
    members = (("a", "1"), ("b", large), ("c", "2"), ("d", larger), ("e", "x" * 120), ("f", "y" * 20))
    text = format_tracestate(members)
    assert [member.split("=")[0] for member in text.split(",")] == ["a", "b", "c", "e", "f"]
    assert format_tracestate(members, 200).startswith("a=1,c=2,e=")
    assert format_tracestate(members, 10) == "a=1,c=2"
    assert format_tracestate(members, 2) == ""
    assert format_tracestate(()) == ""


@pytest.mark.parametrize(("length", "left"), [(LARGE_MEMBER, "b"), (LARGE_MEMBER + 1, "a")])
def test_what_large_means(length: int, left: str) -> None:
    members = (("b", "x" * (length - 2)), ("a", "1"))
    assert format_tracestate(members, length + 1)[0] == left


def test_a_list_that_fits_exactly_stays() -> None:
    exact = (("a", "x" * 250), ("b", "y" * 256), ("c", ""))
    text = ",".join(f"{key}={value}" for key, value in exact)
    assert len(text) == CHARACTERS_MAX + 2
    assert format_tracestate(exact, CHARACTERS_MAX + 2) == text
    assert format_tracestate(exact) == f"a={'x' * 250},c="


def test_ours_comes_first() -> None:
    members = (("rojo", "1"), ("congo", "2"))
    assert put_member(members, "ours", "3") == (("ours", "3"), *members)
    assert put_member(members, "congo", "3") == (("congo", "3"), ("rojo", "1"))
    assert drop_member(members, "rojo") == (("congo", "2"),)
    assert drop_member(members, "ours") == members


def test_a_full_list_loses_its_oldest() -> None:
    full = tuple((f"k{at}", "v") for at in range(MEMBERS_MAX))
    assert put_member(full, "ours", "1") == (("ours", "1"), *full[:-1])
    assert put_member(full, "k31", "1") == (("k31", "1"), *full[:-1])


@pytest.mark.parametrize(
    ("key", "value"), [("", "1"), ("A", "1"), ("a", ""), ("a", "1,2"), ("a", "1 "), ("a b", "1")]
)
def test_what_breaks_the_grammar_is_not_put(key: str, value: str) -> None:
    assert not valid_member(key, value)
    with pytest.raises(UsageError, match="tracestate member"):
        put_member((), key, value)


def test_what_is_no_text_is_no_member() -> None:
    assert not valid_member(1, "a")
    assert not valid_member("a", None)


@given(MEMBERS)
def test_what_is_written_is_read(members: tuple[tuple[str, str], ...]) -> None:
    assert parse_tracestate([format_tracestate(members, INPUT_MAX)]) == members
    # The same in pieces, as several fields.
    assert parse_tracestate([f"{key}={value}" for key, value in members]) == members


@given(MEMBERS, st.integers(0, 300))
def test_whole_members_in_their_order_and_no_longer_than_allowed(
    members: tuple[tuple[str, str], ...], limit: int
) -> None:
    text = format_tracestate(members, limit)
    assert len(text) <= limit
    left = parse_tracestate([text])
    positions = [members.index(member) for member in left]
    assert positions == sorted(positions)
    dropped = len(members) - len(left)
    assert dropped == 0 or len(format_tracestate(members, INPUT_MAX)) > limit


@given(MEMBERS, KEYS, VALUES)
def test_put_keeps_the_others_in_order(members: tuple[tuple[str, str], ...], key: str, value: str) -> None:
    after = put_member(members, key, value)
    assert after[0] == (key, value)
    assert len({name for name, _ in after}) == len(after) <= MEMBERS_MAX
    assert after[1:] == drop_member(members, key)[: MEMBERS_MAX - 1]


@given(st.lists(st.one_of(st.text(max_size=60), st.text("ab=,@ \t1Z", max_size=60)), max_size=5))
def test_any_text_gives_members_that_obey_the_grammar(fields: list[str]) -> None:
    members = parse_tracestate(fields)
    assert all(valid_member(key, value) for key, value in members)
    assert len({key for key, _ in members}) == len(members) <= MEMBERS_MAX
