"""Who is what, and who is primary: one pure step after every look at the servers.

The supervisor calls :func:`elect`; what comes out is published to the workers. Nobody else decides who may be
written to. The first row that fits counts, in each table.

What a look counts as
---------------------
==================================================  ========================================================
it answered                                         itself
refused or reset, with no SQLSTATE or with 57P0x    *gone*, at once
refused with another SQLSTATE (53300, 28P01, ...)   the last look that was answered: it is alive
silent for ``MISSES_MAX`` probes                    *gone*
silent for fewer, and answered before               the last look that was answered
neither an answer nor a refusal so far              *pending*
==================================================  ========================================================

What a server is
----------------
==================================================  ========================================================
gone                                                DOWN
never seen                                          UNKNOWN
of another system than that of the first survey     ZOMBIE
in recovery                                         REPLICA
writable on a lower timeline than any seen          ZOMBIE
writable beside the leader the authority names      ZOMBIE
writable                                            PRIMARY
==================================================  ========================================================

A zombie is never routed to. The system is that of the first survey in which no server is pending: of the
writable ones if there are any and they agree, else of all if they agree, else of whom an authority names.

Who is primary
--------------
==================================================  ========================================================
no server ever let the watch in                     not tracked: workers go by the configuration
several primaries at a time (see below)             SERVING, each PRIMARY for itself; HOLDING if none is
the authority names a server that is PRIMARY        SERVING: that one, even if another is PRIMARY too
there never was a primary, and a server is pending  OBSERVING
the authority names another one, or nobody          HOLDING
no system could be agreed upon                      HOLDING: an authority or a person has to say
two are PRIMARY                                     HOLDING: split
one is, on a timeline that was another's            HOLDING: nobody promoted it
one is                                              SERVING: that one
none is                                             HOLDING
==================================================  ========================================================

Several primaries at a time: told by the policy; else found once, in the first survey in which no server is
pending and two are writable: if all of these are of different systems and none is in recovery. What the
planner has published (:class:`seawall.proxy.topology.Ordered`) lies above the table, but it makes no primary
of a server that the table would not. The epoch counts changes of phase and primary.

Which restarts are remembered
-----------------------------
==================================================  ========================================================
first look at a writable server                     not watched: anything may have been before
writable, in recovery at the last look              a promotion; sure of its parent timeline if seen on
                                                    one connection, and one above the last; watched if
                                                    restarts of who wrote that would have been seen too
writable, at the last look on another timeline      a promotion, not watched
same connection, or same ``end_of_recovery``        none: that grows with every crash
no ``end_of_recovery``, statistics not reset        a clean restart, or none
otherwise                                           a crash; watched if no other can have come between two
                                                    attempts to connect
==================================================  ========================================================

None are remembered with several primaries: there is no common history to cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from seawall.proxy.topology import (
    REASON_CHARACTERS_MAX,
    RECOVERIES_MAX,
    NodeRole,
    NodeView,
    Observation,
    Ordered,
    Phase,
    Recovery,
    Topology,
)

__all__ = ["UNWATCHED_MAX_S", "Memory", "Policy", "elect"]

UNWATCHED_MAX_S: Final = 1.0
"""Between two attempts to connect: the watch's own pause is not longer, and in less time no server comes up,
takes clients and crashes again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What the election has been told; ``None``: find out."""

    multi_primary: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """What one election leaves to the next; a new one knows nothing."""

    system_identifier: int = 0
    timeline: int = 0
    """The highest ever seen."""
    owner: str = ""
    """The last primary, and the timeline that it wrote."""
    owner_timeline: int = 0
    epoch: int = 0
    phase: Phase = Phase.OBSERVING
    primary: str | None = None
    multi_primary: bool | None = None
    seen: Mapping[str, Observation] = field(default_factory=dict)
    """The last look at each server that was answered."""
    recoveries: tuple[Recovery, ...] = ()


@dataclass(frozen=True, slots=True)
class _Verdict:
    phase: Phase
    primary: str | None
    reason: str


def elect(
    observations: Sequence[Observation],
    memory: Memory,
    *,
    policy: Policy,
    leader_said: str | None = None,
    ordered: Ordered | None = None,
) -> tuple[Topology, Memory]:
    """Decide who is what, after a look at all servers.

    Args:
        observations: one of each configured server.
        memory: what the last call returned; ``Memory()`` at first.
        policy: what was configured.
        leader_said: whom an external authority names; empty if it names nobody, ``None`` if there is no
            authority or it doesn't answer.
        ordered: what the planner has published last, while it is at work.
    """
    memory = _remember(observations, memory, policy)
    roles = {one.name: _role(one, memory) for one in observations}
    tracked = bool(memory.seen) or not any(one.refused and not one.gone for one in observations)
    if not tracked:
        texts = sorted({one.text for one in observations if one.refused and not one.gone})
        verdict = _Verdict(Phase.SERVING, None, "the watch is not let in: " + "; ".join(texts))
    else:
        verdict = _verdict(observations, roles, memory, leader_said)
    if verdict.primary is not None and leader_said is not None:
        for name in _primaries(roles):
            roles[name] = NodeRole.PRIMARY if name == verdict.primary else NodeRole.ZOMBIE
    if ordered is not None and tracked:
        verdict = _obey(ordered, verdict)
    if verdict.primary is not None:
        look = memory.seen[verdict.primary]
        memory = replace(
            memory,
            owner=look.name,
            owner_timeline=look.timeline,
            system_identifier=look.system_identifier,
            timeline=max(memory.timeline, look.timeline),
        )
    if (verdict.phase, verdict.primary) != (memory.phase, memory.primary) or not memory.epoch:
        memory = replace(memory, epoch=memory.epoch + 1, phase=verdict.phase, primary=verdict.primary)
    topology = Topology(
        epoch=memory.epoch,
        phase=verdict.phase,
        primary=verdict.primary,
        multi_primary=memory.multi_primary is True,
        system_identifier=memory.system_identifier,
        timeline=memory.timeline,
        nodes=_views(observations, roles, memory, verdict.primary),
        recoveries=memory.recoveries,
        reason=verdict.reason[:REASON_CHARACTERS_MAX],
        tracked=tracked,
    )
    return topology, memory


# --- what is remembered -------------------------------------------------------------------------------------


def _remember(observations: Sequence[Observation], memory: Memory, policy: Policy) -> Memory:
    answered = [one for one in observations if one.reachable and one.complete]
    seen = {**memory.seen, **{one.name: one for one in answered}}
    looks = [seen[one.name] for one in observations if one.name in seen]
    writable = [one for one in looks if not one.in_recovery]
    system = memory.system_identifier
    multi = memory.multi_primary if policy.multi_primary is None else policy.multi_primary
    if not any(one.pending and one.name not in seen for one in observations):
        if multi is None and (len(writable) > 1 or len(looks) == len(observations)):
            apart = len({one.system_identifier for one in writable}) == len(writable)
            multi = len(writable) > 1 and apart and len(writable) == len(looks)
        if not system and not multi:
            agreed = {one.system_identifier for one in writable or looks}
            system = agreed.pop() if len(agreed) == 1 else 0
    if multi:
        return replace(memory, seen=seen, multi_primary=True, system_identifier=0)
    timelines = [one.timeline for one in answered if one.system_identifier == system]
    lapsed = frozenset(
        memory.seen[one.name].timeline for one in observations if _lapsed(memory.seen.get(one.name), one)
    )
    noticed = [_noticed(memory.seen.get(one.name), one, lapsed) for one in answered]
    new = tuple(one for one in noticed if one is not None)
    return replace(
        memory,
        seen=seen,
        multi_primary=multi,
        system_identifier=system,
        timeline=max(memory.timeline, *timelines, 0),
        recoveries=(*memory.recoveries, *new)[-RECOVERIES_MAX:],
    )


def _lapsed(before: Observation | None, look: Observation) -> bool:
    """Whether a server that took writes may have restarted and gone again while nobody watched."""
    if before is None or before.in_recovery or before.connected_since == look.connected_since:
        return False
    return look.unwatched_s > UNWATCHED_MAX_S


def _noticed(before: Observation | None, look: Observation, lapsed: frozenset[int]) -> Recovery | None:
    """What happened to a server between two looks that were answered, by the last table above.

    Args:
        before: the last look.
        look: this one.
        lapsed: timelines of servers that may have restarted unseen.
    """
    if look.in_recovery:
        return None
    found = Recovery(
        look.name, look.connected_since, look.timeline, look.system_identifier, look.end_of_recovery
    )
    if before is None:
        return found
    one_connection = before.connected_since == look.connected_since
    if before.in_recovery or before.timeline != look.timeline:
        next_one = before.in_recovery is True and 0 < before.timeline == look.timeline - 1
        sure = next_one and one_connection and look.end_of_recovery is not None
        parent = before.timeline if sure else 0
        watched = sure and parent not in lapsed
        return replace(found, seen_at=look.answered_at, watched=watched, parent=parent)
    if one_connection or (look.end_of_recovery == before.end_of_recovery is not None):
        return None
    if look.end_of_recovery is None and look.stats_reset == before.stats_reset != "":
        return replace(found, clean=True, watched=True)
    return replace(found, watched=look.unwatched_s <= UNWATCHED_MAX_S)


# --- who is what, and who is primary ------------------------------------------------------------------------


def _role(one: Observation, memory: Memory) -> NodeRole:
    look = memory.seen.get(one.name)
    if one.gone:
        return NodeRole.DOWN
    if look is None:
        return NodeRole.UNKNOWN
    system = memory.system_identifier
    if system and look.system_identifier != system:
        return NodeRole.ZOMBIE
    if look.in_recovery:
        return NodeRole.REPLICA
    if look.timeline < memory.timeline and not memory.multi_primary:
        return NodeRole.ZOMBIE
    return NodeRole.PRIMARY


def _primaries(roles: Mapping[str, NodeRole]) -> list[str]:
    return [name for name, role in roles.items() if role is NodeRole.PRIMARY]


def _verdict(
    observations: Sequence[Observation],
    roles: Mapping[str, NodeRole],
    memory: Memory,
    leader_said: str | None,
) -> _Verdict:
    primaries = _primaries(roles)
    pending = [one.name for one in observations if one.pending and one.name not in memory.seen]
    if memory.multi_primary and primaries:
        return _Verdict(Phase.SERVING, None, f"several primaries: {', '.join(primaries)}")
    if leader_said in primaries:
        return _Verdict(Phase.SERVING, leader_said, f"{leader_said}: the authority says so")
    if not memory.owner and pending:
        return _Verdict(Phase.OBSERVING, None, f"not looked at yet: {', '.join(pending)}")
    if leader_said is not None:
        return _hold(_leaderless(leader_said, roles))
    if not memory.system_identifier and memory.seen:
        systems = (f"{one.name} of {one.system_identifier}" for one in memory.seen.values())
        return _hold(f"the servers are of different systems: {', '.join(systems)}")
    if len(primaries) > 1:
        return _hold(f"split: {', '.join(primaries)} accept writes, all on timeline {memory.timeline}")
    if not primaries:
        return _hold(_why_none(observations, roles, memory))
    (name,) = primaries
    if memory.owner not in {"", name} and memory.seen[name].timeline <= memory.owner_timeline:
        return _hold(
            f"{name} accepts writes on timeline {memory.owner_timeline}, which was {memory.owner}'s:"
            " it was never promoted"
        )
    return _Verdict(Phase.SERVING, name, f"{name} accepts writes on timeline {memory.seen[name].timeline}")


def _hold(reason: str) -> _Verdict:
    return _Verdict(Phase.HOLDING, None, reason)


def _leaderless(leader: str, roles: Mapping[str, NodeRole]) -> str:
    if not leader:
        return "the authority names no leader"
    if leader not in roles:
        return f"the authority names {leader}, which is none of ours: {', '.join(roles)}"
    return f"the authority names {leader}, which is {roles[leader].value}"


def _why_none(observations: Sequence[Observation], roles: Mapping[str, NodeRole], memory: Memory) -> str:
    for one in observations:
        if one.name == memory.owner and one.gone:
            return f"{one.name}: {one.text or 'no answer'}"
    listed = ", ".join(f"{name} is {role.value}" for name, role in roles.items())
    return f"no server accepts writes: {listed}"


def _obey(ordered: Ordered, verdict: _Verdict) -> _Verdict:
    if ordered.phase is Phase.PAUSED:
        return _Verdict(Phase.PAUSED, verdict.primary, ordered.reason)
    if ordered.phase is Phase.HOLDING:
        return _Verdict(Phase.HOLDING, None, ordered.reason)
    if verdict.primary is not None and ordered.primary == verdict.primary:
        return _Verdict(ordered.phase, verdict.primary, ordered.reason)
    return verdict


def _views(
    observations: Sequence[Observation],
    roles: Mapping[str, NodeRole],
    memory: Memory,
    primary: str | None,
) -> tuple[NodeView, ...]:
    written = memory.seen[primary].write_lsn if primary is not None else None
    views = []
    for one in observations:
        look = memory.seen.get(one.name, one)
        lag = None
        if written is not None and look.replay_lsn is not None and look.in_recovery:
            lag = max(0, written - look.replay_lsn)
        views.append(
            NodeView(
                name=one.name,
                role=roles[one.name],
                timeline=look.timeline,
                system_identifier=look.system_identifier,
                connected_since=one.connected_since,
                end_of_recovery=look.end_of_recovery,
                write_lsn=look.write_lsn,
                replay_lsn=look.replay_lsn,
                lag_bytes=lag,
                stats_reset=look.stats_reset,
            )
        )
    return tuple(views)
