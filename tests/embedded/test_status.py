from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.embedded.status import Answer, leader, lsn_bytes
from seawall.kernel.errors import UnitError


@given(st.integers(0, 2**64 - 1))
def test_a_position_is_read_as_the_server_writes_it(position) -> None:
    assert lsn_bytes(f"{position >> 32:X}/{position & 0xFFFFFFFF:X}") == position


@given(st.text(max_size=20))
def test_any_text_is_a_position_or_an_error(text) -> None:
    with suppress(UnitError):
        assert 0 <= lsn_bytes(text) < 2**64


@pytest.mark.parametrize("text", ["", "/", "0", "0/", "/0", "0/-1", "0/1_0", "0x1/0", "123456789/0", " 0/0"])
def test_what_is_no_position_is_refused(text) -> None:
    with pytest.raises(UnitError, match="16/B374D848"):
        lsn_bytes(text)


def test_the_leader_is_the_writable_node_on_the_highest_timeline() -> None:
    zombie = Answer(in_recovery=False, timeline=1, lsn="9/0")
    primary = Answer(in_recovery=False, timeline=2, lsn="1/0")
    replica = Answer(in_recovery=True, timeline=3, lsn="9/9")
    assert leader({"a": zombie, "b": primary, "c": replica}) == "b"
    assert leader({"a": zombie, "c": replica}) == "a"
    assert leader({"c": replica}) is None
    assert leader({}) is None
