"""Baggage: members and properties come through as they were, faults and excess are left off and counted."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.wire.tracecontext.baggage import (
    BYTES_MAX,
    MEMBERS_MAX,
    Baggage,
    BaggageText,
    Entry,
    Property,
    format_baggage,
    parse_baggage,
)

TOKEN = "!#$%&'*+-.^_`|~019azAZ"
NAMES = st.text(TOKEN, min_size=1, max_size=8)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ENTRIES = st.builds(
    Entry,
    NAMES,
    TEXTS,
    st.lists(st.builds(Property, NAMES, st.one_of(st.none(), TEXTS)), max_size=3).map(tuple),
)
ODD = "\t \"';=asdf!@#$%^&*()"


@pytest.mark.parametrize(
    ("field", "entries"),
    [
        ("SomeKey=SomeValue", [Entry("SomeKey", "SomeValue")]),
        (
            "SomeKey=SomeValue;SomeProp,SomeKey2=SomeValue2;ValueProp=PropVal",
            [
                Entry("SomeKey", "SomeValue", (Property("SomeProp"),)),
                Entry("SomeKey2", "SomeValue2", (Property("ValueProp", "PropVal"),)),
            ],
        ),
        (
            "SomeKey \t = \t SomeValue \t ; \t SomeProp \t , \t K \t = \t V \t ; \t P \t = \t W",
            [
                Entry("SomeKey", "SomeValue", (Property("SomeProp"),)),
                Entry("K", "V", (Property("P", "W"),)),
            ],
        ),
        ("k=v=equals", [Entry("k", "v=equals")]),
        ("k=v;p;p=1;p=2", [Entry("k", "v", (Property("p"), Property("p", "1"), Property("p", "2")))]),
        (f"k={quote(ODD)}", [Entry("k", ODD)]),
        (f"k=v;p={quote(ODD)}", [Entry("k", "v", (Property("p", ODD),))]),
        ("k=v;p%20%09%20%3D%20v", [Entry("k", "v", (Property("p%20%09%20%3D%20v"),))]),
        (
            "userId=Am%C3%A9lie,serverNode=DF%2028",
            [Entry("userId", "Am\u00e9lie"), Entry("serverNode", "DF 28")],
        ),
        ("k=", [Entry("k", "")]),
        ("k=%", [Entry("k", "%")]),
        ("k=%zz", [Entry("k", "%zz")]),
        ("k=%ff%41", [Entry("k", "\ufffdA")]),
        ("k=%E4%BD", [Entry("k", "\ufffd")]),
        ("a=1,a=2", [Entry("a", "1"), Entry("a", "2")]),
        ("%41=1", [Entry("%41", "1")]),
        ("k=a+b", [Entry("k", "a+b")]),
        (" , ,\t, ", []),
    ],
)
def test_reads_what_the_specification_says(field: str, entries: list[Entry]) -> None:
    assert parse_baggage([field]) == Baggage(tuple(entries))


def test_several_fields_are_one() -> None:
    fields = ["userId =   alice", "serverNode = DF%2028, isProduction = false"]
    assert parse_baggage(fields) == parse_baggage(["userId=alice,serverNode=DF%2028,isProduction=false"])


@pytest.mark.parametrize(
    "member",
    [
        "a",
        "=1",
        "a b=1",
        "a=1 2",
        'a="1"',
        "a=1\\2",
        "a=\u00e9",
        "\u00e9=1",
        "a=1;",
        "a=1;b c",
        "a=1;b=c d",
        "a=1\n",
    ],
)
def test_a_faulty_member_is_left_off_alone(member: str) -> None:
    assert parse_baggage([f"x=1,{member},y=2"]) == Baggage((Entry("x", "1"), Entry("y", "2")), 1)


def test_reads_no_more_members_than_the_grammar_has() -> None:
    field = ",".join(f"k{at}=v" for at in range(MEMBERS_MAX + 3))
    entries, dropped = parse_baggage([field])
    assert (len(entries), entries[-1].name, dropped) == (MEMBERS_MAX, f"k{MEMBERS_MAX - 1}", 3)


def test_no_member_is_cut_in_two() -> None:
    first = f"a={'x' * 4000}"
    exact = f"{first},b={'y' * (BYTES_MAX - len(first) - 3)}"
    assert len(exact) == BYTES_MAX
    assert [entry.name for entry in parse_baggage([exact]).entries] == ["a", "b"]
    assert parse_baggage([exact, "c=1", "d=2"]) == Baggage(parse_baggage([exact]).entries, 2)
    assert parse_baggage([exact + "y"]) == Baggage((Entry("a", "x" * 4000),), 1)
    assert parse_baggage([f"a={'x' * BYTES_MAX},b=1"]) == Baggage((), 2)


def test_every_platform_has_to_pass_on_that_much() -> None:
    many = [Entry(f"key{at}", "value") for at in range(64)]
    text, dropped = format_baggage(many)
    assert (text.count(","), dropped) == (63, 0)
    long = [Entry("a", "0123456789" * 819)]
    text, dropped = format_baggage(long)
    assert (len(text), dropped) == (BYTES_MAX, 0)


def test_what_is_too_much_is_left_off_and_what_still_fits_is_not() -> None:
    entries = [Entry("a", "1"), Entry("large", "x" * BYTES_MAX), Entry("b", "2")]
    assert format_baggage(entries) == BaggageText("a=1,b=2", 1)
    text, dropped = format_baggage([Entry(f"k{at}", "") for at in range(MEMBERS_MAX + 2)])
    assert (text.count(",") + 1, dropped) == (MEMBERS_MAX, 2)


def test_names_that_are_no_tokens_cannot_be_sent() -> None:
    entries = [Entry("a b", "1"), Entry("", "2"), Entry("c", "3", (Property("d e"),)), Entry("f", "4")]
    assert format_baggage(entries) == BaggageText("f=4", 3)


def test_writes_only_what_every_peer_reads_alike() -> None:
    assert format_baggage([Entry("k", 'a+b c%d,e;f\\g"h\u00e9', (Property("p", "x y"), Property("q")))]) == (
        BaggageText("k=a%2Bb%20c%25d%2Ce%3Bf%5Cg%22h%C3%A9;p=x%20y;q")
    )
    assert format_baggage([Entry("k", "\ud800")]) == BaggageText("k=?")


@given(st.lists(ENTRIES, max_size=20))
def test_what_is_written_is_read(entries: list[Entry]) -> None:
    text, dropped = format_baggage(entries)
    assert dropped == 0
    assert parse_baggage([text]) == Baggage(tuple(entries))


FIELDS = st.lists(st.one_of(st.text(max_size=80), st.text('ab=,;% \t2\u00e9"\\', max_size=80)), max_size=4)


@given(FIELDS)
def test_any_text_gives_entries_that_can_be_written_again(fields: list[str]) -> None:
    baggage = parse_baggage(fields)
    text, dropped = format_baggage(baggage.entries)
    assert dropped == 0
    assert parse_baggage([text]) == Baggage(baggage.entries)
    assert text.isascii()


@given(FIELDS)
def test_every_member_is_read_or_counted(fields: list[str]) -> None:
    members = [member for member in ",".join(fields).split(",") if member.strip(" \t")]
    entries, dropped = parse_baggage(fields)
    assert len(entries) + dropped == len(members)
