"""Messages come out whole, whatever the chunks; impossible lengths are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.wire.pgwire.framing import HEADER, MessageReader
from seawall.wire.pgwire.messages import ProtocolViolation

LIMIT = 1000
message = st.tuples(st.integers(0, 255), st.binary(max_size=50))


def wire(kind, body):
    return HEADER.pack(kind, 4 + len(body)) + body


@given(
    said=st.lists(message, max_size=10),
    cuts=st.lists(st.integers(1, 20), max_size=50),
    rest=st.binary(max_size=4),
)
def test_any_chunks_give_the_same_messages(said, cuts, rest):
    data = b"".join(wire(*one) for one in said) + rest
    reader, found = MessageReader(LIMIT), []
    for size in cuts:
        found += reader.feed(data[:size])
        data = data[size:]
    found += reader.feed(data)
    assert found == said
    assert reader.rest == rest


@pytest.mark.parametrize("length", [0, 3, LIMIT + 1, 0xFFFFFFFF])
def test_a_length_that_cannot_be_is_refused(length):
    with pytest.raises(ProtocolViolation, match=f"length {length} "):
        MessageReader(LIMIT).feed(HEADER.pack(81, length))


def test_the_longest_message_is_taken():
    body = b"x" * (LIMIT - 4)
    assert MessageReader(LIMIT).feed(wire(81, body)) == [(81, body)]
