"""What is written is read back by a YAML library as what it was."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from seawall.app.telemetry_files.yaml_text import yaml_text

TEXTS = st.one_of(
    st.text(max_size=20),
    st.text(alphabet="ab:#- \n'\"{}[]|>&*!%@`,?", max_size=20),
    st.sampled_from(["yes", "No", "null", "~", "1", "1e3", "0x1f", "2026-01-01", "12:30", "", " ", "a: b"]),
)
SCALARS = st.one_of(TEXTS, st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


def numbers(value):
    """Numbers as floats, since ``1e+16`` is one way to write an integer."""
    if isinstance(value, dict):
        return {key: numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [numbers(each) for each in value]
    return float(value) if type(value) in {int, float} else value


@given(st.dictionaries(TEXTS, VALUES, max_size=4) | st.lists(VALUES, max_size=4))
def test_it_is_read_back_as_it_was(value) -> None:
    text = yaml_text(value)
    assert text.endswith("\n")
    assert numbers(floats(yaml.safe_load(text), value)) == numbers(value)


def floats(read, meant):
    """Where PyYAML, which knows YAML 1.1 only, took a float without a point for a text."""
    if isinstance(meant, dict):
        return (
            {key: floats(read[key], each) for key, each in meant.items()} if len(read) == len(meant) else read
        )
    if isinstance(meant, list):
        return [floats(one, each) for one, each in zip(read, meant, strict=True)]
    return float(read) if type(meant) is float and isinstance(read, str) else read


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": "b c"}, "a: b c\n"),
        ({"expr": "a > 1\n  and\nb"}, "expr: |-\n  a > 1\n    and\n  b\n"),
        ({"expr": 'up{job="x"} == 0'}, "expr: 'up{job=\"x\"} == 0'\n"),
        ({"on": "yes"}, '"on": "yes"\n'),
        ([{"a": 1, "b": [True]}], "- a: 1\n  b:\n    - true\n"),
        ({"a": [], "b": {}}, "a: []\nb: {}\n"),
    ],
)
def test_it_looks_as_people_write_it(value, text) -> None:
    assert yaml_text(value) == text
