"""The public surface is a tested fact: what can be imported, under which names, with which arguments."""

import difflib
import enum
import inspect

import pytest

from tests.repo import public_surface


def test_the_surface_is_the_recorded_one() -> None:
    recorded = public_surface.RECORD.read_text(encoding="utf-8").splitlines()
    difference = list(
        difflib.unified_diff(
            recorded, public_surface.surface().splitlines(), "recorded", "now", lineterm="", n=0
        )
    )
    assert not difference, (
        "the public surface has changed; if that is meant, run `python -m tests.repo.public_surface --update`"
        " and tell users in CHANGELOG.md\n" + "\n".join(difference)
    )


@pytest.mark.parametrize("module", public_surface.packages(), ids=lambda module: module.__name__)
def test_public_names_exist_once_and_are_public(module) -> None:
    names = list(module.__all__)
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(module, name)] == []
    assert [name for name in names if name.startswith("_") and name != "__version__"] == []


@pytest.mark.parametrize("module", public_surface.packages(), ids=lambda module: module.__name__)
def test_public_names_are_documented(module) -> None:
    described = {name: getattr(module, name) for name in module.__all__}
    bare = [
        name
        for name, value in described.items()
        if (inspect.isclass(value) or inspect.isroutine(value)) and not inspect.getdoc(value)
    ]
    assert bare == []


def test_a_changed_signature_changes_the_surface() -> None:
    def before(attempts: int, *, base_s: float = 0.1) -> float:
        return attempts * base_s

    def after(attempts: int, *, base_ms: float = 0.1) -> float:
        return attempts * base_ms

    assert list(public_surface._describe("f", before)) == ["f(attempts, *, base_s=...)"]
    assert list(public_surface._describe("f", after)) == ["f(attempts, *, base_ms=...)"]


def test_a_class_shows_its_members() -> None:
    class Limit:
        def __init__(self, rate: float) -> None:
            self.rate = rate

        @property
        def wait_s(self) -> float:
            return 1 / self.rate

        @classmethod
        def per_minute(cls, rate: float) -> "Limit":
            return cls(rate / 60)

        def _inner(self) -> None:
            self.rate = 0

    assert list(public_surface._describe("Limit", Limit)) == [
        "class Limit",
        "    __init__(self, rate)",
        "    classmethod per_minute(cls, rate)",
        "    .wait_s",
    ]


def test_an_enum_shows_its_values() -> None:
    class Mode(enum.Enum):
        ON = "on"

    assert list(public_surface._describe("Mode", Mode)) == ["class Mode(Enum)", "    ON = 'on'"]
