"""``${VAR}`` and ``${VAR:-default}`` in the texts of a configuration, as shells and Compose have them.

A variable that is set but empty counts as unset where a default is written. ``$${`` stands for ``${`` itself.
Keys are left alone, and a value that came from a variable is not looked at again. The environment is given,
never read from the process. The configuration's loader calls it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["CONFIG_VARIABLES", "DEPTH_MAX", "Expanded", "FromEnvironment", "Place", "config_file", "expand"]

CONFIG_VARIABLES: Final = ("SEAWALL_CONFIG", "HELIOS_CONFIG")
"""Where the file is, if the command line doesn't say; the first that is set counts."""

DEPTH_MAX: Final = 8
"""No section is nested deeper than half of this; what is deeper is refused as unknown, and not looked at."""

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|\$\{")
Place = tuple[str | int, ...]
"""Where a value stands: keys of tables and numbers of list items."""


class FromEnvironment(str):
    """A text in which a variable was replaced, so that a number may be read from it."""

    __slots__ = ()


class Expanded:
    """A document with its variables replaced.

    Attributes:
        document: the same tables with new texts.
        unset: the names of the variables that are missing, by place.
        malformed: places of texts with a ``${`` that begins no reference.
    """

    __slots__ = ("document", "malformed", "unset")

    def __init__(self) -> None:
        self.document: dict[str, object] = {}
        self.unset: dict[Place, tuple[str, ...]] = {}
        self.malformed: list[Place] = []


def config_file(env: Mapping[str, str]) -> str | None:
    """The file that the environment names, if it names one."""
    return next((env[name] for name in CONFIG_VARIABLES if env.get(name)), None)


def expand(document: Mapping[str, object], env: Mapping[str, str]) -> Expanded:
    """Replace the references in every text of a document.

    Args:
        document: tables as TOML gives them; not changed.
        env: the variables.
    """
    result = Expanded()
    result.document = {key: _value(value, (key,), env, result) for key, value in document.items()}
    return result


def _value(value: object, place: Place, env: Mapping[str, str], result: Expanded) -> object:
    if len(place) > DEPTH_MAX:
        return value
    if isinstance(value, dict):
        return {key: _value(item, (*place, key), env, result) for key, item in value.items()}
    if isinstance(value, list):
        return [_value(item, (*place, number), env, result) for number, item in enumerate(value)]
    if isinstance(value, str) and "${" in value:
        return _text(value, place, env, result)
    return value


def _text(text: str, place: Place, env: Mapping[str, str], result: Expanded) -> str:
    references = [match for match in _REFERENCE.finditer(text) if match[0] != "$${"]
    if any(match["name"] is None for match in references):
        result.malformed.append(place)
        return text
    missing = [match["name"] for match in references if match["default"] is None and match["name"] not in env]
    if missing:
        result.unset[place] = tuple(dict.fromkeys(missing))
    new = _REFERENCE.sub(lambda match: _replacement(match, env), text)
    return FromEnvironment(new) if references else new


def _replacement(match: re.Match[str], env: Mapping[str, str]) -> str:
    name, default = match["name"], match["default"]
    if name is None:
        return "${"
    value = env.get(name, "")
    return value if default is None else value or default
