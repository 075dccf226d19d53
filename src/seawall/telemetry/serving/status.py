"""The status API as a registry: what can be read and which orders can be given, each with its types and role.

Other parts register; this module knows none of them. A *resource* is read-only and answers ``GET`` with a
record of a declared type. An *order* takes a record of a declared type by ``POST``. Both stand under
``/api/v1/``; a name may contain parameters (``backends/{name}``), which like those of the query are fields
of a declared type.

The types are msgspec structs or dataclasses. They are the contract: ``openapi`` describes it, and what a
callable returns is held against it before it leaves, so that no other object's fields are ever shown by
mistake.

The registry is closed when its routes are made: what is served is what the document says. It serves nothing
itself; ``endpoints`` does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from seawall.kernel.errors import UsageError
from seawall.telemetry.serving.access import Caller, Role

__all__ = ["OPERATIONS_MAX", "PREFIX", "Operation", "StatusApi", "properties_of"]

PREFIX: Final = "/api/v1/"
OPERATIONS_MAX: Final = 256
"""Operations of one API."""
REFERENCE: Final = "#/components/schemas/{name}"

_SEGMENT: Final = r"(?:[a-z0-9][a-z0-9._-]*|\{[a-z][a-z0-9_]*\})"
_NAME: Final = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")
_PATH: Final = re.compile(rf"(?:/{_SEGMENT})+")
_PARAMETER: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_TAKEN: Final = ("/openapi.json", "/health", "/ready", "/metrics")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One entry of the registry.

    Attributes:
        method: ``GET`` for a resource, ``POST`` for an order.
        path: Where it is.
        aliases: Where else.
        name: As registered.
        role: The least that may use it.
        answer: Type of what it returns; ``None`` if it returns nothing.
        parameters: Type whose fields are the parameters of path and query; ``None`` if there are none.
        body: Type of an order's body.
        call: Does it.
        summary: One line for people.
    """

    method: str
    path: str
    name: str
    role: Role
    answer: Any
    call: Callable[..., object]
    aliases: tuple[str, ...] = ()
    parameters: Any = None
    body: Any = None
    summary: str = ""

    @property
    def identifier(self) -> str:
        """Names it in the document."""
        verb = "read" if self.method == "GET" else "order"
        return verb + "_" + re.sub(r"[^a-z0-9]+", "_", self.name).strip("_")

    def path_parameters(self) -> tuple[str, ...]:
        """Names of the parameters in its path."""
        return tuple(_PARAMETER.findall(self.path))


class StatusApi:
    """The registry.

    Args:
        title: Of the document.
        version: Of the API, not of the program.
    """

    def __init__(self, title: str = "Seawall status", version: str = "1.0.0") -> None:
        self.title = title
        self.version = version
        self._operations: dict[tuple[str, str], Operation] = {}
        self._closed = False

    def resource(
        self,
        name: str,
        schema: Any,  # noqa: ANN401 -- a type, which may be list[...] or a union
        read: Callable[..., object],
        *,
        role: Role = Role.VIEWER,
        parameters: Any = None,  # noqa: ANN401 -- a struct or a dataclass
        aliases: tuple[str, ...] = (),
        summary: str = "",
    ) -> None:
        """Offer something to be read.

        Args:
            name: Its path below ``/api/v1/``, such as ``backends/{name}``.
            schema: Type of what ``read`` returns.
            read: Returns it, or an awaitable of it; called with the parameters, if there are any. It runs
                on the event loop and has to return at once. ``NotFoundError`` becomes 404.
            role: The least that may read it.
            parameters: Type whose fields are the parameters of path and query.
            aliases: Further paths, from the root.
            summary: One line for people.

        Raises:
            UsageError: It can't be offered; the message says why.
        """
        self._add(
            Operation(
                method="GET",
                path=PREFIX + name,
                name=name,
                role=role,
                answer=schema,
                call=read,
                aliases=aliases,
                parameters=parameters,
                summary=summary,
            )
        )

    def order(
        self,
        name: str,
        schema: Any,  # noqa: ANN401 -- a struct or a dataclass
        act: Callable[[Any, Caller], object],
        *,
        answer: Any = None,  # noqa: ANN401 -- a type
        role: Role = Role.OPERATOR,
        summary: str = "",
    ) -> None:
        """Offer an order to be given.

        Args:
            name: Its path below ``/api/v1/``, such as ``breakers/force``.
            schema: Type of the body.
            act: Carries it out, given the body and who orders; returns what ``answer`` says, or an
                awaitable of it. Errors become what :mod:`seawall.kernel.outcomes` says.
            answer: Type of the answer; without it the answer is empty (204).
            role: The least that may order it; not a viewer.
            summary: One line for people.

        Raises:
            UsageError: It can't be offered; the message says why.
        """
        if role is Role.VIEWER:
            raise UsageError(f"order {name!r}: role = viewer: allowed are operator and admin; viewers read")
        if _PARAMETER.search(name):
            raise UsageError(f"order {name!r}: an order's path has no parameters; put them into the body")
        operation = Operation(
            method="POST",
            path=PREFIX + name,
            name=name,
            role=role,
            answer=answer,
            call=act,
            body=schema,
            summary=summary,
        )
        if properties_of(operation, schema) is None:
            raise UsageError(f"order {name!r}: its body has to be a struct or a dataclass, not {schema!r}")
        self._add(operation)

    def operations(self) -> tuple[Operation, ...]:
        """All of them, by path."""
        return tuple(operation for _, operation in sorted(self._operations.items()))

    def close(self) -> None:
        """Take no more registrations; routes are about to be made."""
        self._closed = True

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<StatusApi {self.title!r} {state} operations={len(self._operations)}>"

    def _add(self, operation: Operation) -> None:
        what = f"{operation.method} {operation.path}"
        if self._closed:
            raise UsageError(f"{what}: register before the routes are made; they are the document's promise")
        if len(self._operations) >= OPERATIONS_MAX:
            raise UsageError(f"{what} is one too many: allowed are {OPERATIONS_MAX}")
        if not _NAME.fullmatch(operation.name):
            raise UsageError(
                f"{what}: name = {operation.name!r}: allowed are segments of a-z, 0-9, '.', '_', '-'"
                " or {parameter}, joined by '/'"
            )
        for path in operation.aliases:
            if not _PATH.fullmatch(path) or path.startswith((PREFIX, *_TAKEN)):
                raise UsageError(f"{what}: alias {path!r}: allowed are paths outside {PREFIX} that are free")
            if _shape(path)[1] != _shape(operation.path)[1]:
                raise UsageError(f"{what}: alias {path!r} needs the same parameters as the path itself")
        taken = {
            (other.method, _shape(path)[0]) for other in self._operations.values() for path in _paths(other)
        }
        if any((operation.method, _shape(path)[0]) in taken for path in _paths(operation)):
            raise UsageError(f"{what} is registered already")
        identifiers = {other.identifier for other in self._operations.values()}
        if operation.identifier in identifiers:
            raise UsageError(
                f"{what}: another one is called {operation.identifier!r} in the document; name it apart"
            )
        _check_types(operation)
        self._operations[operation.path, operation.method] = operation


def properties_of(operation: Operation, schema: Any) -> dict[str, Any] | None:  # noqa: ANN401 -- a type
    """The JSON schema of a record's fields, by name; ``None`` if the type is no record.

    Raises:
        UsageError: The type has no JSON schema.
    """
    try:
        (top,), components = msgspec.json.schema_components([schema], ref_template=REFERENCE)
    except TypeError as error:
        raise UsageError(f"{operation.path}: {schema!r} has no JSON schema: {error}") from None
    record = components.get(top.get("$ref", "").rpartition("/")[2], top)
    properties: dict[str, Any] | None = record.get("properties")
    return properties


def _check_types(operation: Operation) -> None:
    if operation.answer is not None:
        properties_of(operation, operation.answer)
    wanted = set(operation.path_parameters())
    given = (
        set(properties_of(operation, operation.parameters) or {})
        if operation.parameters is not None
        else set()
    )
    if missing := wanted - given:
        names = ", ".join(sorted(missing))
        raise UsageError(
            f"{operation.path}: parameters = {operation.parameters!r}: it has to have the fields {names}"
        )


def _paths(operation: Operation) -> tuple[str, ...]:
    return (operation.path, *operation.aliases)


def _shape(path: str) -> tuple[str, frozenset[str]]:
    """What a path matches, and the names of its parameters."""
    return _PARAMETER.sub("{}", path), frozenset(_PARAMETER.findall(path))
