"""Statements by text: one name each, bounded in number and bytes, renamed when their plans are stale."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.proxy import statements as module
from seawall.proxy.statements import PREFIX, Statement, StatementCache, parse_message, parse_suspicion
from seawall.wire.pgwire import messages
from seawall.wire.pgwire.framing import MessageReader
from seawall.wire.pgwire.scan import SETTINGS


def tail(sql, *types):
    return messages.parse("", sql, types)[6:]


def test_one_text_has_one_name_and_other_types_are_another_text():
    cache = StatementCache()
    first = cache.get(tail("SELECT 1"))
    assert cache.get(tail("SELECT 1")) is first
    assert cache.get(tail("SELECT 1", 23)) is not first
    assert len(cache) == 2


def test_a_parse_under_the_shared_name_is_what_a_client_would_have_said():
    made = StatementCache().get(tail("SELECT $1", 23))
    assert made.name.startswith(PREFIX)
    assert made.parse == messages.parse(made.name.decode(), "SELECT $1", [23])


@given(name=st.binary(max_size=20).map(lambda one: one.replace(b"\0", b"")), rest=st.binary(max_size=40))
def test_a_parse_message_is_one_message(name, rest):
    ((kind, body),) = MessageReader(1 << 20).feed(parse_message(name, rest))
    assert (kind, body) == (ord("P"), name + b"\0" + rest)


def test_the_one_unused_for_longest_goes_first_and_goes_on_working():
    cache = StatementCache(limit=2)
    one, two = cache.get(b"1"), cache.get(b"2")
    cache.get(b"1")
    cache.get(b"3")
    assert cache.evicted == 1
    assert cache.get(b"1") is one
    again = cache.get(b"2")
    assert again is not two
    assert again.name != two.name
    assert two.parse == parse_message(two.name, b"2")


@pytest.mark.interpreted
def test_texts_are_bounded_together(monkeypatch):
    monkeypatch.setattr(module, "CACHE_BYTES", 100)
    cache = StatementCache()
    for number in range(10):
        cache.get(b"x" * 40 + b"%d" % number)
    assert len(cache) == 2
    cache.get(b"y" * 500)
    assert len(cache) == 1, "the newest is kept, whatever its size"


def test_a_renamed_statement_is_prepared_afresh_under_the_same_text():
    cache = StatementCache()
    statement = cache.get(b"text\0\0\0")
    before = statement.name
    cache.rename(statement)
    assert statement.name != before
    assert statement.parse == parse_message(statement.name, b"text\0\0\0")
    assert cache.get(b"text\0\0\0") is statement


@pytest.mark.parametrize(
    ("sql", "flags"), [("SELECT 1", 0), ("SET a TO 1", SETTINGS), ("", 0), ("set local a to 1", 0)]
)
def test_what_running_it_may_change_is_known_from_its_text(sql, flags):
    assert parse_suspicion(tail(sql)) == flags == Statement(tail(sql), b"name").suspicion


def test_a_text_without_an_end_is_no_text():
    assert parse_suspicion(b"SET a TO 1") == 0


@given(texts=st.lists(st.binary(max_size=3), max_size=60), limit=st.integers(1, 5))
def test_names_are_unique_and_the_cache_bounded(texts, limit):
    cache = StatementCache(limit)
    alive = {}
    for text in texts:
        found = cache.get(text)
        assert found.tail == text
        alive[found.name] = alive.get(found.name, found)
        assert alive[found.name] is found
        assert len(cache) <= limit
    assert len(cache) + cache.evicted == len(alive)
