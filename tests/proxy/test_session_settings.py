"""Settings as values, and the batch that carries them to a server connection."""

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.kernel.errors import ValidationError
from seawall.proxy.session_settings import (
    EMPTY,
    SETTINGS_CHARACTERS_MAX,
    SETTINGS_MAX,
    Settings,
    apply_batch,
    describe_failure,
    folded,
    settings_of,
    startup_settings,
)
from seawall.wire.pgwire import messages
from seawall.wire.pgwire.framing import MessageReader
from seawall.wire.pgwire.messages import ProtocolViolation


def told(data: bytes) -> list[str | tuple[str, str | None]]:
    """A batch in short: the text of each Parse, name and value of each set_config(), and all the rest."""
    found: list[str | tuple[str, str | None]] = []
    for kind, body in MessageReader(1 << 20).feed(data):
        if kind == ord("P"):
            found.append(body[1 : body.index(b"\0", 1)].decode())
        elif kind == ord("B"):
            values = messages.parse_data_row(body[4:-2])
            if values:
                name, value = values
                assert name is not None
                found.append((name.decode(), None if value is None else messages.decode(value)))
        elif kind != ord("E"):
            found.append(chr(kind))
    return found


def steps(current: Settings | None, wanted: Settings) -> list[tuple[str, str | None]]:
    return [item for item in told(apply_batch(current, wanted).data) if isinstance(item, tuple)]


# --- values -------------------------------------------------------------------------------------------------


def test_equal_settings_are_one_object() -> None:
    one = settings_of({"b": "2", "a": "1"})
    assert one is settings_of({"a": "1", "B": "2"})
    assert one is not settings_of({"a": "1", "b": "3"})
    assert settings_of({}) is EMPTY


def test_settings_are_forgotten_with_their_last_holder() -> None:
    from seawall.proxy import session_settings

    gc.collect()
    before = len(session_settings._INTERNED)
    held = [settings_of({"application_name": f"one of many {number}"}) for number in range(100)]
    assert len(session_settings._INTERNED) == before + 100
    held.clear()
    gc.collect()
    assert len(session_settings._INTERNED) == before


def test_settings_read_like_a_mapping() -> None:
    one = settings_of({"TimeZone": "UTC", "app.usr": "x"})
    assert len(one) == 2
    assert list(one) == list(one.keys()) == ["app.usr", "timezone"]
    assert dict(one) == {**one} == dict(one.items()) == {"app.usr": "x", "timezone": "UTC"}
    assert "timezone" in one
    assert one["timezone"] == one.get("timezone") == "UTC"
    assert one.get("TimeZone") is None


def test_values_do_not_show() -> None:
    assert repr(settings_of({"jwt.token": "hunter2"})) == "<Settings: jwt.token>"
    assert repr(EMPTY) == "<Settings: none>"


def test_names_are_compared_as_postgresql_does() -> None:
    assert folded("DateStyle") == "datestyle"
    assert folded("É.Ab") == "É.ab"


@pytest.mark.parametrize(
    "values",
    [
        {"": "x"},
        {"a": "x\0y"},
        {"a\0": "x"},
        {"a": "x" * SETTINGS_CHARACTERS_MAX},
        {f"a{number}": "" for number in range(SETTINGS_MAX + 1)},
    ],
)
def test_what_cannot_be_kept_is_refused_without_showing_it(values: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=r"^settings: ") as refused:
        settings_of(values)
    assert "xy" not in str(refused.value)
    assert len(str(refused.value)) < 200


# --- startup ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, {}),
        ({"user": "u", "database": "d", "replication": "true", "_pq_.x": "y"}, {}),
        ({"DateStyle": "ISO", "application_name": "x"}, {"datestyle": "ISO", "application_name": "x"}),
        ({"options": "-c a=b -cc=d --e-f=g"}, {"a": "b", "c": "d", "e_f": "g"}),
        ({"options": "  -c\ta=b=c  "}, {"a": "b=c"}),
        ({"options": "-c a=b\\ c\\\\d"}, {"a": "b c\\d"}),
        ({"options": "-c a=\\"}, {"a": ""}),
        ({"options": "-c a="}, {"a": ""}),
        ({"options": "-c TimeZone=UTC", "TimeZone": "CET"}, {"timezone": "CET"}),
        ({"options": "-c search_path=a,b -c search_path=c"}, {"search_path": "c"}),
        ({"options": "-c app.usr=x"}, {"app.usr": "x"}),
    ],
)
def test_what_a_startup_packet_asks_for(parameters: dict[str, str], expected: dict[str, str]) -> None:
    assert dict(startup_settings(parameters)) == expected


@pytest.mark.parametrize(
    "options", ["-B 5", "-c", "-c a", "--a", "-c =x", "x", "-", "--", "-c a=b -e", "\\ "]
)
def test_options_that_are_no_settings_are_refused(options: str) -> None:
    with pytest.raises(ProtocolViolation) as refused:
        startup_settings({"options": options})
    assert refused.value.sqlstate == "42601"
    assert "options" in refused.value.hint


def test_a_refused_option_does_not_show_its_value() -> None:
    with pytest.raises(ProtocolViolation) as refused:
        startup_settings({"options": "password=hunter2"})
    assert "hunter2" not in str(refused.value)


@given(st.text(max_size=60))
def test_any_options_are_read_or_refused(options: str) -> None:
    try:
        found = startup_settings({"options": options})
    except (ProtocolViolation, ValidationError):
        return
    assert "options" not in found


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text("ab \\\t=-c", max_size=9), max_size=5
    )
)
def test_escaped_options_come_back(values: dict[str, str]) -> None:
    def escape(text: str) -> str:
        return "".join("\\" + c if c in " \\\t" else c for c in text)

    options = " ".join(f"-c {escape(name + '=' + value)}" for name, value in values.items())
    assert dict(startup_settings({"options": options})) == values


# --- the batch ----------------------------------------------------------------------------------------------

SET_CONFIG = "SELECT pg_catalog.set_config($1, $2, false)"


def test_nothing_to_change_is_nothing_to_send() -> None:
    one = settings_of({"a": "1"})
    assert apply_batch(one, one) == (b"", 0)


def test_changes_are_bound_and_gone_settings_are_reset() -> None:
    batch = apply_batch(
        settings_of({"a": "1", "b": "2", "c": "3"}), settings_of({"b": "2", "c": "'; x", "d": ""})
    )
    assert batch.ready == 1
    assert told(batch.data) == [SET_CONFIG, ("a", None), ("c", "'; x"), ("d", ""), "S"]


def test_an_unknown_state_is_reset_first() -> None:
    reset = [SET_CONFIG, ("session_authorization", None), ("role", None), "RESET ALL"]
    assert told(apply_batch(None, EMPTY).data) == [*reset, "S"]
    assert told(apply_batch(None, settings_of({"a": "1"})).data) == [*reset, SET_CONFIG, ("a", "1"), "S"]


def test_limits_are_lifted_first_and_set_last_and_the_encoding_comes_before_all_values() -> None:
    current = settings_of(
        {"client_encoding": "UTF8", "lock_timeout": "1", "statement_timeout": "1", "z": "1"}
    )
    wanted = settings_of(
        {
            "client_encoding": "LATIN1",
            "a": "1",
            "statement_timeout": "2",
            "transaction_timeout": "3",
            "role": "r",
        }
    )
    assert steps(current, wanted) == [
        ("statement_timeout", None),
        ("client_encoding", "LATIN1"),
        ("a", "1"),
        ("lock_timeout", None),
        ("z", None),
        ("role", "r"),
        ("statement_timeout", "2"),
        ("transaction_timeout", "3"),
    ]
    assert steps(current, EMPTY)[:2] == [("statement_timeout", None), ("client_encoding", None)]


def test_the_identity_is_given_up_first_and_taken_on_last() -> None:
    bob = settings_of({"role": "r", "session_authorization": "bob", "a": "1"})
    assert steps(EMPTY, bob) == [("a", "1"), ("session_authorization", "bob"), ("role", "r")]
    assert steps(bob, EMPTY) == [("session_authorization", None), ("role", None), ("a", None)]
    assert steps(settings_of({"role": "r"}), settings_of({"role": "r", "a": "1"})) == [
        ("role", None),
        ("a", "1"),
        ("role", "r"),
    ]


NAMES = st.sampled_from(
    ["a", "b.c", "client_encoding", "role", "session_authorization", "statement_timeout", "search_path"]
)
VALUES = st.dictionaries(NAMES, st.sampled_from(["", "1", "x y", "\udce9"]), max_size=7).map(settings_of)


@given(st.one_of(st.none(), VALUES), VALUES)
def test_the_steps_lead_where_they_should(current: Settings | None, wanted: Settings) -> None:
    state = {} if current is None else dict(current)
    for name, value in steps(current, wanted):
        state.pop(name, None)
        if name == "session_authorization":
            state.pop("role", None)
        if value is not None:
            state[name] = value
    assert state == dict(wanted)


def test_batches_are_made_once() -> None:
    one, other = settings_of({"a": "once"}), settings_of({"a": "twice"})
    assert apply_batch(one, other) is apply_batch(one, other)


def test_a_failure_is_described_with_the_servers_words() -> None:
    fields = {"C": "22023", "M": 'invalid value for parameter "x"', "D": "Because."}
    assert describe_failure(fields) == (
        "22023",
        'settings of the session cannot be restored: invalid value for parameter "x"',
        "The server refused one of them. Because.",
    )
    assert describe_failure({})[0] == "XX000"
