"""What is built is read back as it was, and no bytes break a parser in any other way than a violation."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.wire.pgwire import login, messages, scram, startup
from seawall.wire.pgwire.messages import ProtocolViolation
from tests.wire.cut import body


def _travels(candidate: str) -> bool:
    return "\0" not in candidate and not any("\ud800" <= character <= "\udfff" for character in candidate)


raw_text = st.binary(max_size=30).filter(lambda raw: b"\0" not in raw).map(messages.decode)
text = st.one_of(st.text(max_size=30).filter(_travels), raw_text)
values = st.lists(st.none() | st.binary(max_size=40), max_size=20)

PARSERS: list[Callable[[bytes], object]] = [
    messages.parse_fields,
    messages.parse_parameter_status,
    messages.parse_backend_key_data,
    messages.parse_data_row,
    messages.parse_row_description,
    messages.parse_authentication,
    scram.parse_mechanisms,
    scram.parse_initial_response,
    startup.parse_negotiate_protocol_version,
]


@given(values)
def test_rows(row: list[bytes | None]) -> None:
    assert messages.parse_data_row(body(messages.data_row(row))) == row


@given(st.lists(st.tuples(text, st.integers(0, 2**32 - 1)), max_size=10))
def test_columns(columns: list[tuple[str, int]]) -> None:
    parsed = messages.parse_row_description(body(messages.row_description(columns)))
    assert [(column.name, column.type_oid) for column in parsed] == columns
    assert all(column[1:3] + column[4:] == (0, 0, -1, -1, 0) for column in parsed)


@given(text, text)
def test_parameter_statuses(name: str, value: str) -> None:
    assert messages.parse_parameter_status(body(messages.parameter_status(name, value))) == (name, value)


@given(st.integers(-(2**31), 2**31 - 1), st.binary(min_size=4, max_size=256))
def test_keys(pid: int, key: bytes) -> None:
    assert messages.parse_backend_key_data(body(messages.backend_key_data(pid, key))) == (pid, key)


@given(st.from_regex("[0-9A-Z]{5}", fullmatch=True), text, text, text)
def test_reports(code: str, message: str, detail: str, hint: str) -> None:
    fields = messages.parse_fields(body(messages.error_response(code, message, detail=detail, hint=hint)))
    assert (fields["C"], fields["M"]) == (code, message)
    assert (fields.get("D", ""), fields.get("H", "")) == (detail, hint)


@given(st.lists(text.filter(bool), max_size=5))
def test_mechanisms(names: list[str]) -> None:
    code, data = messages.parse_authentication(body(messages.authentication_sasl(names)))
    assert (code, scram.parse_mechanisms(data)) == (messages.AUTH_SASL, names)


@given(st.binary(max_size=50))
def test_initial_responses(data: bytes) -> None:
    message = messages.sasl_initial_response(scram.MECHANISM, data)
    assert message[0] == login.PASSWORD_KIND
    assert scram.parse_initial_response(body(message)) == data


@given(st.integers(0, 2**16 - 1), st.lists(text, max_size=5))
def test_negotiations(minor: int, names: list[str]) -> None:
    message = messages.negotiate_protocol_version(minor, names)
    assert startup.parse_negotiate_protocol_version(body(message)) == (minor, names)


@pytest.mark.parametrize("parser", PARSERS)
@given(data=st.binary(max_size=60))
def test_any_bytes_are_parsed_or_refused(parser: Callable[[bytes], object], data: bytes) -> None:
    with contextlib.suppress(ProtocolViolation):
        parser(data)


@pytest.mark.parametrize(
    ("parser", "sample"),
    [
        (messages.parse_data_row, body(messages.data_row([b"abc", None, b""]))),
        (messages.parse_row_description, body(messages.row_description([("a", 1), ("b", 2)]))),
        (messages.parse_parameter_status, body(messages.parameter_status("a", "b"))),
        (startup.parse_negotiate_protocol_version, body(messages.negotiate_protocol_version(2, ["_pq_.a"]))),
    ],
)
def test_no_beginning_of_a_body_passes_for_a_whole_one(
    parser: Callable[[bytes], object], sample: bytes
) -> None:
    parser(sample)
    for end in range(len(sample)):
        with pytest.raises(ProtocolViolation):
            parser(sample[:end])
