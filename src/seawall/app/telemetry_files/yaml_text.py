"""YAML as people write it, of plain data; the package has no YAML library, and needs no other direction.

Mappings, sequences, texts, numbers and truth values. A text is plain where that is safe beyond doubt and in
double quotes elsewhere, or in single ones if it has double ones. Several lines become a literal block.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

__all__ = ["Plain", "yaml_text"]

Plain = str | int | float | bool | Mapping[str, "Plain"] | Sequence["Plain"]

_SAFE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./-]+)*")
# Words that some release of YAML takes for something else than a text.
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_LINE: Final = re.compile(r"[ -~]*")
_BLOCK: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?(?:\n *[!-~](?:[ -~]*[!-~])?)+")


def yaml_text(value: Plain) -> str:
    """A document, with a line break at its end."""
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: Plain) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _entry(f"{_text(key)}:", item)
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for item in value:
            if isinstance(item, str) or not isinstance(item, Mapping | Sequence) or not item:
                yield from _entry("-", item)
                continue
            mark = "- "
            for line in _lines(item):
                yield mark + line
                mark = "  "
    else:
        yield _scalar(value)


def _entry(head: str, value: Plain) -> Iterator[str]:
    if isinstance(value, str) and _BLOCK.fullmatch(value):
        yield f"{head} |-"
        yield from (f"  {line}" for line in value.split("\n"))
    elif isinstance(value, str) or not isinstance(value, Mapping | Sequence) or not value:
        yield f"{head} {_scalar(value)}"
    else:
        yield head
        yield from (f"  {line}" for line in _lines(value))


def _scalar(value: Plain) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, Sequence):
        return "[]"
    return json.dumps(value)


def _text(value: str) -> str:
    if _SAFE.fullmatch(value) and value.lower() not in _WORDS:
        return value
    if '"' in value and _LINE.fullmatch(value):
        return "'" + value.replace("'", "''") + "'"
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08x}"
