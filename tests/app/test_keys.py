import pytest
from pydantic_core import PydanticCustomError

from seawall.app import keys
from seawall.app.environment import FromEnvironment
from seawall.app.secrets import Secret


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        (keys.span(0.0, 60.0, ""), "500ms", 0.5),
        (keys.span(0.0, 60.0, ""), 5, 5.0),
        (keys.milliseconds(1.0, 1e6, ""), "1.5s", 1500.0),
        (keys.milliseconds(1.0, 1e6, ""), "100ms", 100.0),
        (keys.milliseconds(1.0, 1e6, ""), FromEnvironment("250"), 250.0),
        (keys.percent(0.0, 100.0, ""), "99.9%", 99.9),
        (keys.percent(0.0, 100.0, ""), 5, 5.0),
        (keys.percent(0.0, 100.0, ""), FromEnvironment("5.5"), 5.5),
        (keys.share(0.0, 1.0, ""), "95%", 0.95),
        (keys.whole(0, 9, ""), FromEnvironment("7"), 7),
        (keys.number(0.0, 9.0, ""), FromEnvironment("7.5"), 7.5),
        (keys.truth(""), FromEnvironment("true"), True),
        (keys.truth(""), FromEnvironment("false"), False),
        (keys.secret(""), "hunter2", Secret("hunter2")),
        (keys.command("", example=""), ["a", "", "a"], ("a", "", "a")),
        (keys.command("", example=""), [], ()),
    ],
)
def test_values_are_read_in_their_unit(key: keys.Key, value: object, read: object) -> None:
    assert key.read(value) == read
    assert type(key.read(value)) is type(read)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (keys.whole(0, 9, ""), FromEnvironment("7.5")),
        (keys.whole(0, 9, ""), FromEnvironment("")),
        (keys.whole(0, 9, ""), FromEnvironment("9" * 100)),
        (keys.whole(0, 9, ""), 10**4000),
        (keys.number(0.0, 9.0, ""), FromEnvironment("1e1")),
        (keys.number(0.0, 9.0, ""), 10**400),
        (keys.truth(""), FromEnvironment("yes")),
        (keys.percent(0.0, 100.0, ""), "5"),
        (keys.milliseconds(1.0, 1e6, ""), "250"),
        (keys.choice("", "a", "b"), FromEnvironment("c")),
        (keys.choice("", "a", "b"), "x" * 100_000),
        (keys.words("words", keys.choice("", "a"), ""), ["a"] * (keys.ITEMS_MAX + 1)),
        (keys.text("a text", ""), "\0"),
        (keys.command("", example=""), ["a"] * (keys.ARGUMENTS_MAX + 1)),
        (keys.command("", example=""), "a"),
        (keys.command("", example=""), [1]),
        (keys.command("", example=""), ["a", "\0"]),
        (keys.command("", example=""), [""]),
    ],
)
def test_anything_else_is_refused_without_the_value(key: keys.Key, value: object) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        key.read(value)
    assert caught.value.message() == "not allowed"


def test_a_text_from_the_environment_is_a_plain_one_afterwards() -> None:
    read = keys.text("a text", "").read(FromEnvironment("x"))
    assert type(read) is str
    (word,) = keys.words("words", keys.text("a text", ""), "").read([FromEnvironment("x")])
    assert type(word) is str
    (argument,) = keys.command("", example="").read([FromEnvironment("x")])
    assert type(argument) is str


def test_repetitions_are_taken_once_and_in_order() -> None:
    assert keys.words("words", keys.choice("", "a", "b"), "").read(["b", "a", "b"]) == ("b", "a")


@pytest.mark.parametrize(
    ("key", "value", "written"),
    [
        (keys.span(0.0, 60.0, ""), 30.0, '"30s"'),
        (keys.span(0.0, 60.0, ""), None, "none"),
        (keys.truth(""), True, "true"),
        (keys.whole(0, 9, ""), 7, "7"),
        (keys.milliseconds(1.0, 1e6, ""), 500.0, "500"),
        (keys.choice("", "a"), "a", '"a"'),
        (keys.words("words", keys.choice("", "a", "b"), ""), ("a", "b"), '["a", "b"]'),
    ],
)
def test_a_value_is_written_as_a_file_would_have_it(key: keys.Key, value: object, written: str) -> None:
    assert key.written(value) == written


def test_a_problem_shows_the_range() -> None:
    problem = keys.whole(1, 9, "").problem("pool.size", 10, "for example 1")
    assert str(problem) == "pool.size = 10: allowed is whole number from 1 to 9; for example 1"
