"""What SQL may leave behind in its session: suspicion, cheap on what is ordinary, never too little.

A client's session state has to follow it from one server connection to the next, or hold it to one. Whether a
statement left any is for the server to say (``seawall.proxy.ledger`` asks it); here is only decided whether
asking is worth it. Suspicion may be wrong in one direction: a question too many costs microseconds of a
server, a question too few costs a client its state or hands it to another client.

Three looks, each at what the one before could not clear: the first four characters and a few rare substrings;
the same behind leading space and comments; and the text with its comments and literals blanked. Text whose
literals cannot be told apart for certain (backslashes depend on ``standard_conforming_strings``, bytes on the
encoding) is taken as it is, literals included.

What no text shows is not found, such as state that a function sets in its own body. FunctionCall messages
carry no text at all; who relays one takes it for :data:`UNKNOWN`. It is no parser, and no place for routing.

Source: PostgreSQL documentation, chapters "SQL Syntax" (lexical structure) and "SQL Commands".
"""

from __future__ import annotations

import re
from typing import Final

SETTINGS: Final = 1
"""Settings of the session, its role and its session authorization among them."""
TEMPORARY: Final = 2
"""Objects in the temporary schema."""
ADVISORY: Final = 4
"""Advisory locks of the session; those of a transaction end with it and are no suspicion."""
LISTEN: Final = 8
PREPARED: Final = 16
"""Statements prepared by SQL; those of the extended protocol are not in the text."""
CURSOR: Final = 32
"""Cursors WITH HOLD."""
LOADED: Final = 64
"""LOAD, which nothing undoes."""
SEQUENCE: Final = 128
"""currval() or lastval(): reads what an earlier call left in this very session."""
STATEFUL: Final = 256
"""A function with a memory of its own: setseed(), named dblink connections, session-bound replication."""
COMPUTED_NAME: Final = 512
"""set_config() with a name that is an expression: no list shows custom settings, so it can't be asked for."""
BOUND_NAME: Final = 1024
"""set_config() with a name that is a parameter: :func:`bound_names` finds it in the Bind message."""
LARGE_OBJECT: Final = 2048
"""lo_open(); the descriptor ends with the transaction, so it is nothing to the session."""
TWO_PHASE: Final = 4096
"""PREPARE TRANSACTION and what ends one; the state is the server's, not the session's."""
UNKNOWN: Final = 8192
"""DO, CALL, EXECUTE: may have done anything."""
RESET: Final = 16384
"""Something may have gone that was there before: DISCARD, DEALLOCATE, UNLISTEN, CLOSE, DROP and the like."""
DDL_DATABASE: Final = 32768
"""CREATE, DROP or ALTER DATABASE: wants nobody else connected, idle pooled connections included."""
REPLICATION: Final = 65536
"""A command of the streaming replication protocol."""

ASKABLE: Final = SETTINGS | TEMPORARY | ADVISORY | LISTEN | PREPARED | CURSOR
"""What a server can be asked about."""

LASTING: Final = LOADED | SEQUENCE | STATEFUL | COMPUTED_NAME | REPLICATION
"""What it cannot: the suspicion itself is the verdict."""

LOOK_BYTES: Final = 65_536
"""Longer text is not blanked, which keeps a bulk load from holding up everybody else's queries."""

NAMES_MAX: Final = 64
"""Names of custom settings that one text or one Bind message may contribute."""

# Commands that do nothing to a session, told by four letters that no other command starts with, unless one of
# the substrings below occurs. CTEs may hold nothing but these either.
_ORDINARY: Final = frozenset(
    {"sele", "inse", "upda", "dele", "with", "valu", "merg", "begi", "save", "rele", "fetc", "move", "copy"}
    | {"show", "trun", "lock", "noti", "vacu", "anal"}
)
_WHOLE: Final = frozenset(
    {"", ";", "commit", "commit;", "rollback", "rollback;", "end", "end;", "abort", "abort;"}
    | {"commit transaction", "rollback transaction", "start transaction", "commit work", "rollback work"}
)

_WORD: Final = rb"[\w$\x80-\xff]"
_NAME: Final = rb"\x03?[a-z_\x80-\xff][\w$\x80-\xff]{0,127}"
_DOLLAR: Final = rb"(?<!" + _WORD + rb")\$"
_TAG: Final = rb"(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?"

_PLAIN: Final = b"\x01"  # stands for a literal without prefix: its content is what the quotes hold
_OTHER: Final = b"\x02"  # stands for any other literal
_QUOTED: Final = b"\x03"  # stands before what was a quoted identifier, which is never a keyword
_LOST: Final = b"'"  # what doesn't end, or not for certain; nothing else leaves a quote behind

# Comments, literals and quoted identifiers. What starts like one and doesn't match takes the rest of the text
# with it (group 2): beginning anew at each of its characters would take quadratic time.
_OPAQUE: Final = re.compile(
    rb"--[^\n\r]*"
    rb"|/\*.*?\*/"
    rb"|(?<!" + _WORD + rb")[eE]'(?>(?:[^'\\\x80-\xff]|''|\\[\x00-\x7f])*)'"
    rb"|'[^'\\]*+(?>(?:''[^'\\]*+)*)'"
    rb"|(?:(?<!" + _WORD + rb')[uU]&)?"[^"]*+(?>(?:""[^"]*+)*)"'
    rb"|" + _DOLLAR + rb"(" + _TAG + rb")\$.*?\$\1\$"
    rb"|((?:['\"]|/\*|" + _DOLLAR + _TAG + rb"\$).*)",
    re.DOTALL,
)
_UNCERTAIN: Final = re.compile(rb"'|\d\$")
_NO_IDENTIFIER: Final = re.compile(rb"[^\w$\x80-\xff]")
_ESCAPED: Final = re.compile(rb"\\(?:([0-9A-Fa-f]{4})|\+([0-9A-Fa-f]{6}))")

# Every statement starts behind a semicolon (one is put in front of the text). Not every semicolon starts one,
# but looking behind them all needs no knowledge of literals. Groups 1 and 5 are comments that were left in
# place; a point behind the second word makes it part of a name (SET local.x = 1).
_HEAD: Final = re.compile(
    rb";\s*(?:(--|/\*)|(set|reset|listen|unlisten|prepare|execute|deallocate|discard|declare|close|load|do|call"
    rb"|create|drop|alter|commit|rollback|explain|start_replication|create_replication_slot"
    rb"|drop_replication_slot|alter_replication_slot|read_replication_slot|identify_system|base_backup"
    rb"|timeline_history|upload_manifest)(?!" + _WORD + rb")\s*([a-z_]*(?:\s*\.)?)\s*([a-z_]*)\s*(--|/\*)?)"
)

_TEMPORARY_CODE: Final = re.compile(
    rb"create\s+(?:or\s+replace\s+)?(?:(?:local|global)\s+)?temp(?:orary)?(?!" + _WORD + rb")"
    rb"|into\s+(?:temp|temporary|local|global)(?!" + _WORD + rb")"
)
_HOLD_CODE: Final = re.compile(rb"with\s+hold")
_SEQUENCE_CODE: Final = re.compile(rb"(?:currval|lastval)\s*\(")
_STATEFUL_CODE: Final = re.compile(
    rb"(?:setseed|dblink_connect(?:_u)?|pg_replication_origin_session_setup"
    rb"|pg_(?:create|copy)_\w*replication_slot)\s*\("
)
_LOAD_TEXT: Final = re.compile(rb"(?<!" + _WORD + rb")load\s*(?:e?'|u&'|\$|--|/\*)")

_ARGUMENT: Final = rb"(?>(?:[^(),;]|\([^();]*\))*)"
_LOCAL_CALL: Final = re.compile(
    rb"set_config\s*\(" + _ARGUMENT + rb"," + _ARGUMENT + rb",\s*(?:is_local\s*(?:=>|:=)\s*)?true\s*\)"
)
_NAMED: Final = rb"set_config\s*\(\s*(?:setting_name\s*(?:=>|:=)\s*)?"
_CAST: Final = rb"\s*(?:::\s*[\w.]+\s*)?,"
_LITERAL_CALL: Final = re.compile(_NAMED + _PLAIN + _CAST)
_BOUND_CALL: Final = re.compile(_NAMED + rb"\$\d+" + _CAST)
_LITERAL_CALL_TEXT: Final = re.compile(_NAMED + rb"'++[^'|]*+'++" + _CAST)

_SET_NAME: Final = re.compile(
    rb"set\s+(?:session\s+|local\s+)?(" + _NAME + rb"(?:\s*\.\s*" + _NAME + rb"){1,7})"
)
_CUSTOM: Final = rb"[A-Za-z_\x80-\xff][\w$\x80-\xff]{0,127}(?:\.[A-Za-z_\x80-\xff][\w$\x80-\xff]{0,127}){1,7}"
_CUSTOM_NAME: Final = re.compile(_CUSTOM)
_LITERAL_NAME: Final = re.compile(rb"'(" + _CUSTOM + rb")'")
_SPACE: Final = re.compile(rb"\s+")

_TAGS: Final[dict[bytes, int]] = {
    b"SET": SETTINGS,
    b"RESET": SETTINGS | RESET,
    b"LISTEN": LISTEN,
    b"UNLISTEN": RESET,
    b"PREPARE": PREPARED,
    b"DEALLOCATE": RESET,
    b"DEALLOCATE ALL": RESET,
    b"DISCARD ALL": SETTINGS | RESET,
    b"DISCARD SEQUENCES": RESET,
    b"DISCARD TEMP": RESET,
    b"DECLARE CURSOR": CURSOR,
    b"CLOSE CURSOR": RESET,
    b"CLOSE CURSOR ALL": RESET,
    b"LOAD": LOADED,
    b"DO": UNKNOWN,
    b"CALL": UNKNOWN,
    b"CREATE DATABASE": DDL_DATABASE,
    b"DROP DATABASE": DDL_DATABASE,
    b"ALTER DATABASE": DDL_DATABASE,
    b"PREPARE TRANSACTION": TWO_PHASE,
    b"COMMIT PREPARED": TWO_PHASE,
    b"ROLLBACK PREPARED": TWO_PHASE,
    b"DROP DOMAIN": RESET,
    b"DROP FUNCTION": RESET,
    b"DROP OWNED": RESET,
    b"DROP PROCEDURE": RESET,
    b"DROP ROUTINE": RESET,
    b"DROP SCHEMA": RESET,
    b"DROP SEQUENCE": RESET,
    b"DROP TABLE": RESET,
    b"DROP TYPE": RESET,
    b"DROP VIEW": RESET,
    b"START_REPLICATION": REPLICATION,
    b"CREATE_REPLICATION_SLOT": REPLICATION,
    b"BASE_BACKUP": REPLICATION,
}

# What has to be looked for in the whole text, once, after all its commands have been seen.
_COMMENTED: Final = 1 << 20  # a comment where a word was expected
_EXECUTES: Final = (
    1 << 21
)  # CREATE TABLE … AS EXECUTE and its like; triggers' EXECUTE FUNCTION costs a question
_HOLDS: Final = 1 << 22  # a cursor, perhaps WITH HOLD
_BODY: Final = 1 << 23  # a literal that is code

# What the first word of a command means, where the words behind it don't matter.
_COMMANDS: Final[dict[bytes, int]] = {
    b"reset": SETTINGS | RESET,
    b"listen": LISTEN,
    b"unlisten": RESET,
    b"execute": UNKNOWN,
    b"deallocate": RESET,
    b"close": RESET,
    b"load": LOADED,
    b"call": UNKNOWN,
    b"start_replication": REPLICATION,
    b"create_replication_slot": REPLICATION,
    b"drop_replication_slot": REPLICATION,
    b"alter_replication_slot": REPLICATION,
    b"read_replication_slot": REPLICATION,
    b"identify_system": REPLICATION,
    b"base_backup": REPLICATION,
    b"timeline_history": REPLICATION,
    b"upload_manifest": REPLICATION,
    b"create": _EXECUTES,
    b"alter": _EXECUTES,
    b"drop": _EXECUTES | RESET,
    b"explain": _EXECUTES,
    b"declare": _HOLDS,
    b"do": UNKNOWN | _BODY,
}
_DISCARDS: Final[dict[bytes, int]] = {
    b"all": SETTINGS | RESET,
    b"temp": RESET,
    b"temporary": RESET,
    b"sequences": RESET,
}
_OF_TRANSACTION: Final = frozenset({b"local", b"transaction", b"constraints"})


def suspicion(sql: bytes) -> int:
    """What a text may leave in its session, as flags; 0 is the ordinary case.

    Any bytes will do; none raise. ``glance`` remembers what it says.
    """
    return 0 if looks_ordinary(sql.lower()) else _second_look(sql)


def looks_ordinary(lower: bytes) -> bool:
    """The first look alone, at a text in lower case."""
    text = lower.decode("latin-1")
    if text[:4] in _ORDINARY:
        return not _rare(text) and (";" not in text or text.find(";") == len(text) - 1)
    return lower.strip().decode("latin-1") in _WHOLE


def _rare(text: str) -> bool:
    # What words have in common is looked for first: one letter is found ten times as fast as a word.
    return (
        "temp" in text
        or ("set" in text and ("set_config" in text or "setseed" in text))
        or ("_" in text and ("lo_open" in text or "dblink_c" in text or "replication_" in text))
        or ("v" in text and ("advisory" in text or "currval" in text or "lastval" in text))
        or ("&" in text and 'u&"' in text)
    )


def tag_suspicion(tag: bytes) -> int:
    """What a CommandComplete tag (without its NUL) says, where the text was not looked at."""
    return _TAGS.get(tag, 0)


def custom_names(sql: bytes) -> list[str]:
    """Names of custom settings (``app.user``) that a text may set, in lower case, at most :data:`NAMES_MAX`.

    No view lists custom settings: who wants to know their values has to know their names. Only worth calling
    for text that is suspected of :data:`SETTINGS` or :data:`UNKNOWN`.
    """
    code, _ = _code(sql)
    found: dict[bytes, None] = {}
    for pattern, text in ((_SET_NAME, code), (_LITERAL_NAME, sql), (_SET_NAME, sql.lower())):
        for match in pattern.finditer(text):
            found[_SPACE.sub(b"", match.group(1)).replace(_QUOTED, b"").lower()] = None
            if len(found) == NAMES_MAX:
                return _names(found)
    return _names(found)


def bound_names(body: bytes) -> list[str]:
    """Names of custom settings among the values of a Bind message, as :func:`custom_names` gives them.

    A body that is no Bind message gives what can be read of it; the server will say what it thinks of it.
    """
    found: dict[bytes, None] = {}
    offset = body.find(b"\0", body.find(b"\0") + 1) + 1
    offset += 2 + 2 * int.from_bytes(body[offset : offset + 2], "big")
    count = int.from_bytes(body[offset : offset + 2], "big")
    offset += 2
    while count > 0 and offset + 4 <= len(body) and len(found) < NAMES_MAX:
        length = int.from_bytes(body[offset : offset + 4], "big", signed=True)
        offset += 4
        if length > 0:
            value = body[offset : offset + length]
            if _CUSTOM_NAME.fullmatch(value) is not None:
                found[value.lower()] = None
            offset += length
        count -= 1
    return _names(found)


def _names(found: dict[bytes, None]) -> list[str]:
    return [name.decode("utf-8", "surrogateescape") for name in found]


def _second_look(sql: bytes) -> int:
    """Clear what only starts in an unusual way."""
    sql = _uncommented(sql.strip())
    text = sql.lower().decode("latin-1")
    if text in _WHOLE:
        return 0
    if text.lstrip("(")[:4] in _ORDINARY and not _rare(text):
        end = text.find(";")
        if end < 0 or end == len(text) - 1:
            return 0
    return _third_look(sql)


def _uncommented(sql: bytes) -> bytes:
    """The text without the comments in front, as tools that tag their queries write them."""
    at = 0
    while True:
        if sql.startswith(b"--", at):
            end = sql.find(b"\n", at)
            if end < 0 or sql.find(b"\r", at, end) >= 0:
                break
            at = end + 1
        elif sql.startswith(b"/*", at):
            end = sql.find(b"*/", at + 2)
            if end < 0 or sql.find(b"/*", at + 2, end + 1) >= 0:
                break
            at = end + 2
        elif sql[at : at + 1].isspace():
            at += 1
        else:
            break
    return sql[at:]


def _third_look(sql: bytes) -> int:
    code, exact = _code(sql)
    raw = sql.lower()
    flags = _commands(raw, code)
    if b"set_config" in raw or b"set_config" in code:
        flags |= _configures(raw, code, exact=exact)
    if b"advisory" in raw:
        flags |= _locks(raw)
    if b"lo_open" in raw:
        flags |= LARGE_OBJECT
    if b'u&"' in raw:
        flags |= (
            UNKNOWN if exact and b"uescape" not in code else UNKNOWN | SEQUENCE | STATEFUL | COMPUTED_NAME
        )
    if b"pg_temp" in raw or (b"temp" in raw and (not exact or _TEMPORARY_CODE.search(code) is not None)):
        flags |= TEMPORARY
    if not exact:
        return flags | _lasting_text(raw)
    if _SEQUENCE_CODE.search(code) is not None:
        flags |= SEQUENCE
    return flags | STATEFUL if _STATEFUL_CODE.search(code) is not None else flags


def _commands(raw: bytes, code: bytes) -> int:
    """What the commands of a text say, by the words each starts with."""
    seen = 0
    for match in _HEAD.finditer(b";" + code):
        if match.group(1) is not None or match.group(5) is not None:
            seen |= _COMMENTED
        if match.group(2) is not None:
            seen |= _command(match.group(2), match.group(3), match.group(4))
    flags = seen & ~(_COMMENTED | _EXECUTES | _HOLDS | _BODY)
    if seen & _COMMENTED:
        # There may be anything behind a comment, and another comment inside it.
        flags |= ASKABLE | UNKNOWN | RESET
        if b"database" in raw:
            flags |= DDL_DATABASE
        if b"prepare" in raw:
            flags |= TWO_PHASE
        if b"seed" in raw:
            flags |= STATEFUL
    if seen & (_COMMENTED | _BODY):
        flags |= _lasting_text(raw)
    if seen & _EXECUTES and b"execute" in code:
        flags |= UNKNOWN
    if seen & _HOLDS and _HOLD_CODE.search(code) is not None:
        flags |= CURSOR
    return flags


def _command(first: bytes, second: bytes, third: bytes) -> int:
    """What the words that one statement starts with say."""
    if first == b"set":
        if second == b"seed" or (third == b"seed" and second in {b"session", b"local"}):
            return STATEFUL
        return 0 if second in _OF_TRANSACTION else SETTINGS
    if first == b"prepare":
        # PREPARE transaction AS … is allowed too.
        return PREPARED | TWO_PHASE if second == b"transaction" else PREPARED
    if first in {b"commit", b"rollback"}:
        return TWO_PHASE if second == b"prepared" else 0
    if first == b"discard":
        return _DISCARDS.get(second, 0)
    flags = _COMMANDS[first]
    return flags | DDL_DATABASE if second == b"database" and flags & _EXECUTES else flags


def _configures(raw: bytes, code: bytes, *, exact: bool) -> int:
    """What calls of set_config() leave; a third argument that is the word ``true`` leaves nothing."""
    if b"'seed'" in raw:
        return SETTINGS | STATEFUL | BOUND_NAME
    if not exact:
        known = len(_LITERAL_CALL_TEXT.findall(raw))
        return SETTINGS if raw.count(b"set_config") <= known else SETTINGS | BOUND_NAME | COMPUTED_NAME
    left = _LOCAL_CALL.sub(_unless_nested, code)
    calls = left.count(b"set_config")
    hidden = raw.count(b"set_config") - code.count(b"set_config")
    if calls == 0 and hidden <= 0:
        return 0
    flags = SETTINGS
    bound = len(_BOUND_CALL.findall(left))
    if bound > 0:
        flags |= BOUND_NAME
    if calls > bound + len(_LITERAL_CALL.findall(left)):
        flags |= COMPUTED_NAME
    return flags


def _unless_nested(match: re.Match[bytes]) -> bytes:
    call = match.group()
    return b"" if call.count(b"set_config") == 1 else call


def _locks(raw: bytes) -> int:
    of_transaction = raw.count(b"advisory_xact_lock")
    unlocks = raw.count(b"advisory_unlock")
    flags = RESET if unlocks > 0 else 0
    return flags | ADVISORY if raw.count(b"advisory") > of_transaction + unlocks else flags


def _lasting_text(raw: bytes) -> int:
    """The suspicions that are verdicts, from text whose literals may be code."""
    flags = 0
    if b"currval" in raw or b"lastval" in raw:
        flags |= SEQUENCE
    if b"setseed" in raw or b"dblink_connect" in raw or b"replication_origin_session_setup" in raw:
        flags |= STATEFUL
    if b"replication_slot" in raw and (b"pg_create_" in raw or b"pg_copy_" in raw):
        flags |= STATEFUL
    if _LOAD_TEXT.search(raw) is not None:
        flags |= LOADED
    if raw.count(b"set_config") > len(_LITERAL_CALL_TEXT.findall(raw)):
        flags |= COMPUTED_NAME
    return flags


def _code(sql: bytes) -> tuple[bytes, bool]:
    """The text in lower case, and whether its comments and literals were blanked for certain."""
    if len(sql) > LOOK_BYTES:
        return sql.lower(), False
    code = _OPAQUE.sub(_blank, sql).lower()
    return (sql.lower(), False) if _UNCERTAIN.search(code) is not None else (code, True)


def _blank(match: re.Match[bytes]) -> bytes:
    if match.group(2) is not None:
        return _LOST
    token = match.group()
    first = token[:1]
    if first == b"-":
        return b" "
    if first == b"/":
        # Comments nest: the first end is not that of this one.
        return _LOST if b"/*" in token[2:] else b" "
    if first == b'"':
        return _QUOTED + _NO_IDENTIFIER.sub(b"_", token[1:-1])
    if first in {b"u", b"U"}:
        return _QUOTED + _NO_IDENTIFIER.sub(b"_", _ESCAPED.sub(_unescape, token[3:-1]))
    if first == b"'":
        before = match.string[match.start() - 1 : match.start()] if match.start() > 0 else b""
        return _OTHER if before == b"&" or (before and _NO_IDENTIFIER.match(before) is None) else _PLAIN
    return _OTHER


def _unescape(match: re.Match[bytes]) -> bytes:
    number = int(match.group(1) or match.group(2), 16)
    return bytes((number,)) if number < 128 else b"_"
