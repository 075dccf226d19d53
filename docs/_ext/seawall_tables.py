"""Directives that print the library's own tables, so that a page and the code can't disagree.

``seawall-errors`` prints the mapping of errors to wires, ``seawall-settings`` the keys of one policy class.
"""

import dataclasses
import importlib
import re
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from seawall.kernel.outcomes import TABLE, ErrorRow
from seawall.resilience.settings import settings_of

ATTRIBUTE = re.compile(r"^(?P<name>\w+): (?P<text>.*?)(?=^\w+: |\Z)", re.MULTILINE | re.DOTALL)


def table(headings: list[str], rows: list[list[list[nodes.Node]]]) -> nodes.table:
    """A table of single-paragraph cells, each a list of inline nodes."""
    head, body = nodes.thead(), nodes.tbody()
    head += _row([[nodes.Text(heading)] for heading in headings])
    body.extend(_row(cells) for cells in rows)
    group = nodes.tgroup(cols=len(headings))
    group.extend(nodes.colspec(colwidth=1) for _ in headings)
    group.extend([head, body])
    made = nodes.table(classes=["colwidths-auto"])
    made += group
    return made


def _row(cells: list[list[nodes.Node]]) -> nodes.row:
    row = nodes.row()
    for content in cells:
        paragraph = nodes.paragraph()
        paragraph.extend(content)
        entry = nodes.entry()
        entry += paragraph
        row += entry
    return row


def _prose(text: str) -> list[nodes.Node]:
    """Text with ``literals`` marked as such, and nothing else."""
    parts = text.split("``")
    return [nodes.literal(text=part) if index % 2 else nodes.Text(part) for index, part in enumerate(parts)]


class Errors(Directive):
    """Prints ``seawall.kernel.outcomes.TABLE``."""

    has_content: ClassVar[bool] = False

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        headings = [
            "error",
            "tier",
            "JSON-RPC",
            "HTTP",
            "gRPC",
            "SQLSTATE",
            "retry may help",
            "tells a breaker",
        ]
        return [table(headings, [self.cells(row) for row in TABLE])]

    @staticmethod
    def cells(row: ErrorRow) -> list[list[nodes.Node]]:
        """One kind of error."""
        return [
            [nodes.literal(text=row.kind.__name__)],
            [nodes.Text(f"{row.tier.value} {row.tier.name.lower()}")],
            [nodes.Text(str(row.jsonrpc))],
            [nodes.Text(str(row.http))],
            [nodes.Text(f"{row.grpc} {row.grpc_name}")],
            [nodes.literal(text=row.sqlstate)],
            [nodes.Text("yes" if row.retryable else "no")],
            [nodes.Text(row.outcome.name.lower())],
        ]


class Settings(Directive):
    """Prints the keys of the policy class that its argument names."""

    required_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        module, _, name = self.arguments[0].rpartition(".")
        policy = getattr(importlib.import_module(module), name)
        meanings = attributes(policy)
        defaults = {field.name: field.default for field in dataclasses.fields(policy)}
        rows = [
            [
                [nodes.literal(text=key)],
                [nodes.literal(text=written(defaults[key]))],
                [nodes.Text(setting.allowed())],
                _prose(meanings[key]),
            ]
            for key, setting in settings_of(policy).items()
        ]
        return [table(["key", "default", "allowed", "meaning"], rows)]


def attributes(policy: type) -> dict[str, str]:
    """The ``Attributes`` section of a docstring; a key that is missing there fails the build."""
    documented = (policy.__doc__ or "").partition("Attributes:\n")[2]
    lines = []
    for line in documented.splitlines():
        if line.strip() and not line.startswith("        "):
            break
        lines.append(line[8:])
    found = ATTRIBUTE.finditer("\n".join(lines))
    return {match["name"]: " ".join(match["text"].split()) for match in found}


def written(default: Any) -> str:  # noqa: ANN401 -- a field's default is whatever its unit is
    """A default as it would be written in a policy file."""
    if default is None:
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    return repr(default).replace("'", '"')


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("seawall-errors", Errors)
    app.add_directive("seawall-settings", Settings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
