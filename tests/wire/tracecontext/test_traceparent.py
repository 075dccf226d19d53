"""Traceparent: version 00 to the letter, later ones as far as they are known, nothing else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.kernel.errors import UsageError
from seawall.wire.tracecontext.traceparent import (
    KNOWN_FLAGS,
    RANDOM,
    SAMPLED,
    format_traceparent,
    parse_traceparent,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{SPAN}-01"


def test_reads_the_example_of_the_specification() -> None:
    assert parse_traceparent(VALID) == (0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, SAMPLED)


@pytest.mark.parametrize(
    ("text", "flags"),
    [("00", 0), ("01", SAMPLED), ("02", RANDOM), ("03", KNOWN_FLAGS), ("fd", SAMPLED), ("fc", 0)],
)
def test_flags_are_bits_and_unknown_ones_are_cleared(text: str, flags: int) -> None:
    read = parse_traceparent(f"00-{TRACE}-{SPAN}-{text}")
    assert read is not None
    assert read[2] == flags


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        VALID.upper(),
        VALID.replace("-", "_"),
        VALID + "\n",
        "\n" + VALID,
        "\u00a0" + VALID,
        VALID + "-",
        f"{VALID},{VALID}",
        f"00-{TRACE.replace('4', '٤')}-{SPAN}-01",
        f"00-{TRACE[:-2]}_{TRACE[-1:]}-{SPAN}-01",
        f"00-0x{TRACE[2:]}-{SPAN}-01",
        f"00-+{TRACE[1:]}-{SPAN}-01",
        f"0F-{TRACE}-{SPAN}-01",
        f"cc-{TRACE.upper()}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-0",
        f"cc-{TRACE}-{SPAN}-011",
        f"cc-{'0' * 32}-{SPAN}-01",
        f"cc-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01-later",
    ],
)
def test_anything_else_is_none(text: str) -> None:
    assert parse_traceparent(text) is None


@pytest.mark.parametrize("version", ["01", "10", "a0", "cc", "fe", "f0"])
@pytest.mark.parametrize("tail", ["", "-", "-x", "-\u20ac\n", " \t"])
def test_later_versions_are_read_as_far_as_they_are_known(version: str, tail: str) -> None:
    assert parse_traceparent(f"{version}-{TRACE}-{SPAN}-ff{tail}") == (
        int(TRACE, 16),
        int(SPAN, 16),
        SAMPLED | RANDOM,
    )


def test_writes_version_00() -> None:
    assert format_traceparent(int(TRACE, 16), int(SPAN, 16), SAMPLED) == VALID
    assert format_traceparent(1, 1) == f"00-{'0' * 31}1-{'0' * 15}1-00"
    assert format_traceparent(2**128 - 1, 2**64 - 1, 0xFF) == f"00-{'f' * 32}-{'f' * 16}-03"


@pytest.mark.parametrize(("trace_id", "span_id"), [(0, 1), (1, 0), (-1, 1), (1, -1), (2**128, 1), (1, 2**64)])
def test_ids_out_of_range_are_refused(trace_id: int, span_id: int) -> None:
    with pytest.raises(UsageError, match=r"must be 1 to 2\*\*128 - 1"):
        format_traceparent(trace_id, span_id)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255))
def test_what_is_written_is_read(trace_id: int, span_id: int, flags: int) -> None:
    assert parse_traceparent(format_traceparent(trace_id, span_id, flags)) == (trace_id, span_id, flags & 3)


HEX = st.text("0123456789abcdefF-. ", min_size=0, max_size=40)
NEARLY = st.builds(
    "{}-{}-{}-{}{}".format,
    st.sampled_from(["00", "01", "cc", "fe", "ff", "0", "0g", "000"]),
    st.one_of(st.just(TRACE), st.just("0" * 32), HEX),
    st.one_of(st.just(SPAN), st.just("0" * 16), HEX),
    st.one_of(st.sampled_from(["00", "01", "03", "ff", "0", "0G"]), HEX),
    st.one_of(st.just(""), st.text(max_size=5)),
)
GRAMMAR = re.compile(
    r"[ \t]*(?:00-(?P<t0>[0-9a-f]{32})-(?P<s0>[0-9a-f]{16})-[0-9a-f]{2}[ \t]*"
    r"|(?!ff|00)[0-9a-f]{2}-(?P<t>[0-9a-f]{32})-(?P<s>[0-9a-f]{16})-[0-9a-f]{2}(?:[ \t]*|-[\s\S]*))"
)


@given(st.one_of(st.text(), NEARLY))
def test_any_text_gives_what_the_grammar_says(text: str) -> None:
    match = GRAMMAR.fullmatch(text)
    read = parse_traceparent(text)
    ids = None if match is None else (int(match["t0"] or match["t"], 16), int(match["s0"] or match["s"], 16))
    assert (read[:2] if read else None) == (ids if ids and all(ids) else None)
    if read is not None:
        again = format_traceparent(*read)
        assert parse_traceparent(again) == read
        if text.startswith("00"):
            assert again[:-2] == text[:53]
