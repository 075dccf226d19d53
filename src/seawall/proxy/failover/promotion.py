"""What is done when the primary is gone, when an operator wants another one, and in which order.

A plan is a :class:`State`; :func:`step` takes it from one event to the next and says what to do. Nothing here
has a clock or does anything: ``conductor`` carries the actions out and feeds back what came of them. It calls
``step`` after every look at the servers, and with a ``Tick`` at least ten times a second.

A primary is gone
-----------------
::

             gone           down_after_s         most agree           done
    WATCHING ---> SUSPECTING -----------> ASKING ---------> FENCING -------> RANKING
       ^              |    (sole_proxy: not asked)                              | the best
       |<--- back ----+-----------+---------------------------------------------+
       |                          |                                             v    refused: the next
       |<-- somebody is primary - HELD <----- nobody is left ------------- PROMOTING <------+
       |                          ^                                             | told      |
       |                          | can't be fenced             too late, gone  v           |
       |                          +------------ DISCARDING <---------------- WAITING        |
       |                                             | fenced: the next         |           |
       |  all replayed, or replay_window_s           +--------------------------|-----------+
       +------------------------------------------- REPLAYING <-----------------+ writable

* Until something is promoted, the plan is dropped when the primary is there again. Afterwards that one is a
  zombie: its timeline is lower.
* A primary that says 57P03 because it starts is alive, and gets ``STARTING_GRACE_S``.
* *Quorum*: ``sole_proxy``; or more than half of this proxy and its witnesses can't reach the primary. With
  neither, nothing is promoted.
* Nothing is promoted before the old primary is fenced. A server that was told to become a primary and isn't
  one is *doubtful*: no other is promoted before that one is fenced; never, where nothing can be fenced.
* A candidate is a replica of the same system that was looked at after the fencing and is not on a lower
  timeline than the one that was lost. The best has the most WAL; then is synchronous; then has the highest
  priority.
* A new primary takes writes on a higher timeline than any before. Replays have it to themselves at first.
* HELD says why, waits ``RETRY_S`` and begins again at SUSPECTING.
* Former primaries are rejoined one by one while the plan is WATCHING.

An operator wants another primary
---------------------------------
::

    WATCHING -> CHECKPOINTING -> DRAINING -> MEASURING -> CATCHING_UP -> FENCING -> VERIFYING -> PROMOTING ...

Up to CATCHING_UP whatever fails, takes too long, or RESUME leads back: the old primary serves on as if
nothing had been. If it is lost meanwhile, that is a lost primary. If it can't be fenced the plan is HELD,
which ends at once if it serves. If in VERIFYING the target lacks something, the best one is promoted instead.

PAUSE and RESUME lead from WATCHING to PAUSED and back; a server that dies meanwhile is not replaced.

What can happen in which step is ``HANDLERS``, what is done when it takes too long ``TIMEOUTS``; an order that
comes at another time is refused by a ``Tell``. With several primaries, or another authority, there is nothing
to plan but PAUSE and RESUME.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from seawall.proxy.failover import replacing
from seawall.proxy.failover.orders import (
    Action,
    Checkpoint,
    Done,
    Event,
    Looked,
    PauseAsked,
    PauseWorkers,
    Rank,
    ResumeAsked,
    SwitchoverAsked,
    Tell,
    WaitReplayed,
    Witnessed,
)
from seawall.proxy.failover.plan import (
    Handler,
    Result,
    State,
    Step,
    await_done,
    begin,
    detail,
    enter,
    is_gone,
    primaries,
    publish,
    rank,
    stand_down,
)
from seawall.proxy.settings import Authority
from seawall.proxy.topology import Ordered, Phase

__all__ = ["HANDLERS", "TIMEOUTS", "State", "Step", "begin", "rank", "step"]

CHECKPOINT_TIMEOUT_S: Final = 60.0
"""Clients don't wait for it yet."""


def step(state: State, event: Event, now: float) -> tuple[State, list[Action]]:
    """Take a plan one step further.

    Args:
        state: where it stands.
        event: what has happened.
        now: monotonic seconds.

    Returns:
        Where it stands now, and what to do, in this order.
    """
    if isinstance(event, Looked):
        state = replace(state, look=event)
    if isinstance(event, (Done, Witnessed)) and event.action != state.awaited:
        return replacing.aside(state, event, now)
    actions: list[Action] = []
    handler = HANDLERS.get((state.step, type(event)))
    if handler is not None:
        state, actions = handler(state, event, now)
    elif isinstance(event, (SwitchoverAsked, PauseAsked, ResumeAsked)):
        actions = [Tell(f"not while {state.step.value}: {state.reason or 'nothing is under way'}")]
    if now >= state.deadline:
        state, more = TIMEOUTS[state.step](state, event, now)
        actions = [*actions, *more]
    return state, actions


# --- another primary, on request ----------------------------------------------------------------------------


def _switch(state: State, event: SwitchoverAsked, now: float) -> Result:
    looked, old = state.look, state.primary
    if state.rules.authority is not Authority.SELF:
        return state, [Tell("no switchover: the authority is external, and has to be asked itself")]
    if looked is None or looked.topology.primary is None or looked.topology.primary != old:
        return state, [Tell("no switchover: there is no primary")]
    able = rank(looked, timeline=state.timeline, priorities=state.priorities)
    target = event.target or (able[0] if able else "")
    if target not in able:
        return state, [Tell(f"no switchover to {target or 'anybody'}: able are {', '.join(able) or 'none'}")]
    candidates = (target, *(one for one in able if one != target))
    state = replace(state, agreed=True, planned=True, candidates=candidates)
    reason = f"switchover from {old} to {target}"
    state = enter(state, Step.CHECKPOINTING, now, limit_s=CHECKPOINT_TIMEOUT_S, reason=reason)
    state, order = await_done(state, Checkpoint, old)
    return state, [Tell(reason), order]


def _prepare(state: State, event: Looked, now: float) -> Result:
    """Until the old primary is stopped no loss does harm."""
    if is_gone(event, state.primary):
        return stand_down(state, now, f"{state.primary} is lost during the switchover")
    if state.primary not in primaries(event):
        return _give_up(state, now, f"{state.primary} is no primary any more")
    if is_gone(event, state.target):
        return _give_up(state, now, f"{state.target} is gone")
    return state, []


def _give_up(state: State, now: float, why: str) -> Result:
    return stand_down(state, now, f"no switchover, {state.primary} serves on: {why}")


def _late(state: State, event: Event, now: float) -> Result:
    return _give_up(state, now, f"{state.step.value}: {detail(event)}")


def _give_in(state: State, _event: ResumeAsked, now: float) -> Result:
    return _give_up(state, now, "an operator resumed")


def _drain(state: State, event: Done, now: float) -> Result:
    if not event.ok:
        return _late(state, event, now)
    state, actions = publish(state, Ordered(Phase.PAUSED, state.primary, state.reason))
    state = enter(replace(state, drained=True), Step.DRAINING, now, limit_s=state.rules.switchover_timeout_s)
    state, order = await_done(state, PauseWorkers)
    return state, [*actions, order]


def _measure(state: State, event: Done, now: float) -> Result:
    if not event.ok:
        return _late(state, event, now)
    return enter(state, Step.MEASURING, now, limit_s=replacing.LOOK_TIMEOUT_S), [Rank()]


def _written(state: State, looked: Looked) -> int | None:
    """How far the old primary has written, if it has answered in this step."""
    for one in looked.observations:
        if one.name == state.primary and one.reachable and one.answered_at >= state.since:
            return one.write_lsn
    return None


def _measured(state: State, event: Looked, now: float) -> Result:
    state, actions = _prepare(state, event, now)
    written = _written(state, event)
    if state.step is not Step.MEASURING or written is None:
        return state, actions
    state = enter(
        replace(state, lsn=written), Step.CATCHING_UP, now, limit_s=state.rules.switchover_timeout_s
    )
    state, order = await_done(state, WaitReplayed, state.target, written)
    return state, [order]


def _caught_up(state: State, event: Done, now: float) -> Result:
    return replacing.fence(state, now) if event.ok else _late(state, event, now)


def _verify(state: State, event: Looked, now: float) -> Result:
    """Where fencing stops nobody, the old primary still writes a little of its own accord."""
    state = replace(state, lsn=max(state.lsn, _written(state, event) or 0))
    for one in event.observations:
        fresh = one.reachable and one.answered_at >= state.since
        if one.name == state.target and fresh and (one.replay_lsn or 0) >= state.lsn:
            return replacing.promote(state, now)
    return state, []


def _missing(state: State, _event: Event, now: float) -> Result:
    text = f"{state.target} lacks what {state.primary} wrote last: the best one is promoted instead"
    state = enter(replace(state, planned=False), Step.RANKING, now, limit_s=replacing.LOOK_TIMEOUT_S)
    return state, [Tell(text), Rank()]


# --- no traffic, on request ---------------------------------------------------------------------------------


def _pause(state: State, _event: PauseAsked, now: float) -> Result:
    reason = "paused by an operator"
    state, actions = publish(state, Ordered(Phase.PAUSED, state.primary or None, reason))
    state = enter(replace(state, drained=True), Step.PAUSED, now, reason=reason)
    state, order = await_done(state, PauseWorkers)
    return state, [*actions, order]


def _paused(state: State, event: Done, _now: float) -> Result:
    text = "no transaction is open" if event.ok else f"transactions are open still: {event.detail}"
    return replace(state, awaited=None), [Tell(f"paused: {text}")]


def _rest(state: State, event: Looked, _now: float) -> Result:
    topology = event.topology
    if topology.primary is not None:
        state = replace(state, primary=topology.primary, timeline=topology.timeline)
    return state, []


def _resume(state: State, _event: ResumeAsked, now: float) -> Result:
    return stand_down(state, now, "resumed by an operator")


HANDLERS: Final[dict[tuple[Step, type[Event]], Handler]] = {
    (Step.WATCHING, Looked): replacing.watch,
    (Step.WATCHING, SwitchoverAsked): _switch,
    (Step.WATCHING, PauseAsked): _pause,
    (Step.SUSPECTING, Looked): replacing.suspect,
    (Step.ASKING, Looked): replacing.overtaken,
    (Step.ASKING, Witnessed): replacing.count,
    (Step.HELD, Looked): replacing.overtaken,
    (Step.FENCING, Done): replacing.fenced,
    (Step.RANKING, Looked): replacing.choose,
    (Step.PROMOTING, Looked): replacing.await_writable,
    (Step.PROMOTING, Done): replacing.told,
    (Step.WAITING, Looked): replacing.await_writable,
    (Step.DISCARDING, Done): replacing.discarded,
    (Step.REPLAYING, Looked): replacing.replays,
    (Step.REPLAYING, Done): replacing.serve,
    (Step.CHECKPOINTING, Looked): _prepare,
    (Step.CHECKPOINTING, Done): _drain,
    (Step.CHECKPOINTING, ResumeAsked): _give_in,
    (Step.DRAINING, Looked): _prepare,
    (Step.DRAINING, Done): _measure,
    (Step.DRAINING, ResumeAsked): _give_in,
    (Step.MEASURING, Looked): _measured,
    (Step.MEASURING, ResumeAsked): _give_in,
    (Step.CATCHING_UP, Looked): _prepare,
    (Step.CATCHING_UP, Done): _caught_up,
    (Step.CATCHING_UP, ResumeAsked): _give_in,
    (Step.VERIFYING, Looked): _verify,
    (Step.PAUSED, Looked): _rest,
    (Step.PAUSED, Done): _paused,
    (Step.PAUSED, ResumeAsked): _resume,
}
"""What can happen in which step, and what is done then."""

TIMEOUTS: Final[dict[Step, Handler]] = {
    Step.ASKING: replacing.no_witness,
    Step.HELD: replacing.retry,
    Step.FENCING: replacing.not_fenced,
    Step.RANKING: replacing.chosen,
    Step.PROMOTING: replacing.discard,
    Step.WAITING: replacing.discard,
    Step.DISCARDING: replacing.not_discarded,
    Step.REPLAYING: replacing.serve,
    Step.CHECKPOINTING: _late,
    Step.DRAINING: _late,
    Step.MEASURING: _late,
    Step.CATCHING_UP: _late,
    Step.VERIFYING: _missing,
}
"""What is done when a step takes too long."""
