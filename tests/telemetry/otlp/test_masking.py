"""Statements, addresses and what failures say leave the process without literals and credentials."""

import pytest
from opentelemetry.trace import StatusCode

from seawall.telemetry.otlp.masking import MASKED_KEYS, TEXT_CHARS, Masking
from tests.telemetry.otlp.reading import decoded, spans_in
from tests.telemetry.otlp.samples import Happened, Light

SECRET = "hunter2-hunter2"
TEXTS = {
    "db.statement": f"SELECT * FROM users WHERE password = '{SECRET}'",
    "db.query.text": f"UPDATE users SET note = '{SECRET}' WHERE id = 1",
    "url.full": f"https://user:{SECRET}@shop.example/?token={SECRET}",
    "http.target": f"/login?password={SECRET}",
    "exception.message": f'duplicate key ... constraint "u"\nDETAIL:  Key (email)=({SECRET}) already exists.',
    "exception.stacktrace": f"Traceback\n  File x\npsycopg.Error: Key (email)=({SECRET}) already exists.",
    "db.connection_string": f"host=db password={SECRET}",
}


@pytest.mark.parametrize("key", TEXTS)
def test_a_text_that_quotes_a_value_is_masked(key):
    shown = Masking().attributes({key: TEXTS[key], "other": 1})
    assert SECRET not in shown[key]
    assert shown["other"] == 1


def test_nothing_is_copied_where_there_is_nothing_to_mask():
    attributes = {"a": SECRET, "n": 1}
    assert Masking().attributes(attributes) is attributes


def test_values_that_are_no_texts_stay():
    given = {"url.full": 5, "db.statement": ("x",)}
    assert Masking().attributes(given) == given


def test_texts_are_bounded():
    assert len(Masking().text("word " * TEXT_CHARS)) <= TEXT_CHARS + 1


def test_every_key_is_tried_here_or_is_one_of_a_kind_that_is():
    assert MASKED_KEYS - set(TEXTS) == {"url.query", "http.url", "error.message", "process.command_line"}


@pytest.mark.parametrize("masked", [True, False])
def test_what_is_sent_of_a_span_has_no_such_value(masked):
    event = Happened("exception", 1, {"exception.message": TEXTS["exception.message"]})
    span = Light(
        attributes=dict(TEXTS),
        events=(event,),
        status_code=StatusCode.ERROR,
        status_description=f"UniqueViolation: {TEXTS['exception.message']}",
    )
    message = decoded(span, masking=Masking() if masked else None)
    (read,) = spans_in(message)
    assert (SECRET in str(message)) is not masked
    assert read.status.message.startswith("UniqueViolation")
    assert read.attributes[0].value.string_value.startswith("SELECT * FROM users")
