import pickle

import pytest

from seawall.app.problems import ConfigError, Reader, Words, kind_of
from seawall.app.sections import BACKENDS_MAX
from seawall.kernel.errors import Problem
from tests.app.minimal import MINIMAL, problem, refusal


def test_too_many_tables_are_counted() -> None:
    tables = "".join(f'{{name = "x{number}", host = "h"}},' for number in range(BACKENDS_MAX + 1))
    text = f"[backends]\ninstances = [{tables}]\n"
    found = [str(item) for item in refusal(text).problems if item.key == "backends.instances"]
    assert found == ["backends.instances = (a list): allowed is at most 4096 tables; leave some out"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pool = 3", "pool = (a number): allowed is a table; write [pool]"),
        ("databases = true", "databases = (true or false): allowed is a list of tables; write [[databases]]"),
        ("databases = [1979-05-27]", "databases[0] = (a date or time): allowed is a list of tables"),
        ("[[pool]]", "pool = (a list): allowed is a table"),
        ("[databases]", "databases = (a table): allowed is a list of tables; write [[databases]]"),
        ('"a b" = 1', '"a b" = (a number): allowed is no such key'),
        (f"{'x' * 100} = 1", f'"{"x" * 64}…" = (a number): allowed is no such key'),
        ("reserve_after = 5", "it belongs in [pool]"),
        ("name = 'x'", "it belongs in [[auth.users]] or [[databases]] or [[backends.instances]]"),
        ("[pool]\nfoo_bar_baz = []", "pool.foo_bar_baz = (a list): allowed is no such key"),
        ("[[databases]]", "databases[0].name = nothing: allowed is a name of at most 63 bytes; write it"),
    ],
)
def test_a_place_and_its_remedy_are_named(text: str, said: str) -> None:
    assert said in problem(text)


def test_a_list_item_goes_by_its_name_if_that_is_one() -> None:
    reader = Reader({"a": [{"name": "one"}, {"name": "two words"}, {"name": 3}, {}, 4]})
    paths = [reader.path(("a", number, "b")) for number in range(6)]
    assert paths == ["a[one].b", "a[1].b", "a[2].b", "a[3].b", "a[4].b", "a[5].b"]


def test_a_place_from_elsewhere_goes_by_its_origin() -> None:
    reader = Reader({}, {("a", "b"): "--option"})
    assert reader.path(("a", "b")) == "--option"
    assert reader.path(("a", "b", 0, "c")) == "--option"
    assert reader.path(("a", "c")) == "a.c"


@pytest.mark.parametrize(
    ("value", "kind"),
    [(True, "(true or false)"), ("x", "(a text)"), (1, "(a number)"), (1.5, "(a number)"), ({}, "(a table)")],
)
def test_a_kind_tells_nothing_of_the_value(value: object, kind: str) -> None:
    assert kind_of(value) == kind
    assert repr(Words("a b")) == "a b"


def test_an_error_travels() -> None:
    error = ConfigError([Problem("a", 1, "b")], "file.toml")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (ConfigError, str(error))


def test_the_minimum_is_enough() -> None:
    with pytest.raises(AssertionError, match="was accepted"):
        refusal(MINIMAL)
