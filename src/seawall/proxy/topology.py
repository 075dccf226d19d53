"""Which server is what, and who is the primary: the records that the supervisor publishes, and their JSON.

The watch makes an :class:`Observation` of each server, ``election`` a :class:`Topology` of them all, which
workers get as JSON. Nothing here decides anything or has a clock: times are monotonic seconds of this
machine, LSNs are integers (PostgreSQL prints them as ``16/B374D848``).

A crash and a promotion cut the history: what was written behind ``end_lsn`` is gone. Each is a
:class:`Recovery`, and ``replay.resolution`` relies on it that none is missing where records are ``watched``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, Final, TypeVar

from seawall.kernel.errors import ValidationError

__all__ = [
    "JSON_BYTES_MAX",
    "MISSES_MAX",
    "RECOVERIES_MAX",
    "NodeRole",
    "NodeView",
    "Observation",
    "Ordered",
    "Phase",
    "Recovery",
    "Topology",
    "format_lsn",
    "parse_lsn",
    "untracked",
]

MISSES_MAX: Final = 3
"""Probes in a row without an answer that make a server gone."""
RECOVERIES_MAX: Final = 64
"""Remembered restarts and promotions; a transaction that is older than the oldest is not resolved."""
JSON_BYTES_MAX: Final = 64 * 1024
"""As long as the room for it in the shared block."""
NODES_MAX: Final = 1024
NAME_CHARACTERS_MAX: Final = 255
REASON_CHARACTERS_MAX: Final = 500
"""A longer reason is cut."""
LSN_MAX: Final = 2**64 - 1
TIMELINE_MAX: Final = 2**32 - 1
GOING: Final = frozenset({"57P01", "57P02", "57P03"})
"""Refusals of a server that is going down or coming up."""


class Phase(Enum):
    """What clients may do."""

    OBSERVING = "observing"
    """Nothing is known yet."""
    SERVING = "serving"
    HOLDING = "holding"
    """There is no primary: new transactions wait."""
    REPLAYING = "replaying"
    """There is a new primary, for replays alone."""
    PAUSED = "paused"
    """An operator said so, or a planned switchover is under way."""


class NodeRole(Enum):
    """What a server is; ``election`` says when."""

    PRIMARY = "primary"
    REPLICA = "replica"
    ZOMBIE = "zombie"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class NodeView:
    """One server; what it was when it answered last, if it doesn't."""

    name: str
    role: NodeRole = NodeRole.UNKNOWN
    timeline: int = 0
    system_identifier: int = 0
    connected_since: float = 0.0
    """Since when the watch is connected, or knows for certain that there was no restart; 0 if it isn't."""
    end_of_recovery: int | None = None
    """Where the recovery ended that made it writable; ``None`` after a clean start, and in recovery."""
    write_lsn: int | None = None
    replay_lsn: int | None = None
    lag_bytes: int | None = None
    stats_reset: str = ""
    """When the background writer's statistics were reset: by a crash, not by a clean restart."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """One restart or promotion that was seen; ``election`` says which are."""

    node: str
    seen_at: float
    """A time at which the server was what it had become by it."""
    timeline: int
    system_identifier: int
    end_lsn: int | None = None
    clean: bool = False
    """Nothing was cut."""
    watched: bool = False
    """Before it, no restart or promotion of this server, or of one that it replaces, can have gone unseen."""
    parent: int = 0
    """Of a promotion: the timeline it went on from, if that is certain."""


@dataclass(frozen=True, slots=True)
class Topology:
    """All of it, as the workers get it."""

    epoch: int
    phase: Phase
    primary: str | None
    multi_primary: bool
    system_identifier: int
    timeline: int
    """The highest that was seen."""
    nodes: tuple[NodeView, ...]
    recoveries: tuple[Recovery, ...] = ()
    """Oldest first."""
    reason: str = ""
    tracked: bool = True
    """False: nobody watches, or the watch is let in nowhere; workers go by the configuration."""

    def node(self, name: str) -> NodeView | None:
        """One server; ``None`` if there is none of that name."""
        return next((one for one in self.nodes if one.name == name), None)

    def to_json(self) -> bytes:
        """As text, in one line.

        Raises:
            ValidationError: it would be longer than ``JSON_BYTES_MAX``.
        """
        table = {name: _plain(getattr(self, name)) for name in _TOPOLOGY}
        table["nodes"] = [_row(one) for one in self.nodes]
        table["recoveries"] = [_row(one) for one in self.recoveries]
        text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
        if len(text) > JSON_BYTES_MAX:
            raise ValidationError(f"topology: {len(text)} bytes; allowed are {JSON_BYTES_MAX}")
        return text

    @staticmethod
    def from_json(text: bytes) -> Topology:
        """Read such a text.

        Raises:
            ValidationError: it is none; what is wrong is named.
        """
        try:
            table = json.loads(text) if len(text) <= JSON_BYTES_MAX else None
        except (ValueError, RecursionError):
            table = None
        if not isinstance(table, dict) or table.keys() != {*_TOPOLOGY, "nodes", "recoveries"}:
            raise ValidationError(f"topology: {text[:60]!r}: allowed is what Topology.to_json() writes")
        problems: list[str] = []
        values: dict[str, Any] = {
            name: _read(table[name], check, name, problems) for name, check in _TOPOLOGY.items()
        }
        values["nodes"] = _rows(NodeView, table["nodes"], "nodes", NODES_MAX, problems)
        values["recoveries"] = _rows(Recovery, table["recoveries"], "recoveries", RECOVERIES_MAX, problems)
        if problems:
            raise ValidationError("topology: " + "; ".join(problems[:10]))
        return Topology(**values)


@dataclass(frozen=True, slots=True)
class Ordered:
    """What the planner has published; it holds until it publishes something else."""

    phase: Phase
    primary: str | None
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """What the watch knows of one server after a look: the facts of its last answer, and how it is now."""

    name: str
    reachable: bool = False
    """The connection stands and the last probe was answered."""
    answered_at: float = 0.0
    misses: int = 0
    """Probes in a row without an answer."""
    refused: bool = False
    """The connection was refused, reset, or ended by the server."""
    sqlstate: str = ""
    text: str = ""
    """What the server or the system said to that."""
    in_recovery: bool | None = None
    timeline: int = 0
    """Of a replica: the one it receives or replays; 0 if that isn't known."""
    system_identifier: int = 0
    write_lsn: int | None = None
    receive_lsn: int | None = None
    replay_lsn: int | None = None
    end_of_recovery: int | None = None
    """``pg_last_wal_replay_lsn()`` once it is writable: read again when a replica has become a primary."""
    connected_since: float = 0.0
    unwatched_s: float = 0.0
    """The longest time, since the last answer on the last connection, in which nobody tried to connect; also
    of a server that is gone."""
    stats_reset: str = ""
    sync_state: str = ""
    """Of a replica, as its primary saw it last: ``sync``, ``quorum``, ``potential``, ``async``."""
    left_lsn: int | None = None
    """It was synchronous under the last primary and left it: it has acknowledged nothing behind this."""

    @property
    def complete(self) -> bool:
        """Whether it tells what the server is."""
        return (
            self.in_recovery is not None
            and self.system_identifier > 0
            and (self.in_recovery or self.timeline > 0)
        )

    @property
    def gone(self) -> bool:
        """Whether the server is."""
        silent = self.misses >= MISSES_MAX
        return not self.reachable and (silent or (self.refused and self.sqlstate in {"", *GOING}))

    @property
    def pending(self) -> bool:
        """Whether nothing is known yet of how it is."""
        return not self.reachable and not self.refused and self.misses < MISSES_MAX


def untracked(reason: str) -> Topology:
    """The topology where nobody watches."""
    return Topology(0, Phase.SERVING, None, False, 0, 0, (), reason=reason, tracked=False)


def parse_lsn(text: str) -> int:
    """An LSN as PostgreSQL prints it: two hexadecimal halves, ``16/B374D848``.

    Raises:
        ValidationError: it is none.
    """
    high, slash, low = text.partition("/")
    digits = set(high + low)
    if not slash or not (
        0 < len(high) <= 8 and 0 < len(low) <= 8 and digits <= set("0123456789abcdefABCDEF")
    ):
        raise ValidationError(f"lsn = {text[:40]!r}: allowed are two hexadecimal halves, as in 16/B374D848")
    return int(high, 16) << 32 | int(low, 16)


def format_lsn(lsn: int) -> str:
    """An LSN as PostgreSQL prints it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


# --- as JSON ------------------------------------------------------------------------------------------------

_Check = Callable[[object], object]
_Record = TypeVar("_Record", NodeView, Recovery)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def _whole(high: int) -> _Check:
    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= high:
            raise ValueError(f"a whole number up to {high}")
        return value

    return check


def _text(limit: int) -> _Check:
    def check(value: object) -> str:
        if not isinstance(value, str) or len(value) > limit or _SURROGATE.search(value):
            raise ValueError(f"a text of at most {limit} characters")
        return value

    return check


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError("a number of seconds")
    return float(value)


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")  # noqa: TRY004 - caught with the others' complaints
    return value


def _one_of(kind: type[Enum]) -> _Check:
    def check(value: object) -> Enum:
        if value not in (choices := [one.value for one in kind]):
            raise ValueError("one of " + ", ".join(choices))
        return kind(value)

    return check


def _optional(check: _Check) -> _Check:
    return lambda value: None if value is None else check(value)


_name, _lsn = _text(NAME_CHARACTERS_MAX), _optional(_whole(LSN_MAX))
_timeline, _system = _whole(TIMELINE_MAX), _whole(LSN_MAX)

_TOPOLOGY: Final[dict[str, _Check]] = {
    "epoch": _whole(2**63 - 1),
    "phase": _one_of(Phase),
    "primary": _optional(_name),
    "multi_primary": _truth,
    "system_identifier": _system,
    "timeline": _timeline,
    "reason": _text(REASON_CHARACTERS_MAX),
    "tracked": _truth,
}
_ROWS: Final[dict[type[Any], tuple[_Check, ...]]] = {
    NodeView: (_name, _one_of(NodeRole), _timeline, _system, _seconds, _lsn, _lsn, _lsn, _lsn, _text(100)),
    Recovery: (_name, _seconds, _timeline, _system, _lsn, _truth, _truth, _timeline),
}
"""In the order of the fields."""
_NEEDED: Final[dict[type[Any], int]] = {NodeView: 1, Recovery: 4}
"""How many of them have no default."""


def _plain(value: object) -> object:
    return value.value if isinstance(value, Enum) else value


def _row(record: NodeView | Recovery) -> list[object]:
    """The fields' values, without those at the end that are the defaults."""
    pairs = [(_plain(getattr(record, one.name)), _plain(one.default)) for one in fields(record)]
    while pairs[-1][0] == pairs[-1][1]:
        pairs.pop()
    return [value for value, _ in pairs]


def _read(value: object, check: _Check, path: str, problems: list[str]) -> object:
    try:
        return check(value)
    except (ValueError, OverflowError) as error:
        problems.append(f"{path} = {_shown(value)}: allowed is {error}")
        return None


def _shown(value: object) -> str:
    return repr(json.dumps(value)[:40])


def _rows(
    kind: type[_Record], value: object, path: str, limit: int, problems: list[str]
) -> tuple[_Record, ...]:
    checks, needed = _ROWS[kind], _NEEDED[kind]
    if not isinstance(value, list) or len(value) > limit:
        problems.append(f"{path} = {_shown(value)}: allowed is a list of at most {limit}")
        return ()
    records = []
    for index, row in enumerate(value):
        place = f"{path}[{index}]"
        if not isinstance(row, list) or not needed <= len(row) <= len(checks):
            problems.append(f"{place} = {_shown(row)}: allowed are {needed} to {len(checks)} values")
            continue
        cells = enumerate(zip(row, checks, strict=False))
        read: list[Any] = [
            _read(cell, check, f"{place}[{column}]", problems) for column, (cell, check) in cells
        ]
        records.append(kind(*read))
    return tuple(records)
