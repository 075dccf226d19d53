"""What users can import, as text: every public name of every public package with its signature.

``python -m tests.repo.public_surface`` prints it, ``--update`` writes it to public_surface.txt, where a
change shows up in review as what it is: a promise made, kept or broken.
"""

import enum
import functools
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

RECORD = Path(__file__).with_name("public_surface.txt")
DOORS = ("seawall.", "seawall.telemetry.")
"""Where public packages lie; telemetry has no surface of its own, each of its parts is a door."""


def packages() -> list[ModuleType]:
    """``seawall`` and its sub-packages that name their public things in ``__all__``."""
    front = importlib.import_module("seawall")
    found = [front]
    for door in DOORS:
        path = importlib.import_module(door.rstrip(".")).__path__
        for info in pkgutil.iter_modules(path, door):
            if info.ispkg and not info.name.rpartition(".")[2].startswith("_"):
                module = importlib.import_module(info.name)
                if hasattr(module, "__all__"):
                    found.append(module)
    return found


def surface() -> str:
    """One line per name, members indented below their class."""
    lines = []
    for module in packages():
        for name in sorted(module.__all__):
            lines.extend(_describe(f"{module.__name__}.{name}", getattr(module, name)))
    return "\n".join(lines) + "\n"


def _describe(name: str, value: object) -> Iterator[str]:
    if inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        yield f"class {name}({bases})" if bases else f"class {name}"
        if issubclass(value, enum.Enum):
            yield from (f"    {member.name} = {member.value!r}" for member in value)
        else:
            if "__init__" in vars(value) and not issubclass(value, BaseException):
                yield f"    __init__{_signature(value.__init__)}"
            yield from _members(value)
    elif inspect.ismodule(value):
        yield f"module {name}"
    elif callable(value):
        yield f"{name}{_signature(value)}"
    else:
        yield f"{name}: {type(value).__name__}"


def _members(owner: type) -> Iterator[str]:
    """What a class offers, and what it inherits from classes of ours that are not exported."""
    members = {
        name: member
        for base in reversed(owner.__mro__)
        if base is owner or (base.__module__.startswith("seawall.") and base.__name__ not in _exported())
        for name, member in vars(base).items()
    }
    for name, member in sorted(members.items()):
        if name.startswith("_"):
            continue
        if isinstance(member, classmethod | staticmethod):
            yield f"    {type(member).__name__} {name}{_signature(member.__func__)}"
        elif inspect.isroutine(member):
            yield f"    {name}{_signature(member)}"
        else:  # a property, a slot, a class attribute: storage may change, reading may not
            yield f"    .{name}"


@functools.cache
def _exported() -> frozenset[str]:
    return frozenset(name for module in packages() for name in module.__all__)


def _signature(function: object) -> str:
    """Names, kinds and whether there is a default; its value and the types are for the type checker."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return "(...)"
    parameters = [
        parameter.replace(
            annotation=inspect.Parameter.empty,
            default=inspect.Parameter.empty if parameter.default is inspect.Parameter.empty else _Default(),
        )
        for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


class _Default:
    def __repr__(self) -> str:
        return "..."


def main(arguments: list[str]) -> int:
    """Print the surface, or write it where the test compares."""
    if arguments == ["--update"]:
        RECORD.write_text(surface(), encoding="utf-8")
        print(f"wrote {RECORD.name}")
    elif arguments:
        print("usage: python -m tests.repo.public_surface [--update]", file=sys.stderr)
        return 2
    else:
        print(surface(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
