"""What one text of a client is, for whoever has to decide whether it may be said a second time.

Flags of two kinds. *Proofs* (:data:`READ_ONLY`, :data:`SESSION_ONLY`) are given only where nothing speaks
against them; *suspicions* (all others) where anything speaks for them. A caller who takes a missing proof for
"may have done anything" and a suspicion for a fact is never misled.

What no text shows is not seen: the bodies of functions, views, rules and triggers, and functions of a user's
own that overload one of the server's names. EXECUTE is what its PREPARE was, FETCH what its DECLARE was:
judge a transaction by all its texts. A function can be called without parentheses too, ``(x).f`` or ``t.f``:
the first is never proven, the second is unless the server's own ``f`` would do harm.

It is no parser. Comments, literals and quoted identifiers are blanked, statements split at semicolons, and
the words looked at that remain. The lexical rules are those of ``scan``, which asks what a text leaves in its
session; here blanks keep the words beside them apart, because ``AS "a"INTO t`` is two words to the server.

Source: PostgreSQL documentation, chapters "SQL Syntax" (lexical structure), "SQL Commands", appendix "SQL Key
Words"; the lists of functions are checked against a server's own catalogue by the tests.
"""

from __future__ import annotations

import functools
import re
from typing import Final

READ_ONLY: Final = 1
"""Proof: only SELECT, VALUES, TABLE, SHOW or EXPLAIN without ANALYZE, no row locked, no function called but
those of :data:`HARMLESS`. An empty text is one too."""
SESSION_ONLY: Final = 2
"""Proof: no effect outside its session. At least one SET, BEGIN, SAVEPOINT, LISTEN and the like, and beside
them only what is READ_ONLY. Neither COMMIT nor ROLLBACK is one."""
BEGINS: Final = 4
COMMITS: Final = 8
"""COMMIT or END, not COMMIT PREPARED."""
ROLLS_BACK: Final = 16
"""ROLLBACK or ABORT, neither ROLLBACK TO nor ROLLBACK PREPARED."""
CHAINS: Final = 32
"""AND CHAIN: a new transaction begins where the old one ends."""
TWO_PHASE: Final = 64
"""PREPARE TRANSACTION, COMMIT PREPARED, ROLLBACK PREPARED."""
SEVERAL: Final = 128
"""More than one statement, or one with semicolons inside."""
NOTIFIES: Final = 256
"""NOTIFY or pg_notify()."""
DENIED: Final = 512
"""Never to be said twice: it acts outside the database, outside its transaction or on other sessions, or
carries the hint ``/* no_replay */``."""
WRITES: Final = 1024
"""A statement that changes data or definitions, by its first word or its WITH."""
UNSURE: Final = 2048
"""The text could not be split for certain, or is longer than :data:`LOOK_BYTES`. There is no proof then."""

LOOK_BYTES: Final = 65_536
"""Of a longer text only so much is looked at: a bulk load must not hold up everybody else's queries."""

SEARCH_BYTES: Final = 16_777_216
"""Up to this length a text over :data:`LOOK_BYTES` is at least searched for semicolons, which is quick."""

COMMIT_TEXTS: Final = frozenset({b"COMMIT", b"COMMIT;", b"commit", b"commit;", b"END", b"END;"})
"""How a COMMIT is spelt most often."""
CACHED_BYTES: Final = 4096
CACHED_TEXTS: Final = 1024
"""What is remembered of texts up to :data:`CACHED_BYTES`: 4 MiB at most."""

_PROOFS: Final = READ_ONLY | SESSION_ONLY

_WORD: Final = rb"[\w$\x80-\xff]"
_DOLLAR: Final = rb"(?<!" + _WORD + rb")\$"
_TAG: Final = rb"(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?"

_LITERAL: Final = b"\x01"  # stands for a literal
_QUOTED: Final = b"\x02"  # stands before what was a quoted identifier, which is never a keyword
_LOST: Final = b"'"  # what doesn't end, or not for certain; nothing else leaves a quote behind

# Comments, literals and quoted identifiers. What starts like one and doesn't match takes the rest of the text
# with it (group 2): nested comments, backslashes outside E'' (they depend on a setting) and
# those beside bytes that depend on the encoding.
_OPAQUE: Final = re.compile(
    rb"--[^\n\r]*"
    rb"|/\*[^*/]*+(?>(?:(?:\*(?!/)|/(?!\*))[^*/]*+)*)\*/"
    rb"|(?<!" + _WORD + rb")[eE]'(?>(?:[^'\\\x80-\xff]|''|\\[\x00-\x7f])*)'"
    rb"|'[^'\\]*+(?>(?:''[^'\\]*+)*)'"
    rb'|"[^"]*+(?>(?:""[^"]*+)*)"'
    rb"|" + _DOLLAR + rb"(" + _TAG + rb")\$.*?\$\1\$"
    rb"|((?:['\"]|/\*|" + _DOLLAR + _TAG + rb"\$).*)",
    re.DOTALL,
)
_UNCERTAIN: Final = re.compile(rb"'|\d\$")
_NO_IDENTIFIER: Final = re.compile(rb"[^\w$\x80-\xff]")

_BEFORE: Final = rb"(?<![\w$\x80-\xff\x02])"  # where a bare word may start
_AFTER: Final = rb"(?!" + _WORD + rb")"
_HEAD: Final = re.compile(rb"[\s(]*+([a-z_]++)" + _AFTER + rb"\s*+([a-z]*+)")

_CHAIN: Final = re.compile(
    _BEFORE + rb"(?:commit|end|rollback|abort)(?:\s+(?:work|transaction))?\s+and\s+chain" + _AFTER
)
_TO_SAVEPOINT: Final = re.compile(rb"\s*rollback(?:\s+(?:work|transaction))?\s+to" + _AFTER)
_ENDING: Final = re.compile(rb"commit|" + _BEFORE + rb"end" + _AFTER)
_MODIFYING: Final = re.compile(_BEFORE + rb"(?:insert|update|delete|merge|into)" + _AFTER)
_CHANGING: Final = re.compile(
    _BEFORE + rb"(?:insert|update|delete|merge|into|for\s+(?:key\s+)?share)" + _AFTER
)
_LOCKING: Final = re.compile(_BEFORE + rb"for\s+(?:(?:no\s+key\s+)?update|(?:key\s+)?share)" + _AFTER)
_ANALYZE: Final = re.compile(_BEFORE + rb"analy[sz]e" + _AFTER)
_EXPLAIN: Final = re.compile(rb"[\s(]*+explain\s*+(?:\([^()]*+\))?\s*(?:verbose" + _AFTER + rb")?")
_NAME: Final = rb"\x02?[a-z_\x80-\xff][\w$\x80-\xff]*+"
_DECLARE: Final = re.compile(
    rb"[\s(]*+declare\s+" + _NAME + rb"\s+(?>(?:(?:binary|insensitive|asensitive|scroll|no\s+scroll)\s+)*)"
    rb"cursor\s+(?:with(?:out)?\s+hold\s+)?for" + _AFTER
)
_FROM: Final = re.compile(_BEFORE + rb"from" + _AFTER)
_COPY_CLIENT: Final = re.compile(_BEFORE + rb"(?:from|to)\s+(?:stdin|stdout)" + _AFTER)
_COPY_SERVER: Final = re.compile(
    _BEFORE + rb"(?:from|to)\s*(?:(?:u&|n)?" + _LITERAL + rb"|program" + _AFTER + rb")"
)
_CONCURRENTLY: Final = re.compile(_BEFORE + rb"concurrently" + _AFTER)
_DISTINCT_ON: Final = re.compile(_BEFORE + rb"distinct\s+on" + _AFTER)

# Numbers that end in a letter: before version 15 the server read ``1into t`` as two words.
_GLUED: Final = re.compile(rb"(?<![\w$.\x80-\xff])[.$]?\d[\d.]*+[a-z_\x80-\xff]")

# A function called as an attribute: of an expression, or of a table, which only these do harm to.
_ATTRIBUTE: Final = re.compile(
    rb"[)\]]\s*+\."
    rb"|\.\s*+\x02?(?:nextval|setseed|lo_|brin_|gin_clean|binary_upgrade|dblink"
    rb"|pg_(?:(?:try_)?advisory|backup|cancel|create|drop|import|log|notify|read|replication_origin|stat_reset"
    rb"|terminate))"
)

# What looks like a call, with the word before it: what some names mean depends on that.
_CALL: Final = re.compile(
    _BEFORE
    + rb"(?:([a-z_]++)"
    + _AFTER
    + rb"\s*)?((?>(?:"
    + _BEFORE
    + _NAME
    + rb"\s*+\.\s*+){0,3})"
    + _BEFORE
    + _NAME
    + rb")\s*+\("
)
_SPACE: Final = re.compile(rb"\s+")

# No word that means anything has a digit in it but names of functions, and of those only fewer are known to
# be harmless then. Tags of dollar quotes are told apart by theirs.
_ALL_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
_TAGGED: Final = re.compile(rb"\$[^$0-9]")
_QUERY: Final = rb"[\s(]*+(?:(?:select|with|table)" + _AFTER + rb"|values\s*\()"
_SUBQUERY: Final = re.compile(_QUERY)
_COMMON_TABLE: Final = re.compile(rb"[^()]*+\)\s*+as\s*+(?:(?:not\s+)?materialized\s*+)?\(" + _QUERY)

# Key words that no function can be called by without quotes, in any server from 14 to 18.
_KEY_WORDS: Final = frozenset(
    b"""all and any array as asymmetric between bit case cast char character coalesce current_time
    current_timestamp dec decimal distinct else except exists extract float for from greatest group
    grouping having in intersect interval lateral least limit localtime localtimestamp nchar normalize
    not nullif numeric offset on only or overlay position row select some substring symmetric then time
    timestamp to trim union using values varchar variadic when where with xmlattributes xmlconcat
    xmlelement xmlexists xmlforest xmlparse xmlpi xmlroot xmlserialize xmltable""".split()
)

# Words that could be functions' names, and the words that tell that they aren't.
_TOLD_BY: Final[dict[bytes, frozenset[bytes]]] = {
    b"by": frozenset({b"group", b"order", b"partition"}),
    b"join": frozenset({b"cross", b"full", b"inner", b"left", b"natural", b"outer", b"right"}),
    b"sets": frozenset({b"grouping"}),
    b"varying": frozenset({b"bit", b"char", b"character", b"nchar"}),
    b"zone": frozenset({b"time"}),
}

HARMLESS: Final = frozenset(
    b"""abbrev abs acos acosd acosh age array_agg array_append array_cat array_dims array_fill array_length
    array_lower array_ndims array_position array_positions array_prepend array_remove array_replace
    array_to_json array_to_string array_upper ascii asin asind asinh atan atan2 atan2d atand atanh avg
    bit_and bit_count bit_length bit_or bit_xor bool bool_and bool_or box bpchar broadcast btrim bytea
    cardinality cbrt ceil ceiling center char_length character_length chr cidr circle clock_timestamp
    col_description concat concat_ws convert convert_from convert_to corr cos cosd cosh cot cotd count
    covar_pop covar_samp cume_dist current_database current_query current_schema current_schemas
    current_setting date date_bin date_part date_trunc datemultirange daterange decode degrees
    dense_rank diameter div encode enum_first enum_last enum_range every exp factorial family
    first_value float4 float8 floor format format_type gcd gen_random_uuid generate_series
    generate_subscripts get_bit get_byte has_any_column_privilege has_column_privilege
    has_database_privilege has_function_privilege has_language_privilege has_schema_privilege
    has_sequence_privilege has_server_privilege has_table_privilege has_tablespace_privilege
    has_type_privilege hashtext height host hostmask inet_client_addr inet_client_port inet_merge
    inet_same_family inet_server_addr inet_server_port initcap int2 int4 int4multirange int4range int8
    int8multirange int8range isclosed isempty isfinite isopen json_agg json_array_elements
    json_array_elements_text json_array_length json_build_array json_build_object json_each
    json_each_text json_extract_path json_extract_path_text json_object json_object_agg json_object_keys
    json_populate_record json_populate_recordset json_strip_nulls json_to_record json_to_recordset
    json_typeof jsonb_agg jsonb_array_elements jsonb_array_elements_text jsonb_array_length
    jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text jsonb_extract_path
    jsonb_extract_path_text jsonb_insert jsonb_object jsonb_object_agg jsonb_object_keys
    jsonb_path_exists jsonb_path_exists_tz jsonb_path_match jsonb_path_match_tz jsonb_path_query
    jsonb_path_query_array jsonb_path_query_array_tz jsonb_path_query_first jsonb_path_query_first_tz
    jsonb_path_query_tz jsonb_populate_record jsonb_populate_recordset jsonb_pretty jsonb_set
    jsonb_set_lax jsonb_strip_nulls jsonb_to_record jsonb_to_recordset jsonb_typeof justify_days
    justify_hours justify_interval lag last_value lcm lead left length like line ln log log10 lower
    lower_inc lower_inf lpad lseg ltrim macaddr make_date make_interval make_time make_timestamp
    make_timestamptz masklen max md5 min min_scale mod mode money multirange name netmask network now
    npoints nth_value ntile num_nonnulls num_nulls nummultirange numrange obj_description octet_length
    oid overlaps parse_ident path percent_rank percentile_cont percentile_disc pg_backend_pid
    pg_blocking_pids pg_char_to_encoding pg_client_encoding pg_collation_for pg_collation_is_visible
    pg_column_size pg_conf_load_time pg_current_snapshot pg_current_xact_id_if_assigned pg_database_size
    pg_describe_object pg_encoding_to_char pg_function_is_visible pg_get_constraintdef pg_get_expr
    pg_get_function_arg_default pg_get_function_arguments pg_get_function_identity_arguments
    pg_get_function_result pg_get_functiondef pg_get_indexdef pg_get_partkeydef pg_get_ruledef
    pg_get_serial_sequence pg_get_triggerdef pg_get_userbyid pg_get_viewdef pg_has_role pg_indexes_size
    pg_is_in_recovery pg_last_wal_receive_lsn pg_last_wal_replay_lsn pg_last_xact_replay_timestamp
    pg_lsn pg_my_temp_schema pg_opclass_is_visible pg_operator_is_visible pg_partition_ancestors
    pg_partition_root pg_partition_tree pg_postmaster_start_time pg_relation_filenode
    pg_relation_filepath pg_relation_size pg_sequence_last_value pg_sequence_parameters pg_size_bytes
    pg_size_pretty pg_sleep pg_sleep_for pg_sleep_until pg_table_is_visible pg_table_size
    pg_tablespace_location pg_tablespace_size pg_timezone_names pg_total_relation_size
    pg_ts_config_is_visible pg_type_is_visible pg_typeof pg_visible_in_snapshot pg_wal_lsn_diff
    phraseto_tsquery pi plainto_tsquery point polygon pow power querytree quote_ident quote_literal
    quote_nullable radians radius random range_agg range_merge rank regclass regexp_match regexp_matches
    regexp_replace regexp_split_to_array regexp_split_to_table regr_avgx regr_avgy regr_count
    regr_intercept regr_r2 regr_slope repeat replace reverse right round row_number row_security_active
    row_to_json rpad rtrim scale set_bit set_byte set_masklen setweight sha224 sha256 sha384 sha512
    shobj_description sign sin sind sinh split_part sqrt statement_timestamp stddev stddev_pop
    stddev_samp string_agg string_to_array string_to_table strip strpos substr sum tan tand tanh text
    timeofday timestamptz timetz timezone to_ascii to_char to_date to_hex to_json to_jsonb to_number
    to_regclass to_regnamespace to_regoper to_regoperator to_regproc to_regprocedure to_regrole
    to_regtype to_timestamp to_tsquery to_tsvector transaction_timestamp translate trim_array trim_scale
    trunc ts_delete ts_filter ts_headline ts_rank ts_rank_cd tsmultirange tsrange tstzmultirange
    tstzrange tsvector_to_array txid_current_if_assigned txid_current_snapshot txid_visible_in_snapshot
    unistr unnest upper upper_inc upper_inf var_pop var_samp varbit variance version
    websearch_to_tsquery width width_bucket xml_is_well_formed xmlagg xmlcomment xpath xpath_exists""".split()
)
"""Functions of the server, and types that are written like one, whose calls have no effect; in every server
from 14 to 18, because a name that one of them lacks may be a user's own function there."""

# Names that deny wherever they stand, and what has to be in a text that one of them could be in.
_DENIED: Final = re.compile(
    rb"dblink|lo_import|lo_export|pg_read_(?:binary_)?file|pg_stat_file|pg_ls_dir|pg_file_\w|pg_logdir_ls"
    rb"|pg_reload_conf|pg_rotate_logfile|pg_switch_(?:wal|xlog)|pg_create_restore_point|pg_promote"
    rb"|pg_wal_replay_|pg_backup_st|pg_st(?:art|op)_backup|pg_(?:terminate|cancel)_backend"
    rb"|pg_(?:create|copy|drop)_\w*slot|pg_replication_slot_advance|pg_logical_(?:slot_get|emit)"
    rb"|pg_sync_replication_slots|pg_replication_origin_(?:advance|create|drop|session|xact)|pg_stat_reset"
    rb"|pg_log_backend|language\s+['\"]?pl\w+u" + _AFTER
)
_HINT: Final = b"no_replay"

_BODY: Final = 1 << 20  # code in a literal

_COMMANDS: Final[dict[bytes, int]] = {
    **dict.fromkeys((b"begin", b"start"), BEGINS | SESSION_ONLY),
    **dict.fromkeys((b"commit", b"end"), COMMITS),
    **dict.fromkeys((b"rollback", b"abort"), ROLLS_BACK),
    b"show": READ_ONLY | SESSION_ONLY,
    **dict.fromkeys(b"savepoint release set reset discard listen unlisten".split(), SESSION_ONLY),
    **dict.fromkeys(b"prepare deallocate close fetch move".split(), SESSION_ONLY),
    **dict.fromkeys(b"insert update delete merge truncate create alter drop comment grant".split(), WRITES),
    **dict.fromkeys(
        b"revoke analyze analyse security import reassign refresh cluster reindex".split(), WRITES
    ),
    b"vacuum": WRITES | DENIED,
    **dict.fromkeys(b"checkpoint base_backup start_replication create_replication_slot".split(), DENIED),
    **dict.fromkeys(b"drop_replication_slot alter_replication_slot".split(), DENIED),
    b"notify": NOTIFIES,
    b"do": _BODY,
}
_QUERIES: Final = frozenset({b"select", b"values", b"table", b"with"})
_DEFINING: Final = frozenset({b"create", b"alter", b"drop", b"reindex", b"refresh"})
_CLUSTER_WIDE: Final = frozenset({b"database", b"tablespace", b"subscription", b"system"})
_DENIED_WORDS: Final = re.compile(
    _BEFORE
    + rb"(?:copy|vacuum|checkpoint|concurrently|database|tablespace|subscription|alter\s+system)"
    + _AFTER
)


def _spellings(words: bytes, flags: int) -> dict[bytes, int]:
    return {words: flags, words + b";": flags}


_EXACT: Final[dict[bytes, int]] = {
    **_spellings(b"", READ_ONLY),
    **_spellings(b"begin", BEGINS | SESSION_ONLY),
    **_spellings(b"begin transaction", BEGINS | SESSION_ONLY),
    **_spellings(b"start transaction", BEGINS | SESSION_ONLY),
    **_spellings(b"commit", COMMITS),
    **_spellings(b"commit transaction", COMMITS),
    **_spellings(b"end", COMMITS),
    **_spellings(b"rollback", ROLLS_BACK),
    **_spellings(b"rollback transaction", ROLLS_BACK),
    **_spellings(b"select 1", READ_ONLY),
}
_EXACT_BYTES: Final = max(map(len, _EXACT))


def classify(sql: bytes) -> int:
    """What a simple query or the text of a Parse is, as flags. Any bytes will do; none raise."""
    length = len(sql)
    if length <= _EXACT_BYTES:
        known = _EXACT.get(sql.lower())
        if known is not None:
            return known
    if length <= CACHED_BYTES:
        return _remembered(sql)
    return _judge(sql) if length <= LOOK_BYTES else _glance(sql)


def alike(sql: bytes) -> bytes:
    """A text with the same flags for all texts that differ in their numbers alone."""
    return sql if b"$" in sql and _TAGGED.search(sql) is not None else sql.translate(_ALL_DIGITS)


def code_of(sql: bytes) -> bytes | None:
    """The text without comments and literals, in lower case; ``None`` if it can't be told for certain."""
    code = _OPAQUE.sub(_blank, sql[:LOOK_BYTES]).lower()
    return None if _UNCERTAIN.search(code) is not None else code


def changes_nothing(flags: int) -> bool:
    """Whether a text of these flags provably changes nothing by itself; it may end a transaction."""
    if flags & _PROOFS:
        return True
    return bool(flags & COMMITS) and not flags & (SEVERAL | CHAINS | TWO_PHASE | UNSURE)


@functools.lru_cache(maxsize=CACHED_TEXTS)
def _remembered(sql: bytes) -> int:
    return _judge(sql)


def _judge(sql: bytes) -> int:
    raw = sql.lower()
    code = _OPAQUE.sub(_blank, sql).lower()
    if _UNCERTAIN.search(code) is not None:
        return _suspected(raw)
    seen = session = count = 0
    common = READ_ONLY | SESSION_ONLY
    for statement in code.split(b";"):
        if not statement or statement.isspace():
            continue
        found = _statement(statement)
        seen |= found
        session |= found & SESSION_ONLY
        common &= found | SESSION_ONLY if found & _PROOFS else 0
        count += 1
    flags = seen & ~(_PROOFS | _BODY) | _named(raw)
    if count > 1:
        flags |= SEVERAL
    if seen & _BODY and b"notify" in raw:
        flags |= NOTIFIES
    return flags if b'u&"' in raw else flags | common & (READ_ONLY | session)


def _suspected(raw: bytes) -> int:
    """The flags of a text whose words can't be told from its literals: whatever any of it suggests."""
    flags = UNSURE | _named(raw)
    for statement in raw.split(b";"):
        flags |= _statement(statement) & ~(_PROOFS | _BODY)
    if _ENDING.search(raw) is not None:
        flags |= COMMITS
    if b"notify" in raw:
        flags |= NOTIFIES
    if b"prepare" in raw and (b"transaction" in raw or b"prepared" in raw):
        flags |= TWO_PHASE
    if _DENIED_WORDS.search(raw) is not None:
        flags |= DENIED
    return flags | CHAINS if _CHAIN.search(raw) is not None else flags


def _glance(sql: bytes) -> int:
    """The flags of a long text: anything may stand behind what is looked at, but no statement unseen."""
    start = sql[:LOOK_BYTES]
    raw = start.lower()
    if len(sql) <= SEARCH_BYTES and b";" not in sql:
        code = _OPAQUE.sub(_blank, start).lower()
        head = _HEAD.match(code)
        if head is not None and head.end() < len(code):
            return UNSURE | NOTIFIES | _named(raw) | _statement(code) & ~(_PROOFS | _BODY)
    return _suspected(raw) | COMMITS | NOTIFIES


def _named(raw: bytes) -> int:
    """What is told by names that mean something wherever they stand, because literals may be code."""
    if b'u&"' in raw:  # a name in escapes may be any
        return DENIED | NOTIFIES
    flags = NOTIFIES if b"pg_notify" in raw else 0
    if (b"pg_" in raw or b"lo_" in raw or b"dblink" in raw or b"language" in raw) and _DENIED.search(
        raw
    ) is not None:
        return flags | DENIED
    hint = raw.rfind(_HINT)
    if hint >= 0 and (0 <= raw.find(b"/*") < hint or 0 <= raw.find(b"--") < hint):
        return flags | DENIED
    return flags


def _blank(match: re.Match[bytes]) -> bytes:
    if match.lastindex == 2:
        return _LOST
    token = match.group()
    first = token[:1]
    if first == b'"':
        name = token[1:-1]
        return b" " + _QUOTED + (name if name.isalnum() else _NO_IDENTIFIER.sub(b"_", name)) + b" "
    return b" " if first in {b"-", b"/"} else _LITERAL


def _statement(code: bytes) -> int:
    """What one statement is, by the words it starts with."""
    head = _HEAD.match(code)
    if head is None:
        return 0
    first, second = head.groups()
    if first in _QUERIES:
        return _query(code)
    if first == b"explain":
        return _explain(code)
    if first == b"declare":
        declared = _DECLARE.match(code)
        return SESSION_ONLY if declared is not None and _proven(code[declared.end() :]) else 0
    if first == b"copy":
        return _copy(code)
    flags = _COMMANDS.get(first, 0)
    if flags & (COMMITS | ROLLS_BACK):
        if second == b"prepared":
            return TWO_PHASE
        if _TO_SAVEPOINT.match(code) is not None:
            return SESSION_ONLY
        return flags | CHAINS if _CHAIN.search(code) is not None else flags
    if first == b"prepare" and second == b"transaction":  # PREPARE transaction AS … is allowed too
        return TWO_PHASE
    if first == b"set" and second == b"constraints":  # runs deferred triggers
        return 0
    if first in _DEFINING and (second in _CLUSTER_WIDE or _CONCURRENTLY.search(code) is not None):
        return flags | DENIED
    return flags


def _query(code: bytes) -> int:
    if _proven(code):
        return READ_ONLY
    return WRITES if _MODIFYING.search(_LOCKING.sub(b" ", code)) is not None else 0


def _explain(code: bytes) -> int:
    options = _EXPLAIN.match(code)
    if _ANALYZE.search(code) is not None:
        return WRITES if _MODIFYING.search(code) is not None else 0
    return READ_ONLY if options is not None and _proven(code[options.end() :]) else 0


def _copy(code: bytes) -> int:
    flags = 0
    inside = code.lstrip()[len(b"copy") :].lstrip().startswith(b"(")
    if _MODIFYING.search(code) is not None or (not inside and _FROM.search(code) is not None):
        flags = WRITES
    if _COPY_CLIENT.search(code) is None or _COPY_SERVER.search(code) is not None:
        flags |= DENIED
    return flags


def _proven(code: bytes) -> bool:
    """Whether this is a query that changes nothing, as far as its text goes."""
    head = _HEAD.match(code)
    if (
        head is None
        or head.group(1) not in _QUERIES
        or _CHANGING.search(code) is not None
        or _GLUED.search(code) is not None
        or _ATTRIBUTE.search(code) is not None
    ):
        return False
    windows = b"distinct" not in code or _DISTINCT_ON.search(code) is None
    return all(_harmless(call, code, windows=windows) for call in _CALL.finditer(code))


def _harmless(call: re.Match[bytes], code: bytes, *, windows: bool) -> bool:
    """Whether what looks like a call is none, or one without effect."""
    before, name = call.groups()
    if name in _KEY_WORDS or name in HARMLESS or before == b"as":
        return True
    if b"." in name:
        schema, _, function = _SPACE.sub(b"", name).rpartition(b".")
        return schema == b"pg_catalog" and function in HARMLESS
    if before in _TOLD_BY.get(name, ()):
        return True
    if name == b"join":
        return _SUBQUERY.match(code, call.end()) is not None
    if name in {
        b"over",
        b"filter",
    }:  # they follow a call, which behind DISTINCT ON (…) they could be themselves
        at = call.start()
        while code[at - 1 : at].isspace():
            at -= 1
        return windows and code[at - 1 : at] == b")"
    return _COMMON_TABLE.match(code, call.end()) is not None
