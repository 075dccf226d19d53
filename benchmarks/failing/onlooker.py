"""Telemetry beside a proxy that is measured: as it should be, and one whose observers fail at every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from seawall.app.observation.companion import ObservingCompanion
from seawall.app.observation.settings import Door, ObservationSettings, Tracing
from seawall.app.observation.worker import WorkerAttachment, WorkerObserver
from seawall.proxy.settings import ProxySettings

WELL, CRASHING = "well", "crashing"


class Crashing:
    """An observer that fails whenever it is asked.

    Args:
        inner: made as usual, so that nothing else differs.
    """

    def __init__(self, inner: WorkerObserver) -> None:
        self.inner = inner

    def swept(self, now: float) -> None:
        """Fail."""
        raise RuntimeError(f"at {now}")


@dataclass(frozen=True)
class CrashingAttachment:
    """Makes such observers.

    Attributes:
        usual: the attachment that makes good ones.
    """

    usual: WorkerAttachment

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the worker's process inherits."""
        return self.usual.descriptors

    def attach(self, worker: Any) -> Crashing:  # noqa: ANN401 -- a ``worker.Worker``
        """Make one."""
        return Crashing(self.usual.attach(worker))


class CrashingCompanion(ObservingCompanion):
    """Gives workers such observers."""

    @property
    def attachment(self) -> Any:  # noqa: ANN401 -- not the usual one
        """What workers are given."""
        usual = super().attachment
        return CrashingAttachment(usual) if usual is not None else None


def companion(
    how: str, proxy: ProxySettings, collector: str, metrics_port: int, log: Callable[[str], None]
) -> ObservingCompanion:
    """Make the companion of a proxy."""
    settings = ObservationSettings(
        metrics=Door(port=metrics_port),
        status=Door(enabled=False),
        tracing=Tracing(enabled=True, endpoint=collector, slow_s=1.0),
    )
    made = CrashingCompanion if how == CRASHING else ObservingCompanion
    return made(settings, proxy, log)
