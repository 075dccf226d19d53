import math
from datetime import timedelta

import pytest

from seawall.kernel.units import (
    MAX_DURATION_S,
    MAX_RATE_PER_S,
    MAX_SIZE_BYTES,
    MIN_RATE_PER_S,
    UnitError,
    format_duration,
    format_ratio,
    parse_duration,
    parse_rate,
    parse_ratio,
    parse_size,
)

NO_NUMBERS = [None, True, False, math.nan, math.inf, -math.inf, 10**400, -1, -0.5, [], b"5s", 1j, object()]
NO_TEXTS = [
    "",
    " ",
    "s",
    "five s",
    "-1s",
    "+1s",
    "1,5s",
    "nan%",
    "infs",
    "1e999s",
    "1e" + "9" * 60 + "s",
    "٣s",
    "1" * 65,
    "1s\n2s",
    "1.s",
    ".5s",
]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("2m", 120.0),
        ("2min", 120.0),
        ("1h", 3600.0),
        ("1d", 86400.0),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        (" 1 s ", 1.0),
        ("1e-7s", 1e-7),
        ("0s", 0.0),
        ("0.1ms", 0.0001),
        ("1.1E+3ms", 1.1),
        (3, 3.0),
        (0.25, 0.25),
        (timedelta(minutes=1, milliseconds=5), 60.005),
        ("36500d", MAX_DURATION_S),
    ],
)
def test_durations(value, seconds):
    assert parse_duration(value) == seconds


@pytest.mark.parametrize(
    "value",
    [*NO_NUMBERS, *NO_TEXTS, "5", "5S", "5 sec", "5  s", "36501d", timedelta(seconds=-1), timedelta.max],
)
def test_no_durations(value):
    with pytest.raises(UnitError, match="allowed is a duration from 0s to 36500d; write") as caught:
        parse_duration(value)
    assert caught.value.value is value


@pytest.mark.parametrize(
    ("value", "ratio"),
    [
        ("5%", 0.05),
        ("0.05", 0.05),
        (0.05, 0.05),
        ("7 %", 0.07),
        ("99.9%", 0.999),
        ("100%", 1.0),
        ("0%", 0.0),
        ("1", 1.0),
        (0, 0.0),
        (1, 1.0),
    ],
)
def test_ratios(value, ratio):
    assert parse_ratio(value) == ratio


@pytest.mark.parametrize(
    "value", [*NO_NUMBERS, *NO_TEXTS, "5", 5, "101%", "1.01", "5%%", "1e9999%", timedelta(1)]
)
def test_no_ratios(value):
    with pytest.raises(UnitError, match="allowed is a ratio from 0% to 100%; write"):
        parse_ratio(value)


@pytest.mark.parametrize(
    ("value", "rate"),
    [
        ("100/s", 100.0),
        ("30/m", 0.5),
        ("30/min", 0.5),
        ("36/h", 0.01),
        ("86400/d", 1.0),
        ("1.5 / s", 1.5),
        (7, 7.0),
        (0.5, 0.5),
    ],
)
def test_rates(value, rate):
    assert parse_rate(value) == rate


@pytest.mark.parametrize(
    "value", [*NO_NUMBERS, *NO_TEXTS, 0, "0/s", "100", "100/ms", "2e9/s", "1e-300/d", timedelta(1)]
)
def test_no_rates(value):
    with pytest.raises(UnitError, match="allowed is a rate above"):
        parse_rate(value)


def test_rates_at_their_bounds():
    assert parse_rate("1000000000/s") == MAX_RATE_PER_S
    assert parse_rate(MIN_RATE_PER_S) == MIN_RATE_PER_S
    assert math.isfinite(1.0 / MIN_RATE_PER_S)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("4MiB", 4 * 1024 * 1024),
        ("1.5kB", 1500),
        ("1.5KB", 1500),
        ("512B", 512),
        ("2 GB", 2_000_000_000),
        ("0.5TiB", 2**39),
        (0, 0),
        (17, 17),
        ("1048576TiB", MAX_SIZE_BYTES),
        ("1152921504606846975B", 2**60 - 1),
    ],
)
def test_sizes(value, size):
    assert parse_size(value) == size


@pytest.mark.parametrize(
    "value",
    [*NO_NUMBERS, *NO_TEXTS, "4", "4mib", "4Mb", "1.5B", "0.0001kB", "1e3B", 1.0, "1048577TiB", timedelta(1)],
)
def test_no_sizes(value):
    with pytest.raises(UnitError, match="allowed is a whole number of bytes"):
        parse_size(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (-0.0, "0s"),
        (0.00025, "250us"),
        (0.5, "500ms"),
        (1.5, "1.5s"),
        (90.0, "90s"),
        (120.0, "2m"),
        (7200.0, "2h"),
        (3 * 86400.0, "3d"),
        (1 / 3, "0.3333333333333333s"),
    ],
)
def test_durations_in_words(seconds, text):
    assert format_duration(seconds) == text
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("seconds", "digits", "text"),
    [
        (4.99999, 3, "5s"),
        (0.9996, 3, "1s"),
        (1 / 3, 2, "330ms"),
        (3 * 86400.0, 3, "3d"),
        (3661.5, 3, "1.02h"),
        (3599.9, 3, "1h"),
        (1e-9, 3, "0.001us"),
        (MAX_DURATION_S, 3, "36500d"),
        (12.0, 0, "10s"),
        (0.0, 3, "0s"),
    ],
)
def test_durations_for_a_reader_in_a_hurry(seconds, digits, text):
    assert format_duration(seconds, digits) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.0, "0%"), (0.05, "5%"), (0.07, "7%"), (1.0, "100%"), (1 / 3, "0.3333333333333333"), (0.999, "99.9%")],
)
def test_ratios_in_words(ratio, text):
    assert format_ratio(ratio) == text
    assert parse_ratio(text) == ratio


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_formatters_refuse_what_parsers_refuse(value):
    with pytest.raises(UnitError):
        format_duration(value)
    with pytest.raises(UnitError):
        format_ratio(value)
