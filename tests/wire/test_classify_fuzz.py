"""No disguise hides what a text does, nothing dangerous is ever proven harmless, and no bytes upset it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.wire.pgwire import classify as module
from seawall.wire.pgwire.classify import (
    BEGINS,
    CHAINS,
    COMMITS,
    DENIED,
    NOTIFIES,
    READ_ONLY,
    ROLLS_BACK,
    SESSION_ONLY,
    SEVERAL,
    TWO_PHASE,
    UNSURE,
    WRITES,
    classify,
)
from tests.wire.test_scan_fuzz import GAP, LEADING, TRAILING, cased
from tests.wire.texts import PROVEN, UNPROVEN

ALL = (UNSURE << 1) - 1

SUSPECT = [
    ("BEGIN", BEGINS),
    ("START TRANSACTION", BEGINS),
    ("COMMIT", COMMITS),
    ("END WORK", COMMITS),
    ("COMMIT AND CHAIN", COMMITS | CHAINS),
    ("ROLLBACK", ROLLS_BACK),
    ("ABORT TRANSACTION AND CHAIN", ROLLS_BACK | CHAINS),
    ("PREPARE TRANSACTION 'x'", TWO_PHASE),
    ("COMMIT PREPARED 'x'", TWO_PHASE),
    ("ROLLBACK PREPARED 'x'", TWO_PHASE),
    ("NOTIFY x", NOTIFIES),
    ("SELECT pg_notify ( 'a' , 'b' )", NOTIFIES),
    ("COPY t FROM PROGRAM 'x'", DENIED | WRITES),
    ("COPY t TO '/x'", DENIED),
    ("ALTER SYSTEM RESET ALL", DENIED),
    ("SELECT dblink_exec ( 'x' )", DENIED),
    ("SELECT pg_terminate_backend ( 1 )", DENIED),
    ("INSERT INTO t VALUES ( 1 )", WRITES),
    ("SELECT 1 AS a INTO t", WRITES),
]


@st.composite
def disguised(draw: st.DrawFn) -> tuple[bytes, int]:
    plain, flags = draw(st.sampled_from(SUSPECT))
    words = plain.split(" ")
    sql = draw(LEADING) + cased(draw, words[0])
    for word in words[1:]:
        sql += draw(GAP) + cased(draw, word)
    return (sql + draw(TRAILING)).encode(draw(st.sampled_from(["utf-8", "latin-1"]))), flags


@given(disguised())
def test_no_disguise_helps(case: tuple[bytes, int]) -> None:
    sql, flags = case
    found = classify(sql)
    if found & UNSURE:  # nothing is proven then, and what must never be missed is not
        assert not found & (READ_ONLY | SESSION_ONLY)
        flags &= COMMITS | NOTIFIES
    assert found & flags == flags


WHOLE = [
    sql
    for sql in [*PROVEN, *UNPROVEN, *(plain for plain, _ in SUSPECT)]
    if not classify(sql.encode()) & UNSURE
]


def sure(sql: bytes) -> bool:
    return not classify(sql) & UNSURE


# What may stand between two words of a statement, each a whole token to the server.
WORDS = [
    "1",
    "a",
    "'x'",
    "'insert'",
    '"y"',
    '"delete "',
    "$$ update $$",
    "$a$ ' $a$",
    "E'\\''",
    "$1",
    ".5",
    "\xe9",
]
SIGNS = [
    ",",
    "(",
    ")",
    "=",
    "::",
    "[",
    "]",
    "/* ' */",
    '-- "\n',
    "FROM t",
    "WHERE",
    "lower(",
    "IN (",
    "OVER (",
]
TOKENS = st.sampled_from(WORDS + SIGNS)
FORBIDDEN = ["insert", "UPDATE", "Delete", "merge", "INTO", "FOR SHARE", "for key/**/share", "nextval('s')"]
FORBIDDEN += [
    "pg_notify('a', 'b')",
    "f (1)",
    "public.f(1)",
    "('s'::regclass).nextval",
    "t.nextval",
    '"lower"(1)',
]


def joined(draw: st.DrawFn, tokens: list[str]) -> str:
    """Tokens with what keeps them apart, where that is needed."""
    text = ""
    for token in tokens:
        apart = text and (text[-1].isalnum() or text[-1] in "_$") and (token[0].isalnum() or token[0] in "_$")
        merged = token[0] in "'\"" and text.endswith(token[0])
        text += (draw(GAP) if apart or merged or draw(st.booleans()) else "") + token
    return text


@st.composite
def with_something_forbidden(draw: st.DrawFn) -> bytes:
    before = draw(st.lists(TOKENS, max_size=5))
    after = draw(st.lists(TOKENS, max_size=5))
    head = draw(
        st.sampled_from(["SELECT", "VALUES (", "WITH x AS (", "TABLE", "EXPLAIN SELECT", "SELECT 1; SELECT"])
    )
    return joined(draw, [head, *before, draw(st.sampled_from(FORBIDDEN)), *after]).encode()


@given(with_something_forbidden())
def test_nothing_forbidden_is_proven(sql: bytes) -> None:
    assert not classify(sql) & (READ_ONLY | SESSION_ONLY)


@given(
    st.lists(st.sampled_from(WHOLE), min_size=1, max_size=4),
    GAP,
)
def test_several_statements_are_the_sum_of_them(statements: list[str], gap: str) -> None:
    whole = (";" + gap).join(f"{statement}\n" for statement in statements).encode()
    parts = [classify(statement.encode()) for statement in statements]
    found = classify(whole)
    if found & UNSURE:  # a gap was a comment inside a comment
        assert not found & (READ_ONLY | SESSION_ONLY)
        return
    seen = 0
    for part in parts:
        seen |= part
    suspicions = ALL & ~(READ_ONLY | SESSION_ONLY | SEVERAL)
    assert found & suspicions & ~DENIED == seen & suspicions & ~DENIED
    assert found & seen & DENIED == seen & DENIED
    assert bool(found & READ_ONLY) == all(part & READ_ONLY for part in parts)
    harmless = all(part & (READ_ONLY | SESSION_ONLY) for part in parts)
    assert bool(found & (READ_ONLY | SESSION_ONLY)) == harmless


@given(st.sampled_from(PROVEN), GAP, GAP)
def test_comments_around_it_change_nothing(sql: str, before: str, after: str) -> None:
    dressed = f"{before}{sql}\n{after}".encode()
    if sure(dressed):
        assert classify(dressed) & READ_ONLY


SCRAPS = [
    b"'",
    b'"',
    b"\\",
    b"$$",
    b"$a$",
    b"$1",
    b"/*",
    b"*/",
    b"--",
    b"\n",
    b"\r",
    b";",
    b" ",
    b"e'",
    b'U&"',
]
SCRAPS += [
    b"(",
    b")",
    b".",
    b",",
    b"1",
    b"f",
    b"as",
    b"select ",
    b"with ",
    b"explain ",
    b"copy ",
    b"from ",
    b"to ",
]
SCRAPS += [
    b"declare a cursor for ",
    b"commit",
    b" and chain",
    b"prepare ",
    b"transaction",
    b"do ",
    b"over",
    b"join",
]
SCRAPS += [
    b"insert ",
    b"into",
    b"for ",
    b"update",
    b"no_replay",
    b"pg_catalog.",
    b"lower(",
    b"\xff",
    b"\0",
    b"\x01",
]
SCRAPS += [b"\x02", b"set ", b"begin", b"end", b"rollback to ", b"values(", b"materialized"]
ANY = st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(SCRAPS), max_size=30).map(b"".join))


@given(ANY)
def test_any_bytes_are_taken(sql: bytes) -> None:
    for text in (sql, b"select " + sql):
        flags = classify(text)
        assert 0 <= flags <= ALL
        if flags & UNSURE:
            assert not flags & (READ_ONLY | SESSION_ONLY)


@settings(max_examples=20)
@given(ANY, ANY)
def test_long_texts_are_taken(sql: bytes, behind: bytes) -> None:
    flags = classify(sql + b" " * module.LOOK_BYTES + behind + b" ")
    assert flags & UNSURE
    assert not flags & (READ_ONLY | SESSION_ONLY)


@given(ANY)
def test_what_stands_before_a_commit_never_hides_it(scraps: bytes) -> None:
    # Only what opens a literal, a quoted identifier or a comment can make the rest anything but a command.
    sql = scraps + b"\n;COMMIT"
    if not any(opening in scraps for opening in (b"'", b'"', b"$", b"/*", b"&")) or not sure(sql):
        assert classify(sql) & COMMITS


@given(ANY)
def test_what_stands_before_a_write_never_proves_it(scraps: bytes) -> None:
    sql = b"select " + scraps + b"\n insert into t"
    if not any(opening in scraps for opening in (b"'", b'"', b"$", b"/*")) or not sure(sql):
        assert not classify(sql) & READ_ONLY
