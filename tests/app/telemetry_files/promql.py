"""A linter for queries: each rule returns sentences, so that each can be shown to bite.

It reads PromQL as far as these files use it: selectors, ``by`` lists, functions. That a query can be parsed
is promtool's business.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from seawall.app.telemetry_files.naming import Naming
from seawall.telemetry.metrics.metric import Kind, Metric

TARGET_LABELS = frozenset({"job", "instance"})
"""Labels that Prometheus gives every series."""
WORDS = frozenset({"and", "or", "unless", "offset", "bool"})
GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\((?P<labels>[^)]*)\)")
SELECTOR = re.compile(
    r"(?<![\w:.$])(?P<name>[a-zA-Z_:][\w:]*)\s*(?P<matchers>\{[^}]*\})?\s*(?:\[(?P<range>[^\]]+)\])?"
)
FUNCTION = re.compile(r"(?P<name>[a-z_]+)\s*\(\s*\Z")
MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")


@dataclass(frozen=True)
class Known:
    """One name that a query may have."""

    kind: str
    labels: frozenset[str]


def known(rows: tuple[Metric, ...], naming: Naming) -> dict[str, Known]:
    """What there is to query, by name."""
    found = {"up": Known("gauge", frozenset())}
    for row in rows:
        name, labels = naming.exposed(row).name, frozenset(naming.exposed(row).labels)
        if row.kind is Kind.HISTOGRAM:
            found[f"{name}_bucket"] = Known("counter", labels | {"le"})
            found[f"{name}_count"] = found[f"{name}_sum"] = Known("counter", labels)
        elif row.kind is Kind.NATIVE_HISTOGRAM:
            found[name] = Known("counter", labels)
        else:
            found[name] = Known("counter" if row.kind is Kind.COUNTER else "gauge", labels)
    return found


@dataclass(frozen=True)
class Selected:
    """One selector of a query."""

    name: str
    labels: frozenset[str]
    range: str
    function: str


def selectors(expr: str) -> Iterator[Selected]:
    """All selectors of a query."""
    plain = GROUPING.sub(lambda found: " " * len(found.group()), expr)
    for match in SELECTOR.finditer(plain):
        if match["name"] in WORDS or plain[match.end("name") :].lstrip().startswith("("):
            continue
        function = FUNCTION.search(plain[: match.start()])
        yield Selected(
            name=match["name"],
            labels=frozenset(MATCHER.findall(match["matchers"] or "")),
            range=match["range"] or "",
            function=function["name"] if function else "",
        )


def grouped(expr: str) -> frozenset[str]:
    """Labels that a query groups by."""
    lists = (match["labels"].split(",") for match in GROUPING.finditer(expr))
    return frozenset(label.strip() for labels in lists for label in labels if label.strip())


def faults(expr: str, names: Mapping[str, Known]) -> list[str]:
    """What is wrong with a query."""
    found = []
    there = set(TARGET_LABELS)
    seen = list(selectors(expr))
    if not seen:
        found.append("no metric is asked for")
    for one in seen:
        row = names.get(one.name)
        if row is None:
            found.append(f"there is no metric {one.name}")
            continue
        there |= row.labels
        found += [
            f"{one.name} has no label {label}" for label in sorted(one.labels - row.labels - TARGET_LABELS)
        ]
        if one.function in {"rate", "increase"} and row.kind != "counter":
            found.append(f"{one.function}() of {one.name}, which is a {row.kind}")
        if one.function == "changes" and row.kind != "gauge":
            found.append(f"changes() of {one.name}, which is a {row.kind}")
        if bool(one.range) != (one.function in {"rate", "increase", "changes"}):
            found.append(f"{one.name}: a range and no function of ranges, or the other way round")
    found += [f"grouped by {label}, which nothing has" for label in sorted(grouped(expr) - there)]
    return found


def panel_faults(expr: str, names: Mapping[str, Known]) -> list[str]:
    """What is wrong with a query of a dashboard besides."""
    found = faults(expr, names)
    for one in selectors(expr):
        if one.range not in {"", "$__rate_interval"}:
            found.append(f"{one.name} over {one.range}, and not over $__rate_interval")
        if not one.range and names.get(one.name, Known("gauge", frozenset())).kind == "counter":
            found.append(f"{one.name} is a counter, and is shown as it stands")
        if not one.labels >= TARGET_LABELS:
            found.append(f"{one.name} is not filtered by the dashboard's variables")
    return found
