"""Known values, structures and shapes of secrets."""

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.telemetry.redaction.masking import MASK, SECRETS_MAX, Masks
from seawall.telemetry.redaction.withholding import Withheld, cut
from tests.telemetry.logs.lines import PLANTED

PEM = f"-----BEGIN RSA PRIVATE KEY-----\nMIIE{PLANTED}\n{PLANTED}\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwTGFudGVkIn0.c2lnbmF0dXJlLXBMYW50ZWQ"


def mask(text, *secrets):
    return Masks(secrets).text(text, 8_192)


@pytest.mark.parametrize(
    "text",
    [
        f"connecting to postgres://app:{PLANTED}@db:5432/shop",
        f"connecting to postgres://app:p@ss/{PLANTED}@db:5432/shop failed",
        f"https://{PLANTED}@github.com/x and http://b:{PLANTED}@h",
        f"host=db user=app password={PLANTED} dbname=shop",
        f"host=db password='it''s \\' {PLANTED}' dbname=shop",
        f'{{"password": "a \\" {PLANTED}", "user": "x"}}',
        f"{{'api_key': '{PLANTED}'}}",
        f"PGPASSWORD={PLANTED} psql",
        f"Authorization: Bearer {PLANTED}",
        f"authorization=Basic {base64.b64encode(b'user:' + PLANTED.encode()).decode()} {PLANTED}",
        f"Cookie: session={PLANTED}; theme=dark; other={PLANTED}",
        f"X-Hub-Signature-256: sha256={PLANTED}",
        f"sent bearer {PLANTED} to them",
        f"GET /callback?code={PLANTED}&state={PLANTED} 200",
        f"key {PEM} read",
        f"key {PEM[:60]} read {PLANTED}",
        f"access_token={PLANTED}",
        f"{{'password': b'{PLANTED}', 'user': 'x'}}",
        f"password=SecretStr('a b {PLANTED}')",
        f"password=one,{PLANTED} dbname=shop",
        f"password='never ended \\ {PLANTED}",
        f'password="ends in a backslash {PLANTED}\\',
        f"connecting to app:{PLANTED}@db:5432/shop",
        f"client-secret => {PLANTED}",
        f"ghp_{PLANTED.replace('-', '')} and sk-{PLANTED} and xoxb-{PLANTED}",
        f"SCRAM-SHA-256$4096:{PLANTED}",
    ],
)
def test_shapes_of_secrets_are_masked(text):
    masked = mask(text)
    assert PLANTED not in masked
    assert PLANTED.replace("-", "") not in masked
    assert MASK in masked


def test_tokens_by_their_own_shape():
    assert mask(f"got {JWT} back") == f"got {MASK} back"
    assert mask("by AKIAIOSFODNN7EXAMPLE now") == f"by {MASK} now"
    assert mask("is md5" + "0a" * 16) == f"is {MASK}"
    assert mask("run Zx9" + "aB3" * 15) == f"run {MASK}"


@pytest.mark.parametrize(
    "text",
    [
        "Payment processing failed for order.",
        "backend eu-1 is open after 5 failures in 10 s (P95 812 ms)",
        "see https://example.org/docs/page, then http://[::1]:9090/metrics",
        "basic settings loaded, token bucket refilled, key expired",
        "/var/lib/seawall/a-very-long-directory/with-many-parts/and-more/and-more",
        "the trace 4bf92f3577b34da6a3ce929d0e0e4736 was kept",
        "it's not 5 o'clock",
        "ask bob@example.org at 12:30",
        "",
    ],
)
def test_ordinary_sentences_are_left_alone(text):
    assert mask(text) == text


@pytest.mark.parametrize("spelt", [str, repr, lambda text: quote(text, safe="")])
def test_known_values_are_found_as_others_write_them(spelt):
    secret = "a/b \"quoted\" & 'odd'\nénd"
    masked = mask(f"it says {spelt(secret)} here", secret)
    assert masked.count(MASK) == 1
    assert masked.startswith("it says ")
    assert masked.endswith(" here")


def test_the_longer_of_two_known_values_goes_first():
    assert mask("abcdef-abcd", "abcd", "abcdef") == f"{MASK}-{MASK}"


def test_what_cannot_be_masked_is_said():
    masks = Masks()
    assert masks.protect("abc", "", "abcd") == 2
    assert masks.protect(*(f"secret-{number}" for number in range(SECRETS_MAX))) == 1
    assert masks.protect("abcd") == 1  # full
    assert masks.text("abcd secret-3", 100) == f"{MASK} {MASK}"


@given(st.text("abc", min_size=4, max_size=600), st.integers(0, 300), st.integers(16, 200))
def test_no_piece_of_a_known_value_survives_a_cut(secret, before, chars):
    text = "-" * before + secret + "-" * 20
    shown = Masks([secret]).text(cut(text, chars), chars)
    assert not set("abc") & set(shown)
    assert len(shown) <= chars + 1


def test_a_mask_does_not_pull_the_cut_end_into_what_is_shown():
    text = "password=" + "y" * 320 + " " + "abc" * 40
    shown = Masks(["abc" * 40]).text(cut(text, 100), 100)
    assert "abc" not in shown


def test_a_quoted_value_ends_where_its_quotes_do():
    assert mask('{"password":"a b","user":"x"}') == '{"password":***,"user":"x"}'
    assert mask("password='a b' dbname=shop") == "password=*** dbname=shop"
    assert mask('{"token":"","user":"x"}') == '{"token":***,"user":"x"}'


@given(st.integers(0, 400))
def test_a_url_that_was_cut_before_its_at_sign_shows_no_password(before):
    text = "." * before + f" postgres://app:{PLANTED * 30}@db"
    assert PLANTED[:6] not in Masks().text(cut(text, 64), 64)


def test_texts_that_were_shortened_are_counted():
    masks = Masks()
    for text in ("short", "x" * 11, cut("y" * 11, 10)):
        masks.text(text, 10)
    assert masks.shortened == 2


def test_what_was_withheld_is_not_looked_at():
    masks = Masks(["<str 5>"])
    assert masks.text(Withheld("<str 5>"), 3) == "<str 5>"
    assert masks.masked == 0


def test_texts_that_were_changed_are_counted():
    masks = Masks(["abcd1"])
    for text in ("nothing", "abcd1", "password=1", "say abcd1"):
        masks.text(text, 100)
    assert masks.masked == 3


@given(st.text())
def test_any_text_is_masked_without_an_error(text):
    assert len(Masks().text(text, 50)) <= 51
