"""The whole configuration as one model, and a walk along all its keys.

The loader validates with it; the reference page and its tests are made from the walk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, get_args

from pydantic import Field
from pydantic.fields import FieldInfo

from seawall.app import dormant, sections
from seawall.app.failover import FailoverSection, ReplaySection
from seawall.app.keys import Key
from seawall.app.observation.sections import ObservabilitySection, TelemetrySection

__all__ = ["RECEIVERS", "Document", "Entry", "entries", "section_inside"]

RECEIVERS: Final = (("alerts", "slack_webhook_url"), ("alerts", "pagerduty_integration_key"))
"""Keys that are switched off when the variable that they name is not set."""


class Document(sections.Section):
    """A configuration file."""

    proxy: sections.ProxySection = sections.ProxySection()
    auth: sections.AuthSection = sections.AuthSection()
    databases: Annotated[tuple[sections.DatabaseSection, ...], Field(max_length=sections.DATABASES_MAX)] = ()
    pool: sections.PoolSection = sections.PoolSection()
    timeouts: sections.TimeoutsSection = sections.TimeoutsSection()
    limits: sections.LimitsSection = sections.LimitsSection()
    backends: sections.BackendsSection = sections.BackendsSection()
    failover: FailoverSection = FailoverSection()
    replay: ReplaySection = ReplaySection()
    circuit_breaker: dormant.CircuitBreakerSection = dormant.CircuitBreakerSection()
    health_checks: dormant.HealthChecksSection = dormant.HealthChecksSection()
    observability: ObservabilitySection = ObservabilitySection()
    telemetry: TelemetrySection = TelemetrySection()
    alerts: dormant.AlertsSection = dormant.AlertsSection()
    helios: dormant.HeliosSection = dormant.HeliosSection()
    edge: dormant.EdgeSection = dormant.EdgeSection()


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of the configuration, wherever it stands.

    Attributes:
        header: the table's line in a file, such as ``[pool]`` or ``[[auth.users]]``.
        path: the key with the tables around it, such as ``pool.size``.
        section: the model of its table.
        name: the key.
        key: its declaration.
        default: what holds if it is not written.
        required: it has no default.
    """

    header: str
    path: str
    section: type[sections.Section]
    name: str
    key: Key
    default: object
    required: bool

    @property
    def acts(self) -> bool:
        """Whether anything acts on it in this release."""
        return self.section.acts and self.key.acts


def section_inside(field: FieldInfo) -> tuple[type[sections.Section] | None, bool]:
    """The model of the table, or of the list of tables, that a field holds; and whether it is a list."""
    annotation = field.annotation
    if isinstance(annotation, type) and issubclass(annotation, sections.Section):
        return annotation, False
    inside = [
        item for item in get_args(annotation) if isinstance(item, type) and issubclass(item, sections.Section)
    ]
    return (inside[0], True) if inside else (None, False)


def entries(model: type[sections.Section] = Document, path: str = "", header: str = "") -> Iterator[Entry]:
    """Every key of the configuration, in the order of the file."""
    keys = model.declarations()
    for name, key in keys.items():
        field = model.model_fields[name]
        yield Entry(header, f"{path}{name}", model, name, key, field.default, field.is_required())
    for name, field in model.model_fields.items():
        inner, listed = section_inside(field)
        if inner is not None:
            title = f"[[{path}{name}]]" if listed else f"[{path}{name}]"
            yield from entries(inner, f"{path}{name}.", title)
