"""A plan: where it stands, and what many of its steps do.

``promotion`` tells the whole story and joins the steps, ``replacing`` has those that replace a lost primary.
Pure, as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from math import inf
from typing import Any, Final

from seawall.proxy.failover.orders import (
    Action,
    Done,
    Event,
    Looked,
    Numbered,
    Publish,
    Rejoin,
    ResumeWorkers,
    Tell,
    Witnessed,
)
from seawall.proxy.settings import Failover
from seawall.proxy.topology import NodeRole, Observation, Ordered, Phase

__all__ = ["Handler", "Result", "State", "Step", "begin", "rank", "unheard"]

RETRY_S: Final = 2.0
"""After which a plan that came to nothing is tried again."""


class Step(Enum):
    """Where a plan stands; ``promotion`` has the picture."""

    WATCHING = "watching"
    SUSPECTING = "suspecting"
    ASKING = "asking"
    HELD = "held"
    FENCING = "fencing"
    RANKING = "ranking"
    PROMOTING = "promoting"
    WAITING = "waiting"
    DISCARDING = "discarding"
    REPLAYING = "replaying"
    CHECKPOINTING = "checkpointing"
    DRAINING = "draining"
    MEASURING = "measuring"
    CATCHING_UP = "catching up"
    VERIFYING = "verifying"
    PAUSED = "paused"


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """A plan; :func:`begin` makes the first one."""

    rules: Failover
    priorities: Mapping[str, int] = field(default_factory=dict)
    """Of the backends, as configured."""
    can_fence: bool = True
    """Fencing is more than sending nothing to a server any more."""
    step: Step = Step.WATCHING
    since: float = 0.0
    """When the step began."""
    deadline: float = inf
    """From when on it takes too long."""
    reason: str = ""
    """For people: why it stands there."""
    published: Ordered | None = None
    """To be passed to every election."""
    serial: int = 0
    awaited: Numbered | None = None
    """Whose answer the step waits for."""
    look: Looked | None = None
    primary: str = ""
    """The primary, or the last one."""
    timeline: int = 0
    """The highest there was with it: a new primary has to exceed it."""
    lost_at: float = 0.0
    agreed: bool = False
    """A quorum or an operator wants it replaced."""
    planned: bool = False
    drained: bool = False
    """Workers have been paused, and have yet to be told to go on."""
    candidates: tuple[str, ...] = ()
    """Best first; the first one is at work, or next."""
    doubtful: str = ""
    """A server that was promoted, isn't a primary, and may become one."""
    lsn: int = 0
    """As far as the target of a switchover has to have replayed."""
    outside: tuple[tuple[str, int], ...] = ()
    """Servers that have to be rejoined, and how often that may yet be tried."""
    rejoining: Rejoin | None = None
    rejoin_at: float = 0.0

    @property
    def target(self) -> str:
        """The server that is promoted, or is next."""
        return self.candidates[0] if self.candidates else ""


Result = tuple[State, list[Action]]
Handler = Callable[[State, Any, float], Result]


def begin(rules: Failover, priorities: Mapping[str, int] | None = None, *, can_fence: bool = True) -> State:
    """A plan that knows nothing yet.

    Args:
        rules: as configured.
        priorities: of the backends, by name.
        can_fence: somebody can keep a server from taking writes.
    """
    return State(rules=rules, priorities=dict(priorities or {}), can_fence=can_fence)


def rank(
    looked: Looked, *, timeline: int, priorities: Mapping[str, int], since: float = 0.0
) -> tuple[str, ...]:
    """The replicas that may be promoted, best first.

    Args:
        looked: the last look.
        timeline: of the primary that is replaced; replicas on a lower one have left its history.
        priorities: of the backends.
        since: replicas that haven't answered since then don't count.
    """
    able = [
        one
        for one in looked.observations
        if one.in_recovery
        and one.reachable
        and one.answered_at >= since
        and one.timeline >= timeline
        and one.system_identifier == looked.topology.system_identifier
    ]

    def order(one: Observation) -> tuple[int, int, bool, int, str]:
        received = _received(one)
        synchronous = one.sync_state in {"sync", "quorum"}
        return (-one.timeline, -received, not synchronous, -priorities.get(one.name, 0), one.name)

    return tuple(one.name for one in sorted(able, key=order))


def unheard(looked: Looked, able: Sequence[str], since: float) -> tuple[str, ...]:
    """Replicas that may have acknowledged what none of the candidates has.

    A commit that waited for a synchronous standby is on every server that is ``sync``, but of those that are
    ``quorum`` perhaps on one alone.

    Args:
        looked: the last look.
        able: the candidates.
        since: what was known of a server before doesn't count.
    """
    known = {one.name: one for one in looked.observations}
    if any(known[name].sync_state == "sync" for name in able if name in known):
        return ()
    most = max((_received(known[name]) for name in able if name in known), default=0)
    return tuple(
        one.name for one in looked.observations if one.name not in able and _may_have_more(one, most, since)
    )


def _may_have_more(one: Observation, most: int, since: float) -> bool:
    """Whether a replica may have acknowledged something behind a place."""
    if one.sync_state not in {"sync", "quorum"} and (one.left_lsn is None or one.left_lsn <= most):
        return False
    return one.answered_at < since or _received(one) > most


def _received(one: Observation) -> int:
    return max(one.receive_lsn or 0, one.replay_lsn or 0)


# --- what is seen -------------------------------------------------------------------------------------------


def is_gone(looked: Looked, name: str) -> bool:
    """Whether a server is gone."""
    return any(one.name == name and one.gone for one in looked.observations)


def primaries(looked: Looked, *, above: int = 0) -> list[str]:
    """The servers that could be primary, on a timeline above another one."""
    return [
        one.name for one in looked.topology.nodes if one.role is NodeRole.PRIMARY and one.timeline > above
    ]


def detail(event: Event) -> str:
    """Why something was not done; empty if that isn't what the event is about."""
    return event.detail if isinstance(event, (Done, Witnessed)) else "it takes too long"


# --- what many steps do -------------------------------------------------------------------------------------


def enter(state: State, step: Step, now: float, *, limit_s: float = inf, reason: str | None = None) -> State:
    """Go on to another step, which may take so long."""
    why = state.reason if reason is None else reason
    return replace(state, step=step, since=now, deadline=now + limit_s, awaited=None, reason=why)


def await_done(state: State, kind: Callable[..., Numbered], *about: object) -> tuple[State, Numbered]:
    """Number an action, and wait for its answer."""
    action = kind(state.serial + 1, *about)
    return replace(state, serial=action.serial, awaited=action), action


def publish(state: State, ordered: Ordered | None) -> Result:
    """Publish, unless that is what was published last."""
    if ordered == state.published:
        return state, []
    return replace(state, published=ordered), [Publish(ordered)]


def _drop(state: State, ordered: Ordered | None) -> Result:
    """End the plan, whatever it was."""
    state, actions = publish(replace(state, agreed=False, planned=False, candidates=()), ordered)
    if state.drained:
        actions.append(ResumeWorkers())
    return replace(state, drained=False), actions


def stand_down(state: State, now: float, reason: str) -> Result:
    """The plan is over: leave it to the election."""
    state, actions = _drop(replace(state, doubtful=""), None)
    return enter(state, Step.WATCHING, now, reason=reason), [*actions, Tell(reason)]


def hold(state: State, now: float, reason: str) -> Result:
    """Nothing can be done for the moment."""
    told = [] if reason == state.reason else [Tell(reason)]
    state, actions = _drop(state, Ordered(Phase.HOLDING, None, reason))
    return enter(state, Step.HELD, now, limit_s=RETRY_S, reason=reason), [*actions, *told]
