"""The four kinds of inputs: drawn, played, judged.

startup   packets before the login, under each way of logging in, and what comes behind them
login     the messages of a login, spoiled
clients   what logged-in clients say, in any chunks, leaving at any point
servers   what broken servers answer

Every input is judged alike: nothing may raise; whoever was connected has been told in valid messages, with an
error before the proxy hung up, or was cut; when all have left, nothing is left of them; and the next client
is served by a server that is in step. Clients that stayed are compared with a server of their own.
"""

from __future__ import annotations

import contextlib
import random
import re
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.fuzzing import streams
from benchmarks.fuzzing.world import CHUNK_LIMIT, PASSWORD, Model, Wire, World
from seawall.proxy.admin import Console
from seawall.proxy.client import HELD_LIMIT, Client
from seawall.proxy.naming import ATTACHED, CARRY_LIMIT, DETACHED
from seawall.proxy.server import CARRY_LIMIT as SERVER_CARRY_LIMIT
from seawall.proxy.settings import AuthMethod, PoolMode
from seawall.proxy.speech import PARSE_LIMIT
from seawall.wire.pgwire import messages
from seawall.wire.pgwire.framing import HEADER_BYTES, MessageReader
from seawall.wire.pgwire.login import ClientLogin, LoginRefused
from seawall.wire.pgwire.messages import ProtocolViolation
from tests.proxy.model import summary

MESSAGE_LIMIT = 1 << 24
NONSENSE = b"\xff" * 70_000
"""Longer than what may be said before the login: whatever was begun, this ends it."""
PROBE = messages.query("rows 2")
PROBE_ANSWER = Model().feed(PROBE)
FORGETS = re.compile(rb"\0(?:discard|deallocate) all\0", re.IGNORECASE)
"""In a Parse."""

Step = tuple[str, bytes]
"""What happens and its bytes: ``say0``, ``say1``, ``bye0``, ``bye1``; ``login``, an answer to the proxy (seed
of what is wrong with it, or none); ``spoil`` (seed of what is wrong with the servers' answers); ``eof``."""


@dataclass(frozen=True)
class Input:
    """One input."""

    stratum: str
    variant: int
    chunk: int
    """Most bytes a server's answer brings at once."""
    steps: tuple[Step, ...]

    def as_json(self) -> dict[str, object]:
        """Return it as plain data."""
        return {
            "stratum": self.stratum,
            "variant": self.variant,
            "chunk": self.chunk,
            "steps": [[what, data.hex()] for what, data in self.steps],
        }

    @classmethod
    def from_json(cls, data: dict[str, object]) -> Input:
        """Read it back."""
        steps = tuple((what, bytes.fromhex(text)) for what, text in data["steps"])  # type: ignore[attr-defined]
        return cls(str(data["stratum"]), int(data["variant"]), int(data["chunk"]), steps)  # type: ignore[call-overload]


class Wrong(Exception):
    """An input's outcome is not allowed; the text says which."""


def comparable(said: bytes) -> bool:
    """Whether the proxy promises a client what its own server would tell it.

    Not to one who sends a Query behind extended messages without a Sync (whether it is skipped or drops the
    unnamed statement is known too late), says anything but data after a COPY that was a Query, a Query behind
    a COPY that was not, or drops all statements by the extended protocol and goes on. The same goes for a
    Query with something behind its text. What others notice of it is judged all the same.
    """
    unsynced = copying = False
    prepared_copy = b"\0copyin\0" in said.lower()
    for one in streams.cut(said):
        kind = one[:1]
        if kind == b"S":
            unsynced = False
        elif kind in (b"c", b"f"):
            copying = False
        elif kind not in (b"d", b"H"):
            if copying or (kind == b"Q" and (unsynced or prepared_copy)):
                return False
            body = one[HEADER_BYTES:]
            if kind == b"Q" and b"\0" in body[:-1]:
                return False
            copying = body.lower() == b"copyin\0" if kind == b"Q" else kind == b"E" and prepared_copy
            unsynced = kind != b"Q"
    return not FORGETS.search(said)


METHODS = (AuthMethod.SCRAM, AuthMethod.MD5, AuthMethod.CLEARTEXT, AuthMethod.TRUST)
POOLS = (
    (PoolMode.TRANSACTION, 1, 200),
    (PoolMode.TRANSACTION, 1, 1),
    (PoolMode.TRANSACTION, 2, 2),
    (PoolMode.TRANSACTION, 2, 200),
    (PoolMode.SESSION, 2, 200),
    (PoolMode.STATEMENT, 1, 200),
)


def new_world(stratum: str, variant: int) -> World:
    """Return the world that a variant's inputs are played in."""
    if stratum in ("startup", "login"):
        return World(METHODS[variant])
    mode, servers, max_statements = POOLS[variant]
    return World(AuthMethod.TRUST, mode, servers, max_statements)


# --- drawing ------------------------------------------------------------------------------------------------


def draw(stratum: str, rng: random.Random) -> Input:
    """Return an input of a stratum; the same for the same state of ``rng``."""
    return _DRAWN[stratum](rng)


def _server_chunk(rng: random.Random) -> int:
    return rng.choice((1 << 20, 1 << 20, 64, 7, 13))


def _draw_startup(rng: random.Random) -> Input:
    steps: list[Step] = []
    for part in streams.knock(rng):
        steps += [("say0", piece) for piece in streams.chunks(rng, part)]
    if rng.random() < 0.2:
        steps.append(("bye0", b""))
    return Input("startup", rng.randrange(len(METHODS)), _server_chunk(rng), tuple(steps))


def _draw_login(rng: random.Random) -> Input:
    user = rng.choice(("u", "u", "u", "v", "nobody"))
    database = rng.choice(("d", "d", "d", "e", "none"))
    hello = messages.startup_message({"user": user, "database": database}, minor=rng.choice((0, 2)))
    steps: list[Step] = [("say0", hello)]
    for _ in range(rng.choice((1, 2, 2, 2, 3))):
        steps.append(("login", b"" if rng.random() < 0.55 else rng.randbytes(4)))
    if rng.random() < 0.3:
        data = streams.pipeline(rng, 3) if rng.random() < 0.7 else streams.noise(rng)
        steps += [("say0", piece) for piece in streams.chunks(rng, data)]
    if rng.random() < 0.2:
        steps.insert(rng.randrange(1, len(steps) + 1), ("bye0", b""))
    return Input("login", rng.randrange(len(METHODS)), _server_chunk(rng), tuple(steps))


def _draw_clients(rng: random.Random) -> Input:
    steps: list[Step] = []
    for who in "01" if rng.random() < 0.4 else "0":
        data = streams.pipeline(rng)
        fate = rng.random()
        if fate < 0.6:
            data = streams.spoil(rng, data)
        elif fate < 0.7:
            data = streams.noise(rng)
        at = 0
        for piece in streams.chunks(rng, data):
            at = len(steps) if who == "0" else rng.randrange(at, len(steps) + 1)
            steps.insert(at, (f"say{who}", piece))
            at += 1
        if rng.random() < 0.25:
            steps.insert(rng.randrange(at, len(steps) + 1), (f"bye{who}", b""))
    return Input("clients", rng.randrange(len(POOLS)), _server_chunk(rng), tuple(steps))


def _draw_servers(rng: random.Random) -> Input:
    steps: list[Step] = [("say0", streams.pipeline(rng, 4))]
    if rng.random() < 0.3:
        steps.append(("say1", streams.pipeline(rng, 3)))
    steps.insert(rng.randrange(1, len(steps) + 1), ("spoil", rng.randbytes(4)))
    if rng.random() < 0.3:
        steps.append(("say0", streams.pipeline(rng, 3)))
    if rng.random() < 0.5:
        steps.append(("eof", b""))
        if rng.random() < 0.3:
            steps.append(("say0", PROBE))
    return Input("servers", rng.randrange(len(POOLS)), _server_chunk(rng), tuple(steps))


_DRAWN: dict[str, Callable[[random.Random], Input]] = {
    "startup": _draw_startup,
    "login": _draw_login,
    "clients": _draw_clients,
    "servers": _draw_servers,
}
STRATA = tuple(_DRAWN)

# --- playing ------------------------------------------------------------------------------------------------


class Play:
    """One input in a world.

    Args:
        world: where.
        given: what.
    """

    def __init__(self, world: World, given: Input) -> None:
        self.world = world
        self.given = given
        self.front = given.stratum in ("startup", "login")
        self.wires: dict[str, Wire] = {}
        self.said: dict[str, bytearray] = {}
        self.left: set[str] = set()
        self.spoiled = False
        self._login: ClientLogin | None = None
        self._heard = 0

    def run(self) -> str:
        """Play it and return its outcome.

        Raises:
            Wrong: what came of it is not allowed.
        """
        world = self.world
        world.chunk = self.given.chunk
        world.rng.seed(len(self.given.steps))
        for wire in world.wires:
            wire.chunk = self.given.chunk
        try:
            for what, data in self.given.steps:
                self._step(what, data)
            world.pump()
            outcome = self._judge()
            for end in self.wires.values():
                end.end()
            self._part()
            world.pump()
        except (Wrong, KeyboardInterrupt):
            raise
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{frame.filename.rpartition('/')[2]}:{frame.name}"
            raise Wrong(f"{type(error).__name__} in {place}: {error}") from error
        complaints = world.complaints()
        if complaints:
            raise Wrong("; ".join(dict.fromkeys(complaints)))
        self._probe()
        return outcome

    def _wire(self, who: str) -> Wire:
        wire = self.wires.get(who)
        if wire is None:
            wire = self.wires[who] = self.world.visitor() if self.front else self.world.client()
            self.said[who] = bytearray()
        return wire

    def _step(self, what: str, data: bytes) -> None:
        verb, who = (what[:-1], what[-1]) if what[-1] in "01" else (what, "0")
        if verb == "say":
            wire = self._wire(who)
            if not wire.closing:
                self.said[who] += data
            wire.hear(data)
            self._bounded(wire)
            if self.given.stratum != "servers":
                self.world.pump()
        elif verb == "bye":
            self.left.add(who)
            self._wire(who).end()
            self.world.pump()
        elif verb == "login":
            self._answer(data)
        elif verb == "spoil":
            self._spoil(data)
        else:
            self.spoiled = True
            for wire in self.world.wires:
                wire.close()
            self.world.pump()

    def _answer(self, seed: bytes) -> None:
        """Answer the proxy's last authentication request, rightly without a seed."""
        wire = self._wire("0")
        fresh = bytes(wire.written[self._heard :])
        self._heard = len(wire.written)
        if self._login is None:
            self._login = ClientLogin("u", PASSWORD, nonce=b"n" * 18, allow_cleartext=True, max_iterations=1)
        data = b""
        with contextlib.suppress(ProtocolViolation):
            for kind, body in MessageReader(MESSAGE_LIMIT).feed(fresh):
                if kind == ord("R") and not self._login.done:
                    with contextlib.suppress(LoginRefused):
                        data += self._login.receive(kind, body)
        if seed:
            rng = random.Random(seed)
            data = data or messages.password_message(b"n,,n=,r=abcdefghijklmnopqrst")
            data = streams.spoil(rng, data) if rng.random() < 0.8 else streams.noise(rng)
        if data:
            wire.hear(data)
            self.world.pump()

    def _spoil(self, seed: bytes) -> None:
        """Spoil what the servers are about to answer; from then on they only end."""
        rng = random.Random(seed)
        for wire in self.world.wires:
            if wire.answers or rng.random() < 0.3:
                wire.answers = streams.spoiled_answer(rng, wire.answers)
                wire.spoiled = self.spoiled = True
        self.world.pump()

    def _part(self) -> None:
        """Servers that were spoiled end when their clients have."""
        self.world.pump()
        for wire in self.world.wires:
            if wire.spoiled:
                wire.close()

    # --- judging --------------------------------------------------------------------------------------------

    def _bounded(self, wire: Wire) -> None:
        client = wire.protocol
        if not isinstance(client, Client):
            return
        if len(client._held) > HELD_LIMIT + CHUNK_LIMIT:
            raise Wrong(f"{len(client._held)} bytes are held for a client that waits")
        if len(client._carry) > max(CARRY_LIMIT, PARSE_LIMIT) + CHUNK_LIMIT:
            raise Wrong(f"{len(client._carry)} bytes are carried for a client")
        for other in self.world.wires:
            if len(other.protocol._carry) > SERVER_CARRY_LIMIT + CHUNK_LIMIT:
                raise Wrong(f"{len(other.protocol._carry)} bytes are carried for a server")

    def _judge(self) -> str:
        outcomes = []
        for who, wire in self.wires.items():
            written = bytes(wire.written)
            if wire.late and (self.front or self._told(written)):
                raise Wrong(f"{wire.late[:40]!r} is written behind the end")
            if self.front:
                outcomes.append(self._judge_front(who, wire, written))
            elif who in self.left:
                outcomes.append("left")
            else:
                outcomes.append(self._judge_client(who, wire, written))
        return " + ".join(sorted(outcomes)) or "nothing said"

    def _judge_front(self, who: str, wire: Wire, written: bytes) -> str:
        stripped = written.lstrip(b"N") if written[:1] == b"N" and written[1:5] != b"\0\0\0" else written
        if not streams.whole(stripped):
            raise Wrong(f"a visitor was told {written[-60:]!r}")
        if who in self.left:
            return "left"
        told = self._told(stripped)
        inside = isinstance(wire.protocol, Client | Console)
        if not wire.closing and not inside:
            return self._poked(wire)
        if wire.closing:
            return told or ("served, closed" if inside else "closed")
        if told:
            raise Wrong(f"told {told!r} and not closed")
        return "served"

    def _poked(self, wire: Wire) -> str:
        """Somebody who has not finished: nonsense has to end that, told or (a cancel request) not."""
        wire.hear(NONSENSE)
        self.world.pump()
        if not wire.closing:
            raise Wrong("nonsense is taken for a login")
        if wire.late:
            raise Wrong(f"{wire.late[:40]!r} is written behind the end")
        return "still logging in"

    def _told(self, written: bytes) -> str:
        """The SQLSTATE of the FATAL error a stream ends with, if it does."""
        if not written.find(b"SFATAL\0") > 0:
            return ""
        found = MessageReader(MESSAGE_LIMIT).feed(written)
        if not found or found[-1][0] != ord("E"):
            return ""
        fields = messages.parse_fields(found[-1][1])
        if fields["S"] != "FATAL":
            return ""
        return fields["C"]

    def _judge_client(self, who: str, wire: Wire, written: bytes) -> str:
        complete = streams.whole(written)
        if wire.closing:
            if not complete:
                if wire.last[:1] == b"E" and wire.last.startswith(b"SFATAL\0VFATAL", 5):
                    raise Wrong("an error was written into the middle of a message")
                return "cut"
            if self.spoiled:
                return "told and closed" if wire.last[:1] == b"E" else "cut"
            told = self._told(written)
            if told == "08006":
                raise Wrong("a server that does no wrong was given up")
            return f"{told} and closed" if told else "closed"
        client = wire.protocol
        if not complete:
            if self.spoiled:
                return "waits for the rest"
            raise Wrong("a message was passed on only in part")
        if self.spoiled:
            return self._judge_survivor(client)
        if len(self.wires) == 1 or not self.left:
            self._compare(who, client, written)
        return (
            "served"
            if client.state == DETACHED
            else "in transaction"
            if client.state == ATTACHED
            else "waits"
        )

    def _judge_survivor(self, client: Client) -> str:
        server = client.server
        if client.state == DETACHED and server is not None:
            raise Wrong("a client that is detached has a server")
        return "served" if client.state == DETACHED else "waits for its server"

    def _compare(self, who: str, client: Client, written: bytes) -> None:
        """What a client was told against what a server of its own would have said."""
        said = bytes(self.said[who])
        if not comparable(said) or client.state not in (DETACHED, ATTACHED) or client.holding:
            return
        own = Model()
        expected = own.feed(said)
        if own.broken:
            raise Wrong(f"served, though {own.broken}")
        if summary(written) != summary(expected):
            raise Wrong(f"told {summary(written)}, by its own server {summary(expected)}")

    def _probe(self) -> None:
        """The next client is served, whatever came before."""
        world = self.world
        wire = world.client()
        try:
            wire.hear(PROBE)
            world.pump()
            answer = bytes(wire.written)
            wire.end()
            world.pump()
        except Exception as error:
            raise Wrong(f"the next client meets {type(error).__name__}: {error}") from error
        if answer != PROBE_ANSWER:
            raise Wrong(f"the next client is told {answer!r}")
        if world.complaints():
            raise Wrong("the next client leaves something behind")


def outcomes_of(world: World, inputs: list[Input]) -> Counter[str]:
    """Play inputs one after the other in one world; count their outcomes.

    Raises:
        Wrong: the first that is not allowed.
    """
    seen: Counter[str] = Counter()
    for given in inputs:
        seen[Play(world, given).run()] += 1
    return seen
