"""What health is: named checks, their results, and what these add up to.

Two questions are kept apart, because they have different answers and different consequences. *Liveness*: is
this process beyond help, so that it has to be replaced? *Readiness*: can it do its work now, so that it
gets some? A dependency that is gone makes a process unready, not dead: replacing it would bring no database
back.

==================  ==================================================  ===========
what is failing     status                                              HTTP
==================  ==================================================  ===========
nothing             ``healthy``                                         200
an uncritical check ``degraded``: it works, and somebody should look    200
a critical check    ``unhealthy``                                       503
a hold is in force  ``unhealthy``: it starts, drains or is told to      503
==================  ==================================================  ===========

Pure: time is a parameter and nothing is run here; ``checks`` runs them, ``pages`` serves the outcome.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from typing import Final

from seawall.kernel.errors import PolicyError, Problem, SeawallError

__all__ = ["HEALTH_PATHS", "Check", "CheckFailed", "CheckResult", "Probe", "Report", "Status", "judge"]

DETAILS_MAX: Final = 16
"""Figures that one check may show."""
TEXT_MAX_CHARACTERS: Final = 200
"""A reason is a line, not a report."""
TIMEOUT_MAX_S: Final = 60.0
"""Whoever asks has gone away by then."""
AGE_MAX_S: Final = 3_600.0
"""An older result says nothing about now."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")

Scalar = str | int | float | bool | None


class Probe(Enum):
    """The question a check helps to answer."""

    LIVENESS = "liveness"
    READINESS = "readiness"


HEALTH_PATHS: Final = {
    "/health": Probe.LIVENESS,
    "/healthz/live": Probe.LIVENESS,
    "/healthz/ready": Probe.READINESS,
    "/ready": Probe.READINESS,
}
"""Where the health pages are; those below ``/healthz`` are what Kubernetes manifests tend to ask for."""


class Status(Enum):
    """What the checks add up to."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class CheckFailed(SeawallError):
    """Raised by a check whose author wants readers to see why.

    Args:
        reason: A line that may be read by whoever reads the health page.
        details: Figures to show beside it.
    """

    __slots__ = ("details", "reason")

    def __init__(self, reason: str, details: Mapping[str, Scalar] | None = None) -> None:
        self.reason = reason
        self.details = dict(details or {})

    def __str__(self) -> str:
        return self.reason

    def __reduce__(self) -> tuple[type[CheckFailed], tuple[object, ...]]:
        return type(self), (self.reason, self.details)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One named question.

    Attributes:
        name: What is checked, such as ``database``.
        call: Answers it: ``None``, ``True`` or a mapping of figures if all is well, ``False`` or an
            exception if not. A function that returns at once, or one that returns an awaitable; what blocks
            is ``threaded``.
        timeout_s: No answer by then is a failure.
        max_age_s: An answer this old is asked for again; 0 asks every time.
        critical: Whether a failure makes the whole unhealthy; otherwise it is degraded.
        probes: Which questions it belongs to.
        threaded: Call it on a thread of its own, because it blocks.

    Raises:
        PolicyError: Values are out of range; every one of them is named.
    """

    name: str
    call: Callable[[], object]
    timeout_s: float = 1.0
    max_age_s: float = 1.0
    critical: bool = True
    probes: frozenset[Probe] = field(default=frozenset({Probe.READINESS}))
    threaded: bool = False

    def __post_init__(self) -> None:
        problems = []
        if not _NAME.fullmatch(self.name):
            allowed = "1 to 64 of a-z, 0-9, '_', '.', '-', beginning with a letter or digit"
            problems.append(Problem("check.name", self.name, allowed))
        # NaN fails every comparison, so it is refused here as well.
        if not 0.0 < self.timeout_s <= TIMEOUT_MAX_S:
            allowed = f"seconds above 0 and up to {TIMEOUT_MAX_S:g}"
            problems.append(Problem("check.timeout_s", self.timeout_s, allowed))
        if not 0.0 <= self.max_age_s <= AGE_MAX_S:
            problems.append(Problem("check.max_age_s", self.max_age_s, f"seconds from 0 to {AGE_MAX_S:g}"))
        if not self.probes:
            problems.append(
                Problem(
                    "check.probes", "none", "liveness, readiness or both", "say which question it answers"
                )
            )
        if problems:
            raise PolicyError(problems, f"health check {self.name!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """How one check went.

    Attributes:
        name: The check's.
        critical: The check's.
        healthy: Whether all was well.
        reason: Why not; empty if it was.
        details: Figures of the check.
        at: Monotonic seconds when it ended.
        duration_s: How long it took.
    """

    name: str
    critical: bool
    healthy: bool
    reason: str
    details: Mapping[str, Scalar]
    at: float
    duration_s: float

    def document(self, now: float, *, full: bool) -> dict[str, object]:
        """As JSON objects.

        Args:
            now: Monotonic seconds.
            full: With the reason and the figures, which are for those who may see them.
        """
        shown: dict[str, object] = {
            "status": (Status.HEALTHY if self.healthy else Status.UNHEALTHY).value,
            "critical": self.critical,
            "age_s": round(max(0.0, now - self.at), 3),
        }
        if full:
            shown["duration_s"] = round(self.duration_s, 6)
            if self.reason:
                shown["reason"] = self.reason
            if self.details:
                shown["details"] = dict(self.details)
        return shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The answer to one question.

    Attributes:
        probe: The question.
        results: Those of its checks, by name.
        holds: Why work is not wanted, whatever the checks say; readiness only.
        now: Monotonic seconds of the answer.
        uptime_s: Seconds since the checks were set up.
    """

    probe: Probe
    results: tuple[CheckResult, ...]
    holds: tuple[str, ...]
    now: float
    uptime_s: float

    @property
    def status(self) -> Status:
        """The table at the top of this module."""
        if self.holds or any(result.critical and not result.healthy for result in self.results):
            return Status.UNHEALTHY
        return Status.HEALTHY if all(result.healthy for result in self.results) else Status.DEGRADED

    @property
    def http_status(self) -> int:
        """200, or 503 if the answer is no."""
        return 503 if self.status is Status.UNHEALTHY else 200

    def document(self, *, full: bool) -> dict[str, object]:
        """As JSON objects; ``full`` adds reasons and figures to the names."""
        shown: dict[str, object] = {
            "status": self.status.value,
            "probe": self.probe.value,
            "uptime_s": round(self.uptime_s, 3),
            "checks": {result.name: result.document(self.now, full=full) for result in self.results},
        }
        if self.holds:
            shown["holds"] = list(self.holds)
        return shown


def judge(answer: object, error: BaseException | None) -> tuple[bool, str, dict[str, Scalar]]:
    """What a check's answer, or the exception it ended with, means.

    An exception's text may hold addresses, names and passwords; unless it was written for readers, only its
    type is told.

    Returns:
        Whether all is well, why not, and the figures.
    """
    if isinstance(error, CheckFailed):
        return False, _line(error.reason), _figures(error.details)
    if error is not None:
        return False, f"the check raised {type(error).__name__}", {}
    if answer is None or answer is True:
        return True, "", {}
    if answer is False:
        return False, "the check says no", {}
    if isinstance(answer, Mapping):
        return True, "", _figures(answer)
    return False, f"the check returned {type(answer).__name__}, not None, a bool or a mapping", {}


def _figures(details: Mapping[object, object] | Mapping[str, Scalar]) -> dict[str, Scalar]:
    # Nothing but plain values, and no method of others: their texts may hold anything, and take any time.
    return {_line(key): _figure(value) for key, value in islice(details.items(), DETAILS_MAX)}


def _figure(value: object) -> Scalar:
    if value is None or type(value) in {bool, int, float}:
        return value  # type: ignore[return-value]  # it is one
    return _line(value)


def _line(text: object) -> str:
    if type(text) is not str:
        return f"<{type(text).__name__}>"
    one_line = " ".join(text.split()).encode(errors="replace").decode()  # without lone surrogates
    return one_line if len(one_line) <= TEXT_MAX_CHARACTERS else one_line[: TEXT_MAX_CHARACTERS - 1] + "…"
