"""What the watch asks a server, and what the answers and refusals say about it. Pure.

``watch`` asks; an :class:`seawall.proxy.topology.Observation` is what comes of it, ``election`` judges that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from seawall.kernel.errors import DatabaseUnavailable, SeawallError, ValidationError
from seawall.proxy.connect import LoginFailed
from seawall.proxy.topology import MISSES_MAX, Observation, parse_lsn

__all__ = [
    "IDENTIFY",
    "QUESTION",
    "ROLE",
    "Answer",
    "Departed",
    "Row",
    "doubtful",
    "essence",
    "followers_of",
    "identified",
    "last_primaries",
    "observed",
    "read_answer",
    "read_role",
    "reason_of",
    "refusal",
    "same_life",
    "unanswered",
    "with_timeline",
]

Row = list[str | None]
"""Values as text."""

TEXT_CHARACTERS_MAX: Final = 300
SYNCHRONOUS: Final = frozenset({"sync", "quorum"})
FOLLOWERS_MAX: Final = 64
"""Servers that stream from one; what more there are, the question leaves out."""
TIMELINE_DIGITS: Final = 8
"""Of a segment's name: the first part, in hexadecimal."""
LOST: Final = "08006"
"""What ``connect`` says of a connection that ended without a word."""

QUESTION: Final = """
SELECT r.recovery,
  CASE WHEN r.recovery THEN NULL ELSE pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) END,
  (SELECT received_tli FROM pg_catalog.pg_stat_wal_receiver),
  (SELECT GREATEST(r.min_recovery_end_timeline, c.timeline_id)
   FROM pg_catalog.pg_control_recovery() AS r, pg_catalog.pg_control_checkpoint() AS c),
  CASE WHEN r.recovery THEN NULL ELSE pg_catalog.pg_current_wal_lsn() END,
  pg_catalog.pg_last_wal_receive_lsn(),
  pg_catalog.pg_last_wal_replay_lsn(),
  (SELECT system_identifier FROM pg_catalog.pg_control_system()),
  (SELECT stats_reset FROM pg_catalog.pg_stat_bgwriter),
  pg_catalog.pg_postmaster_start_time(),
  (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(application_name, client_addr, sync_state))
   FROM (SELECT * FROM pg_catalog.pg_stat_replication LIMIT 64) AS followers)
FROM (SELECT pg_catalog.pg_is_in_recovery() AS recovery) AS r
"""
"""One row. A control file tells an old timeline after a promotion, the name of a segment the right one; a
server in recovery has no segment of its own."""
IDENTIFY: Final = "IDENTIFY_SYSTEM"
"""By the replication protocol: the timeline that a server in recovery replays, which no function tells.

Source: PostgreSQL documentation, "Streaming Replication Protocol"; ``GetStandbyFlushRecPtr``."""
ROLE: Final = "SELECT pg_catalog.pg_is_in_recovery()"
"""Instead of an empty query where the server doesn't tell its role unasked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a server said to the full question.

    Attributes:
        timeline: that it writes or, of a replica, that it is on as far as is known.
        received: of a replica: the timeline that it receives, or replays if that was asked; 0 if it receives
            nothing.
        noted: of a replica: what is noted in its control file. That may be old; and it may be the timeline
            that it is about to begin.
        started: when its postmaster started.
        followers: name, address and synchronous state of those that stream from it.
    """

    in_recovery: bool
    timeline: int
    write_lsn: int | None
    receive_lsn: int | None
    replay_lsn: int | None
    system_identifier: int
    stats_reset: str
    started: str
    received: int = 0
    noted: int = 0
    followers: tuple[tuple[str, str, str], ...] = ()


def read_answer(rows: list[Row]) -> Answer:
    """The facts in the only row that answers ``QUESTION``.

    Raises:
        ValidationError: it can't be such an answer.
    """
    try:
        ((recovery, segment, received, noted, write, receive, replay, system, reset, started, followers),) = (
            rows
        )
        in_recovery = {"t": True, "f": False}[recovery or ""]
        newest = max(int(received or 0), int(noted or 0))
        return Answer(
            in_recovery=in_recovery,
            timeline=newest if in_recovery else int((segment or "")[:TIMELINE_DIGITS], 16),
            received=int(received or 0),
            noted=int(noted or 0),
            write_lsn=_lsn(write),
            receive_lsn=_lsn(receive),
            replay_lsn=_lsn(replay),
            system_identifier=int(system or ""),
            stats_reset=reset or "",
            started=started or "",
            followers=_followers(followers),
        )
    except (KeyError, TypeError, ValueError, RecursionError, ValidationError) as error:
        raise ValidationError(f"the server's answer makes no sense: {str(rows)[:200]}") from error


def read_role(rows: list[Row]) -> bool | None:
    """Whether the server is in recovery, by its answer to ``ROLE``; ``None`` if that wasn't asked."""
    return {"t": True, "f": False}.get(rows[0][0] or "") if len(rows) == 1 and len(rows[0]) == 1 else None


def _lsn(text: str | None) -> int | None:
    return None if text is None else parse_lsn(text)


def _followers(text: str | None) -> tuple[tuple[str, str, str], ...]:
    rows = json.loads(text)[:FOLLOWERS_MAX] if text else []
    return tuple((str(name or ""), str(address or ""), str(state or "")) for name, address, state in rows)


def observed(
    before: Observation, answer: Answer, *, at: float, since: float, unwatched_s: float
) -> Observation:
    """What is known of a server after a full answer.

    Args:
        before: what was known of it.
        answer: what it said.
        at: when.
        since: since when it can't have restarted.
        unwatched_s: for how long nobody tried to connect before that.
    """
    return replace(
        before,
        reachable=True,
        answered_at=at,
        misses=0,
        refused=False,
        sqlstate="",
        text="",
        in_recovery=answer.in_recovery,
        timeline=answer.timeline,
        system_identifier=answer.system_identifier,
        write_lsn=answer.write_lsn,
        receive_lsn=answer.receive_lsn,
        replay_lsn=answer.replay_lsn,
        end_of_recovery=None if answer.in_recovery else answer.replay_lsn,
        connected_since=since,
        unwatched_s=unwatched_s,
        stats_reset=answer.stats_reset,
    )


def same_life(before: Answer | None, answer: Answer) -> bool:
    """Whether a writable server can't have restarted between two answers, though the connection was another.

    Every recovery, also one after a crash of a single process, ends behind all that was written before it, so
    that no two have the same end; a start without one is told by its time.
    """
    return (
        before is not None
        and not before.in_recovery
        and not answer.in_recovery
        and before.started == answer.started != ""
        and before.system_identifier == answer.system_identifier
        and before.replay_lsn == answer.replay_lsn
    )


def with_timeline(before: Answer | None, answer: Answer, *, lasting: bool) -> Answer:
    """The answer of a replica with the timeline that it is on, as far as can be told.

    As long as it runs it doesn't go back to the timeline of its last restart point, which is all that one
    tells who receives nothing any more. And in the moment before a replica is a primary its control file has
    the new timeline already.

    Args:
        before: its last answer.
        answer: this one.
        lasting: its control file has told a newer timeline for too long for that to be such a moment.
    """
    if before is None or not (before.in_recovery and answer.in_recovery) or lasting:
        return answer
    if (before.started, before.system_identifier) != (answer.started, answer.system_identifier):
        return answer
    return replace(answer, timeline=max(before.timeline, answer.received))


def doubtful(answer: Answer, before: Answer | None, highest: Answer | None) -> bool:
    """Whether a replica was started again, receives nothing, and may be on a newer timeline than it notes.

    Its control file has that of its last restart point, and what it has replayed since is on its own disk.

    Args:
        answer: what it says.
        before: its last answer.
        highest: of all its answers the one on the highest timeline.
    """
    if highest is None or highest.system_identifier != answer.system_identifier:
        return False
    known = before.timeline if before is not None and before.started == answer.started else 0
    return answer.in_recovery and not answer.received and max(known, answer.timeline) < highest.timeline


def identified(rows: list[Row]) -> int:
    """The timeline in the answer to ``IDENTIFY``; 0 if it makes no sense."""
    told = rows[0][1] if len(rows) == 1 and len(rows[0]) > 1 else None
    return int(told) if told is not None and told.isascii() and told.isdigit() and len(told) < 11 else 0


def followers_of(answers: Iterable[Answer | None]) -> list[tuple[str, str, str]]:
    """Those that stream from a primary: of several that wrote one after another, from the last.

    Whatever is acknowledged from then on is on one of these; ``Departed`` knows those of before.
    """
    return [follower for answer in last_primaries(answers) for follower in answer.followers]


def last_primaries(answers: Iterable[Answer | None]) -> list[Answer]:
    """What primaries said: of several of one system that wrote one after another, the last."""
    last: dict[int, Answer] = {}
    for answer in answers:
        if answer is not None and not answer.in_recovery:
            other = last.get(answer.system_identifier)
            if other is None or answer.timeline > other.timeline:
                last[answer.system_identifier] = answer
    return list(last.values())


class Departed:
    """Synchronous replicas that have left their primary, and up to where they may have acknowledged commits.

    A commit is acknowledged by one of a quorum. If that one leaves, the others get the commit all the same as
    long as they stream on; but if all leave, one may have it alone. It has none behind the place at which the
    primary was when it was first missed.
    """

    def __init__(self) -> None:
        self._era = (0, 0)
        self._seen: Answer | None = None
        self._members: frozenset[str] = frozenset()
        self._left: dict[str, int] = {}

    def left(self, answers: Iterable[Answer | None], name_of: Callable[[str, str], str]) -> Mapping[str, int]:
        """Who has left the last primary, and the place.

        Args:
            answers: the last of each server.
            name_of: a server's name, by a follower's name and address.
        """
        primaries = last_primaries(answers)
        if len(primaries) != 1 or primaries[0] is self._seen:
            return self._left
        answer = self._seen = primaries[0]
        present = frozenset(
            name_of(follower, address)
            for follower, address, state in answer.followers
            if state in SYNCHRONOUS
        )
        era = (answer.system_identifier, answer.timeline)
        if era != self._era:
            self._era, self._left = era, {}
        else:
            gone = dict.fromkeys(self._members - present, answer.write_lsn or 0)
            self._left = {name: lsn for name, lsn in {**self._left, **gone}.items() if name not in present}
        self._members = present
        return self._left


def essence(observation: Observation) -> Observation:
    """What is news; that the log grows is none."""
    return replace(
        observation,
        answered_at=0.0,
        text="",
        misses=min(observation.misses, MISSES_MAX),
        write_lsn=None,
        receive_lsn=None,
        replay_lsn=None,
    )


def reason_of(error: BaseException) -> str:
    """What went wrong, in one line."""
    text = error.reason if isinstance(error, DatabaseUnavailable) else str(error)
    if isinstance(error, OSError) and error.errno:
        text = os.strerror(error.errno)  # asyncio's own text names an address and not the reason
    return " ".join(text.split())[:TEXT_CHARACTERS_MAX] or "no answer"


def unanswered(before: Observation, text: str) -> Observation:
    """What is known of a server that should have answered by now.

    What it said to the last attempt stands for a while: one that starts up, say, is slow to answer.
    """
    found = replace(before, reachable=False, misses=before.misses + 1)
    if before.refused and found.misses < 2 * MISSES_MAX:
        return found
    return replace(found, refused=False, sqlstate="", text=text)


def refusal(before: Observation, error: BaseException) -> Observation:
    """What is known of a server after an attempt to connect has failed."""
    known = replace(before, connected_since=0.0)
    if isinstance(error, LoginFailed):
        sqlstate = "" if error.sqlstate == LOST else error.sqlstate
    elif isinstance(error, SeawallError):
        sqlstate = "XX000"  # it answers, but not as we know it
    elif isinstance(error, ConnectionError | FileNotFoundError):
        sqlstate = ""
    else:  # no answer in time, no route, no such name: it was not the server that said no
        return unanswered(known, reason_of(error))
    text = reason_of(error)
    found = replace(known, reachable=False, refused=True, sqlstate=sqlstate, text=text, misses=0)
    # One that was gone and now hangs is no better than it was.
    return replace(found, misses=max(before.misses, MISSES_MAX)) if found.gone else found
