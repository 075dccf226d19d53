"""The ledger without a server: what is asked, how answers are read, and when a client is free again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.proxy import ledger as module
from seawall.proxy.ledger import (
    EMPTY,
    SURVIVES_DISCARD,
    Examination,
    Ledger,
    Pin,
    creates_temporary,
    examine_sql,
    question,
    read_answer,
    settings_of,
)
from seawall.wire.pgwire import messages, scan
from seawall.wire.pgwire.framing import MessageReader

BASELINE = settings_of({"timezone": "UTC", "application_name": "shop"})
IDENTITY: list[list[bytes | None]] = [[b"I", b"none", b"login"]]


def answered(ledger: Ledger, flags: int, rows: list[list[bytes | None]]) -> object:
    """One transaction's end: ask what has to be asked, and take in these rows."""
    asked = ledger.to_ask(flags)
    assert asked
    return ledger.examined(read_answer(asked, rows))


def setting(name: str, value: str) -> list[bytes | None]:
    return [b"S", name.encode(), value.encode()]


# --- the question -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", range(scan.ASKABLE + 1))
def test_only_what_is_asked_for_is_in_the_question(asked: int) -> None:
    sql = examine_sql(asked)
    marks = {
        scan.SETTINGS: "pg_settings",
        scan.TEMPORARY: "pg_depend",
        scan.ADVISORY: "pg_locks",
        scan.LISTEN: "pg_listening_channels",
        scan.PREPARED: "pg_prepared_statements",
        scan.CURSOR: "pg_cursors",
    }
    assert {flag for flag, mark in marks.items() if mark in sql} == {flag for flag in marks if asked & flag}
    assert bool(sql) == bool(asked)


def test_every_operator_and_function_has_its_schema() -> None:
    sql = examine_sql(scan.ASKABLE, names=True, parameter_privileges=True)
    bare = sql.replace("OPERATOR(pg_catalog.=)", "").replace("OPERATOR(pg_catalog.>)", "")
    assert not set("=<>+-*/|~!@#%^&") & set(bare)
    assert " IN " not in sql
    for call in [part.rsplit(" ", 1)[-1] for part in sql.split("(")[:-1]]:
        name = call.lstrip("(")
        assert name.startswith("pg_catalog.") or name in {"", "OPERATOR", "EXISTS", "MATERIALIZED", "n"}, name


def test_a_question_without_names_is_one_query() -> None:
    assert question(scan.LISTEN) == messages.query(examine_sql(scan.LISTEN))
    assert question(0) == b""
    assert question(scan.LOADED | scan.SEQUENCE) == b""
    assert question(scan.LISTEN, ["app.usr"]) == messages.query(examine_sql(scan.LISTEN))


def test_names_travel_bound() -> None:
    data = question(scan.SETTINGS, ["app.usr", "b.c"])
    kinds = MessageReader(1 << 20).feed(data)
    assert [chr(kind) for kind, _ in kinds] == ["P", "B", "E", "S"]
    assert b"app.usr" not in kinds[0][1]
    assert b"app.usr,b.c" in kinds[1][1]


@pytest.mark.parametrize(
    ("version", "known"), [("", False), ("14.9", False), ("15.1", True), ("18beta1", False)]
)
def test_privileges_of_parameters_are_asked_for_where_there_are_any(version: str, known: bool) -> None:
    assert (b"has_parameter_privilege" in question(scan.SETTINGS, (), version)) is known
    assert (b"rolsuper" in question(scan.SETTINGS, (), version)) is not known


# --- the answer ---------------------------------------------------------------------------------------------


def test_an_answer_is_read() -> None:
    rows = [
        *IDENTITY,
        setting("TimeZone", "CET"),
        [b"T", None, None],
        [b"P", b"x", b"1"],
        [b"S", b"app.usr", None],
    ]
    assert read_answer(scan.ASKABLE, rows) == Examination(
        asked=scan.ASKABLE,
        settings={"session_authorization": "login", "timezone": "CET", "x": "1"},
        pins=frozenset({Pin.TEMPORARY, Pin.PRIVILEGED}),
    )


def test_a_custom_setting_that_is_declared_is_like_any_other() -> None:
    rows: list[list[bytes | None]] = [
        [b"N", b"a.custom", b"1"],
        [b"N", b"a.declared", b"2"],
        [b"N", b"a.set", b"3"],
    ]
    rows += [[b"N", b"a.unknown", None], [b"D", b"A.Declared", b"2"], setting("a.Set", "3")]
    assert read_answer(scan.SETTINGS, rows).settings == {"a.custom": "1", "a.set": "3"}


def test_settings_of_the_transaction_are_none_of_the_session() -> None:
    rows = [*IDENTITY, setting("transaction_read_only", "off"), setting("transaction_timeout", "1s")]
    assert read_answer(scan.SETTINGS, rows).settings == {
        "session_authorization": "login",
        "transaction_timeout": "1s",
    }


def test_values_that_are_no_utf8_come_back_as_they_were() -> None:
    found = read_answer(scan.SETTINGS, [[b"S", b"app.usr", b"\xe9"]])
    assert messages.encode("app.usr", found.settings["app.usr"]) == b"\xe9"
    assert "app.usr" not in repr(found)


@pytest.mark.parametrize(
    ("flag", "pin"),
    [
        (scan.LOADED, Pin.LOAD),
        (scan.SEQUENCE, Pin.SEQUENCE),
        (scan.STATEFUL, Pin.STATEFUL),
        (scan.COMPUTED_NAME, Pin.COMPUTED_NAME),
        (scan.REPLICATION, Pin.REPLICATION),
    ],
)
def test_what_cannot_be_asked_for_pins_at_once(flag: int, pin: Pin) -> None:
    ledger = Ledger("login")
    asked = ledger.to_ask(flag)
    assert ledger.question(asked) == b""
    assert ledger.examined(read_answer(asked, [])) is None
    assert ledger.pins == {pin}


@pytest.mark.parametrize(
    "row", [[], [None, None, None], [b"X", None, None], [b"S", b"a"], [b"S", b"a", b"b", b"c"]]
)
def test_rows_of_something_else_are_refused(row: list[bytes | None]) -> None:
    with pytest.raises(messages.ProtocolViolation):
        read_answer(scan.ASKABLE, [row])


@given(st.lists(st.lists(st.one_of(st.none(), st.binary(max_size=4)), max_size=4), max_size=4))
def test_any_rows_are_read_or_refused(rows: list[list[bytes | None]]) -> None:
    try:
        found = read_answer(scan.ASKABLE, rows)
    except messages.ProtocolViolation:
        return
    assert all(isinstance(pin, Pin) for pin in found.pins)


@pytest.mark.parametrize(
    ("path", "temporary"),
    [
        ("", False),
        ("public", False),
        ('"$user", public', False),
        ('"$user"', False),
        ("public, pg_temp", False),
        ('admin, "pg_temp"', False),
        ("pg_temp", True),
        ('"pg_temp", public', True),
        ('"$user", pg_temp', True),
        ("pg_catalog, pg_temp, public", True),
    ],
)
def test_where_new_tables_go(path: str, temporary: bool) -> None:
    assert creates_temporary(path) is temporary
    assert (Pin.TEMPORARY_PATH in Ledger("login", settings_of({"search_path": path})).pins) is temporary


# --- settings -----------------------------------------------------------------------------------------------


def test_a_new_client_is_portable_and_has_its_baseline() -> None:
    ledger = Ledger("login", BASELINE)
    assert ledger.portable
    assert ledger.reasons() == ()
    assert ledger.current is BASELINE
    assert ledger.to_ask(0) == 0


def test_settings_are_what_the_server_says_over_the_baseline() -> None:
    ledger = Ledger("login", BASELINE)
    rows = [
        *IDENTITY,
        setting("TimeZone", "CET"),
        setting("application_name", "shop"),
        setting("work_mem", "8MB"),
    ]
    applied = answered(ledger, scan.SETTINGS, rows)
    assert ledger.current is settings_of({"timezone": "CET", "application_name": "shop", "work_mem": "8MB"})
    assert applied is ledger.current


def test_a_reset_setting_goes_back_to_the_clients_own_value() -> None:
    ledger = Ledger("login", BASELINE)
    applied = answered(ledger, scan.SETTINGS | scan.RESET, [*IDENTITY, setting("application_name", "shop")])
    assert applied is settings_of({"application_name": "shop"})
    assert ledger.current is BASELINE


def test_a_baseline_that_creates_in_pg_temp_pins_until_the_client_overrides_it() -> None:
    ledger = Ledger("login", settings_of({"search_path": "pg_temp"}))
    applied = answered(ledger, scan.SETTINGS | scan.RESET, IDENTITY)  # RESET search_path
    assert applied is EMPTY
    assert ledger.reasons() == (Pin.TEMPORARY_PATH.value,)
    answered(ledger, scan.SETTINGS, [*IDENTITY, setting("search_path", "public")])
    assert ledger.portable


def test_being_somebody_else_is_a_setting() -> None:
    ledger = Ledger("login")
    rows: list[list[bytes | None]] = [[b"I", b"Role", b"bob"]]
    assert answered(ledger, scan.SETTINGS, rows) is settings_of(
        {"role": "Role", "session_authorization": "bob"}
    )
    assert answered(ledger, scan.SETTINGS, IDENTITY) is EMPTY


def test_more_settings_than_are_kept_pin() -> None:
    ledger = Ledger("login", BASELINE)
    assert answered(ledger, scan.SETTINGS, [*IDENTITY, setting("app.usr", "x" * 40_000)]) is None
    assert ledger.current is BASELINE
    assert ledger.reasons() == (Pin.OVERSIZE.value,)
    ledger.discarded()
    assert ledger.portable


def test_names_of_custom_settings_are_asked_for_until_the_client_goes() -> None:
    ledger = Ledger("login", settings_of({"app.base": "x", "timezone": "UTC"}))
    ledger.note(["app.usr", "app.usr"])
    assert b"app.base,app.usr" in ledger.question(scan.SETTINGS)
    assert b"app.usr" not in ledger.question(scan.LISTEN)


def test_too_many_names_pin() -> None:
    ledger = Ledger("login")
    ledger.note([f"a.b{number}" for number in range(module.CUSTOM_NAMES_MAX)])
    assert ledger.portable
    ledger.note(["a.b0"])
    assert ledger.portable
    ledger.note(["one.more"])
    assert ledger.reasons() == (Pin.OVERSIZE.value,)


# --- pins ---------------------------------------------------------------------------------------------------

ASKED_PINS = [
    (scan.TEMPORARY, b"T", Pin.TEMPORARY),
    (scan.ADVISORY, b"A", Pin.ADVISORY_LOCK),
    (scan.LISTEN, b"L", Pin.LISTEN),
    (scan.PREPARED, b"Q", Pin.PREPARED),
    (scan.CURSOR, b"C", Pin.CURSOR),
]


@pytest.mark.parametrize(("flag", "kind", "pin"), ASKED_PINS)
def test_a_pin_comes_and_goes(flag: int, kind: bytes, pin: Pin) -> None:
    ledger = Ledger("login")
    assert answered(ledger, flag, [[kind, None, None]]) is None
    assert ledger.pins == {pin}
    assert not ledger.portable
    assert ledger.to_ask(flag) == 0  # pinned by it already
    assert answered(ledger, scan.RESET, [[kind, None, None]]) is None
    assert ledger.pins == {pin}
    answered(ledger, scan.RESET, [])
    assert ledger.portable
    assert ledger.to_ask(scan.RESET) == 0


def test_what_a_pinned_client_does_is_asked_when_it_may_become_free() -> None:
    ledger = Ledger("login")
    answered(ledger, scan.LISTEN, [[b"L", None, None]])
    assert ledger.to_ask(scan.ADVISORY | scan.CURSOR) == 0
    assert ledger.to_ask(scan.SETTINGS) == scan.SETTINGS
    assert ledger.to_ask(scan.RESET) == scan.LISTEN | scan.ADVISORY | scan.CURSOR
    answered(ledger, scan.RESET, [[b"A", None, None]])
    assert ledger.reasons() == (Pin.ADVISORY_LOCK.value,)
    assert ledger.to_ask(scan.RESET) == scan.ADVISORY


def test_anything_may_have_happened_in_a_do_block() -> None:
    assert Ledger("login").to_ask(scan.UNKNOWN) == scan.ASKABLE


def test_a_lasting_pin_makes_questions_about_others_pointless() -> None:
    ledger = Ledger("login")
    ledger.examined(read_answer(scan.LOADED, []))
    assert ledger.to_ask(scan.LISTEN | scan.RESET) == 0
    assert ledger.to_ask(scan.SETTINGS | scan.RESET) == scan.SETTINGS


def test_a_server_that_does_not_answer_pins_until_it_does() -> None:
    ledger = Ledger("login")
    ledger.unanswered()
    assert ledger.reasons() == (Pin.UNANSWERED.value,)
    assert ledger.to_ask(scan.RESET) == scan.ASKABLE
    answered(ledger, scan.RESET, IDENTITY)
    assert ledger.portable


def test_discard_all_leads_back_to_the_clients_startup() -> None:
    ledger = Ledger("login", BASELINE)
    rows = [*IDENTITY, setting("work_mem", "8MB"), [b"T", None, None]]
    answered(ledger, scan.UNKNOWN | scan.SEQUENCE | scan.LOADED, rows)
    assert ledger.pins == {Pin.TEMPORARY, Pin.SEQUENCE, Pin.LOAD}
    assert ledger.discarded() is EMPTY
    assert ledger.current is BASELINE
    assert ledger.pins == {Pin.LOAD} == ledger.pins & SURVIVES_DISCARD


def test_a_replication_client_is_pinned_from_the_start() -> None:
    ledger = Ledger("login", replication=True)
    assert ledger.reasons() == (Pin.REPLICATION.value,)
    ledger.discarded()
    assert not ledger.portable


def test_reasons_are_in_order_and_each_pin_has_one() -> None:
    ledger = Ledger("login")
    ledger.pins = frozenset({Pin.CURSOR, Pin.LISTEN, Pin.TEMPORARY})
    assert ledger.reasons() == ("temporary objects", "LISTEN", "cursor WITH HOLD")
    assert len({pin.value for pin in Pin}) == len(Pin)


def test_a_ledger_shows_its_state_and_no_values() -> None:
    ledger = Ledger("login", settings_of({"jwt.token": "hunter2"}))
    assert repr(ledger) == "<Ledger: portable; <Settings: jwt.token>>"
    ledger.unanswered()
    assert Pin.UNANSWERED.value in repr(ledger)


# --- what servers report ------------------------------------------------------------------------------------


def test_a_reported_change_is_asked_for_and_one_that_went_back_is_not() -> None:
    ledger = Ledger("login")
    assert ledger.adopt({"TimeZone": "UTC"}) == [("TimeZone", "UTC")]
    assert not ledger.on_parameter_status("TimeZone", "UTC")
    assert not ledger.moved
    assert ledger.on_parameter_status("TimeZone", "CET")
    assert ledger.moved
    assert ledger.to_ask(0) == scan.SETTINGS
    assert ledger.on_parameter_status("TimeZone", "EET")
    assert ledger.on_parameter_status("TimeZone", "UTC")
    assert not ledger.moved
    assert ledger.to_ask(0) == 0


@pytest.mark.parametrize("way", ["examined", "unanswered", "discarded"])
def test_a_change_is_asked_for_once(way: str) -> None:
    ledger = Ledger("login")
    ledger.adopt({"TimeZone": "UTC"})
    ledger.on_parameter_status("TimeZone", "CET")
    if way == "examined":
        answered(ledger, 0, [*IDENTITY, setting("TimeZone", "CET")])
        assert ledger.current is settings_of({"timezone": "CET"})
    else:
        getattr(ledger, way)()
    assert not ledger.moved


def test_what_is_the_servers_own_is_no_change_of_the_session() -> None:
    ledger = Ledger("login")
    ledger.adopt({"in_hot_standby": "on", "server_version": "15.1"})
    assert ledger.on_parameter_status("in_hot_standby", "off")
    assert not ledger.moved


def test_a_client_that_moves_is_told_what_is_different() -> None:
    ledger = Ledger("login")
    assert ledger.on_parameter_status("server_version", "15.1")
    assert ledger.adopt({"server_version": "16.1", "TimeZone": "UTC"}) == [
        ("server_version", "16.1"),
        ("TimeZone", "UTC"),
    ]
    assert ledger.adopt({"server_version": "16.1"}) == []
    assert ledger.reported == {"server_version": "16.1", "TimeZone": "UTC"}
    assert not ledger.moved


def test_what_servers_report_is_bounded() -> None:
    ledger = Ledger("login")
    many = {f"p{number}": "x" for number in range(2 * module.REPORTED_MAX)}
    ledger.adopt(many)
    for name in many:
        ledger.on_parameter_status(name + "'", "x")
    assert len(ledger.reported) == module.REPORTED_MAX


def test_the_version_that_is_reported_shapes_the_question() -> None:
    ledger = Ledger("login")
    assert b"rolsuper" in ledger.question(scan.SETTINGS)
    ledger.adopt({"server_version": "16.1 (Debian)"})
    assert b"has_parameter_privilege" in ledger.question(scan.SETTINGS)
