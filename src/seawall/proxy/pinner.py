"""Has a transaction that is said again draw the sequence values that its client has seen.

Only while a new primary is there for replays alone, and only where nobody else can write to it: between the
pin and its restoring the sequence stands where it stood before, and whoever draws from it then would get
what others have. ``replay.pinning`` says what is pinned and what isn't. What could not be restored because
the connection ended is restored over another one, before anybody else has a turn, and by the supervisor at
the latest, before anybody is served.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any, Final

from seawall.proxy.connect import LoginFailed, run_sql
from seawall.proxy.errands import Batch
from seawall.proxy.pool import Pool
from seawall.proxy.replay import ladder, pinning
from seawall.proxy.replay.ladder import Loss
from seawall.proxy.replaying import Replaying
from seawall.proxy.statements import parse_message
from seawall.proxy.topology import Phase
from seawall.wire.pgwire import framing, messages

OPEN_LIMIT: Final = 1_000
"""Sequences that may be out of place at once."""
MEND_AGAIN_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Open:
    """A sequence that is set back.

    Attributes:
        restore: a statement that sets it forward.
        backend: the server.
        pid: the process there that has set it back.
    """

    restore: bytes
    backend: str
    pid: int


class Pinner:
    """The pins of one worker.

    Args:
        worker: whose.
    """

    def __init__(self, worker: Any) -> None:  # noqa: ANN401
        self._worker = worker
        self.pinned = 0
        self.missed = 0
        """Statements whose sequence moved further than the client saw."""
        self.disturbed = False
        """Somebody else may draw from a sequence until the primary serves."""
        self.open: dict[tuple[Pool, int], Open] = {}
        """By pool and sequence, what was set back."""

    @property
    def allowed(self) -> bool:
        """Whether nobody else can draw from any sequence now."""
        failover = self._worker.settings.failover
        return bool(
            failover.sole_proxy
            and self._worker.topology.phase is Phase.REPLAYING
            and not self.disturbed
            and len(self.open) < OPEN_LIMIT
        )

    def pin(self, playing: Replaying, loss: Loss, number: int, skipped: int = 0) -> None:
        """Pin what a turn drew, then have it said; behind it, restore.

        Args:
            playing: the attempt.
            loss: what was said and seen.
            number: of the turn, in the script.
            skipped: how many turns come before the script's first.
        """
        journal = loss.journal
        at = number + skipped
        answers = journal.answers()
        if at >= len(answers) or playing.server.status == framing.IN_FAILED_TRANSACTION:
            playing.say(number)
            return
        turn = journal.turns()[at]
        texts = ladder.texts_of(turn, loss.names, journal.unnamed)
        answer = _completed(answers[at], texts[0] if texts else b"")
        kinds = _kinds(answer)
        draws = b"INSERT 0 " in answer or (texts and pinning.literal_sequence(texts[0]) is not None)
        if len(texts) != 1 or framing.DATA_ROW not in kinds or not draws:
            playing.say(number)
        elif framing.ROW_DESCRIPTION in kinds:
            self._look_up(playing, number, pinning.seen(answer, texts[0], formats=_formats(turn)))
        else:
            # It was described when it was prepared, perhaps long ago: have it described here.
            question = parse_message(b"", texts[0] + b"\0\0\0")
            question += messages.describe_statement("") + messages.sync()
            Batch(
                playing.server,
                question,
                1,
                lambda batch: self._described(playing, number, (answer, texts[0], turn), batch),
            )

    def _described(
        self, playing: Replaying, number: int, said: tuple[bytes, bytes, bytes], batch: Batch
    ) -> None:
        if self._failed(playing, batch):
            return
        answer, sql, turn = said
        columns = messages.parse_row_description(batch.described) if batch.described else ()
        self._look_up(playing, number, pinning.seen(answer, sql, columns=columns, formats=_formats(turn)))

    def _look_up(self, playing: Replaying, number: int, seen: pinning.Seen | None) -> None:
        """Find the sequences of what was seen."""
        if seen is None:
            playing.say(number)
            return
        Batch(
            playing.server,
            messages.query(seen.lookup_sql().decode()),
            1,
            lambda batch: self._found(playing, number, pinning.pins(seen, pinning.states(batch.rows)), batch),
        )

    def _found(self, playing: Replaying, number: int, pins: list[pinning.Pin], batch: Batch) -> None:
        if self._failed(playing, batch):
            return
        if not pins:
            playing.say(number)
            return
        self._worker.start(self._announce(playing, number, pins))

    async def _announce(self, playing: Replaying, number: int, pins: list[pinning.Pin]) -> None:
        """Tell the supervisor, who sees to it that nobody is served while a sequence is out of place."""
        server, siblings = playing.server, self._worker.siblings
        pool: Pool = server.pool
        agreed, announced = True, []
        for pin in pins if siblings is not None else ():
            announced.append(pin)
            order = {
                "do": "pinned",
                "database": pool.database,
                "sequence": pin.state.oid,
                "restore": pin.restoring_sql().decode(),
                "backend": server.backend.name,
                "pid": server.pid,
            }
            answer = await siblings.ask_supervisor(order)
            agreed = agreed and answer is not None and bool(answer.get("done"))
        if playing.over or not agreed or not self.allowed:
            for pin in announced:
                await self._tell_unpinned(pool, pin.state.oid)
            playing.say(number)
            return
        for pin in pins:
            self.open[pool, pin.state.oid] = Open(pin.restoring_sql(), server.backend.name, server.pid)
        data = b"".join(messages.query(pin.sql().decode()) for pin in pins)
        Batch(playing.server, data, len(pins), lambda batch: self._pinned(playing, number, pins, batch))

    def _pinned(self, playing: Replaying, number: int, pins: list[pinning.Pin], batch: Batch) -> None:
        if self._failed(playing, batch):
            return
        self.pinned += len(pins)
        playing.after = lambda: self._restore(playing, pins)
        playing.say(number)

    def _restore(self, playing: Replaying, pins: list[pinning.Pin]) -> None:
        data = b"".join(messages.query(pin.restoring_sql().decode()) for pin in pins)
        Batch(playing.server, data, len(pins), lambda batch: self._restored(playing, pins, batch))

    def _restored(self, playing: Replaying, pins: list[pinning.Pin], batch: Batch) -> None:
        if self._failed(playing, batch):
            return
        pool = playing.server.pool
        for pin in pins:
            self.open.pop((pool, pin.state.oid), None)
        drawn = [row[0] for row in batch.rows]
        right = len(drawn) == len(pins) and all(
            pinning.as_seen(pin, last) for pin, last in zip(pins, drawn, strict=True)
        )
        self._worker.start(self._withdraw(playing, pins, right=right))

    async def _withdraw(self, playing: Replaying, pins: list[pinning.Pin], *, right: bool) -> None:
        """Tell the supervisor that the sequences are where they belong, then go on.

        Unless it knows, it ends the connection before it serves.
        """
        for pin in pins:
            await self._tell_unpinned(playing.server.pool, pin.state.oid)
        if playing.over:
            return
        if right:
            playing.go_on()
        else:
            self.missed += 1
            playing.differs()

    def _failed(self, playing: Replaying, batch: Batch) -> bool:
        """Whether an errand came to nothing; then the attempt has."""
        if batch.gone or batch.error is not None:
            playing.abandon()
            return True
        return False

    async def mend(self) -> None:
        """Restore what is still set back, over other connections, while nobody is served."""
        while self.open and self._worker.topology.phase is Phase.REPLAYING:
            for key, left in list(self.open.items()):
                await self._mend(key, left)
            if self.open:
                await asyncio.sleep(MEND_AGAIN_S)

    async def _mend(self, key: tuple[Pool, int], left: Open) -> None:
        """Restore one sequence; one that can't be restored now stays open."""
        worker, (pool, sequence) = self._worker, key
        backend = worker.backends.candidates[0] if worker.backends.candidates else None
        if backend is None:
            return
        sql = left.restore
        if backend.name == left.backend:
            sql = pinning.fencing_sql(left.pid) + sql
        timeouts = worker.settings.timeouts
        with contextlib.suppress(OSError, LoginFailed, TimeoutError, messages.ProtocolViolation):
            async with asyncio.timeout(timeouts.connect_s or None):
                login = (pool.user, pool.database, pool.secret)
                await run_sql(worker.addresses, backend, login, timeouts.user_timeout_s, sql)
            if self.open.pop(key, None) is not None:
                await self._tell_unpinned(pool, sequence)

    async def _tell_unpinned(self, pool: Pool, sequence: int) -> None:
        if self._worker.siblings is not None:
            order = {"do": "unpinned", "database": pool.database, "sequence": sequence}
            await self._worker.siblings.ask_supervisor(order)

    def forget(self) -> None:
        """The supervisor has seen to it that no sequence is set back any more."""
        self.open.clear()
        self.disturbed = False


def _completed(answer: bytes, sql: bytes) -> bytes:
    """An answer with a tag where only so many rows were wanted: an INSERT has run to its end all the same.

    Source: ``PortalRun``, strategy PORTAL_ONE_RETURNING.
    """
    if sql.lstrip()[:6].lower() != b"insert":
        return answer
    out: list[bytes] = []
    position = 0
    while position + framing.HEADER_BYTES <= len(answer):
        kind, length = framing.HEADER.unpack_from(answer, position)
        whole = answer[position : position + 1 + length]
        out.append(messages.command_complete("INSERT 0 1") if kind == framing.PORTAL_SUSPENDED else whole)
        position += 1 + length
    return b"".join(out)


def _kinds(answer: bytes) -> frozenset[int]:
    """The kinds of messages in an answer."""
    found: set[int] = set()
    position = 0
    while position + framing.HEADER_BYTES <= len(answer):
        kind, length = framing.HEADER.unpack_from(answer, position)
        found.add(kind)
        position += 1 + length
    return frozenset(found)


def _formats(turn: bytes) -> tuple[int, ...] | None:
    """Formats of the results that a turn's Bind asked for."""
    position = 0
    while position + framing.HEADER_BYTES <= len(turn):
        kind, length = framing.HEADER.unpack_from(turn, position)
        if kind == framing.BIND:
            return pinning.result_formats(turn[position + framing.HEADER_BYTES : position + 1 + length])
        position += 1 + length
    return None
