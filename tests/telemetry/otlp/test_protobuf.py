import pytest
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from seawall.telemetry.otlp.protobuf import Malformed, fields, length, text, varint


@given(st.integers(0, 2**64 - 1))
def test_a_number_is_read_back(number):
    assert list(fields(b"\x08" + varint(number))) == [(1, number)]


@pytest.mark.parametrize("number", [0, 1, 127, 128, 2_047, 2_048, 16_383, 16_384, 2**32])
def test_lengths_are_the_same_from_the_table_and_computed(number):
    assert length(number) == varint(number)


@given(st.text())
def test_a_text_is_read_back_and_half_a_surrogate_pair_becomes_a_question_mark(string):
    (number, raw), *more = fields(text(b"\x0a", string))
    assert (number, raw.decode(), more) == (1, string.encode("utf-8", "replace").decode(), [])


def test_every_wire_type_is_read():
    span = Span(name="n", flags=7, start_time_unix_nano=2**60, kind=3)
    assert dict(fields(span.SerializeToString())) == {5: b"n", 6: 3, 7: 2**60, 16: 7}


@pytest.mark.parametrize(
    "message",
    [
        b"\x08",
        b"\x08\x80",
        b"\x08" + b"\xff" * 10,
        b"\x0a\x02x",
        b"\x09abc",
        b"\x0d\x00",
        b"\x0b",
        b"\x0c",
        b"\x00\x01",
    ],
)
def test_what_is_no_message_is_refused(message):
    with pytest.raises(Malformed):
        list(fields(message))


@given(st.binary(max_size=40))
def test_any_bytes_are_read_as_the_library_reads_them_or_refused(message):
    try:
        ours = list(fields(message))
    except Malformed:
        return
    library = ExportTraceServiceResponse()
    try:
        library.ParseFromString(message)
    except Exception:
        return  # the library looks into the fields as well, and refuses more
    known = {1} if library.HasField("partial_success") else set()
    assert {number for number, _ in ours} == known | {each.field_number for each in UnknownFieldSet(library)}
