"""One client that has lost its server: what is owed to it, what to say again, how it is told. Pure."""

from __future__ import annotations

from typing import Final

from seawall.proxy import owed
from seawall.proxy.client import Client
from seawall.proxy.replay import ladder
from seawall.proxy.replay.doomed import ABORTED
from seawall.proxy.replay.journal import LEFT_OUT, Canon
from seawall.proxy.replay.ladder import Decision, Loss, Way
from seawall.proxy.replaying import Script
from seawall.proxy.server import Server
from seawall.proxy.statements import COMMIT_BYTES, effect
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.framing import HEADER, HEADER_BYTES

RETRY_CODE: Final = "40001"
UNKNOWN_CODE: Final = "08007"
NOTHING_SEEN: Final = Canon(hashed=True).digest()
NO_SCRIPT: Final = Script((), 0, b"", 0, NOTHING_SEEN, ())
COMMITTED: Final = messages.command_complete("COMMIT")
READY_HEAD: Final = b"Z\0\0\0\5"
READY_BYTES: Final = 6
ANSWERS: Final[dict[int, bytes]] = {
    owed.PARSED: messages.PARSE_COMPLETE,
    owed.PLAIN_PARSED: messages.PARSE_COMPLETE,
    owed.PARSED_ALREADY: messages.PARSE_COMPLETE,
    owed.PARSED_INSTEAD: messages.PARSE_COMPLETE,
    owed.UNNAMED: messages.PARSE_COMPLETE,
    owed.BOUND: messages.BIND_COMPLETE,
    owed.DESCRIBED: HEADER.pack(framing.NO_DATA, 4),
    owed.CLOSED: messages.CLOSE_COMPLETE,
    owed.CLOSED_ALREADY: messages.CLOSE_COMPLETE,
    owed.CLOSED_INSTEAD: messages.CLOSE_COMPLETE,
    owed.UNNAMED_CLOSED: messages.CLOSE_COMPLETE,
}
"""How a server answers the parts of a batch that runs a COMMIT or ROLLBACK."""


class Case:
    """One client that has lost its server.

    Args:
        loss: what was said and seen.
        decision: what is done.
        client: whose.
        server: which is lost.
        now: monotonic seconds.
    """

    def __init__(self, loss: Loss, decision: Decision, client: Client, server: Server, now: float) -> None:
        self.loss = loss
        self.decision = decision
        self.user = client.user
        self.database = client.pool.database
        self.pid = client.pid
        self.node: str = server.backend.name
        self.backend_pid = server.pid
        self.owed = tuple(server.pending)
        self.unsynced = server.unsynced
        self.skipping = server.skipping
        self.drop = client._skip  # noqa: SLF001 -- of the message that the server had got the beginning of
        self.carry = client.carried()
        self.split = server.mid_message
        self.astray = server.astray
        self.suppressed = server.suppressed
        self.suspect = server.suspect
        self.error = server.last_error
        self.lost_at = now
        self.attempts = 0
        self.skipped = 0
        """Turns of earlier transactions, in the journal and not in the script."""
        self.turn_texts: list[bytes] = []
        self.names = dict(client.statements) if client.statements is not None else None
        self.names_bytes = client.prepared_bytes
        self.unnamed = client.unnamed

    def rename(self, client: Client) -> None:
        """Give a client the names back that it had, when less than all was said again."""
        client.statements = self.names
        client.prepared_bytes = self.names_bytes
        client.unnamed = self.unnamed
        client._effect = effect((self.unnamed or b"")[HEADER_BYTES + 1 :][:COMMIT_BYTES])  # noqa: SLF001

    @property
    def begun(self) -> tuple[int, ...]:
        """What is owed of a batch that was not ended by Sync; of one that has failed already, nothing."""
        found: list[int] = []
        for one in self.owed if self.unsynced else ():
            if one in (owed.SIMPLE, owed.SYNCED):
                found.clear()
            elif one not in owed.HIDDEN and one not in owed.UNSEEN:
                found.append(one)
        if self.unsynced and self.suppressed and not found:
            return (owed.EXECUTED,)  # it was answered, and nothing of that was passed on
        return tuple(found)

    @property
    def committed(self) -> bool:
        """Whether the client has been told that it is committed, and only ReadyForQuery is owed."""
        left = [one for one in self.owed if one not in owed.HIDDEN]
        only = left == [owed.SYNCED] or (left == [owed.SIMPLE] and self.decision.whole)
        return only and self.loss.journal.last.endswith(COMMITTED)

    @property
    def turns_owed(self) -> tuple[int, ...]:
        """The ReadyForQuery that were owed, in order."""
        return tuple(one for one in self.owed if one in (owed.SIMPLE, owed.SYNCED))


def script_of(case: Case) -> tuple[Script, str]:
    """What is to be said again, or why it can't be."""
    journal = case.loss.journal
    turns = journal.turns()
    if case.decision.way is Way.RESEND:
        return Script(tuple(turns), 0, b"", 0, NOTHING_SEEN, ()), ""
    seen = journal.seen()
    if seen.idle:
        if seen.hashed:
            return NO_SCRIPT, "it follows others without a pause, and too much was seen to tell them apart"
        if journal.names_changed:
            return NO_SCRIPT, "it follows others without a pause, which prepared statements"
        turns = turns[seen.idle :]
        seen = seen.behind(seen.idle)
    done = len(seen.marks)
    last = seen.marks[-1][0] if done else 0
    begun = seen.count > last or bool(seen.partial)
    if begun and done < len(turns) and not _safe_to_begin(case, turns[done], bytes(seen.text[last:])):
        return NO_SCRIPT, "part of the answer to its last statement was seen, and it may commit"
    return Script(
        tuple(turns), done, bytes(seen.text), seen.count, seen.digest(), tuple(seen.marks), seen.partial
    ), ""


def _safe_to_begin(case: Case, turn: bytes, seen: bytes) -> bool:
    """Whether a turn may be run before what was seen of its answer is compared."""
    loss = case.loss
    if ladder.reads_only(turn, loss.names, loss.journal.unnamed):
        return True
    if loss.open and not ladder.ends_transaction(turn, loss.names, loss.journal.unnamed):
        return True
    return bool(seen) and ladder.only_trivial(seen)


def errors_owed(case: Case, error: bytes, openings: list[bool]) -> bytes:
    """What answers the ReadyForQuery that were owed.

    Args:
        case: whose.
        error: what has happened; told once within a transaction.
        openings: whether the client's transaction goes on behind each turn.
    """
    out: list[bytes] = []
    failed = False
    for number, kind in enumerate(case.turns_owed):
        opened = number < len(openings) and openings[number]
        if not failed:
            out.append(error)
        elif opened or kind == owed.SYNCED:  # a batch would need an answer to each of its messages
            out.append(ABORTED)
        else:
            out.append(messages.command_complete("ROLLBACK"))
        out.append(messages.ready_for_query(b"E" if opened else b"I"))
        failed = opened
    return b"".join(out)


def error_of(decision: Decision, case: Case) -> bytes:
    """The error that says what happened."""
    if case.loss.unexecuted:
        return HEADER.pack(framing.ERROR, 4 + len(case.error)) + case.error
    if decision.way is Way.UNKNOWN:
        return messages.error_response(
            UNKNOWN_CODE,
            "the server connection was lost, and it is not known whether the transaction was committed",
            detail=f"Lost: {case.node}. {decision.reason[:1].upper()}{decision.reason[1:]}.",
            hint="Look whether it was before running it again.",
        )
    return messages.error_response(
        RETRY_CODE,
        "the server connection was lost and the transaction is rolled back",
        detail=f"Lost: {case.node}. Not replayed: {decision.reason}.",
        hint="It is safe to run it again.",
    )


def answer_of(case: Case, tag: bytes) -> bytes:
    """The answer to a COMMIT or ROLLBACK in the server's place; empty if it was asked in too odd a way."""
    complete = messages.command_complete(tag.decode())
    last = case.loss.journal.last
    told = last.endswith(complete)
    begun = bool(last) and not last.startswith(READY_HEAD, len(last) - READY_BYTES) and not _asides(last)
    if owed.SIMPLE in case.owed and begun and not told:
        return b""
    out: list[bytes] = []
    ended = 1 if told and owed.SIMPLE not in case.owed else 0
    for one in case.owed:
        if one in (owed.SIMPLE, owed.EXECUTED):
            ended += 1
            out.append(b"" if told else complete)
        elif one in ANSWERS:
            out.append(ANSWERS[one])
        if one in (owed.SIMPLE, owed.SYNCED):
            out.append(messages.ready_for_query(b"I"))
    odd = case.suppressed or case.unsynced or case.split or _describes_statement(case.loss.journal.turns())
    return b"" if odd or ended != 1 or len(case.turns_owed) != 1 else b"".join(out)


def _asides(told: bytes) -> bool:
    """Whether it is nothing but what may come ahead of any answer: a notice, a notification, a setting."""
    position = 0
    while position + HEADER_BYTES <= len(told):
        kind, length = HEADER.unpack_from(told, position)
        if kind not in LEFT_OUT:
            return False
        position += 1 + length
    return position == len(told)


def _describes_statement(turns: list[bytes]) -> bool:
    """Whether the last turn asks for a statement's parameters, an answer that can't be made up."""
    turn = turns[-1] if turns else b""
    position = 0
    while position + framing.HEADER_BYTES < len(turn):
        kind, length = HEADER.unpack_from(turn, position)
        if kind == framing.DESCRIBE and turn[position + framing.HEADER_BYTES] == ord("S"):
            return True
        position += 1 + length
    return False


def unnamed_text(parse: bytes | None) -> bytes:
    """The SQL of an unnamed Parse message; of none, one that ends nothing."""
    return parse[framing.HEADER_BYTES + 1 :].partition(b"\0")[0] if parse else b"-"
