"""The vocabulary of what is owed fits together."""

from seawall.proxy import owed
from seawall.proxy.owing import MADE_UP_FROM
from seawall.wire.pgwire import exchange


def codes():
    return {
        name: value
        for name, value in vars(owed).items()
        if name.isupper() and isinstance(value, int) and not hasattr(exchange, name)
    }


def test_no_two_replies_share_a_number():
    assert len(set(codes().values())) == len(codes())


def test_what_is_made_up_or_unseen_can_be_taken_back():
    assert owed.MADE_UP - {owed.COPY_END} <= owed.NOTED
    assert owed.UNSEEN <= owed.NOTED
    assert not owed.UNSEEN & owed.MADE_UP


def test_a_note_keeps_what_was_before():
    note = owed.Note(owed.UNNAMED, None, b"", b"mine", b"held", b"new")
    assert (note.owed, note.statement, note.name, note.mine, note.held, note.new) == (
        owed.UNNAMED,
        None,
        b"",
        b"mine",
        b"held",
        b"new",
    )


def test_what_is_made_up_has_the_highest_numbers():
    assert min(owed.MADE_UP) == MADE_UP_FROM
    assert max(set(codes().values()) - owed.MADE_UP) < MADE_UP_FROM
