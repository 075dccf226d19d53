import copy
import pickle
from collections.abc import Callable

import pytest

from seawall.kernel.errors import ValidationError
from seawall.wire.pgwire import messages
from seawall.wire.pgwire.messages import Column, ProtocolViolation
from tests.wire.cut import body, cut

LAYOUTS = [
    # Written out from PostgreSQL's documentation, "Message Formats".
    (messages.authentication_ok(), b"R\0\0\0\x08\0\0\0\0"),
    (messages.authentication_cleartext(), b"R\0\0\0\x08\0\0\0\x03"),
    (messages.authentication_md5(b"salt"), b"R\0\0\0\x0c\0\0\0\x05salt"),
    (messages.authentication_sasl(["A", "B"]), b"R\0\0\0\x0d\0\0\0\x0aA\0B\0\0"),
    (messages.authentication_sasl_continue(b"r=x"), b"R\0\0\0\x0b\0\0\0\x0br=x"),
    (messages.authentication_sasl_final(b"v=x"), b"R\0\0\0\x0b\0\0\0\x0cv=x"),
    (messages.backend_key_data(258, b"\xff\0\0\x01"), b"K\0\0\0\x0c\0\0\x01\x02\xff\0\0\x01"),
    (messages.backend_key_data(-1, b"k" * 32), b"K\0\0\0\x28\xff\xff\xff\xff" + b"k" * 32),
    (messages.parameter_status("a", "b"), b"S\0\0\0\x08a\0b\0"),
    (messages.ready_for_query(b"I"), b"Z\0\0\0\x05I"),
    (messages.negotiate_protocol_version(2, ["_pq_.x"]), b"v\0\0\0\x13\0\x03\0\x02\0\0\0\x01_pq_.x\0"),
    (messages.negotiate_protocol_version(0x30002, []), b"v\0\0\0\x0c\0\x03\0\x02\0\0\0\0"),
    (messages.error_response("08P01", "m"), b"E\0\0\0\x1dSERROR\0VERROR\0C08P01\0Mm\0\0"),
    (
        messages.notice_response("00000", "m", detail="d", hint="h"),
        b"N\0\0\0\x25SNOTICE\0VNOTICE\0C00000\0Mm\0Dd\0Hh\0\0",
    ),
    (
        messages.row_description([("n", 25)]),
        b"T\0\0\0\x1a\0\x01n\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0",
    ),
    (messages.data_row([b"x", None, b""]), b"D\0\0\0\x13\0\x03\0\0\0\x01x\xff\xff\xff\xff\0\0\0\0"),
    (messages.command_complete("SELECT 1"), b"C\0\0\0\x0dSELECT 1\0"),
    (messages.empty_query_response(), b"I\0\0\0\x04"),
    (messages.PARSE_COMPLETE, b"1\0\0\0\x04"),
    (messages.BIND_COMPLETE, b"2\0\0\0\x04"),
    (messages.CLOSE_COMPLETE, b"3\0\0\0\x04"),
    (messages.NO_DATA, b"n\0\0\0\x04"),
    (messages.startup_message({"user": "u"}), b"\0\0\0\x10\0\x03\0\0user\0u\0\0"),
    (messages.startup_message({}, minor=9999), b"\0\0\0\x09\0\x03\x27\x0f\0"),
    (messages.ssl_request(), b"\0\0\0\x08\x04\xd2\x16\x2f"),
    (messages.cancel_request(1, b"key!"), b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01key!"),
    (messages.password_message(b"pw"), b"p\0\0\0\x07pw\0"),
    (messages.sasl_initial_response("M", b"n,,"), b"p\0\0\0\x0dM\0\0\0\0\x03n,,"),
    (messages.sasl_response(b"c="), b"p\0\0\0\x06c="),
    (messages.query("select 1"), b"Q\0\0\0\x0dselect 1\0"),
    (messages.parse("s", "q", [23]), b"P\0\0\0\x0es\0q\0\0\x01\0\0\0\x17"),
    (messages.bind("p", "s", [b"v", None]), b"B\0\0\0\x17p\0s\0\0\0\0\x02\0\0\0\x01v\xff\xff\xff\xff\0\0"),
    (messages.describe_statement("s"), b"D\0\0\0\x07Ss\0"),
    (messages.describe_portal("p"), b"D\0\0\0\x07Pp\0"),
    (messages.execute(), b"E\0\0\0\x09\0\0\0\0\0"),
    (messages.execute("p", 7), b"E\0\0\0\x0ap\0\0\0\0\x07"),
    (messages.close_statement("s"), b"C\0\0\0\x07Ss\0"),
    (messages.close_portal("p"), b"C\0\0\0\x07Pp\0"),
    (messages.sync(), b"S\0\0\0\x04"),
    (messages.flush(), b"H\0\0\0\x04"),
    (messages.terminate(), b"X\0\0\0\x04"),
]


@pytest.mark.parametrize(("built", "documented"), LAYOUTS)
def test_messages_are_laid_out_as_documented(built: bytes, documented: bytes) -> None:
    assert built == documented


WITH_NUL: list[Callable[[], bytes]] = [
    lambda: messages.authentication_sasl(["a\0b"]),
    lambda: messages.parameter_status("a\0b", "x"),
    lambda: messages.parameter_status("x", "a\0b"),
    lambda: messages.negotiate_protocol_version(0, ["a\0b"]),
    lambda: messages.row_description([("a\0b", 25)]),
    lambda: messages.command_complete("a\0b"),
    lambda: messages.startup_message({"a\0b": "x"}),
    lambda: messages.startup_message({"x": "a\0b"}),
    lambda: messages.password_message(b"a\0b"),
    lambda: messages.sasl_initial_response("a\0b", b""),
    lambda: messages.query("a\0b"),
    lambda: messages.parse("a\0b", ""),
    lambda: messages.parse("", "a\0b"),
    lambda: messages.bind("a\0b", "", []),
    lambda: messages.bind("", "a\0b", []),
    lambda: messages.describe_statement("a\0b"),
    lambda: messages.describe_portal("a\0b"),
    lambda: messages.execute("a\0b"),
    lambda: messages.close_statement("a\0b"),
    lambda: messages.close_portal("a\0b"),
]


@pytest.mark.parametrize("build", WITH_NUL)
def test_a_nul_in_a_string_is_refused_without_showing_the_text(build: Callable[[], bytes]) -> None:
    with pytest.raises(ValidationError, match="NUL") as refused:
        build()
    assert "a\0b" not in str(refused.value)


def test_text_that_is_no_utf8_leaves_as_it_came() -> None:
    name = messages.decode(b"caf\xe9")
    assert body(messages.query(name)) == b"caf\xe9\0"


def test_a_surrogate_that_came_from_nowhere_is_refused() -> None:
    with pytest.raises(ValidationError, match="surrogate at character 1"):
        messages.query("a\ud800")


WRONG_NUMBERS: list[tuple[Callable[[], bytes], str]] = [
    (lambda: messages.backend_key_data(2**31, b"1234"), "pid = 2147483648"),
    (lambda: messages.cancel_request(-(2**31) - 1, b"1234"), "pid = -2147483649"),
    (lambda: messages.execute("", 2**31), "limit = "),
    (lambda: messages.parse("", "", [-1]), "type = -1"),
    (lambda: messages.row_description([("a", 2**32)]), "a = 4294967296"),
    (lambda: messages.parse("", "", [0] * 65_536), "65536 of them"),
    (lambda: messages.data_row([None] * 65_536), "65536 of them"),
    (lambda: messages.authentication_md5(b"12345"), "5 bytes"),
    (lambda: messages.ready_for_query(b"X"), "b'X'"),
    (lambda: messages.error_response("1234", "m"), "'1234'"),
    (lambda: messages.notice_response("0000\n", "m"), "sqlstate"),
    (lambda: messages.startup_message({"": "x"}), "name is empty"),
]


@pytest.mark.parametrize(("build", "complaint"), WRONG_NUMBERS)
def test_what_the_protocol_cannot_say_is_refused_by_name_and_value(
    build: Callable[[], bytes], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint):
        build()


def test_a_message_longer_than_postgresql_takes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "MAX_MESSAGE_BYTES", 20)
    assert messages.query("x" * 15)
    with pytest.raises(ValidationError, match="21 bytes"):
        messages.query("x" * 16)


def test_the_most_values_that_fit_do_fit() -> None:
    assert messages.parse_data_row(body(messages.data_row([None] * 65_535))) == [None] * 65_535


# --- reports ---


def test_a_report_comes_back_as_its_fields() -> None:
    report = messages.error_response("57P01", "bye", severity="FATAL", detail="d", hint="h")
    assert messages.parse_fields(body(report)) == {
        "S": "FATAL", "V": "FATAL", "C": "57P01", "M": "bye", "D": "d", "H": "h",
    }  # fmt: skip


def test_a_report_never_fails_for_what_it_reports() -> None:
    report = messages.error_response("08P01", "a\0b", detail="\ud800 lone", hint=messages.decode(b"\xff"))
    assert cut(report)[0][1].endswith(b"Ma b\0D? lone\0H\xff\0\0")


@pytest.mark.parametrize("empty", [b"", b"\0"])
def test_a_report_without_any_field_is_still_an_error(empty: bytes) -> None:
    assert messages.parse_fields(empty) == {"S": "ERROR", "C": "XX000", "M": ""}


@pytest.mark.parametrize(
    "code", [b"", b"C\0", b"C5\0", b"C57p01\0", b"C\xff\xff\xff\xff\xff\0", b"C57P011\0"]
)
def test_a_report_without_a_proper_sqlstate_is_an_internal_error(code: bytes) -> None:
    fields = messages.parse_fields(b"SFATAL\0" + code + b"Mgone\0\0")
    assert fields == {"S": "FATAL", "C": "XX000", "M": "gone"}
    assert messages.error_response(fields["C"], fields["M"])


def test_a_report_may_end_without_its_terminator() -> None:
    assert messages.parse_fields(b"Mgone\0")["M"] == "gone"


@pytest.mark.parametrize("broken", [b"Mgone", b"M", b"Mgone\0\0more"])
def test_a_report_that_is_cut_off_or_goes_on_is_a_violation(broken: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        messages.parse_fields(broken)


# --- parsers ---


def test_columns_come_back_with_all_they_say() -> None:
    described = b"\0\x01id\0\0\0\x40\0\0\x02\0\0\0\x17\0\x04\xff\xff\xff\xff\0\x01"
    assert messages.parse_row_description(described) == [Column("id", 16384, 2, 23, 4, -1, 1)]


@pytest.mark.parametrize(
    ("parser", "broken"),
    [
        (messages.parse_parameter_status, b""),
        (messages.parse_parameter_status, b"a\0"),
        (messages.parse_parameter_status, b"a\0b"),
        (messages.parse_parameter_status, b"a\0b\0c"),
        (messages.parse_backend_key_data, b""),
        (messages.parse_backend_key_data, b"\0\0\0\x01abc"),
        (messages.parse_backend_key_data, b"\0\0\0\x01" + b"k" * 257),
        (messages.parse_data_row, b"\0"),
        (messages.parse_data_row, b"\0\x01"),
        (messages.parse_data_row, b"\0\x01\0\0\0\x02x"),
        (messages.parse_data_row, b"\0\x01\xff\xff\xff\xfe"),
        (messages.parse_data_row, b"\0\x01\x80\0\0\0"),
        (messages.parse_data_row, b"\0\0x"),
        (messages.parse_row_description, b""),
        (messages.parse_row_description, b"\0\x01a\0\0"),
        (messages.parse_row_description, b"\0\x01a"),
        (messages.parse_row_description, b"\0\0\0"),
        (messages.parse_authentication, b"\0\0\0"),
    ],
)
def test_malformed_bodies_are_violations(parser: Callable[[bytes], object], broken: bytes) -> None:
    with pytest.raises(ProtocolViolation) as violation:
        parser(broken)
    assert violation.value.sqlstate == "08P01"


def test_authentication_requests_are_a_code_and_data() -> None:
    assert messages.parse_authentication(body(messages.authentication_md5(b"salt"))) == (5, b"salt")


def test_a_cstring_tells_where_the_next_field_starts() -> None:
    assert messages.cstring(b"ab\0cd\0", 0) == (b"ab", 3)
    assert messages.cstring(b"ab\0cd\0", 3) == (b"cd", 6)
    with pytest.raises(ProtocolViolation):
        messages.cstring(b"ab\0cd\0", 6)


def test_a_violation_survives_copy_and_pickle() -> None:
    violation = ProtocolViolation("no", "0A000", "detail", "hint")
    for twin in (copy.copy(violation), pickle.loads(pickle.dumps(violation))):
        assert (str(twin), twin.sqlstate, twin.detail, twin.hint) == ("no", "0A000", "detail", "hint")
