"""What is remembered of texts that are alike is true of each of them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seawall.wire.pgwire import classify, scan
from seawall.wire.pgwire.glance import PROVEN, REMEMBERED_BYTES, glance
from tests.wire.test_scan_fuzz import SCRAPS

READING = [
    *SCRAPS,
    b"select ",
    b"SELECT 1",
    b"$A$",
    b"$a1$",
    b"$a2$",
    b"nextval('s')",
    b"Nextval(1)",
    b"count(*)",
    b"commit",
]


@given(st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(SCRAPS), max_size=30).map(b"".join)))
def test_numbers_and_capitals_make_no_difference_to_suspicion(sql):
    assert max(glance(sql), 0) == scan.suspicion(sql)
    other = sql.translate(bytes.maketrans(b"0123456789", b"9876543210"))
    assert (scan.suspicion(other) == 0) or not scan.looks_ordinary(sql.lower())


@given(st.lists(st.sampled_from(READING), max_size=12).map(b"".join))
@example(b"$a$ $A$ $a$ nextval('s') $a$ $A$ $a$")
@example(b"$a1$ $a2$ $a1$ nextval('s') $a1$ $a2$ $a1$")
def test_what_is_proven_for_texts_that_are_alike_is_proven_for_each(scraps):
    for sql in (scraps, b"select " + scraps):
        if glance(sql) == PROVEN:
            assert classify.changes_nothing(classify.classify(sql))
            assert not scan.suspicion(sql)
        if classify.changes_nothing(classify.classify(classify.alike(sql))):
            assert classify.changes_nothing(classify.classify(sql))


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (b"SELECT 7", PROVEN),
        (b"begin", PROVEN),
        (b"COMMIT;", PROVEN),
        (b"SELECT a FROM t WHERE b = $1", PROVEN),
        (b"SELECT $A$x$A$", 0),  # not proven for all that are alike
        (b"SELECT f()", 0),
        (b"INSERT INTO t VALUES (1)", 0),
        (b"SELECT 1" + b" " * REMEMBERED_BYTES, 0),
        (b"SET x = 1", scan.SETTINGS),
    ],
)
def test_what_a_glance_tells(sql, expected):
    assert glance(sql) == expected
