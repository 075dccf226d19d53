"""A look at two bytes tells whether a query's text may end in a comment."""

import pytest

from seawall.proxy.worth import SHORTEST, Worth, ends_in_comment
from seawall.wire.pgwire import messages


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("x" * 80 + "/* a */", True),
        ("x" * 80 + "/* a */;", True),
        ("x" * 80 + "/* a */ ", False),
        ("x" * 80 + ";", False),
        ("x" * 80, False),
        ("/* a */", False),  # too short for a trace's context
    ],
)
def test_whether_it_ends_in_a_comment(text: str, ends: bool) -> None:
    query = messages.query(text)
    assert ends_in_comment(query, len(query)) is ends


def test_the_shortest_comment_with_a_context_is_not_too_short() -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert len(messages.query(f"/*traceparent='{parent}'*/")) >= SHORTEST


def test_nothing_is_known_at_first() -> None:
    worth = Worth()
    assert (worth.traced, worth.text, worth.idle_s, worth.refusal) == (False, b"", 0.0, b"")
