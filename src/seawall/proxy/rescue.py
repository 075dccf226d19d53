"""What a worker does when a server is lost under a client: carries out what ``replay.ladder`` decides.

A client whose server is lost gets a :class:`Case`. It waits in its pool like any other that wants a server,
ahead of those that have none to lose; while there is no primary it waits here. When it has a server in its
session's state, the case goes on: what was said is said again (``replaying``), or what became of a COMMIT is
found out (``resolving``). How a case ends is counted and kept for ``SHOW REPLAYS``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from seawall.proxy import owed
from seawall.proxy.casebook import Casebook
from seawall.proxy.cases import Case, answer_of, error_of, errors_owed, script_of, unnamed_text
from seawall.proxy.client import Client
from seawall.proxy.errands import Batch
from seawall.proxy.naming import CLOSED, DETACHED, WAITING
from seawall.proxy.pinner import Pinner
from seawall.proxy.replay import ladder
from seawall.proxy.replay.doomed import ABORTED, Doomed
from seawall.proxy.replay.journal import Journal
from seawall.proxy.replay.ladder import Decision, Loss, Rules, Way
from seawall.proxy.replay.resolution import Outcome
from seawall.proxy.replaying import UNDONE, Replaying
from seawall.proxy.resolving import Resolving
from seawall.proxy.server import BROKEN, Server
from seawall.proxy.settings import Replay, ReplayMode
from seawall.proxy.topology import Topology
from seawall.proxy.turns import Turns
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.framing import HEADER

REFUSED_AGAIN_S: Final = 1.0
"""A client that a replica refuses twice within this time is told: there is nobody else."""
ATTEMPTS_MAX: Final = 5
"""Servers that may be lost under one case."""
ATTEMPT_S: Final = 10.0
"""One attempt to say a transaction again may take so long."""
REFUSING: Final = (
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_foreign_table),"
    " EXISTS (SELECT FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang"
    " WHERE NOT l.lanpltrusted AND l.lanname NOT IN ('internal', 'c')),"
    " EXISTS (SELECT FROM pg_catalog.pg_stat_replication WHERE sync_state IN ('sync', 'quorum'))"
)
"""What may stand against saying anything again in a database."""


class Rescuing:
    """The rescues of one worker.

    Args:
        worker: whose.
    """

    def __init__(self, worker: Any) -> None:  # noqa: ANN401 -- the worker has one of these
        self._worker = worker
        self.settings: Replay = worker.settings.replay
        self.book = Casebook(worker.number)
        self.counts = self.book.counts
        self.refusals = self.book.refusals
        self.pinner = Pinner(worker)
        self.turns = Turns(worker, self.pinner)

    def rules_for(self, client: Client) -> Rules:
        """What is allowed for a client."""
        topology: Topology = self._worker.topology
        apart = topology.multi_primary or (not topology.tracked and len(self._worker.backends.candidates) > 1)
        return Rules(
            replay=client.replays,
            retry_reads=self.settings.retry_reads,
            resolve=self._worker.sampling.resolves(client),
            apart=apart,
            statements_max=self.settings.statements_max,
            age_s=self.settings.age_s,
        )

    # --- a server is lost ---------------------------------------------------------------------------------

    def loss_of(self, client: Client, server: Server, now: float) -> Loss:
        """A client as it is now, as if its server was lost."""
        pins: Sequence[str] = client.ledger.reasons()
        if client.pool.session:
            pins = ("session pooling", *pins)
        if server.astray:
            pins = ("its server said what makes no sense", *pins)
        return Loss(
            journal=server.journal or Journal(0, 0),
            names={**(client.statements or {}), **((server.journal.names or {}) if server.journal else {})},
            open=server.status != framing.IDLE,
            turns_owed=sum(1 for one in server.pending if one in (owed.SIMPLE, owed.SYNCED)),
            age_s=now - client.began_at,
            pins=pins,
            split=server.mid_message or client.mid_message,
            unsent=len(client.carried()),
            unexecuted=server.unexecuted,
            failed=server.status == framing.IN_FAILED_TRANSACTION,
        )

    def lost(self, client: Client, server: Server) -> None:
        """A server died under a client."""
        client.worth = None  # what will be answered next is something else, or is said again
        now = self._worker.clock()
        loss = self.loss_of(client, server, now)
        while server.notes:
            client.undone(server.notes.pop(), failed=False)
        rules = self.rules_for(client)
        decision = ladder.decide(loss, rules)
        if loss.unexecuted and decision.way is Way.RESEND:
            if now - client.refused_at < REFUSED_AGAIN_S:
                decision = Decision(Way.LOST, "it came to a replica again, and what it says is told")
            client.refused_at = now
        case = Case(loss, decision, client, server, now)
        server.journal = None
        client.server = client.journal = None
        server.pool.forget(server)
        client.transport.resume_reading()
        if decision.way is Way.MIGRATE:
            self.counts["migrate:done"] += 1
            client.state = DETACHED
            client.catch_up()
            return
        if decision.way is Way.ROLLED_BACK and self._answer(client, case, b"ROLLBACK"):
            return
        if case.committed and self._answer(client, case, b"COMMIT"):
            return
        if decision.way in (Way.RESEND, Way.REPLAY, Way.RESOLVE):
            self._begin(client, case)
            return
        self._give_up(client, case, decision)

    def _begin(self, client: Client, case: Case) -> None:
        """Have a case go on when there is a server for it."""
        if case.decision.way is Way.REPLAY and self._shadow(client):
            self._give_up(
                client, case, Decision(Way.LOST, "it would have been said again, but for shadow mode")
            )
            return
        client.rescue = case
        client.state = WAITING
        self.turns.acquire(client)

    def _shadow(self, client: Client) -> bool:
        return self._worker.sampling.mode_for(client.user, client.database) is ReplayMode.SHADOW

    def gone(self, client: Client) -> None:
        """A client with a case is closed."""
        client.rescue = None
        self.turns.leave(client)
        self.turns.ended(client)

    # --- going on -----------------------------------------------------------------------------------------

    def perform(self, client: Client) -> None:
        """A client with a case has a server that is in its session's state."""
        case: Case = client.rescue
        server = client.server
        if server is None:
            return
        if case.decision.way is Way.RESOLVE:
            Resolving(self._worker, client, server, case, self._resolved).start()
        elif case.decision.way is Way.REPLAY:
            Batch(server, messages.query(REFUSING), 1, lambda batch: self._allowed(client, batch))
        else:
            self._play(client, server)

    def _allowed(self, client: Client, batch: Batch) -> None:
        """The database has said what stands against saying anything again."""
        server = batch.server
        if batch.gone or client.state == CLOSED:
            self._after_loss(client, server)
            return
        row = batch.rows[0] if batch.rows and batch.error is None else [b"t", b"t", b"f"]
        server.sink = client
        why = ""
        if not self.settings.allow_foreign and row[0] != b"f":
            why = "the database has foreign tables"
        elif not self.settings.allow_foreign and row[1] != b"f":
            why = "the database has functions in an untrusted language"
        elif self.settings.require_sync and row[2] != b"t":
            why = "no synchronous standby is confirmed"
        if why:
            self._refuse(client, server, why)
        else:
            self._play(client, server)

    def _refuse(self, client: Client, server: Server, why: str) -> None:
        self._release(client, server)
        self._give_up(client, client.rescue, Decision(Way.LOST, why))

    def _release(self, client: Client, server: Server) -> None:
        """Give a server back on which nothing was said."""
        client.server = client.journal = None
        if server.journal is not None:
            server.journal.clear()  # of what the client has said of its next message
        server.pool.put(server)

    def _play(self, client: Client, server: Server) -> None:
        case: Case = client.rescue
        if case.node != server.backend.name or case.loss.open is False:
            self._start(client, server)
            return
        # The backend that is lost to us may live on and hold its locks.
        sql = Resolving.terminate_sql(case.backend_pid, self._worker.clock() - case.lost_at)
        Batch(server, messages.query(sql), 1, lambda batch: self._terminated(client, batch))

    def _terminated(self, client: Client, batch: Batch) -> None:
        if batch.gone or client.state == CLOSED:
            self._after_loss(client, batch.server)
            return
        batch.server.sink = client
        self._start(client, batch.server)

    def _start(self, client: Client, server: Server) -> None:
        case: Case = client.rescue
        script, why = script_of(case)
        if why:
            self._refuse(client, server, why)
            return
        old = case.loss.journal
        case.skipped = old.seen().idle
        client.restore(old)
        journal = client.journal = server.journal
        if journal is not None:
            journal.clear()
            journal.replays = client.replays
            journal.unnamed = client.unnamed
        playing = Replaying(
            client,
            server,
            script,
            lambda number: self._before(playing, case, number),
            lambda attempt, result: self._played(client, attempt, result),
        )
        self._worker.after(ATTEMPT_S, playing.abandon)
        playing.start()

    def _before(self, playing: Replaying, case: Case, number: int) -> None:
        """A turn is about to be said: have it draw the values that its client has seen, where that is on."""
        if self.settings.pin_sequences and case.decision.way is not Way.RESEND and self.pinner.allowed:
            self.pinner.pin(playing, case.loss, number, case.skipped)
        else:
            playing.say(number)

    def _played(self, client: Client, playing: Replaying, result: int | None) -> None:
        """An attempt has ended."""
        server = playing.server
        if result == UNDONE or client.state == CLOSED:
            self._after_loss(client, server)
            return
        if result is not None:
            case: Case = client.rescue
            client.server = client.journal = None
            server.abort()
            server.pool.forget(server)
            turns = case.loss.journal.turns()[case.skipped :]
            texts = ladder.texts_of(turns[result], case.loss.names, case.loss.journal.unnamed)
            shown = ladder.shown(texts[0]) if texts else ""
            why = f"statement {result + 1} gave another result when it was run again: {shown}"
            self._give_up(client, case, Decision(Way.LOST, why))
            return
        self.book.close(client.rescue, "done", "", self._worker.clock())
        old: Journal = client.rescue.loss.journal
        client.rescue = None
        client._held = playing.rest() + client._held  # noqa: SLF001
        if not self._worker.sampling.ask_again(
            client, old, server, lambda asked: self._stands(client, server, asked=asked)
        ):
            self._stands(client, server, asked=True)

    def _stands(self, client: Client, server: Server, *, asked: bool) -> None:
        """What the client has seen has come again, and its server has said where that is."""
        if client.state == CLOSED:
            self._after_loss(client, server)
            return
        server.sink = client
        if asked:
            self.turns.go_on(client, server)
            return
        server.pending.clear()  # of our question
        server.abort()
        self.turns.ended(client)
        client.lost(server)  # another loss: what was new to the client behind the first has been told

    def _after_loss(self, client: Client, server: Server) -> None:
        """The server of an attempt is lost too, or the client: try again, or clean up."""
        if server.state != BROKEN:
            server.abort()
        server.journal = None
        server.pool.forget(server)
        client.server = client.journal = None
        if client.state == CLOSED:
            self.gone(client)
            return
        case: Case = client.rescue
        case.attempts += 1
        if case.attempts >= ATTEMPTS_MAX:
            way = Way.UNKNOWN if case.decision.way is Way.RESOLVE else Way.LOST
            self._give_up(client, case, Decision(way, f"{case.attempts} servers were lost one after another"))
            return
        client.state = WAITING
        self.turns.acquire(client)

    def _resolved(self, client: Client, outcome: Outcome, reason: str) -> None:
        """It is known what became of a COMMIT, or that it never will be."""
        case: Case = client.rescue
        server = client.server
        if client.state == CLOSED or server is None or server.state == BROKEN:
            if server is not None:
                self._after_loss(client, server)
            return
        server.sink = client
        if outcome is Outcome.UNKNOWN:
            self._release(client, server)
            self._give_up(client, case, Decision(Way.UNKNOWN, reason))
        elif outcome is Outcome.COMMITTED:
            self._release(client, server)
            if not case.decision.whole or not self._answer(client, case, b"COMMIT"):
                why = "the transaction is committed, but what it answered is lost"
                self._give_up(client, case, Decision(Way.UNKNOWN, why))
        else:
            why = ladder.hindrance(case.loss, self.rules_for(client))
            if why:
                self._release(client, server)
                self._give_up(client, case, Decision(Way.LOST, why))
                return
            case.decision = Decision(Way.REPLAY, reason)
            self.perform(client)

    # --- telling the client -------------------------------------------------------------------------------

    def _answer(self, client: Client, case: Case, tag: bytes) -> bool:
        """Answer a COMMIT or ROLLBACK in the server's place; false if that can't be."""
        answer = answer_of(case, tag)
        if not answer:
            return False
        client.tell(answer)
        self._close_case(client, tag.decode().lower(), case)
        client.state = DETACHED
        client.carry(case.carry)
        client._skip = case.drop  # noqa: SLF001
        if case.suspect and tag == b"COMMIT":
            self._worker.close_client(
                client,
                "57P01",
                "the server connection was lost",
                "The transaction is committed; what it changed in the session can't be moved.",
            )
            return True
        client.catch_up()
        return True

    def _give_up(self, client: Client, case: Case, decision: Decision) -> None:
        """Tell a client that its transaction is lost, or unknown, and keep its session if that can be."""
        self._close_case(client, decision.way.value, case, decision.reason)
        if client.state == CLOSED:
            return
        case.rename(client)
        error = error_of(decision, case)
        if decision.way is Way.END or case.split:
            self._end_session(client, case, decision)
            return
        over = decision.way is Way.UNKNOWN and bool(case.turns_owed)
        opened = ladder.leaves_open(case.loss) and not over
        out = errors_owed(case, error, [] if over else ladder.openings(case.loss))
        told = bool(out)
        skipping = case.unsynced and (case.skipping or bool(case.begun))
        if case.begun and not case.skipping:
            out += ABORTED if told and opened else error
            told = True
        if out:
            client.tell(out)
        client.rescue = None
        client.state = DETACHED
        client.carry(b"")
        client._skip = 0  # noqa: SLF001
        client.listen()
        if opened or case.unsynced or case.drop:
            client.doomed = Doomed(
                b"" if (told and opened) or skipping else error,
                skipping=skipping,
                opened=opened,
                texts=client.statements if client.statements is not None else {},
                drop=case.drop,
                carry=case.carry,
                unnamed=unnamed_text(client.unnamed),
            )
        else:
            client.carry(case.carry)
        client.catch_up()

    def _end_session(self, client: Client, case: Case, decision: Decision) -> None:
        client.rescue = None
        if case.split:
            client.state = CLOSED
            client.transport.close()
            self._worker.client_gone(client)
        elif case.error and b"SFATAL\0" in case.error and decision.way is Way.END and not case.loss.pins[1:]:
            client.tell(HEADER.pack(framing.ERROR, len(case.error) + 4) + case.error)
            client.state = CLOSED
            client.transport.close()
            self._worker.client_gone(client)
        else:
            code = "57P01" if decision.way is Way.END and not case.astray else "08006"
            self._worker.close_client(
                client, code, "the server connection was lost", decision.reason, "Connect again."
            )

    def _close_case(self, client: Client, outcome: str, case: Case | None = None, reason: str = "") -> None:
        case = case or client.rescue
        self.book.close(case, outcome, reason, self._worker.clock())
        client.rescue = None
        self.turns.ended(client)

    # --- what passes ----------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Give up cases that have waited too long for a primary."""
        hold_s = self._worker.settings.timeouts.unavailable_s
        for client in [one for one in self.turns.waiting if hold_s and now - one.rescue.lost_at > hold_s]:
            self.expire(client)

    def expire(self, client: Client, why: str = "no primary was found in time") -> None:
        """A case waits for a server no longer."""
        case: Case = client.rescue
        self.turns.leave(client)
        way = Way.UNKNOWN if case.decision.way is Way.RESOLVE else Way.LOST
        self._give_up(client, case, Decision(way, why))

    @property
    def lost_acknowledged(self) -> int:
        """Commits that were acknowledged and then lost with a server."""
        return int(self._worker.sampling.lost_acknowledged)

    # --- the console --------------------------------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """``SHOW REPLAYS``: the cases that ended last."""
        return list(self.book.ended)

    def explain(self) -> list[dict[str, Any]]:
        """What would happen to each client if its server was lost now."""
        now = self._worker.clock()
        found: list[dict[str, Any]] = []
        for client in self._worker.clients.values():
            server = client.server
            if server is None:
                decision = Decision(Way.MIGRATE, "it has no server just now")
                if not client.ledger.portable:
                    decision = Decision(Way.END, ", ".join(client.ledger.reasons()))
            else:
                decision = ladder.decide(self.loss_of(client, server, now), self.rules_for(client))
                if decision.way is Way.REPLAY and self._shadow(client):
                    decision = Decision(Way.LOST, "it would be said again, but for shadow mode")
            found.append(
                {
                    "pid": client.pid,
                    "user": client.user,
                    "database": client.pool.database,
                    "worker": self._worker.number,
                    "backend": server.backend.name if server is not None else None,
                    "would": decision.way.value,
                    "because": decision.reason,
                }
            )
        return found
