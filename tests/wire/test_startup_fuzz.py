"""Whatever arrives, in whatever pieces: the same events, or a violation."""

from hypothesis import given
from hypothesis import strategies as st

from seawall.wire.pgwire import messages
from seawall.wire.pgwire.messages import ProtocolViolation
from seawall.wire.pgwire.startup import DirectTls, GssRequested, SslRequested, StartupReader, StartupRequested

GSS = b"\0\0\0\x08\x04\xd2\x16\x30"
LIMIT_BYTES = 200

plain = st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), max_size=8)
parameters = st.dictionaries(st.sampled_from(["user", "database", "replication", "_pq_.x", "options"]), plain)
startups = st.builds(
    lambda given, minor: messages.startup_message(given, minor=minor),
    parameters,
    st.sampled_from([0, 2, 3, 9999]),
)
cancels = st.builds(messages.cancel_request, st.integers(-(2**31), 2**31 - 1), st.binary(max_size=40))
packets = st.builds(lambda payload: (len(payload) + 4).to_bytes(4, "big") + payload, st.binary(max_size=60))
tls = st.binary(max_size=20).map(lambda data: b"\x16" + data)
pieces = st.one_of(
    startups, cancels, packets, tls, st.just(messages.ssl_request()), st.just(GSS), st.binary(max_size=20)
)
# A burst is what the client sends before it reads our answer.
bursts = st.lists(st.lists(pieces, max_size=3).map(b"".join), min_size=1, max_size=4)


def run(burst_list: list[bytes], sizes: list[int]) -> tuple[list[object], bytes | None, str]:
    """Feed bursts in chunks of the given sizes: events, everything that was left over, the refusal."""
    reader = StartupReader(LIMIT_BYTES)
    events: list[object] = []
    turn = 0
    for position, burst in enumerate(burst_list):
        waiting, last = burst, None
        while waiting:
            size = sizes[turn % len(sizes)]
            turn += 1
            chunk, waiting = waiting[:size], waiting[size:]
            try:
                found = reader.feed(chunk)
            except ProtocolViolation as violation:
                return events, None, f"{violation.sqlstate} {violation}"
            assert len(found) <= 1
            if found:
                last = found[0]
                events.append(last)
                if not isinstance(last, SslRequested | GssRequested):
                    return events, reader.rest + waiting + b"".join(burst_list[position + 1 :]), ""
        if last is not None:
            reader.answered()
    return events, None, ""


@given(bursts, st.lists(st.integers(1, 30), min_size=1, max_size=5))
def test_chunks_make_no_difference(burst_list: list[bytes], sizes: list[int]) -> None:
    whole = run(burst_list, [10**6])
    pieces_result = run(burst_list, sizes)
    if whole[2] and "unencrypted" in whole[2]:
        # In pieces the request itself has been reported before the bytes behind it were seen.
        assert pieces_result[2] == whole[2]
        assert pieces_result[0][: len(whole[0])] == whole[0]
    else:
        assert pieces_result == whole


@given(bursts)
def test_at_most_one_of_each_request_and_nothing_after_the_last(burst_list: list[bytes]) -> None:
    events, rest, refusal = run(burst_list, [7])
    kinds = [type(event) for event in events]
    assert len(set(kinds)) == len(kinds)
    assert (rest is None) or not refusal
    if DirectTls in kinds:
        assert kinds == [DirectTls]
        assert rest == b"".join(burst_list)


@given(st.dictionaries(plain.filter(bool), plain, max_size=5), st.integers(0, 9999))
def test_what_a_client_builds_is_what_the_reader_says(given_parameters: dict[str, str], minor: int) -> None:
    sent = {"user": "ann", **given_parameters}
    sent.pop("replication", None)
    if not sent["user"]:
        sent["user"] = "bob"
    reader = StartupReader()
    (event,) = reader.feed(messages.startup_message(sent, minor=minor) + b"rest")
    assert isinstance(event, StartupRequested)
    assert (event.major, event.minor, reader.rest) == (3, minor, b"rest")
    assert event.parameters == {name: value for name, value in sent.items() if not name.startswith("_pq_.")}
    assert event.protocol_options == tuple(name for name in sent if name.startswith("_pq_."))


@given(st.binary(min_size=1, max_size=300))
def test_no_more_than_a_packet_and_a_chunk_is_held(data: bytes) -> None:
    reader = StartupReader(LIMIT_BYTES)
    for byte in data:
        try:
            events = reader.feed(bytes([byte]))
        except ProtocolViolation:
            return
        if events:
            return
        held = int(repr(reader).split(", ")[1].split()[0])
        assert held <= LIMIT_BYTES + 4
