"""Whatever a session does, the ledger ends up with what the server has, and frees nobody too early."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from seawall.proxy.ledger import EMPTY, Ledger, Pin, Settings, apply_batch, read_answer, settings_of
from seawall.wire.pgwire import scan
from tests.proxy.test_session_settings import steps

BASELINE = settings_of({"timezone": "UTC", "application_name": "shop"})
NAMES = st.sampled_from(["timezone", "application_name", "work_mem", "role", "app.usr"])
VALUES = st.sampled_from(["one", "two"])
HOLDS = {
    b"T": (scan.TEMPORARY, Pin.TEMPORARY),
    b"A": (scan.ADVISORY, Pin.ADVISORY_LOCK),
    b"L": (scan.LISTEN, Pin.LISTEN),
    b"Q": (scan.PREPARED, Pin.PREPARED),
    b"C": (scan.CURSOR, Pin.CURSOR),
}
KINDS = st.sampled_from(sorted(HOLDS)[:3]) | st.sampled_from(sorted(HOLDS))
LAST = st.sampled_from([True, True, False])
"""Whether the transaction ends with this."""


class Sessions(RuleBasedStateMachine):
    """One client and the server connections it gets: another one whenever the ledger says it may."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger("login", BASELINE)
        self.flags = 0
        self.connect()

    def connect(self) -> None:
        """A server connection that somebody else has left in a known state."""
        self.server: dict[str, str] = {"work_mem": "left", "role": "left"}
        self.applied: Settings = settings_of(self.server)
        self.held: set[bytes] = set()
        self.fit()

    def fit(self) -> None:
        for name, value in steps(self.applied, self.ledger.current):
            self.server.pop(name, None)
            if value is not None:
                self.server[name] = value
        self.applied = self.ledger.current

    @rule(name=NAMES, value=VALUES, last=LAST)
    def set(self, name: str, value: str, last: bool) -> None:
        self.server[name] = value
        self.did(scan.SETTINGS, last)

    @rule(name=NAMES, last=LAST)
    def reset(self, name: str, last: bool) -> None:
        self.server.pop(name, None)
        self.did(scan.SETTINGS | scan.RESET, last)

    @rule(kind=KINDS, last=LAST)
    def take_hold(self, kind: bytes, last: bool) -> None:
        self.held.add(kind)
        self.did(HOLDS[kind][0], last)

    @rule(kind=KINDS, last=LAST)
    def let_go(self, kind: bytes, last: bool) -> None:
        self.held.discard(kind)
        self.did(scan.RESET, last)

    def did(self, flags: int, last: bool) -> None:
        self.flags |= flags
        if last:
            self.end()

    @rule()
    def discard_all(self) -> None:
        self.end()
        self.server.clear()
        self.held.clear()
        self.applied = self.ledger.discarded()
        self.fit()

    @rule()
    def end(self) -> None:
        """The transaction ends: ask, and move on if that is allowed."""
        asked = self.ledger.to_ask(self.flags)
        self.flags = 0
        if asked:
            rows = [[kind, None, None] for kind in self.held if asked & HOLDS[kind][0]]
            if asked & scan.SETTINGS:
                listed = {name: value for name, value in self.server.items() if name != "role"}
                rows += [[b"S", name.encode(), value.encode()] for name, value in listed.items()]
                rows += [[b"I", self.server.get("role", "none").encode(), b"login"]]
            applied = self.ledger.examined(read_answer(asked, rows))
            if applied is not None:
                self.applied = applied
        assert dict(self.applied) == self.server
        assert self.ledger.portable is not bool(self.held)
        if self.ledger.portable:
            self.connect()
        else:
            self.fit()

    @invariant()
    def the_client_has_what_it_asked_for_unless_it_changed_that(self) -> None:
        if not self.flags:
            assert self.server == dict(self.ledger.current)
            assert set(self.ledger.current) >= set(BASELINE)


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)


@given(st.integers(0, (1 << 18) - 1), st.sets(st.sampled_from(list(Pin))))
def test_only_known_suspicions_are_asked(flags: int, pins: set[Pin]) -> None:
    ledger = Ledger("login")
    ledger.pins = frozenset(pins)
    asked = ledger.to_ask(flags)
    assert asked & ~(scan.ASKABLE | scan.LASTING) == 0
    assert asked & scan.LASTING == flags & scan.LASTING
    ledger.examined(read_answer(asked, []))
    assert not pins or ledger.pins >= {pin for pin in pins if pin in {Pin.LOAD, Pin.SEQUENCE, Pin.OVERSIZE}}


def test_an_empty_ledger_needs_nothing() -> None:
    assert apply_batch(EMPTY, Ledger("login").current).ready == 0
