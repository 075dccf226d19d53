"""Comments in SQL: found wherever they are, never where they aren't, added without touching anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.wire.tracecontext.sql_comment import (
    COMMENT_MAX,
    PAIRS_MAX,
    read_comment,
    write_comment,
)
from tests.wire.tracecontext.lexer import comments, tokens
from tests.wire.tracecontext.statements import SQL, UNCOMMENTED

PARENT = "00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01"
TRACE = {"traceparent": PARENT}
COMMENT = f"/*traceparent='{PARENT}'*/"
SPECIFICATION = (
    "SELECT * FROM FOO /*action='%2Fparam*d',controller='index',framework='spring',"
    "\ntraceparent='00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01',"
    "\ntracestate='congo%3Dt61rcWkgMzE%2Crojo%3D00f067aa0ba902b7'*/"
)


def test_reads_the_example_of_the_specification() -> None:
    assert read_comment(SPECIFICATION) == {
        "action": "/param*d",
        "controller": "index",
        "framework": "spring",
        "traceparent": PARENT,
        "tracestate": "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7",
    }


def test_writes_names_in_order_and_encoded() -> None:
    pairs = {"route": "/polls 1000", "name": "''", "a b": "x*/--", "": "nameless"}
    comment = "/*a%20b='x%2A%2F--',name='%27%27',route='%2Fpolls%201000'*/"
    assert write_comment("SELECT 1", pairs) == f"SELECT 1 {comment}"
    assert write_comment("SELECT 1", {"": "x"}) == "SELECT 1"


@pytest.mark.parametrize(
    ("sql", "commented"),
    [
        ("SELECT 1", f"SELECT 1 {COMMENT}"),
        ("SELECT 1;", f"SELECT 1 {COMMENT};"),
        ("SELECT 1 ;\n", f"SELECT 1 {COMMENT} ;\n"),
        ("SELECT 1; SELECT 2;", f"SELECT 1; SELECT 2 {COMMENT};"),
        ("SELECT '/* x */'", f"SELECT '/* x */' {COMMENT}"),
        ("SELECT $$;--$$;", f"SELECT $$;--$$ {COMMENT};"),
        ('SELECT "--"', f'SELECT "--" {COMMENT}'),
        ("SELECT E'\\'/*'", f"SELECT E'\\'/*' {COMMENT}"),
        ("SELECT 2 *", f"SELECT 2 * {COMMENT}"),
        ("showing", f"showing {COMMENT}"),
    ],
)
def test_writes_behind_the_last_token(sql: str, commented: str) -> None:
    assert write_comment(sql, TRACE) == commented
    assert read_comment(commented) == TRACE


@pytest.mark.parametrize(
    "sql",
    [
        "",
        " ;",
        "/* x */ SELECT 1",
        "SELECT 1 -- x",
        "SELECT 1 /*+ SeqScan(t) */",
        f"SELECT 1 {COMMENT}",
        "SELECT '",
        "SELECT 'a\\'",
        "SELECT 1 /*",
        "SELECT $$",
        "SELECT $$$$$$",
        "SHOW POOLS",
        "show search_path;",
        'START_REPLICATION SLOT "s" LOGICAL 0/0',
        "IDENTIFY_SYSTEM",
        "CREATE_REPLICATION_SLOT s LOGICAL x",
        "SELECT 1\0",
    ],
)
def test_leaves_alone_what_it_could_spoil(sql: str) -> None:
    assert write_comment(sql, TRACE) == sql


def test_writes_nothing_if_there_is_nothing_or_too_much_to_say() -> None:
    assert write_comment("SELECT 1", {}) == "SELECT 1"
    assert write_comment("SELECT 1", {"a": "x" * COMMENT_MAX}) == "SELECT 1"
    assert write_comment("SELECT 1", {f"a{at}": "" for at in range(PAIRS_MAX + 1)}) == "SELECT 1"
    assert write_comment("SELECT 1", {f"a{at}": "" for at in range(PAIRS_MAX)}) != "SELECT 1"


def test_percent_signs_for_drivers_that_take_one_for_a_parameter() -> None:
    pairs = {"tracestate": "congo=t61rcWkgMzE,a=%"}
    sql = write_comment("SELECT %s", pairs, double_percent=True)
    assert sql == "SELECT %s /*tracestate='congo%%3Dt61rcWkgMzE%%2Ca%%3D%%25'*/"
    assert read_comment(sql) == read_comment(sql.replace("%%", "%")) == pairs


@pytest.mark.parametrize(
    ("sql", "pairs"),
    [
        ("SELECT 1", {}),
        ("/**/ SELECT 1", {}),
        ("SELECT '/*a=''1''*/'", {}),
        ("SELECT $$/*a='1'*/$$", {}),
        ("SELECT \"/*a='1'*/\"", {}),
        ("SELECT E'\\'/*a=''1''*/'", {}),
        ("-- /*a='1'*/", {}),
        ("/* /*a='1'*/ */ SELECT 1", {}),
        ("SELECT 'a\\' /*a='1'*/", {}),
        ("/*a='1'*/ SELECT '", {}),
        ("/*a='1'*/ SELECT 1", {"a": "1"}),
        ("SELECT /* a = '1' , b\t='2' */ 1", {"a": "1", "b": "2"}),
        ("SELECT 1 /*a='1',*/", {}),
        ("SELECT 1 /*a='1' b='2'*/", {}),
        ("SELECT 1 /*a=1*/", {}),
        ("SELECT 1 /*,a='1'*/", {}),
        ("SELECT 1 /*a='1*/", {}),
        ("SELECT 1 /*name='\\'\\''*/", {"name": "''"}),
        ("SELECT 1 /*a\\'b='FOO%20\\'BAR'*/", {"a'b": "FOO 'BAR"}),
        ("SELECT 1 /*a='1',a='2'*/", {"a": "1"}),
        ("/*a='1',b='2'*/ SELECT 1 /*a='3'*/", {"a": "3", "b": "2"}),
        ("/*a='1'*/ SELECT 1 /* by hand */", {"a": "1"}),
        ("SELECT 1 /*a='%C3%A9'*/", {"a": "\u00e9"}),
        ("SELECT 1 /*a='%ff'*/", {"a": "\ufffd"}),
        (f"SELECT 1 /*a='{'x' * COMMENT_MAX}'*/", {}),
    ],
)
def test_reads_comments_and_nothing_else(sql: str, pairs: dict[str, str]) -> None:
    assert read_comment(sql) == pairs
    assert read_comment(sql.encode()) == pairs


def test_reads_bytes_of_any_encoding_that_keeps_ascii() -> None:
    assert read_comment(b"SELECT '\xe9\xff' /*a='1'*/") == {"a": "1"}
    assert read_comment(b"SELECT \xff$$ /*a='1'*/") == {"a": "1"}
    assert read_comment("SELECT 'я' /*a='1'*/".encode("koi8-r")) == {"a": "1"}


def test_reads_no_more_than_its_limit() -> None:
    one = "/*" + ",".join(f"a{at}='1'" for at in range(PAIRS_MAX + 9)) + "*/"
    assert len(read_comment(one)) == PAIRS_MAX
    many = "".join(f"/*b{at}='1',c{at}='1'*/" for at in range(PAIRS_MAX - 9))
    assert len(read_comment(many)) == PAIRS_MAX
    assert f"b{PAIRS_MAX - 10}" in read_comment(many)


PAIRS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    min_size=1,
    max_size=5,
)


@given(SQL, PAIRS, st.booleans())
def test_changes_no_token_of_any_text(sql: str, pairs: dict[str, str], double: bool) -> None:
    after = write_comment(sql, pairs, double_percent=double)
    for standard in (True, False):
        assert tokens(after, standard=standard) == tokens(sql, standard=standard)
    if after != sql:
        assert comments(sql) == []
        assert len(comments(after)) == 1


@given(UNCOMMENTED, PAIRS)
def test_what_is_written_is_read(sql: str, pairs: dict[str, str]) -> None:
    after = write_comment(sql, pairs)
    assert (after != sql) == bool(sql.strip(" \t\r\n;"))
    if after != sql:
        assert read_comment(after) == read_comment(after.encode()) == pairs
        # Whoever comes second leaves it.
        assert write_comment(after, {"other": "1"}) == after


@given(
    st.lists(st.sampled_from(["/*", "*/", "a", "=", "'", ",", " ", "\\", "%41", "%", "1", "$$", "\n"])).map(
        "".join
    )
)
def test_any_text_gives_text(sql: str) -> None:
    for pairs in (read_comment(sql), read_comment(sql.encode())):
        assert all(isinstance(name, str) and isinstance(value, str) for name, value in pairs.items())
        assert len(pairs) <= PAIRS_MAX


@given(st.binary(max_size=60))
def test_any_bytes_do(sql: bytes) -> None:
    assert read_comment(b"/*a='1'*/" + sql) in ({"a": "1"}, {})
