"""The cases of W3C's own test suite for Trace Context (w3c/trace-context, ``test/test.py``), as data.

Each is a request to a service and what the service's own request has to look like: the same trace or a new
one, and which members of ``tracestate``. Names are those of the suite's tests; a letter tells the requests
of one test apart. Strictness 2 and level 2 of the specification, which are the most the suite asks for.
"""

from __future__ import annotations

from dataclasses import dataclass

TRACE = "12345678901234567890123456789012"
SPAN = "1234567890123456"
VALID = f"00-{TRACE}-{SPAN}-01"
UNSAMPLED = f"00-{TRACE}-{SPAN}-00"

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One request to the service.

    Attributes:
        name: The suite's, without ``test_``.
        sent: Its headers that matter.
        continued: Whether the service goes on with the same trace; otherwise it starts one.
        state: Members of ``tracestate`` that the service sends on, in their order.
        flags: Flags that the service has to send on, as far as the caller decides on them.
    """

    name: str
    sent: Fields
    continued: bool
    state: Fields = ()
    flags: int = 0


def _new(name: str, *parents: str, header: str = "traceparent") -> Case:
    return Case(name=name, sent=tuple((header, parent) for parent in parents), continued=False)


def _same(name: str, parent: str, flags: int = 1, header: str = "traceparent") -> Case:
    return Case(name=name, sent=((header, parent),), continued=True, flags=flags)


def _state(name: str, fields: tuple[str, ...], state: Fields, header: str = "tracestate") -> Case:
    sent = (("traceparent", UNSAMPLED), *((header, field) for field in fields))
    return Case(name=name, sent=sent, continued=True, state=state)


def _numbered(first: int, last: int) -> str:
    return ",".join(f"bar{at:02}={at:02}" for at in range(first, last + 1))


TENS = (_numbered(1, 10), _numbered(11, 20), _numbered(21, 30))
KEY = "abcdefghijklmnopqrstuvwxyz0123456789_-*/"
VALUE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in ",=")
FOO: Fields = (("foo", "1"),)
FOO_BAR: Fields = (("foo", "1"), ("bar", "2"))
FOO_BAR_BAZ: Fields = (*FOO_BAR, ("baz", "3"))
FUTURE = "what-the-future-will-be-like"

PARENTS = (
    Case(name="both_traceparent_and_tracestate_missing", sent=(), continued=False),
    _same("traceparent_included_tracestate_missing", VALID),
    _new("traceparent_duplicated", f"00-{TRACE[:-1]}1-{SPAN}-01", VALID),
    _new("traceparent_header_name a", VALID, header="trace-parent"),
    _new("traceparent_header_name b", VALID, header="trace.parent"),
    _same("traceparent_header_name_valid_casing a", VALID, header="TraceParent"),
    _same("traceparent_header_name_valid_casing b", VALID, header="TrAcEpArEnT"),
    _same("traceparent_header_name_valid_casing c", VALID, header="TRACEPARENT"),
    _new("traceparent_version_0x00 a", f"{VALID}."),
    _new("traceparent_version_0x00 b", f"{VALID}-{FUTURE}"),
    _same("traceparent_version_0xcc a", f"cc-{TRACE}-{SPAN}-01"),
    _same("traceparent_version_0xcc b", f"cc-{TRACE}-{SPAN}-01-{FUTURE}"),
    _new("traceparent_version_0xcc c", f"cc-{TRACE}-{SPAN}-01.{FUTURE}"),
    _new("traceparent_version_0xff", f"ff-{TRACE}-{SPAN}-01"),
    _new("traceparent_version_illegal_characters a", f".0-{TRACE}-{SPAN}-01"),
    _new("traceparent_version_illegal_characters b", f"0.-{TRACE}-{SPAN}-01"),
    _new("traceparent_version_too_long a", f"000-{TRACE}-{SPAN}-01"),
    _new("traceparent_version_too_long b", f"0000-{TRACE}-{SPAN}-01"),
    _new("traceparent_version_too_short", f"0-{TRACE}-{SPAN}-01"),
    _new("traceparent_trace_id_all_zero", f"00-{'0' * 32}-{SPAN}-01"),
    _new("traceparent_trace_id_illegal_characters a", f"00-.{TRACE[1:]}-{SPAN}-01"),
    _new("traceparent_trace_id_illegal_characters b", f"00-{TRACE[:-1]}.-{SPAN}-01"),
    _new("traceparent_trace_id_too_long", f"00-{TRACE}3-{SPAN}-01"),
    _new("traceparent_trace_id_too_short", f"00-{TRACE[:-1]}-{SPAN}-01"),
    _new("traceparent_parent_id_all_zero", f"00-{TRACE}-{'0' * 16}-01"),
    _new("traceparent_parent_id_illegal_characters a", f"00-{TRACE}-.{SPAN[1:]}-01"),
    _new("traceparent_parent_id_illegal_characters b", f"00-{TRACE}-{SPAN[:-1]}.-01"),
    _new("traceparent_parent_id_too_long", f"00-{TRACE}-{SPAN}7-01"),
    _new("traceparent_parent_id_too_short", f"00-{TRACE}-{SPAN[:-1]}-01"),
    _new("traceparent_trace_flags_illegal_characters a", f"00-{TRACE}-{SPAN}-.0"),
    _new("traceparent_trace_flags_illegal_characters b", f"00-{TRACE}-{SPAN}-0."),
    _new("traceparent_trace_flags_too_long", f"00-{TRACE}-{SPAN}-001"),
    _new("traceparent_trace_flags_too_short", f"00-{TRACE}-{SPAN}-1"),
    _same("traceparent_ows_handling a", f" {VALID}"),
    _same("traceparent_ows_handling b", f"\t{VALID}"),
    _same("traceparent_ows_handling c", f"{VALID} "),
    _same("traceparent_ows_handling d", f"{VALID}\t"),
    _same("traceparent_ows_handling e", f"\t {VALID} \t"),
    _same("propagates_random_flag", f"00-{TRACE}-{SPAN}-02", flags=2),
)

STATES = (
    Case(name="tracestate_included_traceparent_missing a", sent=(("tracestate", "foo=1"),), continued=False),
    Case(
        name="tracestate_included_traceparent_missing b",
        sent=(("tracestate", "foo=1,bar=2"),),
        continued=False,
    ),
    _state("tracestate_included_traceparent_included", ("foo=1,bar=2",), FOO_BAR),
    _state("tracestate_header_name a", ("foo=1",), (), header="trace-state"),
    _state("tracestate_header_name b", ("foo=1",), (), header="trace.state"),
    _state("tracestate_header_name_valid_casing a", ("foo=1",), FOO, header="TraceState"),
    _state("tracestate_header_name_valid_casing b", ("foo=1",), FOO, header="TrAcEsTaTe"),
    _state("tracestate_header_name_valid_casing c", ("foo=1",), FOO, header="TRACESTATE"),
    _state("tracestate_empty_header a", ("",), ()),
    _state("tracestate_empty_header b", ("foo=1", ""), FOO),
    _state("tracestate_empty_header c", ("", "foo=1"), FOO),
    _state(
        "tracestate_multiple_headers_different_keys",
        ("foo=1,bar=2", "rojo=1,congo=2", "baz=3"),
        (*FOO_BAR, ("rojo", "1"), ("congo", "2"), ("baz", "3")),
    ),
    # The suite lets one of the two be dropped; the first is the newer.
    _state("tracestate_duplicated_keys a", ("foo=1,foo=1",), FOO),
    _state("tracestate_duplicated_keys b", ("foo=1,foo=2",), FOO),
    _state("tracestate_duplicated_keys c", ("foo=1", "foo=1"), FOO),
    _state("tracestate_duplicated_keys d", ("foo=1", "foo=2"), FOO),
    _state("tracestate_all_allowed_characters a", (f"{KEY}={VALUE}",), ((KEY, VALUE),)),
    _state(
        "tracestate_all_allowed_characters b",
        (f"{KEY}@a-z0-9_-*/={VALUE}",),
        ((f"{KEY}@a-z0-9_-*/", VALUE),),
    ),
    _state("tracestate_ows_handling a", ("foo=1 \t , \t bar=2, \t baz=3",), FOO_BAR_BAZ),
    _state("tracestate_ows_handling b", ("foo=1\t \t,\t \tbar=2,\t \tbaz=3",), FOO_BAR_BAZ),
    _state("tracestate_ows_handling c", (" foo=1",), FOO),
    _state("tracestate_ows_handling d", ("\tfoo=1",), FOO),
    _state("tracestate_ows_handling e", ("foo=1 ",), FOO),
    _state("tracestate_ows_handling f", ("foo=1\t",), FOO),
    _state("tracestate_ows_handling g", ("\t foo=1 \t",), FOO),
    _state("tracestate_key_illegal_characters a", ("foo =1",), ()),
    _state("tracestate_key_illegal_characters b", ("FOO=1",), ()),
    _state("tracestate_key_illegal_characters c", ("foo.bar=1",), ()),
    _state("tracestate_key_illegal_vendor_format a", ("foo@=1,bar=2",), (("foo@", "1"), ("bar", "2"))),
    _state("tracestate_key_illegal_vendor_format b", ("@foo=1,bar=2",), ()),
    _state(
        "tracestate_key_illegal_vendor_format c", ("foo@@bar=1,bar=2",), (("foo@@bar", "1"), ("bar", "2"))
    ),
    _state(
        "tracestate_key_illegal_vendor_format d",
        ("foo@bar@baz=1,bar=2",),
        (("foo@bar@baz", "1"), ("bar", "2")),
    ),
    _state(
        "tracestate_member_count_limit a",
        (*TENS, _numbered(31, 32)),
        tuple((f"bar{at:02}", f"{at:02}") for at in range(1, 33)),
    ),
    _state("tracestate_member_count_limit b", (*TENS, _numbered(31, 33)), ()),
    _state("tracestate_key_length_limit a", ("foo=1", f"{'z' * 256}=1"), (*FOO, ("z" * 256, "1"))),
    _state("tracestate_key_length_limit b", ("foo=1", f"{'z' * 257}=1"), ()),
    _state(
        "tracestate_key_length_limit c",
        ("foo=1", f"{'t' * 241}@{'v' * 14}=1"),
        (*FOO, (f"{'t' * 241}@{'v' * 14}", "1")),
    ),
    _state("tracestate_key_length_limit d", ("foo=1", f"{'t' * 242}@v=1"), (*FOO, (f"{'t' * 242}@v", "1"))),
    _state("tracestate_key_length_limit e", ("foo=1", f"t@{'v' * 15}=1"), (*FOO, (f"t@{'v' * 15}", "1"))),
    _state("tracestate_value_illegal_characters a", ("foo=bar=baz",), ()),
    _state("tracestate_value_illegal_characters b", ("foo=,bar=3",), ()),
)

REPEATED = (
    _same("multiple_requests_with_valid_traceparent", VALID),
    Case(name="multiple_requests_without_traceparent", sent=(), continued=False),
    _new("multiple_requests_with_illegal_traceparent", f"00-{'0' * 32}-{SPAN}-01"),
)
"""The service sends three requests for each of these."""

SUITE_TESTS = 41
"""How many tests the suite has."""
