"""What became of a COMMIT whose answer was lost: found out or left open, never guessed.

Right before the COMMIT the same connection has been asked for a :class:`Sample`: the transaction's number and
S, the place in the WAL behind everything that the transaction wrote. The commit record can only be behind S.
A *cut* is a crash or a promotion that ended the history at T (``topology.Recovery``): what was behind T is
gone, and transaction numbers that were used only there are used again. So:

* S >= T: the commit record is gone. ``pg_xact_status`` may say ``committed`` of another transaction that got
  the number since.
* S < T: all that the transaction wrote is in the history, its number is taken, and ``pg_xact_status`` is
  about this one.

The cuts that matter are those between the sample and now, on the way from the server that was sampled to the
present primary. If it isn't certain that all are known, only S >= T is conclusive. The first row that fits:

===============================================================  =============================================
no sample arrived; the transaction was prepared (two-phase)      UNKNOWN
no number, NOTIFY was used                                       UNKNOWN: what it sent is nowhere recorded
no number, SERIALIZABLE                                          NOT_COMMITTED: it has changed nothing, but it
                                                                 may have read what it may not read
no number                                                        COMMITTED: there was nothing to commit
nobody watches; several primaries                                UNKNOWN
there is no primary                                              UNKNOWN, passing
the primary is of another system                                 UNKNOWN
S >= T of any cut on the way                                     NOT_COMMITTED
S >= T of a crash of a server that had been replaced by then     UNKNOWN: it had lost what its successor has
a cut on the way was not seen, or what came before it            UNKNOWN
S < T of all cuts on the way                                     ASK
a clean restart, or none                                         ASK; terminate the backend first
nothing happened: same server, watched since before the sample   ASK; terminate the backend first
or its recovery ended where the sample says
the watch began after the sample                                 UNKNOWN; passing while it isn't connected
===============================================================  =============================================

ASK means: connect to ``Finding.node``, and in *one* statement ask ``pg_xact_status`` together with what
:meth:`Finding.holds` wants to know. If that says no, something has happened meanwhile: resolve anew.
``terminate``: the backend that has the transaction may be alive. Terminate it only if it is the same one (by
``backend_start`` in ``pg_stat_activity``: numbers of processes are used again).

What this rests on: ``fsync`` is on. A transaction that wrote to unlogged or temporary tables alone leaves
nothing before S, and ASK may be about another one: a crash has emptied those tables. A server that crashes a
second time before it has let anybody in has cut twice and shows one cut; the first is overlooked if all that
the transaction wrote is within the hundred bytes that the recovery itself wrote.
Sources: PostgreSQL documentation, "System Information Functions", and ``xlogrecovery.c``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf

from seawall.proxy.topology import RECOVERIES_MAX, NodeView, Recovery, Topology, format_lsn

__all__ = ["Finding", "Outcome", "Sample", "resolve", "status_outcome"]


@dataclass(frozen=True, slots=True)
class Sample:
    """What a server said of a transaction right before its COMMIT."""

    node: str
    taken_at: float
    """Monotonic seconds, before it was asked."""
    xid: int | None
    """``pg_current_xact_id_if_assigned()``."""
    lsn: int
    """``pg_current_wal_insert_lsn()``."""
    end_of_recovery: int | None
    """``pg_last_wal_replay_lsn()``."""
    timeline: int
    system_identifier: int


class Outcome(Enum):
    """What became of it."""

    COMMITTED = "committed"
    NOT_COMMITTED = "not committed"
    ASK = "ask"
    """The server knows."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known, and how to know more."""

    outcome: Outcome
    terminate: bool
    """Before asking: the backend may be alive, and about to commit."""
    reason: str
    passing: bool = False
    """UNKNOWN for the moment: resolve again when there is another topology."""
    node: str = ""
    """Whom to ask, and in which of its lives."""
    timeline: int = 0
    end_of_recovery: int | None = None
    stats_reset: str = ""

    def holds(
        self, *, in_recovery: bool, timeline: int, end_of_recovery: int | None, stats_reset: str
    ) -> bool:
        """Whether the server that answered is still what this finding is about.

        Args:
            in_recovery: ``pg_is_in_recovery()``.
            timeline: from ``pg_walfile_name(pg_current_wal_lsn())``.
            end_of_recovery: ``pg_last_wal_replay_lsn()``.
            stats_reset: of ``pg_stat_bgwriter``, as the watch reads it.
        """
        told = (timeline, end_of_recovery, stats_reset)
        return not in_recovery and told == (self.timeline, self.end_of_recovery, self.stats_reset)


@dataclass(frozen=True, slots=True)
class _Way:
    """From the sample to the present primary, backwards."""

    cuts: tuple[Recovery, ...]
    late: tuple[Recovery, ...]
    """Of the server that was sampled, when it had been replaced."""
    gap: str
    """What isn't known of it."""


def resolve(
    sample: Sample | None,
    *,
    notifies: bool,
    topology: Topology,
    serializable: bool = False,
    two_phase: bool = False,
) -> Finding:
    """Say what became of a transaction's COMMIT, or how to find out.

    Args:
        sample: taken right before it; ``None`` if its answer didn't arrive.
        notifies: the transaction used NOTIFY.
        topology: the present one.
        serializable: its isolation level.
        two_phase: it ended by PREPARE TRANSACTION instead.
    """
    if sample is None:
        return _unknown("the server did not say how far it was")
    if two_phase:
        return _unknown("a prepared transaction goes on without its session")
    if sample.xid is None:
        return _nothing_written(notifies=notifies, serializable=serializable)
    if not topology.tracked:
        return _unknown("nobody watches the servers")
    if topology.multi_primary:
        return _unknown("there are several primaries, each with a history of its own")
    primary = topology.node(topology.primary) if topology.primary is not None else None
    if primary is None:
        return _unknown(f"there is no primary: {topology.reason}", passing=True)
    if primary.system_identifier != sample.system_identifier:
        return _unknown(f"{primary.name} is of another system")
    return _along(_way(sample, primary, topology), sample, primary)


def status_outcome(status: str | None) -> Outcome:
    """What an answer of ``pg_xact_status`` means; ASK: ask again, it is still running."""
    return {
        "committed": Outcome.COMMITTED,
        "aborted": Outcome.NOT_COMMITTED,
        "in progress": Outcome.ASK,
    }.get(status or "", Outcome.UNKNOWN)


def _unknown(reason: str, *, passing: bool = False) -> Finding:
    return Finding(Outcome.UNKNOWN, terminate=False, reason=reason, passing=passing)


def _nothing_written(*, notifies: bool, serializable: bool) -> Finding:
    if notifies:
        return _unknown("it sent notifications and wrote nothing, so nothing tells")
    if serializable:
        return Finding(
            Outcome.NOT_COMMITTED, terminate=False, reason="it wrote nothing, and may not be serializable"
        )
    return Finding(Outcome.COMMITTED, terminate=False, reason="it wrote nothing")


def _along(way: _Way, sample: Sample, primary: NodeView) -> Finding:
    """The part of the table that is about cuts."""
    place = f"it was at {format_lsn(sample.lsn)}"
    for cut in way.cuts:
        if cut.end_lsn is not None and sample.lsn >= cut.end_lsn:
            reason = f"{place}, and the history of {cut.node} was cut at {format_lsn(cut.end_lsn)}"
            return Finding(Outcome.NOT_COMMITTED, terminate=False, reason=reason)
    for cut in way.late:
        if cut.end_lsn is not None and sample.lsn >= cut.end_lsn:
            return _unknown(f"{place}, which {cut.node} lost after {primary.name} had replaced it")
    if way.gap:
        return _unknown(way.gap)
    for cut in way.cuts:
        if not cut.watched or (cut.end_lsn is None and not cut.clean):
            return _unknown(f"{cut.node} has restarted, maybe more than once, while nobody watched")
    if not way.cuts and not _same_life(sample, primary):
        connecting = not primary.connected_since
        return _unknown(f"{primary.name} was not watched when it was asked", passing=connecting)
    cuts = [cut for cut in way.cuts if not cut.clean]
    reason = f"{place}, before the last cut" if cuts else f"{primary.name} has lost nothing"
    return Finding(
        Outcome.ASK,
        terminate=not cuts,
        reason=reason,
        node=primary.name,
        timeline=primary.timeline,
        end_of_recovery=primary.end_of_recovery,
        stats_reset=primary.stats_reset,
    )


def _same_life(sample: Sample, primary: NodeView) -> bool:
    """Whether the primary has not restarted since the sample, which was taken there on the same timeline."""
    recovered = sample.end_of_recovery is not None and sample.end_of_recovery == primary.end_of_recovery
    return recovered or 0 < primary.connected_since < sample.taken_at


def _way(sample: Sample, primary: NodeView, topology: Topology) -> _Way:
    """Go back from the present primary, promotion by promotion, to the server that was sampled."""
    node, timeline, replaced_at = primary.name, primary.timeline, inf
    cuts: list[Recovery] = []
    known = [one for one in topology.recoveries if one.system_identifier == sample.system_identifier]
    while (node, timeline) != (sample.node, sample.timeline):
        if timeline <= sample.timeline:
            return _Way(tuple(cuts), (), f"{node} does not continue what {sample.node} wrote")
        here = [one for one in known if (one.node, one.timeline) == (node, timeline)]
        cuts += here
        hops = [one for one in here if 0 < one.parent < timeline]
        if len(hops) != 1:
            return _Way(tuple(cuts), (), f"it isn't known what timeline {timeline} continues")
        timeline, replaced_at = hops[0].parent, hops[0].seen_at
        writers = {one.node for one in known if one.timeline == timeline}
        if timeline == sample.timeline:
            writers.add(sample.node)
        if len(writers) != 1:
            return _Way(tuple(cuts), (), f"it isn't known who wrote timeline {timeline}")
        (node,) = writers
    after = _after(sample, known)
    cuts += [one for one in after if one.seen_at <= replaced_at]
    late = tuple(one for one in after if one.seen_at > replaced_at)
    full = len(topology.recoveries) >= RECOVERIES_MAX and sample.taken_at < topology.recoveries[0].seen_at
    return _Way(tuple(cuts), late, "it is older than what is remembered of the servers" if full else "")


def _after(sample: Sample, known: list[Recovery]) -> list[Recovery]:
    """What happened after the sample to the server that was sampled, on the same timeline.

    A record that is seen after the sample may yet be of something before it: of that by which the server
    began the life in which it was sampled. Those that end where the sample says are that.
    """
    there = [one for one in known if (one.node, one.timeline) == (sample.node, sample.timeline)]
    for index, one in enumerate(there):
        if one.end_lsn is not None and one.end_lsn == sample.end_of_recovery:
            there = there[index + 1 :]
            break
    return [one for one in there if one.seen_at > sample.taken_at]
