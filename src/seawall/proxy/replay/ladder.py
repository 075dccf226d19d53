"""What is done for a client whose server is lost: the least that is certainly right.

What was said since the client's transaction began is known, and up to where it was answered. The first row
that fits:

=====================================================================  ======================================
the session is held to its server                                      END, with the reason
nothing was said, or nothing of it was executed and nothing was told   MIGRATE, or RESEND what was said
the server is a replica and refused it, and nothing was told           RESEND
ROLLBACK is in flight, or COMMIT of one that failed, and nothing else  ROLLED_BACK
COMMIT is in flight                                                    RESOLVE, or UNKNOWN where that is off
a transaction is open, no COMMIT was sent                              REPLAY, or LOST where it can't be
no transaction; all that is in flight provably changes nothing         RESEND; REPLAY if part was delivered
no transaction; a batch that was not ended by Sync                     LOST: nothing of it is committed
anything else: a statement on its own may have been committed          UNKNOWN
=====================================================================  ======================================

LOST is told as 40001: nothing of the transaction remains, and it is safe to run it again. UNKNOWN is 08007.
END closes the connection. All of it is decided from what was said and seen; nothing here waits or asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from seawall.proxy.replay.journal import Journal, cut_turns
from seawall.wire.pgwire import classify, framing, messages
from seawall.wire.pgwire.exchange import parse_end
from seawall.wire.pgwire.framing import HEADER, HEADER_BYTES

PLAIN: Final = frozenset(
    messages.query(text) for text in ("BEGIN", "BEGIN;", "begin", "COMMIT", "COMMIT;", "commit")
)
"""What nearly every transaction begins and ends with, as it comes."""
HARMLESS: Final = classify.READ_ONLY | classify.SESSION_ONLY
ENDINGS: Final = classify.COMMITS | classify.TWO_PHASE
HARD: Final = classify.SEVERAL | classify.CHAINS | classify.TWO_PHASE | classify.UNSURE
RENEWS: Final = ENDINGS | classify.ROLLS_BACK | classify.CHAINS
"""What an answered turn may have ended a transaction by, though one is open behind it."""
WAITING: Final = frozenset(
    {b"select", b"insert", b"update", b"delete", b"merge", b"with", b"values", b"table"}
)
"""First words of what is not committed before a Sync."""
TRIVIAL: Final = frozenset(b"12nt")
"""Answers that say nothing of any data: ParseComplete, BindComplete, NoData, ParameterDescription."""
SHOWN_CHARACTERS: Final = 60
"""Of a statement's text, in an explanation."""


class Way(Enum):
    """What is done."""

    MIGRATE = "migrate"
    RESEND = "resend"
    REPLAY = "replay"
    RESOLVE = "resolve"
    ROLLED_BACK = "rolled back"
    LOST = "lost"
    UNKNOWN = "unknown"
    END = "end"


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done, and why not more.

    Attributes:
        way: what.
        reason: in words for whoever reads the error or the console.
        whole: of RESOLVE: only the COMMIT's own answer is owed, so it can be given.
    """

    way: Way
    reason: str
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What is allowed.

    Attributes:
        replay: say open transactions again.
        retry_reads: say statements again that change nothing.
        resolve: find out what became of a COMMIT.
        apart: the servers have histories of their own.
        statements_max: in one transaction.
        age_s: of one transaction.
    """

    replay: bool
    retry_reads: bool
    resolve: bool
    apart: bool
    statements_max: int
    age_s: float


@dataclass(frozen=True, slots=True)
class Loss:
    """A client as its server was lost.

    Attributes:
        journal: what was said and seen.
        names: its named statements, with their texts.
        open: a transaction was open by the last ReadyForQuery.
        turns_owed: how many ReadyForQuery were owed.
        age_s: of the transaction.
        pins: what holds the session to its server.
        failed: the transaction that was open had failed.
        unexecuted: the server refused what was said, because it takes no writes.
        split: the client has got part of a message, or the server has.
        unsent: so many bytes that were said last are the beginning of a message, and wait for its end.
    """

    journal: Journal
    names: Mapping[bytes, Any]
    open: bool
    turns_owed: int
    age_s: float
    pins: Sequence[str] = ()
    split: bool = False
    unexecuted: bool = False
    failed: bool = False
    unsent: int = 0

    def turns(self) -> list[bytes]:
        """What the server may have got, turn by turn."""
        turns = self.journal.turns()
        if self.unsent and turns:
            turns[-1] = turns[-1][: -self.unsent]
        return [one for one in turns if one]


@dataclass(frozen=True, slots=True)
class _Said:
    """What a part of what was said amounts to."""

    texts: tuple[bytes, ...]
    flags: int
    """Of all texts together."""
    proven: bool
    """Every text provably changes nothing but the session."""
    executed: bool
    """Something was run, not just prepared."""
    sure: bool
    """All of it could be read."""
    each: tuple[int, ...]
    """The flags of each text."""


def decide(loss: Loss, rules: Rules) -> Decision:
    """Decide what to do."""
    journal = loss.journal
    if loss.pins:
        return Decision(Way.END, f"its session can't move: {', '.join(loss.pins)}")
    if not journal.said and not journal.spoiled:
        if loss.turns_owed or loss.open:
            return Decision(Way.UNKNOWN, "what was said is not known")
        return Decision(Way.MIGRATE, "nothing is under way")
    if loss.unexecuted and not journal.told and not journal.spoiled:
        return Decision(Way.RESEND, "the server takes no writes, and has done nothing")
    turns = loss.turns()
    flight = _read(turns[answered(turns, loss.turns_owed) :], loss)
    whole = _read(turns, loss)
    if not (whole.executed or journal.told or journal.spoiled):
        return Decision(Way.RESEND, "nothing was executed")
    if not loss.open and not _begins(flight):
        return _alone(loss, rules, flight)
    if flight.flags & classify.ROLLS_BACK and len(flight.texts) == 1 and not flight.flags & HARD:
        return Decision(Way.ROLLED_BACK, "the transaction is rolled back, as was asked for")
    if loss.failed and flight.flags & classify.COMMITS and len(flight.texts) == 1 and not flight.flags & HARD:
        return Decision(Way.ROLLED_BACK, "the transaction had failed, so its COMMIT rolls it back")
    if flight.flags & ENDINGS or journal.spoiled:
        return _ending(loss, rules, flight)
    if _behind(flight, classify.ROLLS_BACK):
        return Decision(Way.UNKNOWN, "ROLLBACK was sent together with what may have been committed behind it")
    obstacle = hindrance(loss, rules)
    if obstacle:
        return Decision(Way.LOST, obstacle)
    return Decision(Way.REPLAY, "its transaction is open, and COMMIT was not sent")


def hindrance(loss: Loss, rules: Rules) -> str:
    """Why a transaction that is certainly not committed can't be said again; empty if it can."""
    turns = loss.turns()
    whole = _read(turns, loss)
    done = _read(turns[: answered(turns, loss.turns_owed)], loss)
    if not rules.replay:
        return "replaying is off"
    if not loss.journal.replays:
        return loss.journal.spoiled or "it was not recorded"
    if whole.flags & classify.DENIED:
        return "it does what must not be done twice, or says so"
    if done.flags & (ENDINGS | classify.CHAINS):
        return "it continues one that was committed"
    if whole.flags & classify.UNSURE:
        return "it can't be told what it does"
    if rules.apart and not whole.proven:
        return "it may have changed something, and the servers have histories of their own"
    if len(turns) > rules.statements_max:
        return f"it has {len(turns)} statements, more than {rules.statements_max}"
    if loss.age_s > rules.age_s:
        return f"it has been open for {loss.age_s:.0f} s, longer than {rules.age_s:g} s"
    return ""


def answered(turns: Sequence[bytes], owed: int) -> int:
    """How many of the turns have been answered in full."""
    if not turns:
        return 0
    complete = len(turns) if _ends_turn(turns[-1]) else len(turns) - 1
    return max(0, complete - owed)


def ends_with_commit(sql: bytes) -> bool:
    """Whether a text is a COMMIT and nothing else."""
    if sql in classify.COMMIT_TEXTS:
        return True
    flags = classify.classify(sql)
    return bool(flags & classify.COMMITS) and not flags & (
        classify.SEVERAL | classify.UNSURE | classify.TWO_PHASE
    )


def changes_nothing(journal: Journal, names: Mapping[bytes, Any]) -> bool:
    """Whether a transaction that is about to commit provably has changed nothing but its session."""
    for chunk in journal.said:
        if chunk in PLAIN:
            continue
        text = _only_text(chunk)
        if text is None:
            break
        if not classify.changes_nothing(classify.classify(classify.alike(text))):
            return False
    else:
        return True
    said = _texts(b"".join(journal.said), names, journal.unnamed, alike=True)
    return said.sure and all(classify.changes_nothing(one) for one in said.each)


def _only_text(chunk: bytes) -> bytes | None:
    """The text of a chunk that is one Query, or one batch of an unnamed statement; of all else nothing."""
    size = len(chunk)
    if size <= HEADER_BYTES:
        return None
    kind, length = HEADER.unpack_from(chunk)
    if kind == framing.QUERY:
        return chunk[HEADER_BYTES:-1] if length + 1 == size else None
    if kind == framing.PARSE:
        end = parse_end(chunk)
        stop = chunk.find(b"\0", HEADER_BYTES + 1, end)
        return chunk[HEADER_BYTES + 1 : stop] if stop > 0 else None
    return None


def only_trivial(seen: bytes) -> bool:
    """Whether part of an answer says nothing of any data."""
    position = 0
    while position + HEADER_BYTES <= len(seen):
        kind, length = HEADER.unpack_from(seen, position)
        if kind not in TRIVIAL:
            return False
        position += 1 + length
    return position == len(seen)


def ends_transaction(turn: bytes, names: Mapping[bytes, Any], unnamed: bytes | None) -> bool:
    """Whether a turn may make what was said in it, or before it, last."""
    said = _texts(turn, names, unnamed)
    return any(classify.classify(text) & (ENDINGS | classify.UNSURE) for text in said.texts)


def openings(loss: Loss) -> list[bool]:
    """Whether a client may say more of the transaction that is lost, behind each turn that was not answered.

    It may if one was open, or it has begun one; it won't once it has said how it ends.
    """
    turns = loss.turns()
    opened, found = loss.open, []
    for turn in turns[answered(turns, loss.turns_owed) :]:
        for one in _read([turn], loss).each:
            if one & classify.BEGINS:
                opened = True
            elif one & (classify.COMMITS | classify.ROLLS_BACK) and not one & classify.CHAINS:
                opened = False
        found.append(opened)
    return found


def leaves_open(loss: Loss) -> bool:
    """Whether a client may say more of the transaction that is lost."""
    return [loss.open, *openings(loss)][-1]


def reads_only(turn: bytes, names: Mapping[bytes, Any], unnamed: bytes | None) -> bool:
    """Whether a turn provably changes nothing."""
    return _texts(turn, names, unnamed).proven


def shown(text: bytes) -> str:
    """A statement's text for people, cut."""
    line = " ".join(text.decode(errors="replace").split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 1] + "…"


def texts_of(turn: bytes, names: Mapping[bytes, Any], unnamed: bytes | None) -> tuple[bytes, ...]:
    """The SQL that a turn runs."""
    return _texts(turn, names, unnamed).texts


# --- rows of the table --------------------------------------------------------------------------------------


def _alone(loss: Loss, rules: Rules, flight: _Said) -> Decision:
    """No transaction is open."""
    if flight.proven and rules.retry_reads and not loss.split and not loss.journal.told:
        return Decision(Way.RESEND, "it changes nothing, and nothing of its result was delivered")
    if flight.proven and rules.replay and not loss.journal.spoiled:
        return Decision(Way.REPLAY, "it changes nothing")
    last = loss.turns()[-1:]
    if last and not _ends_turn(last[0]) and loss.turns_owed == 0 and _waits_for_sync(flight):
        return Decision(Way.LOST, "the batch had not been ended by Sync, so nothing of it is committed")
    if flight.proven:
        return Decision(Way.LOST, "it changes nothing, but part of its result was delivered")
    return Decision(Way.UNKNOWN, "a statement outside of a transaction block may have been committed")


def _behind(flight: _Said, end: int) -> bool:
    """Whether what stands behind the end of a transaction may have been run on its own."""
    ended = False
    for one in flight.each:
        if ended and not classify.changes_nothing(one):
            return True
        ended = ended or bool(one & end)
    return False


def _ending(loss: Loss, rules: Rules, flight: _Said) -> Decision:
    """COMMIT is in flight, or so much was said that it isn't known whether it is."""
    if loss.journal.spoiled and not loss.turns_owed:
        return Decision(Way.LOST, f"the transaction can't be said again: {loss.journal.spoiled}")
    if not rules.resolve:
        return Decision(Way.UNKNOWN, "the server was lost while it committed")
    if flight.flags & HARD or loss.journal.spoiled:
        return Decision(Way.UNKNOWN, "COMMIT was sent together with something else")
    turns = loss.turns()
    done = _read(turns[: answered(turns, loss.turns_owed)], loss)
    if done.flags & RENEWS:
        return Decision(Way.UNKNOWN, "what the server said may be about one that ended before it began")
    if _behind(flight, classify.COMMITS | classify.ROLLS_BACK):
        return Decision(Way.UNKNOWN, "COMMIT was sent together with what may have been committed behind it")
    return Decision(Way.RESOLVE, "the server was lost while it committed", whole=len(flight.texts) == 1)


# --- reading what was said ----------------------------------------------------------------------------------


def _read(turns: Sequence[bytes], loss: Loss) -> _Said:
    return _texts(b"".join(turns), loss.names, loss.journal.unnamed)


def _begins(said: _Said) -> bool:
    """Whether what was said starts with a BEGIN that stands alone."""
    flags = classify.classify(said.texts[0]) if said.texts else 0
    return bool(flags & classify.BEGINS) and not flags & (classify.SEVERAL | classify.UNSURE)


def _waits_for_sync(said: _Said) -> bool:
    """Whether only a Sync commits it: COMMIT, CALL, VACUUM and others commit at once."""
    if not said.sure or said.flags & classify.UNSURE:
        return False
    return all(b"".join(text.split(None, 1)[:1]).lower() in WAITING for text in said.texts)


def _ends_turn(turn: bytes) -> bool:
    """Whether a turn is whole."""
    pieces = cut_turns(turn + b"S\0\0\0\4")
    return len(pieces) == 2 and pieces[1] == b"S\0\0\0\4"


def _texts(said: bytes, names: Mapping[bytes, Any], unnamed: bytes | None, *, alike: bool = False) -> _Said:
    """What is run: Query, and what Bind and Parse name. A function call by number is never proven."""
    known = {name: one.tail.partition(b"\0")[0] for name, one in names.items()}
    if unnamed:
        known[b""] = unnamed[HEADER_BYTES + 1 :].partition(b"\0")[0]
    found: list[bytes] = []
    executed, sure = False, True
    position, end = 0, len(said)
    while position + HEADER_BYTES <= end:
        kind, length = HEADER.unpack_from(said, position)
        after = position + 1 + length
        body = said[position + HEADER_BYTES : min(after, end)]
        if kind == framing.QUERY:
            executed, sure = True, sure and after <= end
            found.append(body.partition(b"\0")[0])
        elif kind == framing.PARSE:
            name, _, rest = body.partition(b"\0")
            known[name] = rest.partition(b"\0")[0]
            sure = sure and after <= end
        elif kind == framing.BIND:
            name = body.partition(b"\0")[2].partition(b"\0")[0]
            sure = sure and name in known
            found.append(known.get(name, b""))
        elif kind == framing.EXECUTE:
            executed = True
        elif kind == framing.FUNCTION_CALL:
            executed, sure = True, False
        position = after
    each = tuple(classify.classify(classify.alike(text) if alike else text) for text in found)
    flags = 0 if sure else classify.UNSURE
    for one in each:
        flags |= one
    proven = sure and all(one & HARMLESS and not one & classify.DENIED for one in each)
    return _Said(tuple(found), flags, proven, executed, sure, each)
