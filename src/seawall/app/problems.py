"""Turns what pydantic found into lines to act on: path, value as written, what is allowed, fix.

Only the value of a known key that is no secret is shown, and as it stands in the file: what a variable held
never reaches a message, nor does whatever somebody wrote under a misspelt name. The loader calls it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from seawall.app.document import Document, entries, section_inside
from seawall.app.environment import Place
from seawall.app.keys import KEY_ERROR, Key
from seawall.app.sections import NAME_PATTERN, Section
from seawall.kernel.errors import PolicyError, Problem
from seawall.resilience.settings import unknown_key

__all__ = ["PROBLEMS_MAX", "ConfigError", "Reader", "Words", "kind_of"]

PROBLEMS_MAX: Final = 200
"""Nobody reads more, and a hostile file should not fill a log."""
NAME_MAX_CHARACTERS: Final = 64
"""Of a key in a message."""

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_LABEL: Final = re.compile(NAME_PATTERN)


class ConfigError(PolicyError):
    """The proxy's configuration is wrong; every problem is named at once, one per line.

    Args:
        problems: all that is wrong.
        source: the file, or what else the configuration came from.
    """

    __slots__ = ()


class Words(str):
    """A text that stands for a value in a message: shown as it is, not quoted."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


NOTHING: Final = Words("nothing")
HIDDEN: Final = Words("(hidden)")


def kind_of(value: object) -> Words:
    """What a value is, without telling it."""
    kinds = ((bool, "true or false"), (str, "a text"), (int | float, "a number"), (dict, "a table"))
    for kind, name in kinds:
        if isinstance(value, kind):
            return Words(f"({name})")
    return Words("(a list)" if isinstance(value, list) else "(a date or time)")


@dataclass(frozen=True, slots=True)
class Reader:
    """Knows a document as it was written, and so how to speak of a place in it.

    Attributes:
        raw: the tables before variables were replaced.
        origins: what a place is called that came from elsewhere, such as an option of the command line.
    """

    raw: Mapping[str, object]
    origins: Mapping[Place, str] = field(default_factory=dict)

    def problems(self, error: ValidationError, skipped: frozenset[Place]) -> list[Problem]:
        """One line per error, but for the places that have been complained about already."""
        found = error.errors(include_url=False, include_input=False)
        return [self.problem(item) for item in found if item["loc"] not in skipped]

    def problem(self, error: ErrorDetails) -> Problem:
        """One error of pydantic in our words."""
        place, kind = error["loc"], error["type"]
        path, value = self.path(place), self.value(place)
        if kind == "extra_forbidden":
            return self._unknown(place)
        key = _key_at(place)
        if key is not None and kind == KEY_ERROR:
            return key.problem(path, HIDDEN if key.hidden else value, error["ctx"]["fix"])
        if key is not None and kind == "missing":
            example = key.setting.example
            return key.problem(path, NOTHING, f"write it, for example {example}" if example else "write it")
        return Problem(path, kind_of(value), *_shape(place, error))

    def path(self, place: Place) -> str:
        """A place as a person would name it: ``backends.instances[primary-1].port``."""
        for length in range(len(place), 0, -1):
            origin = self.origins.get(place[:length])
            if origin is not None:
                return origin
        text = ""
        for index, step in enumerate(place):
            if isinstance(step, int):
                text += f"[{self._label(place[: index + 1], step)}]"
            else:
                text += f".{_shown_key(step)}" if text else _shown_key(step)
        return text

    def value(self, place: Place) -> object:
        """What is written at a place."""
        value: Any = self.raw
        for step in place:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return NOTHING
        return value

    def _label(self, place: Place, number: int) -> str:
        name = self.value((*place, "name"))
        named = name is not NOTHING and isinstance(name, str) and _LABEL.fullmatch(name)
        return str(name if named else number)

    def _unknown(self, place: Place) -> Problem:
        *_, last = place
        name = _shown_key(str(last))
        model, _ = _section_at(place[:-1])
        assert model is not None
        known = list(model.model_fields)
        table = self.path(place[:-1])
        problem = unknown_key(name, kind_of(self.value(place)), known, f"{table}." if table else "")
        home = _home_of(str(last), model)
        if problem.fix == "remove it" and home:
            return Problem(problem.key, problem.value, problem.allowed, f"it belongs in {home}")
        return problem


def _section_at(place: Place) -> tuple[type[Section] | None, bool]:
    """The model of the table at a place, and whether the place is a list of such tables."""
    model: type[Section] | None = Document
    listed = False
    for step in place:
        if isinstance(step, int):
            listed = False
        else:
            assert model is not None
            model, listed = section_inside(model.model_fields[step])
    return model, listed


def _key_at(place: Place) -> Key | None:
    model, _ = _section_at(place[:-1])
    return None if model is None else model.declarations().get(str(place[-1]))


def _shape(place: Place, error: ErrorDetails) -> tuple[str, str]:
    """What is allowed, and how to write it, where a table or a list of tables belongs."""
    names = ".".join(str(step) for step in place if isinstance(step, str))
    _, listed = _section_at(place)
    if error["type"] == "too_long":
        return f"at most {error['ctx']['max_length']} tables", "leave some out"
    if listed or any(isinstance(step, int) for step in place):
        return "a list of tables", f"write [[{names}]]"
    return "a table", f"write [{names}]"


def _home_of(name: str, here: type[Section]) -> str:
    """The table that has such a key: a key below the wrong header is TOML's commonest trap."""
    homes = [entry.header for entry in entries() if entry.name == name and entry.section is not here]
    return " or ".join(dict.fromkeys(homes))


def _shown_key(name: str) -> str:
    if len(name) > NAME_MAX_CHARACTERS:
        name = name[:NAME_MAX_CHARACTERS] + "…"
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)
