import pytest

from seawall.kernel.errors import UsageError
from seawall.wire.pgwire import messages, startup
from seawall.wire.pgwire.messages import ProtocolViolation
from seawall.wire.pgwire.startup import (
    CancelRequested,
    DirectTls,
    GssRequested,
    SslRequested,
    StartupReader,
    StartupRequested,
    agreed_minor,
    negotiation,
    parse_negotiate_protocol_version,
)
from tests.wire.cut import body

SSL = messages.ssl_request()
GSS = b"\0\0\0\x08\x04\xd2\x16\x30"
HELLO = b"\x16\x03\x01\x00\x05hello"
STARTUP = messages.startup_message({"user": "ann", "database": "shop"})


def packet(payload: bytes) -> bytes:
    return (len(payload) + 4).to_bytes(4, "big") + payload


def startup_of(parameters: bytes, version: bytes = b"\0\x03\0\0") -> bytes:
    return packet(version + parameters)


def request(**parameters: str) -> StartupRequested:
    (event,) = StartupReader().feed(messages.startup_message(parameters))
    assert isinstance(event, StartupRequested)
    return event


def violation(data: bytes, reader: StartupReader | None = None) -> ProtocolViolation:
    with pytest.raises(ProtocolViolation) as caught:
        (reader or StartupReader()).feed(data)
    return caught.value


# --- the startup packet ---


def test_a_startup_packet_byte_by_byte() -> None:
    reader = StartupReader()
    events = [event for byte in STARTUP for event in reader.feed(bytes([byte]))]
    assert events == [StartupRequested(3, 0, {"user": "ann", "database": "shop"}, ())]
    assert reader.rest == b""


def test_nothing_at_all_says_nothing() -> None:
    reader = StartupReader()
    assert reader.feed(b"") == []
    assert reader.feed(STARTUP) != []


def test_what_follows_the_startup_packet_is_kept() -> None:
    reader = StartupReader()
    reader.feed(STARTUP + messages.query("select 1"))
    assert reader.rest == messages.query("select 1")


def test_after_the_startup_packet_the_reader_takes_nothing() -> None:
    reader = StartupReader()
    reader.feed(STARTUP)
    with pytest.raises(UsageError, match="over"):
        reader.feed(b"x")


def test_the_database_is_the_users_unless_named() -> None:
    assert request(user="ann", database="shop").database == "shop"
    assert request(user="ann").database == "ann"
    assert request(user="ann", database="").database == "ann"


def test_names_in_any_encoding_come_through() -> None:
    (event,) = StartupReader().feed(startup_of(b"user\0caf\xe9\0\0"))
    assert isinstance(event, StartupRequested)
    assert messages.encode("user", event.user) == b"caf\xe9"


@pytest.mark.parametrize("value", ["true", "TRUE", "t", "tr", "yes", "y", "on", "On", "1", "database"])
def test_a_replication_session(value: str) -> None:
    assert request(user="ann", replication=value).replication


@pytest.mark.parametrize("value", ["false", "f", "no", "n", "off", "of", "0"])
def test_no_replication_session(value: str) -> None:
    assert not request(user="ann", replication=value).replication
    assert not request(user="ann").replication


@pytest.mark.parametrize("value", ["", "o", "2", "10", "truer", "Database", "yes "])
def test_a_replication_parameter_that_says_neither(value: str) -> None:
    refused = violation(messages.startup_message({"user": "ann", "replication": value}))
    assert refused.sqlstate == "22023"
    assert str(refused) == f'invalid value for parameter "replication": "{value}"'
    assert refused.hint


@pytest.mark.parametrize(
    "parameters",
    [
        b"",
        b"\0\0",
        b"user\0ann\0",
        b"user\0ann",
        b"user\0\0",
        b"user\0ann\0database\0\0",
        b"user\0ann\0\0x",
        b"user\0ann\0\0\0",
        b"\0user\0ann\0\0",
        b"user",
    ],
)
def test_a_parameter_list_that_does_not_end_with_its_terminator(parameters: bytes) -> None:
    refused = violation(startup_of(parameters))
    assert refused.sqlstate == "08P01"
    assert str(refused) == "invalid startup packet layout: expected terminator as last byte"


@pytest.mark.parametrize("name", [b"user", b"search_path", b"_pq_.x"])
def test_a_parameter_given_twice_is_refused(name: bytes) -> None:
    refused = violation(startup_of(b"user\0ann\0" + 2 * (name + b"\0v\0") + b"\0"))
    assert (refused.sqlstate, str(refused)) == (
        "08P01",
        "invalid startup packet layout: a parameter is given twice",
    )


@pytest.mark.parametrize("parameters", [b"\0", b"database\0shop\0\0", b"user\0\0database\0shop\0\0"])
def test_somebody_without_a_name_is_refused(parameters: bytes) -> None:
    refused = violation(startup_of(parameters))
    assert (refused.sqlstate, str(refused)) == (
        "28000",
        "no PostgreSQL user name specified in startup packet",
    )


@pytest.mark.parametrize(
    ("version", "shown"), [(b"\0\x02\0\0", "2.0"), (b"\0\x04\0\x01", "4.1"), (b"\xff" * 4, "65535.65535")]
)
def test_other_major_versions_are_refused(version: bytes, shown: str) -> None:
    refused = violation(startup_of(b"user\0ann\0\0", version))
    assert refused.sqlstate == "0A000"
    assert str(refused) == f"unsupported frontend protocol {shown}: server supports 3.0 to 3.2"


# --- lengths ---


@pytest.mark.parametrize("length", [0, 3, 4, 7, 10_005, 2**31 - 1, 2**31, 2**32 - 1])
def test_impossible_lengths_are_refused_before_any_body_arrives(length: int) -> None:
    refused = violation(length.to_bytes(4, "big"))
    assert (refused.sqlstate, str(refused)) == ("08P01", "invalid length of startup packet")


def test_the_longest_packet_passes_and_one_byte_more_does_not() -> None:
    frame = len(b"\0\x03\0\0user\0\0\0")
    longest = messages.startup_message({"user": "x" * (100 - frame)})
    assert StartupReader(limit_bytes=100).feed(longest)
    assert violation(messages.startup_message({"user": "x" * (101 - frame)}), StartupReader(limit_bytes=100))


def test_a_reader_that_refused_takes_nothing_more() -> None:
    reader = StartupReader()
    violation(b"\0\0\0\0", reader)
    with pytest.raises(UsageError):
        reader.feed(STARTUP)


# --- encryption ---


@pytest.mark.parametrize("order", [(SSL, GSS), (GSS, SSL)])
def test_both_kinds_of_encryption_may_be_asked_for(order: tuple[bytes, bytes]) -> None:
    reader = StartupReader()
    events = []
    for asked in order:
        events += reader.feed(asked)
        reader.answered()
    assert set(events) == {SslRequested(), GssRequested()}
    assert isinstance(reader.feed(STARTUP)[0], StartupRequested)
    assert not reader.encrypted


@pytest.mark.parametrize(("asked", "code"), [(SSL, "5679"), (GSS, "5680")])
def test_asking_twice_is_taken_for_a_version_number(asked: bytes, code: str) -> None:
    reader = StartupReader()
    reader.feed(asked)
    reader.answered()
    refused = violation(asked, reader)
    assert (refused.sqlstate, str(refused)) == (
        "0A000",
        f"unsupported frontend protocol 1234.{code}: server supports 3.0 to 3.2",
    )


@pytest.mark.parametrize("asked", [SSL, GSS])
def test_inside_the_encryption_nobody_asks_for_it(asked: bytes) -> None:
    reader = StartupReader()
    reader.feed(SSL)
    reader.answered(encrypted=True)
    assert reader.encrypted
    assert violation(asked, reader).sqlstate == "0A000"


@pytest.mark.parametrize(("asked", "name"), [(SSL, "SSL"), (GSS, "GSSAPI encryption")])
@pytest.mark.parametrize("early", [b"\0", STARTUP])
def test_bytes_pushed_in_front_of_the_answer_are_refused(asked: bytes, name: str, early: bytes) -> None:
    for reader, data in ((StartupReader(), asked + early), (StartupReader(), early)):
        if data == early:
            reader.feed(asked)
        refused = violation(data, reader)
        assert (refused.sqlstate, str(refused)) == (
            "08P01",
            f"received unencrypted data after {name} request",
        )
        assert "man-in-the-middle" in refused.detail


def test_nothing_at_all_in_front_of_the_answer_is_fine() -> None:
    reader = StartupReader()
    reader.feed(SSL)
    assert reader.feed(b"") == []


@pytest.mark.parametrize("code", [SSL[4:], GSS[4:]])
def test_an_encryption_request_carries_nothing(code: bytes) -> None:
    assert str(violation(packet(code + b"x"))) == "invalid length of startup packet"


def test_a_tls_handshake_without_asking_is_left_to_the_tls_layer() -> None:
    reader = StartupReader()
    assert reader.feed(HELLO) == [DirectTls()]
    assert reader.rest == HELLO
    with pytest.raises(UsageError, match="TLS layer"):
        reader.feed(b"more")
    reader.answered(encrypted=True)
    assert reader.rest == b""
    assert isinstance(reader.feed(STARTUP)[0], StartupRequested)


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_tls_handshake_comes_first_or_not_at_all(encrypted: bool) -> None:
    reader = StartupReader()
    reader.feed(SSL)
    reader.answered(encrypted=encrypted)
    assert str(violation(HELLO, reader)) == "invalid length of startup packet"


def test_nobody_is_answered_who_has_not_asked() -> None:
    with pytest.raises(UsageError, match="not asked"):
        StartupReader().answered()


# --- cancel requests ---


@pytest.mark.parametrize("size", [4, 32, 256])
def test_a_cancel_request(size: int) -> None:
    (event,) = StartupReader().feed(messages.cancel_request(-5, b"k" * size))
    assert event == CancelRequested(-5, b"k" * size)
    assert "kkkk" not in repr(event)


@pytest.mark.parametrize(
    ("rest", "complaint"),
    [
        (b"", "request packet"),
        (b"\0\0\0", "request packet"),
        (b"\0\0\0\x01abc", "key"),
        (b"\0\0\0\x01" + b"k" * 257, "key"),
    ],
)
def test_a_cancel_request_of_the_wrong_length(rest: bytes, complaint: str) -> None:
    refused = violation(packet(messages.CANCEL_REQUEST_CODE.to_bytes(4, "big") + rest))
    assert (refused.sqlstate, complaint in str(refused)) == ("08P01", True)


# --- negotiation ---


@pytest.mark.parametrize("minor", [0, 1, 2])
def test_known_versions_need_no_negotiation(minor: int) -> None:
    asked = StartupRequested(3, minor, {"user": "ann"})
    assert negotiation(asked) is None
    assert agreed_minor(asked) == minor


def test_a_newer_minor_version_is_talked_down() -> None:
    asked = StartupRequested(3, 3, {"user": "ann"})
    answer = negotiation(asked)
    assert answer is not None
    assert parse_negotiate_protocol_version(body(answer)) == (2, [])
    assert agreed_minor(asked) == 2


def test_unknown_options_are_named_and_the_version_stays() -> None:
    (asked,) = StartupReader().feed(startup_of(b"user\0ann\0_pq_.b\0\0_pq_.a\x001\0\0"))
    assert isinstance(asked, StartupRequested)
    assert asked.parameters == {"user": "ann"}
    answer = negotiation(asked)
    assert answer is not None
    assert parse_negotiate_protocol_version(body(answer)) == (0, ["_pq_.b", "_pq_.a"])


def test_the_grease_of_libpq_19_is_talked_down() -> None:
    greased = messages.startup_message({"user": "ann", "_pq_.test_protocol_negotiation": ""}, minor=9999)
    (asked,) = StartupReader().feed(greased)
    assert isinstance(asked, StartupRequested)
    answer = negotiation(asked)
    # What libpq demands: the whole version number, lower than its own, and its option by name.
    assert answer == b"v\0\0\0\x2b\0\x03\0\x02\0\0\0\x01_pq_.test_protocol_negotiation\0"


@pytest.mark.parametrize(
    "broken", [b"", b"\0" * 7, b"\0\x04\0\0\0\0\0\0", b"\0\x03\0\0\0\0\0\0x", b"\0\x03\0\0\0\0\0\x01x"]
)
def test_malformed_negotiations_are_refused(broken: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        parse_negotiate_protocol_version(broken)


def test_a_reader_shows_where_it_stands_and_not_what_it_read() -> None:
    reader = StartupReader()
    reader.feed(b"\0\0\0\x20sec")
    assert repr(reader) == "StartupReader(reading, 7 bytes, encrypted=False)"
    assert startup.LIMIT_BYTES == 10_000
