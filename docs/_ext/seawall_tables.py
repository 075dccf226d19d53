"""Directives that print the library's own tables, so that a page and the code can't disagree.

``seawall-errors`` prints the mapping of errors to wires, ``seawall-settings`` the keys of one policy class,
``seawall-metrics`` the rows of one group of the metric catalogue.
"""

import dataclasses
import importlib
import re
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from seawall.app.telemetry_files import Naming
from seawall.kernel.outcomes import TABLE, ErrorRow
from seawall.resilience.settings import settings_of
from seawall.telemetry.catalogue import EXPOSED, GROUPS
from seawall.telemetry.metrics.metric import Kind, Metric

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


class Metrics(Directive):
    """Prints the catalogue: the group that its argument names, or ``others`` for rows of none."""

    required_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        grouped = {row.name for rows in GROUPS.values() for row in rows}
        others = tuple(row for row in EXPOSED if row.name not in grouped)
        rows = others if self.arguments[0] == "others" else GROUPS[self.arguments[0]]
        headings = ["metric", "type", "unit", "labels", "meaning"]
        return [table(headings, [self.cells(row) for row in sorted(rows, key=lambda row: row.name)])]

    @staticmethod
    def cells(row: Metric) -> list[list[nodes.Node]]:
        """One metric."""
        exposed = Naming().exposed(row)
        labels: list[nodes.Node] = []
        for label in exposed.labels:
            labels += [nodes.Text(", ")] if labels else []
            labels.append(nodes.literal(text=label))
        meaning = _prose(exposed.help)
        if row.kind is Kind.STATE_SET:
            meaning.append(nodes.Text(f" States: {', '.join(row.states)}."))
        if exposed.aliases:
            meaning.append(nodes.Text(" Alias: "))
            for number, alias in enumerate(exposed.aliases):
                meaning += [nodes.Text(", ")] if number else []
                meaning.append(nodes.literal(text=alias))
            meaning.append(nodes.Text("."))
        return [
            [nodes.literal(text=exposed.name)],
            [nodes.Text(exposed.type)],
            [nodes.Text(exposed.unit)],
            labels,
            meaning,
        ]


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
    app.add_directive("seawall-metrics", Metrics)
    app.add_directive("seawall-settings", Settings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
