"""Bytes to say: valid pieces of PostgreSQL's protocol, and ways to spoil them."""

from __future__ import annotations

import random
from collections.abc import Callable

from seawall.wire.pgwire import messages
from seawall.wire.pgwire.framing import HEADER, HEADER_BYTES

TEXTS = (
    "rows 1",
    "rows 3",
    "rows 1",
    "big 3000",
    "fail",
    "bad",
    "begin",
    "commit",
    "rollback",
    "nothing",
    "set a to 1",
    "set local a to 1",
    "listen a",
    "discard all",
    "deallocate all",
    "begin; set a to 2",
    "create database a",
)
NAMES = ("", "", "a", "b", "seawall_1", "seawall_2")
SYNC = messages.sync()
COPY_DATA = b"d\0\0\0\x08rows"
COPY_DONE = b"c\0\0\0\4"
COPY_FAIL = b"f\0\0\0\7no\0"
BIG_BYTES = (9_000, 11_000, 65_530, 65_540, 70_000, 140_000)
"""Around the limits of short messages, of what is carried and of what is held."""
LENGTHS = (0, 1, 3, 4, 5, 6, 255, 65_535, 65_537, 0x3FFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
WORDS = (b"user", b"database", b"options", b"replication", b"application_name", b"client_encoding", b"_pq_.x")
VALUES = (
    b"u",
    b"d",
    b"seawall",
    b"nobody",
    b"",
    b"true",
    b"database",
    b"-c a=1",
    b"--b",
    b"\\ ",
    b"\xff\xfe",
)
CODES = (196608, 196609, 196610, 196618, 3 << 16 | 9999, 2 << 16, 0, 80877102, 80877103, 80877104, 0xFFFFFFFF)


def message(kind: int, body: bytes) -> bytes:
    """Return one message."""
    return HEADER.pack(kind, 4 + len(body)) + body


def cut(data: bytes) -> list[bytes]:
    """Return the messages of a stream; what is left at its end is the last."""
    found = []
    position = 0
    while position + HEADER_BYTES <= len(data):
        length = HEADER.unpack_from(data, position)[1]
        after = position + 1 + max(length, 4)
        found.append(data[position:after])
        position = after
    if position < len(data):
        found.append(data[position:])
    return found


def whole(data: bytes) -> bool:
    """Whether a stream ends where a message does."""
    position = 0
    while position + HEADER_BYTES <= len(data):
        length = HEADER.unpack_from(data, position)[1]
        if length < HEADER_BYTES - 1:
            return False
        position += 1 + length
    return position == len(data)


# --- clients ------------------------------------------------------------------------------------------------


def one_step(rng: random.Random) -> bytes:
    """Return a valid message of a client, or a few that belong together."""
    name = rng.choice(NAMES)
    text = rng.choice(TEXTS)
    draw = rng.randrange(23)
    if draw < 5:
        return messages.query(text)
    if draw < 8:
        return messages.parse(name, text) + messages.bind("", name, []) + messages.execute() + messages.sync()
    simple: tuple[Callable[[], bytes], ...] = (
        lambda: messages.parse(name, text),
        lambda: messages.bind("", name, []),
        lambda: messages.describe_statement(name),
        lambda: messages.describe_portal(""),
        messages.execute,
        lambda: messages.close_statement(name),
        messages.flush,
        messages.sync,
        lambda: messages.query("copyin") + COPY_DATA * 2 + rng.choice((COPY_DONE, COPY_FAIL)),
        lambda: messages.bind("", name, []) + messages.execute() + messages.sync(),
        lambda: rng.choice((COPY_DATA, COPY_DONE, COPY_FAIL, COPY_DATA * 3)),
        lambda: (
            messages.parse("", "copyin") + messages.bind("", "", []) + messages.execute() + messages.sync()
        ),
        lambda: messages.close_portal(name),
        lambda: messages.terminate() if rng.random() < 0.2 else messages.sync(),
        lambda: (
            messages.parse("", "deallocate a")
            + messages.bind("", "", [])
            + messages.execute()
            + messages.sync()
        ),
    )
    return simple[draw - 8]()


def pipeline(rng: random.Random, most: int = 7) -> bytes:
    """Return what a client may well say."""
    steps = [one_step(rng) for _ in range(rng.randrange(1, most))]
    if rng.random() < 0.004:
        steps.insert(rng.randrange(len(steps) + 1), big(rng))
    return b"".join(steps) + messages.sync()


def big(rng: random.Random) -> bytes:
    """Return one long message of any kind."""
    size = rng.choice(BIG_BYTES)
    kind = rng.choice(b"QPBDECSHFdcf")
    return message(kind, rng.choice((b"", b"a\0", b"\0", b"S")) + b"x" * size + b"\0")


def noise(rng: random.Random) -> bytes:
    """Return bytes that mean nothing, or begin like a message."""
    size = rng.randrange(1, 40)
    data = rng.randbytes(size)
    if rng.random() < 0.7:
        kind = rng.choice(b"QPBDECSHFdcfXpRZTKN\0\xff")
        length = rng.choice(LENGTHS) if rng.random() < 0.5 else size + 4
        data = HEADER.pack(kind, length) + data
    return data


def chunks(rng: random.Random, data: bytes) -> list[bytes]:
    """Return the bytes in pieces as a network might bring them."""
    draw = rng.random()
    few = draw < 0.4 or len(data) > 20_000
    most = (1 if draw < 0.3 else 3) if few else rng.choice((2, 4, 8))
    places = sorted(rng.randrange(1, len(data)) for _ in range(most - 1)) if len(data) > 1 else []
    return [
        data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True) if start < end
    ]


# --- spoiling -----------------------------------------------------------------------------------------------


def spoil(rng: random.Random, data: bytes) -> bytes:
    """Return a stream with one to three things wrong with it."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = rng.choice(_WAYS)(rng, data)
    return data


def _flip(rng: random.Random, data: bytes) -> bytes:
    if not data:
        return data
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def _byte(rng: random.Random, data: bytes) -> bytes:
    if not data:
        return data
    place = rng.randrange(len(data))
    return data[:place] + bytes([rng.choice((0, 255, 83, 80, rng.randrange(256)))]) + data[place + 1 :]


def _cut_out(rng: random.Random, data: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + data[place + rng.randrange(1, 12) :]


def _put_in(rng: random.Random, data: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + noise(rng) + data[place:]


def _end(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _length(rng: random.Random, data: bytes) -> bytes:
    parts = cut(data)
    if not parts:
        return data
    chosen = rng.randrange(len(parts))
    part = parts[chosen]
    if len(part) >= HEADER_BYTES:
        kind, length = HEADER.unpack_from(part)
        new = (
            rng.choice(LENGTHS) if rng.random() < 0.5 else max(0, length + rng.choice((-4, -2, -1, 1, 2, 5)))
        )
        parts[chosen] = HEADER.pack(kind, new & 0xFFFFFFFF) + part[HEADER_BYTES:]
    return b"".join(parts)


def _body(rng: random.Random, data: bytes) -> bytes:
    """Change what a message holds, and its length with it: the stream stays in frame."""
    parts = cut(data)
    if not parts:
        return data
    chosen = rng.randrange(len(parts))
    part = parts[chosen]
    if len(part) >= HEADER_BYTES:
        body = rng.choice((_flip, _byte, _cut_out, _end, _empty, _longer))(rng, part[HEADER_BYTES:])
        parts[chosen] = message(part[0], body)
    return b"".join(parts)


def _empty(rng: random.Random, data: bytes) -> bytes:
    del rng, data
    return b""


def _longer(rng: random.Random, data: bytes) -> bytes:
    return data + rng.randbytes(rng.randrange(1, 6))


def _kind(rng: random.Random, data: bytes) -> bytes:
    parts = cut(data)
    if not parts:
        return data
    chosen = rng.randrange(len(parts))
    kind = rng.choice(b"QPBDECSHFdcfXpZTKNAGWs123IVtnRv") if rng.random() < 0.8 else rng.randrange(256)
    parts[chosen] = bytes([kind]) + parts[chosen][1:]
    return b"".join(parts)


def _order(rng: random.Random, data: bytes) -> bytes:
    parts = cut(data)
    if not parts:
        return data
    chosen = rng.randrange(len(parts))
    draw = rng.randrange(4)
    if draw == 0:
        parts.insert(rng.randrange(len(parts) + 1), parts[chosen])
    elif draw == 1:
        del parts[chosen]
    elif draw == 2:
        parts.insert(rng.randrange(len(parts)), parts.pop(chosen))
    else:
        rng.shuffle(parts)
    return b"".join(parts)


_WAYS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _flip,
    _byte,
    _cut_out,
    _put_in,
    _end,
    _length,
    _length,
    _body,
    _body,
    _kind,
    _order,
    _order,
)

# --- servers ------------------------------------------------------------------------------------------------

UNASKED: tuple[bytes, ...] = (
    message(ord("E"), b"SERROR\0Mno code\0\0"),
    message(ord("E"), b"\0"),
    message(ord("E"), b""),
    message(ord("E"), b"SFATAL\0C57P01\0Mdown\0\0"),
    message(ord("E"), b"no end"),
    message(ord("N"), b"SNOTICE\0C00000\0Mhello\0\0"),
    message(ord("A"), b"\0\0\0\1channel\0payload\0"),
    message(ord("S"), b"TimeZone\0UTC\0"),
    message(ord("S"), b"TimeZone\0"),
    message(ord("S"), b"a\0b\0c\0"),
    message(ord("S"), b""),
    message(ord("Z"), b"I"),
    message(ord("Z"), b"T"),
    message(ord("Z"), b"?"),
    message(ord("Z"), b""),
    message(ord("1"), b""),
    message(ord("2"), b""),
    message(ord("3"), b""),
    message(ord("C"), b"SELECT 1\0"),
    message(ord("C"), b"DISCARD ALL\0"),
    message(ord("C"), b"SET\0"),
    message(ord("C"), b""),
    message(ord("D"), b"\0\1\0\0\0\1x"),
    message(ord("G"), b"\0\0\0"),
    message(ord("H"), b"\0\0\0"),
    message(ord("W"), b"\0\0\0"),
    message(ord("c"), b""),
    message(ord("d"), b"x"),
    message(ord("R"), b"\0\0\0\0"),
    message(ord("K"), b"\0\0\0\1\0\0\0\2"),
    message(ord("?"), b"what"),
    HEADER.pack(ord("D"), 70_000) + b"part",
    HEADER.pack(ord("N"), 200) + b"part",
    HEADER.pack(ord("E"), 200) + b"part",
    HEADER.pack(ord("D"), 3),
)


def spoiled_answer(rng: random.Random, data: bytes) -> bytes:
    """Return what a broken server might have answered."""
    if rng.random() < 0.5:
        parts = cut(data)
        for _ in range(rng.choice((1, 1, 2))):
            parts.insert(rng.randrange(len(parts) + 1), rng.choice(UNASKED))
        data = b"".join(parts)
    return spoil(rng, data) if rng.random() < 0.6 else data


# --- the startup --------------------------------------------------------------------------------------------


def startup(rng: random.Random) -> bytes:
    """Return a startup packet, good or strange."""
    if rng.random() < 0.4:
        user = rng.choice(("u", "u", "v", "nobody"))
        wanted = {"user": user, "database": rng.choice(("d", "d", "e", "seawall"))}
        if rng.random() < 0.3:
            wanted["application_name"] = rng.choice(("x", "y", "é"))
        return messages.startup_message(wanted, minor=rng.choice((0, 0, 2, 9999)))
    code = rng.choice(CODES) if rng.random() < 0.4 else CODES[0]
    parts: list[bytes] = []
    for _ in range(rng.randrange(0, 4)):
        parts += (rng.choice(WORDS) + b"\0", rng.choice(VALUES) + b"\0")
    body = code.to_bytes(4, "big") + b"".join(parts) + rng.choice((b"\0", b"\0", b"", b"x", b"\0\0"))
    length = len(body) + 4 if rng.random() < 0.85 else rng.choice((*LENGTHS, 10_004, 10_005))
    return length.to_bytes(4, "big") + body


def knock(rng: random.Random) -> list[bytes]:
    """Return what somebody says who is not logged in, each part waiting for an answer or not."""
    parts = []
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
        draw = rng.random()
        if draw < 0.6:
            parts.append(messages.ssl_request() if rng.random() < 0.6 else b"\0\0\0\x08\x04\xd2\x16\x30")
        elif draw < 0.8:
            pid = rng.choice((0, 1, -1, 1 << 20, (1 << 20) + rng.randrange(1 << 20)))
            key = rng.randbytes(rng.choice((4, 4, 3, 32, 256, 257, 0)))
            parts.append(messages.cancel_request(pid, key))
        else:
            parts.append(
                rng.choice((b"\x16\3\1", rng.randbytes(rng.randrange(1, 12)), b"GET / HTTP/1.1\r\n\r\n"))
            )
    parts.append(startup(rng))
    if rng.random() < 0.3:
        parts.append(messages.query("rows 1") if rng.random() < 0.5 else noise(rng))
    if rng.random() < 0.25:
        chosen = rng.randrange(len(parts))
        parts[chosen] = rng.choice((_flip, _byte, _cut_out, _end, _longer))(rng, parts[chosen])
    if rng.random() < 0.15:
        parts = [b"".join(parts)]
    return [part for part in parts if part]
