"""Who may look on: what a proxy hands over for telemetry, and how little it depends on it.

The proxy knows no metric, no span and no log format. Whoever composes the parts gives the supervisor a
:class:`Companion`; each worker gets the companion's :class:`Attachment`, which makes an :class:`Observer`
there. An observer is called ten times a second by the sweeper and never by the relay. One that raises is
forgiven a few times, then left alone; the proxy goes on without.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

__all__ = ["ERRORS_MAX", "Attachment", "Companion", "Observer", "Watcher"]

ERRORS_MAX: Final = 10
"""An observer that has raised so often is not called any more."""


class Observer(Protocol):
    """Looks at a worker, in its process."""

    def swept(self, now: float) -> None:
        """Take what has come together; it must not wait for anything.

        Args:
            now: the worker's clock, in seconds.
        """


class Attachment(Protocol):
    """Makes observers; it is pickled and handed to every worker that is started."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors that the worker's process inherits."""
        ...

    def attach(self, worker: Any) -> Observer:  # noqa: ANN401 -- a ``worker.Worker``
        """Make the observer of a worker, in the worker's process."""
        ...


class Companion(Protocol):
    """Looks at a whole proxy, in the supervisor's process and loop."""

    @property
    def attachment(self) -> Attachment | None:
        """What workers are given."""
        ...

    async def start(self, supervisor: Any) -> None:  # noqa: ANN401 -- a ``supervisor.Supervisor``
        """Begin; the workers are not started yet.

        Raises:
            SeawallError: it can't; the proxy isn't started then.
        """

    async def stop(self) -> None:
        """End; the workers are gone."""

    def worker_ended(self, number: int) -> None:
        """A worker's process is gone."""


class Watcher:
    """One worker's observer, and what became of it.

    Args:
        observer: who looks on; nobody, if nobody does.
    """

    __slots__ = ("errors", "last_error", "observer")

    def __init__(self, observer: Observer | None = None) -> None:
        self.observer = observer
        self.errors = 0
        self.last_error = ""

    def sweep(self, now: float) -> bool:
        """Let it look; whether it is still there."""
        if self.observer is None:
            return False
        try:
            self.observer.swept(now)
        except Exception as error:  # noqa: BLE001 -- telemetry must not be what stops a worker
            self.errors += 1
            self.last_error = type(error).__name__
            if self.errors >= ERRORS_MAX:
                self.observer = None
        return self.observer is not None
