"""Orders to parts of Seawall: typed, frozen, each with an owner.

An order says what shall be, not how; the part that carries it out answers with a signal that says what
happened (``signals``). It is neither a queue nor a dispatcher. The command line, the HTTP interface, SQL
commands and the guard's own methods make commands; the registry and the guard carry them out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from seawall.kernel.errors import UsageError
from seawall.kernel.units import MAX_DURATION_S

__all__ = [
    "FORCE_MODES",
    "Command",
    "ForceBreaker",
    "ForceMode",
    "ReleaseBreaker",
    "ReloadPolicy",
    "ResetBreaker",
]

ForceMode = Literal["open", "closed", "disabled", "shadow"]
"""What a breaker can be forced to: reject all, admit all, be absent, or measure without rejecting."""

FORCE_MODES: Final[tuple[str, ...]] = get_args(ForceMode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """An order.

    Attributes:
        target: Name of the guard, or ``name/key`` for one key of a keyed guard.
        owner: Who gives the order; it is kept with its effect.

    Raises:
        UsageError: If target or owner are empty.
    """

    target: str
    owner: str

    def __post_init__(self) -> None:
        _required("target", self.target, "name the guard")
        _required("owner", self.owner, "say who gives the order")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForceBreaker(Command):
    """Take the decision out of a breaker's hands, for a while.

    Attributes:
        mode: One of :data:`FORCE_MODES`.
        reason: Why; shown to everybody who wonders.
        for_s: Seconds until it ends by itself. A forced state without an end is an outage to come.

    Raises:
        UsageError: If a value is out of range.
    """

    mode: ForceMode
    reason: str
    for_s: float

    def __post_init__(self) -> None:
        Command.__post_init__(self)
        _required("reason", self.reason, "say why")
        if self.mode not in FORCE_MODES:
            raise UsageError(f"mode = {self.mode!r}: allowed are {', '.join(FORCE_MODES)}")
        if not 0.0 < self.for_s <= MAX_DURATION_S:
            raise UsageError(
                f"for_s = {self.for_s!r}: allowed are seconds from 0 (excluded) to {MAX_DURATION_S:.0f}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseBreaker(Command):
    """Let a forced breaker decide for itself again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetBreaker(Command):
    """Close a breaker and forget what it has seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadPolicy(Command):
    """Put a new policy in force and keep what was measured.

    Attributes:
        policy: The new policy, as the target's kind of guard takes it.
    """

    policy: object


def _required(key: str, value: str, fix: str) -> None:
    if not value.strip():
        raise UsageError(f"{key} = {value!r}: allowed is any text that is not blank; {fix}")
