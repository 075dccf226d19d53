"""The steps that replace a lost primary; ``promotion`` has the picture, and the table of who is called when.

Each takes the state, what has happened and the time, and returns the next state and what to do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from seawall.proxy.failover.orders import (
    Action,
    AskWitnesses,
    CutConnections,
    Done,
    Event,
    Fence,
    Looked,
    Promote,
    Rank,
    Rejoin,
    ReplayTurns,
    Repoint,
    Tell,
    WaitWritable,
    Witnessed,
)
from seawall.proxy.failover.plan import (
    Result,
    State,
    Step,
    await_done,
    detail,
    enter,
    hold,
    is_gone,
    primaries,
    publish,
    rank,
    stand_down,
    unheard,
)
from seawall.proxy.settings import Authority
from seawall.proxy.topology import NodeRole, Ordered, Phase

STARTING_GRACE_S: Final = 30.0
"""For a primary that says that it is starting: its recovery loses nothing, a promotion might."""
WITNESS_TIMEOUT_S: Final = 1.0
HOOK_TIMEOUT_S: Final = 35.0
"""For what a command may be run for: a little longer than a command may take."""
LOOK_TIMEOUT_S: Final = 1.0
"""For a fresh look; servers that don't answer by then are no candidates."""
WRITABLE_TIMEOUT_S: Final = 30.0
REJOIN_RETRY_S: Final = 5.0
REJOIN_ATTEMPTS_MAX: Final = 5


# --- is it gone? --------------------------------------------------------------------------------------------


def watch(state: State, event: Looked, now: float) -> Result:
    """WATCHING: remember who is primary, until there is none."""
    topology = event.topology
    if topology.primary is not None:
        state = replace(state, primary=topology.primary, timeline=topology.timeline)
        return _rejoin_next(state, event, now)
    if state.rules.authority is not Authority.SELF or topology.multi_primary or not topology.tracked:
        return state, []
    down = [one.name for one in topology.nodes if one.role is NodeRole.DOWN]
    # After a restart of the proxy nobody knows who was: the only one that isn't there, if all others are.
    lost = state.primary or (down[0] if len(down) == 1 else "")
    if topology.phase is not Phase.HOLDING or primaries(event) or lost not in down:
        return state, []
    state = replace(state, primary=lost, timeline=topology.timeline, lost_at=now)
    return enter(state, Step.SUSPECTING, now, reason=topology.reason), []


def overtaken(state: State, event: Looked, now: float) -> Result:
    """Any step before the fencing: drop the plan if there is no need for it any more."""
    state, actions = _outrun(state, event, now)
    if state.step is Step.WATCHING or state.doubtful or is_gone(event, state.primary):
        return state, actions
    return stand_down(state, now, f"{state.primary} answers again: nothing is promoted")


def _outrun(state: State, event: Looked, now: float) -> Result:
    """Somebody takes writes; the old primary doesn't count if there may be a new one by now."""
    serving = primaries(event, above=state.timeline if state.doubtful else 0)
    if serving:
        return stand_down(state, now, f"{', '.join(serving)} accepts writes: nothing is promoted")
    return state, []


def suspect(state: State, event: Looked, now: float) -> Result:
    """SUSPECTING: wait for it, then find out whether others miss it too."""
    state, actions = overtaken(state, event, now)
    if state.step is not Step.SUSPECTING:
        return state, actions
    starting = any(
        one.name == state.primary and one.sqlstate == "57P03" and "shutting down" not in one.text
        for one in event.observations
    )
    if now - state.lost_at < (STARTING_GRACE_S if starting else state.rules.down_after_s):
        return state, []
    if state.rules.sole_proxy:
        return fence(state, now)
    if not state.rules.witnesses:
        return hold(state, now, f"{state.primary} is gone; there is neither sole_proxy nor a witness")
    state = enter(state, Step.ASKING, now, limit_s=WITNESS_TIMEOUT_S)
    state, question = await_done(state, AskWitnesses, state.primary)
    return state, [question]


def count(state: State, event: Witnessed, now: float) -> Result:
    """ASKING: the witnesses have answered."""
    witnesses = len(state.rules.witnesses)
    votes = 1 + min(event.unreachable, witnesses)
    if 2 * votes > 1 + witnesses:
        return fence(state, now)
    text = f"{state.primary} is gone, but only for {votes} of {1 + witnesses} proxies"
    return hold(state, now, f"{text}: {event.detail}" if event.detail else text)


def no_witness(state: State, _event: Event, now: float) -> Result:
    """ASKING takes too long."""
    return hold(state, now, f"{state.primary} is gone, but its witnesses don't answer")


def retry(state: State, _event: Event, now: float) -> Result:
    """HELD for long enough."""
    return enter(state, Step.SUSPECTING, now), []


# --- which is the best? -------------------------------------------------------------------------------------


def fence(state: State, now: float) -> Result:
    """Keep the old primary from taking another write."""
    reason = f"{state.primary} is being replaced"
    phase, primary = (Phase.PAUSED, state.primary) if state.planned else (Phase.HOLDING, None)
    state, actions = publish(replace(state, agreed=True), Ordered(phase, primary, reason))
    state = enter(state, Step.FENCING, now, limit_s=HOOK_TIMEOUT_S, reason=reason)
    state, order = await_done(state, Fence, state.primary, state.planned)
    return state, [*actions, CutConnections(state.primary), order]


def fenced(state: State, event: Done, now: float) -> Result:
    """FENCING: it is, or it could not be."""
    if not event.ok:
        return not_fenced(state, event, now)
    if state.planned:
        return enter(state, Step.VERIFYING, now, limit_s=state.rules.switchover_timeout_s), [Rank()]
    return enter(state, Step.RANKING, now, limit_s=LOOK_TIMEOUT_S), [Rank()]


def not_fenced(state: State, event: Event, now: float) -> Result:
    """FENCING failed, or takes too long."""
    return hold(state, now, f"{state.primary} could not be fenced: {detail(event)}")


def choose(state: State, event: Looked, now: float) -> Result:
    """RANKING: wait for a fresh look at all replicas."""
    state, actions = _outrun(state, event, now)
    replicas = [one for one in event.observations if one.in_recovery and not one.gone]
    if state.step is not Step.RANKING or any(one.answered_at < state.since for one in replicas):
        return state, actions
    return chosen(state, event, now)


def chosen(state: State, _event: Event, now: float) -> Result:
    """RANKING: all have answered, or have had their time."""
    assert state.look is not None, "a plan begins with a look"
    able = rank(state.look, timeline=state.timeline, priorities=state.priorities, since=state.since)
    if state.doubtful and state.doubtful not in able:
        return discard(replace(state, candidates=(state.doubtful, *able)), _event, now)
    if state.doubtful:
        able = (state.doubtful,)
    if not able:
        text = f"{state.primary} is gone, and no replica answers that has followed timeline {state.timeline}"
        return hold(state, now, text)
    return promote(replace(state, candidates=able), now)


# --- promote it ---------------------------------------------------------------------------------------------


def promote(state: State, now: float) -> Result:
    """Promote the best candidate that is left."""
    look = state.look
    assert look is not None, "candidates come from a look"
    present = tuple(one for one in state.candidates if not is_gone(look, one))
    state = replace(state, candidates=present)
    if not present:
        return hold(state, now, f"{state.primary} is gone, and no replica could be promoted")
    missed = unheard(look, present, state.since)
    if missed and not state.rules.allow_loss and state.doubtful != state.target:
        text = (
            f"{', '.join(missed)} may have acknowledged what {state.target} doesn't have, and can't be asked"
        )
        return hold(state, now, text)
    state = enter(state, Step.PROMOTING, now, limit_s=HOOK_TIMEOUT_S, reason=f"{state.target} is promoted")
    state, order = await_done(state, Promote, state.target)
    return state, [order]


def told(state: State, event: Done, now: float) -> Result:
    """PROMOTING: it has been told to, or could not be."""
    if event.ok:
        return enter(state, Step.WAITING, now, limit_s=WRITABLE_TIMEOUT_S), [WaitWritable(state.target)]
    failed = Tell(f"{state.target} could not be promoted: {event.detail}")
    state, actions = promote(replace(state, candidates=state.candidates[1:]), now)
    return state, [failed, *actions]


def await_writable(state: State, event: Looked, now: float) -> Result:
    """PROMOTING and WAITING: until it writes a timeline of its own."""
    ahead = primaries(event, above=state.timeline)
    if state.target in ahead:
        return promoted(state, event, now)
    if ahead:
        return stand_down(state, now, f"{', '.join(ahead)} was promoted by somebody else")
    if is_gone(event, state.target):
        return discard(state, event, now)
    return state, []


def discard(state: State, _event: Event, now: float) -> Result:
    """It may yet become a primary: until that is out of the question no other one is promoted."""
    state, reason = replace(state, doubtful=state.target), f"{state.target} was promoted and is no primary"
    if not state.can_fence:
        return hold(state, now, f"{reason}; it may yet become one, and there is no way to fence it")
    state = enter(state, Step.DISCARDING, now, limit_s=HOOK_TIMEOUT_S, reason=reason)
    state, order = await_done(state, Fence, state.target, False)
    return state, [Tell(reason), CutConnections(state.target), order]


def discarded(state: State, event: Done, now: float) -> Result:
    """DISCARDING: it is fenced, or could not be."""
    if not event.ok:
        return not_discarded(state, event, now)
    outside = (*state.outside, (state.target, REJOIN_ATTEMPTS_MAX))
    return promote(replace(state, outside=outside, doubtful="", candidates=state.candidates[1:]), now)


def not_discarded(state: State, event: Event, now: float) -> Result:
    """DISCARDING failed, or takes too long."""
    return hold(
        state, now, f"{state.doubtful} may yet become a primary and could not be fenced: {detail(event)}"
    )


# --- serve by it --------------------------------------------------------------------------------------------


def promoted(state: State, event: Looked, now: float) -> Result:
    """The target takes writes."""
    new, old, timeline = state.target, state.primary, event.topology.timeline
    replicas = [one.name for one in event.topology.nodes if one.role is NodeRole.REPLICA]
    others = [one for one in state.outside if one[0] not in {old, new}]
    state = replace(
        state,
        primary=new,
        timeline=timeline,
        doubtful="",
        outside=(*others, (old, REJOIN_ATTEMPTS_MAX)),
        rejoin_at=now,
        serial=state.serial + 1,
    )
    actions = [Tell(f"{new} replaces {old}, on timeline {timeline}")]
    repoint = Repoint(state.serial, new, tuple(replicas))
    if state.planned:
        state, more = stand_down(state, now, f"{new} serves")
        return state, [*actions, repoint, *more]
    reason = f"{new} has replaced {old}; what was lost with that is replayed first"
    state, published = publish(state, Ordered(Phase.REPLAYING, new, reason))
    state = enter(state, Step.REPLAYING, now, limit_s=state.rules.replay_window_s, reason=reason)
    state, turns = await_done(state, ReplayTurns, new)
    return state, [*actions, repoint, *published, turns]


def replays(state: State, event: Looked, now: float) -> Result:
    """REPLAYING: unless it is lost as well."""
    if state.primary in primaries(event):
        return state, []
    return stand_down(state, now, f"{state.primary} is lost before it served")


def serve(state: State, event: Event, now: float) -> Result:
    """REPLAYING: all is replayed, or has had its time."""
    late = "" if isinstance(event, Done) else "; not all was replayed in time"
    return stand_down(state, now, f"{state.primary} serves{late}")


# --- bring the others back ----------------------------------------------------------------------------------


def _rejoin_next(state: State, event: Looked, now: float) -> Result:
    """One after another, while there is a primary to follow."""
    inside = {one.name for one in event.topology.nodes if one.role in {NodeRole.REPLICA, NodeRole.PRIMARY}}
    state = replace(state, outside=tuple(one for one in state.outside if one[0] not in inside))
    if not state.outside or state.rejoining is not None or now < state.rejoin_at:
        return state, []
    order = Rejoin(state.serial + 1, state.outside[0][0], state.primary)
    return replace(state, serial=order.serial, rejoining=order), [order]


def aside(state: State, event: Done | Witnessed, now: float) -> Result:
    """Something is answered that no step waits for."""
    action = event.action
    if isinstance(event, Witnessed) or not isinstance(action, (Rejoin, Repoint)):
        return state, []
    what = action.node if isinstance(action, Rejoin) else ", ".join(action.replicas)
    outcome = "done" if event.ok else f"failed: {event.detail}"
    actions: list[Action] = [Tell(f"{what or 'nobody'} to follow {action.primary}: {outcome}")]
    if isinstance(action, Repoint) or action != state.rejoining:
        return state, actions
    left = dict(state.outside)
    attempts = left.pop(action.node, 1) - 1
    if not event.ok and attempts > 0:
        left[action.node] = attempts
    state = replace(state, rejoining=None, outside=tuple(left.items()), rejoin_at=now + REJOIN_RETRY_S)
    return state, actions
