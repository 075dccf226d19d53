"""The watch: one prober per server, on a connection of its own, that knows within moments what became of it.

A probe is an empty query: it costs a server next to nothing, and since PostgreSQL 14 its answer brings the
news that the server's role has changed (``in_hot_standby``). Every tenth is the full question; that is also
asked first on every connection, and at once after such news. A connection that ends tells more, and sooner,
than any probe: it ends with the server's processes.

==========================  ==================================================================================
what happens                what is told
==========================  ==================================================================================
an answer                   reachable, with the facts of the last full answer
no answer in time           a miss, and another for every such time; still the same probe is waited for
the connection ends         not reachable, at once; an attempt to connect follows at once
an attempt is refused       refused, with the server's SQLSTATE if it gave one; attempts go on
an attempt gets no answer   misses, as if it were a probe
==========================  ==================================================================================

It asks, and decides nothing: ``election`` does. ``conductor`` starts it and reads :meth:`Watch.observations`.
"""

from __future__ import annotations

import asyncio
import functools
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from seawall.kernel.errors import DatabaseUnavailable, SeawallError
from seawall.proxy.connect import Addresses, LoginFailed
from seawall.proxy.failover.link import Link, Login, open_link
from seawall.proxy.failover.question import (
    IDENTIFY,
    QUESTION,
    ROLE,
    Answer,
    Departed,
    Row,
    doubtful,
    essence,
    followers_of,
    identified,
    observed,
    read_answer,
    read_role,
    reason_of,
    refusal,
    same_life,
    unanswered,
    with_timeline,
)
from seawall.proxy.settings import Backend, Failover, ProxySettings
from seawall.proxy.topology import Observation

__all__ = ["Prober", "Watch", "pace"]

FULL_EVERY: Final = 10
"""One probe in so many is the full question."""
PROBES_PER_S_MAX: Final = 500
"""Over all servers; where there are more servers each is asked less often."""
LOGIN_TIMEOUT_S: Final = 5.0
"""Where the configuration sets no limit."""
RETRY_FIRST_S: Final = 0.05
RETRY_SOON_S: Final = 0.2
"""The longest pause between attempts while an outage is young."""
RETRY_LAST_S: Final = 0.8
"""So short that no server comes up, takes clients and crashes again unseen."""
YOUNG_S: Final = 30.0
DENIED_RETRY_S: Final = 30.0
"""Between attempts where the login is refused for good: each is a line in that server's log."""
HURRIED_S: Final = 0.01
"""Between two attempts at least, however many ask for one."""
PROMOTION_S: Final = 5.0
"""A server that becomes a primary is one by then."""
ABANDON_S: Final = 3.0
"""A connection that has been silent for so long is given up for a new one."""
HOT_STANDBY: Final = "in_hot_standby"
IDENTIFY_TIMEOUT_S: Final = 0.5
"""For a connection, a login and an answer, while a replica is doubtful."""
DENIED: Final = frozenset({"28000", "28P01", "42501"})
"""Who watches may not use the replication protocol."""


class Prober:
    """Watches one server for as long as :meth:`run` runs.

    Args:
        name: the backend's.
        connect: opens a connection to it.
        login: whom to log in as.
        interval_s: between two probes.
        timeout_s: after which a probe is missed.
        login_timeout_s: for a login and the first answer, once connected.
        changed: called when something else is known than before.
        rng: in [0, 1).
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Awaitable[Link]],
        login: Login,
        *,
        interval_s: float,
        timeout_s: float,
        login_timeout_s: float,
        changed: Callable[[], None],
        rng: Callable[[], float] = random.random,
    ) -> None:
        self.observation = Observation(name=name)
        self.answer: Answer | None = None
        """The last to the full question."""
        self.probes = 0
        self._connect = connect
        self._login = login
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._login_timeout_s = login_timeout_s
        self._changed = changed
        self._rng = rng
        self._clock = asyncio.get_running_loop().time
        self._nudge: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._looks: list[asyncio.Future[None]] = []
        """Wait for the next probe; bounded by the connections to the supervisor's socket."""
        self._looking: list[asyncio.Future[None]] = []
        """Wait for what the present one brings."""
        self._backoff_s = RETRY_FIRST_S
        self._alive_since = 0.0
        """Since when the server that answered last can't have restarted."""
        self.trouble_at: float | None = None
        """Since when it doesn't answer: of a lost connection its end, else when it was asked."""
        self._highest: Answer | None = None
        """On the highest timeline."""
        self._denied = ""
        """In which life of the server nobody was let in to ask for its timeline."""
        self._noted_at = self._clock()
        """When its control file last told no newer timeline than what is known."""
        self._down_at: float | None = None
        self._left_at: float | None = None
        """Since when there is neither a connection nor an attempt."""
        self._gap_s = 0.0
        """The longest such time since the last answer."""

    def __repr__(self) -> str:
        state = "reachable" if self.observation.reachable else self.observation.text or "not reached yet"
        return f"Prober({self.observation.name!r}, {state})"

    async def look(self) -> None:
        """Ask the full question now; returns with an answer, a refusal or a miss younger than this call."""
        future = asyncio.get_running_loop().create_future()
        self._looks.append(future)
        if not self._nudge.done():
            self._nudge.set_result(None)
        await future

    async def run(self) -> None:
        """Connect, ask, connect again."""
        while True:
            pause_s = 0.0
            attempt = asyncio.create_task(self._attempt())
            try:
                await self._patiently(attempt)
                link = attempt.result()
            except (SeawallError, OSError) as error:
                pause_s = self._refused(error)
            else:
                try:
                    await self._session(link)
                except (SeawallError, OSError) as error:
                    self._lost(error)
            finally:
                attempt.cancel()
                await asyncio.wait({attempt})  # what it has begun to open is closed by itself
                if not attempt.cancelled() and attempt.exception() is None:
                    attempt.result().close()
            if pause_s:
                await asyncio.wait({self._nudge}, timeout=pause_s)
                await asyncio.sleep(HURRIED_S)

    async def _attempt(self) -> Link:
        """Connect, log in, ask the full question."""
        self._begin()
        try:
            link = await self._connect()
        finally:
            if self._left_at is not None:
                self._gap_s = max(self._gap_s, self._clock() - self._left_at)
            self._left_at = None
        try:
            async with asyncio.timeout(self._login_timeout_s):
                await link.log_in(self._login)
                since = self._clock()
                link.send(QUESTION)
                self._take(await self._whole(read_answer(await link.reply())), since)
        except BaseException:
            link.close()
            raise
        return link

    async def _session(self, link: Link) -> None:
        """Probe until the connection ends, or is silent for too long."""
        number = 1
        while True:
            told, full, asked_at = link.parameters.get(HOT_STANDBY), False, None
            if number % FULL_EVERY and told is not None and self._well:
                beats = await link.beat(
                    self._interval_s, self._timeout_s, FULL_EVERY - number % FULL_EVERY, self._nudge
                )
                self.probes += beats.asked
                number, asked_at = number + beats.answered, beats.asked_at
            if asked_at is None:
                if number:
                    await self._rest(link)
                self._begin()
                told = link.parameters.get(HOT_STANDBY)
                full = number % FULL_EVERY == 0 or bool(self._looking)
                link.send(QUESTION if full else ROLE if told is None else "")
            reply = asyncio.create_task(link.reply())
            try:
                await self._patiently(reply, ABANDON_S, asked_at)
                rows = reply.result()
            finally:
                reply.cancel()
            if full:
                self._take(await self._whole(read_answer(rows)), self.observation.connected_since)
            else:
                self._answered()
            role = read_role(rows)
            changed = role is not None and role is not self.observation.in_recovery
            number = 0 if changed or told != link.parameters.get(HOT_STANDBY) else number + 1

    @property
    def _well(self) -> bool:
        """Whether a plain answer says nothing that isn't known."""
        known = self.observation
        return known.reachable and not known.misses and not known.text and self.trouble_at is None

    async def _rest(self, link: Link) -> None:
        """Until the next probe is due; raises if the connection ends meanwhile."""
        idle = asyncio.create_task(link.idle())
        try:
            waited_for: set[asyncio.Future[None]] = {idle, self._nudge}
            await asyncio.wait(waited_for, timeout=self._interval_s, return_when=asyncio.FIRST_COMPLETED)
            if idle.done():
                idle.result()
        finally:
            idle.cancel()

    async def _patiently(
        self, answer: asyncio.Task[Any], abandon_s: float = math.inf, began: float | None = None
    ) -> None:
        """Wait for an answer, and count a miss for every time in which it should have come."""
        if began is None:
            began = self._clock()
        due = began + self._timeout_s
        while not answer.done():
            await asyncio.wait({answer}, timeout=max(0.0, due - self._clock()))
            # Had this process itself not run for so long, the answer might be there already.
            if not answer.done() and self._clock() < due + self._timeout_s:
                silent_s = self._clock() - began
                self._missed(silent_s)
                if silent_s >= abandon_s:
                    raise DatabaseUnavailable(self.observation.name, self.observation.text)
            due = self._clock() + self._timeout_s

    # --- what is known ------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """A probe begins, which answers whoever has asked for one by now."""
        self.probes += 1
        self._looking += self._looks
        self._looks = []
        if self._nudge.done():
            self._nudge = asyncio.get_running_loop().create_future()

    def _know(self, observation: Observation) -> None:
        before, self.observation = self.observation, observation
        if essence(before) != essence(observation):
            self._changed()

    def _conclude(self, observation: Observation) -> None:
        """What the present probe has brought."""
        self._know(observation)
        for future in self._looking:
            if not future.done():
                future.set_result(None)
        self._looking.clear()

    async def _whole(self, answer: Answer) -> Answer:
        """The answer with the timeline that a replica replays, if that is in doubt and can be asked."""
        if not doubtful(answer, self.answer, self._highest) or self._denied == answer.started:
            return answer
        timeline = 0
        try:
            async with asyncio.timeout(IDENTIFY_TIMEOUT_S):
                timeline = await self._identify()
        except (SeawallError, OSError) as error:  # TimeoutError is one of these
            if isinstance(error, LoginFailed) and error.sqlstate in DENIED:
                self._denied = answer.started
        return replace(answer, received=timeline, timeline=max(answer.timeline, timeline))

    async def _identify(self) -> int:
        link = await self._connect()
        try:
            await link.log_in(replace(self._login, replication=True))
            link.send(IDENTIFY)
            return identified(await link.reply())
        finally:
            link.close()

    def _take(self, answer: Answer, since: float) -> None:
        if answer.noted <= self.observation.timeline:
            self._noted_at = self._clock()
        lasting = self._clock() - self._noted_at > PROMOTION_S
        answer = with_timeline(self.answer, answer, lasting=lasting)
        before = self.observation
        gap_s = before.unwatched_s
        if before.connected_since != since:
            gap_s = self._gap_s
            if same_life(self.answer, answer):
                since, gap_s = self._alive_since, 0.0
        self.answer, self._alive_since, self.trouble_at = answer, since, None
        highest = self._highest
        if (
            highest is None
            or highest.system_identifier != answer.system_identifier
            or answer.timeline >= highest.timeline
        ):
            self._highest = answer
        self._down_at, self._gap_s, self._backoff_s = None, 0.0, RETRY_FIRST_S
        self._conclude(observed(before, answer, at=self._clock(), since=since, unwatched_s=gap_s))

    def _answered(self) -> None:
        before = self.observation
        self.trouble_at = None
        # ``answered_at`` stays: it is the age of the facts.
        self._conclude(replace(before, reachable=True, misses=0, text=""))

    def _missed(self, silent_s: float) -> None:
        self._looking += self._looks
        self._looks = []
        if self.trouble_at is None:
            self.trouble_at = self._clock() - silent_s
        self._conclude(unanswered(self.observation, f"no answer for {silent_s:.2f} s"))

    def _lost(self, error: Exception) -> None:
        """The connection is gone; what became of the server, the next attempt shows."""
        self._left_at = self._clock()
        if self.trouble_at is None:
            self.trouble_at = self._left_at
        lost = replace(self.observation, reachable=False, connected_since=0.0, unwatched_s=0.0)
        self._know(replace(lost, text=reason_of(error)))

    def _refused(self, error: Exception) -> float:
        """An attempt has failed; returns when to make the next."""
        now = self._left_at = self._clock()
        if self._down_at is None:
            self._down_at = now
        if self.trouble_at is None:
            self.trouble_at = now
        found = replace(refusal(self.observation, error), unwatched_s=self._gap_s)
        self._conclude(found)
        if isinstance(error, LoginFailed) and error.final:
            return DENIED_RETRY_S
        if not found.refused or found.sqlstate:
            return RETRY_FIRST_S  # it took its time already, or is about to let us in
        pause_s = self._backoff_s * (0.5 + self._rng() / 2)
        last_s = RETRY_SOON_S if now - self._down_at < YOUNG_S else RETRY_LAST_S
        self._backoff_s = min(self._backoff_s * 2, last_s)
        return pause_s


def pace(failover: Failover, servers: int) -> float:
    """How long between two probes of one server, with so many."""
    return max(failover.probe_interval_s, servers / PROBES_PER_S_MAX)


class Watch:
    """All servers' probers.

    Args:
        settings: of the proxy.
        changed: called when something else is known than before; what, is in :meth:`observations`.
    """

    def __init__(self, settings: ProxySettings, changed: Callable[[], None]) -> None:
        self._settings = settings
        self._addresses = Addresses(settings.timeouts.dns_refresh_s)
        self._login = Login.of(settings)
        self._changed = changed
        self._backends = {backend.name: backend for backend in settings.backends}
        self._probers: dict[str, Prober] = {}
        self._tasks: list[asyncio.Task[None]] = []
        hosts = [backend.host for backend in settings.backends]
        self._by_host = {one.host: one.name for one in settings.backends if hosts.count(one.host) == 1}
        """Followers go by their names; who doesn't is known by the address."""
        self._departed = Departed()

    def __repr__(self) -> str:
        return f"Watch({list(self._probers.values())})"

    def start(self) -> None:
        """Begin, in the loop that is running."""
        failover = self._settings.failover
        self._probers = {
            name: Prober(
                name,
                functools.partial(self._open, backend),
                self._login,
                interval_s=pace(failover, len(self._backends)),
                timeout_s=failover.probe_timeout_s,
                login_timeout_s=self._settings.timeouts.connect_s or LOGIN_TIMEOUT_S,
                changed=self._changed,
            )
            for name, backend in self._backends.items()
        }
        self._tasks = [asyncio.create_task(prober.run()) for prober in self._probers.values()]

    async def stop(self) -> None:
        """End, and hang up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # sockets are closed by the loop
        self._tasks = []

    def observations(self) -> tuple[Observation, ...]:
        """What is known of each server, in the order of the configuration."""
        answers = [one.answer for one in self._probers.values()]
        states = {
            self._name_of(follower, address): state for follower, address, state in followers_of(answers)
        }
        left = self._departed.left(answers, self._name_of)
        return tuple(
            replace(prober.observation, sync_state=states.get(name, ""), left_lsn=left.get(name))
            for name, prober in self._probers.items()
        )

    def _name_of(self, follower: str, address: str) -> str:
        return follower if follower in self._backends else self._by_host.get(address, "")

    async def look(self, name: str) -> None:
        """Ask one server now; returns when what is known of it is younger than this call.

        Raises:
            KeyError: there is no such server.
        """
        await self._probers[name].look()

    def observation(self, name: str) -> Observation:
        """What is known of one server."""
        return self._probers[name].observation

    def trouble_at(self, name: str) -> float | None:
        """Since when a server doesn't answer, if it doesn't."""
        return self._probers[name].trouble_at

    async def run(self, name: str, sql: str, timeout_s: float, database: str = "") -> list[Row]:
        """Run a statement on a server, on a connection of its own; the probes go on meanwhile.

        Args:
            name: the server.
            sql: what to run.
            timeout_s: from the connect to the end of the answer.
            database: where; empty: where the watch is logged in.

        Raises:
            DatabaseUnavailable: the server can't be reached, refuses, or is too slow.
            KeyError: there is no such server.
        """
        backend = self._backends[name]
        login = replace(self._login, database=database) if database else self._login
        try:
            async with asyncio.timeout(timeout_s):
                link = await self._open(backend)
                try:
                    await link.log_in(login)
                    link.send(sql)
                    return await link.reply()
                finally:
                    link.close()
        except TimeoutError as error:
            raise DatabaseUnavailable(name, f"no answer within {timeout_s:g} s") from error
        except (SeawallError, OSError) as error:
            raise DatabaseUnavailable(name, reason_of(error)) from error

    async def _open(self, backend: Backend) -> Link:
        return await open_link(self._addresses, backend, self._settings.timeouts.user_timeout_s)
