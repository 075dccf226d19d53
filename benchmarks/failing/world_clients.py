"""Clients of a simulated world: transactions drawn by chance, said in many ways, and every reply checked.

A :class:`Talker` knows which replies its messages are due, and takes down what each statement answered.
Anything else it hears is a complaint.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.failing.world import World
from seawall.wire.pgwire import messages
from seawall.wire.pgwire.framing import MessageReader

LIMIT = 1 << 20
STYLES = ("simple", "extended", "named", "flush", "pipe", "syncpipe", "multi", "asyncnamed")
WRITES = (
    "INSERT INTO t (who) VALUES ($1)",
    "INSERT INTO t (who) VALUES ($1) RETURNING id",
    "UPDATE c SET n = n + 1, who = $1 WHERE k = {k}",
    "UPDATE c SET n = n + 1, who = $1 WHERE k = {k} RETURNING n",
)
READS = ("SELECT n, $1 FROM c WHERE k = {k}", "SELECT count(*), $1 FROM t WHERE who = $1")
BROKEN = "SELECT 1/0, $1"
SYNTHETIC = frozenset({"40001", "08007", "25P02", "57P01", "08006", "57P03", "53300"})
Op = tuple[bytes, str]


@dataclass
class Txn:
    """One transaction as its client means it, and what it saw of it."""

    token: str
    style: str
    texts: tuple[str, ...]
    block: bool
    view: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    begun: bool = False
    settled: bool = False
    """Its last ReadyForQuery came."""
    closed: bool = False

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return any(one.startswith(("INSERT", "UPDATE")) for one in self.texts)

    @property
    def codes(self) -> set[str]:
        """SQLSTATEs that it was told."""
        return {tag for tag, _ in self.view if len(tag) == 5 and tag[:2].isdigit()}

    @property
    def acknowledged(self) -> bool:
        """Whether the client has been told that it is committed."""
        if self.block:
            return ("COMMIT", ()) in self.view and not self.codes & SYNTHETIC
        return self.settled and len(self.view) == len(self.texts) and not self.codes

    @property
    def unknown(self) -> bool:
        """Whether the client has been told that nobody knows, or not been told."""
        return "08007" in self.codes or self.closed or not self.settled


def draw_txn(rng: random.Random, token: str, styles: tuple[str, ...] = STYLES) -> Txn:
    """Draw a transaction."""
    style = rng.choice(styles)
    block = rng.random() < 0.8
    count = rng.randint(1, 4) if block else 1
    texts: list[str] = []
    keys = sorted(rng.choice("12") for _ in range(count))  # one order, so that nobody waits in a circle
    for key in keys:
        kind = rng.random()
        pool = WRITES if kind < 0.65 else READS
        text = rng.choice(pool).format(k=key)
        if style == "multi" and text.startswith("UPDATE"):
            text = WRITES[0]
        texts.append(text)
    if block and style not in ("multi", "pipe") and rng.random() < 0.15:
        texts += ["SAVEPOINT s", rng.choice((WRITES[0], BROKEN)), "ROLLBACK TO SAVEPOINT s"]
    elif block and rng.random() < 0.05:
        texts.append(BROKEN)
    if block:
        texts = ["BEGIN", *texts, "ROLLBACK" if rng.random() < 0.1 else "COMMIT"]
    elif style == "pipe" and rng.random() < 0.5:
        texts.append(rng.choice(WRITES[:2]))
    return Txn(token, style, tuple(texts), block)


class Talker:
    """One client.

    Args:
        world: where.
        rng: how it chops and when it says what.
        txns: what it does, one after the other.
        leaves_at: when it goes without a word; 0 for when it is done.
    """

    def __init__(self, world: World, rng: random.Random, txns: list[Txn], leaves_at: float = 0.0) -> None:
        self.world = world
        self.rng = rng
        self.txns = txns
        self.complaints: list[str] = []
        self.over = False
        self.closed = False
        self.fatal: dict[str, str] = {}
        self.status = "I"
        self._reader = MessageReader(LIMIT)
        self._due: deque[str] = deque()
        self._skipping = False
        self._described = self._answered = False
        self._rows: list[tuple[Any, ...]] = []
        self._prepared: dict[str, str] = {}
        self._outbox: list[bytes] = []
        self._txn: Txn | None = None
        self.client = world.client(self._heard, self._was_closed)
        self._steps = self._play()
        world.clock.later(rng.random() * 0.3, self._next)
        if leaves_at:
            world.clock.later(leaves_at, self._leave)

    # --- what it says ---------------------------------------------------------------------------------------

    def _next(self) -> None:
        if self.over:
            return
        ops = next(self._steps, None)
        if ops is None:
            self._leave()
            return
        data = b""
        for message, letter in ops:
            data += message
            if letter == "S":
                self._skipping = False
            if letter and not self._skipping:
                self._due.append(letter)
        if not data or not self._due:
            self._outbox.append(data)
            self._say()
            return
        cuts = sorted(self.rng.randrange(len(data)) for _ in range(self.rng.choice((0, 0, 0, 1, 3))))
        self._outbox += [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if b > a]
        self._say()

    def _say(self) -> None:
        if self._outbox and not self.over:
            self.client.data_received(self._outbox.pop(0))
            if self._outbox:
                self.world.clock.later(self.rng.choice((0.0002, 0.02)), self._say)
            else:
                self._rest()

    def _leave(self) -> None:
        if not self.over:
            self.over = True
            if self._txn is not None and not self._txn.settled:
                self._txn.closed = True
            self.client.connection_lost(None)

    def _play(self) -> Iterator[list[Op]]:
        for txn in self.txns:
            self._txn = txn
            txn.begun = True
            yield from getattr(self, f"_{txn.style}")(txn)
            if self.status != "I":
                yield [(messages.query("ROLLBACK"), "Q")]
            txn.settled = True

    def _stopped(self, txn: Txn) -> bool:
        """Whether the rest of a transaction makes no sense any more."""
        return bool(txn.codes) and (self.status == "I" or bool(txn.codes & SYNTHETIC))

    def _simple(self, txn: Txn) -> Iterator[list[Op]]:
        for text in txn.texts:
            yield [(messages.query(text.replace("$1", f"'{txn.token}'")), "Q")]
            if self._stopped(txn):
                return

    def _multi(self, txn: Txn) -> Iterator[list[Op]]:
        yield [(messages.query("; ".join(txn.texts).replace("$1", f"'{txn.token}'")), "Q")]

    def _run(self, txn: Txn, text: str, name: str = "") -> list[Op]:
        values: list[bytes | None] = [txn.token.encode()] if "$1" in text else []
        return [
            (messages.bind("", name, values), "B"),
            (messages.describe_portal(""), "D"),
            (messages.execute(), "E"),
        ]

    def _extended(self, txn: Txn) -> Iterator[list[Op]]:
        for text in txn.texts:
            yield [(messages.parse("", text), "P"), *self._run(txn, text), (messages.sync(), "S")]
            if self._stopped(txn):
                return

    def _named(self, txn: Txn, *, ahead: bool = False) -> Iterator[list[Op]]:
        for text in txn.texts:
            name = self._prepared.get(text)
            head: list[Op] = []
            before = len(txn.view)
            if name is None:
                name = f"s{len(self._prepared)}_{txn.token}"
                head = [(messages.parse(name, text), "P"), (messages.describe_statement(name), "d")]
                if ahead:
                    yield [*head, (messages.flush(), "")]
                    head = []
                elif self.rng.random() < 0.5:
                    yield [*head, (messages.sync(), "S")]
                    head = []
                    if self._stopped(txn):
                        return
            yield [*head, *self._run(txn, text, name), (messages.sync(), "S")]
            if not {tag for tag, _ in txn.view[before:]} & {*SYNTHETIC, "26000", "42P05"}:
                self._prepared[text] = name
            if self._stopped(txn):
                return

    def _asyncnamed(self, txn: Txn) -> Iterator[list[Op]]:
        yield from self._named(txn, ahead=True)

    def _flush(self, txn: Txn) -> Iterator[list[Op]]:
        for text in txn.texts:
            yield [
                (messages.parse("", text), "P"),
                (messages.describe_statement(""), "d"),
                (messages.flush(), ""),
            ]
            # As asyncpg does that keeps no statements: what it parses again is not asked for.
            again: list[Op] = [(messages.parse("", text), "P")] if self.rng.random() < 0.5 else []
            yield [*again, *self._run(txn, text), (messages.sync(), "S")]
            if self._stopped(txn):
                return

    def _pipe(self, txn: Txn) -> Iterator[list[Op]]:
        ops: list[Op] = []
        for text in txn.texts:
            ops += [(messages.parse("", text), "P"), *self._run(txn, text)]
        yield [*ops, (messages.sync(), "S")]

    def _syncpipe(self, txn: Txn) -> Iterator[list[Op]]:
        ops: list[Op] = []
        for text in txn.texts:
            ops += [(messages.parse("", text), "P"), *self._run(txn, text), (messages.sync(), "S")]
        cut = ops.index((messages.sync(), "S")) + 1 if self.rng.random() < 0.7 else len(ops)
        yield ops[:cut]
        if cut < len(ops) and not self._stopped(txn):
            yield ops[cut:]

    # --- what it hears --------------------------------------------------------------------------------------

    def _complain(self, text: str) -> None:
        token = self._txn.token if self._txn is not None else "-"
        self.complaints.append(f"{token}: {text}")

    def waits(self) -> str:
        """What it still waits for."""
        client = self.client
        case = "no case" if client.rescue is None else client.rescue.decision.reason
        server = client.server
        owed = "no server" if server is None else f"{server.pending} of a server"
        token = self._txn.token if self._txn is not None else "-"
        return f"{token}: waits for ever for {''.join(self._due)!r} in state {client.state}: {case}; {owed}"

    def _was_closed(self) -> None:
        self.closed = True
        if self.over:
            return
        self.over = True
        if self._txn is not None and not self._txn.settled:
            self._txn.closed = True
        self.world.clock.later(0.0, lambda: self.client.connection_lost(None))

    def _heard(self, data: bytes) -> None:
        for kind, body in self._reader.feed(data):
            letter = chr(kind)
            if letter not in "NSA":
                self._take(letter, bytes(body))
        self._rest()

    def _rest(self) -> None:
        """Go on in a moment, if all was said and heard."""
        if not self._due and not self._outbox and not self.over and not self._waiting:
            self._waiting = True
            self.world.clock.later(self.rng.choice((0.0001, 0.001, 0.02)), self._go_on)

    _waiting = False

    def _go_on(self) -> None:
        self._waiting = False
        if not self._due:
            self._next()

    def _take(self, letter: str, body: bytes) -> None:
        if self.fatal:
            self._complain(f"{letter!r} behind a FATAL error")
        elif letter == "E" and messages.parse_fields(body)["S"] == "FATAL":
            self.fatal = messages.parse_fields(body)
        elif not self._due:
            self._complain(f"{letter!r} {body[:60]!r} came, and nothing is due")
        elif letter == "E":
            self._failed(messages.parse_fields(body)["C"])
        elif not self._fits(self._due[0], letter, body):
            self._complain(f"{letter!r} {body[:60]!r} answers {''.join(self._due)}")

    def _failed(self, code: str) -> None:
        self._note(code)
        self._described = False
        if self._due[0] == "Q":
            self._answered = True
            return
        if self._due[0] == "S":
            return  # a server that fails to commit at Sync says so ahead of ReadyForQuery
        while self._due and self._due[0] != "S":
            self._due.popleft()
        self._skipping = not self._due

    def _note(self, tag: str) -> None:
        if self._txn is not None:
            self._txn.view.append((tag, tuple(self._rows)))
        self._rows = []

    def _fits(self, due: str, letter: str, body: bytes) -> bool:
        if due in "QE" and letter == "D":
            self._rows.append(
                tuple(None if one is None else one.decode() for one in messages.parse_data_row(body))
            )
            return due == "E" or self._described
        if due == "Q":
            return self._fits_query(letter, body)
        if due == "d" and letter == "t":
            self._due[0] = "D"
            return True
        if {"P": "1", "B": "2", "D": "Tn", "E": "C", "S": "Z", "d": ""}[due].find(letter) < 0:
            return False
        if letter == "C":
            self._note(body[:-1].decode())
        elif letter == "Z":
            self.status = body.decode()
        self._due.popleft()
        return True

    def _fits_query(self, letter: str, body: bytes) -> bool:
        if letter == "T":
            again, self._described = self._described, True
            return not again
        if letter == "C":
            self._described, self._answered = False, True
            self._note(body[:-1].decode())
            return True
        if letter == "Z":
            fits, self._answered = self._answered and not self._described, False
            self.status = body.decode()
            self._due.popleft()
            return fits
        return False
