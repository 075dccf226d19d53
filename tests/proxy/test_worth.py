"""A Query that may carry a trace's context is told by its last bytes."""

import pytest

from seawall.proxy.worth import SHORTEST, TRACE, Worth, ends_in_comment
from seawall.wire.pgwire import messages

COMMENT = "/*traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"SELECT 1 {COMMENT}", True),
        (f"SELECT 1 {COMMENT};", True),
        (COMMENT, True),
        (f"{COMMENT} SELECT 1", False),
        (f"SELECT 1 {COMMENT}".replace("*/", "* /"), True),
        ("SELECT 1 /* short */", False),
        ("SELECT 1", False),
        ("SELECT 1 " + "x" * 80, False),
        ("/", False),
        (";", False),
        ("", False),
    ],
)
def test_two_bytes_are_looked_at(text, expected):
    said = messages.query(text)
    assert ends_in_comment(said, len(said)) is expected


def test_no_query_with_a_context_is_too_short():
    assert len(messages.query(COMMENT)) >= SHORTEST
    assert TRACE in COMMENT.encode()


def test_nothing_is_known_of_what_was_only_found_slow():
    found = Worth()
    assert (found.traced, found.text, found.said, found.idle_s, found.refusal) == (False, b"", b"", 0.0, b"")
