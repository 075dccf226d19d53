"""Says a transaction once more on another server, and lets the client hear only what it has not heard yet.

Turn by turn: the next one is said when the answers to the one before have come and are what the client saw.
Then what the client had not heard the end of follows, and from there on it has a server like any other. The
first difference ends it; a COMMIT is never said before everything that the client has seen has come again.
``journal`` says what is compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from seawall.proxy.client import Client
from seawall.proxy.naming import CLOSED
from seawall.proxy.owed import Note
from seawall.proxy.replay.journal import Canon
from seawall.proxy.server import Server
from seawall.proxy.sink import Sink
from seawall.wire.pgwire import messages

UNDONE: Final = -1
FLUSH: Final = messages.flush()


@dataclass(frozen=True, slots=True)
class Script:
    """What is to be said again, and what has to come of it.

    Attributes:
        turns: those that were answered, then the one whose answer may have begun, then those behind it.
        answered: how many were.
        text: what was seen, canonical; empty if only its hash is known.
        count: canonical bytes of it.
        digest: the hash of all of it.
        marks: count and hash at the end of each answered turn.
        partial: the beginning of a message that the client has seen behind that.
    """

    turns: tuple[bytes, ...]
    answered: int
    text: bytes
    count: int
    digest: int
    marks: tuple[tuple[int, int], ...]
    partial: bytes = b""


class Replaying(Sink):
    """One attempt on one server connection.

    Args:
        client: whose transaction it is; it waits.
        server: in the client's session state, idle.
        script: what to say.
        before_turn: called with the number of a turn before it is said; it calls ``say`` at once or later.
        done: called once: with ``None`` when the client goes on, with the number of the turn that came out
            differently, or with ``UNDONE`` when the server was lost meanwhile.
    """

    def __init__(
        self,
        client: Client,
        server: Server,
        script: Script,
        before_turn: Callable[[int], None],
        done: Callable[[Replaying, int | None], None],
    ) -> None:
        self.client = client
        self.server = server
        self._script = script
        self._before_turn = before_turn
        self._done = done
        self._canon = Canon(hashed=not script.text)
        self._next = 0
        self._partial = script.partial
        self.over = False
        """It has ended, for better or worse."""
        self.after: Callable[[], None] | None = None
        """Called once behind the turn that is being said; it calls ``go_on``."""

    def start(self) -> None:
        """Begin."""
        self.server.sink = self
        self._step()

    def say(self, number: int) -> None:
        """Say a turn."""
        if not self._abandoned():
            self.server.sink = self
            self.client.resay(self.server, self._script.turns[number])
            if self.server.unsynced and not (self.over or self._heard_all or self.client.mid_message):
                # The client has heard part of a turn without an end, and nothing in that need say Flush: a
                # server that ends says what it has kept back.
                self.server.send(FLUSH)

    def rest(self) -> bytes:
        """What of the script has not been said: its answers are new to the client."""
        return b"".join(self._script.turns[self._next :])

    def differs(self) -> None:
        """Something else than an answer came out differently."""
        self._end(max(0, self._next - 1))

    def abandon(self) -> None:
        """It takes too long, or nobody waits for it any more."""
        self._end(UNDONE)

    def _step(self) -> None:
        """Say the next turn, or go on to what is new to the client."""
        script = self._script
        if self._abandoned():
            return
        if self._next < script.answered or not self._heard_all:
            if self._next > script.answered or self._next == len(script.turns):
                self._end(script.answered)  # all was said, and less came of it
                return
            self._next += 1
            self._before_turn(self._next - 1)
        elif self._canon.digest() != script.digest:
            self._end(max(0, self._next - 1))
        else:
            self._end(None)

    @property
    def _heard_all(self) -> bool:
        return self._canon.count >= self._script.count and not self._partial

    def _abandoned(self) -> bool:
        """Whether the client has gone."""
        if self.client.state == CLOSED:
            self._end(UNDONE)
        return self.over

    def _end(self, result: int | None) -> None:
        if not self.over:
            self.over = True
            self._done(self, result)

    # --- what the server says -----------------------------------------------------------------------------

    def deliver(self, data: bytes) -> None:
        """Compare with what was seen; what is behind it goes to the client."""
        if self._abandoned():
            return
        pieces = self._canon.pieces(data)
        new: list[bytes] = []
        for piece, raw in pieces:
            if new or (self._heard_all and self._next > self._script.answered):
                new.append(raw)
            elif not self._same(piece, raw, new):
                self._end(max(0, self._next - 1))
                return
        if self._heard_all and self._next > self._script.answered:
            new.append(self._canon.partial)
            if any(new):
                self.client.deliver(b"".join(new))
            self._end(None)

    def _same(self, piece: bytes, raw: bytes, new: list[bytes]) -> bool:
        """Whether a piece is what was seen; what of it wasn't is new."""
        script, canon = self._script, self._canon
        room = script.count - canon.count
        if room <= 0:
            if not self._partial or not raw.startswith(self._partial):
                return not piece  # a notice, which the client has had
            partial, self._partial = self._partial, b""
            self._hear(partial)
            new.append(raw[len(partial) :])
            return True
        taken = piece[:room]
        before = canon.count
        canon.add(taken)
        if self._differs(before, taken) or (len(piece) > room and piece != raw):
            return False
        self._hear(raw[: len(taken)] if piece == raw else raw)
        if len(piece) > room:
            new.append(raw[room:])
        return True

    def _hear(self, raw: bytes) -> None:
        if self.client.journal is not None:
            self.client.journal.hear(raw)

    def _differs(self, before: int, taken: bytes) -> bool:
        script, canon = self._script, self._canon
        if script.text:
            return script.text[before : canon.count] != taken
        marks = len(canon.marks)
        if marks and canon.marks[-1][0] == canon.count:
            return marks > len(script.marks) or canon.marks[-1] != script.marks[marks - 1]
        return canon.count == script.count and canon.digest() != script.digest

    def settled(self, server: Server) -> None:
        """A turn is answered."""
        after, self.after = self.after, None
        if self.over:
            return
        if after is not None:
            after()
        else:
            self.go_on()

    def go_on(self) -> None:
        """Whatever had to be done behind a turn is done."""
        self.server.sink = self
        if not self.over:
            self._step()

    def parameter(self, server: Server, body: bytes) -> None:
        """A reported setting changed, as it did before."""
        self.client.parameter(server, body)

    def refused(self, server: Server, body: bytes) -> None:
        """An error passed, as it did before."""
        self.client.refused(server, body)

    def undone(self, note: Note, *, failed: bool) -> None:
        """A message came to nothing."""
        self.client.undone(note, failed=failed)

    def resume(self) -> None:
        """Every turn waits for the one before, so nothing stalls."""

    def forgotten(self) -> None:
        """All prepared statements are gone."""
        self.client.forgotten()

    def lost(self, server: Server) -> None:
        """This server is gone as well."""
        self._end(UNDONE)

    def throttle(self, *, stop: bool) -> None:
        """What is said again is held once already; the transport may hold it, too."""
